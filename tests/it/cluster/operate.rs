//! The operator's side where a move takes two steps.

use std::ffi::OsString;

use mutt_remediation::audit::digest;
use mutt_remediation::config::Config;
use mutt_remediation::dlq::{Committed, Lease, Proviso};
use mutt_remediation::operate::wire::{
    ActRequest, Action, AuditEntry, AuditRequest, Filter, Named, PlanRequest, RunRequest, RunState,
    RunView, Who,
};
use mutt_remediation::operate::{Error, Operator};
use tokio_util::sync::CancellationToken;

use super::apart::{announced, parted};
use super::{APART, TOGETHER, daemon, trimming};
use crate::support::{Cluster, DEAD, Onward, SOURCE, Stepper, Stop, TARGET, until};

fn operator(cluster: &Cluster) -> Operator {
    operator_of(cluster, APART)
}

fn operator_of(cluster: &Cluster, [source, target, dead]: [&str; 3]) -> Operator {
    let seeds = cluster.seeds();
    let pairs = [
        ("REDIS_CLUSTER_NODES", seeds.as_str()),
        ("POD_NAME", "here"),
        ("REDIS_TIMEOUT", "20"),
        ("ALERTER_DLQ_NAME", source),
        ("INGEST_QUEUE_NAME", target),
        ("DEAD_LETTER_QUEUE", dead),
    ];
    let pairs = pairs.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Operator::new(&Config::load(pairs).expect("a good configuration"))
}

fn who() -> Who {
    Who {
        name: "alice".into(),
        from: "a test".into(),
    }
}

