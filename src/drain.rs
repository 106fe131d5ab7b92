//! The drain: dead letters back to work, poison to its list, a batch at a time.
//!
//! A pass takes no input and repeats nothing; the next pass is the retry. It can be cancelled
//! between batches, never inside a commit.

pub mod classify;
pub mod estimate;
pub mod gate;
pub mod pace;
pub mod plan;
pub mod report;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::background::{Backoff, Pulse};
use crate::dlq::envelope::Envelope;
use crate::dlq::queue::Queue;
use crate::dlq::redis::Limits;
use crate::dlq::{self, Committed, Disposition, Entry};
use crate::health::Gate;
use crate::link::{self, Reason};
use crate::metrics::{CONFLICT, DrainMetrics, HealthMetrics};
use crate::settings::Settings;
use crate::settings::watch::Knowledge;
use classify::Rules;
use plan::{Plan, conserves};
use report::{Ended, Report};

/// Batches in a row that may meet a changed tail before the pass gives up: somebody else is at
/// work on the same end.
const MAX_CONFLICTS: u32 = 3;

/// An oldest message above this size does not tell its age, in bytes.
const MAX_LOOK: u64 = 64 * 1024;

/// How long a pass waits for the settings in Redis when Redis itself answers.
const SETTINGS_WAIT: Duration = Duration::from_secs(5);

/// After a failure to answer the next pass asks for less, by powers of two up to this one.
const MAX_EASING: u32 = 10;

/// The part of the settings that cannot change while running.
#[derive(Clone, Debug)]
pub struct DrainConfig {
    /// Bytes in a batch, at most.
    pub batch_max_bytes: u64,
    /// Whether replays are stamped.
    pub stamp: bool,
    /// Fields without which a message is not replayed.
    pub required_fields: Vec<String>,
    /// How long one batch may take before the loop counts as stuck.
    pub patience: Duration,
}

/// The drain loop and all that it works with.
#[derive(Debug)]
pub struct Drain {
    /// Fixed settings.
    pub config: DrainConfig,
    /// Settings that may change at any time.
    pub settings: watch::Receiver<Settings>,
    /// Whether Moogsoft takes work.
    pub gate: Gate,
    /// The lists.
    pub queue: Queue,
    /// Metrics of the loop.
    pub metrics: DrainMetrics,
    /// Metrics of the gate.
    pub health_metrics: HealthMetrics,
    /// Shows that the loop turns.
    pub pulse: Pulse,
    /// Whether the settings in Redis are known: without them a pause that was set there is not.
    pub knowledge: watch::Receiver<Knowledge>,
    /// Batches are smaller by this power of two, because a larger one got no answer.
    pub easing: u32,
}

