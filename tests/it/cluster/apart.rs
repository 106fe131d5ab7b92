//! What may befall a move in two steps between one step and the next.

use std::time::Duration;

use mutt_remediation::link::{Reason, Wait};

use super::{
    APART, count, daemon, each_once, empty, letters, planned, queue, trimming, waiting_queue,
};
use crate::support::{Cluster, DEAD, First, Onward, SOURCE, Stepper, Stop, Stuck, TARGET, until};

/// A cluster whose three lists are on three nodes.
pub(super) async fn parted() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.part(&APART).await;
    cluster.settled().await;
    cluster
}

/// Has the replica of a list's node get nothing from now on, and returns which one it is.
async fn cut_off(cluster: &Cluster, list: &str) -> usize {
    let node = cluster.at(list).await;
    node.until_replicated().await;
    let replica = cluster.replica(list).await;
    let unknown = ["CONFIG", "SET", "masterauth", "unknown"];
    cluster.node(replica).command::<()>(&unknown).await;
    let kill = ["CLIENT", "KILL", "TYPE", "replica"];
    let _: i64 = node.command(&kill).await;
    replica
}

pub(super) async fn memory(cluster: &Cluster, list: &str, bytes: &str) {
    let node = cluster.at(list).await;
    let words = ["CONFIG", "SET", "maxmemory", bytes];
    node.command::<()>(&words).await;
}

/// Moves all that is left, with a queue that has begun nothing.
async fn drain_the_rest(cluster: &Cluster, entries: u64) {
    let mut next = queue(cluster);
    while cluster.len(SOURCE).await > 0 {
        let (_, plan) = planned(&mut next, entries).await;
        next.commit(&plan.transfers).await.expect("answered");
    }
}

#[tokio::test]
async fn a_target_that_forgets_its_push_has_not_let_poison_be_parked() {
    let cluster = parted().await;
    // The poison comes last, so that a smaller batch has none.
    let mut letters = letters(4);
    letters.rotate_left(2);
    cluster.push(SOURCE, &letters).await;
    let mut first = queue(&cluster);
    // It sees that the target has a replica.
    let (_, plan) = planned(&mut first, 1).await;
    first.commit(&plan.transfers).await.expect("committed");
    let (_, plan) = planned(&mut first, 3).await;
    let replica = cut_off(&cluster, TARGET).await;
    let committed = first.commit(&plan.transfers).await;
    committed.expect_err("no replica has it");
    assert_eq!(cluster.len(TARGET).await, 2, "it was pushed");
    cluster.take_over(replica).await;

    // The next batch is another one, as it is after a fault.
    drain_the_rest(&cluster, 1).await;
    each_once(&cluster, APART, 4).await;
}

#[tokio::test]
async fn a_replica_that_dies_holds_the_drain_up_for_a_moment_only() {
    let mut cluster = parted().await;
    let letters = letters(600);
    cluster.push(SOURCE, &letters).await;
    let more = [
        ("REMEDIATION_BATCH_PAUSE_MS", "20"),
        ("REDIS_TIMEOUT", "20"),
    ];
    let daemon = daemon(&cluster, APART, &more);
    until("it drains", || async { cluster.len(SOURCE).await < 500 }).await;
    let replica = cluster.replica(TARGET).await;
    cluster.node_mut(replica).kill();
    empty(&cluster, SOURCE).await;
    each_once(&cluster, APART, letters.len()).await;
    let failed = "mutt_remediation_replay_fail_total{reason=\"replicas_behind\"}";
    assert!(daemon.metric(failed).await > Some(0.0));
    let warned = daemon.log().matches("has no replica any more").count();
    assert_eq!(warned, 1, "{}", daemon.log());
}

#[tokio::test]
async fn however_many_workers_there_are_a_failover_of_the_source_doubles_nothing() {
    let cluster = parted().await;
    let letters = letters(80);
    cluster.push(SOURCE, &letters).await;
    let mut workers = [(); 3].map(|()| Some(queue(&cluster)));
    for worker in workers.iter_mut().flatten() {
        // It sees that the source has a replica.
        let (_, plan) = planned(worker, 1).await;
        worker.commit(&plan.transfers).await.expect("committed");
    }
    let replica = cut_off(&cluster, SOURCE).await;
    while workers.iter().any(Option::is_some) {
        for place in &mut workers {
            let Some(worker) = place else { continue };
            // Its first failure is its last batch.
            match worker.finish().await {
                Ok(_) => {
                    let (_, plan) = planned(worker, 1).await;
                    worker.commit(&plan.transfers).await.expect("committed");
                }
                Err(error) => {
                    assert_eq!(error.link().reason, Reason::ReplicasBehind, "{error}");
                    *place = None;
                }
            }
        }
    }
    let left = cluster.len(SOURCE).await;
    assert!(left > 0, "nobody waited for the replica");
    cluster.take_over(replica).await;
    drain_the_rest(&cluster, 1).await;
    each_once(&cluster, APART, letters.len()).await;
}

