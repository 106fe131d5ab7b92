//! The backpressure guard: does for alerters that do not shed load what those that do would do
//! themselves. Compares the depth of the alert queue with MUTT's thresholds, moves what has no room
//! from the ingest queue to the alerter's dead letters, or has the replays wait.
//!
//! `guard::level` decides how much, `guard::rules` reads what operators have set, `dlq::overflow`
//! speaks to Redis. It knows nothing of the drain: that it is to wait travels on a `watch` channel.

pub mod level;
pub mod orphans;
pub mod rules;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::background::Backoff;
use crate::dlq::envelope::shed_stamp;
use crate::dlq::overflow::{GuardedLists, Overflow, Stamped};
use crate::dlq::redis::Limits;
use crate::dlq::{Entry, Error};
use crate::link::{LinkConfig, Reason};
use crate::metrics::GuardMetrics;
use level::{Depths, Level, Step, step};
use orphans::OrphanConfig;
use rules::{KEYS, Mode, Reader, Rules};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(500);
/// From one look to the next while there is something to move.
const SHED_PAUSE: Duration = Duration::from_millis(50);
/// What is moved in one step, at most; a larger message goes alone.
const SHED_LIMITS: Limits = Limits {
    entries: 100,
    bytes: 1024 * 1024,
};
/// For so long the rules count as what Redis holds.
const RULES_FOR: Duration = Duration::from_secs(1);
/// So much longer than it is to last a hold is announced, so that it does not lapse while the next
/// look is on its way.
const SLACK: Duration = Duration::from_millis(500);
/// While messages are moved, a line in the log this often.
const TELL: Duration = Duration::from_secs(10);

/// What the guard is to guard.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    /// The line to Redis.
    pub redis: LinkConfig,
    /// The lists; ingest queue and dead letters share a slot, if it is a cluster.
    pub lists: GuardedLists,
    /// Where messages of absent alerters would be.
    pub orphans: OrphanConfig,
}

/// Whether replays are to wait. They wait in both modes: what is shed would else come straight back
/// with the next batch, and use a replay up each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deferred {
    /// Until then, unless a later value says otherwise; `None` = they need not wait. It lapses by
    /// itself, so that a guard without Redis holds nothing up for longer than a moment.
    pub until: Option<Instant>,
}

