//! Runs where Redis is more than one server.

use super::runs::{at_once, numbers, plan};
use super::*;
use crate::support::{Cluster, Daemon, MASTER, Watched};

const LETTERS: usize = 1_500;
const MEANT: u64 = 500;

fn of_variables(variables: &[(&str, &str)]) -> Operator {
    let pairs = variables.iter();
    let pairs = pairs.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Operator::new(&Config::load(pairs).expect("a good configuration"))
}

async fn moved(operator: &Operator, run: &str) -> u64 {
    // Nobody may be there to ask for a moment.
    wait::until("it is known", || async { operator.run(run).await.is_ok() }).await;
    operator.run(run).await.map_or(0, |run| run.moved)
}

async fn until_more_than(operator: &Operator, run: &str, before: u64) {
    wait::until("it has moved some", || async {
        moved(operator, run).await > before
    })
    .await;
}

async fn until_done(operator: &Operator, run: &str) -> RunView {
    let done = |run: RunView| run.state == RunState::Done;
    wait::until("it has ended", || async {
        operator.run(run).await.is_ok_and(done)
    })
    .await;
    operator.run(run).await.expect("it is known")
}

async fn a_run_in_a_cluster(lists: [&str; 3]) {
    let cluster = Cluster::start().await;
    if !lists[0].contains('{') {
        cluster.part(&lists).await;
    }
    cluster.settled().await;
    cluster.push(lists[0], &letters(LETTERS)).await;
    let seeds = cluster.seeds();
    let variables = [
        ("REDIS_CLUSTER_NODES", &*seeds),
        ("ALERTER_DLQ_NAME", lists[0]),
        ("INGEST_QUEUE_NAME", lists[1]),
        ("DEAD_LETTER_QUEUE", lists[2]),
        // So that only the run moves anything.
        ("REMEDIATION_ENABLED", "false"),
    ];
    let operator = of_variables(&variables);
    for (action, host, list) in [
        (Action::Replay, "sw1", lists[1]),
        (Action::Bury, "sw2", lists[2]),
    ] {
        let plan = plan(&operator, "alerter", action, of_host(host)).await;
        assert_eq!(plan.would_move, MEANT);
        let slow = RunRequest {
            rate: Some(300),
            ..at_once(&plan)
        };
        let run = operator.start(&slow, &who()).await.expect("it starts").run;
        let worker = Daemon::start_alone(&variables);
        until_more_than(&operator, &run, 0).await;
        worker.signal("-KILL");
        let _last = Daemon::start_alone(&variables);
        let run = until_done(&operator, &run).await;
        assert_eq!((run.moved, run.conflicts), (MEANT, 0), "{run:?}");
        let mut arrived = numbers(cluster.at(list).await, list).await;
        arrived.sort_unstable();
        let which = if host == "sw1" { 1 } else { 2 };
        let meant: Vec<usize> = (0..LETTERS).filter(|i| i % 3 == which).collect();
        assert_eq!(arrived, meant);
    }
    let mut left = numbers(cluster.at(lists[0]).await, lists[0]).await;
    left.sort_unstable();
    let others: Vec<usize> = (0..LETTERS).filter(|i| i % 3 == 0).collect();
    assert_eq!(left, others);

    let plan = plan(&operator, "dead", Action::Restore, Filter::default()).await;
    let run = operator.start(&at_once(&plan), &who()).await;
    let run = run.expect("it starts").run;
    let _worker = Daemon::start_alone(&variables);
    assert_eq!(until_done(&operator, &run).await.moved, MEANT);
    assert_eq!(cluster.len(lists[2]).await, 0);
    assert_eq!(cluster.len(lists[0]).await, 1_000);
}

#[tokio::test]
async fn runs_in_one_slot_of_a_cluster_move_each_once_though_workers_are_killed() {
    let together = ["{m}:dlq:alerter", "{m}:ingest_queue", "{m}:dlq:dead"];
    a_run_in_a_cluster(together).await;
}

#[tokio::test]
async fn runs_across_a_cluster_move_each_once_though_workers_are_killed() {
    a_run_in_a_cluster([SOURCE, TARGET, DEAD]).await;
}

#[tokio::test]
async fn a_run_goes_on_with_the_primary_that_sentinels_have_elected() {
    let watched = Watched::start().await;
    watched.primary().dead_letter(&letters(LETTERS)).await;
    let sentinels = watched.addresses();
    let variables = [
        ("REDIS_SENTINELS", &*sentinels),
        ("REDIS_SENTINEL_MASTER", MASTER),
        // So that a batch that the new primary does not have is the last one.
        ("REDIS_WAIT_REPLICAS", "1"),
        ("REMEDIATION_ENABLED", "false"),
    ];
    let operator = of_variables(&variables);
    let plan = plan(&operator, "alerter", Action::Bury, of_host("sw1")).await;
    let slow = RunRequest {
        rate: Some(100),
        ..at_once(&plan)
    };
    let run = operator.start(&slow, &who()).await.expect("it starts").run;
    let _worker = Daemon::start_alone(&variables);
    until_more_than(&operator, &run, 0).await;
    watched.fail_over().await;
    let run = until_done(&operator, &run).await;
    assert_eq!(run.moved, MEANT, "{run:?}");
    let primary = watched.agreed().await;
    let mut found = vec![];
    for list in [SOURCE, TARGET, DEAD] {
        found.extend(numbers(primary, list).await);
    }
    found.sort_unstable();
    assert_eq!(found, (0..LETTERS).collect::<Vec<_>>());
    assert_eq!(primary.len(DEAD).await, 500);
}
