//! Which messages wait before they are replayed again.

use std::time::Duration;

use super::{Memory, PaceRules};
use crate::drain::plan::Again;

/// In a queue of few messages that all fail one waits so many times as long before its last replay.
const LAST_REPLAY: i64 = 3;

impl Memory {
    /// The place of the first of these that may not be replayed again yet, with so many messages in
    /// the source: nothing is known of the pipeline, and it has just failed.
    ///
    /// A queue that is no longer than a canary would use up all of its replays within minutes. So
    /// after a failed trial its messages go one by one, an interval apart, and each waits for longer
    /// before its last replay.
    #[must_use]
    pub fn first_too_soon(
        &self,
        again: &[Again],
        depth: u64,
        second: i64,
        rules: &PaceRules,
    ) -> Option<usize> {
        if !(rules.adaptive && self.on_trial) {
            return None;
        }
        let pause = i64::try_from(rules.retry_after.as_secs()).unwrap_or(i64::MAX);
        let is_within = |at: i64, pause: i64| is_within(at, second, pause);
        let latest = self.bounces.latest();
        let sparing = self.failed > 0 && depth <= rules.canary_size;
        let mut replayed = again.iter().enumerate();
        let first = replayed.find(|(index, again)| {
            if !sparing {
                return is_within(again.at, pause);
            }
            let own = if again.last {
                pause.saturating_mul(LAST_REPLAY)
            } else {
                pause
            };
            *index > 0
                || is_within(again.at, own)
                || latest.is_some_and(|latest| is_within(latest, pause))
        });
        first.map(|(_, again)| again.place)
    }
}

/// The place of the first of these that was replayed less than this time ago.
#[must_use]
pub fn first_within(again: &[Again], second: i64, pause: Duration) -> Option<usize> {
    let pause = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
    let first = again
        .iter()
        .find(|again| is_within(again.at, second, pause));
    first.map(|again| again.place)
}

/// Whether this second lies less than so many seconds back; one that has not come yet does not.
fn is_within(at: i64, second: i64, pause: i64) -> bool {
    let left = at.saturating_add(pause).saturating_sub(second);
    (1..=pause).contains(&left)
}
