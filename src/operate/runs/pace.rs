//! How much of a run at a time: by its rate, and so that Redis is not held up.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::operate::mover::PLACE;

/// Messages in a batch, at most.
pub(super) const BATCH: u64 = 200;

/// What it takes to bring a message round to the young end, in nanoseconds.
const ROUND: u64 = 3_000;

/// Whether what stays at the old end had better be brought round, so that what comes next is near:
/// when seeking past it costs more than that. `moved` of `looked_at` is how many are worth it.
#[must_use]
pub(super) fn worth_rotating(kept: u64, depth: u64, moved: u64, looked_at: u64) -> bool {
    let deep = kept.min(depth.saturating_sub(kept));
    let stay = looked_at.saturating_sub(moved).max(1);
    kept >= 4_096 && moved * 2 * PLACE * deep > stay * ROUND
}

/// Keeps to a rate.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<u64>,
    /// When the next message may go.
    next: Instant,
}

impl Pace {
    /// Messages a second, at most.
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            next: Instant::now(),
        }
    }

    /// Messages that may go now, at most.
    pub(super) fn allowed(&self) -> u64 {
        let Some(rate) = self.rate else {
            return BATCH;
        };
        if Instant::now() < self.next {
            return 0;
        }
        // A tenth of a second's worth at a time, so that it is smooth.
        (rate / 10).clamp(1, BATCH)
    }

    /// How long it is until the next may go.
    pub(super) fn until_next(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// So many went.
    pub(super) fn moved(&mut self, count: u64) {
        if let Some(rate) = self.rate {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let time = Duration::from_secs_f64(count as f64 / rate as f64);
            self.next = self.next.max(Instant::now()) + time;
        }
    }

    /// Others are at work there: they get a moment.
    pub(super) async fn pause_after_conflict(&self) {
        sleep(Duration::from_millis(5 + fastrand::u64(0..20))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_brought_round_where_many_behind_it_are_meant() {
        assert!(!worth_rotating(100, 1_000_000, 500, 500), "near");
        assert!(worth_rotating(5_000, 1_000_000, 250, 500));
        assert!(!worth_rotating(5_000, 1_000_000, 5, 500), "few");
        assert!(!worth_rotating(999_000, 1_000_000, 5, 500), "near the end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_to() {
        let mut pace = Pace::new(Some(100));
        let began = Instant::now();
        let mut moved = 0;
        while moved < 1_000 {
            match pace.allowed() {
                0 => sleep(pace.until_next()).await,
                some => {
                    pace.moved(some);
                    moved += some;
                }
            }
        }
        let took = began.elapsed().as_secs_f64();
        assert!((9.8..10.1).contains(&took), "{took}");
        assert_eq!(Pace::new(None).allowed(), BATCH);
    }
}
