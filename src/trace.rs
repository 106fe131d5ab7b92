//! Spans: what a collector of traces is told of the drains.
//!
//! While tracing is off nothing of it is built. A span says how many and how large, and which traces
//! the messages belong to, and nothing else of what is in them. Nobody waits for the collector: a
//! span that has ended is put into a queue with an end ([`export`]), or dropped.

pub mod export;
pub mod parent;
mod wire;

use std::time::Duration;

use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanLimits};
use secrecy::SecretString;
use url::Url;

use crate::metrics::SpanMetrics;
use export::{Export, Outlet};
use parent::{MOST, Parents, TraceParent};

/// Where traces go, and who we are there.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// What spans are posted to.
    pub endpoint: Url,
    /// Sent with them.
    pub headers: Vec<(String, SecretString)>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// How many of all traces are told, from 0 to 1.
    pub share: f64,
    /// Who tells them: attributes of the resource.
    pub resource: Vec<(String, String)>,
}

/// Makes spans; or nothing, while tracing is off.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<SdkTracer>);

/// What makes spans, and what sends them.
///
/// # Errors
/// When the system's certificate store cannot be used.
pub fn set_up(
    config: &TraceConfig,
    metrics: SpanMetrics,
) -> Result<(Tracer, Export), reqwest::Error> {
    let attributes = config.resource.iter().cloned();
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes.map(|(name, value)| KeyValue::new(name, value)))
        .build();
    let (outlet, export) = export::pair(config.clone(), &resource, metrics)?;
    Ok((Tracer(Some(tracer(config.share, resource, outlet))), export))
}

/// All that the SDK would otherwise take from the environment is set.
fn tracer(share: f64, resource: Resource, outlet: Outlet) -> SdkTracer {
    let most = u32::try_from(MOST).unwrap_or(u32::MAX);
    let limits = SpanLimits {
        max_links_per_span: most,
        max_events_per_span: most,
        max_attributes_per_span: most,
        max_attributes_per_event: most,
        max_attributes_per_link: most,
    };
    let provider = SdkTracerProvider::builder()
        // By the trace's id, so that the spans of a trace are told all or none.
        .with_sampler(Sampler::TraceIdRatioBased(share))
        .with_span_limits(limits)
        .with_resource(resource)
        .with_span_processor(outlet)
        .build();
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    provider.tracer_with_scope(scope)
}

impl Tracer {
    /// Whether it makes any.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span of our own work, within the one around us.
    #[must_use]
    pub fn begin(&self, name: &'static str) -> Span {
        self.begin_as(SpanKind::Internal, name)
    }

    /// Begins a span in which another is asked, within the one around us.
    #[must_use]
    pub fn ask(&self, name: &'static str) -> Span {
        self.begin_as(SpanKind::Client, name)
    }

    fn begin_as(&self, kind: SpanKind, name: &'static str) -> Span {
        Span(self.0.as_ref().map(|tracer| {
            let around = Context::current();
            let span = tracer.span_builder(name).with_kind(kind);
            let span = span.start_with_context(tracer, &around);
            around.with_span(span)
        }))
    }
}

/// A span, which ends when it is dropped; or nothing, while tracing is off.
#[derive(Debug)]
pub struct Span(Option<Context>);

impl Span {
    /// Does something within the span: what begins there is its child, and log lines name it.
    pub async fn around<T>(&self, body: impl Future<Output = T>) -> T {
        match &self.0 {
            Some(context) => body.with_context(context.clone()).await,
            None => body.await,
        }
    }

    /// Whether it is worth finding out what to say.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Says something of it.
    pub fn say(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// Says a number of it.
    pub fn count(&self, name: &'static str, count: u64) {
        self.say(name, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// It did not do what it was for.
    pub fn fail(&self, why: &'static str) {
        if let Some(context) = &self.0 {
            context
                .span()
                .set_attribute(KeyValue::new("error.type", why));
            context.span().set_status(Status::error(why));
        }
    }

    /// Names the traces that messages belong to.
    pub fn link(&self, parents: &Parents) {
        let Some(context) = &self.0 else { return };
        let span = context.span();
        for parent in &parents.known {
            span.add_link(remote(parent), vec![]);
        }
        // There is no more room, so that these are only counted.
        for _ in 0..parents.more {
            span.add_link(SpanContext::NONE, vec![]);
        }
    }

    /// The header that tells another server which span it is asked in.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?;
        let span = context.span();
        let span = span.span_context();
        let flags = span.trace_flags() & TraceFlags::SAMPLED;
        Some(format!(
            "00-{}-{}-{flags:02x}",
            span.trace_id(),
            span.span_id()
        ))
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// The ids of the trace and the span around us, if there is one.
#[must_use]
pub fn here() -> Option<(String, String)> {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        let ids = || (span.trace_id().to_string(), span.span_id().to_string());
        span.is_valid().then(ids)
    })
}

fn remote(parent: &TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from(parent.trace),
        SpanId::from(parent.span),
        TraceFlags::new(parent.flags) & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    )
}
