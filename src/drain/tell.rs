//! What the operator is told of a drain: log lines, and what is left.

use std::time::Duration;

use tokio::time::Instant;

use super::gate::{Gate, Shut};
use super::pace::{Memory, View};
use super::plan::Plan;
use super::report::{Ended, Report};
use super::status::Seen;
use super::{Drain, estimate, now};
use crate::audit::{Kind, entry};
use crate::dlq::Disposition;
use crate::dlq::envelope::Envelope;
use crate::settings::Settings;

/// An oldest message above this size does not tell its age, in bytes.
const MAX_LOOK: u64 = 64 * 1024;

/// A long estimate is warned of again after an interval, but no sooner than this: a gate that is
/// shut ends a pass every few seconds.
const WARN_AGAIN: Duration = Duration::from_secs(60);

impl Drain {
    pub(super) fn count(&self, plan: &Plan) {
        for disposition in Disposition::OF_DRAIN {
            self.metrics.message(disposition, plan.count(disposition));
        }
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        for transfer in &plan.transfers {
            if let Disposition::Dead(reason) = transfer.disposition {
                let envelope = Envelope::read(&transfer.entry.0, &self.source.fields).ok();
                let correlation_id = envelope.and_then(|envelope| envelope.correlation_id());
                tracing::debug!(
                    correlation_id,
                    source = self.source.name,
                    reason = reason.as_str(),
                    bytes = transfer.entry.0.len(),
                    "message moved to the dead list"
                );
            }
        }
    }

    /// Reads depth and age of the oldest message, also where the gate was shut.
    pub(super) async fn look_at_what_is_left(&mut self, report: &mut Report) {
        match self.queue.look(MAX_LOOK).await {
            Ok(peeked) => {
                let oldest = peeked.entries.first();
                let envelope =
                    oldest.and_then(|entry| Envelope::read(&entry.0, &self.source.fields).ok());
                report.depth = Some(peeked.depth);
                report.oldest_since = envelope.and_then(|envelope| envelope.since());
            }
            Err(error) => tracing::debug!(error = %error.link(), "what is left cannot be read"),
        }
    }

    /// Shows the gate, and one line when it has changed.
    pub(super) fn show(&mut self, gate: Gate, view: Option<&View>, settings: &Settings) {
        let memory = self.learnt.pace.as_ref();
        let size = match (gate, memory) {
            (Gate::Shut(_), _) => 0,
            (_, Some(memory)) if settings.adaptive => memory.size(),
            _ => settings.batch_size,
        };
        let size = match view {
            Some(view) if view.half_open => size.min(settings.pace().canary_size),
            _ => size,
        };
        let bounces = view
            .zip(memory)
            .and_then(|(view, memory)| memory.bounce_ratio(view.second));
        let next_trial = memory
            .and_then(Memory::next_trial)
            .map(|due| self.outlook.until(due));
        self.metrics.gate(gate, size, bounces, next_trial);
        let seconds = next_trial.map(|wait| wait.as_secs());
        let seen = Seen {
            gate,
            batch_size: size,
            adaptive: settings.adaptive,
            bounce_ratio: bounces,
            next_trial: seconds,
            systemic: self.learnt.systemic.is_on() && settings.poison_guard,
        };
        self.board.show(seen, now());
        if self.learnt.gate == Some(gate) {
            return;
        }
        let before = self.learnt.gate.replace(gate);
        let source = &self.source.name;
        self.write_down(gate, size, bounces);
        let replays_per_second = self.metrics.replays_per_second();
        let (target, alerts) = view.map_or((0, 0), |view| (view.target_depth, view.alert_depth));
        match gate {
            // Told by the pass, with the cause.
            Gate::Shut(Shut::Moogsoft | Shut::Disabled) => {}
            Gate::Shut(Shut::Systemic) => tracing::error!(
                source,
                ratio = settings.poison_max_ratio,
                advice = "find out why they fail; then raise max_poison_retries to replay them, or set poison_guard_enabled to false to park them (SET mutt:config:... EX 600)",
                "gate shut: systemic, too many messages have used up their retries; none is parked, nothing is replayed"
            ),
            Gate::Shut(why) => tracing::warn!(
                source,
                reason = why.as_str(),
                replays_per_second,
                bounces,
                target_depth = target,
                alert_queue_depth = alerts,
                next_trial_seconds = seconds,
                "gate {gate}"
            ),
            Gate::Open | Gate::Probation if before.is_none() && !settings.adaptive => {}
            Gate::Open | Gate::Probation => tracing::info!(
                source,
                batch_size = size,
                replays_per_second,
                bounces,
                target_depth = target,
                alert_queue_depth = alerts,
                "gate {gate}"
            ),
        }
    }

