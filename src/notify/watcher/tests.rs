//! One look a second at what others would publish.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::drain::status::PassView;
use crate::link::{Error, Reason};

fn moment() -> Instant {
    tokio::time::Instant::now().into_std()
}

const NOW: i64 = 1_790_000_000;

fn rules() -> Rules {
    Rules {
        poison_per_minute: 30,
        gate_shut: Duration::from_secs(900),
        dead_list_size: 1_000,
        dead_list_age: Duration::from_secs(86_400),
        redis_lost: Duration::from_secs(30),
        calm: Duration::from_secs(60),
        events: Event::ALL.to_vec(),
    }
}

fn drain() -> DrainStatus {
    DrainStatus {
        source: "alerter".into(),
        gate: "open".into(),
        ..DrainStatus::default()
    }
}

fn shut(why: &str) -> DrainStatus {
    DrainStatus {
        gate: "shut".into(),
        why: why.into(),
        ..drain()
    }
}

fn after(mut drain: DrainStatus, outcome: &str, depth: Option<u64>) -> DrainStatus {
    let pass = PassView {
        at: NOW,
        outcome: outcome.into(),
        replayed: 0,
        dead: 0,
        depth,
    };
    drain.passes.insert(0, pass);
    drain
}

fn lost() -> Reach {
    Reach::Down(Error::new(Reason::Timeout, "detail with redis://u:hush@h"))
}

struct Scene {
    watcher: Watcher,
    start: Instant,
    second: u64,
    redis: Reach,
    told: Vec<(u64, Note)>,
}

impl Scene {
    fn new(rules: Rules) -> Self {
        Self {
            watcher: Watcher::new(rules),
            start: moment(),
            second: 0,
            redis: Reach::Up,
            told: vec![],
        }
    }

    /// Looks once a second for so long.
    fn see(&mut self, drains: &[DrainStatus], lists: &[DeadList], seconds: u64) {
        let seen = Seen {
            redis: self.redis.clone(),
            drains: drains.to_vec(),
            dead_lists: lists.to_vec(),
        };
        for _ in 0..seconds {
            let now = self.start + Duration::from_secs(self.second);
            let second = NOW + self.second.cast_signed();
            let notes = self.watcher.look(&seen, now, second);
            self.told
                .extend(notes.into_iter().map(|note| (self.second, note)));
            self.second += 1;
        }
    }

    fn names(&self) -> Vec<(&'static str, &'static str)> {
        let name = |(_, note): &(u64, Note)| (note.event.as_str(), note.state.as_str());
        self.told.iter().map(name).collect()
    }
}

#[test]
fn a_quiet_pipeline_tells_nothing() {
    let mut scene = Scene::new(rules());
    scene.redis = Reach::Unknown;
    scene.see(&[DrainStatus::default()], &[], 100);
    scene.redis = Reach::Up;
    scene.see(&[after(drain(), "empty", Some(0))], &[], 2_000);
    assert!(scene.told.is_empty(), "{:?}", scene.told);
}

#[test]
fn redis_that_is_lost_is_told_without_its_words_and_so_is_its_return() {
    let mut scene = Scene::new(rules());
    scene.see(&[drain()], &[], 10);
    scene.redis = lost();
    scene.see(&[drain()], &[], 100);
    scene.redis = Reach::Up;
    scene.see(&[drain()], &[], 100);
    assert_eq!(
        scene.names(),
        [("redis_lost", "firing"), ("redis_lost", "resolved")]
    );
    let (at, firing) = &scene.told[0];
    assert_eq!((*at, firing.since, firing.at), (40, NOW + 10, NOW + 40));
    assert_eq!(firing.facts["reason"], "timeout");
    assert!(!format!("{firing:?}").contains("hush"));
    let (at, over) = &scene.told[1];
    assert_eq!((*at, over.since, over.at), (170, NOW + 10, NOW + 110));
}

