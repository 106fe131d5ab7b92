//! Between two passes.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Drain;
use super::gate::Shut;
use super::pace::Memory;
use super::report::Ended;

/// A gate that is shut is looked at again after so long.
const GATE_LOOK: Duration = Duration::from_secs(5);

impl Drain {
    /// After how long a gate that is shut is worth another look; `None` for a whole interval.
    pub(super) fn held_for(&self, ended: &Ended) -> Option<Duration> {
        let adaptive = self.settings.borrow().adaptive;
        match ended {
            Ended::Unhealthy(_) if adaptive => Some(GATE_LOOK),
            Ended::Held(Shut::Bounces) => {
                let due = self.learnt.pace.as_ref().and_then(Memory::next_trial);
                Some(self.outlook.until(due?))
            }
            Ended::Held(_) => Some(GATE_LOOK),
            _ => None,
        }
    }

    /// Sleeps until the next pass is due. A changed interval moves the time, and switching on ends
    /// the sleep.
    pub(super) async fn sleep(
        &mut self,
        began: Instant,
        sooner: Option<Duration>,
        ended: &Ended,
        cancel: &CancellationToken,
    ) {
        let ended_at = Instant::now();
        loop {
            let settings = self.settings.borrow_and_update().clone();
            if settings.enabled && *ended == Ended::Disabled {
                return;
            }
            let interval = settings.interval;
            let due = match sooner {
                Some(wait) => ended_at + wait.min(interval),
                None => began + interval,
            };
            let left = due.saturating_duration_since(Instant::now());
            self.pulse.expect_within(left + self.config.patience);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(due) => return,
                Ok(()) = self.settings.changed() => {}
            }
        }
    }
}

/// When the interval began that a pass is in, and how many messages were taken in it so far. One
/// that begins an interval after the last one, to the moment, is in the next.
pub(super) fn taken_since(
    before: Option<(Instant, u64)>,
    began: Instant,
    interval: Duration,
) -> (Instant, u64) {
    let current = before.filter(|(at, _)| began.duration_since(*at) < interval);
    current.unwrap_or((began, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_takes_what_is_left_of_its_interval_and_the_next_interval_begins_on_time() {
        let interval = Duration::from_secs(300);
        let first = Instant::now();
        assert_eq!(taken_since(None, first, interval), (first, 0));
        let held = first + Duration::from_secs(5);
        let taken = Some((first, 10));
        assert_eq!(taken_since(taken, held, interval), (first, 10));
        let next = first + interval;
        assert_eq!(taken_since(taken, next, interval), (next, 0));
    }
}