impl Drain {
    /// Runs a pass now and then one an interval, until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        let mut trouble = Trouble::default();
        while !cancel.is_cancelled() {
            let began = Instant::now();
            let report = self.pass(&cancel).await;
            if let Ended::RedisError(Reason::Timeout | Reason::Unreachable) = report.ended {
                self.easing = (self.easing + 2).min(MAX_EASING);
            }
            self.tell(&report, &mut trouble);
            let sooner = if report.ended.is_failure() {
                Some(backoff.next_wait())
            } else {
                backoff.reset();
                None
            };
            self.sleep(began, sooner, &report.ended, &cancel).await;
        }
    }

    /// Makes sure that the settings are what Redis holds. While they are not known, Redis is asked
    /// for something else first, so that its absence is reported as what it is.
    async fn know_the_settings(&mut self) -> Result<(), dlq::Error> {
        if self.knowledge.borrow().is_good() {
            return Ok(());
        }
        self.queue.look(0).await?;
        let good = self.knowledge.wait_for(Knowledge::is_good);
        match tokio::time::timeout(SETTINGS_WAIT, good).await {
            Ok(_) => Ok(()),
            Err(_) => Err(dlq::Error::Settings {
                source: link::Error::new(
                    Reason::Timeout,
                    "the settings in Redis have not been read for seconds",
                ),
            }),
        }
    }

    /// One pass: batch after batch until the settings, the gate or the queue end it.
    pub async fn pass(&mut self, cancel: &CancellationToken) -> Report {
        let began = Instant::now();
        self.metrics.pass_began();
        let mut report = Report::new(Ended::Empty);
        report.ended = match self.drain(&mut report, cancel).await {
            Ok(ended) => ended,
            Err(error) => {
                let reason = error.link().reason;
                self.metrics.failed(reason.as_str());
                report.failure = Some(error);
                Ended::RedisError(reason)
            }
        };
        if !matches!(report.ended, Ended::RedisError(_) | Ended::Interrupted) {
            self.look_at_what_is_left(&mut report).await;
        }
        self.metrics.pass_ended(&report, began.elapsed());
        report
    }

    async fn drain(
        &mut self,
        report: &mut Report,
        cancel: &CancellationToken,
    ) -> Result<Ended, dlq::Error> {
        // What bounces straight back must not keep the pass alive: it moves no more messages than
        // the queue held when it began.
        let mut remaining = u64::MAX;
        let mut conflicts = 0;
        loop {
            self.pulse.expect_within(self.config.patience);
            self.know_the_settings().await?;
            let settings = self.settings.borrow_and_update().clone();
            self.pulse
                .expect_within(self.config.patience + settings.batch_pause);
            if !settings.enabled {
                return Ok(Ended::Disabled);
            }
            let verdict = tokio::select! {
                () = cancel.cancelled() => return Ok(interrupted(report)),
                verdict = self.gate.check() => verdict,
            };
            self.health_metrics.checked(&verdict);
            if let Err(cause) = verdict.health {
                return Ok(Ended::Unhealthy(cause));
            }

            self.queue.catch_up().await?;
            for disposition in self.queue.finish().await? {
                self.metrics.message(disposition, 1);
                report.count(disposition);
            }
            let rules = self.rules(&settings);
            let now = jiff::Timestamp::now().as_second();
            let mut plan = Plan::default();
            let limits = self.limits(&settings, remaining);
            let planning = |entries: Vec<Entry>| {
                let seen = cfg!(debug_assertions).then(|| entries.clone());
                let part = plan::plan(entries, &rules, now);
                debug_assert!(seen.is_none_or(|entries| conserves(&entries, &part)));
                plan.append(part);
            };
            let depth = self.queue.peek(limits, planning).await?;
            remaining = remaining.min(depth);
            let size = plan.transfers.len() as u64;
            if size == 0 {
                return Ok(if report.moved() > 0 {
                    Ended::Drained
                } else {
                    Ended::Empty
                });
            }
            report.batches += 1;
            let enough = (1..=report.batches).contains(&settings.batches_per_cycle);
            let last = size >= remaining || enough;
            match self.commit(&plan).await? {
                Committed::Moved { replayed, dead } => {
                    self.count(&plan);
                    report.replayed += replayed;
                    report.dead += dead;
                    remaining = remaining.saturating_sub(size);
                    conflicts = 0;
                    self.easing = self.easing.saturating_sub(1);
                    self.replicated().await?;
                }
                Committed::Conflict => {
                    self.metrics.failed(CONFLICT);
                    conflicts += 1;
                }
            }
            if conflicts == MAX_CONFLICTS || (conflicts > 0 && last) {
                return Ok(Ended::Conflict);
            }
            if last {
                return Ok(Ended::Drained);
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(interrupted(report)),
                () = tokio::time::sleep(settings.batch_pause) => {}
            }
        }
    }

    async fn commit(&mut self, plan: &Plan) -> Result<Committed, dlq::Error> {
        let began = Instant::now();
        let committed = self.queue.commit(&plan.transfers).await?;
        self.metrics.committed(began.elapsed());
        Ok(committed)
    }

    /// Waits for the replicas. A batch that they do not have may come back in a failover, so that
    /// no further one is begun until they have it.
    async fn replicated(&mut self) -> Result<(), dlq::Error> {
        self.queue
            .replicated()
            .await
            .inspect_err(|_| self.metrics.wait_short())
    }

    fn limits(&self, settings: &Settings, remaining: u64) -> Limits {
        Limits {
            entries: (settings.batch_size >> self.easing).max(1).min(remaining),
            bytes: self.config.batch_max_bytes >> self.easing,
        }
    }

    fn rules(&self, settings: &Settings) -> Rules {
        Rules {
            max_poison_retries: settings.max_poison_retries,
            stamp: self.config.stamp,
            required_fields: self.config.required_fields.clone(),
        }
    }

    fn count(&self, plan: &Plan) {
        for disposition in Disposition::ALL {
            self.metrics.message(disposition, plan.count(disposition));
        }
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        for transfer in &plan.transfers {
            if let Disposition::Dead(reason) = transfer.disposition {
                let envelope = Envelope::read(&transfer.entry.0).ok();
                let correlation_id = envelope.and_then(|envelope| envelope.correlation_id());
                tracing::debug!(
                    correlation_id,
                    reason = reason.as_str(),
                    bytes = transfer.entry.0.len(),
                    "message moved to the dead list"
                );
            }
        }
    }

    /// Reads depth and age of the oldest message, also where the gate was shut.
    async fn look_at_what_is_left(&mut self, report: &mut Report) {
        match self.queue.look(MAX_LOOK).await {
            Ok(peeked) => {
                let oldest = peeked.entries.first();
                let envelope = oldest.and_then(|entry| Envelope::read(&entry.0).ok());
                report.depth = Some(peeked.depth);
                report.oldest_since = envelope.and_then(|envelope| envelope.since());
            }
            Err(error) => tracing::debug!(error = %error.link(), "what is left cannot be read"),
        }
    }

    /// One line per pass that moved something or changed the state, and what the operator must know.
    fn tell(&self, report: &Report, trouble: &mut Trouble) {
        if report.moved() > 0 {
            tracing::info!(
                outcome = %report.ended,
                replayed = report.replayed,
                dead = report.dead,
                batches = report.batches,
                depth = report.depth,
                "pass moved messages"
            );
        }
        let changed = trouble.last.as_ref() != Some(&report.ended);
        match (&report.ended, &report.failure) {
            (_, Some(error)) if changed => tracing::error!(
                reason = %error.link().reason,
                error = %error.link(),
                advice = error.link().reason.advice(),
                "{error}"
            ),
            (Ended::Unhealthy(cause), _) if changed => tracing::warn!(
                %cause,
                depth = report.depth,
                "moogsoft is unhealthy, the queue is left alone"
            ),
            (Ended::Conflict, _) if changed => tracing::warn!(
                "the queue's tail changed before the commit: another worker or an operator is at work; nothing was written"
            ),
            (Ended::Disabled, _) if changed => tracing::warn!("remediation is switched off"),
            _ => tracing::debug!(outcome = %report.ended, "pass ended"),
        }
        trouble.follow(&report.ended);
        let settings = self.settings.borrow().clone();
        let time = report
            .depth
            .and_then(|depth| estimate::time_to_drain(depth, &settings));
        self.metrics.estimate(time);
        if let (Some(depth), Some(time)) = (report.depth, time)
            && let Some(warning) = estimate::warning(depth, time, &settings)
        {
            tracing::warn!("{warning}");
        }
    }

    /// Sleeps until the next pass is due. A changed interval moves the time, and switching on ends
    /// the sleep.
    async fn sleep(
        &mut self,
        began: Instant,
        sooner: Option<Duration>,
        ended: &Ended,
        cancel: &CancellationToken,
    ) {
        loop {
            let settings = self.settings.borrow_and_update().clone();
            if settings.enabled && *ended == Ended::Disabled {
                return;
            }
            let interval = settings.interval;
            let due = match sooner {
                Some(wait) => Instant::now() + wait.min(interval),
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

fn interrupted(report: &Report) -> Ended {
    if report.moved() > 0 {
        Ended::Drained
    } else {
        Ended::Interrupted
    }
}

/// What is wrong at present, so that its end can be told even if something else came between.
#[derive(Debug, Default)]
struct Trouble {
    last: Option<Ended>,
    unhealthy: bool,
    failing: bool,
    disabled: bool,
}

impl Trouble {
    fn follow(&mut self, ended: &Ended) {
        match ended {
            Ended::Unhealthy(_) => self.unhealthy = true,
            Ended::RedisError(_) => self.failing = true,
            Ended::Disabled => self.disabled = true,
            Ended::Drained | Ended::Empty | Ended::Conflict => {
                let over = [
                    (&mut self.unhealthy, "moogsoft is healthy again"),
                    (&mut self.failing, "redis works again"),
                    (&mut self.disabled, "remediation is switched on again"),
                ];
                for (wrong, news) in over {
                    if std::mem::take(wrong) {
                        tracing::warn!("{news}");
                    }
                }
            }
            Ended::Interrupted => {}
        }
        self.last = Some(ended.clone());
    }
}
