//! Everything goes wrong at once, by a seed; then every message is counted.
//!
//! A seed determines the *schedule*: how many workers there are and how they work, which faults
//! come in which order, with which parameters and after which gaps, and which letters are written.
//! It does not determine the *interleaving*, which real processes, sockets and clocks decide: the
//! same seed may find a rare defect in one run and not in the next. So `CHAOS_ROUNDS` repeats one.
//!
//! The same happens at four places: on one server, in a cluster with and without a common hash
//! tag, and among sentinels; `place.rs` has what differs.
//!
//! `make test` plays some fixed seeds, and a fresh one on one server. `make chaos` plays fresh ones
//! at all places in turn for `CHAOS_SECONDS`, or `CHAOS_SEED` for `CHAOS_ROUNDS` rounds;
//! `CHAOS_PLACE` is `one`, `tagged`, `spread` or `sentinel`.
//!
//! What is not held against the worker, because nobody but Redis could do anything about it:
//!
//! - A producer whose own push got no answer does not push again. Whether it was made is known all
//!   the same, because it is noted in the same step; so is what a failover has undone (`ledger.rs`).
//! - Redis is killed only where it writes its log before it answers. With `everysec` it may forget
//!   its last second.
//! - `EVAL`, `LTRIM` and the keys stay allowed; `points.rs` shows what happens where they do not.
//! - Servers have one fault at a time, and are whole before the next: a cluster with a replica each
//!   is not made for two. They are cut off from their replicas, and stand still for so long that
//!   they are replaced, only where the workers wait for a replica (`REDIS_WAIT_REPLICAS`).
//! - In a move of two steps, what an operator takes between push and trim has been moved as well.
//!   Where the operator is at work there, what was taken may be found a second time; half of the
//!   rounds are without, and allow nothing.
//!
//! What a failover undoes:
//!
//! - In one slot, or among sentinels, nothing is allowed for. What the old primary did last is
//!   undone as a whole and backwards, pushes, commits and the consumer's taking alike, so that on
//!   the new one each message that is noted there is in exactly one list. The consumer has seen
//!   those a second time whose taking was undone, and no others; how many, is printed.
//! - In a move of two steps the source may forget a push that has been moved by then. Then it is
//!   there once without being noted, and may be. No other message has its bytes, so that it makes
//!   up for none that is lost (`Schedule::drawing`).

mod access;
mod ledger;
mod letters;
mod lines;
mod operators;
mod others;
mod place;
mod points;
mod round;
mod scene;
mod schedule;
mod station;
mod wrong;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use place::{Place, Servers};
use round::{Outcome, run};
use schedule::{Action, Schedule, Side};
use wrong::Way;

/// How long things go wrong in a round.
const LENGTH: Duration = Duration::from_millis(3_500);

/// Chosen so that together they do all that a schedule can do.
const SEEDS: [u64; 4] = [3778, 3779, 3780, 3781];

/// Chosen so that in a cluster and among sentinels every kind of action occurs.
const TAGGED: [u64; 1] = [1];
const SPREAD: [u64; 2] = [161, 414];
const SENTINEL: [u64; 2] = [329, 397];

/// Plays a round with the daemon, and panics unless each message is in exactly one list.
async fn play(seed: u64, servers: &mut Servers) {
    let place = servers.place;
    eprintln!("chaos: seed {seed} at {place}");
    let schedule = Schedule::of(seed, place, LENGTH);
    let outcome = run(&schedule, Way::Daemon, servers).await;
    assert!(
        outcome.verdict.is_sound(),
        "{}\n{}{}",
        outcome.verdict,
        outcome.events,
        schedule.replay()
    );
    eprintln!(
        "chaos: seed {seed} at {place}: each is in exactly one list:{}",
        outcome.counts
    );
}

async fn on_one_server(seed: u64) {
    let schedule = Schedule::of(seed, Place::One, LENGTH);
    play(
        seed,
        &mut Servers::start(Place::One, schedule.persistent).await,
    )
    .await;
}

#[tokio::test]
async fn every_message_is_in_exactly_one_list_whatever_breaks() {
    join_all(SEEDS.map(on_one_server)).await;
}

