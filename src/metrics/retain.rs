//! Metrics of the dead lists' bounds.

use prometheus::{GaugeVec, IntCounter, IntCounterVec};

use super::Registrar;
use crate::retain::due::Why;

/// Metrics of the dead lists' bounds.
#[derive(Clone, Debug)]
pub struct RetainMetrics {
    evicted: IntCounterVec,
    oldest: GaugeVec,
    failed: IntCounter,
}

impl RetainMetrics {
    pub(super) fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            evicted: new.counters(
                "mutt_remediation_evicted_total",
                "Messages evicted from a dead list, by why: there were too many (count), or they were too old (age)",
                &["queue", "why"],
            )?,
            oldest: new.gauges(
                "mutt_remediation_dead_list_oldest_age_seconds",
                "For how long the oldest message has lain in a dead list, in seconds; 0 for an empty list, NaN where it does not tell",
                &["queue"],
            )?,
            failed: new.counter(
                "mutt_remediation_evict_fail_total",
                "Times that a dead list could not be looked at or kept within its bounds",
            )?,
        })
    }

    /// A dead list, at its start values.
    pub fn list(&self, queue: &str) {
        self.oldest.with_label_values(&[queue]).set(0.0);
        for why in Why::ALL {
            self.evicted(queue, why, 0);
        }
    }

    /// So many went.
    pub fn evicted(&self, queue: &str, why: Why, count: u64) {
        let labels = [queue, why.as_str()];
        self.evicted.with_label_values(&labels).inc_by(count);
    }

    /// The oldest entry, if there is one, has this age, if it tells.
    pub fn oldest(&self, queue: &str, age: Option<Option<u64>>) {
        #[expect(clippy::cast_precision_loss, reason = "an age in seconds")]
        let age = age.map_or(0.0, |age| age.map_or(f64::NAN, |age| age as f64));
        self.oldest.with_label_values(&[queue]).set(age);
    }

    /// It could not be done.
    pub fn failed(&self) {
        self.failed.inc();
    }
}