#[tokio::test]
async fn a_full_source_that_has_gone_back_too_far_is_drained_all_the_same() {
    let cluster = parted().await;
    cluster.push(SOURCE, &letters(4)).await;
    let mut first = queue(&cluster);
    let (_, plan) = planned(&mut first, 1).await;
    first.commit(&plan.transfers).await.expect("committed");
    let sequence = format!("{{{SOURCE}}}:mutt:remediation:sequence:{SOURCE}");
    let back = ["SET", &*sequence, "7"];
    cluster.at(SOURCE).await.command::<()>(&back).await;
    memory(&cluster, SOURCE, "1").await;
    drain_the_rest(&cluster, 1).await;
    each_once(&cluster, APART, 4).await;
}

#[tokio::test]
async fn what_was_pushed_to_a_primary_that_is_replaced_is_not_trimmed() {
    let cluster = parted().await;
    // `ROLE` comes after the push, and `WAIT` after that.
    for step in ["ROLE", "WAIT"] {
        cluster.push(SOURCE, &letters(4)).await;
        let old = cluster.owner(TARGET).await;
        let replica = cut_off(&cluster, TARGET).await;
        let mut stepper = Stepper::before(cluster.node(old).port()).await;
        announced(&cluster, old, stepper.port()).await;
        let wait = Wait {
            replicas: 1,
            timeout: Duration::from_millis(500),
        };
        let mut first = waiting_queue(&cluster, Some(wait));
        let (_, plan) = planned(&mut first, 4).await;
        stepper.stop_at(Stop::Request(step, 1));
        let commit = tokio::spawn(async move { first.commit(&plan.transfers).await });
        let held = stepper.held().await;
        assert_eq!(cluster.node(old).len(TARGET).await, 2, "it was pushed");
        cluster.take_over(replica).await;
        until("the old primary follows", || async {
            let info: String = cluster.node(old).command(&["INFO", "replication"]).await;
            info.contains("role:slave")
        })
        .await;
        held.go(Onward::Pass);
        let committed = commit.await.expect("it ended");
        committed.expect_err("the node is no primary any more");
        assert_eq!(cluster.len(SOURCE).await, 4, "{step}");

        announced(&cluster, old, cluster.node(old).port()).await;
        drain_the_rest(&cluster, 4).await;
        each_once(&cluster, APART, 4).await;
        for list in APART {
            cluster.at(list).await.command::<()>(&["DEL", list]).await;
        }
        cluster.settled().await;
    }
}

/// Has all nodes lead to a node by this port.
pub(super) async fn announced(cluster: &Cluster, node: usize, port: u16) {
    let port = port.to_string();
    let announce = ["CONFIG", "SET", "cluster-announce-port", &port];
    cluster.node(node).command::<()>(&announce).await;
    until("all nodes know the port", || async {
        let mut all = true;
        for index in 0..6 {
            let nodes: String = cluster.node(index).command(&["CLUSTER", "NODES"]).await;
            all &= nodes.contains(&format!(":{port}@"));
        }
        all
    })
    .await;
}

#[tokio::test]
async fn memory_that_ends_on_one_side_between_the_steps_doubles_nothing() {
    let cluster = parted().await;
    cluster.push(SOURCE, &letters(8)).await;
    // Of the dead list: the replays are pushed, and nothing is trimmed.
    memory(&cluster, DEAD, "1").await;
    let mut first = queue(&cluster);
    let (_, plan) = planned(&mut first, 4).await;
    let committed = first.commit(&plan.transfers).await;
    committed.expect_err("it cannot park");
    let len = async |list| cluster.len(list).await;
    assert_eq!((len(SOURCE).await, len(TARGET).await), (8, 2));
    first.finish().await.expect_err("it still cannot park");
    memory(&cluster, DEAD, "0").await;
    assert_eq!(planned(&mut queue(&cluster), 1).await.0.len(), 4);
    assert_eq!((len(SOURCE).await, len(DEAD).await), (4, 2));

    // Of the source, and of the target by what was pushed: what was begun is ended all the same.
    let mut dying = queue(&cluster);
    let (_, plan) = planned(&mut dying, 2).await;
    trimming(&cluster, "-ltrim").await;
    let committed = dying.commit(&plan.transfers).await;
    committed.expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;
    memory(&cluster, SOURCE, "1").await;
    memory(&cluster, TARGET, "1").await;
    assert_eq!(planned(&mut queue(&cluster), 1).await.0.len(), 2);

    // The target takes no more.
    let mut late = queue(&cluster);
    let (_, plan) = planned(&mut late, 4).await;
    let committed = late.commit(&plan.transfers).await;
    committed.expect_err("it cannot replay");
    assert_eq!(len(SOURCE).await, 2);
    memory(&cluster, TARGET, "0").await;
    // The source is full, and drained all the same, which is what makes room.
    drain_the_rest(&cluster, 4).await;
    each_once(&cluster, APART, 8).await;
}

