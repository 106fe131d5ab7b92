//! Between two passes.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Drain;
use super::gate::Shut;
use super::pace::Memory;
use super::report::Ended;
use crate::dlq::bell::Bell;
use crate::settings::Settings;

/// A gate that is shut is looked at again after so long.
const GATE_LOOK: Duration = Duration::from_secs(5);

/// Between the end of a pass and one that an arrival begins lies so long, at least.
const GATHER: Duration = Duration::from_secs(1);

/// Why a sleep has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slept {
    /// An interval has passed since the last pass that was due, or remediation was switched on.
    Due,
    /// What kept the last pass from its work is worth another look.
    Sooner,
    /// Something has arrived.
    Arrival,
}

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

    /// Sleeps until the next pass is due, an interval after the last that was. A changed interval
    /// moves the time, and switching on ends the sleep.
    ///
    /// So does an arrival, if the drain is to be woken for it and the last pass had nothing left to
    /// do: what has stopped one does not go away because something more has arrived.
    pub(super) async fn sleep(
        &mut self,
        regular: Instant,
        sooner: Option<Duration>,
        ended: &Ended,
        cancel: &CancellationToken,
    ) -> Slept {
        let ended_at = Instant::now();
        loop {
            let settings = self.settings.borrow_and_update().clone();
            if settings.enabled && *ended == Ended::Disabled {
                return Slept::Due;
            }
            let interval = settings.interval;
            let (due, why) = match sooner {
                Some(wait) => (ended_at + wait.min(interval), Slept::Sooner),
                None => (regular + interval, Slept::Due),
            };
            let left = due.saturating_duration_since(Instant::now());
            self.pulse.expect_within(left + self.config.patience);
            let (_, taken) = taken_since(self.learnt.taken, ended_at, interval);
            let idle = matches!(ended, Ended::Empty | Ended::Drained);
            let heeds = idle && taken < quota(&self.source.settings(&settings));
            tokio::select! {
                () = cancel.cancelled() => return why,
                () = tokio::time::sleep_until(due) => return why,
                Ok(()) = self.settings.changed() => {}
                () = rings(self.bell.as_mut(), ended_at + GATHER), if heeds => {
                    self.metrics.woken();
                    return Slept::Arrival;
                }
            }
        }
    }
}

/// Waits until something has arrived, but not before that time; for ever without a bell.
async fn rings(bell: Option<&mut Bell>, earliest: Instant) {
    let Some(bell) = bell else {
        return std::future::pending().await;
    };
    tokio::time::sleep_until(earliest).await;
    bell.rings().await;
}

/// How many messages may be taken in an interval.
pub(super) fn quota(settings: &Settings) -> u64 {
    match (settings.adaptive, settings.batches_per_cycle) {
        (true, _) | (_, 0) => u64::MAX,
        (_, batches) => batches.saturating_mul(settings.batch_size),
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