/// At the same time, because most of it is waiting for elections.
#[tokio::test]
async fn every_message_is_in_exactly_one_list_whatever_breaks_in_a_cluster_or_among_sentinels() {
    let cluster = async {
        let mut servers = Servers::start(Place::Spread, true).await;
        lines::are_the_only_way(&servers).await;
        for (place, seeds) in [(Place::Spread, &SPREAD[..]), (Place::Tagged, &TAGGED)] {
            for seed in seeds {
                servers.clear(place).await;
                play(*seed, &mut servers).await;
            }
        }
    };
    let sentinels = async {
        let mut servers = Servers::start(Place::Sentinel, true).await;
        lines::are_the_only_way(&servers).await;
        for seed in SENTINEL {
            servers.clear(Place::Sentinel).await;
            play(seed, &mut servers).await;
        }
    };
    tokio::join!(cluster, sentinels);
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
    let places = match std::env::var("CHAOS_PLACE").ok() {
        Some(name) => {
            let place = Place::named(&name);
            vec![place.unwrap_or_else(|| panic!("CHAOS_PLACE={name} is no place"))]
        }
        None if seed.is_none() && seconds.is_some() => Place::ALL.to_vec(),
        None => vec![Place::One],
    };
    let began = Instant::now();
    let mut played = 0;
    let [mut cluster, mut sentinel] = [None, None];
    while rounds.is_none_or(|rounds| played < rounds)
        && seconds.is_none_or(|seconds| began.elapsed().as_secs() < seconds)
    {
        // Short enough to be typed.
        let seed = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        let turn = usize::try_from(played).expect("few") % places.len();
        let kept = match places[turn] {
            Place::One => {
                on_one_server(seed).await;
                played += 1;
                continue;
            }
            Place::Tagged | Place::Spread => &mut cluster,
            Place::Sentinel => &mut sentinel,
        };
        let mut servers = match kept.take() {
            Some(servers) => servers,
            None => Servers::start(places[turn], true).await,
        };
        servers.clear(places[turn]).await;
        play(seed, &mut servers).await;
        *kept = Some(servers);
        played += 1;
    }
}

#[test]
fn the_fixed_seeds_do_all_that_a_schedule_can_do() {
    // The name of an action, and of what it is about, without numbers.
    let names = |place, seeds: &[u64]| -> HashSet<String> {
        let schedules = seeds.iter().map(|seed| Schedule::of(*seed, place, LENGTH));
        let actions = schedules.flat_map(|schedule| schedule.actions);
        let name = |action| {
            let name = format!("{action:?}").replace(|c: char| c.is_ascii_digit(), "");
            // Sides, orders and rights are too many for a few rounds of some seconds.
            let whole = place == Place::One;
            let kind = name.split('(').next().unwrap_or_default().to_owned();
            if whole { name } else { kind }
        };
        actions.map(|(_, action)| name(action)).collect()
    };
    let all: Vec<u64> = (0..500).collect();
    for (place, seeds) in [
        (Place::One, &SEEDS[..]),
        (Place::Spread, &SPREAD),
        (Place::Sentinel, &SENTINEL),
    ] {
        let missing = &names(place, &all) - &names(place, seeds);
        assert!(missing.is_empty(), "{place}: {missing:?}");
    }

    // What must not get lost, whatever a schedule learns.
    let played = names(Place::One, &SEEDS);
    for promised in PROMISED {
        let found = played.iter().any(|name| name.contains(promised));
        assert!(found, "{promised} is not in {played:?}");
    }
    let workers = SEEDS.map(|seed| Schedule::of(seed, Place::One, LENGTH).workers.len());
    assert!(workers.contains(&1) && workers.contains(&3), "{workers:?}");
}

/// The faults that every fault suite of this project has to have.
const PROMISED: [&str; 20] = [
    "Kill()",
    "Freeze()",
    "CutAfterRequest",
    "CutAfterReply",
    "BlackHole",
    "Late",
    "Slow",
    "Pop",
    "Remove",
    "TrimOld",
    "TrimYoung",
    "Delete",
    "Rename",
    "KillRedis",
    "StopRedis",
    "FlushScripts",
    "NoMemory",
    "Memory",
    "Pause",
    "KillClients",
];

/// Plays rounds until the count finds what this way of committing loses or doubles.
async fn caught(way: Way) {
    for seed in 0..30 {
        let schedule = Schedule::of(seed, Place::One, LENGTH / 2);
        let mut servers = Servers::start(Place::One, schedule.persistent).await;
        if catches(&schedule, way, &mut servers).await {
            return;
        }
    }
    panic!("{way:?} was not caught");
}

/// Whether the count finds in this round what this way of committing loses or doubles.
async fn catches(schedule: &Schedule, way: Way, servers: &mut Servers) -> bool {
    let verdict = run(schedule, way, servers).await.verdict;
    let caught = !verdict.lost.is_empty() || !verdict.doubled.is_empty();
    if caught {
        eprintln!(
            "chaos: {way:?} is caught by seed {}: {} lost, {} doubled",
            schedule.seed,
            verdict.lost.len(),
            verdict.doubled.len()
        );
    }
    caught
}

