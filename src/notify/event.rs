//! What can be told: a closed set of events, how grave each is, and the note of one. Pure.

use std::collections::BTreeMap;

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Redis cannot be reached.
    RedisLost,
    /// Parking has stopped, because too many messages have used up their retries.
    Systemic,
    /// A gate has been shut for long.
    GateShut,
    /// Many messages are parked.
    PoisonRate,
    /// A dead list is long.
    DeadListSize,
    /// The oldest message of a dead list has lain there for long.
    DeadListAge,
    /// What an outage had left is worked off.
    DrainFinished,
    /// A run of an operator has ended.
    RunFinished,
}

/// How grave an event is; of what cannot be kept the least grave goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at.
    Warning,
    /// Nothing moves until somebody does something.
    Critical,
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has begun, and holds.
    Firing,
    /// It has ended.
    Resolved,
    /// It has no length.
    Happened,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What.
    pub event: Event,
    /// What has become of it.
    pub state: State,
    /// The source, queue or run that it is about; empty where it is about all.
    pub subject: String,
    /// Since when, in Unix seconds.
    pub since: i64,
    /// When it was noticed, or when it ended, in Unix seconds.
    pub at: i64,
    /// The figures and words of its text.
    pub facts: BTreeMap<&'static str, String>,
}

/// What two notes have in common that are about the same.
pub type Key = (Event, String);

impl Event {
    /// Every event, for closed label sets.
    pub const ALL: [Self; 8] = [
        Self::RedisLost,
        Self::Systemic,
        Self::GateShut,
        Self::PoisonRate,
        Self::DeadListSize,
        Self::DeadListAge,
        Self::DrainFinished,
        Self::RunFinished,
    ];

    /// The name used in settings, metrics and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RedisLost => "redis_lost",
            Self::Systemic => "systemic",
            Self::GateShut => "gate_shut",
            Self::PoisonRate => "poison_rate",
            Self::DeadListSize => "dead_list_size",
            Self::DeadListAge => "dead_list_age",
            Self::DrainFinished => "drain_finished",
            Self::RunFinished => "run_finished",
        }
    }

    /// The event of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// How grave it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::RedisLost | Self::Systemic => Severity::Critical,
            Self::GateShut | Self::PoisonRate | Self::DeadListSize | Self::DeadListAge => {
                Severity::Warning
            }
            Self::DrainFinished | Self::RunFinished => Severity::Info,
        }
    }

    /// Whether it lasts, and so has an end that is told.
    #[must_use]
    pub fn lasts(self) -> bool {
        !matches!(self, Self::DrainFinished | Self::RunFinished)
    }
}

impl Severity {
    /// The name used in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl State {
    /// The name used in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Happened => "happened",
        }
    }
}

impl Note {
    /// What it is about.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.event, self.subject.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_known_by_their_names_alone() {
        for event in Event::ALL {
            assert_eq!(Event::named(event.as_str()), Some(event));
        }
        assert_eq!(Event::named("Redis_lost"), None);
        assert!(Severity::Critical > Severity::Warning && Severity::Warning > Severity::Info);
    }
}
