//! What Prometheus has counted for an objective, and what can be told from it. Pure arithmetic.

use std::collections::BTreeMap;

use super::window::Window;

/// Events of one stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// All of them.
    pub total: f64,
    /// Those that were not good, never more than all.
    pub bad: f64,
}

impl Count {
    /// So many events, so many of them bad. Prometheus extrapolates each of the two by itself, so that
    /// bad ones can be a little more than all, or less than none.
    #[must_use]
    pub fn of_bad(bad: f64, total: f64) -> Self {
        let total = total.max(0.0);
        Self {
            total,
            bad: bad.clamp(0.0, total),
        }
    }

    /// So many events, so many of them good.
    #[must_use]
    pub fn of_good(good: f64, total: f64) -> Self {
        Self::of_bad(total - good, total)
    }

    /// The share of bad events; `None` without any event.
    #[must_use]
    pub fn bad_share(self) -> Option<f64> {
        (self.total > 0.0).then(|| self.bad / self.total)
    }

    /// How many times as fast as `target` allows the budget is spent; 1 spends all of it in one
    /// period. `None` without any event.
    #[must_use]
    pub fn burn_rate(self, target: f64) -> Option<f64> {
        self.bad_share().map(|share| share / (1.0 - target))
    }

    /// The share of the budget that is left, 1 for all; below 0 more was spent than there was.
    #[must_use]
    pub fn budget_left(self, target: f64) -> Option<f64> {
        self.burn_rate(target).map(|rate| 1.0 - rate)
    }
}

/// What was counted over each stretch. A stretch that is missing was not answered for: there are no
/// series, or none with two samples in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Events by stretch.
    pub counts: BTreeMap<Window, Count>,
    /// Of a latency objective: the time within which the target's share of events was, in seconds,
    /// over the period. Infinite if it is above the last bound.
    pub quantile: Option<f64>,
}

/// The buckets of a histogram: how many events were within each bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    /// From bounds and counts in any order; of one bound that is spelt in two ways the counts are added,
    /// as Prometheus does. Counts that sink with a growing bound, as they can
    /// between two scrapes, are lifted to the one before.
    #[must_use]
    pub fn new(mut bounds: Vec<(f64, f64)>) -> Self {
        bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        bounds.dedup_by(|next, before| {
            let same = next.0.total_cmp(&before.0).is_eq();
            before.1 += if same { next.1 } else { 0.0 };
            same
        });
        let mut most = 0.0_f64;
        for (_, count) in &mut bounds {
            most = most.max(*count);
            *count = most;
        }
        Self(bounds)
    }

    /// All events: those of the bound without an end. `None` if there is no such bound.
    #[must_use]
    pub fn total(&self) -> Option<f64> {
        let (bound, count) = self.0.last()?;
        (*bound == f64::INFINITY).then_some(*count)
    }

    /// Events within so many seconds. Between two bounds they are taken to lie evenly, as Prometheus
    /// takes them; beyond the last bound that has an end nothing is known, and they count as slow.
    #[must_use]
    pub fn within(&self, seconds: f64) -> f64 {
        let mut below = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *bound >= seconds {
                if bound.is_infinite() {
                    return below.1;
                }
                // At the bound itself it is all of the way.
                let way = (seconds - below.0) / (bound - below.0);
                return below.1 + (count - below.1) * way.clamp(0.0, 1.0);
            }
            below = (*bound, *count);
        }
        below.1
    }

    /// The time within which a share of the events was, as `histogram_quantile` tells it; but
    /// infinite where that is beyond the last bound that has an end. `None` without any event.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.total().filter(|total| *total > 0.0)?;
        let rank = share * total;
        let mut below = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= rank {
                if bound.is_infinite() {
                    return Some(f64::INFINITY);
                }
                let inside = count - below.1;
                let way = if inside > 0.0 {
                    (rank - below.1) / inside
                } else {
                    1.0
                };
                return Some(below.0 + (bound - below.0) * way);
            }
            below = (*bound, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_events_are_never_more_than_all_and_never_less_than_none() {
        assert_eq!(Count::of_bad(5.1, 5.0).bad_share(), Some(1.0));
        assert_eq!(Count::of_good(5.1, 5.0).bad_share(), Some(0.0));
        assert_eq!(Count::of_bad(0.0, 0.0).bad_share(), None);
        assert_eq!(Count::of_bad(0.0, -1.0).bad_share(), None);
    }

    #[test]
    fn a_budget_can_be_overdrawn() {
        let count = Count::of_bad(3.0, 1_000.0);
        assert_eq!(count.budget_left(0.999).map(f64::round), Some(-2.0));
    }

    #[test]
    fn events_lie_evenly_between_two_bounds() {
        let near = |value: Option<f64>, expected: f64| {
            value.is_some_and(|value| (value - expected).abs() < 1e-9)
        };
        let buckets = Buckets::new(vec![
            (f64::INFINITY, 100.0),
            (1.0, 80.0),
            (2.5, 95.0),
            (0.5, 50.0),
        ]);
        assert_eq!(buckets.total(), Some(100.0));
        assert!(near(Some(buckets.within(1.0)), 80.0));
        assert!(near(Some(buckets.within(0.25)), 25.0));
        assert!(near(Some(buckets.within(1.75)), 87.5));
        assert!(
            near(Some(buckets.within(100.0)), 95.0),
            "what is beyond the last bound is slow"
        );
        assert_eq!(buckets.quantile(0.8), Some(1.0));
        assert_eq!(buckets.quantile(0.875), Some(1.75));
        assert_eq!(buckets.quantile(0.99), Some(f64::INFINITY));
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert_eq!(Buckets::new(vec![(1.0, 5.0)]).total(), None);
    }
}
