//! What the pace does to a pipeline, in the simulator and decision by decision.

use std::time::Duration;

use mutt_remediation::drain::gate::{Gate, Shut};
use mutt_remediation::drain::pace::{Act, Memory, PaceRules, View, Waiting, decide};
use proptest::prelude::*;

use crate::pipeline::{Outcome, Replayer, Scenario, simulate};

const SECOND: i64 = 1_790_000_000;

fn adaptive() -> PaceRules {
    PaceRules {
        adaptive: true,
        batch_size: 100,
        canary_size: 10,
        observe: Duration::from_secs(2),
        retry_after: Duration::from_secs(300),
        max_bounce_ratio: 0.1,
        target_max_depth: 1_000,
        max_per_second: 0,
    }
}

fn fixed() -> PaceRules {
    PaceRules {
        adaptive: false,
        target_max_depth: 0,
        ..adaptive()
    }
}

fn run(scenario: &Scenario, rules: PaceRules) -> Outcome {
    let worker = Replayer::Worker {
        rules,
        pause: Duration::from_millis(100),
        interval: Duration::from_secs(300),
    };
    let outcome = simulate(scenario, worker);
    let all = outcome.delivered + outcome.parked_poison + outcome.parked_good;
    assert!(all <= scenario.backlog);
    outcome
}

fn of(seconds: std::ops::Range<f64>) -> Scenario {
    Scenario {
        outages: vec![seconds],
        ..Scenario::calm()
    }
}

fn at(seconds: f64) -> View {
    #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
    let second = SECOND + seconds as i64;
    View {
        now: Duration::from_secs_f64(seconds),
        second,
        alert_warn: 1_000,
        is_new: true,
        all_seen: true,
        ..View::default()
    }
}

#[test]
fn a_backlog_after_an_outage_is_drained_about_as_fast_as_the_alerter_can() {
    for batch_size in [100, 1_000] {
        let rules = PaceRules {
            batch_size,
            ..adaptive()
        };
        let outcome = run(&Scenario::calm(), rules);
        let ramp = outcome.ramp.expect("full size is reached");
        assert!(ramp <= 20.0, "{ramp}");
        let rest = outcome.settled.expect("it ends") - ramp;
        assert!(rest <= 1.25 * 20_000.0 / 500.0, "{rest}");
        assert!(outcome.peak_target <= 1_000);
        assert_eq!(outcome.replays, 20_000);
    }
}

#[test]
fn while_the_database_is_away_next_to_nothing_is_replayed() {
    let outcome = run(&of(0.0..300.0), adaptive());
    assert!(
        outcome.replays_while_failing < 200,
        "{}",
        outcome.replays_while_failing
    );
    assert!(*outcome.attempts.iter().max().expect("some") <= 3);
    assert_eq!(outcome.parked_good, 0);
    let ramp = outcome.ramp.expect("full size is reached");
    assert!(ramp <= 20.0, "{ramp}");
    // The last trial that failed was at most a minute before the end of the outage.
    let rest = outcome.settled.expect("it ends") - 300.0 - 60.0 - ramp;
    assert!(rest <= 1.25 * 20_000.0 / 500.0, "{rest}");
}

#[test]
fn an_outage_in_the_middle_costs_what_was_on_its_way() {
    let outcome = run(&of(20.0..60.0), adaptive());
    // Three batches in the target and one more, and what goes until the first have failed for good.
    assert!(
        outcome.replays_while_failing < 500,
        "{}",
        outcome.replays_while_failing
    );
    assert_eq!(outcome.parked_good, 0);
    assert!(outcome.settled.expect("it ends") < 120.0);
}

#[test]
fn a_slow_recovery_is_not_run_over() {
    let slow = Scenario {
        recovery: 60.0,
        live: 200,
        ..of(0.0..60.0)
    };
    let outcome = run(&slow, adaptive());
    assert!(outcome.settled.is_some());
    // A canary goes also where live events fill the target.
    assert!(outcome.peak_target <= 1_000, "{}", outcome.peak_target);
    assert_eq!((outcome.shed_again, outcome.parked_good), (0, 0));
}

