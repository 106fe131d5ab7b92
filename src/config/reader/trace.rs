//! Where traces go, by the variables that OpenTelemetry has for it.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::{Reader, is_of_kubernetes, misspelt};
use crate::config::sections::TraceVars;
use crate::config::value::{Value, redacted};
use crate::telemetry::TelemetryConfig;
use crate::trace::TraceConfig;

const ENABLED: &str = "OTEL_ENABLED";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SHARE: &str = "OTEL_TRACES_SAMPLER_ARG";

/// What other variables of OpenTelemetry may say without being contradicted.
const AS_IT_IS: [(&str, &[&str]); 9] = [
    ("OTEL_SDK_DISABLED", &["false"]),
    ("OTEL_TRACES_EXPORTER", &["otlp"]),
    ("OTEL_METRICS_EXPORTER", &["none"]),
    ("OTEL_LOGS_EXPORTER", &["none"]),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", &["none"]),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", &["none"]),
    (
        "OTEL_PROPAGATORS",
        &["tracecontext", "tracecontext,baggage"],
    ),
];

/// Names with values, separated by commas, as in a `baggage` header.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Attributes(Vec<(String, String)>);

impl Value for Attributes {
    fn expected() -> String {
        "name=value pairs separated by commas; in values % and two digits stand for a byte".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(pair).collect::<Option<_>>().map(Self)
    }
}

fn pair(part: &str) -> Option<(String, String)> {
    let (name, value) = part.split_once('=')?;
    let name = name.trim();
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let printable = |text: &str| !text.chars().any(char::is_control);
    (!name.is_empty() && printable(name) && printable(&value))
        .then(|| (name.to_owned(), value.into_owned()))
}

/// Headers of HTTP, in the same form. They are there to hold a secret.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Headers(Vec<(String, SecretString)>);

impl Value for Headers {
    const SECRET: bool = true;

    fn expected() -> String {
        format!("{}, which make headers of HTTP", Attributes::expected())
    }

    fn parse(text: &str) -> Option<Self> {
        let fits = |name: &str, value: &str| {
            let in_name =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            name.bytes().all(in_name) && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        };
        let Attributes(pairs) = Attributes::parse(text)?;
        let headers = pairs.into_iter();
        headers
            .map(|(name, value)| fits(&name, &value).then(|| (name, value.into())))
            .collect::<Option<_>>()
            .map(Self)
    }
}

/// Which traces are told. A pass is nobody's child, so that asking its parent makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Sampler {
    All,
    None,
    Share,
}

impl Value for Sampler {
    fn expected() -> String {
        "always_on, always_off or traceidratio, each also with parentbased_ before it".into()
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("parentbased_").unwrap_or(text) {
            "always_on" => Some(Self::All),
            "always_off" => Some(Self::None),
            "traceidratio" => Some(Self::Share),
            _ => None,
        }
    }
}

impl Reader {
    /// Where traces go, if they are wanted.
    pub(in crate::config) fn trace(
        &mut self,
        vars: TraceVars,
        telemetry: &TelemetryConfig,
    ) -> Option<TraceConfig> {
        let enabled = self.take(ENABLED, vars.otel_enabled).0;
        let base = self.take(ENDPOINT, vars.otel_exporter_otlp_endpoint).0;
        self.shown.insert(ENDPOINT, redacted(&base));
        let exact = self.optional(OF_TRACES, vars.otel_exporter_otlp_traces_endpoint);
        if let Some(exact) = &exact {
            self.shown.insert(OF_TRACES, redacted(&exact.0));
        }
        let headers = vars.otel_exporter_otlp_headers;
        let headers = self.optional("OTEL_EXPORTER_OTLP_HEADERS", headers);
        let timeout = vars.otel_exporter_otlp_timeout;
        let timeout = self.take("OTEL_EXPORTER_OTLP_TIMEOUT", timeout).0;
        let attributes = vars.otel_resource_attributes;
        let attributes = self.optional("OTEL_RESOURCE_ATTRIBUTES", attributes);
        let sampler = self.take(SAMPLER, vars.otel_traces_sampler);
        let share = self.optional(SHARE, vars.otel_traces_sampler_arg);
        self.others_of_opentelemetry(enabled);
        if !enabled {
            return None;
        }
        if share.is_some() && sampler != Sampler::Share {
            self.warn(&format!(
                "{SHARE} has no effect: {SAMPLER} is not traceidratio or parentbased_traceidratio"
            ));
        }
        if share.is_none() && sampler == Sampler::Share {
            self.warn(&format!(
                "{SHARE} is not set: all traces are sent, as with 1"
            ));
        }
        let endpoint = match exact {
            Some(exact) => {
                if self.differs(ENDPOINT) {
                    self.warn(&format!("{ENDPOINT} has no effect: {OF_TRACES} wins"));
                }
                exact.0
            }
            None => below(base),
        };
        if endpoint.port() == Some(4317) {
            self.warn(
                "the collector's port is 4317, where collectors speak gRPC; traces are sent over HTTP, for which they use 4318",
            );
        }
        Some(TraceConfig {
            endpoint,
            headers: headers.unwrap_or_default().0,
            timeout: Duration::from_millis(timeout),
            share: match sampler {
                Sampler::All => 1.0,
                Sampler::None => 0.0,
                Sampler::Share => share.map_or(1.0, |share| share.0),
            },
            resource: self.resource(telemetry, attributes.unwrap_or_default()),
        })
    }

    /// Who we are: what is said by a variable of its own wins over an attribute, and that over a
    /// default.
    fn resource(
        &self,
        telemetry: &TelemetryConfig,
        Attributes(attributes): Attributes,
    ) -> Vec<(String, String)> {
        let ours = [
            ("service.name", "OTEL_SERVICE_NAME", &telemetry.service),
            ("service.version", "SERVICE_VERSION", &telemetry.version),
            ("service.instance.id", "POD_NAME", &telemetry.instance),
        ];
        let mut all: BTreeMap<_, _> = attributes.into_iter().collect();
        for (name, variable, value) in ours {
            if self.set.contains_key(variable) || !all.contains_key(name) {
                all.insert(name.to_owned(), value.clone());
            }
        }
        all.into_iter().collect()
    }

    /// Whoever switches tracing on learns what of the rest has no effect; values may be secrets.
    fn others_of_opentelemetry(&mut self, enabled: bool) {
        for (name, text) in std::mem::take(&mut self.of_opentelemetry) {
            let said = AS_IT_IS.iter().find(|(known, _)| *known == name);
            let fits = said.is_some_and(|(_, fine)| {
                fine.iter()
                    .any(|fine| text.trim().eq_ignore_ascii_case(fine))
            });
            // Python has variables of its own, which MUTT's other services may need.
            let theirs = name.starts_with("OTEL_PYTHON_") || is_of_kubernetes(&name);
            if !enabled || theirs {
                self.warnings.extend(misspelt(&name));
            } else if !fits {
                let name = name.escape_debug();
                self.warnings.push(match said {
                    Some((_, fine)) => format!(
                        "{name} has no effect: what can be had is {}",
                        fine.join(" or ")
                    ),
                    None => format!("{name} is not supported and has no effect"),
                });
            }
        }
    }
}

/// The place for traces below a collector's address.
fn below(mut base: Url) -> Url {
    let path = format!("{}/v1/traces", base.path().trim_end_matches('/'));
    base.set_path(&path);
    base
}
