//! One blow at one step of a move in two steps: what has happened by then, and that every message is
//! in exactly one list in the end.
//!
//! The steps of a commit: the source is compared, the target gets the replays, its replica confirms,
//! the dead list gets the poison, its replica confirms, the source is trimmed.

use mutt_remediation::dlq::Disposition;

use super::apart::{announced, parted};
use super::{APART, each_once, letters, planned, queue};
use crate::support::{Cluster, DEAD, Onward, SOURCE, Stepper, Stop, TARGET};
use Stop::{Reply, Request};

/// Messages in source, target and dead list.
type Depths = [usize; 3];

const NOTHING: Depths = [4, 0, 0];
const PUSHED: Depths = [4, 2, 0];
const PARKED: Depths = [4, 2, 2];
const MOVED: Depths = [0, 2, 2];

async fn depths(cluster: &Cluster) -> Depths {
    let mut depths = [0; 3];
    for (depth, list) in depths.iter_mut().zip(APART) {
        *depth = cluster.len(list).await;
    }
    depths
}

/// Loses these steps, one after the other, on the line to the node of this list.
async fn lost(list: &str, steps: &[(Stop, Depths)]) {
    let cluster = parted().await;
    // Every script is known everywhere from here on, so that each step is one command.
    cluster.push(SOURCE, &letters(4)).await;
    let mut first = queue(&cluster);
    let (_, plan) = planned(&mut first, 4).await;
    first.commit(&plan.transfers).await.expect("committed");
    let node = cluster.owner(list).await;
    let mut stepper = Stepper::before(cluster.node(node).port()).await;
    announced(&cluster, node, stepper.port()).await;
    for (stop, then) in steps {
        for onward in [Onward::Cut, Onward::Half] {
            for list in APART {
                cluster.at(list).await.command::<()>(&["DEL", list]).await;
            }
            cluster.push(SOURCE, &letters(4)).await;
            let mut dying = queue(&cluster);
            let (finished, plan) = planned(&mut dying, 4).await;
            assert_eq!(finished, [], "{stop:?}");
            stepper.stop_at(*stop);
            let commit = tokio::spawn(async move { dying.commit(&plan.transfers).await });
            let held = stepper.held().await;
            assert_eq!(depths(&cluster).await, *then, "{stop:?}");
            held.go(onward);
            let committed = commit.await.expect("it ended");
            assert!(committed.is_err(), "{stop:?}: {committed:?}");

            // Whoever comes next ends what was begun, or finds all of it.
            let mut next = queue(&cluster);
            let (finished, plan) = planned(&mut next, 4).await;
            let begun = *then != NOTHING && *then != MOVED;
            assert_eq!(finished.len(), if begun { 4 } else { 0 }, "{stop:?}");
            let replays = finished.iter().filter(|one| **one == Disposition::Replay);
            assert_eq!(replays.count(), if begun { 2 } else { 0 }, "{stop:?}");
            if !plan.transfers.is_empty() {
                next.commit(&plan.transfers).await.expect("committed");
            }
            each_once(&cluster, APART, 4).await;
            assert_eq!(depths(&cluster).await, MOVED, "{stop:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_moves_once_whatever_is_lost_between_the_worker_and_its_source() {
    let steps = [
        (Request("EVALSHA", 1), NOTHING),
        (Reply("EVALSHA", 1), NOTHING),
        (Request("EVALSHA", 2), PARKED),
        (Reply("EVALSHA", 2), MOVED),
    ];
    lost(SOURCE, &steps).await;
}

#[tokio::test]
async fn a_batch_moves_once_whatever_is_lost_between_the_worker_and_its_target() {
    let steps = [
        (Request("EVALSHA", 1), NOTHING),
        (Reply("EVALSHA", 1), PUSHED),
        (Request("ROLE", 1), PUSHED),
        (Request("WAIT", 1), PUSHED),
        (Reply("WAIT", 1), PUSHED),
    ];
    lost(TARGET, &steps).await;
}

#[tokio::test]
async fn a_batch_moves_once_whatever_is_lost_between_the_worker_and_its_dead_list() {
    let steps = [
        (Request("EVALSHA", 1), PUSHED),
        (Reply("EVALSHA", 1), PARKED),
        (Request("ROLE", 1), PARKED),
        (Request("WAIT", 1), PARKED),
        (Reply("WAIT", 1), PARKED),
    ];
    lost(DEAD, &steps).await;
}

#[tokio::test]
async fn nothing_has_moved_when_the_number_of_a_batch_is_lost() {
    let cluster = parted().await;
    cluster.push(SOURCE, &letters(4)).await;
    let node = cluster.owner(SOURCE).await;
    let mut stepper = Stepper::before(cluster.node(node).port()).await;
    announced(&cluster, node, stepper.port()).await;
    for stop in [Request("EVALSHA", 1), Reply("EVALSHA", 1)] {
        let mut dying = queue(&cluster);
        stepper.stop_at(stop);
        let finish = tokio::spawn(async move { dying.finish().await });
        stepper.held().await.go(Onward::Cut);
        let finished = finish.await.expect("it ended");
        assert!(finished.is_err(), "{stop:?}: {finished:?}");
        assert_eq!(depths(&cluster).await, NOTHING, "{stop:?}");
    }
    let mut next = queue(&cluster);
    let (_, plan) = planned(&mut next, 4).await;
    next.commit(&plan.transfers).await.expect("committed");
    each_once(&cluster, APART, 4).await;
}