#[test]
fn what_a_slow_forwarder_would_have_shed_stays_where_it_is() {
    let slow = Scenario {
        forwarder: 200,
        ..Scenario::calm()
    };
    let outcome = run(&slow, adaptive());
    assert_eq!(outcome.shed_again, 0);
    assert!(outcome.peak_alerts <= 1_000, "{}", outcome.peak_alerts);
    let seconds = outcome.settled.expect("it ends");
    assert!(seconds <= 1.1 * 20_000.0 / 200.0, "{seconds}");

    // Without a limit for the target more may lie there than the alert queue then takes.
    let unlimited = run(&slow, fixed());
    assert!(unlimited.shed_again < 200, "{}", unlimited.shed_again);
    let limited = PaceRules {
        target_max_depth: 1_000,
        ..fixed()
    };
    assert_eq!(run(&slow, limited).shed_again, 0);
}

#[test]
fn messages_that_always_fail_are_parked_and_hold_nobody_up() {
    for poison in [0.02, 0.05] {
        let flood = Scenario {
            poison,
            horizon: 3_600,
            ..Scenario::calm()
        };
        let outcome = run(&flood, adaptive());
        let seconds = outcome.good_settled.expect("it ends");
        assert!(seconds < 100.0, "{seconds}");
        // Three passes, and one that parks.
        let seconds = outcome.settled.expect("it ends");
        assert!(seconds < 1_500.0, "{seconds}");
        assert_eq!(outcome.parked_good, 0);
        assert!(outcome.parked_poison > 300);
        assert!(*outcome.attempts.iter().max().expect("some") <= 3);
    }
}

#[test]
fn a_flood_of_poison_passes_where_the_operator_allows_as_many_bounces() {
    let flood = Scenario {
        poison: 0.3,
        horizon: 3_600,
        ..Scenario::calm()
    };
    let outcome = run(&flood, adaptive());
    assert_eq!(outcome.settled, None, "too many for the default ratio");
    assert!(outcome.replays < 6_000, "{}", outcome.replays);

    let rules = PaceRules {
        max_bounce_ratio: 0.5,
        ..adaptive()
    };
    let outcome = run(&flood, rules);
    let seconds = outcome.good_settled.expect("it ends");
    assert!(seconds < 150.0, "{seconds}");
    assert!(outcome.settled.is_some());
    assert_eq!(outcome.parked_good, 0);
}

#[test]
fn of_a_few_letters_none_uses_up_its_retries_in_an_outage_of_minutes() {
    for backlog in [1, 10, 50] {
        let few = Scenario {
            backlog,
            ..of(0.0..590.0)
        };
        let few = Scenario {
            horizon: 1_300,
            ..few
        };
        let outcome = run(&few, adaptive());
        assert_eq!(outcome.parked_good, 0, "{backlog}");
        assert_eq!(outcome.delivered, backlog);
    }
}

#[test]
fn a_queue_below_the_canarys_size_outlives_an_outage_of_four_intervals() {
    for backlog in [1, 2, 3, 5, 10] {
        let few = Scenario {
            backlog,
            horizon: 3_600,
            ..of(0.0..1_190.0)
        };
        let outcome = run(&few, adaptive());
        assert_eq!(outcome.parked_good, 0, "{backlog}");
        assert_eq!(outcome.delivered, backlog);
        // Two more tries than needed at most, and soon after the end.
        assert!(*outcome.attempts.iter().max().expect("some") <= 3);
        let seconds = outcome.settled.expect("it ends");
        assert!(seconds < 1_190.0 + 330.0, "{backlog}: {seconds}");
    }
}

#[test]
fn a_few_letters_that_always_fail_are_parked_in_the_end() {
    for backlog in [1, 5, 10] {
        let poison = Scenario {
            backlog,
            poison: 1.0,
            horizon: 3 * 3_600,
            ..Scenario::calm()
        };
        let outcome = run(&poison, adaptive());
        assert_eq!(outcome.parked_poison, backlog);
        let seconds = outcome.settled.expect("it ends");
        assert!(seconds > 1_190.0, "{backlog}: {seconds}");
        assert!(seconds < 7_200.0, "{backlog}: {seconds}");
    }
}

#[test]
fn an_alerter_that_is_busy_with_live_events_gets_what_it_can_take_beside_them() {
    let busy = Scenario {
        live: 480,
        ..Scenario::calm()
    };
    let outcome = run(&busy, adaptive());
    let brought_back = outcome.delivered;
    // A tenth of the capacity of 20 a second that is left.
    assert!(brought_back > 10_800, "{brought_back}");
    assert!(outcome.peak_target <= 400, "{}", outcome.peak_target);
}

