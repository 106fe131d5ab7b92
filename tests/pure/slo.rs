//! The arithmetic of the objectives: worked examples of the SRE workbook, and what holds for any
//! numbers.

use std::collections::{BTreeMap, BTreeSet};

use mutt_remediation::slo::answer::{self, Body};
use mutt_remediation::slo::built_in::built_in;
use mutt_remediation::slo::evidence::{Buckets, Count, Evidence};
use mutt_remediation::slo::judge::{State, judge};
use mutt_remediation::slo::knobs::Knobs;
use mutt_remediation::slo::objective::{Lull, Objective};
use mutt_remediation::slo::query::PART;
use mutt_remediation::slo::window::{LADDER, Pairs, Window};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// The workbook's objective: 99.9 % over 30 days.
fn monthly() -> Objective {
    Objective {
        period: Window::hours(720),
        ..named("ingestor_availability")
    }
}

fn named(name: &str) -> Objective {
    let found = built_in().into_iter().find(|one| one.name == name);
    found.expect("it is built in")
}

/// As many events over each stretch as a steady thousand a minute makes, of which these shares were
/// bad; the share of a longer stretch is that of the next shorter one named unless it is named too.
fn steady(objective: &Objective, bad: &[(Window, f64)]) -> Evidence {
    let share = |window: Window| {
        let within = bad.iter().rev().find(|(from, _)| *from <= window);
        within.map_or(0.0, |(_, share)| *share)
    };
    let counts = objective.windows().into_iter().map(|window| {
        #[expect(clippy::cast_precision_loss, reason = "some millions")]
        let total = window.as_secs() as f64 / 60.0 * 1_000.0;
        (window, Count::of_bad(total * share(window), total))
    });
    Evidence {
        counts: counts.collect(),
        quantile: None,
    }
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9 * one.abs().max(1.0)
}

/// <https://sre.google/workbook/alerting-on-slos/>, table 5-4: burn rates and the time until the
/// budget of 30 days is spent.
#[test]
fn burn_rates_are_those_of_the_workbook() {
    for (error_rate, burn_rate, days) in [
        (0.001, 1.0, 30.0),
        (0.002, 2.0, 15.0),
        (0.01, 10.0, 3.0),
        (1.0, 1_000.0, 0.03),
    ] {
        let count = Count::of_bad(error_rate * 1e6, 1e6);
        let rate = count.burn_rate(0.999).expect("there are events");
        assert!(close(rate, burn_rate), "{error_rate}: {rate}");
        assert!(close(30.0 / rate, days), "{error_rate}");
    }
}

/// The same page: 2 % of the budget in an hour is a burn rate of 14.4, 5 % in six hours one of 6, 10 %
/// in three days one of 1.
#[test]
fn the_recommended_rates_spend_the_recommended_shares() {
    let pairs = Pairs::of(Window::hours(720), 6.0, 14.4);
    for (pair, share) in pairs.all().into_iter().zip([0.02, 0.05, 0.1]) {
        #[expect(clippy::cast_precision_loss, reason = "days")]
        let spent = pair.burn_rate * pair.long.as_secs() as f64 / (720.0 * 3_600.0);
        assert!(close(spent, share), "{pair:?}");
        assert_eq!(pair.short.as_secs(), pair.long.as_secs() / 12);
    }
}

#[test]
fn states_follow_the_pairs() {
    let objective = monthly();
    let (minutes, hour) = (Window::minutes(5), Window::hours(1));
    let six = Window::hours(6);
    let days = Window::hours(72);
    let cases: [(_, &[_], _); 8] = [
        ("nothing is bad", &[], State::Ok),
        ("as much as may be", &[(minutes, 0.001)], State::Ok),
        (
            "an outage that goes on",
            &[(minutes, 0.5), (hour, 0.05), (six, 0.01), (days, 0.0)],
            State::Critical,
        ),
        (
            "an outage that has ended: the short stretch is clean",
            &[(minutes, 0.0), (hour, 0.05), (six, 0.0)],
            State::Ok,
        ),
        (
            "a spike that is too short to matter",
            &[(minutes, 0.5), (hour, 0.004), (six, 0.0)],
            State::Ok,
        ),
        (
            "seven times too fast for six hours",
            &[(minutes, 0.007), (days, 0.0)],
            State::Warn,
        ),
        (
            "a leak that spends more than there is",
            &[(minutes, 0.0011)],
            State::Warn,
        ),
        (
            "quiet now, and the budget is spent",
            &[(minutes, 0.0), (Window::hours(720), 0.002)],
            State::Warn,
        ),
    ];
    for (what, bad, state) in cases {
        let judgement = judge(&objective, &steady(&objective, bad));
        assert_eq!(judgement.state, state, "{what}: {}", judgement.message);
    }
}

