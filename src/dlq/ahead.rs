//! What lies ahead of a replay: the queues that it goes through, and what the services behind them
//! say of themselves. Reads only.

use std::time::Duration;

use redis::Cmd;
use tokio::time::Instant;

use crate::link::{self, LinkConfig, Links, Reason};

/// Set by the forwarder; missing means closed.
const BREAKER: &str = "mutt:circuit_breaker:moogsoft:state";
/// From this depth of the alert queue on the alerter warns.
const WARN: &str = "mutt:config:alerter_queue_warn_threshold";
/// The alerter's own default.
const DEFAULT_WARN: u64 = 1_000;
/// What people set by hand is read again after so long.
const FRESH: Duration = Duration::from_secs(1);

/// The queues ahead.
#[derive(Clone, Debug)]
pub struct AheadConfig {
    /// Where replays go.
    pub target: String,
    /// The queue in front of the forwarder; `None` if its depth is nothing to these replays.
    pub alert_queue: Option<String>,
    /// Where operators say that the source is not to be drained.
    pub holds: Vec<(Hold, String)>,
}

/// Why an operator keeps a drain from its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is paused.
    Paused,
    /// A run is at work on it.
    Run,
}

/// The forwarder's circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// It delivers.
    #[default]
    Closed,
    /// It has given up for now.
    Open,
    /// It is trying again.
    HalfOpen,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Messages in the replay target.
    pub target_depth: u64,
    /// Messages in front of the forwarder; 0 if they do not count.
    pub alert_depth: u64,
    /// The depth from which on the alerter warns; none can be deeper if it does not count.
    pub alert_warn: u64,
    /// The forwarder's circuit breaker.
    pub breaker: Breaker,
    /// An operator keeps the drain from its source.
    pub held: Option<Hold>,
}

/// What people and the forwarder have set.
#[derive(Clone, Copy, Debug)]
struct Set {
    warn: u64,
    breaker: Breaker,
    held: Option<Hold>,
}

/// Looks ahead over lines of its own.
#[derive(Debug)]
pub struct Ahead {
    links: Links,
    config: AheadConfig,
    /// What people and the forwarder have set, and when that was read.
    set: Option<(Instant, Set)>,
    /// What could not be used, so that it is told once.
    told: Vec<&'static str>,
}

impl Ahead {
    /// Lines that have not connected yet.
    #[must_use]
    pub fn new(redis: LinkConfig, config: AheadConfig) -> Self {
        Self {
            links: Links::new(redis),
            config,
            set: None,
            told: vec![],
        }
    }

    /// Looks once.
    ///
    /// # Errors
    /// The connection. What is not ours to read, or makes no sense, counts as empty or not set.
    pub async fn look(&mut self) -> Result<Seen, link::Error> {
        let AheadConfig {
            target,
            alert_queue,
            ..
        } = self.config.clone();
        let mut lists = vec![target.as_str()];
        lists.extend(alert_queue.as_deref().filter(|queue| *queue != target));
        let depths = self.depths(&lists).await?;
        let target_depth = depths.first().copied().unwrap_or_default();
        // The last one is the target itself, where that is the alert queue.
        let alert_depth = alert_queue.and(depths.last().copied()).unwrap_or_default();
        let Set {
            warn,
            breaker,
            held,
        } = self.what_is_set().await?;
        Ok(Seen {
            target_depth,
            alert_depth,
            alert_warn: warn,
            breaker,
            held,
        })
    }

    /// The depth of each, in one round trip where one server has them: before a target that is
    /// kept full they are asked for at almost every batch.
    async fn depths(&mut self, lists: &[&str]) -> Result<Vec<u64>, link::Error> {
        let answers = match self.links.to_all(lists) {
            Some(link) => {
                let mut asked = redis::pipe();
                for list in lists {
                    asked.cmd("LLEN").arg(*list);
                }
                let answers = link.call_raw(&asked).await?;
                let depths = answers.into_iter().map(|answer| usable(link::read(answer)));
                depths.collect::<Result<Vec<_>, _>>()?
            }
            None => {
                let mut answers = vec![];
                for list in lists {
                    let depth = redis::cmd("LLEN").arg(*list).to_owned();
                    answers.push(usable(self.links.to(list).call(&depth).await)?);
                }
                answers
            }
        };
        if answers.contains(&None) {
            self.tell("the depth of a queue ahead cannot be read: it counts as empty");
        }
        Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
    }

    async fn what_is_set(&mut self) -> Result<Set, link::Error> {
        if let Some((at, set)) = self.set
            && at.elapsed() < FRESH
        {
            return Ok(set);
        }
        let warn = if self.config.alert_queue.is_some() {
            self.warn_threshold().await?
        } else {
            u64::MAX
        };
        let breaker = match self.text(BREAKER).await?.as_deref().map(str::trim) {
            None | Some("" | "CLOSED") => Breaker::Closed,
            Some("OPEN") => Breaker::Open,
            Some("HALF_OPEN") => Breaker::HalfOpen,
            Some(_) => {
                self.tell("the circuit breaker's state is not known: it counts as closed");
                Breaker::Closed
            }
        };
        let set = Set {
            warn,
            breaker,
            held: self.held().await?,
        };
        self.set = Some((Instant::now(), set));
        Ok(set)
    }

    async fn held(&mut self) -> Result<Option<Hold>, link::Error> {
        for (hold, key) in self.config.holds.clone() {
            match self.ask::<bool>(redis::cmd("EXISTS").arg(&key), &key).await? {
                Some(true) => return Ok(Some(hold)),
                Some(false) => {}
                None => self.tell(
                    "whether an operator has paused the source cannot be read: it counts as not paused",
                ),
            }
        }
        Ok(None)
    }

    async fn warn_threshold(&mut self) -> Result<u64, link::Error> {
        let Some(text) = self.text(WARN).await? else {
            return Ok(DEFAULT_WARN);
        };
        Ok(text.trim().parse().unwrap_or_else(|_| {
            self.tell("the alerter's warn threshold is no number: its default counts");
            DEFAULT_WARN
        }))
    }

    async fn text(&mut self, key: &'static str) -> Result<Option<String>, link::Error> {
        let bytes: Option<Option<Vec<u8>>> = self.ask(redis::cmd("GET").arg(key), key).await?;
        if bytes.is_none() {
            self.tell(if key == WARN {
                "the alerter's warn threshold cannot be read: its default counts"
            } else {
                "the circuit breaker's state cannot be read: it counts as closed"
            });
        }
        Ok(bytes
            .flatten()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    async fn ask<T: redis::FromRedisValue>(
        &mut self,
        command: &Cmd,
        key: &str,
    ) -> Result<Option<T>, link::Error> {
        usable(self.links.to(key).call(command).await)
    }

    fn tell(&mut self, what: &'static str) {
        if !self.told.contains(&what) {
            self.told.push(what);
            tracing::warn!("{what}");
        }
    }
}

/// Nothing, where a key is none of the kind, or not ours to read.
fn usable<T>(answer: Result<T, link::Error>) -> Result<Option<T>, link::Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(error.reason, Reason::WrongType | Reason::NoPermission) => Ok(None),
        Err(error) => Err(error),
    }
}
