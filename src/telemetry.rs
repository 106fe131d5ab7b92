//! Logs: human lines, or the contract's JSON. Never a payload, never a secret.

use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::trace;

/// How and what to log.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// In tracing's filter syntax.
    pub filter: String,
    /// One JSON object a line.
    pub json: bool,
    /// `service` of JSON lines.
    pub service: String,
    /// `version` of JSON lines.
    pub version: String,
    /// `pod_name` of JSON lines.
    pub instance: String,
}

/// Lines kept for a reader of standard output that is slow; what comes on top is dropped, because
/// a daemon must not stand still for its log.
const MAX_WAITING_LINES: usize = 4_096;

/// How long the last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Starts logging to standard output for the whole process, panics included. The last lines are
/// written when the returned guard is dropped.
pub fn start(config: &TelemetryConfig) -> Logging {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_WAITING_LINES)
        .lossy(true)
        .finish(std::io::stdout());
    // The filter was parsed when the configuration was read.
    let filter = EnvFilter::new(&config.filter);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .log_internal_errors(false);
    if config.json {
        let format = JsonLines {
            service: config.service.clone(),
            version: config.version.clone(),
            instance: config.instance.clone(),
        };
        builder.event_format(format).init();
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let format = tracing_subscriber::fmt::format()
            .with_ansi(colour)
            .with_target(false);
        builder.event_format(PlainLines(format)).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let what = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(place, what, "a task panicked");
    }));
    Logging(Some(guard))
}

/// Logging as long as it lives; its end writes the last lines.
#[derive(Debug)]
pub struct Logging(Option<WorkerGuard>);

impl Drop for Logging {
    fn drop(&mut self) {
        let guard = self.0.take();
        let (done, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(guard);
            let _ = done.send(());
        });
        // A reader that has stopped reading must not hold up the end of the process.
        let _ = wait.recv_timeout(LAST_LINES);
    }
}

/// Lines for people, which end with the trace and the span that they belong to, if to any.
struct PlainLines(Format<Full>);

impl<S, N> FormatEvent<S, N> for PlainLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace_id, span_id)) = trace::here() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        writeln!(writer, "{line} trace_id={trace_id} span_id={span_id}")
    }
}

/// The contract's format: its fixed names beside the fields of the event.
struct JsonLines {
    service: String,
    version: String,
    instance: String,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        event.record(&mut Fields(&mut line));
        let fixed = [
            ("timestamp", json!(format!("{:.6}", jiff::Timestamp::now()))),
            ("level", json!(level(*event.metadata().level()))),
            ("service", json!(self.service)),
            ("version", json!(self.version)),
            ("pod_name", json!(self.instance)),
        ];
        line.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        if let Some((trace_id, span_id)) = trace::here() {
            line.insert("trace_id".into(), trace_id.into());
            line.insert("span_id".into(), span_id.into());
        }
        line.entry("message").or_insert(Value::Null);
        line.entry("correlation_id").or_insert(Value::Null);
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Python's names, which MUTT's log pipelines know.
fn level(level: Level) -> &'static str {
    match level {
        Level::TRACE | Level::DEBUG => "DEBUG",
        Level::INFO => "INFO",
        Level::WARN => "WARNING",
        Level::ERROR => "ERROR",
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}
