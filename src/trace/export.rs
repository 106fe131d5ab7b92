//! The way of spans to the collector: a queue with an end, and one who sends from it.
//!
//! Whoever ends a span puts it into the queue or, where there is no room, drops it. What is sent is
//! sent on a thread of its own, a batch at a time; a collector that is away, slow or full costs spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::TraceConfig;
use super::wire::{Collector, Failure, encode};
use crate::background::Backoff;
use crate::metrics::{SpanMetrics, SpanResult};

/// Spans that wait, at most: some MiB, if all of them have links.
const ROOM: usize = 2_048;

/// Spans that are sent together, at most.
const BATCH: usize = 512;

/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// How long a batch is tried again while others wait behind it.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Longest wait before the next try, whatever the collector asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long the last spans may take when the process ends: as long as open requests have.
const LAST: Duration = Duration::from_secs(1);

/// Where spans are put when they have ended.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: mpsc::Sender<SpanData>,
    metrics: SpanMetrics,
    dropped: Arc<AtomicU64>,
}

/// Sends what is put there; made by [`set_up`](super::set_up).
#[derive(Debug)]
pub struct Export {
    queue: mpsc::Receiver<SpanData>,
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    metrics: SpanMetrics,
    /// By the outlet, since this was told last.
    dropped: Arc<AtomicU64>,
    /// Spans of the batch that is being sent.
    in_hand: u64,
    backoff: Backoff,
    /// While something is wrong: the spans that were lost by it.
    lost: Option<u64>,
}

/// Both ends of the queue.
pub(super) fn pair(
    config: TraceConfig,
    resource: &Resource,
    metrics: SpanMetrics,
) -> Result<(Outlet, Export), reqwest::Error> {
    let (sender, queue) = mpsc::channel(ROOM);
    let dropped = Arc::new(AtomicU64::new(0));
    let outlet = Outlet {
        queue: sender,
        metrics: metrics.clone(),
        dropped: dropped.clone(),
    };
    let export = Export {
        queue,
        collector: Collector::new(config)?,
        resource: resource.into(),
        metrics,
        dropped,
        in_hand: 0,
        backoff: Backoff::new(Duration::from_secs(1), LONGEST_WAIT),
        lost: None,
    };
    Ok((outlet, export))
}

impl SpanProcessor for Outlet {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.queue.try_send(span).is_err() {
            self.metrics.count(SpanResult::Dropped, 1);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// [`Export::run`] sends what is left.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Export {
    /// Sends until cancelled, and then what is left, for a moment.
    pub async fn run(mut self, closing: CancellationToken) {
        tracing::info!(collector = %self.collector, "traces are sent");
        let time_is_up = async {
            closing.cancelled().await;
            sleep(LAST).await;
        };
        tokio::select! {
            biased;
            () = self.work(&closing) => {}
            () = time_is_up => {}
        }
        let lost = self.in_hand + self.queue.len() as u64;
        if lost > 0 {
            self.metrics.count(SpanResult::Failed, lost);
            tracing::warn!(
                collector = %self.collector,
                lost,
                "the process ends before all traces could be sent"
            );
        }
    }

    async fn work(&mut self, closing: &CancellationToken) {
        loop {
            let batch = self.gather(closing).await;
            if batch.is_empty() {
                // Nothing is left, and nothing will come.
                return closing.cancelled().await;
            }
            self.deliver(batch, closing).await;
        }
    }

    /// The next batch; empty when nothing will come anymore.
    async fn gather(&mut self, closing: &CancellationToken) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let queue = &mut self.queue;
        let fill = async {
            queue.recv_many(&mut batch, BATCH).await;
            let more = async {
                while batch.len() < BATCH {
                    let room = BATCH - batch.len();
                    if queue.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            let _ = timeout(GATHER, more).await;
        };
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            () = fill => return batch,
        }
        while batch.len() < BATCH
            && let Ok(span) = self.queue.try_recv()
        {
            batch.push(span);
        }
        batch
    }

    /// Sends a batch, again and again if it may work later, until others have waited too long.
    async fn deliver(&mut self, batch: Vec<SpanData>, closing: &CancellationToken) {
        let began = Instant::now();
        let spans = batch.len() as u64;
        let body = encode(batch, &self.resource);
        self.in_hand = spans;
        loop {
            let failure = match self.collector.post(body.clone()).await {
                Ok(()) => {
                    self.metrics.count(SpanResult::Sent, spans);
                    self.backoff.reset();
                    self.tell(None, 0);
                    break;
                }
                Err(failure) => failure,
            };
            let wait = self.backoff.next_wait().max(failure.after);
            let wait = wait.min(LONGEST_WAIT);
            let last = closing.is_cancelled() || began.elapsed() + wait > GIVE_UP;
            if let Some(refused) = failure.refused {
                let refused = refused.min(spans);
                self.metrics.count(SpanResult::Refused, refused);
                self.metrics.count(SpanResult::Sent, spans - refused);
                self.tell(Some(&failure), refused);
                break;
            }
            if last {
                self.metrics.count(SpanResult::Failed, spans);
                self.tell(Some(&failure), spans);
                break;
            }
            self.tell(Some(&failure), 0);
            tokio::select! {
                () = closing.cancelled() => {}
                () = sleep(wait) => {}
            }
        }
        self.in_hand = 0;
    }

    /// One line when it begins to go wrong, and one when that is over.
    fn tell(&mut self, failure: Option<&Failure>, lost: u64) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let wrong = failure.is_some() || dropped > 0;
        let collector = &self.collector;
        match (self.lost.take(), failure) {
            (None, Some(failure)) => tracing::warn!(
                %collector,
                error = %failure,
                "traces cannot be sent; nothing else waits for it"
            ),
            (None, None) if wrong => tracing::warn!(
                %collector,
                "traces are lost, because the collector takes them too slowly"
            ),
            (Some(before), None) if !wrong => {
                tracing::warn!(%collector, lost = before, "traces are sent again");
            }
            (before, _) if wrong => {
                self.lost = Some(before.unwrap_or(0) + lost + dropped);
                return;
            }
            _ => {}
        }
        self.lost = wrong.then_some(lost + dropped);
    }
}
