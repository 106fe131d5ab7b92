//! A worker with an old view of the slots: while one step of a batch is on its way to a node, the
//! slot moves to another one. The node answers with a redirection, which nobody follows: the pass
//! ends, the next one asks where the slot is, and every message is in exactly one list.

use mutt_remediation::dlq::{Committed, Error};
use mutt_remediation::link::Reason;

use super::apart::{announced, parted};
use super::{APART, TOGETHER, daemon, each_once, empty, letters, planned, queue, queue_of};
use crate::support::{Cluster, DEAD, First, Onward, SOURCE, Stepper, Stop, TARGET, until};
use Stop::{Reply, Request};

/// How far the slot has come when the step arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Far {
    /// This key of it is at the other node, or all but this one: `TRYAGAIN`, because no node has all
    /// that a step of several keys needs.
    Only(&'static str),
    AllBut(&'static str),
    /// Its keys are at the other node, and neither node serves it yet: `ASK`.
    Underway,
    /// The other node serves it: `MOVED`.
    There,
}

impl Far {
    /// The worker has to say why it moved nothing.
    fn told(self, error: &Error) {
        assert_eq!(error.link().reason, Reason::Cluster, "{self:?}: {error}");
        let detail = &error.link().detail;
        let parted = matches!(self, Self::Only(_) | Self::AllBut(_));
        assert!(!parted || detail.contains("TRYAGAIN"), "{self:?}: {detail}");
    }
}

/// Messages in source, target and dead list.
type Depths = [usize; 3];

// In target and dead list there is one before, so that they have something to move.
const NOTHING: Depths = [4, 1, 1];
const PUSHED: Depths = [4, 3, 1];
const PARKED: Depths = [4, 3, 3];
const MOVED: Depths = [0, 3, 3];
const LETTERS: usize = 6;

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

    /// Fills the lists, has a new worker commit a batch, and the slot move while this step of it
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
        let moved_before = r#"{"id":4,"_remediation_count":1}"#;
        cluster.push(lists[1], &[moved_before]).await;
        cluster.push(lists[2], &["no json 5"]).await;
        let mut worker = queue_of(cluster, lists, None);
        let (finished, plan) = planned(&mut worker, 4).await;
        assert_eq!(finished, [], "{stop:?}");
        self.stepper.stop_at(stop);
        let commit = tokio::spawn(async move { worker.commit(&plan.transfers).await });
        let held = self.stepper.held().await;

        let others = cluster.primaries().await;
        let to = others.into_iter().find(|to| *to != self.node);
        let to = to.expect("three primaries");
        let begin = First::Taker;
        let handover = cluster.announce_move(self.list, to, begin).await;
        match far {
            Far::Only(key) => cluster.carry(&handover, key).await,
            Far::AllBut(stays) => {
                let keys = cluster.left(&handover, 10).await;
                for key in keys.iter().filter(|key| *key != stays) {
                    cluster.carry(&handover, key).await;
                }
            }
            Far::Underway | Far::There => cluster.carry_the_rest(&handover).await,
        }
        if far == Far::There {
            cluster.tell_both(&handover).await;
        }
        held.go(Onward::Pass);
        let committed = commit.await.expect("it ended");
        if far != Far::There {
            cluster.carry_the_rest(&handover).await;
            cluster.tell_both(&handover).await;
        }
        cluster.settled().await;
        committed
    }

    /// Brings the slot back.
    async fn returns(&self) {
        let cluster = self.cluster;
        let back = cluster.hand_over(self.list, self.node, First::Taker).await;
        cluster.tell_both(&back).await;
        cluster.settled().await;
    }
}