#[test]
fn a_gate_that_is_shut_for_one_reason_after_the_other_is_told_once() {
    let mut scene = Scene::new(rules());
    scene.see(&[shut("moogsoft")], &[], 500);
    scene.see(&[shut("circuit_breaker")], &[], 500);
    // Each trial opens it for a moment.
    for _ in 0..20 {
        scene.see(&[shut("bounces")], &[], 50);
        scene.see(&[drain()], &[], 9);
    }
    assert_eq!(scene.names(), [("gate_shut", "firing")]);
    let (at, note) = &scene.told[0];
    assert_eq!((*at, note.since), (900, NOW));
    assert_eq!(note.facts["reason"], "circuit_breaker");
    assert_eq!(note.subject, "alerter");
    scene.see(&[drain()], &[], 61);
    assert_eq!(scene.names().last(), Some(&("gate_shut", "resolved")));
}

#[test]
fn what_is_switched_off_is_not_told_of_as_shut() {
    let mut scene = Scene::new(rules());
    scene.see(&[shut("disabled")], &[], 2_000);
    scene.see(&[shut("systemic")], &[], 2_000);
    assert!(scene.told.is_empty(), "{:?}", scene.told);
    // Nor is it told as open again.
    assert!(scene.told.is_empty(), "{:?}", scene.told);
}

#[test]
fn a_gate_that_was_told_ends_when_the_source_is_switched_off_or_parking_stops() {
    for (why, meaning) in [
        ("disabled", "remediation is switched off"),
        ("systemic", "parking has stopped"),
    ] {
        let mut scene = Scene::new(rules());
        scene.see(&[shut("moogsoft")], &[], 1_000);
        scene.see(&[shut(why)], &[], 60);
        assert_eq!(scene.names(), [("gate_shut", "firing")], "not before calm");
        scene.see(&[shut(why)], &[], 2_000);
        assert_eq!(
            scene.names(),
            [("gate_shut", "firing"), ("gate_shut", "resolved")]
        );
        let note = &scene.told[1].1;
        assert_eq!((note.since, note.at), (NOW, NOW + 1_000));
        assert_eq!(note.facts["meaning"], meaning);
        // It is switched on again, and what lay there is worked off.
        let open = DrainStatus {
            replayed: 3,
            ..after(drain(), "drained", Some(0))
        };
        scene.see(&[open], &[], 10);
        assert_eq!(scene.names()[2..], [("drain_finished", "happened")]);
    }
}

#[test]
fn a_run_of_an_operator_is_not_told_and_neither_ends_nor_begins_a_gate_that_is_shut() {
    let mut scene = Scene::new(rules());
    scene.see(&[shut("run")], &[], 5_000);
    assert!(scene.told.is_empty(), "{:?}", scene.told);
    // Its time does not count for another reason.
    scene.see(&[shut("circuit_breaker")], &[], 900);
    assert!(scene.told.is_empty(), "{:?}", scene.told);
    scene.see(&[shut("circuit_breaker")], &[], 10);
    scene.see(&[shut("run")], &[], 5_000);
    assert_eq!(scene.names(), [("gate_shut", "firing")]);
}

#[test]
fn a_pause_that_may_be_forgotten_is_told_and_as_what_it_is() {
    let mut scene = Scene::new(rules());
    scene.see(&[shut("paused")], &[], 901);
    assert_eq!(scene.names(), [("gate_shut", "firing")]);
    let facts = &scene.told[0].1.facts;
    assert_eq!(facts["reason"], "paused");
    assert!(facts["meaning"].starts_with("an operator has paused it"));
}

#[test]
fn what_comes_and_goes_is_not_told_as_what_lasts() {
    let mut scene = Scene::new(Rules {
        gate_shut: Duration::from_secs(30),
        ..rules()
    });
    for _ in 0..20 {
        scene.redis = lost();
        scene.see(&[shut("backpressure")], &[], 2);
        scene.redis = Reach::Up;
        scene.see(&[drain()], &[], 8);
    }
    assert!(scene.told.is_empty(), "{:?}", scene.told);
}