impl Deferred {
    /// Whether they are to wait now.
    #[must_use]
    pub fn holds(self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// Guards until cancelled.
pub async fn run(
    config: GuardConfig,
    deferred: watch::Sender<Deferred>,
    metrics: GuardMetrics,
    cancel: CancellationToken,
) {
    let single = config.redis.cluster.is_empty();
    let guard = Guard::new(&config, deferred, metrics.clone());
    if !single {
        tracing::info!("redis cluster: messages of absent alerters are not looked for");
        return guard.run(cancel).await;
    }
    let orphans = orphans::run(config.redis, config.orphans, metrics, cancel.clone());
    tokio::join!(guard.run(cancel), orphans);
}

struct Guard {
    overflow: Overflow,
    deferred: watch::Sender<Deferred>,
    metrics: GuardMetrics,
    reader: Reader,
    rules: Rules,
    rules_read: Option<Instant>,
    /// Whether we may not read the rules, so that the defaults count.
    rules_refused: bool,
    level: Level,
    /// The end of the present hold.
    held_until: Option<Instant>,
    /// Moved since the last line in the log.
    moved: u64,
    told: Instant,
}

impl Guard {
    fn new(config: &GuardConfig, deferred: watch::Sender<Deferred>, metrics: GuardMetrics) -> Self {
        Self {
            overflow: Overflow::new(config.redis.clone(), config.lists.clone()),
            deferred,
            metrics,
            reader: Reader::default(),
            rules: Rules::default(),
            rules_read: None,
            rules_refused: false,
            level: Level::Calm,
            held_until: None,
            moved: 0,
            told: Instant::now(),
        }
    }

    async fn run(mut self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut failing = None;
        while !cancel.is_cancelled() {
            let wait = match self.pass().await {
                Ok(wait) => {
                    backoff.reset();
                    if failing.take().is_some() {
                        tracing::warn!("the guard can do its work again");
                    }
                    wait
                }
                Err(error) => {
                    self.metrics.failed(error.link().reason);
                    tell_failure(&error, failing);
                    failing = Some(error.link().reason);
                    backoff.next_wait()
                }
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.tell_moved();
    }

    /// One look, and one step if it takes one; returns the wait until the next.
    async fn pass(&mut self) -> Result<Duration, Error> {
        self.follow_rules().await?;
        let (alert, ingest) = self.overflow.depths().await?;
        let step = step(self.level, Depths { alert, ingest }, self.rules.thresholds);
        self.metrics.seen(alert, step.level);
        self.tell_level(step.level, alert);
        self.level = step.level;
        if step.level != Level::Shedding {
            self.release();
            return Ok(LOOK);
        }
        self.hold();
        match self.rules.mode {
            Mode::Defer => Ok(LOOK.min(self.rules.defer)),
            Mode::Dlq if step.overflow == 0 => Ok(LOOK),
            Mode::Dlq => {
                self.shed(step).await?;
                Ok(SHED_PAUSE)
            }
        }
    }

    async fn shed(&mut self, step: Step) -> Result<(), Error> {
        let limits = Limits {
            entries: SHED_LIMITS.entries.min(step.overflow),
            ..SHED_LIMITS
        };
        let limit = self.rules.thresholds.shed;
        let stamped = |entry: Entry| Stamped {
            edits: shed_stamp(&entry.0, step.blamed, limit),
            entry,
        };
        let oldest = self.overflow.peek(limits).await?;
        let messages: Vec<Stamped> = oldest.into_iter().map(stamped).collect();
        let moved = self.overflow.shed(&messages, step.keep).await?;
        self.metrics.shed(Mode::Dlq, moved);
        self.moved += moved;
        if self.told.elapsed() >= TELL {
            self.tell_moved();
        }
        self.overflow.replicated().await
    }

    /// Has the replays wait, from now on.
    fn hold(&mut self) {
        let now = Instant::now();
        let (mode, time) = match self.rules.mode {
            Mode::Dlq => (Mode::Dlq, LOOK),
            Mode::Defer => (Mode::Defer, self.rules.defer),
        };
        let until = match self.held_until.filter(|until| *until > now) {
            Some(until) => until,
            None => {
                if mode == Mode::Defer {
                    self.metrics.shed(Mode::Defer, 1);
                }
                now + time
            }
        };
        self.held_until = Some(until);
        let until = Some(until + SLACK);
        self.deferred.send_replace(Deferred { until });
    }

    fn release(&mut self) {
        self.held_until = None;
        if *self.deferred.borrow() != Deferred::default() {
            self.deferred.send_replace(Deferred::default());
        }
    }

    async fn follow_rules(&mut self) -> Result<(), Error> {
        if self.rules_read.is_some_and(|at| at.elapsed() < RULES_FOR) {
            return Ok(());
        }
        let texts = match self.overflow.texts(KEYS).await {
            Err(Error::Settings { source }) if source.reason == Reason::NoPermission => {
                if !self.rules_refused {
                    tracing::warn!(error = %source, advice = source.reason.advice(),
                        "the alerters' thresholds cannot be read, the defaults count");
                }
                self.rules_refused = true;
                [const { None }; KEYS.len()]
            }
            texts => {
                let texts = texts?;
                self.rules_refused = false;
                texts
            }
        };
        let (rules, refused) = self.reader.read(&texts);
        for refused in refused {
            let shown: String = refused.text.chars().take(80).collect();
            tracing::warn!(
                key = %refused.key,
                value = shown.escape_debug().to_string(),
                expected = refused.expected,
                "rule of the alerters refused, the default counts"
            );
        }
        if rules != self.rules {
            tracing::info!(before = ?self.rules, after = ?rules, "rules of the guard changed");
            // A hold was for as long as the old rules said.
            self.held_until = None;
        }
        self.rules = rules;
        self.rules_read = Some(Instant::now());
        Ok(())
    }

    fn tell_level(&mut self, now: Level, depth: u64) {
        let Rules {
            thresholds, mode, ..
        } = self.rules;
        match (self.level, now) {
            (Level::Calm, Level::Warned) => tracing::warn!(
                depth,
                threshold = thresholds.warn,
                advice = "look at the forwarder: it takes less than the alerters give",
                "the alert queue fills up"
            ),
            (Level::Calm | Level::Warned, Level::Shedding) => tracing::warn!(
                depth,
                threshold = thresholds.shed,
                mode = mode.as_str(),
                advice = "look at the forwarder; in mode dlq load is shed: it lies in the alerter's dead letters and is replayed later",
                "the alert queue is full, replays wait"
            ),
            (Level::Shedding, Level::Calm | Level::Warned) => {
                self.tell_moved();
                tracing::warn!(depth, "the alert queue has room again, replays go on");
            }
            (Level::Warned, Level::Calm) => tracing::info!(depth, "the alert queue is calm again"),
            _ => {}
        }
    }

    fn tell_moved(&mut self) {
        if self.moved > 0 {
            tracing::info!(
                moved = self.moved,
                "overflow moved to the alerter's dead letters"
            );
        }
        self.moved = 0;
        self.told = Instant::now();
    }
}

fn tell_failure(error: &Error, before: Option<Reason>) {
    let link = error.link();
    if before == Some(link.reason) {
        tracing::debug!(error = %link, "the guard still cannot do its work");
    } else {
        tracing::warn!(reason = %link.reason, error = %link, advice = link.reason.advice(),
            "the guard cannot do its work: {error}");
    }
}