#[test]
fn what_is_missing_is_unknown_and_never_ok() {
    let objective = monthly();
    let whole = steady(&objective, &[]);
    for window in objective.windows() {
        let mut evidence = whole.clone();
        evidence.counts.remove(&window);
        let judgement = judge(&objective, &evidence);
        assert_eq!(judgement.state, State::Unknown, "{window}");
        assert!(judgement.message.contains("no samples"), "{judgement:?}");
    }
    let mut evidence = whole.clone();
    for count in evidence.counts.values_mut() {
        *count = Count::default();
    }
    let judgement = judge(&objective, &evidence);
    assert_eq!(judgement.state, State::Unknown);
    assert_eq!(judgement.availability, None);
    assert_eq!(judgement.message, "no event in the last 30d, 10 are needed");
}

#[test]
fn silence_is_unknown_unless_it_is_usual() {
    let objective = named("ingestor_availability");
    let mut evidence = steady(&objective, &[]);
    for window in [Window::minutes(5), Window::minutes(15)] {
        evidence.counts.insert(window, Count::default());
    }
    let judgement = judge(&objective, &evidence);
    assert_eq!(judgement.state, State::Unknown);
    assert_eq!(judgement.message, "no event in the last 15m");
    let sparse = Objective {
        lull: Lull::Any,
        ..objective
    };
    assert_eq!(judge(&sparse, &evidence).state, State::Ok);
}

#[test]
fn few_events_burn_nothing() {
    let objective = named("ingestor_availability");
    let mut evidence = steady(&objective, &[]);
    let counts = &mut evidence.counts;
    counts.insert(Window::minutes(5), Count::of_bad(1.0, 1.0));
    counts.insert(Window::minutes(15), Count::of_bad(2.0, 9.0));
    assert_eq!(judge(&objective, &evidence).state, State::Ok);
    for enough in [Count::of_bad(2.0, 10.0), Count::of_bad(3.0, 3.0)] {
        evidence.counts.insert(Window::minutes(15), enough);
        assert_eq!(judge(&objective, &evidence).state, State::Critical);
    }
}

/// However low the target is, an outage of everything is critical.
#[test]
fn every_target_can_burn_critically() {
    for target in [0.000_1, 0.5, 0.9, 0.93, 0.999, 0.999_999_9] {
        let objective = Objective {
            target,
            ..named("forwarder_availability")
        };
        let outage = steady(&objective, &[(Window::minutes(5), 1.0)]);
        assert_eq!(
            judge(&objective, &outage).state,
            State::Critical,
            "{target}"
        );
        let fine = steady(&objective, &[]);
        assert_eq!(judge(&objective, &fine).state, State::Ok, "{target}");
    }
}

#[test]
fn a_spent_budget_is_not_hidden_by_the_silence_after_it() {
    let objective = named("ingestor_availability");
    let mut evidence = steady(&objective, &[(Window::hours(24), 0.1)]);
    for window in [Window::minutes(5), Window::minutes(15)] {
        evidence.counts.insert(window, Count::default());
    }
    assert_eq!(judge(&objective, &evidence).state, State::Warn);
}

/// Idle is who has had nothing to do, and not who has failed at the little there was.
#[test]
fn few_events_that_were_bad_are_not_idle() {
    let objective = named("alerter_cache_reload_success");
    let idle = |bad: f64, total: f64| {
        let mut evidence = steady(&objective, &[]);
        for (window, count) in &mut evidence.counts {
            let all = *window == objective.period;
            *count = if all {
                Count::of_bad(bad, total)
            } else {
                Count::default()
            };
        }
        let judgement = judge(&objective, &evidence);
        (judgement.state, objective.is_idle(&judgement))
    };
    assert_eq!(idle(0.0, 0.0), (State::Unknown, true));
    assert_eq!(idle(0.0, 8.0), (State::Unknown, true));
    assert_eq!(idle(1.0, 8.0), (State::Unknown, false));
    assert_eq!(idle(8.0, 8.0), (State::Warn, false));
}

