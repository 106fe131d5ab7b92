//! Stories of eight hours, minute by minute, and which alerts of the error budgets stand at their end:
//! of each objective, for periods of a day and of a month, by promtool and by the judge.

use std::fmt::Write as _;

use mutt_remediation::slo::built_in::built_in;
use mutt_remediation::slo::evidence::{Count, Evidence};
use mutt_remediation::slo::judge::{State, judge};
use mutt_remediation::slo::objective::{Indicator, Lull, Objective};
use mutt_remediation::slo::window::Window;

use super::series::{self, Minute};
use super::{test_rules, written};

use Phase::{Absent, Burn, Outage, Rare, Silence};

const MINUTES: usize = 480;
/// Events a minute; of what is looked at once a minute it is one.
const PACE: f64 = 10.0;
/// So many went well before the story begins, so that nothing in it spends the budget.
const BEFORE: f64 = 1e8;

const CRITICAL: &str = "SloBurnCritical";
const WARNING: &str = "SloBurnWarning";
const SLOW: &str = "SloBurnSlow";
const SPENT: &str = "SloBudgetSpent";
const UNKNOWN: &str = "SloUnknown";

/// What happens in a stretch of a story.
#[derive(Clone, Copy)]
enum Phase {
    /// A share of events that is so many times what the budget allows is bad.
    Burn(f64),
    /// All are.
    Outage,
    /// One event a minute, a bad one.
    Rare,
    /// Nothing happens.
    Silence,
    /// Nobody counts.
    Absent,
}

struct Story {
    name: &'static str,
    /// How often the budget's share of what went before was bad; `None`: there was nothing before.
    before: Option<f64>,
    /// From the beginning on, with minutes; what is missing before is well.
    end: &'static [(usize, Phase)],
    /// The counters begin anew so many minutes before the end.
    reset: Option<usize>,
    /// What fires with a period of a day, and of a month.
    fires: [&'static [&'static str]; 2],
    /// What fires with a period of a day where moments are looked at instead of events; `None`: it has
    /// no such story.
    of_moments: Option<&'static [&'static str]>,
}

const NOTHING: [&[&str]; 2] = [&[], &[]];
const STEADY: Story = Story {
    name: "steady",
    before: Some(0.0),
    end: &[],
    reset: None,
    fires: NOTHING,
    of_moments: Some(&[]),
};
const OUTAGE: Story = Story {
    name: "outage",
    end: &[(180, Outage)],
    fires: [&[CRITICAL, WARNING, SLOW], &[CRITICAL, WARNING]],
    of_moments: Some(&[CRITICAL, WARNING, SLOW, SPENT]),
    ..STEADY
};
const STORIES: [Story; 13] = [
    STEADY,
    OUTAGE,
    Story {
        name: "outage that ended ten minutes ago",
        end: &[(180, Outage), (10, Burn(0.0))],
        fires: [&[SLOW], &[WARNING]],
        of_moments: Some(&[SLOW, SPENT]),
        ..STEADY
    },
    Story {
        name: "outage that ended forty minutes ago",
        end: &[(60, Outage), (40, Burn(0.0))],
        of_moments: Some(&[SPENT]),
        ..STEADY
    },
    Story {
        name: "ten times as fast for an hour",
        end: &[(60, Burn(10.0))],
        fires: [&[WARNING, SLOW], &[]],
        of_moments: None,
        ..STEADY
    },
    Story {
        name: "ten times as fast for five hours",
        end: &[(300, Burn(10.0))],
        fires: [&[WARNING, SLOW], &[WARNING]],
        of_moments: None,
        ..STEADY
    },
    Story {
        name: "slow burn",
        end: &[(MINUTES, Burn(3.0))],
        fires: [&[SLOW], &[]],
        of_moments: None,
        ..STEADY
    },
    Story {
        name: "slow burn and nothing else",
        before: None,
        end: &[(MINUTES, Burn(3.0))],
        fires: [&[SLOW, SPENT]; 2],
        of_moments: None,
        ..STEADY
    },
    Story {
        name: "spent long ago",
        before: Some(2.0),
        fires: [&[SPENT]; 2],
        of_moments: None,
        ..STEADY
    },
    Story {
        name: "counters begin anew",
        reset: Some(10),
        ..STEADY
    },
    Story {
        name: "no traffic",
        end: &[(100, Silence)],
        fires: [&[UNKNOWN]; 2],
        of_moments: Some(&[UNKNOWN]),
        ..STEADY
    },
    Story {
        name: "no traffic for hours",
        end: &[(420, Silence)],
        fires: [&[UNKNOWN]; 2],
        of_moments: Some(&[UNKNOWN]),
        ..STEADY
    },
    Story {
        name: "absent",
        before: None,
        end: &[(MINUTES, Absent)],
        fires: [&[UNKNOWN]; 2],
        of_moments: Some(&[UNKNOWN]),
        ..STEADY
    },
];

