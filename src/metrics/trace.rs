//! Metrics of the traces.

use prometheus::IntCounterVec;

use super::Registrar;

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanResult {
    /// The collector has taken it.
    Sent,
    /// The collector has said that it does not take it.
    Refused,
    /// The collector could not be reached for too long, or has not answered.
    Failed,
    /// There was no room for it.
    Dropped,
}

impl SpanResult {
    const ALL: [Self; 4] = [Self::Sent, Self::Refused, Self::Failed, Self::Dropped];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Metrics of the traces.
#[derive(Clone, Debug)]
pub struct SpanMetrics {
    spans: IntCounterVec,
}

impl SpanMetrics {
    pub(super) fn new(new: &Registrar<'_>) -> prometheus::Result<Self> {
        let spans = new.counters(
            "mutt_remediation_spans_total",
            "Spans that have ended, by what became of them on their way to the collector",
            &["result"],
        )?;
        for result in SpanResult::ALL {
            spans.with_label_values(&[result.as_str()]);
        }
        Ok(Self { spans })
    }

    /// This became of so many.
    pub fn count(&self, result: SpanResult, count: u64) {
        self.spans
            .with_label_values(&[result.as_str()])
            .inc_by(count);
    }
}