#[test]
fn what_burns_critically_is_critical_also_where_the_rest_is_not_known() {
    let objective = named("forwarder_availability");
    let mut evidence = steady(&objective, &[(Window::minutes(5), 1.0)]);
    evidence.counts.remove(&Window::hours(6));
    assert_eq!(judge(&objective, &evidence).state, State::Critical);
}

/// An answer of one value for each part.
fn answered(parts: &[(&str, &str)]) -> Body {
    let result: Vec<Value> = parts
        .iter()
        .map(|(part, value)| {
            let mut labels = BTreeMap::from([(PART, (*part).to_owned())]);
            if let Some((part, le)) = part.split_once('@') {
                labels.insert(PART, part.to_owned());
                labels.insert("le", le.to_owned());
            }
            json!({"metric": labels, "value": [1_700_000_000.5, value]})
        })
        .collect();
    let body = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    serde_json::from_value(body).expect("a body")
}

fn read(objective: &Objective, body: Body) -> Result<Evidence, String> {
    let series = body.series()?;
    answer::evidence(objective, &series)
}

#[test]
fn counts_are_read_by_their_parts() {
    let objective = named("forwarder_availability");
    let body = answered(&[
        ("total:5m", "100"),
        ("good:5m", "90"),
        ("total:1d", "1000"),
        ("total:15m", "0"),
    ]);
    let evidence = read(&objective, body).expect("sound");
    let bad = |window| evidence.counts.get(&window).map(|count: &Count| count.bad);
    assert_eq!(bad(Window::minutes(5)), Some(10.0));
    assert_eq!(
        bad(Window::hours(24)),
        Some(1_000.0),
        "none of the good ones was ever counted"
    );
    assert_eq!(bad(Window::minutes(15)), Some(0.0));
    assert_eq!(bad(Window::hours(6)), None, "not answered for");
}

#[test]
fn a_histogram_is_read_by_its_bounds() {
    let objective = named("forwarder_latency_p99");
    let body = answered(&[
        ("bucket:1d@1.0", "900"),
        ("bucket:1d@2.5", "990"),
        ("bucket:1d@5", "1000"),
        ("bucket:1d@+Inf", "1000"),
    ]);
    let evidence = read(&objective, body).expect("sound");
    let count = evidence.counts[&Window::hours(24)];
    assert!(
        close(count.bad, 40.0),
        "{count:?}: two seconds are two thirds of the way"
    );
    assert_eq!(evidence.quantile, Some(2.5));

    let body = answered(&[
        ("bucket:1d@1", "400"),
        ("bucket:1d@1.0", "500"),
        ("bucket:1d@+Inf", "900"),
    ]);
    let evidence = read(&objective, body).expect("sound");
    let quantile = evidence.quantile.expect("there are events");
    assert!(
        close(quantile, 0.99),
        "one bound in two spellings: {quantile}"
    );
}

