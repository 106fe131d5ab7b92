//! Metrics of the backpressure guard.

use prometheus::{IntCounterVec, IntGauge};

use super::Registrar;
use crate::guard::level::Level;
use crate::guard::rules::Mode;
use crate::link;

/// Metrics of the backpressure guard.
#[derive(Clone, Debug)]
pub struct GuardMetrics {
    depth: IntGauge,
    shed: IntCounterVec,
    level: IntGauge,
    failed: IntCounterVec,
    orphaned_lists: IntGauge,
    orphaned_messages: IntGauge,
}

impl GuardMetrics {
    pub(super) fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            depth: new.int_gauge(
                "mutt_alerter_queue_depth",
                "Messages in the alert queue, as the guard sees it; 0 while the guard is off",
            )?,
            shed: new.counters(
                "mutt_alerter_shed_events_total",
                "Messages that the guard moved to the alerter's dead letters (dlq), and times that it had replays wait (defer)",
                &["mode"],
            )?,
            level: new.int_gauge(
                "mutt_remediation_guard_level",
                "The alert queue as the guard sees it: 0 calm, 1 above the warn threshold, 2 shedding",
            )?,
            failed: new.counters(
                "mutt_remediation_guard_fail_total",
                "Steps of the guard that failed, by reason",
                &["reason"],
            )?,
            orphaned_lists: new.int_gauge(
                "mutt_alerter_orphaned_lists",
                "Processing lists with messages whose alerter has no heartbeat",
            )?,
            orphaned_messages: new.int_gauge(
                "mutt_alerter_orphaned_messages",
                "Messages in processing lists whose alerter has no heartbeat",
            )?,
        };
        for mode in Mode::ALL {
            metrics.shed(mode, 0);
        }
        for reason in link::Reason::ALL {
            metrics.failed.with_label_values(&[reason.as_str()]);
        }
        Ok(metrics)
    }

    /// The alert queue was looked at.
    pub fn seen(&self, depth: u64, level: Level) {
        self.depth.set(clamped(depth));
        self.level.set(match level {
            Level::Calm => 0,
            Level::Warned => 1,
            Level::Shedding => 2,
        });
    }

    /// So many messages were moved, or replays were held so many times.
    pub fn shed(&self, mode: Mode, count: u64) {
        self.shed.with_label_values(&[mode.as_str()]).inc_by(count);
    }

    /// A step failed.
    pub fn failed(&self, reason: link::Reason) {
        self.failed.with_label_values(&[reason.as_str()]).inc();
    }

    /// What absent alerters have left.
    pub fn orphans(&self, lists: usize, messages: u64) {
        self.orphaned_lists.set(clamped(lists as u64));
        self.orphaned_messages.set(clamped(messages));
    }
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
