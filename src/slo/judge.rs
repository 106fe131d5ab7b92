//! From what was counted to a state. Pure: no clock, no network.

use std::fmt;

use super::evidence::{Count, Evidence};
use super::objective::{Indicator, Objective};
use super::window::{Pair, Window};

/// How an objective stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Kept, and its budget lasts.
    Ok,
    /// It cannot be told, which is never ok.
    Unknown,
    /// The budget will not last, or is spent.
    Warn,
    /// The budget is being spent so fast that somebody has to look now.
    Critical,
}

impl State {
    /// Every state, for closed metric label sets.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warn, Self::Critical, Self::Unknown];

    /// The name used everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is thought of an objective, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// How it stands.
    pub state: State,
    /// Why, for people.
    pub message: String,
    /// The share of good events over the period; `None` where there was no answer, or no event.
    pub availability: Option<f64>,
    /// Of a latency objective: seconds, as [`Evidence::quantile`].
    pub quantile: Option<f64>,
    /// The share of the budget that is left; below 0 more was spent than there was.
    pub budget_left: Option<f64>,
    /// The burn rate now: over the long stretch of the critical pair.
    pub burn_rate: Option<f64>,
    /// Burn rates by stretch, the shortest first; `None` without any event.
    pub burn_rates: Vec<(Window, Option<f64>)>,
    /// Events over the period.
    pub events: Option<f64>,
}

impl Judgement {
    /// Nothing is known, for this reason.
    #[must_use]
    pub fn unknown(message: impl Into<String>) -> Self {
        Self {
            state: State::Unknown,
            message: message.into(),
            availability: None,
            quantile: None,
            budget_left: None,
            burn_rate: None,
            burn_rates: vec![],
            events: None,
        }
    }
}

/// What the evidence says of an objective.
#[must_use]
pub fn judge(objective: &Objective, evidence: &Evidence) -> Judgement {
    let (state, message) = verdict(objective, evidence);
    let over = |window: Window| evidence.counts.get(&window).copied();
    let burn = |count: Count| count.burn_rate(objective.target);
    let period = over(objective.period);
    let windows = objective.windows();
    Judgement {
        state,
        message,
        availability: period.and_then(Count::bad_share).map(|bad| 1.0 - bad),
        quantile: evidence.quantile,
        budget_left: period.and_then(|count| count.budget_left(objective.target)),
        burn_rate: over(objective.pairs().critical.long).and_then(burn),
        burn_rates: windows
            .into_iter()
            .map(|window| (window, over(window).and_then(burn)))
            .collect(),
        events: period.map(|count| count.total),
    }
}

/// What it says, and why. What is known to be in danger is so, whatever else is not known.
fn verdict(objective: &Objective, evidence: &Evidence) -> (State, String) {
    let pairs = objective.pairs();
    if let Some(why) = burning(objective, evidence, pairs.critical) {
        return (State::Critical, why);
    }
    let over = |window: Window| evidence.counts.get(&window);
    let windows = objective.windows();
    if let Some(window) = windows.into_iter().find(|window| over(*window).is_none()) {
        return (
            State::Unknown,
            format!("Prometheus has no samples of {}", over_last(window)),
        );
    }
    let warning = burning(objective, evidence, pairs.warning);
    if let Some(why) = warning.or_else(|| burning(objective, evidence, pairs.slow)) {
        return (State::Warn, why);
    }
    let period = over(objective.period).copied().unwrap_or_default();
    let left = period.budget_left(objective.target).unwrap_or_default();
    if counts(objective, period) && left <= 0.0 {
        return (
            State::Warn,
            format!("the budget of {} is spent", over_last(objective.period)),
        );
    }
    if !enough(period.total, objective.min_events) {
        return (
            State::Unknown,
            format!(
                "{} in {}, {} are needed",
                events(objective, period.total),
                over_last(objective.period),
                objective.min_events
            ),
        );
    }
    let silence = objective.silence();
    if over(silence).is_some_and(|count| !enough(count.total, 1)) {
        return (
            State::Unknown,
            format!("{} in {}", events(objective, 0.0), over_last(silence)),
        );
    }
    let left = figure(left * 100.0);
    (State::Ok, format!("{left} % of the budget is left"))
}

/// Why a pair burns, if it does.
fn burning(objective: &Objective, evidence: &Evidence, pair: Pair) -> Option<String> {
    let over = |window: Window| evidence.counts.get(&window).copied();
    let (long, short) = (over(pair.long)?, over(pair.short)?);
    if !counts(objective, long) {
        return None;
    }
    let long = long.burn_rate(objective.target)?;
    let short = short.burn_rate(objective.target)?;
    (long > pair.burn_rate && short > pair.burn_rate).then(|| {
        format!(
            "the budget is spent {} times as fast as it may be over {}, and {} times over {}; more than {} is too much",
            figure(long),
            pair.long,
            figure(short),
            pair.short,
            figure(pair.burn_rate)
        )
    })
}

/// Whether there is enough in a stretch to speak of a burn: events, or bad ones. Where few come, an
/// outage of all of them must not be hidden by that.
fn counts(objective: &Objective, long: Count) -> bool {
    enough(long.total, objective.min_events) || enough(long.bad, objective.min_bad())
}

/// Whether there are so many events. Prometheus extrapolates, so that five can be 4.97.
fn enough(total: f64, wanted: u64) -> bool {
    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody wants more events than that"
    )]
    let wanted = wanted as f64;
    total.round() >= wanted && total > 0.0
}

fn events(objective: &Objective, count: f64) -> String {
    let moments = matches!(objective.indicator, Indicator::Moments { .. });
    let (one, many) = if moments {
        ("moment", "moments")
    } else {
        ("event", "events")
    };
    match count.round() {
        0.0 => format!("no {one}"),
        1.0 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

fn over_last(window: Window) -> String {
    format!("the last {window}")
}

/// With three figures, and none that says nothing.
pub(crate) fn figure(number: f64) -> String {
    let places = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{number:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