/// Has the slot of a list move this far at these steps of a batch, one after the other.
async fn moves(list: &str, steps: &[(Stop, Depths)], ways: &[Far]) {
    let cluster = parted().await;
    // Every script is known everywhere from here on, so that each step is one command.
    cluster.push(SOURCE, &letters(4)).await;
    let mut first = queue(&cluster);
    let (_, plan) = planned(&mut first, 4).await;
    first.commit(&plan.transfers).await.expect("committed");
    let mut home = Home::of(&cluster, list).await;
    for (stop, then) in steps {
        for far in ways {
            let committed = home.leaves_at(APART, *stop, *far).await;
            assert_eq!(depths(&cluster, APART).await, *then, "{stop:?}, {far:?}");
            match committed {
                Ok(committed) => {
                    assert_eq!(*then, MOVED, "{stop:?}, {far:?}: {committed:?}");
                }
                Err(error) => far.told(&error),
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
            each_once(&cluster, APART, LETTERS).await;
            assert_eq!(depths(&cluster, APART).await, MOVED, "{stop:?}, {far:?}");
            home.returns().await;
        }
    }
}

/// Both ways in which a slot moves as a whole.
const WHOLE: [Far; 2] = [Far::Underway, Far::There];

#[tokio::test]
async fn a_batch_moves_once_though_the_slot_of_its_source_moves_in_mid_commit() {
    // The comparison, and the trim.
    let steps = [
        (Request("EVALSHA", 1), NOTHING),
        (Request("EVALSHA", 2), PARKED),
        (Reply("EVALSHA", 2), MOVED),
    ];
    moves(SOURCE, &steps, &WHOLE).await;
}

#[tokio::test]
async fn a_batch_moves_once_though_the_slot_of_its_target_moves_in_mid_commit() {
    let steps = [
        (Request("EVALSHA", 1), NOTHING),
        // The node has what was pushed, and takes it along.
        (Reply("EVALSHA", 1), MOVED),
        (Request("WAIT", 1), MOVED),
    ];
    moves(TARGET, &steps, &WHOLE).await;
}

#[tokio::test]
async fn a_batch_moves_once_though_the_slot_of_its_dead_list_moves_in_mid_commit() {
    let steps = [
        (Request("EVALSHA", 1), PUSHED),
        (Reply("EVALSHA", 1), MOVED),
        (Request("WAIT", 1), MOVED),
    ];
    moves(DEAD, &steps, &WHOLE).await;
}

/// The list and what is known of batches beside it are on two nodes, either of them first.
#[tokio::test]
async fn a_batch_in_two_steps_moves_once_though_a_list_moves_before_its_records_or_after_them() {
    let halves = |list| [Far::Only(list), Far::AllBut(list)];
    let source = [
        (Request("EVALSHA", 1), NOTHING),
        (Request("EVALSHA", 2), PARKED),
    ];
    moves(SOURCE, &source, &halves(SOURCE)).await;
    let target = [(Request("EVALSHA", 1), NOTHING)];
    moves(TARGET, &target, &halves(TARGET)).await;
    let dead = [(Request("EVALSHA", 1), PUSHED)];
    moves(DEAD, &dead, &halves(DEAD)).await;
}

/// Has the slot of all three lists move this far before a transaction and before its end.
async fn moves_together(ways: &[Far]) {
    let cluster = Cluster::start().await;
    let mut home = Home::of(&cluster, TOGETHER[0]).await;
    for step in ["LPUSH", "EXEC"] {
        for far in ways {
            let committed = home.leaves_at(TOGETHER, Request(step, 1), *far).await;
            // Where the slot is there, the worker asks for it, compares and moves.
            let moved = matches!(committed, Ok(Committed::Moved { .. }));
            let then = if moved { MOVED } else { NOTHING };
            let found = depths(&cluster, TOGETHER).await;
            assert_eq!(found, then, "{step}, {far:?}: {committed:?}");
            assert!(!moved || *far == Far::There, "{step}: nobody served it");
            if let Err(error) = committed {
                far.told(&error);
            }

            let mut next = queue_of(&cluster, TOGETHER, None);
            let (_, plan) = planned(&mut next, 4).await;
            if !plan.transfers.is_empty() {
                next.commit(&plan.transfers).await.expect("committed");
            }
            each_once(&cluster, TOGETHER, LETTERS).await;
            assert_eq!(depths(&cluster, TOGETHER).await, MOVED);
            home.returns().await;
        }
    }
}

#[tokio::test]
async fn a_transaction_moves_all_or_nothing_though_its_slot_moves_before_exec() {
    moves_together(&WHOLE).await;
}

#[tokio::test]
async fn a_transaction_moves_nothing_while_its_lists_are_on_both_nodes_of_a_moving_slot() {
    let ways = TOGETHER.map(|list| [Far::Only(list), Far::AllBut(list)]);
    moves_together(ways.as_flattened()).await;
}

/// With a common tag, and with the audit among the keys. Dead letters arrive all the while.
#[tokio::test]
async fn a_drain_waits_while_its_keys_are_on_both_nodes_of_a_moving_slot_and_loses_nothing() {
    let cluster = Cluster::start().await;
    // Some seconds' work, so that there is something left when the slot is on its way.
    let letters = letters(1_600);
    let (before, meanwhile) = letters.split_at(1_500);
    let [source, _, dead] = TOGETHER;
    cluster.push(source, before).await;
    let daemon = daemon(&cluster, TOGETHER, &[("REMEDIATION_BATCH_PAUSE_MS", "50")]);
    until("it drains", || async {
        cluster.len(source).await < 1_450 && cluster.len(dead).await > 0
    })
    .await;

    let giver = cluster.owner(source).await;
    let others = cluster.primaries().await.into_iter();
    let to = others.filter(|node| *node != giver).max();
    let to = to.expect("three primaries");
    let handover = cluster.announce_move(source, to, First::Taker).await;
    // The source can still be read, and its target be looked at: it is the commit that lacks a key.
    cluster.carry(&handover, dead).await;
    let giver = cluster.node(giver);
    giver.push(source, meanwhile).await;
    daemon.until_logged("TRYAGAIN").await;
    let left = giver.len(source).await;
    let failed = "mutt_remediation_replay_fail_total{reason=\"cluster\"}";
    let so_far = daemon.metric(failed).await.expect("it is exposed");
    daemon
        .until_metric(failed, |count| count >= so_far + 2.0)
        .await;
    assert_eq!(giver.len(source).await, left, "nothing moved");
    assert!(left > meanwhile.len(), "there was something to move");

    cluster.carry_the_rest(&handover).await;
    cluster.tell_both(&handover).await;
    empty(&cluster, source).await;
    each_once(&cluster, TOGETHER, letters.len()).await;
}