#[tokio::test]
async fn a_batch_that_was_begun_is_finished_while_the_gate_is_shut() {
    let cluster = parted().await;
    cluster.push(SOURCE, &letters(7)).await;
    let mut dying = queue(&cluster);
    let (_, plan) = planned(&mut dying, 4).await;
    trimming(&cluster, "-ltrim").await;
    let committed = dying.commit(&plan.transfers).await;
    committed.expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;
    let breaker = "mutt:circuit_breaker:moogsoft:state";
    let forwarder = cluster.at(breaker).await;
    forwarder.command::<()>(&["SET", breaker, "OPEN"]).await;

    let daemon = daemon(&cluster, APART, &[]);
    let held = "mutt_remediation_passes_total{outcome=\"held\",source=\"alerter\"}";
    daemon.until_metric(held, |passes| passes >= 2.0).await;
    assert_eq!(cluster.len(SOURCE).await, 3, "no other batch was begun");
    let moved = "mutt_remediation_replay_success_total";
    assert_eq!(daemon.metric(moved).await, Some(2.0));
    forwarder.command::<()>(&["DEL", breaker]).await;
    empty(&cluster, SOURCE).await;
    each_once(&cluster, APART, 7).await;
}

#[tokio::test]
async fn queues_that_share_their_destinations_do_not_take_each_other_s_batches_for_their_own() {
    let cluster = parted().await;
    // Target and dead list of these share a slot, too.
    let [target, dead] = ["{shared}:work", "{shared}:dead"];
    let sources = [SOURCE, "mutt:dlq:other"];
    let letters = letters(1_600);
    let (ours, theirs) = letters.split_at(800);
    cluster.push(sources[0], ours).await;
    cluster.push(sources[1], theirs).await;
    let left = async || cluster.len(sources[0]).await + cluster.len(sources[1]).await;
    let mut goal = 1_600_usize;
    while left().await > 0 {
        let daemons = sources.map(|source| daemon(&cluster, [source, target, dead], &[]));
        goal = goal.saturating_sub(300);
        until("they have moved some", || async { left().await <= goal }).await;
        // Signal 9, whatever they are at.
        drop(daemons);
    }
    let _last = sources.map(|source| daemon(&cluster, [source, target, dead], &[]));
    for source in sources {
        empty(&cluster, source).await;
    }
    each_once(&cluster, [SOURCE, target, dead], letters.len()).await;
}

#[tokio::test]
async fn nodes_with_an_old_view_hold_a_worker_up_and_no_more() {
    let cluster = parted().await;
    let letters = letters(400);
    cluster.push(SOURCE, &letters).await;
    // The first node of the worker sends it to one that sends it elsewhere.
    let stuck = Stuck::node(cluster.at(DEAD).await.port());
    let nodes = format!("127.0.0.1:{},{}", stuck.port(), cluster.seeds());
    let more = [
        ("REDIS_CLUSTER_NODES", &*nodes),
        ("REMEDIATION_BATCH_PAUSE_MS", "20"),
    ];
    let daemon = daemon(&cluster, APART, &more);
    until("it drains", || async { cluster.len(SOURCE).await < 300 }).await;
    assert!(stuck.asked() > 0);

    // Two nodes send it to one another.
    let to = cluster.owner(DEAD).await;
    let handover = cluster.hand_over(SOURCE, to, First::Taker).await;
    cluster.tell(&handover, First::Giver).await;
    let failed = "mutt_remediation_replay_fail_total{reason=\"cluster\"}";
    let before = daemon.metric(failed).await.expect("it is exposed");
    daemon
        .until_metric(failed, |count| count >= before + 2.0)
        .await;
    cluster.tell(&handover, First::Taker).await;
    empty(&cluster, SOURCE).await;
    each_once(&cluster, APART, letters.len()).await;
    assert!(
        count(&cluster, APART)
            .await
            .values()
            .all(|times| *times == 1)
    );
}