/// Three bad events, and nothing else for hours: few, and an outage all the same.
const RARE_OUTAGE: Story = Story {
    name: "three in vain in a quiet night",
    end: &[(MINUTES - 3, Silence), (3, Rare)],
    fires: [&[CRITICAL, WARNING, SLOW], &[CRITICAL, WARNING]],
    of_moments: None,
    ..STEADY
};

/// Two bad events, and nothing else for hours.
const FEW: Story = Story {
    name: "too few to tell",
    end: &[(MINUTES - 2, Silence), (2, Rare)],
    of_moments: None,
    ..STEADY
};

#[test]
fn budgets_of_a_day_have_the_alerts_that_the_judge_has() {
    tell(0, &built_in());
}

#[test]
fn budgets_of_a_month_have_the_windows_of_the_workbook() {
    let mut objectives = built_in();
    // Each minute of a month is more than promtool takes into its memory.
    objectives.retain(|one| !matches!(one.indicator, Indicator::Moments { .. }));
    for objective in &mut objectives {
        objective.period = Window::hours(720);
    }
    tell(1, &objectives);
}

#[test]
fn an_alert_says_what_is_wrong_and_where_to_read_on() {
    let objectives: Vec<_> = built_in()
        .into_iter()
        .filter(|objective| objective.component == "forwarder")
        .collect();
    let mut cases = head();
    begin(&mut cases, "outage", &OUTAGE, &objectives);
    cases += r"    alert_rule_test:
      - alertname: SloBurnCritical
        eval_time: 480m
        exp_alerts:
          - exp_labels: {severity: critical, component: forwarder, slo: forwarder_availability}
            exp_annotations:
              summary: forwarder_availability burns its error budget at more than 14.4x the rate that lasts
              description: 'Requests of the forwarder that Moogsoft takes: in the last 15m 100% were not so; no more than 0.5 % may be.'
              runbook_url: docs/troubleshooting.md#an-error-budget-burns
          - exp_labels: {severity: critical, component: forwarder, slo: forwarder_latency_p99}
            exp_annotations:
              summary: forwarder_latency_p99 burns its error budget at more than 14.4x the rate that lasts
              description: 'Requests of the forwarder that Moogsoft answers within two seconds: in the last 15m the slowest 14.4 % took longer than 9.28s; no more than 1 % may take longer than 2 s.'
              runbook_url: docs/troubleshooting.md#an-error-budget-burns
";
    test_rules(written(&objectives).path(), &cases);
}

/// Tells every story of every objective.
fn tell(period: usize, objectives: &[Objective]) {
    let mut cases = head();
    for story in STORIES.iter().chain([&FEW, &RARE_OUTAGE]) {
        begin(&mut cases, story.name, story, objectives);
        cases += "    promql_expr_test:\n      - expr: 'count by (alertname, slo) (ALERTS{alertstate=\"firing\"})'\n        eval_time: 480m\n        exp_samples:\n";
        for objective in objectives {
            let Some(fires) = expected(story, objective, period) else {
                continue;
            };
            assert_eq!(
                judge(objective, &evidence(story, objective)).state,
                state(fires),
                "{}: {}",
                story.name,
                objective.name
            );
            for alert in fires {
                let slo = &objective.name;
                let _ = writeln!(
                    cases,
                    "          - {{labels: '{{alertname=\"{alert}\", slo=\"{slo}\"}}', value: 1}}"
                );
            }
        }
    }
    test_rules(written(objectives).path(), &cases);
}