#[test]
fn a_gate_that_shuts_after_each_trial_is_told_and_one_that_is_mostly_on_trial_is_not() {
    let trial = DrainStatus {
        gate: "probation".into(),
        ..drain()
    };
    let mut scene = Scene::new(rules());
    for _ in 0..20 {
        scene.see(std::slice::from_ref(&trial), &[], 600);
        scene.see(&[shut("bounces")], &[], 2);
    }
    assert!(scene.told.is_empty(), "{:?}", scene.told);
    for _ in 0..20 {
        scene.see(std::slice::from_ref(&trial), &[], 10);
        scene.see(&[shut("bounces")], &[], 50);
    }
    assert_eq!(scene.names(), [("gate_shut", "firing")]);
}

#[test]
fn the_latch_is_told_at_once_and_not_lifted_by_another_reason_to_be_shut() {
    let mut scene = Scene::new(rules());
    let latched = |why: &str| DrainStatus {
        systemic: true,
        ..shut(why)
    };
    scene.see(&[drain()], &[], 5);
    scene.see(&[latched("systemic")], &[], 300);
    scene.see(&[latched("moogsoft")], &[], 300);
    assert_eq!(scene.names(), [("systemic", "firing")]);
    assert_eq!(scene.told[0].0, 5);
    scene.see(&[drain()], &[], 100);
    assert_eq!(
        scene.names(),
        [("systemic", "firing"), ("systemic", "resolved")]
    );
}

#[test]
fn messages_parked_are_counted_over_a_minute() {
    let parked = |dead| DrainStatus { dead, ..drain() };
    let mut scene = Scene::new(rules());
    for second in 0..300 {
        // One every two seconds: thirty a minute, and no more.
        scene.see(&[parked(second / 2)], &[], 1);
    }
    assert!(scene.told.is_empty(), "{:?}", scene.told);
    scene.see(&[parked(181)], &[], 200);
    assert_eq!(
        scene.names(),
        [("poison_rate", "firing"), ("poison_rate", "resolved")]
    );
    let facts: &BTreeMap<_, _> = &scene.told[0].1.facts;
    assert_eq!(
        (facts["parked"].as_str(), facts["limit"].as_str()),
        ("61", "30")
    );
    let kept = scene.watcher.drains["alerter"].parked.0.len();
    assert!(kept <= 62, "{kept}");
}

#[test]
fn a_dead_list_is_told_by_size_and_by_age_and_nothing_while_it_does_not_tell() {
    let list = |depth, oldest| DeadList {
        queue: "dead".into(),
        list: "mutt:dlq:dead".into(),
        depth,
        oldest,
    };
    let mut scene = Scene::new(rules());
    scene.see(&[], &[list(1_000, Some(86_400))], 10);
    assert!(scene.told.is_empty());
    scene.see(&[], &[list(1_001, Some(86_401))], 10);
    assert_eq!(
        scene.names(),
        [("dead_list_size", "firing"), ("dead_list_age", "firing")]
    );
    scene.see(&[], &[list(10, None)], 100);
    assert_eq!(scene.names().len(), 3, "{:?}", scene.names());
    scene.see(&[], &[list(0, None)], 100);
    assert_eq!(scene.names()[3], ("dead_list_age", "resolved"));
}

#[test]
fn thresholds_of_zero_and_events_that_are_not_wanted_tell_nothing() {
    let mut rules = Rules {
        poison_per_minute: 0,
        gate_shut: Duration::ZERO,
        dead_list_size: 0,
        dead_list_age: Duration::ZERO,
        redis_lost: Duration::ZERO,
        ..rules()
    };
    rules.events.retain(|event| *event != Event::Systemic);
    let mut scene = Scene::new(rules);
    let list = DeadList {
        queue: "dead".into(),
        list: "x".into(),
        depth: 1_000_000,
        oldest: Some(1_000_000_000),
    };
    scene.redis = lost();
    for dead in [0, 1_000_000] {
        let seen = DrainStatus {
            dead,
            systemic: true,
            ..shut("moogsoft")
        };
        scene.see(&[seen], std::slice::from_ref(&list), 2_000);
    }
    assert!(scene.told.is_empty(), "{:?}", scene.told);
}

