//! Metrics of the notifications.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::Registrar;
use crate::notify::event::Event;
use crate::notify::receiver::Kind;

/// What became of a note, for one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteResult {
    /// The receiver has taken it.
    Sent,
    /// The receiver has refused it, or could not be reached for too long.
    Failed,
    /// There was no room for it.
    Dropped,
}

impl NoteResult {
    const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Dropped];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Metrics of the notifications.
#[derive(Clone, Debug)]
pub struct NotifyMetrics {
    notes: IntCounterVec,
    waiting: IntGaugeVec,
}

impl NotifyMetrics {
    pub(super) fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            notes: new.counters(
                "mutt_remediation_notifications_total",
                "Events told, by kind of receiver, event and result",
                &["receiver", "event", "result"],
            )?,
            waiting: new.int_gauges(
                "mutt_remediation_notifications_waiting",
                "Events that wait to be told, by kind of receiver",
                &["receiver"],
            )?,
        };
        for kind in Kind::ALL {
            metrics.waiting.with_label_values(&[kind.as_str()]);
            for event in Event::ALL {
                for result in NoteResult::ALL {
                    let labels = [kind.as_str(), event.as_str(), result.as_str()];
                    metrics.notes.with_label_values(&labels);
                }
            }
        }
        Ok(metrics)
    }

    /// This became of one.
    pub fn count(&self, kind: Kind, event: Event, result: NoteResult) {
        let labels = [kind.as_str(), event.as_str(), result.as_str()];
        self.notes.with_label_values(&labels).inc();
    }

    /// So many waited for a receiver, and now so many.
    pub fn waiting(&self, kind: Kind, before: usize, now: usize) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let waiting = self.waiting.with_label_values(&[kind.as_str()]);
        waiting.add(number(now) - number(before));
    }
}
