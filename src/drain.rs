//! The drain: dead letters back to work, poison to its list, a batch at a time.
//!
//! A pass takes no input and repeats nothing; the next pass is the retry. It can be cancelled
//! between batches, never inside a commit.

pub mod classify;
pub mod estimate;
pub mod gate;
pub mod outlook;
pub mod pace;
pub mod plan;
pub mod report;
pub mod status;
pub mod systemic;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::audit::tell::Journal;
use crate::background::{Backoff, Pulse};
use crate::config::sources::SourceConfig;
use crate::dlq::latch::Latch;
use crate::dlq::queue::Queue;
use crate::dlq::redis::Limits;
use crate::dlq::{self, Committed, Disposition, Entry};
use crate::health::Moogsoft;
use crate::link::{self, Reason};
use crate::metrics::{CONFLICT, HealthMetrics, SourceMetrics};
use crate::settings::Settings;
use crate::settings::watch::Knowledge;
use classify::Rules;
use gate::{Gate, Shut};
use outlook::Outlook;
use pace::{Act, Decision, Memory, View, Waiting};
use plan::{Plan, conserves};
use report::{Ended, Report};
use status::Board;
use systemic::Systemic;
use tell::Trouble;

/// Batches in a row that may meet a changed tail before the pass gives up: somebody else is at
/// work on the same end.
const MAX_CONFLICTS: u32 = 3;

/// How long a pass waits for the settings in Redis when Redis itself answers.
const SETTINGS_WAIT: Duration = Duration::from_secs(5);

/// After a failure to answer the next pass asks for less, by powers of two up to this one.
const MAX_EASING: u32 = 10;

/// While something is waited for it is looked at after these times.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const SLOWEST_LOOK: Duration = Duration::from_millis(250);

/// A gate that is shut is looked at again after so long.
const GATE_LOOK: Duration = Duration::from_secs(5);

/// The part of the settings that cannot change while running, and is the same for all sources.
#[derive(Clone, Debug)]
pub struct DrainConfig {
    /// Bytes in a batch, at most.
    pub batch_max_bytes: u64,
    /// Whether replays are stamped.
    pub stamp: bool,
    /// Who we are.
    pub instance: String,
    /// The stream that the audit of the source is written to, if one is kept.
    pub audit: Option<String>,
    /// How long one batch may take before the loop counts as stuck.
    pub patience: Duration,
}

/// The drain loop of one source, and all that it works with.
#[derive(Debug)]
pub struct Drain {
    /// What is drained.
    pub source: SourceConfig,
    /// Fixed settings.
    pub config: DrainConfig,
    /// Settings that may change at any time.
    pub settings: watch::Receiver<Settings>,
    /// Whether Moogsoft takes work; shared by all sources.
    pub moogsoft: Arc<Mutex<Moogsoft>>,
    /// The lists.
    pub queue: Queue,
    /// Remembers over a restart that parking has stopped.
    pub latch: Latch,
    /// The pipeline behind the target.
    pub outlook: Outlook,
    /// Metrics of the loop.
    pub metrics: SourceMetrics,
    /// Metrics of the probe.
    pub health_metrics: HealthMetrics,
    /// Shows that the loop turns.
    pub pulse: Pulse,
    /// Whether the settings in Redis are known: without them a pause that was set there is not.
    pub knowledge: watch::Receiver<Knowledge>,
    /// Where the audit hears of what no commit tells.
    pub journal: Journal,
    /// Shows how the drain stands.
    pub board: Board,
    /// What becomes of the replays.
    pub learnt: Learnt,
}

/// What a drain has learnt while running.
#[derive(Debug)]
pub struct Learnt {
    /// About the pipeline; `None` only while it is being decided upon.
    pace: Option<Memory>,
    /// About messages that have used up their retries.
    systemic: Systemic,
    /// The gate as it was shown last.
    gate: Option<Gate>,
    /// Batches are smaller by this power of two, because a larger one got no answer.
    easing: u32,
    /// When the interval began that the batches of a pass count for, and how many messages were
    /// taken in it: a pass that was held and comes again soon takes no more than what is left.
    taken: Option<(Instant, u64)>,
}

impl Default for Learnt {
    fn default() -> Self {
        Self {
            pace: Some(Memory::new(now())),
            systemic: Systemic::default(),
            gate: None,
            easing: 0,
            taken: None,
        }
    }
}

