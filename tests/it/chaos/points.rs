//! One blow at one step between peek and report: what has happened by then, and that every message
//! is in exactly one list in the end.
//!
//! The blow falls on the first batch, of four messages out of eight. The steps of a batch, as they
//! pass the proxy: `WATCH`, `EVAL` (the rehearsal), `EVALSHA` for each piece, `MULTI`, `LPUSH` and
//! `LTRIM` for each list, `EVAL`, `EXEC`. Redis does not know the script that reads at first, so
//! that the first three come twice. After a refusal `MULTI` and `EXEC` are tried, and then comes
//! `EVALSHA`, which Redis does not know either, and once more.

use super::letters::Letter;
use super::scene::{Depths, Scene, daemon, eight};
use super::schedule::Raid;
use crate::support::{Held, Onward, SOURCE, Stop, until};
use Onward::{Cut, Half, Pass, Swallow};
use Stop::{Reply, Request};

const NOTHING_MOVED: Depths = [8, 0, 0];
const ONE_BATCH_MOVED: Depths = [4, 3, 1];

/// Kills the daemon at this step.
async fn killed_at(stop: Stop, onward: Onward, then: Depths) {
    let (mut scene, held) = Scene::at(stop).await;
    scene.kill(held, onward).await;
    assert_eq!(scene.depths().await, then);
    scene.each_is_in_exactly_one_list().await;
}

/// Disturbs the line at this step; the daemon has to help itself.
async fn disturbed_at(stop: Stop, onward: Onward, then: Depths) {
    let (scene, held) = Scene::at(stop).await;
    assert_eq!(scene.depths().await, then);
    held.go(onward);
    scene.each_is_in_exactly_one_list().await;
}

