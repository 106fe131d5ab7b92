//! The drain: dead letters back to work, poison to its list, a batch at a time.
//!
//! A pass takes no input and repeats nothing; the next pass is the retry. It can be cancelled
//! between batches, never inside a commit.

mod batch;
pub mod classify;
pub mod estimate;
pub mod gate;
pub mod outlook;
pub mod pace;
pub mod plan;
pub mod report;
mod rest;
mod spans;
pub mod status;
pub mod stride;
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
use crate::dlq;
use crate::dlq::bell::Bell;
use crate::dlq::latch::Latch;
use crate::dlq::queue::Queue;
use crate::health::Moogsoft;
use crate::link::{self, Reason};
use crate::metrics::{HealthMetrics, SourceMetrics};
use crate::settings::Settings;
use crate::settings::watch::Knowledge;
use crate::trace::Tracer;
use gate::{Gate, Shut};
use outlook::Outlook;
use pace::{Act, Decision, Memory, View, Waiting};
use report::{Ended, Report};
use rest::Slept;
use status::Board;
use stride::Stride;
use systemic::Systemic;
use tell::Trouble;

/// How long a pass waits for the settings in Redis when Redis itself answers.
const SETTINGS_WAIT: Duration = Duration::from_secs(5);

/// After a failure to answer the next pass asks for less, by powers of two up to this one.
const MAX_EASING: u32 = 10;

/// While something is waited for it is looked at after these times.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const SLOWEST_LOOK: Duration = Duration::from_millis(250);

/// The part of the settings that cannot change while running, and is the same for all sources.
#[derive(Clone, Debug)]
pub struct DrainConfig {
    /// Bytes in a batch, at most.
    pub batch_max_bytes: u64,
    /// For how long a batch may keep Redis from other clients; 0 = as long as it takes.
    pub stall_max: Duration,
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
    /// Rings when something arrives, if the drain is to be woken for it.
    pub bell: Option<Bell>,
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
    /// Tells a collector of each pass.
    pub tracer: Tracer,
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
    /// How many messages keep Redis busy for how long.
    stride: Stride,
    /// When the interval began that the batches of a pass count for, and how many messages were
    /// taken in it: a pass that was held and comes again soon takes no more than what is left.
    taken: Option<(Instant, u64)>,
    /// An arrival has begun this pass, before its time.
    woken: bool,
}

