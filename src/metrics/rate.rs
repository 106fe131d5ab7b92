//! How fast each source is replayed, computed when it is asked for: a gauge set by the drain would
//! keep its last value while nothing moves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts};

/// Seconds that are averaged over.
const WINDOW: u32 = 10;

#[derive(Clone, Debug)]
pub(super) struct ReplayRate {
    gauges: GaugeVec,
    recent: Arc<Mutex<BTreeMap<String, Recent>>>,
}

/// The seconds in which there were replays, and how many, oldest first.
#[derive(Debug, Default)]
struct Recent(VecDeque<(i64, u64)>);

impl Recent {
    fn add(&mut self, count: u64, now: i64) {
        self.forget(now);
        match self.0.back_mut() {
            Some((second, sum)) if *second == now => *sum += count,
            _ if count > 0 => self.0.push_back((now, count)),
            _ => {}
        }
    }

    /// Messages a second over the last whole seconds.
    fn rate(&mut self, now: i64) -> f64 {
        self.forget(now);
        let whole = self.0.iter().filter(|(second, _)| *second < now);
        let sum: u64 = whole.map(|(_, count)| count).sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let sum = sum as f64;
        sum / f64::from(WINDOW)
    }

    /// Also what lies in the future, if the clock was set back.
    fn forget(&mut self, now: i64) {
        let from = now - i64::from(WINDOW);
        self.0.retain(|(second, _)| (from..=now).contains(second));
    }
}

impl ReplayRate {
    pub(super) fn new() -> prometheus::Result<Self> {
        let opts = Opts::new(
            "mutt_remediation_replays_per_second",
            "Replays of a source a second, over the last ten whole seconds",
        );
        Ok(Self {
            gauges: GaugeVec::new(opts, &["source"])?,
            recent: Arc::default(),
        })
    }

    pub(super) fn add(&self, source: &str, count: u64) {
        let mut all = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = all.entry(source.to_owned()).or_default();
        recent.add(count, now());
    }

    pub(super) fn of(&self, source: &str) -> f64 {
        let mut all = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(source).map_or(0.0, |recent| recent.rate(now()))
    }
}

impl Collector for ReplayRate {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut all = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, recent) in &mut *all {
            let gauge = self.gauges.with_label_values(&[source]);
            gauge.set(recent.rate(now()));
        }
        self.gauges.collect()
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_whole_seconds() {
        let mut recent = Recent::default();
        recent.add(30, 100);
        recent.add(20, 100);
        recent.add(50, 103);
        let rate = |recent: &mut Recent, now| recent.rate(now);
        assert!((rate(&mut recent, 103) - 5.0).abs() < 1e-9);
        assert!((rate(&mut recent, 104) - 10.0).abs() < 1e-9);
        assert!((rate(&mut recent, 110) - 10.0).abs() < 1e-9);
        assert!((rate(&mut recent, 111) - 5.0).abs() < 1e-9);
        assert!(rate(&mut recent, 114).abs() < 1e-9);
        assert!(recent.0.is_empty());
    }

    #[test]
    fn after_the_clock_was_set_back_nothing_is_left_of_the_future() {
        let mut recent = Recent::default();
        recent.add(1_000, 100);
        assert!(recent.rate(50).abs() < 1e-9);
        recent.add(10, 50);
        assert!((recent.rate(51) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn memory_stays_small() {
        let mut recent = Recent::default();
        for second in 0..10_000 {
            recent.add(1, second);
        }
        assert!(recent.0.len() <= 11);
    }
}