#[tokio::test]
async fn all_stays_when_the_worker_is_killed_before_it_watches() {
    killed_at(Request("WATCH", 1), Pass, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_the_rehearsal_is_cut_off() {
    disturbed_at(Request("EVAL", 2), Cut, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_the_worker_is_killed_before_what_it_reads_reaches_it() {
    killed_at(Reply("EVALSHA", 2), Pass, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_what_is_read_is_cut_in_half() {
    disturbed_at(Reply("EVALSHA", 2), Half, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_multi_is_swallowed() {
    disturbed_at(Request("MULTI", 1), Swallow, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_the_worker_is_killed_in_an_open_transaction() {
    killed_at(Reply("MULTI", 1), Pass, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_a_push_is_cut_in_half() {
    disturbed_at(Request("LPUSH", 1), Half, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_the_worker_is_killed_between_its_two_pushes() {
    killed_at(Request("LPUSH", 2), Cut, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_the_worker_is_killed_between_push_and_trim() {
    killed_at(Request("EVAL", 3), Cut, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_the_trim_is_cut_in_half() {
    disturbed_at(Request("EVAL", 3), Half, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_exec_is_cut_off() {
    disturbed_at(Request("EXEC", 1), Cut, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_exec_is_cut_in_half() {
    disturbed_at(Request("EXEC", 1), Half, NOTHING_MOVED).await;
}

#[tokio::test]
async fn all_stays_when_exec_is_swallowed() {
    disturbed_at(Request("EXEC", 1), Swallow, NOTHING_MOVED).await;
}

#[tokio::test]
async fn the_batch_has_moved_once_when_exec_arrives_after_its_worker_was_killed() {
    killed_at(Request("EXEC", 1), Pass, ONE_BATCH_MOVED).await;
}

#[tokio::test]
async fn the_batch_has_moved_once_when_the_answer_is_cut_off() {
    disturbed_at(Reply("EXEC", 1), Cut, ONE_BATCH_MOVED).await;
}

#[tokio::test]
async fn the_batch_has_moved_once_when_the_answer_is_cut_in_half() {
    disturbed_at(Reply("EXEC", 1), Half, ONE_BATCH_MOVED).await;
}

#[tokio::test]
async fn the_batch_has_moved_once_when_the_answer_is_swallowed() {
    disturbed_at(Reply("EXEC", 1), Swallow, ONE_BATCH_MOVED).await;
}

#[tokio::test]
async fn the_batch_has_moved_once_when_the_worker_is_killed_before_the_answer() {
    killed_at(Reply("EXEC", 1), Pass, ONE_BATCH_MOVED).await;
}

#[tokio::test]
async fn the_batch_has_moved_once_when_the_worker_is_killed_before_its_next_peek() {
    killed_at(Request("WATCH", 3), Cut, ONE_BATCH_MOVED).await;
}

#[tokio::test]
async fn all_has_moved_once_when_the_worker_is_killed_before_it_reports() {
    // The look at what is left, after the last batch.
    killed_at(Request("EVALSHA", 4), Pass, [0, 6, 2]).await;
}

#[tokio::test]
async fn an_exec_that_comes_after_the_successor_has_moved_the_batch_moves_nothing() {
    let (mut scene, held) = Scene::at(Request("EXEC", 1)).await;
    scene.daemon = Some(daemon(scene.redis.port()));
    until("the successor has moved all", || async {
        scene.depths().await == [0, 6, 2]
    })
    .await;
    scene.kill(held, Pass).await;
    assert_eq!(scene.depths().await, [0, 6, 2]);
    scene.each_is_in_exactly_one_list().await;
}

#[tokio::test]
async fn redis_killed_before_exec_keeps_all_and_after_it_the_moved_batch() {
    for (stop, then) in [
        (Request("EXEC", 1), NOTHING_MOVED),
        (Reply("EXEC", 1), ONE_BATCH_MOVED),
    ] {
        let (mut scene, held) = Scene::at(stop).await;
        scene.daemon = None;
        scene.redis.kill();
        held.go(Pass);
        scene.redis.up();
        assert_eq!(scene.depths().await, then);
        let () = scene
            .redis
            .command(&[
                "ACL", "SETUSER", "worker", "on", "nopass", "~*", "&*", "+@all",
            ])
            .await;
        scene.each_is_in_exactly_one_list().await;
    }
}

#[tokio::test]
async fn what_an_operator_takes_between_peek_and_exec_is_not_pushed() {
    for raid in [
        Raid::Pop(1),
        Raid::Remove(1),
        Raid::TrimOld(3),
        Raid::TrimOld(8),
        Raid::TrimYoung(6),
        Raid::Delete,
        Raid::Rename,
    ] {
        let at = async |step| {
            let (scene, held) = Scene::at(step).await;
            scene.raid(raid).await;
            held.go(Pass);
            scene.each_is_in_exactly_one_list().await;
        };
        tokio::join!(
            at(Reply("WATCH", 2)),
            at(Reply("EVALSHA", 2)),
            at(Reply("MULTI", 1)),
            at(Request("EXEC", 1)),
        );
    }
}

#[tokio::test]
async fn a_source_that_was_renamed_and_brought_back_moves_once() {
    let (scene, held) = Scene::at(Request("EXEC", 1)).await;
    let () = scene.redis.command(&["RENAME", SOURCE, "elsewhere"]).await;
    let () = scene.redis.command(&["RENAME", "elsewhere", SOURCE]).await;
    held.go(Pass);
    scene.each_is_in_exactly_one_list().await;
}

#[tokio::test]
async fn scripts_flushed_before_exec_do_not_part_push_and_trim() {
    let (mut scene, held) = Scene::at(Request("EXEC", 1)).await;
    let () = scene.redis.command(&["SCRIPT", "FLUSH"]).await;
    let held = scene.on_to(held, Reply("EXEC", 1)).await;
    assert_eq!(scene.depths().await, ONE_BATCH_MOVED);
    held.go(Pass);
    scene.each_is_in_exactly_one_list().await;
}

#[tokio::test]
async fn memory_that_ends_before_exec_keeps_all() {
    let (mut scene, held) = Scene::at(Request("EXEC", 1)).await;
    let () = scene
        .redis
        .command(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    let held = scene.on_to(held, Reply("EXEC", 1)).await;
    assert_eq!(scene.depths().await, NOTHING_MOVED);
    held.go(Pass);
    let failed = "mutt_remediation_replay_fail_total{reason=\"out_of_memory\"}";
    let daemon = scene.daemon.as_ref().expect("it runs");
    daemon.until_metric(failed, |count| count > 0.0).await;
    assert_eq!(scene.depths().await, NOTHING_MOVED);
    let () = scene
        .redis
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    scene.each_is_in_exactly_one_list().await;
}

/// The comparing commit: a letter that arrives after the peek has Redis refuse the transaction.
async fn comparing(stop: Stop) -> (Scene, Held) {
    let (mut scene, held) = Scene::at(Reply("MULTI", 1)).await;
    let late = Letter::draw(&mut fastrand::Rng::with_seed(9), 8);
    scene.dead_letter(&[late]).await;
    let held = scene.on_to(held, stop).await;
    (scene, held)
}

#[tokio::test]
async fn all_stays_when_the_worker_is_killed_between_a_refused_exec_and_the_comparing_script() {
    let (mut scene, held) = comparing(Reply("EXEC", 1)).await;
    scene.kill(held, Pass).await;
    assert_eq!(scene.depths().await, [9, 0, 0]);
    scene.each_is_in_exactly_one_list().await;
}

#[tokio::test]
async fn all_stays_when_the_worker_is_killed_before_it_loads_the_comparing_script() {
    let (mut scene, held) = comparing(Reply("EVALSHA", 1)).await;
    scene.kill(held, Pass).await;
    assert_eq!(scene.depths().await, [9, 0, 0]);
    scene.each_is_in_exactly_one_list().await;
}

#[tokio::test]
async fn a_comparing_script_that_is_cut_or_flushed_moves_nothing_and_one_whose_answer_is_lost_moves_once()
 {
    for onward in [Cut, Half, Swallow] {
        let at = async |stop, moved: usize| {
            let (scene, held) = comparing(stop).await;
            assert_eq!(scene.depths().await[0], 9 - moved, "{stop:?} {onward:?}");
            held.go(onward);
            scene.each_is_in_exactly_one_list().await;
        };
        tokio::join!(at(Request("EVALSHA", 2), 0), at(Reply("EVALSHA", 2), 4));
    }
    let (scene, held) = comparing(Request("EVALSHA", 2)).await;
    let () = scene.redis.command(&["SCRIPT", "FLUSH"]).await;
    held.go(Pass);
    scene.each_is_in_exactly_one_list().await;
}

#[tokio::test]
async fn what_an_operator_takes_before_the_comparing_script_is_not_pushed() {
    for raid in [
        Raid::Pop(1),
        Raid::Remove(1),
        Raid::TrimYoung(7),
        Raid::Rename,
    ] {
        let (scene, held) = comparing(Request("EVALSHA", 2)).await;
        scene.raid(raid).await;
        held.go(Pass);
        scene.each_is_in_exactly_one_list().await;
    }
}

/// The late script compares, and finds bytes that are the same again: it moves those, which is as
/// good as any commit. What it must not do is push without taking.
#[tokio::test]
async fn a_late_comparing_script_that_meets_twins_moves_each_once() {
    let (mut scene, held) = comparing(Request("EVALSHA", 2)).await;
    scene.daemon = Some(daemon(scene.redis.port()));
    until("the successor has moved all", || async {
        scene.redis.len(SOURCE).await == 0
    })
    .await;
    scene.daemon = None;
    scene.dead_letter(&eight()[..4]).await;
    let before = scene.depths().await;
    scene.kill(held, Pass).await;
    until("the late script has run", || async {
        scene.redis.len(SOURCE).await == 0
    })
    .await;
    let after = scene.depths().await;
    assert_eq!(before.iter().sum::<usize>(), after.iter().sum::<usize>());
    scene.each_is_in_exactly_one_list().await;
}

#[tokio::test]
async fn a_giant_moves_once_whatever_happens_to_the_script_that_moves_it() {
    for onward in [Cut, Half, Swallow] {
        let at = async |stop, depths| {
            let (scene, held) = Scene::with(&[Letter::giant(0)], stop).await;
            assert_eq!(scene.depths().await, depths, "{stop:?} {onward:?}");
            held.go(onward);
            scene.each_is_in_exactly_one_list().await;
        };
        tokio::join!(
            at(Request("DISCARD", 1), [1, 0, 0]),
            at(Request("EVALSHA", 4), [1, 0, 0]),
            at(Reply("EVALSHA", 4), [0, 1, 0]),
        );
    }
}

/// The one known way to double a batch: an administrator takes a right in the moment between the
/// queueing of a commit and its EXEC, which the worker writes as one. Redis then runs the pushes
/// and refuses what would trim, and what would take them back.
#[tokio::test]
async fn rights_that_are_taken_between_a_commit_and_its_exec_double_the_batch_and_lose_nothing() {
    for right in ["-eval", "-ltrim"] {
        let (mut scene, held) = Scene::at(Request("EXEC", 1)).await;
        let () = scene
            .redis
            .command(&["ACL", "SETUSER", "worker", right])
            .await;
        let held = scene.on_to(held, Reply("EXEC", 1)).await;
        assert_eq!(scene.depths().await, [8, 3, 1], "{right}");
        let () = scene
            .redis
            .command(&["ACL", "SETUSER", "worker", "+@all"])
            .await;
        held.go(Pass);
        let verdict = scene.count().await;
        assert!(
            verdict.lost.is_empty() && verdict.altered.is_empty(),
            "{verdict}"
        );
        assert_eq!(verdict.doubled.len(), 4, "{right}: {verdict}");
    }
}

#[tokio::test]
async fn other_rights_that_are_taken_between_a_commit_and_its_exec_keep_all() {
    for right in ["-lpush", "-watch", "-evalsha", "-exec", "-lindex", "-type"] {
        let (mut scene, held) = Scene::at(Request("EXEC", 1)).await;
        let () = scene
            .redis
            .command(&["ACL", "SETUSER", "worker", right])
            .await;
        let held = scene.on_to(held, Reply("EXEC", 1)).await;
        let () = scene
            .redis
            .command(&["ACL", "SETUSER", "worker", "+@all"])
            .await;
        held.go(Pass);
        scene.each_is_in_exactly_one_list().await;
    }
}
