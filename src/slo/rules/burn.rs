//! Alerts of error budgets. They say what [`judge`](super::super::judge) says of the same events.

use super::super::objective::{Indicator, Lull};
use super::super::window::Pair;
use super::recording::OFTEN;
use super::yaml::plain;
use super::{Alert, Group, Keyed, Rule, Window, percent};

/// Where the runbook has them.
const BURNS: &str = "troubleshooting.md#an-error-budget-burns";
const UNKNOWN: &str = "troubleshooting.md#an-objective-cannot-be-told";
/// A restart of MUTT is no silence.
const QUIET: Window = Window::minutes(5);

pub(super) fn groups(objectives: &[Keyed<'_>], runbook_base: &str) -> Vec<Group> {
    let rules = objectives.iter().flat_map(|keyed| {
        let pairs = keyed.objective.pairs();
        [
            burn(keyed, "SloBurnCritical", "critical", pairs.critical),
            burn(keyed, "SloBurnWarning", "warning", pairs.warning),
            burn(keyed, "SloBurnSlow", "warning", pairs.slow),
            spent(keyed),
            unknown(keyed),
        ]
    });
    let rules = rules.map(|alert| {
        Rule::Alert(Alert {
            runbook: format!("{runbook_base}{}", alert.runbook),
            ..alert
        })
    });
    vec![Group {
        name: "mutt-slo-alerts",
        interval: OFTEN,
        rules: rules.collect(),
    }]
}

fn burn(keyed: &Keyed<'_>, name: &'static str, severity: &str, pair: Pair) -> Alert {
    let objective = keyed.objective;
    let Pair {
        burn_rate,
        long,
        short,
    } = pair;
    let share = burn_rate * (1.0 - objective.target);
    let budget = format!("{burn_rate} * (1 - {})", objective.target);
    let exceeds = |window| beyond(keyed, window, ">", &budget);
    Alert {
        name,
        why: vec![format!(
            "{}: more than {} of the events were bad, over {long} and still over {short}.",
            objective.name,
            percent(share)
        )],
        expr: format!(
            "{}\n  and {}\n  and {}",
            exceeds(long),
            exceeds(short),
            counts(keyed, long)
        ),
        wait: None,
        labels: labels(keyed, severity),
        summary: format!(
            "{} burns its error budget at more than {burn_rate}x the rate that lasts",
            objective.name
        ),
        description: description(keyed, long, share),
        runbook: BURNS.into(),
    }
}

/// Whether there is enough in a stretch to speak of a burn.
fn counts(keyed: &Keyed<'_>, long: Window) -> String {
    let objective = keyed.objective;
    let events = keyed.events(long);
    let enough = format!("round({events}) >= {}", objective.min_events.max(1));
    match &objective.indicator {
        Indicator::Latency { .. } => enough,
        _ => {
            let bad = format!("{} * {events}", keyed.share(long));
            format!("({enough} or round({bad}) >= {})", objective.min_bad())
        }
    }
}

fn spent(keyed: &Keyed<'_>) -> Alert {
    let objective = keyed.objective;
    let period = objective.period;
    let budget = format!("(1 - {})", objective.target);
    Alert {
        name: "SloBudgetSpent",
        why: vec![format!(
            "{}: the budget of {period} is spent, whether it still burns or not.",
            objective.name
        )],
        expr: format!(
            "{}\n  and {}",
            beyond(keyed, period, ">=", &budget),
            counts(keyed, period)
        ),
        wait: None,
        labels: labels(keyed, "warning"),
        summary: format!("{} has spent its error budget of {period}", objective.name),
        description: description(keyed, period, 1.0 - objective.target),
        runbook: BURNS.into(),
    }
}

fn unknown(keyed: &Keyed<'_>) -> Alert {
    let objective = keyed.objective;
    let silence = objective.silence();
    // Where silence is nothing unusual, only series that are gone are.
    let any = objective.lull == Lull::Any;
    let (over, expr) = if any {
        let over = objective.pairs().critical.long;
        (over, format!("absent({})", keyed.events(over)))
    } else {
        let events = keyed.events(silence);
        (silence, format!("round({events} or on () vector(0)) < 1"))
    };
    let what = if any {
        "has no samples"
    } else {
        "has seen no event"
    };
    Alert {
        name: "SloUnknown",
        why: vec![format!(
            "{}: Prometheus {what} in the last {over}, which is never well.",
            objective.name
        )],
        expr,
        wait: Some(QUIET),
        labels: labels(keyed, "warning"),
        summary: format!("{} cannot be told", objective.name),
        description: format!(
            "{}: Prometheus {what} in the last {over}, so that nobody knows whether it is kept.",
            plain(&objective.description)
        ),
        runbook: UNKNOWN.into(),
    }
}

/// Whether a stretch has had a greater share of bad events than this. Of a latency objective: whether
/// that share took longer than its bound, which needs no bucket that ends there.
fn beyond(keyed: &Keyed<'_>, window: Window, op: &str, share: &str) -> String {
    let series = keyed.share(window);
    match &keyed.objective.indicator {
        // A quantile is never above the last bound, so that it counts as beyond if it is equal.
        Indicator::Latency { seconds, .. } => {
            format!("histogram_quantile(1 - {share}, {series}) >= {seconds}")
        }
        _ => format!("{series} {op} {share}"),
    }
}

fn description(keyed: &Keyed<'_>, window: Window, share: f64) -> String {
    let objective = keyed.objective;
    let what = plain(&objective.description);
    let may = percent(1.0 - objective.target);
    match &objective.indicator {
        Indicator::Latency { seconds, .. } => format!(
            "{what}: in the last {window} the slowest {} took longer than {{{{ $value | humanizeDuration }}}}; no more than {may} may take longer than {seconds} s.",
            percent(share)
        ),
        _ => format!(
            "{what}: in the last {window} {{{{ $value | humanizePercentage }}}} were not so; no more than {may} may be."
        ),
    }
}

fn labels(keyed: &Keyed<'_>, severity: &str) -> Vec<(&'static str, String)> {
    let mut labels = vec![("severity", severity.into())];
    labels.extend(keyed.labels());
    labels
}
