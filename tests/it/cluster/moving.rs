//! A worker with an old view of the slots: while one step of a batch is on its way to a node, the
//! slot moves to another one. The node answers with a redirection, which nobody follows: the pass
//! ends, the next one asks where the slot is, and every message is in exactly one list.

use mutt_remediation::dlq::{Committed, Error};
use mutt_remediation::link::Reason;

use super::apart::{announced, parted};
use super::{APART, TOGETHER, each_once, letters, planned, queue, queue_of};
use crate::support::{Cluster, DEAD, First, Onward, SOURCE, Stepper, Stop, TARGET};
use Stop::{Reply, Request};

/// How far the slot has come when the step arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Far {
    /// Its keys are at the other node, and neither node serves it yet: `ASK`.
    Underway,
    /// The other node serves it: `MOVED`.
    There,
}

/// Messages in source, target and dead list.
type Depths = [usize; 3];

const NOTHING: Depths = [4, 0, 0];
const PUSHED: Depths = [4, 2, 0];
const PARKED: Depths = [4, 2, 2];
const MOVED: Depths = [0, 2, 2];

async fn depths(cluster: &Cluster, lists: [&str; 3]) -> Depths {
    let mut depths = [0; 3];
    for (depth, list) in depths.iter_mut().zip(lists) {
        *depth = cluster.len(list).await;
    }
    depths
}

/// A node with a proxy that all lines to it go through, and its slot that comes and goes.
struct Home<'a> {
    cluster: &'a Cluster,
    list: &'a str,
    node: usize,
    stepper: Stepper,
}

impl<'a> Home<'a> {
    async fn of(cluster: &'a Cluster, list: &'a str) -> Self {
        let node = cluster.owner(list).await;
        let stepper = Stepper::before(cluster.node(node).port()).await;
        announced(cluster, node, stepper.port()).await;
        Self {
            cluster,
            list,
            node,
            stepper,
        }
    }

    /// Clears the lists, has a new worker commit a batch, and the slot move while this step of it
    /// is held. Returns how the commit ended.
    async fn leaves_at(
        &mut self,
        lists: [&str; 3],
        stop: Stop,
        far: Far,
    ) -> Result<Committed, Error> {
        let cluster = self.cluster;
        for list in lists {
            cluster.at(list).await.command::<()>(&["DEL", list]).await;
        }
        cluster.push(lists[0], &letters(4)).await;
        let mut worker = queue_of(cluster, lists, None);
        let (finished, plan) = planned(&mut worker, 4).await;
        assert_eq!(finished, [], "{stop:?}");
        self.stepper.stop_at(stop);
        let commit = tokio::spawn(async move { worker.commit(&plan.transfers).await });
        let held = self.stepper.held().await;

        let others = cluster.primaries().await;
        let to = others.into_iter().find(|to| *to != self.node);
        let to = to.expect("three primaries");
        let handover = cluster.hand_over(self.list, to, First::Taker).await;
        let both = [First::Taker, First::Giver];
        if far == Far::There {
            for node in both {
                cluster.tell(&handover, node).await;
            }
        }
        held.go(Onward::Pass);
        let committed = commit.await.expect("it ended");
        if far == Far::Underway {
            for node in both {
                cluster.tell(&handover, node).await;
            }
        }
        cluster.settled().await;
        committed
    }

    /// Brings the slot back.
    async fn returns(&self) {
        let both = [First::Taker, First::Giver];
        let handover = self
            .cluster
            .hand_over(self.list, self.node, First::Taker)
            .await;
        for node in both {
            self.cluster.tell(&handover, node).await;
        }
        self.cluster.settled().await;
    }
}

/// Has the slot of a list move at these steps of a batch, one after the other.
async fn moves(list: &str, steps: &[(Stop, Depths)]) {
    let cluster = parted().await;
    // Every script is known everywhere from here on, so that each step is one command.
    cluster.push(SOURCE, &letters(4)).await;
    let mut first = queue(&cluster);
    let (_, plan) = planned(&mut first, 4).await;
    first.commit(&plan.transfers).await.expect("committed");
    let mut home = Home::of(&cluster, list).await;
    for (stop, then) in steps {
        for far in [Far::Underway, Far::There] {
            let committed = home.leaves_at(APART, *stop, far).await;
            assert_eq!(depths(&cluster, APART).await, *then, "{stop:?}, {far:?}");
            match committed {
                Ok(committed) => {
                    assert_eq!(*then, MOVED, "{stop:?}, {far:?}: {committed:?}");
                }
                Err(error) => assert_eq!(error.link().reason, Reason::Cluster, "{error}"),
            }

            // Whoever comes next ends what was begun.
            let mut next = queue(&cluster);
            let (finished, plan) = planned(&mut next, 4).await;
            let begun = *then != NOTHING && *then != MOVED;
            let expected = if begun { 4 } else { 0 };
            assert_eq!(finished.len(), expected, "{stop:?}, {far:?}");
            if !plan.transfers.is_empty() {
                next.commit(&plan.transfers).await.expect("committed");
            }
            each_once(&cluster, APART, 4).await;
            assert_eq!(depths(&cluster, APART).await, MOVED, "{stop:?}, {far:?}");
            home.returns().await;
        }
    }
}

#[tokio::test]
async fn a_batch_moves_once_though_the_slot_of_its_source_moves_in_mid_commit() {
    // The comparison, and the trim.
    let steps = [
        (Request("EVALSHA", 1), NOTHING),
        (Request("EVALSHA", 2), PARKED),
        (Reply("EVALSHA", 2), MOVED),
    ];
    moves(SOURCE, &steps).await;
}

#[tokio::test]
async fn a_batch_moves_once_though_the_slot_of_its_target_moves_in_mid_commit() {
    let steps = [
        (Request("EVALSHA", 1), NOTHING),
        // The node has what was pushed, and takes it along.
        (Reply("EVALSHA", 1), MOVED),
        (Request("WAIT", 1), MOVED),
    ];
    moves(TARGET, &steps).await;
}

#[tokio::test]
async fn a_batch_moves_once_though_the_slot_of_its_dead_list_moves_in_mid_commit() {
    let steps = [
        (Request("EVALSHA", 1), PUSHED),
        (Reply("EVALSHA", 1), MOVED),
        (Request("WAIT", 1), MOVED),
    ];
    moves(DEAD, &steps).await;
}

#[tokio::test]
async fn a_transaction_moves_all_or_nothing_though_its_slot_moves_before_exec() {
    let cluster = Cluster::start().await;
    let mut home = Home::of(&cluster, TOGETHER[0]).await;
    for step in ["LPUSH", "EXEC"] {
        for far in [Far::Underway, Far::There] {
            let committed = home.leaves_at(TOGETHER, Request(step, 1), far).await;
            // Where the slot is there, the worker asks for it, compares and moves.
            let moved = matches!(committed, Ok(Committed::Moved { .. }));
            let then = if moved { MOVED } else { NOTHING };
            let found = depths(&cluster, TOGETHER).await;
            assert_eq!(found, then, "{step}, {far:?}: {committed:?}");
            assert!(!moved || far == Far::There, "{step}: nobody served it");

            let mut next = queue_of(&cluster, TOGETHER, None);
            let (_, plan) = planned(&mut next, 4).await;
            if !plan.transfers.is_empty() {
                next.commit(&plan.transfers).await.expect("committed");
            }
            each_once(&cluster, TOGETHER, 4).await;
            assert_eq!(depths(&cluster, TOGETHER).await, MOVED);
            home.returns().await;
        }
    }
}