    /// Has the audit say that the gate has changed.
    fn write_down(&self, gate: Gate, batch_size: u64, bounces: Option<f64>) {
        let why = match gate {
            Gate::Shut(why) => why.as_str(),
            Gate::Open | Gate::Probation => "",
        };
        let fields = [
            ("source", self.source.name.clone()),
            ("gate", gate.state().to_owned()),
            ("why", why.to_owned()),
            ("batch_size", batch_size.to_string()),
            (
                "bounces",
                bounces.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
            ),
            ("instance", self.config.instance.clone()),
        ];
        let said = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let stream = self.config.audit.as_ref();
        self.journal.tell(stream, entry(Kind::Gate, said));
    }

    /// One line per pass that moved something or changed the state, and what the operator must know.
    pub(super) fn tell(&self, report: &Report, trouble: &mut Trouble) {
        let source = &self.source.name;
        if report.moved() > 0 {
            tracing::info!(
                source,
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
                source,
                reason = %error.link().reason,
                error = %error.link(),
                advice = error.link().reason.advice(),
                "{error}"
            ),
            (Ended::Unhealthy(cause), _) if changed => tracing::warn!(
                source,
                %cause,
                depth = report.depth,
                "moogsoft is unhealthy, the queue is left alone"
            ),
            (Ended::Conflict, _) if changed => tracing::warn!(
                source,
                "the queue's tail changed before the commit: another worker or an operator is at work; nothing was written"
            ),
            (Ended::Disabled, _) if changed => {
                tracing::warn!(source, "remediation is switched off");
            }
            _ => tracing::debug!(source, outcome = %report.ended, "pass ended"),
        }
        trouble.follow(&report.ended, source);
        let settings = self.source.settings(&self.settings.borrow());
        let time = report
            .depth
            .and_then(|depth| estimate::time_to_drain(depth, &settings));
        self.metrics.estimate(time);
        let pause = settings.interval.max(WARN_AGAIN);
        let told = trouble.long_estimate;
        if let (Some(depth), Some(time)) = (report.depth, time)
            && let Some(warning) = estimate::warning(depth, time, &settings)
            && told.is_none_or(|told| told.elapsed() >= pause)
        {
            trouble.long_estimate = Some(Instant::now());
            tracing::warn!(source, "{warning}");
        }
    }
}

/// What is wrong at present, so that its end can be told even if something else came between.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    last: Option<Ended>,
    unhealthy: bool,
    failing: bool,
    disabled: bool,
    /// When a long estimate was last warned of.
    long_estimate: Option<Instant>,
}

impl Trouble {
    fn follow(&mut self, ended: &Ended, source: &str) {
        match ended {
            Ended::Unhealthy(_) => self.unhealthy = true,
            Ended::RedisError(_) => self.failing = true,
            Ended::Disabled => self.disabled = true,
            Ended::Drained | Ended::Empty | Ended::Conflict | Ended::Held(_) | Ended::Waiting => {
                let over = [
                    (&mut self.unhealthy, "moogsoft is healthy again"),
                    (&mut self.failing, "redis works again"),
                    (&mut self.disabled, "remediation is switched on again"),
                ];
                for (wrong, news) in over {
                    if std::mem::take(wrong) {
                        tracing::warn!(source, "{news}");
                    }
                }
            }
            Ended::Interrupted => {}
        }
        self.last = Some(ended.clone());
    }
}