#[test]
fn what_an_outage_had_left_is_told_of_when_it_is_worked_off_and_only_then() {
    let mut scene = Scene::new(rules());
    let before = DrainStatus {
        replayed: 100,
        ..after(shut("moogsoft"), "unhealthy", Some(5_000))
    };
    scene.see(&[before], &[], 1_000);
    let open = |outcome, replayed, depth| DrainStatus {
        replayed,
        dead: 7,
        ..after(drain(), outcome, Some(depth))
    };
    scene.see(&[open("drained", 3_100, 2_000)], &[], 200);
    scene.see(&[open("redis_error", 5_100, 0)], &[], 50);
    assert_eq!(
        scene.names(),
        [("gate_shut", "firing"), ("gate_shut", "resolved")]
    );
    // New ones come all the time.
    scene.see(&[open("drained", 5_150, 50)], &[], 500);
    assert_eq!(scene.names()[2..], [("drain_finished", "happened")]);
    let note = &scene.told[2].1;
    assert_eq!(note.since, NOW);
    assert_eq!(note.facts["replayed"], "5050");
    assert_eq!((&*note.facts["dead"], &*note.facts["left"]), ("7", "50"));
}

#[test]
fn an_outage_that_left_nothing_is_not_told_as_worked_off() {
    let mut scene = Scene::new(rules());
    scene.redis = lost();
    scene.see(&[after(drain(), "redis_error", None)], &[], 100);
    scene.redis = Reach::Up;
    scene.see(&[after(drain(), "empty", Some(0))], &[], 200);
    assert_eq!(
        scene.names(),
        [("redis_lost", "firing"), ("redis_lost", "resolved")]
    );
}

#[test]
fn a_pass_from_before_an_outage_says_nothing_of_what_it_left() {
    let mut scene = Scene::new(rules());
    let before = after(drain(), "empty", Some(0));
    scene.see(std::slice::from_ref(&before), &[], 20);
    scene.redis = lost();
    scene.see(std::slice::from_ref(&before), &[], 100);
    scene.redis = Reach::Up;
    // A clock that was set meanwhile makes no difference.
    scene.see(std::slice::from_ref(&before), &[], 180);
    let mut drained = DrainStatus {
        replayed: 5_000,
        ..after(before, "drained", Some(0))
    };
    drained.passes[0].at = NOW - 3_600;
    scene.see(&[drained], &[], 5);
    let lost = [("redis_lost", "firing"), ("redis_lost", "resolved")];
    let finished = [("drain_finished", "happened")];
    assert_eq!(scene.names(), [&lost[..], &finished[..]].concat());
    let note = &scene.told[2].1;
    assert_eq!(note.facts["replayed"], "5000");
    assert_eq!(note.since, NOW + 20, "since Redis is lost, not since told");
}

#[test]
fn a_pass_within_the_calm_time_counts_once_that_is_over() {
    let mut scene = Scene::new(rules());
    scene.see(
        &[after(shut("moogsoft"), "unhealthy", Some(50))],
        &[],
        1_000,
    );
    let drained = DrainStatus {
        replayed: 50,
        ..after(drain(), "drained", Some(0))
    };
    scene.see(&[drained], &[], 61);
    assert_eq!(
        scene.names()[1..],
        [("gate_shut", "resolved"), ("drain_finished", "happened")]
    );
}