/// What fires at the end; `None` if it has no such story.
fn expected(
    story: &Story,
    objective: &Objective,
    period: usize,
) -> Option<&'static [&'static str]> {
    let usual = match objective.lull {
        Lull::Minutes => &[][..],
        Lull::Hours => &["no traffic"],
        Lull::Any => &["no traffic", "no traffic for hours"],
    };
    if usual.contains(&story.name) {
        return Some(&[]);
    }
    // Bad events of a latency are estimated, and do not count one by one.
    if story.name == RARE_OUTAGE.name && matches!(objective.indicator, Indicator::Latency { .. }) {
        return Some(&[]);
    }
    let fires = match objective.indicator {
        Indicator::Moments { .. } => story.of_moments?,
        _ => story.fires[period],
    };
    Some(fires)
}

/// How an objective stands of which these fire.
fn state(fires: &[&str]) -> State {
    if fires.contains(&CRITICAL) {
        State::Critical
    } else if fires.contains(&UNKNOWN) {
        State::Unknown
    } else if fires.is_empty() {
        State::Ok
    } else {
        State::Warn
    }
}

fn head() -> String {
    "rule_files: [slo-recording.yml, slo-alerts.yml]\nevaluation_interval: 20m\n\
     group_eval_order: [mutt-slo, mutt-slo-long, mutt-slo-alerts]\ntests:\n"
        .into()
}

/// A case with its series.
fn begin(cases: &mut String, name: &str, story: &Story, objectives: &[Objective]) {
    let _ = writeln!(
        cases,
        "  - name: {name}\n    interval: 1m\n    input_series:"
    );
    for objective in objectives {
        let is_of_moments = matches!(objective.indicator, Indicator::Moments { .. });
        // What has no such story has one in which nothing happens.
        let told = if is_of_moments && story.of_moments.is_none() {
            &STEADY
        } else {
            story
        };
        series::add(cases, objective, &minutes(told, objective), told.reset);
    }
}

/// The first one is what went before.
fn minutes(story: &Story, objective: &Objective) -> Vec<Minute> {
    let budget = 1.0 - objective.target;
    let minute = |part: Phase| match part {
        Burn(times) => Some(Count::of_bad(PACE * times * budget, PACE)),
        Outage => Some(Count::of_bad(PACE, PACE)),
        Rare => Some(Count::of_bad(1.0, 1.0)),
        Silence => Some(Count::default()),
        Absent => None,
    };
    let mut minutes = vec![minute(Burn(0.0)); MINUTES];
    let mut end: usize = story.end.iter().map(|(length, _)| length).sum();
    for (length, part) in story.end {
        minutes[MINUTES - end..][..*length].fill(minute(*part));
        end -= length;
    }
    if let Some(times) = story.before {
        minutes[0] = Some(Count::of_bad(BEFORE * times * budget, BEFORE));
    }
    minutes
}

/// What Prometheus would have counted, if it did so exactly.
fn evidence(story: &Story, objective: &Objective) -> Evidence {
    let minutes = minutes(story, objective);
    let is_of_moments = matches!(objective.indicator, Indicator::Moments { .. });
    let mut evidence = Evidence::default();
    for window in objective.windows() {
        let length = usize::try_from(window.as_secs() / 60).expect("it fits");
        let last = &minutes[MINUTES.saturating_sub(length)..];
        let seen = last.iter().flatten();
        let mut all = Count::default();
        for minute in seen.clone() {
            if is_of_moments {
                all.total += f64::from(minute.total > 0.0);
                all.bad += f64::from(minute.bad > 0.0);
            } else {
                all.total += minute.total;
                all.bad += minute.bad;
            }
        }
        if seen.count() > 0 && !(is_of_moments && all.total == 0.0) {
            evidence.counts.insert(window, all);
        }
    }
    evidence
}
