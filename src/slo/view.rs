//! What the API, the command line and the console show of the objectives: plain data.
//!
//! Of `slos` and `components` the names are those of MUTT's Python checker, where it has one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::judge::State;
use super::known::{Entry, Known, Now, Reach};
use super::objective::Indicator;
use super::query;

/// How all objectives stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SloReport {
    /// When this was asked for, as RFC 3339, UTC.
    pub timestamp: String,
    /// The worst status of all that are not idle: `ok`, `unknown`, `warn` or `critical`, in this order.
    pub status: String,
    /// Whether Prometheus answers.
    pub prometheus: PrometheusView,
    /// Every objective.
    pub slos: Vec<SloView>,
    /// By component, its first objective that is no latency.
    pub components: BTreeMap<String, ComponentView>,
}

/// Whether Prometheus answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrometheusView {
    /// `up`, `away`, `not_asked` or `off`.
    pub state: String,
    /// Why it is away, for people.
    pub message: String,
    /// Since when it is away, in Unix seconds.
    pub since: Option<i64>,
}

/// How an objective stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SloView {
    /// Its name.
    pub slo_name: String,
    /// What it is promised of.
    pub component: String,
    /// For people.
    pub description: String,
    /// The hours that it holds over.
    pub window_hours: u64,
    /// The share of events that must be good.
    pub target: f64,
    /// Of a latency: the seconds that this share must stay within.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_seconds: Option<f64>,
    /// The share of events that were good, of a latency the seconds that the target's share stayed
    /// within. Missing where it cannot be told.
    pub actual_value: Option<f64>,
    /// The share of events that were good, of a latency those within the bound.
    pub availability: Option<f64>,
    /// `ok`, `warn`, `critical` or `unknown`.
    pub status: String,
    /// The share of the budget that is left: 1 all of it, below 0 more was spent than there was.
    pub error_budget_remaining: Option<f64>,
    /// How many times as fast as it may be the budget is spent now: over the long stretch of the
    /// critical pair.
    pub burn_rate: Option<f64>,
    /// The same over every stretch that is looked at, the shortest first.
    pub burn_rates: Vec<BurnView>,
    /// Events in these hours.
    pub events: Option<f64>,
    /// Why it stands so.
    pub message: String,
    /// PromQL for the actual value.
    pub metric_query: String,
    /// The age of the answer that this is of, in seconds.
    pub age_seconds: Option<u64>,
    /// Whether nothing is known because nothing happened, to which this objective is used.
    pub idle: bool,
    /// Whether it is of an earlier time, because there was no answer since.
    pub stale: bool,
}

/// The burn rate over a stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BurnView {
    /// The stretch, as PromQL has it.
    pub window: String,
    /// In seconds.
    pub seconds: u64,
    /// Missing without any event.
    pub burn_rate: Option<f64>,
}

/// How a component stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComponentView {
    /// The objective that this is of.
    pub slo_name: String,
    /// The share of events that must be good.
    pub target: f64,
    /// The share of events that were good.
    pub availability: Option<f64>,
    /// As in `slos`.
    pub error_budget_remaining: Option<f64>,
    /// As in `slos`.
    pub burn_rate: Option<f64>,
    /// `ok`, `warn`, `critical` or `unknown`.
    pub state: String,
    /// The hours that it holds over.
    pub window_hours: u64,
}

impl SloReport {
    /// Of what is known, as it counts now.
    #[must_use]
    pub fn of(known: &Known) -> Self {
        let mut components = BTreeMap::new();
        let mut slos = vec![];
        let mut worst = State::Ok;
        for entry in &known.entries {
            let now = known.now(entry);
            let view = SloView::of(entry, &now);
            if !view.idle {
                worst = worst.max(now.judgement.state);
            }
            if !matches!(entry.objective.indicator, Indicator::Latency { .. }) {
                let component = components.entry(view.component.clone());
                component.or_insert_with(|| ComponentView::of(&view));
            }
            slos.push(view);
        }
        let worst = if slos.is_empty() {
            State::Unknown
        } else {
            worst
        };
        Self {
            timestamp: format!("{:.0}", jiff::Timestamp::now()),
            status: worst.to_string(),
            prometheus: PrometheusView::of(&known.prometheus),
            slos,
            components,
        }
    }
}

impl PrometheusView {
    fn of(reach: &Reach) -> Self {
        let (state, message, since) = match reach {
            Reach::Off => ("off", "PROMETHEUS_URL is not set", None),
            Reach::NotAsked => ("not_asked", "", None),
            Reach::Up => ("up", "", None),
            Reach::Away { why, since } => ("away", why.as_str(), Some(*since)),
        };
        Self {
            state: state.into(),
            message: message.into(),
            since,
        }
    }
}

impl SloView {
    fn of(entry: &Entry, now: &Now) -> Self {
        let objective = &entry.objective;
        let judgement = &now.judgement;
        let latency = objective.target_seconds().is_some();
        // Beyond the last bound of a histogram there is no number, and JSON has none either.
        let quantile = judgement.quantile.filter(|seconds| seconds.is_finite());
        Self {
            slo_name: objective.name.clone(),
            component: objective.component.clone(),
            description: objective.description.clone(),
            window_hours: objective.period.as_hours(),
            target: objective.target,
            target_seconds: objective.target_seconds(),
            actual_value: if latency {
                quantile
            } else {
                judgement.availability
            },
            availability: judgement.availability,
            status: judgement.state.to_string(),
            error_budget_remaining: judgement.budget_left,
            burn_rate: judgement.burn_rate,
            burn_rates: judgement
                .burn_rates
                .iter()
                .map(|(window, burn_rate)| BurnView {
                    window: window.to_string(),
                    seconds: window.as_secs(),
                    burn_rate: *burn_rate,
                })
                .collect(),
            events: judgement.events,
            message: judgement.message.clone(),
            metric_query: query::share(objective, objective.period),
            idle: objective.is_idle(&now.judgement),
            age_seconds: now.age.map(|age| age.as_secs()),
            stale: now.stale,
        }
    }
}

impl ComponentView {
    fn of(view: &SloView) -> Self {
        Self {
            slo_name: view.slo_name.clone(),
            target: view.target,
            availability: view.availability,
            error_budget_remaining: view.error_budget_remaining,
            burn_rate: view.burn_rate,
            state: view.status.clone(),
            window_hours: view.window_hours,
        }
    }
}
