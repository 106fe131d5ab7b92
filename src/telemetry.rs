//! Logs: human lines, or the contract's JSON. Never a payload, never a secret.

use std::fmt;
use std::io::IsTerminal;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

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

/// Starts logging to standard output for the whole process, panics included.
pub fn start(config: &TelemetryConfig) {
    // The filter was parsed when the configuration was read.
    let filter = EnvFilter::new(&config.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    if config.json {
        let format = JsonLines {
            service: config.service.clone(),
            version: config.version.clone(),
            instance: config.instance.clone(),
        };
        builder.event_format(format).init();
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        builder.with_ansi(colour).with_target(false).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let what = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(place, what, "a task panicked");
    }));
}

/// The contract's format: fixed names first, then the fields of the event.
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