#[test]
fn a_few_messages_that_are_left_do_not_keep_an_outage_alive() {
    let mut scene = Scene::new(rules());
    scene.see(
        &[after(shut("moogsoft"), "unhealthy", Some(40))],
        &[],
        1_000,
    );
    let left = |replayed, depth| DrainStatus {
        replayed,
        ..after(drain(), "drained", Some(depth))
    };
    // A quarter of it is not next to nothing.
    scene.see(&[left(30, 10)], &[], 500);
    assert_eq!(scene.names().len(), 2, "{:?}", scene.names());
    scene.see(&[left(36, 4)], &[], 100);
    assert_eq!(
        scene.names()[2..],
        [("drain_finished", "happened")],
        "{:?}",
        scene.names()
    );
}

#[test]
fn an_outage_takes_the_place_of_an_older_one_unless_it_is_part_of_it() {
    let mut scene = Scene::new(rules());
    scene.see(
        &[after(shut("moogsoft"), "unhealthy", Some(5_000))],
        &[],
        1_000,
    );
    let stuck = DrainStatus {
        replayed: 1_000,
        ..after(drain(), "drained", Some(4_000))
    };
    scene.see(&[stuck], &[], 10_000);
    scene.redis = lost();
    let again = DrainStatus {
        replayed: 1_000,
        ..after(shut("moogsoft"), "unhealthy", Some(4_000))
    };
    // The gate is told later, of the same outage.
    scene.see(&[again], &[], 1_000);
    scene.redis = Reach::Up;
    let done = DrainStatus {
        replayed: 5_000,
        ..after(drain(), "drained", Some(0))
    };
    scene.see(&[done], &[], 100);
    let (_, note) = scene.told.last().expect("it is told");
    assert_eq!(note.event, Event::DrainFinished);
    assert_eq!(note.since, NOW + 11_000);
    assert_eq!(note.facts["replayed"], "4000");
}

#[test]
fn times_are_spelt_in_two_units() {
    for (seconds, text) in [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_725, "1 h 2 min"),
        (90_061, "1 d 1 h"),
        (86_400 + 59, "1 d"),
    ] {
        assert_eq!(spell(seconds), text);
    }
}

proptest! {
    /// For each thing beginnings and ends take turns, whatever is seen, and a clock that is set
    /// begins and ends nothing.
    #[test]
    fn beginnings_and_ends_take_turns_whatever_the_clock_says(
        looks in prop::collection::vec(
            (0usize..9, 0u64..50, any::<bool>(), 0u64..3_000, -10_000_000i64..10_000_000), 0..300
        )
    ) {
        let (mut watcher, mut steady) = (Watcher::new(rules()), Watcher::new(rules()));
        let start = moment();
        let mut firing = BTreeMap::new();
        let mut dead = 0;
        for (at, (kind, parked, up, depth, clock)) in (0..).zip(looks) {
            dead += parked;
            let drain = match kind {
                0 => DrainStatus { systemic: true, ..shut("systemic") },
                1 | 2 => shut("moogsoft"),
                3 => after(drain(), "drained", Some(0)),
                4 => DrainStatus::default(),
                6 => shut("disabled"),
                7 => shut("run"),
                8 => DrainStatus { gate: "probation".into(), ..drain() },
                _ => drain(),
            };
            let seen = Seen {
                redis: if up { Reach::Up } else { lost() },
                drains: vec![DrainStatus { dead, source: "a".into(), ..drain }],
                dead_lists: vec![DeadList {
                    queue: "dead".into(), list: "x".into(), depth, oldest: None,
                }],
            };
            let now = start + Duration::from_secs(at * 20);
            let notes = watcher.look(&seen, now, NOW + clock);
            let same = steady.look(&seen, now, NOW);
            let keys = |notes: &[Note]| -> Vec<_> {
                notes.iter().map(|note| (note.key(), note.state.as_str())).collect()
            };
            prop_assert_eq!(keys(&notes), keys(&same));
            for note in notes {
                if note.state == State::Happened {
                    continue;
                }
                let was = firing.insert(note.key(), note.state).unwrap_or(State::Resolved);
                prop_assert_ne!(was, note.state);
            }
        }
    }
}
