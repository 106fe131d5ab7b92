//! Everything goes wrong at once, by a seed; then every message is counted.
//!
//! A seed determines the *schedule*: how many workers there are and how they work, which faults
//! come in which order, with which parameters and after which gaps, and which letters are written.
//! It does not determine the *interleaving*, which real processes, sockets and clocks decide: the
//! same seed may find a rare defect in one run and not in the next. So `CHAOS_ROUNDS` repeats one.
//!
//! `make test` plays some fixed seeds and a fresh one. `make chaos` plays fresh ones for
//! `CHAOS_SECONDS`, or `CHAOS_SEED` for `CHAOS_ROUNDS` rounds.
//!
//! What is not held against the worker, because nobody but Redis could do anything about it:
//!
//! - A producer whose own `LPUSH` got no answer does not push again; the letter may be there or not.
//! - Redis is killed only where it writes its log at every command (`appendfsync always`). With
//!   `everysec` it may forget its last second.
//! - `EVAL`, `LTRIM` and the keys stay allowed; `points.rs` shows what happens where they do not.

mod ledger;
mod letters;
mod others;
mod points;
mod round;
mod scene;
mod schedule;
mod wrong;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use round::{Outcome, run};
use schedule::Schedule;
use wrong::Way;

/// How long things go wrong in a round.
const LENGTH: Duration = Duration::from_millis(3_500);

/// Chosen so that together they do all that a schedule can do.
const SEEDS: [u64; 4] = [3778, 3779, 3780, 3781];

/// Plays a round with the daemon, and panics unless each message is in exactly one list.
async fn play(seed: u64) {
    eprintln!("chaos: seed {seed}");
    let outcome = run(&Schedule::of(seed, LENGTH), Way::Daemon).await;
    assert!(
        outcome.verdict.is_sound(),
        "{}\n{}to replay: CHAOS_SEED={seed} CHAOS_ROUNDS=10 make chaos",
        outcome.verdict,
        outcome.events
    );
    eprintln!(
        "chaos: seed {seed}: each is in exactly one list:{}",
        outcome.counts
    );
}

#[tokio::test]
async fn every_message_is_in_exactly_one_list_whatever_breaks() {
    join_all(SEEDS.map(play)).await;
}

/// One round, or with the variables of `make chaos` as many as they say.
#[tokio::test]
async fn every_message_is_in_exactly_one_list_whatever_a_fresh_seed_breaks() {
    let number = |name| -> Option<u64> {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        )
    };
    let seed = number("CHAOS_SEED");
    let seconds = number("CHAOS_SECONDS").filter(|_| seed.is_none());
    let rounds = number("CHAOS_ROUNDS").or((seconds.is_none()).then_some(1));
    let began = Instant::now();
    let mut played = 0;
    while rounds.is_none_or(|rounds| played < rounds)
        && seconds.is_none_or(|seconds| began.elapsed().as_secs() < seconds)
    {
        // Short enough to be typed.
        play(seed.unwrap_or_else(|| fastrand::u64(..1 << 32))).await;
        played += 1;
    }
}

#[test]
fn the_fixed_seeds_do_all_that_a_schedule_can_do() {
    // The name of an action, and of what it is about, without numbers.
    let names = |seeds: &[u64]| -> HashSet<String> {
        let schedules = seeds.iter().map(|seed| Schedule::of(*seed, LENGTH));
        let actions = schedules.flat_map(|schedule| schedule.actions);
        let name = |action| format!("{action:?}").replace(|c: char| c.is_ascii_digit(), "");
        actions.map(|(_, action)| name(action)).collect()
    };
    let all: Vec<u64> = (0..500).collect();
    let missing: Vec<String> = names(&all).difference(&names(&SEEDS)).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Plays rounds until the count finds what this way of committing loses or doubles.
async fn caught(way: Way) {
    for seed in 0..30 {
        let verdict = run(&Schedule::of(seed, LENGTH / 2), way).await.verdict;
        if !verdict.lost.is_empty() || !verdict.doubled.is_empty() {
            eprintln!(
                "chaos: {way:?} is caught by seed {seed}: {} lost, {} doubled",
                verdict.lost.len(),
                verdict.doubled.len()
            );
            return;
        }
    }
    panic!("{way:?} was not caught");
}

#[tokio::test]
async fn the_count_catches_a_worker_that_pops_and_then_pushes() {
    caught(Way::PopThenPush).await;
}

#[tokio::test]
async fn the_count_catches_a_worker_that_trims_before_it_pushes() {
    caught(Way::TrimThenPush).await;
}

#[tokio::test]
async fn the_count_catches_a_worker_that_pushes_and_trims_in_two_steps() {
    caught(Way::PushThenTrim).await;
}

#[tokio::test]
async fn the_count_catches_a_worker_that_verifies_nothing() {
    caught(Way::Unverified).await;
}

#[tokio::test]
async fn the_count_catches_a_worker_that_watches_only_after_it_has_read() {
    caught(Way::WatchAfterTheRead).await;
}

#[tokio::test]
async fn the_count_catches_a_worker_that_repeats_a_commit_without_an_answer() {
    caught(Way::BlindRetry).await;
}

#[tokio::test]
async fn the_count_catches_a_worker_whose_trim_redis_may_have_forgotten() {
    caught(Way::SettleByDigest).await;
}

/// Without this the tests above might only show that the rounds themselves lose messages.
#[tokio::test]
async fn the_count_finds_nothing_wrong_with_a_small_worker_that_verifies() {
    join_all((0..3).map(cleared)).await;
}

async fn cleared(seed: u64) {
    let outcome = run(&Schedule::of(seed, LENGTH / 2), Way::Verified).await;
    let Outcome {
        verdict, events, ..
    } = outcome;
    assert!(verdict.is_sound(), "seed {seed}: {verdict}\n{events}");
}
