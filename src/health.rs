//! Whether Moogsoft can take work, as far as the last probe tells.

pub mod probe;

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::trace::{Span, Tracer};
use probe::Probe;

/// A healthy answer is believed this long, as in the Python worker.
pub const HEALTHY_FOR: Duration = Duration::from_secs(60);
/// An unhealthy one only so long, so that recovery is seen soon.
pub const UNHEALTHY_FOR: Duration = Duration::from_secs(5);

/// Why Moogsoft cannot take work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unhealthy {
    /// It answered with another status than 200, 201 or 202.
    Status(u16),
    /// It did not answer in this time.
    Timeout(Duration),
    /// It could not be reached, or the connection broke; the cause in words.
    Connection(String),
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code @ 300..=399) => {
                write!(f, "answered {code}, a redirect, which is not followed")
            }
            Self::Status(code) => write!(f, "answered {code}"),
            Self::Timeout(after) => write!(f, "no answer within {} s", after.as_secs_f32()),
            Self::Connection(cause) => f.write_str(cause),
        }
    }
}

/// Moogsoft, and the memory of the last probe.
#[derive(Debug)]
pub struct Moogsoft {
    probe: Option<Probe>,
    tracer: Tracer,
    last: Option<(Instant, Result<(), Unhealthy>)>,
    told: watch::Sender<Option<Answered>>,
}

/// The last answer of a probe, for whoever wants to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// When it came, in Unix seconds.
    pub at: i64,
    /// What it was.
    pub health: Result<(), Unhealthy>,
}

/// Whether Moogsoft can take work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It can, or why it cannot.
    pub health: Result<(), Unhealthy>,
    /// Whether Moogsoft was asked just now; false for an answer reused or assumed.
    pub probed: bool,
}

impl Moogsoft {
    /// Asks `probe`; without one it always counts as healthy.
    #[must_use]
    pub fn new(probe: Option<Probe>, tracer: Tracer) -> Self {
        Self {
            probe,
            tracer,
            last: None,
            told: watch::Sender::default(),
        }
    }

    /// The last answer, as it comes in.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Answered>> {
        self.told.subscribe()
    }

    /// The last answer while it is fresh, else a new one.
    pub async fn check(&mut self) -> Verdict {
        let Some(probe) = &self.probe else {
            return Verdict {
                health: Ok(()),
                probed: false,
            };
        };
        if let Some((at, health)) = &self.last
            && fresh(health, at.elapsed())
        {
            return Verdict {
                health: health.clone(),
                probed: false,
            };
        }
        let span = self.tracer.ask("probe");
        let health = span.around(probe.ask(&span)).await;
        tell(&span, &health);
        drop(span);
        self.told.send_replace(Some(Answered {
            at: jiff::Timestamp::now().as_second(),
            health: health.clone(),
        }));
        self.last = Some((Instant::now(), health.clone()));
        Verdict {
            health,
            probed: true,
        }
    }
}

/// Says in the span how it went; not in Moogsoft's own words.
fn tell(span: &Span, health: &Result<(), Unhealthy>) {
    span.say("healthy", health.is_ok());
    match health {
        Ok(()) => {}
        Err(Unhealthy::Status(status)) => {
            span.count("http.response.status_code", u64::from(*status));
            span.fail("status");
        }
        Err(Unhealthy::Timeout(_)) => span.fail("timeout"),
        Err(Unhealthy::Connection(_)) => span.fail("connection"),
    }
}

fn fresh(health: &Result<(), Unhealthy>, age: Duration) -> bool {
    age < if health.is_ok() {
        HEALTHY_FOR
    } else {
        UNHEALTHY_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_looked_for_more_often_than_decay() {
        let seconds = Duration::from_secs;
        assert!(fresh(&Ok(()), seconds(59)));
        assert!(!fresh(&Ok(()), seconds(60)));
        assert!(fresh(&Err(Unhealthy::Status(503)), seconds(4)));
        assert!(!fresh(&Err(Unhealthy::Status(503)), seconds(5)));
    }

    #[tokio::test]
    async fn without_a_probe_it_counts_as_healthy() {
        let verdict = Moogsoft::new(None, Tracer::default()).check().await;
        assert_eq!(verdict.health, Ok(()));
        assert!(!verdict.probed);
    }
}