#[test]
fn the_old_ways_do_what_their_users_complain_about() {
    let python = Replayer::Python {
        batch: 10,
        interval: 1,
    };
    let outcome = simulate(&of(0.0..60.0), python);
    assert_eq!(outcome.delivered, 0, "unchanged, they come straight back");

    let slow = Scenario {
        forwarder: 200,
        ..of(0.0..60.0)
    };
    let outcome = simulate(&slow, Replayer::AllAtOnce { interval: 30 });
    assert!(outcome.peak_target >= 20_000);
    assert!(outcome.shed_again > 2_000, "{}", outcome.shed_again);
    assert!(outcome.replays_while_failing >= 20_000);
}

#[test]
fn a_canary_that_comes_back_shuts_the_gate_for_a_pause_that_grows() {
    let rules = adaptive();
    let mut memory = Memory::new(SECOND);
    let mut seconds = 0.0;
    for (pause, size) in [(5, 5), (10, 2), (20, 1), (40, 1), (60, 1), (60, 1)] {
        let view = at(seconds);
        let (then, decision) = decide(memory, &view, &rules);
        let Act::Go(count) = decision.act else {
            panic!("{decision:?} at {seconds}");
        };
        assert_eq!(decision.gate, Gate::Probation);
        memory = then.moved(&view, count, &[], &rules);
        let failed = View {
            came_back: vec![view.second; usize::try_from(count).expect("few")],
            ..at(seconds + 1.0)
        };
        let (then, decision) = decide(memory, &failed, &rules);
        assert_eq!(decision.gate, Gate::Shut(Shut::Bounces));
        assert_eq!(then.size(), size);
        let until = failed.now + Duration::from_secs(pause);
        assert_eq!(decision.act, Act::Wait(Waiting::Gate, Some(until)));
        memory = then;
        seconds = until.as_secs_f64();
    }
}

#[test]
fn a_target_that_does_not_go_down_gets_no_second_batch() {
    let rules = adaptive();
    let (memory, decision) = decide(Memory::new(SECOND), &at(0.0), &rules);
    assert_eq!(decision.act, Act::Go(10));
    let mut memory = memory.moved(&at(0.0), 10, &[], &rules);
    for seconds in 1..600 {
        let stuck = View {
            target_depth: 10,
            ..at(f64::from(seconds))
        };
        let (then, decision) = decide(memory, &stuck, &rules);
        assert_eq!(decision.act, Act::Wait(Waiting::Evidence, None));
        memory = then;
    }
}

#[test]
fn what_was_replayed_before_our_time_is_no_bounce() {
    let rules = adaptive();
    let view = at(0.0);
    let (memory, _) = decide(Memory::new(SECOND), &view, &rules);
    let memory = memory.moved(&view, 10, &[], &rules);
    let old = View {
        came_back: vec![SECOND - 1; 50],
        ..at(1.0)
    };
    let (_, decision) = decide(memory, &old, &rules);
    assert_eq!(decision.gate, Gate::Probation);
}

#[test]
fn the_circuit_breaker_shuts_the_gate_and_half_open_it_lets_canaries_through() {
    for rules in [adaptive(), fixed()] {
        let open = View {
            shut: Some(Shut::Breaker),
            ..at(0.0)
        };
        let (memory, decision) = decide(Memory::new(SECOND), &open, &rules);
        assert_eq!(decision.gate, Gate::Shut(Shut::Breaker));
        let half_open = View {
            half_open: true,
            ..at(1.0)
        };
        let (_, decision) = decide(memory, &half_open, &rules);
        assert_eq!(decision.gate, Gate::Probation);
        assert_eq!(decision.act, Act::Go(10));
    }
}

#[test]
fn in_the_fixed_pace_nothing_is_learnt_and_limits_hold() {
    let rules = PaceRules {
        target_max_depth: 50,
        ..fixed()
    };
    let act = |view: View| decide(Memory::new(SECOND), &view, &rules).1.act;
    assert_eq!(act(at(0.0)), Act::Go(50));
    let deep = View {
        target_depth: 45,
        ..at(0.0)
    };
    assert_eq!(act(deep), Act::Wait(Waiting::Room, None));
    let warned = View {
        alert_depth: 1_001,
        ..at(0.0)
    };
    assert_eq!(act(warned), Act::Wait(Waiting::Gate, None));
}

