//! Whether work may flow, and if not, why. Words only; `drain::pace` decides.

use std::fmt;

/// The state of a source's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Work flows.
    Open,
    /// A few messages are on trial; what becomes of them decides.
    Probation,
    /// Nothing is replayed.
    Shut(Shut),
}

/// What keeps a gate shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shut {
    /// Remediation is switched off.
    Disabled,
    /// An operator has paused the source.
    Paused,
    /// A run of an operator is at work on the source.
    Run,
    /// The probe of Moogsoft fails.
    Moogsoft,
    /// The forwarder's circuit breaker is open.
    Breaker,
    /// The queue in front of the forwarder is so full that the alerter may shed.
    Backpressure,
    /// The guard has the replays wait while the alerter is above its shed threshold.
    Deferred,
    /// The forwarder spends its error budget critically fast.
    Budget,
    /// Too many of the last replays came back.
    Bounces,
    /// So many messages have used up their retries that the fault must lie upstream.
    Systemic,
}

impl Shut {
    /// Every cause, for closed metric label sets.
    pub const ALL: [Self; 10] = [
        Self::Disabled,
        Self::Paused,
        Self::Run,
        Self::Moogsoft,
        Self::Breaker,
        Self::Backpressure,
        Self::Deferred,
        Self::Budget,
        Self::Bounces,
        Self::Systemic,
    ];

    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Paused => "paused",
            Self::Run => "run",
            Self::Moogsoft => "moogsoft",
            Self::Breaker => "circuit_breaker",
            Self::Backpressure => "backpressure",
            Self::Deferred => "deferred",
            Self::Budget => "slo",
            Self::Bounces => "bounces",
            Self::Systemic => "systemic",
        }
    }
}

impl Gate {
    /// The names of the states, for closed metric label sets.
    pub const STATES: [&str; 3] = ["open", "probation", "shut"];

    /// `open`, `probation` or `shut`.
    #[must_use]
    pub fn state(self) -> &'static str {
        match self {
            Self::Open => Self::STATES[0],
            Self::Probation => Self::STATES[1],
            Self::Shut(_) => Self::STATES[2],
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shut(why) => write!(f, "shut: {}", why.as_str()),
            other => f.write_str(other.state()),
        }
    }
}