/// Plays rounds on these servers, with schedules like this, until the count finds something.
async fn caught_among(way: Way, servers: &mut Servers, like: impl Fn(&Schedule) -> bool) {
    let place = servers.place;
    let schedules = (0..).map(|seed| Schedule::of(seed, place, LENGTH / 2));
    for schedule in schedules.filter(like).take(10) {
        servers.clear(place).await;
        if catches(&schedule, way, servers).await {
            return;
        }
    }
    panic!("{way:?} was not caught");
}

/// At the same time, because most of it is waiting for elections.
#[tokio::test]
async fn the_count_catches_a_rule_left_out_of_two_steps_and_a_commit_sent_again_among_sentinels() {
    tokio::join!(two_steps_are_caught(), a_commit_sent_again_is_caught());
}

async fn two_steps_are_caught() {
    let mut servers = Servers::start(Place::Spread, true).await;
    // Workers of several sizes who die are enough for these.
    let quick = |schedule: &Schedule| {
        let Schedule {
            workers, actions, ..
        } = schedule;
        let server = |(_, action): &(Duration, Action)| *action == Action::Mend;
        workers.iter().any(|one| one.batch != workers[0].batch)
            && workers.iter().all(|one| one.batch > 2)
            && !actions.iter().any(server)
            && !schedule.raided()
    };
    caught_among(Way::TrimBlindly, &mut servers, quick).await;
    caught_among(Way::PushAgain, &mut servers, quick).await;
    // The target dies with what its replicas have not got, and another one takes over.
    let forgetful = |schedule: &Schedule| {
        let at = |wanted| {
            let mut actions = schedule.actions.iter();
            actions
                .find(|(_, action)| *action == wanted)
                .map(|(at, _)| *at)
        };
        let target = Side::Target;
        let (cut, kill) = (
            at(Action::CutReplicasOff(target)),
            at(Action::KillRedis(target)),
        );
        let back = at(Action::StartRedis);
        matches!((cut, kill, back), (Some(cut), Some(kill), Some(back))
            if kill > cut + Duration::from_millis(200) && back > kill + Duration::from_secs(1))
            && schedule.workers.iter().all(|one| one.batch > 2)
            && !schedule.raided()
    };
    caught_among(Way::NoWait, &mut servers, forgetful).await;

    // It must not be the rounds themselves that lose messages.
    let schedules = (0..).map(|seed| Schedule::of(seed, Place::Spread, LENGTH / 2));
    let schedule = schedules.into_iter().find(forgetful).expect("endless");
    servers.clear(Place::Spread).await;
    cleared(&schedule, Way::Apart, &mut servers).await;
}

/// No failover must make the count so lenient that a wrong commit passes for what it has undone.
async fn a_commit_sent_again_is_caught() {
    let mut servers = Servers::start(Place::Sentinel, true).await;
    // One that is killed is not back before another one has taken over.
    let replaced = |schedule: &Schedule| {
        let mut actions = schedule.actions.iter();
        let killed = actions.find(|(_, action)| matches!(action, Action::KillRedis(_)));
        let back = actions.find(|(_, action)| *action == Action::StartRedis);
        matches!((killed, back), (Some((killed, _)), Some((back, _)))
            if *back > *killed + Duration::from_secs(1))
            && schedule.workers.iter().all(|one| one.batch > 2)
    };
    caught_among(Way::BlindRetry, &mut servers, replaced).await;

    // It must not be the failover itself.
    let mut schedules = (0..).map(|seed| Schedule::of(seed, Place::Sentinel, LENGTH / 2));
    let schedule = schedules.find(replaced).expect("endless");
    servers.clear(Place::Sentinel).await;
    cleared(&schedule, Way::Verified, &mut servers).await;
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
    let round = async |seed| {
        let schedule = Schedule::of(seed, Place::One, LENGTH / 2);
        let mut servers = Servers::start(Place::One, schedule.persistent).await;
        cleared(&schedule, Way::Verified, &mut servers).await;
    };
    join_all((0..3).map(round)).await;
}

async fn cleared(schedule: &Schedule, way: Way, servers: &mut Servers) {
    let outcome = run(schedule, way, servers).await;
    let Outcome {
        verdict, events, ..
    } = outcome;
    let replay = schedule.replay();
    assert!(verdict.is_sound(), "{verdict}\n{events}{replay}");
}
