//! How large a batch may be, so that it does not keep Redis from other clients for too long.
//!
//! Pure: what batches have taken in, how many messages the next one may hold out.

use std::time::Duration;

/// A batch is to take this part of the time that it may: the append-only file and the answers come on
/// top of what is measured, and no batch takes as long as another.
const PART: f64 = 0.5;
/// As many batches are remembered.
const REMEMBERED: usize = 8;
/// So many messages may go in any case: what a batch costs besides its messages is the same then.
const LEAST: u64 = 10;
/// So many go first, when nothing is known.
const FIRST: u64 = 100;

/// What the last batches took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stride {
    /// Seconds for a message, of the last batches, in no order.
    costs: Vec<f64>,
    /// Which of them is the oldest.
    oldest: usize,
    /// How many messages may go, as far as is known.
    limit: Option<u64>,
}

impl Stride {
    /// Takes note of a batch that kept Redis busy for so long, which is to be no more than `most`.
    #[must_use]
    pub fn moved(mut self, messages: u64, busy: Duration, most: Duration) -> Self {
        let before = self.limit();
        if messages < before / 2 && busy <= most.mul_f64(PART) {
            // What a batch costs besides its messages has a small one look dear.
            return self;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand messages")]
        let cost = busy.as_secs_f64() / messages.max(1) as f64;
        if self.costs.len() < REMEMBERED {
            self.costs.push(cost);
        } else {
            self.costs[self.oldest] = cost;
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
        // The dearest one may have been interrupted.
        let mut costs = self.costs.clone();
        costs.sort_unstable_by(|one, other| other.total_cmp(one));
        let dear = costs.get(1).copied().unwrap_or(costs[0]);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "as many as fit"
        )]
        let limit = (most.as_secs_f64() * PART / dear) as u64;
        let limit = limit.min(before.max(messages.saturating_mul(2)));
        self.limit = Some(limit.max(LEAST));
        self
    }

    /// How many messages the next batch may hold.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.unwrap_or(FIRST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: Duration = Duration::from_millis(1);

    /// Batches of as many as may go and there are, with this cost of a batch and of a message.
    fn after(batches: usize, there: u64, batch: Duration, message: Duration) -> Stride {
        let mut stride = Stride::default();
        for _ in 0..batches {
            let messages = stride.limit().min(there);
            let busy = batch + message * u32::try_from(messages).expect("few");
            stride = stride.moved(messages, busy, MOST);
        }
        stride
    }

    #[test]
    fn a_hundred_go_first_then_as_many_as_fit_into_the_time() {
        let [batch, message] = [50, 2].map(Duration::from_micros);
        assert_eq!(Stride::default().limit(), 100);
        assert_eq!(after(1, 10_000, batch, message).limit(), 200);
        let limit = after(30, 10_000, batch, message).limit();
        assert!((200..=225).contains(&limit), "{limit}");
    }

    #[test]
    fn dear_messages_go_ten_at_a_time_at_least() {
        let message = Duration::from_millis(5);
        assert_eq!(after(1, 10_000, MOST, message).limit(), LEAST);
    }

    #[test]
    fn one_interruption_changes_nothing_and_a_server_that_has_become_slow_does_at_once() {
        let [batch, message] = [100, 2].map(Duration::from_micros);
        let steady = after(30, 10_000, batch, message);
        let messages = steady.limit();
        let interrupted = steady.moved(messages, Duration::from_millis(30), MOST);
        assert!(interrupted.limit() > messages * 8 / 10);
        let slow = interrupted.moved(messages, Duration::from_millis(4), MOST);
        assert!(slow.limit() <= messages / 4, "{}", slow.limit());
    }

    #[test]
    fn small_batches_do_not_make_the_next_ones_small() {
        let [batch, message] = [150, 2].map(Duration::from_micros);
        let steady = after(30, 10_000, batch, message);
        for there in [1, 3, 10, 40, 80] {
            let mut stride = steady.clone();
            for _ in 0..30 {
                let busy = batch + message * there;
                stride = stride.moved(u64::from(there), busy, MOST);
            }
            assert_eq!(stride.limit(), steady.limit(), "{there}");
        }
    }

    #[test]
    fn a_clock_that_stands_still_makes_no_batch_more_than_twice_as_large() {
        let stride = Stride::default().moved(100, Duration::ZERO, MOST);
        assert_eq!(stride.limit(), 200);
    }

    proptest! {
        #[test]
        fn at_most_twice_as_many_and_never_fewer_than_ten(
            batches in proptest::collection::vec((1_u64..10_000, 0_u64..1_000_000), 1..50)
        ) {
            let mut stride = Stride::default();
            for (messages, micros) in batches {
                let before = stride.limit();
                stride = stride.moved(messages, Duration::from_micros(micros), MOST);
                prop_assert!(stride.limit() >= LEAST);
                prop_assert!(stride.limit() <= before.max(messages * 2).max(LEAST));
            }
        }
    }
}
