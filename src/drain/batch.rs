//! One batch: peek, plan, ask whether it may go, commit, and take note of it.

use tokio::time::Instant;

use super::classify::Rules;
use super::gate::{Gate, Shut};
use super::pace::{View, again};
use super::plan::{self, Plan, conserves};
use super::report::{Ended, Report};
use super::rest::quota;
use super::{Drain, Progress, done, now, spans, waiting};
use crate::dlq::redis::Limits;
use crate::dlq::{self, Committed, Disposition, Entry};
use crate::metrics::CONFLICT;
use crate::settings::Settings;

/// Batches in a row that may meet a changed tail before the pass gives up: somebody else is at
/// work on the same end.
const MAX_CONFLICTS: u32 = 3;

impl Drain {
    /// Moves one batch of at most so many messages. Returns how the pass ended, if it did.
    pub(super) async fn batch(
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
        let quota = quota(settings);
        let count = count.min(quota - progress.taken.min(quota));
        if count == 0 {
            return Ok(Some(waiting(report)));
        }
        // Smaller batches have shorter pauses between them, or the pace would be another.
        let uncut = count;
        let count = count.min(self.stride());
        progress.part = part(count, uncut);
        let rules = self.rules(settings);
        view.second = now();
        let had_stopped = self.learnt.systemic.is_on();
        if had_stopped {
            if !self.may_park_again(&rules, &view, settings).await? {
                return Ok(Some(self.shut(Shut::Systemic, settings)));
            }
            self.show(gate, Some(&view), settings);
        }
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
        let used_up = self.used_up_together(&plan, settings);
        if !(had_stopped || self.admits(size, &used_up, &view, settings).await) {
            return Ok(Some(self.shut(Shut::Systemic, settings)));
        }
        if size == 0 {
            return Ok(Some(done(report)));
        }
        // One that its bytes have cut short counts as a batch, but not one that there was no more of.
        let counts = if size < count && size < depth {
            settings.batch_size
        } else {
            size
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
                self.kept_busy(size);
                report.replayed += replayed;
                report.dead += dead;
                self.board.moved(replayed, dead);
                progress.remaining = progress.remaining.saturating_sub(size);
                progress.conflicts = 0;
                self.learnt.easing = self.learnt.easing.saturating_sub(1);
                self.replicated().await?;
            }
            Committed::Conflict => {
                self.metrics.failed(CONFLICT);
                progress.conflicts += 1;
                progress.in_vain = true;
            }
            // Others have filled it since it was looked at.
            Committed::Full => {
                self.outlook.measure_again();
                progress.in_vain = true;
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

    /// Whether parking, which has stopped, is right again. A whole batch tells, because the one that
    /// is to go is a canary in the adaptive pace.
    async fn may_park_again(
        &mut self,
        rules: &Rules,
        view: &View,
        settings: &Settings,
    ) -> Result<bool, dlq::Error> {
        let limits = self.limits(settings.batch_size);
        let (plan, _) = self.peek(limits, rules, view.second).await?;
        let used_up = self.used_up_together(&plan, settings);
        let size = plan.transfers.len() as u64;
        Ok(self.admits(size, &used_up, view, settings).await)
    }

    /// Whether parking is still right, and a note of it.
    async fn admits(
        &mut self,
        size: u64,
        used_up: &[i64],
        view: &View,
        settings: &Settings,
    ) -> bool {
        let systemic = &mut self.learnt.systemic;
        let admitted = if size == 0 {
            systemic.switch_off();
            true
        } else {
            systemic.admits(size, used_up, view.second, settings.poison_max_ratio)
        };
        self.latch.keep(systemic.since()).await;
        admitted
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
        let span = self.tracer.ask("peek");
        let depth = span.around(self.queue.peek(limits, planning)).await;
        spans::peeked(&span, &plan, &depth);
        drop(span);
        Ok((plan, depth?))
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
        let pace = settings.pace();
        let on_trial = memory.first_too_soon(&plan.again, depth, view.second, &pace);
        // An arrival is no reason to replay again what has come back: that waits as it would have.
        let spaced = || again::first_within(&plan.again, view.second, settings.interval);
        let spaced = self.learnt.woken.then(spaced).flatten();
        let first = on_trial.into_iter().chain(spaced).min();
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
        let span = self.tracer.ask("commit");
        let commit = self.queue.commit_below(&plan.transfers, ceiling);
        let committed = span.around(commit).await;
        spans::committed(&span, plan, &committed);
        drop(span);
        let committed = committed?;
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

    /// How many messages may go without keeping Redis from others for too long, as far as is known.
    fn stride(&self) -> u64 {
        let unbounded = self.config.stall_max.is_zero() || !self.queue.tells_time();
        if unbounded {
            u64::MAX
        } else {
            self.learnt.stride.limit()
        }
    }

    /// Takes note of how long the last batch kept Redis from others.
    fn kept_busy(&mut self, size: u64) {
        let Some(busy) = self.queue.busy() else {
            return;
        };
        self.metrics.stalled(busy);
        let stride = std::mem::take(&mut self.learnt.stride);
        self.learnt.stride = stride.moved(size, busy, self.config.stall_max);
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
            traced: self.tracer.is_on(),
        }
    }
}

/// What part of a batch goes.
#[expect(clippy::cast_precision_loss, reason = "a few thousand messages")]
fn part(count: u64, uncut: u64) -> f64 {
    count as f64 / uncut.max(1) as f64
}
