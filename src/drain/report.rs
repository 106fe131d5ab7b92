//! What a pass did, as data: for the log line, the metrics and the status of the loop.

use std::fmt;

use super::gate::Shut;
use crate::dlq::Disposition;
use crate::health::Unhealthy;
use crate::{dlq, link};

/// Why a pass ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It moved what the settings allowed.
    Drained,
    /// There was nothing to move.
    Empty,
    /// Moogsoft cannot take work; the queue was left alone.
    Unhealthy(Unhealthy),
    /// Something else keeps the gate shut.
    Held(Shut),
    /// Room in the target, or the turn of the oldest message, did not come in time.
    Waiting,
    /// Remediation is switched off.
    Disabled,
    /// Redis could not do its part.
    RedisError(link::Reason),
    /// The tail changed under us; nothing was written, the next pass looks again.
    Conflict,
    /// The process is shutting down.
    Interrupted,
}

impl Ended {
    /// Every outcome that is counted, for the closed label set.
    pub const OUTCOMES: [&str; 8] = [
        "drained",
        "empty",
        "unhealthy",
        "held",
        "waiting",
        "disabled",
        "redis_error",
        "conflict",
    ];

    /// The outcome's label; `None` for a pass that a shutdown cut short, which is not counted.
    #[must_use]
    pub fn outcome(&self) -> Option<&'static str> {
        Some(match self {
            Self::Drained => "drained",
            Self::Empty => "empty",
            Self::Unhealthy(_) => "unhealthy",
            Self::Held(_) => "held",
            Self::Waiting => "waiting",
            Self::Disabled => "disabled",
            Self::RedisError(_) => "redis_error",
            Self::Conflict => "conflict",
            Self::Interrupted => return None,
        })
    }

    /// Whether the pass is best repeated soon rather than after a whole interval.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::RedisError(_))
    }
}

/// The report of one pass.
#[derive(Debug)]
pub struct Report {
    /// Why it ended.
    pub ended: Ended,
    /// What failed, where a failure ended it.
    pub failure: Option<dlq::Error>,
    /// Messages sent back to work.
    pub replayed: u64,
    /// Messages parked.
    pub dead: u64,
    /// Batches committed.
    pub batches: u64,
    /// Messages left in the source, where known.
    pub depth: Option<u64>,
    /// Unix seconds since when the oldest message left has been around, where it tells.
    pub oldest_since: Option<i64>,
}

impl Report {
    /// A report of nothing done yet.
    #[must_use]
    pub fn new(ended: Ended) -> Self {
        Self {
            ended,
            failure: None,
            replayed: 0,
            dead: 0,
            batches: 0,
            depth: None,
            oldest_since: None,
        }
    }

    /// Takes note of a message that left the source.
    pub fn count(&mut self, disposition: Disposition) {
        match disposition {
            Disposition::Replay => self.replayed += 1,
            Disposition::Dead(_) => self.dead += 1,
            // An operator's, whose act has ended in the drain's hands.
            Disposition::Restore | Disposition::Purge => {}
        }
    }

    /// Messages that left the source.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.replayed + self.dead
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unhealthy(cause) => write!(f, "unhealthy: {cause}"),
            Self::Held(why) => write!(f, "held: {}", why.as_str()),
            Self::RedisError(reason) => write!(f, "redis_error: {reason}"),
            Self::Interrupted => f.write_str("interrupted"),
            other => f.write_str(other.outcome().unwrap_or_default()),
        }
    }
}
