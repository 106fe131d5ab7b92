//! Whether so many messages have used up their retries that something upstream must be broken.
//! Pure.
//!
//! A message is parked because it fails whatever is done. When most of them do, it is more likely
//! that everything failed, and parking them would turn an outage into work for people.

use std::collections::VecDeque;

/// Fewer messages than this tell nothing.
const ENOUGH: u64 = 20;
/// Replays longer ago than this are history, in seconds: whoever finds a queue full of those has
/// not met an outage, but what is left of one.
const HISTORY: i64 = 86_400;

/// What has been seen of the last batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Systemic {
    /// Size of each batch, and how many of it our replays had used up, oldest first.
    batches: VecDeque<(u64, u64)>,
    /// The Unix second of the first batch that was too much; `None` while all is well.
    since: Option<i64>,
}

impl Systemic {
    /// Whether parking has stopped.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Since when parking has stopped, in Unix seconds.
    #[must_use]
    pub fn since(&self) -> Option<i64> {
        self.since
    }

    /// Parking had stopped before a restart, and has not gone on since.
    pub fn resume(&mut self, since: i64) {
        self.since = Some(since);
    }

    /// Whether a batch of this size may be committed, of which our replays have used up some, last
    /// replayed in these seconds. It may unless, together with those before it that make up twenty
    /// messages, more than `max_ratio` of it would be parked for that. Once parking has stopped,
    /// only the batch at hand tells whether it may go on.
    pub fn admits(&mut self, size: u64, used_up: &[i64], now: i64, max_ratio: f64) -> bool {
        let fresh = self.fresh(used_up, now);
        let (mut whole, mut part) = (size, fresh);
        for (size, fresh) in self.batches.iter().rev() {
            if whole >= ENOUGH || self.is_on() {
                break;
            }
            (whole, part) = (whole + size, part + fresh);
        }
        #[expect(clippy::cast_precision_loss, reason = "sizes of batches are small")]
        let too_many = part as f64 / whole.max(1) as f64 > max_ratio;
        if fresh > 0 && too_many && (whole >= ENOUGH || self.is_on()) {
            self.since.get_or_insert(now);
            return false;
        }
        self.since = None;
        true
    }

    /// Takes note of a batch that was committed.
    pub fn moved(&mut self, size: u64, used_up: &[i64], now: i64) {
        let fresh = self.fresh(used_up, now);
        self.batches.push_back((size, fresh));
        let known: u64 = self.batches.iter().map(|(size, _)| size).sum();
        if let Some((oldest, _)) = self.batches.front()
            && known - oldest >= ENOUGH
        {
            self.batches.pop_front();
        }
    }

    /// While nothing moves, the outage does not become history.
    fn fresh(&self, used_up: &[i64], now: i64) -> u64 {
        let from = self.since.unwrap_or(now) - HISTORY;
        used_up.iter().filter(|at| **at >= from).count() as u64
    }

    /// An operator has said that they are to be parked.
    pub fn switch_off(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    /// Commits the batch if it may be.
    fn commit(systemic: &mut Systemic, size: u64, used_up: &[i64], now: i64) -> bool {
        let admitted = systemic.admits(size, used_up, now, 0.5);
        if admitted {
            systemic.moved(size, used_up, now);
        }
        admitted
    }

    #[test]
    fn most_of_a_batch_stops_the_parking_and_less_lets_it_go_on() {
        let mut systemic = Systemic::default();
        assert!(commit(&mut systemic, 40, &[NOW - 60; 20], NOW));
        assert!(!commit(&mut systemic, 40, &[NOW - 60; 21], NOW));
        assert!(systemic.is_on());
        assert!(commit(&mut systemic, 40, &[NOW - 60; 20], NOW));
        assert!(!systemic.is_on());
    }

    #[test]
    fn small_batches_are_taken_together() {
        let mut systemic = Systemic::default();
        assert!(commit(&mut systemic, 10, &[NOW - 60; 10], NOW), "too few");
        assert!(!commit(&mut systemic, 10, &[NOW - 60; 10], NOW));
        assert!(!commit(&mut systemic, 10, &[NOW - 60; 10], NOW), "still");
        assert!(commit(&mut systemic, 10, &[], NOW), "none is to be parked");
    }

    #[test]
    fn a_smaller_batch_does_not_let_the_parking_go_on() {
        let mut systemic = Systemic::default();
        assert!(commit(&mut systemic, 100, &[], NOW));
        assert!(!commit(&mut systemic, 100, &[NOW; 100], NOW));
        assert!(!commit(&mut systemic, 10, &[NOW; 10], NOW));
    }

    #[test]
    fn a_batch_that_was_not_committed_is_not_counted() {
        let mut systemic = Systemic::default();
        for _ in 0..5 {
            assert!(systemic.admits(10, &[NOW; 10], NOW, 0.5));
        }
    }

    #[test]
    fn a_batch_without_any_is_never_held_and_one_after_it_counts_it() {
        let mut systemic = Systemic::default();
        assert!(systemic.admits(10, &[NOW - 60; 10], NOW, 0.4), "too few");
        systemic.moved(10, &[NOW - 60; 10], NOW);
        assert!(systemic.admits(10, &[], NOW, 0.4));
        systemic.moved(10, &[], NOW);
        assert!(!systemic.admits(10, &[NOW - 60; 9], NOW, 0.4));
    }

    #[test]
    fn an_operator_has_them_parked() {
        let mut systemic = Systemic::default();
        assert!(!systemic.admits(40, &[NOW - 60; 40], NOW, 0.5));
        systemic.switch_off();
        assert!(!systemic.is_on());
    }

    #[test]
    fn what_was_used_up_long_ago_is_parked() {
        let mut systemic = Systemic::default();
        let old = NOW - HISTORY - 1;
        assert!(commit(&mut systemic, 100, &[old; 100], NOW));
        // But not because it had to wait for an operator.
        let fresh = NOW - 60;
        assert!(!commit(&mut systemic, 100, &[fresh; 100], NOW));
        assert!(!commit(
            &mut systemic,
            100,
            &[fresh; 100],
            NOW + 2 * HISTORY
        ));
    }

    #[test]
    fn what_was_stopped_before_a_restart_stays_stopped_until_the_ratio_falls() {
        let fresh = NOW - 60;
        let later = NOW + 2 * HISTORY;
        let mut new = Systemic::default();
        assert!(new.admits(10, &[fresh; 10], NOW, 0.5), "too few");
        let mut resumed = Systemic::default();
        resumed.resume(NOW);
        assert!(!resumed.admits(10, &[fresh; 10], later, 0.5));
        assert_eq!(resumed.since(), Some(NOW));
        assert!(resumed.admits(10, &[fresh; 5], later, 0.5));
        assert_eq!(resumed.since(), None);
    }

    #[test]
    fn a_ratio_of_one_parks_everything() {
        assert!(Systemic::default().admits(100, &[NOW; 100], NOW, 1.0));
    }

    #[test]
    fn memory_stays_small() {
        let mut systemic = Systemic::default();
        for _ in 0..10_000 {
            commit(&mut systemic, 1, &[], NOW);
        }
        assert_eq!(systemic.batches.len(), 20);
    }
}
