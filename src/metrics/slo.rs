//! Metrics of the service level objectives.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Gauge, GaugeVec, IntGaugeVec};

use super::Registrar;
use crate::slo::judge::State;
use crate::slo::known::{Known, Reach};

/// Metrics of the service level objectives.
#[derive(Clone, Debug)]
pub struct SloMetrics {
    objective: GaugeVec,
    availability: GaugeVec,
    budget: GaugeVec,
    burn: GaugeVec,
    state: IntGaugeVec,
    up: Gauge,
    /// The stretches that are shown: name, component and stretch.
    burns: Arc<Mutex<BTreeSet<[String; 3]>>>,
}

impl SloMetrics {
    pub(super) fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let labels = ["slo", "component"];
        Ok(Self {
            objective: new.gauges(
                "mutt_slo_objective",
                "Share of events that must be good",
                &labels,
            )?,
            availability: new.gauges(
                "mutt_slo_availability",
                "Share of events that were good over the period; NaN where it cannot be told",
                &labels,
            )?,
            budget: new.gauges(
                "mutt_slo_error_budget_remaining",
                "Share of the error budget that is left, below 0 where more was spent than there was; NaN where it cannot be told",
                &labels,
            )?,
            burn: new.gauges(
                "mutt_slo_burn_rate",
                "How many times as fast as it may be the error budget is spent, over a stretch of time; NaN where it cannot be told",
                &["slo", "component", "window"],
            )?,
            state: new.int_gauges(
                "mutt_slo_state",
                "State of an objective: 1 for the one it is in, 0 for the others",
                &["slo", "component", "state"],
            )?,
            up: new.gauge(
                "mutt_slo_prometheus_up",
                "Whether Prometheus answered the last round: 1 yes, 0 no, NaN while nobody has been asked",
            )?,
            burns: Arc::default(),
        })
    }

    /// Shows what is known now.
    pub fn show(&self, known: &Known) {
        self.up.set(match known.prometheus {
            Reach::Up => 1.0,
            Reach::Away { .. } => 0.0,
            Reach::Off | Reach::NotAsked => f64::NAN,
        });
        let mut burns = BTreeSet::new();
        for entry in &known.entries {
            let objective = &entry.objective;
            let labels = [objective.name.as_str(), objective.component.as_str()];
            let judgement = known.now(entry).judgement;
            let told = |value: Option<f64>| value.unwrap_or(f64::NAN);
            self.objective
                .with_label_values(&labels)
                .set(objective.target);
            let availability = told(judgement.availability);
            self.availability
                .with_label_values(&labels)
                .set(availability);
            let left = told(judgement.budget_left);
            self.budget.with_label_values(&labels).set(left);
            for state in State::ALL {
                let labels = [labels[0], labels[1], state.as_str()];
                let is_in = judgement.state == state;
                self.state.with_label_values(&labels).set(is_in.into());
            }
            for window in objective.windows() {
                let rates = &judgement.burn_rates;
                let rate = rates.iter().find(|(of, _)| *of == window);
                let rate = told(rate.and_then(|(_, rate)| *rate));
                let window = window.to_string();
                let labels = [labels[0], labels[1], &window];
                self.burn.with_label_values(&labels).set(rate);
                burns.insert(labels.map(str::to_owned));
            }
        }
        let mut shown = self.burns.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.difference(&burns) {
            // It was shown, so that it is there.
            let _ = self
                .burn
                .remove_label_values(&[&gone[0], &gone[1], &gone[2]]);
        }
        *shown = burns;
    }
}