#[derive(Clone, Debug)]
struct Moment {
    after: u64,
    target: u64,
    alerts: u64,
    shut: bool,
    half_open: bool,
    bounced: usize,
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment = (
        1_u64..3_000,
        prop_oneof![0_u64..20, 0_u64..3_000],
        prop_oneof![0_u64..20, 0_u64..3_000],
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.05),
        prop_oneof![3 => 0..1_usize, 1 => 0..50_usize],
    );
    let moment = moment.prop_map(|(after, target, alerts, shut, half_open, bounced)| Moment {
        after,
        target,
        alerts,
        shut,
        half_open,
        bounced,
    });
    prop::collection::vec(moment, 1..300)
}

fn rules() -> impl Strategy<Value = PaceRules> {
    let sizes = (1_u64..2_000, 1_u64..50, 1_u64..30);
    let limits = (
        0.0..1.0,
        prop_oneof![0_u64..1, 1_u64..2_000],
        prop_oneof![0_u64..1, 1_u64..5_000],
    );
    (any::<bool>(), sizes, limits).prop_map(
        |(adaptive, (batch_size, canary_size, observe), (ratio, depth, rate))| PaceRules {
            adaptive,
            batch_size,
            canary_size,
            observe: Duration::from_secs(observe),
            retry_after: Duration::from_secs(300),
            max_bounce_ratio: ratio,
            target_max_depth: depth,
            max_per_second: rate,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_seen_no_limit_is_passed(rules in rules(), moments in moments()) {
        let mut memory = Memory::new(SECOND);
        let mut millis = 0;
        let mut last = SECOND;
        let mut replays: Vec<(u64, u64)> = vec![];
        for moment in moments {
            millis += moment.after;
            let second = SECOND + i64::try_from(millis / 1_000).expect("short");
            let view = View {
                now: Duration::from_millis(millis),
                second,
                shut: moment.shut.then_some(Shut::Moogsoft),
                half_open: moment.half_open,
                target_depth: moment.target,
                alert_depth: moment.alerts,
                alert_warn: 1_000,
                target_is_alert_queue: false,
                is_new: true,
                all_seen: true,
                came_back: vec![last; moment.bounced],
            };
            let again = decide(memory.clone(), &view, &rules);
            let (then, decision) = decide(memory, &view, &rules);
            prop_assert_eq!(&again.0, &then);
            prop_assert_eq!(again.1, decision);
            memory = then;
            let Act::Go(count) = decision.act else { continue };
            prop_assert!(!moment.shut);
            prop_assert!((1..=rules.batch_size).contains(&count));
            prop_assert!(!matches!(decision.gate, Gate::Shut(_)));
            prop_assert!(moment.alerts <= 1_000);
            if rules.target_max_depth > 0 {
                prop_assert!(moment.target + count <= rules.target_max_depth);
            }
            if decision.gate == Gate::Probation {
                prop_assert!(count <= rules.canary_size);
            }
            if rules.adaptive {
                prop_assert!(moment.alerts + moment.target + count <= 1_000);
            }
            if rules.max_per_second > 0 {
                replays.push((millis, count));
                // In any second no more than the rate, and the slice that it began with.
                let recent = replays.iter().filter(|(at, _)| *at + 1_000 > millis);
                let sum: u64 = recent.map(|(_, count)| count).sum();
                let slice = rules.max_per_second.div_ceil(10);
                prop_assert!(sum <= rules.max_per_second + slice, "{sum}");
            }
            last = second;
            memory = memory.moved(&view, count, &[], &rules);
        }
    }
}

/// Plays one view after another, ten a second, and returns what was let go in all.
fn play(rules: &PaceRules, seconds: u64, mut view_at: impl FnMut(u64) -> View) -> u64 {
    let mut memory = Memory::new(SECOND);
    let mut sent = 0;
    for step in 0..seconds * 10 {
        let view = view_at(step);
        let (then, decision) = decide(memory, &view, rules);
        memory = then;
        if let Act::Go(count) = decision.act {
            sent += count;
            memory = memory.moved(&view, count, &[], rules);
        }
    }
    sent
}

fn tenth(step: u64) -> View {
    at(f64::from(u32::try_from(step).expect("short")) / 10.0)
}

#[test]
fn a_target_that_others_keep_up_is_no_reason_to_wait_for_ever() {
    // It is worked on, so its depth goes up and down.
    let rules = adaptive();
    for rises_at in [0, 30, 300] {
        let sent = play(&rules, 120, |step| View {
            target_depth: if step < rises_at {
                0
            } else {
                140 + step % 7 * 10
            },
            ..tenth(step)
        });
        assert!(sent > 2_000, "{sent} after {rises_at}");
    }
    // One that only grows is not.
    let sent = play(&rules, 600, |step| View {
        target_depth: 140 + step,
        ..tenth(step)
    });
    assert!(sent <= 10, "{sent}");
}

#[test]
fn a_limit_below_the_canary_is_a_limit_and_no_end() {
    for rules in [fixed(), adaptive()] {
        let rules = PaceRules {
            target_max_depth: 5,
            ..rules
        };
        let (_, decision) = decide(Memory::new(SECOND), &at(0.0), &rules);
        assert_eq!(decision.act, Act::Go(5));
    }
}

#[test]
fn after_the_clock_was_set_back_it_begins_anew() {
    let rules = adaptive();
    let sent = play(&rules, 300, |step| {
        let view = tenth(step);
        let second = view.second - if step > 100 { 3_600 } else { 0 };
        // From then on everything comes back at once.
        View {
            second,
            came_back: if step > 110 {
                vec![second; 100]
            } else {
                vec![]
            },
            ..view
        }
    });
    let (memory, _) = decide(Memory::new(SECOND), &at(0.0), &rules);
    assert_eq!(memory.size(), 10);
    assert!(sent < 12_000, "{sent}");
}

#[test]
fn what_nobody_looked_at_tells_nothing() {
    let rules = fixed();
    let view = at(0.0);
    let replayed = |memory: Memory| memory.moved(&view, 100, &[], &rules);
    let look = |memory, view| decide(memory, &view, &rules).0;
    let memory = replayed(look(Memory::new(SECOND), view.clone()));
    assert!(!memory.failed_alone(SECOND), "too early to tell");
    let seen = look(memory.clone(), at(10.0));
    assert!(seen.failed_alone(SECOND), "none of the others came back");
    let partly = View {
        all_seen: false,
        ..at(10.0)
    };
    let unseen = look(memory.clone(), partly);
    assert!(!unseen.failed_alone(SECOND), "who knows");
    let bounced = View {
        came_back: vec![SECOND; 60],
        ..at(10.0)
    };
    assert!(
        !look(memory, bounced).failed_alone(SECOND),
        "most came back"
    );
}

#[test]
fn a_suspect_counts_again_when_the_others_fail_too() {
    let rules = fixed();
    let view = at(0.0);
    let (memory, _) = decide(Memory::new(SECOND), &view, &rules);
    let memory = memory.moved(&view, 100, &[], &rules);
    let (memory, _) = decide(memory, &at(10.0), &rules);
    assert!(memory.failed_alone(SECOND));
    let later = at(300.0);
    let memory = memory.moved(&later, 50, &[], &rules);
    let all_back = View {
        came_back: vec![later.second; 50],
        ..at(310.0)
    };
    let (memory, _) = decide(memory, &all_back, &rules);
    assert!(!memory.failed_alone(SECOND));
}

#[test]
fn half_open_one_canary_waits_for_the_other_in_both_paces() {
    for rules in [adaptive(), fixed()] {
        let sent = play(&rules, 60, |step| View {
            half_open: true,
            target_depth: step % 4,
            ..tenth(step)
        });
        assert!((100..400).contains(&sent), "{sent}");
    }
}

#[test]
fn whatever_shut_the_gate_a_canary_goes_first_when_it_opens() {
    let rules = adaptive();
    for why in Shut::ALL {
        let mut memory = Memory::new(SECOND);
        for step in 0..300 {
            let view = tenth(step);
            let (then, decision) = decide(memory, &view, &rules);
            memory = then;
            if let Act::Go(count) = decision.act {
                memory = memory.moved(&view, count, &[], &rules);
            }
        }
        assert_eq!(memory.size(), 100);
        let closed = View {
            shut: Some(why),
            ..at(30.0)
        };
        let (memory, decision) = decide(memory, &closed, &rules);
        assert_eq!(decision.gate, Gate::Shut(why));
        let (_, decision) = decide(memory, &at(30.1), &rules);
        let canary = (Gate::Probation, Act::Go(10));
        assert_eq!((decision.gate, decision.act), canary);
    }
}