#[test]
fn what_is_not_sound_is_refused_with_its_reason() {
    let objective = named("forwarder_availability");
    let latency = named("forwarder_latency_p99");
    let cases = [
        (
            &objective,
            answered(&[("total:1d", "NaN")]),
            "\"NaN\" for total of the last 1d",
        ),
        (
            &objective,
            answered(&[("total:1d", "+Inf")]),
            "\"+Inf\" for total",
        ),
        (&objective, answered(&[("total:1d", "many")]), "\"many\""),
        (
            &objective,
            answered(&[("good:1d", "5")]),
            "not how many there were",
        ),
        (&objective, answered(&[("good:7d", "5")]), "not asked for"),
        (&objective, answered(&[("", "5")]), "not asked for"),
        (
            &objective,
            answered(&[("total:1d", "5"), ("total:1d", "6")]),
            "more than one series",
        ),
        (
            &objective,
            answered(&[("total:1d", "100"), ("good:1d", "200")]),
            "counts 200 good events of the last 1d, and 100 of all",
        ),
        (
            &objective,
            answered(&[("total:1d", "100"), ("good:1d", "-5")]),
            "counts -5 good events",
        ),
        (
            &latency,
            answered(&[("bucket:1d@1", "5")]),
            "no bucket without an end",
        ),
        (
            &latency,
            answered(&[("bucket:1d@x", "5")]),
            "the bound \"x\"",
        ),
        (
            &latency,
            answered(&[("bucket:1d@NaN", "5")]),
            "the bound \"NaN\"",
        ),
    ];
    for (objective, body, expected) in cases {
        let error = read(objective, body).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
    for (body, expected) in [
        (
            json!({"status": "error", "error": "out of memory"}),
            "refuses the query: out of memory",
        ),
        (json!({"status": "error"}), "no reason given"),
        (json!({"status": "success"}), "no data"),
        (
            json!({"status": "success", "warnings": ["remote store away"], "data": {"resultType": "vector", "result": []}}),
            "not complete: remote store away",
        ),
        (
            json!({"status": "success", "isPartial": true, "warnings": null, "data": {"resultType": "vector", "result": []}}),
            "says that it is partial",
        ),
        (
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}),
            "is a scalar",
        ),
        (
            json!({"status": "success", "data": {"resultType": "vector", "result": [{"x": 1}]}}),
            "cannot be read",
        ),
    ] {
        let body: Body = serde_json::from_value(body).expect("a body");
        let error = read(&objective, body).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn settings_of_one_objective_win_over_those_of_all() {
    let mut knobs = Knobs::new(built_in(), vec![]);
    let every = knobs.every();
    let set = |knobs: &mut Knobs, name: &str, text: &str| {
        let knob = every.iter().find(|knob| knob.name == name).expect("known");
        knob.apply(knobs, text)
    };
    set(&mut knobs, "slo_window_hours", "720").expect("sound");
    set(&mut knobs, "slo_forwarder_availability_window_hours", "48").expect("sound");
    set(&mut knobs, "slo_forward_success_target", "0.9").expect("sound");
    set(&mut knobs, "slo_burn_rate_critical", "10").expect("sound");
    set(
        &mut knobs,
        "slo_ingestor_latency_p99_burn_rate_critical",
        "20",
    )
    .expect("sound");
    let objectives = knobs.objectives();
    let one = |name: &str| {
        objectives
            .iter()
            .find(|one| one.name == name)
            .expect("known")
    };
    assert_eq!(one("ingestor_availability").period, Window::hours(720));
    let forwarder = one("forwarder_availability");
    assert_eq!(
        (forwarder.period, forwarder.target),
        (Window::hours(48), 0.9)
    );
    assert!(close(forwarder.critical, 10.0));
    assert!(close(one("ingestor_latency_p99").critical, 20.0));
    for (name, bad) in [
        ("slo_window_hours", "0"),
        ("slo_window_hours", "1.5"),
        ("slo_forward_success_target", "1"),
        ("slo_forward_success_target", "NaN"),
        ("slo_burn_rate_warning", "0.5"),
        ("slo_burn_rate_warning", "inf"),
        ("replay_slo_gate", "maybe"),
    ] {
        assert!(set(&mut knobs, name, bad).is_err(), "{name}={bad}");
    }
    assert!(knobs.all().is_empty(), "nobody is asked for them");
    for knob in &every {
        let shown = knob.show(&knobs);
        let mut again = knobs.clone();
        knob.apply(&mut again, &shown)
            .expect("what is shown can be set");
        assert_eq!(again.objectives(), knobs.objectives(), "{}", knob.name);
    }
}

/// Counts as they come: most stretches are answered for, and shares are of every size.
fn counts(windows: Vec<Window>) -> impl Strategy<Value = BTreeMap<Window, Count>> {
    let share = (-6.0..0.5_f64).prop_map(|size| if size > 0.0 { 0.0 } else { 10_f64.powf(size) });
    let one = (-1.0..7.0_f64, share).prop_map(|(size, share)| (10_f64.powf(size), share));
    let one = proptest::option::weighted(0.97, one);
    let all = proptest::collection::vec(one, windows.len());
    all.prop_map(move |numbers| {
        let each = windows.iter().zip(numbers);
        each.filter_map(|(window, numbers)| {
            let (total, share) = numbers?;
            Some((*window, Count::of_bad(total * share, total)))
        })
        .collect()
    })
}

/// The properties below would say nothing of states that never come.
#[test]
fn every_state_comes_of_some_counts() {
    let mut seen = BTreeSet::new();
    let mut runner = TestRunner::deterministic();
    let strategy = counts(monthly().windows());
    for _ in 0..2_000 {
        let counts = strategy.new_tree(&mut runner).expect("a value").current();
        let evidence = Evidence {
            counts,
            quantile: None,
        };
        seen.insert(judge(&monthly(), &evidence).state);
    }
    assert_eq!(seen.len(), State::ALL.len(), "{seen:?}");
}

proptest! {
    #[test]
    fn nothing_is_ok_without_enough_of_everything(counts in counts(monthly().windows())) {
        let objective = monthly();
        let evidence = Evidence { counts, quantile: None };
        let judgement = judge(&objective, &evidence);
        prop_assert!(!judgement.message.is_empty());
        if judgement.state == State::Ok {
            let full = objective.windows().iter().all(|window| evidence.counts.contains_key(window));
            prop_assert!(full);
            prop_assert!(evidence.counts[&objective.period].total >= 9.5);
            prop_assert!(judgement.budget_left.is_some_and(|left| left > 0.0));
        }
        if let Some(left) = judgement.budget_left {
            let (good, target) = (judgement.availability.expect("there is a budget"), objective.target);
            prop_assert!((left - (good - target) / (1.0 - target)).abs() < 1e-6, "{left}");
        }
        for number in [judgement.availability, judgement.burn_rate].into_iter().flatten() {
            prop_assert!(number.is_finite() && number >= 0.0);
        }
    }

    /// More bad events never make it better.
    #[test]
    fn worse_is_never_better(
        counts in counts(monthly().windows()),
        more in 0.0..=1.0_f64,
    ) {
        let objective = monthly();
        let evidence = Evidence { counts, quantile: None };
        let mut worse = evidence.clone();
        for count in worse.counts.values_mut() {
            *count = Count::of_bad(count.bad + more * (count.total - count.bad), count.total);
        }
        let (before, after) = (judge(&objective, &evidence).state, judge(&objective, &worse).state);
        // What cannot be told may turn out to be in danger, and never well.
        if before == State::Unknown {
            prop_assert!(after != State::Ok);
        } else {
            prop_assert!(after >= before, "{before} {after}");
        }
    }

    /// The share within a bound, and the bound of a share, are each other's inverse.
    #[test]
    fn quantiles_and_shares_agree(
        counts in proptest::collection::vec(1.0..1_000.0_f64, 4),
        share in 0.01..0.99_f64,
    ) {
        let bounds = [0.1, 0.5, 2.5, f64::INFINITY];
        let mut sum = 0.0;
        let cumulated: Vec<_> = bounds.iter().zip(&counts).map(|(bound, count)| {
            sum += count;
            (*bound, sum)
        }).collect();
        let buckets = Buckets::new(cumulated);
        let quantile = buckets.quantile(share).expect("there are events");
        if quantile.is_finite() {
            let within = buckets.within(quantile) / sum;
            prop_assert!((within - share).abs() < 1e-9, "{within} {share}");
        } else {
            prop_assert!(buckets.within(2.5) / sum < share);
        }
    }

    #[test]
    fn pairs_lie_on_the_ladder(
        hours in 1_u64..=2_160,
        warning in 1.0..1_000.0_f64,
        critical in 1.0..1_000.0_f64,
    ) {
        for pair in Pairs::of(Window::hours(hours), warning, critical).all() {
            prop_assert!(LADDER.contains(&pair.long) && LADDER.contains(&pair.short));
            prop_assert!(pair.short < pair.long);
        }
    }

    /// Whatever Prometheus says, it is read or refused.
    #[test]
    fn any_answer_is_read_or_refused(part in ".{0,12}", value in ".{0,12}", le in ".{0,8}") {
        for objective in built_in() {
            let labels = json!({PART: part, "le": le});
            let body = json!({"status": "success", "data": {
                "resultType": "vector", "result": [{"metric": labels, "value": [1, value]}],
            }});
            let body: Body = serde_json::from_value(body).expect("a body");
            let _ = read(&objective, body);
        }
    }
}