fn letters(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| format!(r#"{{"hostname":"sw{}","id":{i}}}"#, i % 2))
        .collect()
}

async fn started(operator: &Operator, queue: &str, request: PlanRequest) -> RunView {
    let plan = operator.plan(queue, &request, &who()).await;
    let request = RunRequest {
        token: plan.expect("a plan").token,
        ..RunRequest::default()
    };
    operator.start(&request, &who()).await.expect("it starts")
}

/// The numbers in a list, sorted.
async fn ids(cluster: &Cluster, list: &str) -> Vec<usize> {
    let texts = cluster.texts(list).await;
    let id = |text: &String| {
        let rest = text.split("\"id\":").nth(1).expect("a letter");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    let mut ids: Vec<usize> = texts.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn acts_and_runs_move_each_message_once() {
    let cluster = Cluster::start().await;
    let all = letters(40);
    cluster.push(SOURCE, &all).await;
    let operator = operator(&cluster);
    let act = |action, bodies: &[String]| ActRequest {
        action,
        messages: bodies
            .iter()
            .map(|body| Named {
                digest: digest(body.as_bytes()),
                at: None,
            })
            .collect(),
        force: false,
    };
    let requests = [
        act(Action::Purge, &all[20..22]),
        act(Action::Bury, &all[30..36]),
    ];
    for request in requests {
        let outcome = operator.act("alerter", &request, &who()).await;
        let outcome = outcome.expect("an outcome");
        assert_eq!(outcome.moved, outcome.wanted);
    }
    assert_eq!(ids(&cluster, DEAD).await, (30..36).collect::<Vec<_>>());

    let never = CancellationToken::new();
    let of_host = Filter {
        host: Some("sw1".into()),
        ..Filter::default()
    };
    let plan = |action, filter: &Filter| PlanRequest {
        action,
        filter: filter.clone(),
        limit: None,
        force: false,
    };
    for (queue, action, moved) in [
        ("dead", Action::Restore, 3),
        ("alerter", Action::Replay, 19),
        ("dead", Action::Purge, 0),
    ] {
        let run = started(&operator, queue, plan(action, &of_host)).await;
        let ended = operator.work_at(&run.run, |_| {}, &never).await;
        let ended = ended.expect("it ends");
        assert_eq!((ended.state, ended.moved), (RunState::Done, moved));
    }
    let odd = (0..40).filter(|i| i % 2 == 1 && *i != 21);
    assert_eq!(ids(&cluster, TARGET).await, odd.collect::<Vec<_>>());
    assert_eq!(ids(&cluster, DEAD).await, [30, 32, 34]);
    let even = (0..40).filter(|i| i % 2 == 0 && ![20, 30, 32, 34].contains(i));
    assert_eq!(ids(&cluster, SOURCE).await, even.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_of_a_run_that_was_begun_counts_as_the_run_s() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(8)).await;
    let operator = operator(&cluster);
    let request = PlanRequest {
        action: Action::Purge,
        filter: Filter::default(),
        limit: Some(4),
        force: false,
    };
    let run = started(&operator, "alerter", request).await;
    let never = CancellationToken::new();
    trimming(&cluster, "-ltrim").await;
    let refused = operator.work_at(&run.run, |_| {}, &never).await;
    refused.expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;
    assert_eq!(cluster.len(SOURCE).await, 8);

    let lease = format!("{{{SOURCE}}}:mutt:remediation:{SOURCE}:lease");
    let _: i64 = cluster.at(SOURCE).await.command(&["DEL", &lease]).await;
    let ended = operator.work_at(&run.run, |_| {}, &never).await;
    let ended = ended.expect("it ends");
    assert_eq!((ended.state, ended.moved), (RunState::Done, 4));
    assert_eq!(ids(&cluster, SOURCE).await, [4, 5, 6, 7]);
}

#[tokio::test]
async fn what_is_evicted_goes_to_a_list_beside_the_dead_list() {
    let cluster = Cluster::start().await;
    cluster.push(DEAD, &letters(250)).await;
    let attic = format!("{{{DEAD}}}:attic");
    let archive = format!("list:{attic}");
    let bounds = [
        ("DEAD_LETTER_MAX", "20"),
        ("DEAD_LETTER_ARCHIVE", archive.as_str()),
    ];
    let _daemon = daemon(&cluster, APART, &bounds);
    until("it is within its bounds", || async {
        cluster.len(DEAD).await == 20
    })
    .await;
    assert_eq!(ids(&cluster, DEAD).await, (230..250).collect::<Vec<_>>());
    assert_eq!(ids(&cluster, &attic).await, (0..230).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_that_was_begun_is_trimmed_although_an_operator_has_made_room_there() {
    let cluster = Cluster::start().await;
    let all = letters(2_500);
    cluster.push(SOURCE, &all).await;
    let operator = operator(&cluster);
    let mut drain = super::queue(&cluster);
    let (_, plan) = super::planned(&mut drain, 4).await;
    trimming(&cluster, "-ltrim").await;
    let begun = drain.commit(&plan.transfers).await;
    begun.expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;
    // An operator who has seen nothing begun brings two messages to the old end just now, and the
    // two oldest lie where these were.
    let meant = [1_800, 2_200].map(|at: usize| (at as u64, digest(all[at].as_bytes())));
    let brought = operator
        .store()
        .bring(SOURCE, std::iter::once(meant.to_vec()))
        .await;
    assert!(brought.expect("an answer"));

    super::queue(&cluster).finish().await.expect("finished");
    assert_eq!(ids(&cluster, TARGET).await, [0, 1, 2, 3]);
    assert_eq!(ids(&cluster, SOURCE).await, (4..2_500).collect::<Vec<_>>());
}

fn purge(filter: Filter) -> PlanRequest {
    PlanRequest {
        action: Action::Purge,
        filter,
        limit: Some(4),
        force: false,
    }
}

async fn acts(operator: &Operator) -> Vec<AuditEntry> {
    let request = AuditRequest {
        kind: Some("act".into()),
        ..AuditRequest::default()
    };
    operator.audit(&request).await.expect("an audit").entries
}

#[tokio::test]
async fn a_batch_that_somebody_else_ends_is_told_in_the_name_of_who_began_it() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(8)).await;
    let operator = operator(&cluster);
    let run = started(&operator, "alerter", purge(Filter::default())).await;
    let never = CancellationToken::new();
    trimming(&cluster, "-ltrim").await;
    let refused = operator.work_at(&run.run, |_| {}, &never).await;
    refused.expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;

    // While the run is somebody's, the drain is what ends its batch.
    let _daemon = daemon(&cluster, APART, &[("POD_NAME", "another")]);
    until("it is ended", || async { cluster.len(SOURCE).await == 4 }).await;
    let told = acts(&operator).await;
    let batch = told.iter().find(|entry| entry.fields["act"] == "run");
    let batch = batch.expect("it is told");
    let field = |name: &str| batch.fields.get(name).map(String::as_str);
    assert_eq!(field("who"), Some("alice"));
    assert_eq!(field("run"), Some(run.run.as_str()));
    assert_eq!(field("purged"), Some("4"));
    assert_eq!(
        (field("instance"), field("finished_by")),
        (Some("here"), Some("another"))
    );
    assert_eq!(batch.digests.len(), 4);

    until("the run has counted it", || async {
        let run = operator.run(&run.run).await.expect("it is known");
        (run.state, run.moved) == (RunState::Done, 4)
    })
    .await;
}

#[tokio::test]
async fn at_maxmemory_messages_are_thrown_away_and_no_other_batch_is_begun() {
    let cluster = Cluster::start().await;
    let all = letters(40);
    cluster.push(SOURCE, &all).await;
    let operator = operator(&cluster);
    let limit = async |bytes: &str| {
        for node in cluster.nodes() {
            node.command::<()>(&["CONFIG", "SET", "maxmemory", bytes])
                .await;
        }
    };
    limit("1").await;
    let act = |action| ActRequest {
        action,
        messages: vec![Named {
            digest: digest(all[30].as_bytes()),
            at: None,
        }],
        force: false,
    };
    for action in [Action::Replay, Action::Bury] {
        let refused = operator.act("alerter", &act(action), &who()).await;
        assert!(matches!(refused, Err(Error::Redis(_))), "{refused:?}");
    }
    let purged = operator.act("alerter", &act(Action::Purge), &who()).await;
    assert_eq!(purged.expect("an outcome").moved, 1);
    let odd = Filter {
        host: Some("sw1".into()),
        ..Filter::default()
    };
    let run = started(&operator, "alerter", purge(odd)).await;
    let never = CancellationToken::new();
    let ended = operator.work_at(&run.run, |_| {}, &never).await;
    assert_eq!(ended.expect("it ends").moved, 4);
    let left = (0..40).filter(|i| ![1, 3, 5, 7, 30].contains(i));
    assert_eq!(ids(&cluster, SOURCE).await, left.collect::<Vec<_>>());
    assert_eq!((cluster.len(TARGET).await, cluster.len(DEAD).await), (0, 0));
    limit("0").await;
    let bury = operator.act("alerter", &act(Action::Bury), &who()).await;
    assert_eq!(bury.expect("an outcome").moved, 0, "it is gone");
}

#[tokio::test]
async fn with_a_common_hash_tag_a_run_moves_under_its_lease_in_one_step() {
    let cluster = Cluster::start().await;
    cluster.push(TOGETHER[0], &letters(40)).await;
    let operator = operator_of(&cluster, TOGETHER);
    let run = started(&operator, "alerter", purge(Filter::default())).await;
    let never = CancellationToken::new();
    let ended = operator.work_at(&run.run, |_| {}, &never).await;
    assert_eq!(ended.expect("it ends").summary, "moved 4 of 4");
    assert_eq!(
        ids(&cluster, TOGETHER[0]).await,
        (4..40).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn nothing_is_begun_unless_the_lease_is_held_and_enough_stay() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(8)).await;
    let key = format!("{{{SOURCE}}}:lease");
    let source = cluster.at(SOURCE).await;
    source.command::<()>(&["SET", &key, "me"]).await;
    let lease = |says: &str| {
        Some(Lease {
            key: key.clone(),
            says: says.into(),
        })
    };
    for (says, keep, moved) in [("you", 0, 0), ("me", 5, 0), ("me", 4, 4)] {
        let lease = lease(says);
        let mut queue = super::queue(&cluster).with_proviso(Proviso { lease, keep });
        let (_, plan) = super::planned(&mut queue, 4).await;
        let committed = queue.commit(&plan.transfers).await.expect("answered");
        assert_eq!(
            committed == Committed::Conflict,
            moved == 0,
            "{says} {keep}"
        );
        assert_eq!(cluster.len(TARGET).await, moved, "{says} {keep}");
    }
}

#[tokio::test]
async fn what_is_moved_between_the_look_at_the_lease_and_the_push_has_the_push_refused() {
    let cluster = parted().await;
    // Which of them are moved nobody can tell.
    cluster.push(SOURCE, &["{}"; 20]).await;
    let mut first = super::queue(&cluster);
    let (_, plan) = super::planned(&mut first, 4).await;
    first.commit(&plan.transfers).await.expect("committed");
    let (_, plan) = super::planned(&mut first, 4).await;
    let node = cluster.owner(TARGET).await;
    let mut stepper = Stepper::before(cluster.node(node).port()).await;
    announced(&cluster, node, stepper.port()).await;
    let mut sleeper = super::queue(&cluster);
    let (_, theirs) = super::planned(&mut sleeper, 4).await;
    stepper.stop_at(Stop::Request("EVALSHA", 1));
    let asleep = tokio::spawn(async move { sleeper.commit(&theirs.transfers).await });
    let held = stepper.held().await;
    let moved = first.commit(&plan.transfers).await.expect("committed");
    assert_ne!(moved, Committed::Conflict);
    held.go(Onward::Pass);
    let late = asleep.await.expect("no panic").expect("answered");
    assert_eq!(late, Committed::Conflict);
    assert_eq!(
        (cluster.len(SOURCE).await, cluster.len(TARGET).await),
        (12, 8)
    );
}