impl Default for Learnt {
    fn default() -> Self {
        Self {
            pace: Some(Memory::new(now())),
            systemic: Systemic::default(),
            gate: None,
            easing: 0,
            stride: Stride::default(),
            taken: None,
            woken: false,
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
    /// What part of a whole batch the last one was, where it would have kept Redis for too long.
    part: f64,
    /// The last batch was begun, and nothing of it moved.
    in_vain: bool,
    /// Pauses that were too short to be made.
    owed: Duration,
}

impl Drain {
    /// Runs a pass now and then one an interval, or sooner where something has arrived, until
    /// cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        let mut trouble = Trouble::default();
        // When the last pass began that was not woken: an arrival does not put off the next.
        let mut regular = Instant::now();
        while !cancel.is_cancelled() {
            let began = Instant::now();
            if !self.learnt.woken {
                regular = began;
            }
            let span = self.tracer.begin("pass");
            let pass = self.pass_and_tell(began, &mut trouble, &cancel);
            let report = span.around(Box::pin(pass)).await;
            spans::passed(&span, &self.source.name, &report);
            drop(span);
            let sooner = if report.ended.is_failure() {
                Some(backoff.next_wait())
            } else {
                backoff.reset();
                self.held_for(&report.ended)
            };
            let slept = self.sleep(regular, sooner, &report.ended, &cancel).await;
            self.learnt.woken = match slept {
                Slept::Arrival => true,
                Slept::Sooner => self.learnt.woken,
                Slept::Due => false,
            };
        }
    }

    async fn pass_and_tell(
        &mut self,
        began: Instant,
        trouble: &mut Trouble,
        cancel: &CancellationToken,
    ) -> Report {
        let report = self.pass(began, cancel).await;
        if let Ended::RedisError(Reason::Timeout | Reason::Unreachable) = report.ended {
            self.learnt.easing = (self.learnt.easing + 2).min(MAX_EASING);
        }
        self.tell(&report, trouble);
        report
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
            let is = |wanted: bool| u64::from(wanted);
            self.board.moved(
                is(matches!(disposition, dlq::Disposition::Replay)),
                is(matches!(disposition, dlq::Disposition::Dead(_))),
            );
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

    /// One pass, which began just now: batch after batch until the settings, the gate or the queue
    /// end it.
    pub async fn pass(&mut self, began: Instant, cancel: &CancellationToken) -> Report {
        self.metrics.pass_began();
        let mut report = Report::new(Ended::Empty);
        report.ended = match self.drain(began, &mut report, cancel).await {
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
        began: Instant,
        report: &mut Report,
        cancel: &CancellationToken,
    ) -> Result<Ended, dlq::Error> {
        let interval = self.settings.borrow().interval;
        let (since, taken) = rest::taken_since(self.learnt.taken, began, interval);
        self.learnt.taken = Some((since, taken));
        let mut progress = Progress {
            remaining: u64::MAX,
            taken,
            conflicts: 0,
            finished: false,
            look: FIRST_LOOK,
            part: 1.0,
            in_vain: false,
            owed: Duration::ZERO,
        };
        loop {
            self.pulse.expect_within(self.config.patience);
            self.know_the_settings().await?;
            let settings = self.source.settings(&self.settings.borrow_and_update());
            self.pulse
                .expect_within(self.config.patience + settings.batch_pause);
            if !settings.enabled {
                self.shut(Shut::Disabled, &settings);
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
                self.shut(Shut::Moogsoft, &settings);
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
                    let pause = settings.batch_pause.mul_f64(progress.part);
                    if std::mem::take(&mut progress.in_vain) {
                        pause.max(FIRST_LOOK)
                    } else {
                        pause
                    }
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
                () = wait(pause, &mut progress.owed) => {}
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
        let systemic = self.learnt.systemic.is_on() && settings.poison_guard;
        match (decision.act, decision.gate) {
            // Whether it is still on shows in the next batch.
            (Act::Go(_), _) if systemic => {}
            (Act::Wait(..), Gate::Open | Gate::Probation) if systemic => {
                self.show(Gate::Shut(Shut::Systemic), Some(view), settings);
            }
            (_, gate) => self.show(gate, Some(view), settings),
        }
        decision
    }

    /// Shuts the gate, so that a canary is the first to go when it opens.
    fn shut(&mut self, why: Shut, settings: &Settings) -> Ended {
        let blind = self.outlook.blind(why);
        self.decide_upon(&blind, settings);
        Ended::Held(why)
    }
}

/// Unix seconds.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Waits that long. A timer counts whole milliseconds, and would make no pause at all one of up to a
/// millisecond; so shorter ones are made together, when they are as long as that.
async fn wait(pause: Duration, owed: &mut Duration) {
    *owed += pause;
    if *owed < Duration::from_millis(1) {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(std::mem::take(owed)).await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_pause_takes_no_time_and_short_ones_are_made_together() {
        // Within a millisecond, as a clock is nearly always.
        tokio::time::advance(Duration::from_micros(1_500)).await;
        let began = Instant::now();
        let mut owed = Duration::ZERO;
        for _ in 0..10 {
            wait(Duration::ZERO, &mut owed).await;
            wait(Duration::from_micros(99), &mut owed).await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        wait(Duration::from_micros(99), &mut owed).await;
        assert!(began.elapsed() >= Duration::from_millis(1));
        assert_eq!(owed, Duration::ZERO);
        wait(Duration::from_millis(100), &mut owed).await;
        assert!(began.elapsed() >= Duration::from_millis(101));
    }
}