/// What a pass has done so far.
#[derive(Debug)]
struct Progress {
    /// Messages that may still be moved: what bounces straight back must not keep the pass alive.
    remaining: u64,
    /// Messages that count towards the batches of the pass.
    taken: u64,
    conflicts: u32,
    /// What somebody had begun before the pass is finished.
    finished: bool,
    /// How long to wait before the next look.
    look: Duration,
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
                self.learnt.easing = (self.learnt.easing + 2).min(MAX_EASING);
            }
            self.tell(&report, &mut trouble);
            let sooner = if report.ended.is_failure() {
                Some(backoff.next_wait())
            } else {
                backoff.reset();
                self.held_for(&report.ended)
            };
            self.sleep(began, sooner, &report.ended, &cancel).await;
        }
    }

    /// After how long a gate that is shut is worth another look; `None` for a whole interval.
    fn held_for(&self, ended: &Ended) -> Option<Duration> {
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

    /// Finishes a batch that somebody has begun.
    async fn finish(&mut self, report: &mut Report) -> Result<(), dlq::Error> {
        for disposition in self.queue.finish().await? {
            self.metrics.message(disposition, 1);
            report.count(disposition);
        }
        Ok(())
    }

    /// Takes over from whoever ran before us that parking has stopped.
    async fn recall(&mut self) -> Result<(), dlq::Error> {
        let since = self.latch.first_read().await;
        let since = since.map_err(|source| dlq::Error::Peek {
            source_list: self.source.lists.source.clone(),
            source,
        })?;
        if let Some(since) = since {
            self.learnt.systemic.resume(since.min(now()));
        }
        Ok(())
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
        self.board.passed(&report, now());
        report
    }

    async fn drain(
        &mut self,
        report: &mut Report,
        cancel: &CancellationToken,
    ) -> Result<Ended, dlq::Error> {
        let began = Instant::now();
        let interval = self.settings.borrow().interval;
        let current = self.learnt.taken.filter(|(at, _)| at.elapsed() < interval);
        let (interval_began, taken) = current.unwrap_or((began, 0));
        self.learnt.taken = Some((interval_began, taken));
        let mut progress = Progress {
            remaining: u64::MAX,
            taken,
            conflicts: 0,
            finished: false,
            look: FIRST_LOOK,
        };
        loop {
            self.pulse.expect_within(self.config.patience);
            self.know_the_settings().await?;
            let settings = self.source.settings(&self.settings.borrow_and_update());
            self.pulse
                .expect_within(self.config.patience + settings.batch_pause);
            if !settings.enabled {
                self.show(Gate::Shut(Shut::Disabled), None, &settings);
                return Ok(Ended::Disabled);
            }
            // Its messages are in two lists meanwhile, and finishing it is no new work: it does not
            // wait for the gate.
            if !std::mem::replace(&mut progress.finished, true) {
                self.finish(report).await?;
            }
            let verdict = tokio::select! {
                () = cancel.cancelled() => return Ok(interrupted(report)),
                verdict = async { self.moogsoft.lock().await.check().await } => verdict,
            };
            self.health_metrics.checked(&verdict);
            if let Err(cause) = verdict.health {
                let blind = self.outlook.blind(Shut::Moogsoft);
                self.decide_upon(&blind, &settings);
                return Ok(Ended::Unhealthy(cause));
            }
            self.recall().await?;
            let (view, decision) = self.decide(&settings).await?;
            let pause = match decision.act {
                Act::Go(_) if progress.remaining == 0 => return Ok(done(report)),
                Act::Go(count) => {
                    let (gate, progress) = (decision.gate, &mut progress);
                    let batch = self.batch(&settings, view, (count, gate), progress, report);
                    if let Some(ended) = batch.await? {
                        return Ok(ended);
                    }
                    progress.look = FIRST_LOOK;
                    settings.batch_pause
                }
                Act::Wait(Waiting::Gate, _) => {
                    let Gate::Shut(why) = decision.gate else {
                        return Ok(Ended::Waiting);
                    };
                    return Ok(Ended::Held(why));
                }
                Act::Wait(Waiting::Rate, Some(until)) => self.outlook.until(until),
                Act::Wait(..) if began.elapsed() > settings.interval => {
                    return Ok(waiting(report));
                }
                Act::Wait(..) => {
                    let look = progress.look;
                    progress.look = (look * 2).min(SLOWEST_LOOK);
                    look
                }
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(interrupted(report)),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Looks at the pipeline and decides what to do now.
    async fn decide(&mut self, settings: &Settings) -> Result<(View, Decision), dlq::Error> {
        let first = self.look_and_decide(settings).await?;
        if !matches!(first.1.act, Act::Wait(Waiting::Room, _)) {
            return Ok(first);
        }
        // More room may have come since the last look.
        self.outlook.measure_again();
        self.look_and_decide(settings).await
    }

    async fn look_and_decide(
        &mut self,
        settings: &Settings,
    ) -> Result<(View, Decision), dlq::Error> {
        let view = self.outlook.view(self.config.stamp).await;
        let view = view.map_err(|source| dlq::Error::Look {
            target: self.source.lists.target.clone(),
            source,
        })?;
        self.metrics.bounced(view.came_back.len());
        let decision = self.decide_upon(&view, settings);
        Ok((view, decision))
    }

    fn decide_upon(&mut self, view: &View, settings: &Settings) -> Decision {
        let memory = self
            .learnt
            .pace
            .take()
            .unwrap_or_else(|| Memory::new(now()));
        let (memory, decision) = pace::decide(memory, view, &settings.pace());
        self.learnt.pace = Some(memory);
        self.metrics.waiting(match decision.act {
            Act::Wait(what, _) => Some(what),
            Act::Go(_) => None,
        });
        // Whether it is still on shows in the next batch.
        let systemic = self.learnt.systemic.is_on() && settings.poison_guard;
        if !(systemic && matches!(decision.act, Act::Go(_))) {
            self.show(decision.gate, Some(view), settings);
        }
        decision
    }

    /// Moves one batch of at most so many messages. Returns how the pass ended, if it did.
    async fn batch(
        &mut self,
        settings: &Settings,
        mut view: View,
        (count, gate): (u64, Gate),
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<Option<Ended>, dlq::Error> {
        self.queue.catch_up().await?;
        self.finish(report).await?;
        let pace = settings.pace();
        let quota = match (pace.adaptive, settings.batches_per_cycle) {
            (true, _) | (_, 0) => u64::MAX,
            (_, batches) => batches.saturating_mul(settings.batch_size),
        };
        let count = count.min(quota - progress.taken.min(quota));
        if count == 0 {
            return Ok(Some(waiting(report)));
        }
        let rules = self.rules(settings);
        view.second = now();
        let limits = self.limits(count.min(progress.remaining));
        let (mut plan, depth) = self.peek(limits, &rules, view.second).await?;
        progress.remaining = progress.remaining.min(depth);
        match self.first_too_soon(&plan, depth, &view, settings) {
            Some(0) => return Ok(Some(waiting(report))),
            Some(sooner) => {
                let limits = Limits {
                    entries: sooner,
                    ..limits
                };
                plan = self.peek(limits, &rules, view.second).await?.0;
            }
            None => {}
        }
        let size = plan.transfers.len() as u64;
        let was_on = self.learnt.systemic.is_on();
        let used_up = self.used_up_together(&plan, settings);
        let systemic = &mut self.learnt.systemic;
        let admitted = if size == 0 {
            systemic.switch_off();
            true
        } else {
            systemic.admits(size, &used_up, view.second, settings.poison_max_ratio)
        };
        self.latch.keep(self.learnt.systemic.since()).await;
        if !admitted {
            self.show(Gate::Shut(Shut::Systemic), Some(&view), settings);
            return Ok(Some(Ended::Held(Shut::Systemic)));
        }
        if was_on {
            self.show(gate, Some(&view), settings);
        }
        if size == 0 {
            return Ok(Some(done(report)));
        }
        let counts = if count < settings.batch_size {
            size
        } else {
            settings.batch_size
        };
        let committed = self.commit(&plan, pace.target_max_depth).await;
        if committed.is_err() {
            // It may have moved, and then it may come back.
            self.learn(&view, plan.count(Disposition::Replay), &plan, settings);
        }
        match committed? {
            Committed::Moved { replayed, dead } => {
                self.count(&plan);
                self.learn(&view, replayed, &plan, settings);
                self.learnt.systemic.moved(size, &used_up, view.second);
                report.replayed += replayed;
                report.dead += dead;
                progress.remaining = progress.remaining.saturating_sub(size);
                progress.conflicts = 0;
                self.learnt.easing = self.learnt.easing.saturating_sub(1);
                self.replicated().await?;
            }
            Committed::Conflict => {
                self.metrics.failed(CONFLICT);
                progress.conflicts += 1;
            }
            // Others have filled it since it was looked at.
            Committed::Full => {
                self.outlook.measure_again();
                return Ok(None);
            }
        }
        report.batches += 1;
        progress.taken += counts;
        if let Some((_, taken)) = &mut self.learnt.taken {
            *taken = progress.taken;
        }
        let last = progress.remaining == 0 || progress.taken >= quota;
        if progress.conflicts == MAX_CONFLICTS || (progress.conflicts > 0 && last) {
            return Ok(Some(Ended::Conflict));
        }
        // In the adaptive pace the evidence is waited for.
        Ok((last && !pace.adaptive).then_some(Ended::Drained))
    }

    async fn peek(
        &mut self,
        limits: Limits,
        rules: &Rules,
        now: i64,
    ) -> Result<(Plan, u64), dlq::Error> {
        let mut plan = Plan::default();
        let planning = |entries: Vec<Entry>| {
            let seen = cfg!(debug_assertions).then(|| entries.clone());
            let part = plan::plan(entries, rules, now);
            debug_assert!(seen.is_none_or(|entries| conserves(&entries, &part)));
            plan.append(part);
        };
        let depth = self.queue.peek(limits, planning).await?;
        Ok((plan, depth))
    }

    /// The place of the first message that may not be replayed again yet.
    fn first_too_soon(
        &self,
        plan: &Plan,
        depth: u64,
        view: &View,
        settings: &Settings,
    ) -> Option<u64> {
        let memory = self.learnt.pace.as_ref()?;
        let first = memory.first_too_soon(&plan.again, depth, view.second, &settings.pace());
        first.map(|place| place as u64)
    }

    /// When those of a batch were replayed last that are due to be parked for it, and did not fail
    /// alone: what kept failing while others passed is poison indeed.
    fn used_up_together(&self, plan: &Plan, settings: &Settings) -> Vec<i64> {
        // With no retries at all everything is meant to be parked.
        if !settings.poison_guard || settings.max_poison_retries == 0 {
            return vec![];
        }
        let memory = self.learnt.pace.as_ref();
        let alone = |at: i64| memory.is_some_and(|memory| memory.failed_alone(at));
        let used_up = plan.used_up.iter().copied();
        used_up.filter(|at| !alone(*at)).collect()
    }

    /// Takes note of replays.
    fn learn(&mut self, view: &View, replayed: u64, plan: &Plan, settings: &Settings) {
        self.outlook.moved(replayed);
        let again: Vec<i64> = plan.again.iter().map(|again| again.at).collect();
        let memory = self.learnt.pace.take();
        self.learnt.pace =
            memory.map(|memory| memory.moved(view, replayed, &again, &settings.pace()));
    }

    async fn commit(&mut self, plan: &Plan, ceiling: u64) -> Result<Committed, dlq::Error> {
        let began = Instant::now();
        let committed = self.queue.commit_below(&plan.transfers, ceiling).await?;
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

    fn limits(&self, count: u64) -> Limits {
        Limits {
            entries: (count >> self.learnt.easing).max(1),
            bytes: self.config.batch_max_bytes >> self.learnt.easing,
        }
    }

    fn rules(&self, settings: &Settings) -> Rules {
        Rules {
            max_poison_retries: settings.max_poison_retries,
            stamp: self.config.stamp,
            required_fields: self.source.required_fields.clone(),
            fields: self.source.fields.clone(),
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

/// Unix seconds.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn done(report: &Report) -> Ended {
    if report.moved() > 0 {
        Ended::Drained
    } else {
        Ended::Empty
    }
}

fn waiting(report: &Report) -> Ended {
    if report.moved() > 0 {
        Ended::Drained
    } else {
        Ended::Waiting
    }
}

fn interrupted(report: &Report) -> Ended {
    if report.moved() > 0 {
        Ended::Drained
    } else {
        Ended::Interrupted
    }
}
