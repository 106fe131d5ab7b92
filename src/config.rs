//! From environment pairs to a validated configuration. Opens nothing and logs nothing.
//!
//! The pairs go through flat structs (one per subsystem) whose fields never fail to parse, so that
//! every bad variable can be named at once; then the rules that span variables are checked.

pub mod value;
pub mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::dlq::redis::Lists;
use crate::health::probe::ProbeConfig;
use crate::link::LinkConfig;
use crate::settings::{
    BatchPause, BatchSize, BatchesPerCycle, Interval, MaxPoisonRetries, Settings,
};
use crate::telemetry::TelemetryConfig;
use value::{
    Field, Flag, HeaderSecret, HttpUrl, LogFilter, Name, Names, Port, RedisUrl, Text, Value, Whole,
    redacted,
};

/// Everything the app needs, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port of `/metrics`; 0 = any.
    pub metrics_port: u16,
    /// Port of `/health` and `/ready`; 0 = any.
    pub health_port: u16,
    /// How and what to log.
    pub telemetry: TelemetryConfig,
    /// The line to Redis.
    pub redis: LinkConfig,
    /// The lists of the drain.
    pub lists: Lists,
    /// List between alerter and forwarder.
    pub alert_queue: String,
    /// The forwarder's dead letter list.
    pub moog_dlq: String,
    /// What can change while running.
    pub settings: Settings,
    /// Whether Redis may override the settings.
    pub dynamic: bool,
    /// Bytes in a batch, at most.
    pub batch_max_bytes: u64,
    /// Whether replays are stamped.
    pub stamp: bool,
    /// Fields without which a message is not replayed.
    pub required_fields: Vec<String>,
    /// How to probe Moogsoft; `None` counts it as healthy.
    pub probe: Option<ProbeConfig>,
    /// What is valid and yet worth a warning at the start.
    pub warnings: Vec<String>,
    /// The effective text of every variable, secrets redacted, for `--check-config`.
    pub effective: Vec<Effective>,
}

/// The effective value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The variable.
    pub name: &'static str,
    /// Its text; redacted where it may hold a secret.
    pub shown: String,
    /// Whether the environment sets it.
    pub from_environment: bool,
}

/// Every reason why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} problem", self.0.len())?;
        f.write_str(if self.0.len() == 1 { ":" } else { "s:" })?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

#[derive(Deserialize)]
struct RemediationVars {
    remediation_enabled: Field<Flag>,
    remediation_interval: Field<Interval>,
    remediation_batch_size: Field<BatchSize>,
    remediation_batches_per_cycle: Field<BatchesPerCycle>,
    remediation_batch_pause_ms: Field<BatchPause>,
    remediation_batch_max_bytes: Field<Whole<1, 536_870_912>>,
    max_poison_retries: Field<MaxPoisonRetries>,
    replay_stamp: Field<Flag>,
    replay_required_fields: Option<Field<Names>>,
    dynamic_config_enabled: Field<Flag>,
}

#[derive(Deserialize)]
struct QueueVars {
    alerter_dlq_name: Field<Text>,
    ingest_queue_name: Field<Text>,
    dead_letter_queue: Field<Text>,
    alert_queue_name: Field<Text>,
    moog_dlq_name: Field<Text>,
}

#[derive(Deserialize)]
struct MoogVars {
    moog_health_check_enabled: Field<Flag>,
    moog_webhook_url: Option<Field<HttpUrl>>,
    moog_health_timeout: Field<Whole<1, 300>>,
    moog_api_key: Option<Field<HeaderSecret>>,
}

#[derive(Deserialize)]
struct RedisVars {
    redis_host: Field<Text>,
    redis_port: Field<Whole<1, 65_535>>,
    redis_db: Field<Whole<0, 2_147_483_647>>,
    redis_url: Option<Field<RedisUrl>>,
    redis_username: Option<Field<Text>>,
    redis_password: Option<Field<SecretString>>,
    redis_password_next: Option<Field<SecretString>>,
    redis_tls_enabled: Field<Flag>,
    redis_ca_cert_path: Option<Field<PathBuf>>,
    redis_tls_client_cert: Option<Field<PathBuf>>,
    redis_tls_client_key: Option<Field<PathBuf>>,
    redis_timeout: Field<Whole<1, 300>>,
}

#[derive(Deserialize)]
struct ProcessVars {
    pod_name: Option<Field<Name>>,
    metrics_port_remediation: Field<Port>,
    health_port_remediation: Field<Port>,
    log_level: Field<LogFilter>,
    log_json_enabled: Field<Flag>,
    service_version: Option<Field<Text>>,
    otel_service_name: Field<Text>,
    otel_enabled: Field<Flag>,
    otel_exporter_otlp_endpoint: Option<Field<HttpUrl>>,
    prometheus_url: Option<Field<HttpUrl>>,
}

impl Config {
    /// Reads and validates the environment.
    ///
    /// # Errors
    /// [`Problems`] names every bad variable, its value and what was expected.
    pub fn load(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Problems> {
        let mut reader = Reader::new(environment);
        let remediation: RemediationVars = reader.section()?;
        let queues: QueueVars = reader.section()?;
        let moog: MoogVars = reader.section()?;
        let redis: RedisVars = reader.section()?;
        let process: ProcessVars = reader.section()?;

        let settings = Settings {
            enabled: reader
                .take("REMEDIATION_ENABLED", remediation.remediation_enabled)
                .0,
            interval: Duration::from_secs(
                reader
                    .take("REMEDIATION_INTERVAL", remediation.remediation_interval)
                    .0,
            ),
            batch_size: reader
                .take("REMEDIATION_BATCH_SIZE", remediation.remediation_batch_size)
                .0,
            batches_per_cycle: reader
                .take(
                    "REMEDIATION_BATCHES_PER_CYCLE",
                    remediation.remediation_batches_per_cycle,
                )
                .0,
            batch_pause: Duration::from_millis(
                reader
                    .take(
                        "REMEDIATION_BATCH_PAUSE_MS",
                        remediation.remediation_batch_pause_ms,
                    )
                    .0,
            ),
            max_poison_retries: reader
                .take("MAX_POISON_RETRIES", remediation.max_poison_retries)
                .0,
        };
        let batch_max_bytes = reader
            .take(
                "REMEDIATION_BATCH_MAX_BYTES",
                remediation.remediation_batch_max_bytes,
            )
            .0;
        let stamp = reader.take("REPLAY_STAMP", remediation.replay_stamp).0;
        let required_fields = reader
            .optional("REPLAY_REQUIRED_FIELDS", remediation.replay_required_fields)
            .map_or_else(Vec::new, |names| names.0);
        let dynamic = reader
            .take("DYNAMIC_CONFIG_ENABLED", remediation.dynamic_config_enabled)
            .0;

        let lists = Lists {
            source: reader.take("ALERTER_DLQ_NAME", queues.alerter_dlq_name).0,
            target: reader.take("INGEST_QUEUE_NAME", queues.ingest_queue_name).0,
            dead: reader.take("DEAD_LETTER_QUEUE", queues.dead_letter_queue).0,
        };
        reader.check_lists(&lists);
        let alert_queue = reader.take("ALERT_QUEUE_NAME", queues.alert_queue_name).0;
        let moog_dlq = reader.take("MOOG_DLQ_NAME", queues.moog_dlq_name).0;

        let probe = reader.probe(moog);
        let instance = reader
            .optional("POD_NAME", process.pod_name)
            .map_or_else(host_name, |n| n.0);
        let redis = reader.redis(redis, &instance);
        let metrics_port = reader
            .take("METRICS_PORT_REMEDIATION", process.metrics_port_remediation)
            .0;
        let health_port = reader
            .take("HEALTH_PORT_REMEDIATION", process.health_port_remediation)
            .0;
        if metrics_port == health_port && metrics_port != 0 {
            reader.problems.push(format!(
                "METRICS_PORT_REMEDIATION and HEALTH_PORT_REMEDIATION are both {health_port}: expected two different ports"
            ));
        }
        let telemetry = TelemetryConfig {
            filter: reader.take("LOG_LEVEL", process.log_level).0,
            json: reader.take("LOG_JSON_ENABLED", process.log_json_enabled).0,
            service: reader
                .take("OTEL_SERVICE_NAME", process.otel_service_name)
                .0,
            version: reader
                .optional("SERVICE_VERSION", process.service_version)
                .map_or_else(|| env!("CARGO_PKG_VERSION").to_owned(), |text| text.0),
            instance,
        };
        reader.warn_of_what_has_no_effect(
            process.otel_enabled,
            process.otel_exporter_otlp_endpoint,
            process.prometheus_url,
        );
        if settings.max_poison_retries == 0 {
            reader.warnings.push(
                "MAX_POISON_RETRIES=0 sends every message to the dead list, none is replayed"
                    .into(),
            );
        }
        let (warnings, effective) = reader.finish()?;
        Ok(Self {
            metrics_port,
            health_port,
            telemetry,
            redis,
            lists,
            alert_queue,
            moog_dlq,
            settings,
            dynamic,
            batch_max_bytes,
            stamp,
            required_fields,
            probe,
            warnings,
            effective,
        })
    }
}

/// The pairs, and what was found wrong with them so far.
struct Reader {
    pairs: Vec<(String, String)>,
    set: BTreeMap<String, String>,
    shown: BTreeMap<&'static str, String>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Reader {
    fn new(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut reader = Self {
            pairs: Vec::new(),
            set: BTreeMap::new(),
            shown: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        for (name, text) in environment {
            let Ok(name) = name.into_string() else {
                continue;
            };
            let known = variables::all().any(|variable| variable.name == name);
            match text.into_string() {
                // Empty counts as unset, also in compose files that pass a variable on.
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) if known => {
                    reader.set.insert(name, text);
                }
                Err(_) if known => {
                    reader
                        .problems
                        .push(format!("{name} is not valid UTF-8: expected text"));
                }
                _ => reader.warnings.extend(misspelt(&name)),
            }
        }
        for variable in variables::all() {
            let text = reader
                .set
                .get(variable.name)
                .map_or(variable.default, |text| text);
            reader.shown.insert(variable.name, text.to_owned());
            if !text.is_empty() {
                reader
                    .pairs
                    .push((variable.name.to_owned(), text.to_owned()));
            }
        }
        reader
    }

    /// Reads the variables of one struct. Its fields take any text, so this fails only if the list
    /// of variables and the struct disagree.
    fn section<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        envy::from_iter(self.pairs.iter().cloned())
            .map_err(|error| Problems(vec![format!("inconsistent program: {error}")]))
    }

    /// The field's value; of a bad one the default, after noting the problem.
    fn take<T: Value>(&mut self, name: &'static str, field: Field<T>) -> T {
        match self.optional(name, Some(field)) {
            Some(value) => value,
            None => {
                let default = variables::all().find(|variable| variable.name == name);
                T::parse(default.map_or("", |variable| variable.default))
                    .unwrap_or_else(|| unreachable!("the default of {name} is valid"))
            }
        }
    }

    /// The field's value; `None` if it is not set, or bad, after noting the problem.
    fn optional<T: Value>(&mut self, name: &'static str, field: Option<Field<T>>) -> Option<T> {
        let Field { text, value } = field?;
        if T::SECRET {
            self.shown.insert(name, "(set, not shown)".into());
        }
        if value.is_none() {
            let shown = if T::SECRET {
                "the value (not shown)".to_owned()
            } else {
                format!("{:?}", text.chars().take(80).collect::<String>())
            };
            let hint = if text.starts_with("tcp://") {
                "; Kubernetes sets such a value for a service of this name: set enableServiceLinks: false"
            } else {
                ""
            };
            self.problems
                .push(format!("{name}: {shown} is not {}{hint}", T::expected()));
        }
        value
    }

    fn check_lists(&mut self, lists: &Lists) {
        let Lists {
            source,
            target,
            dead,
        } = lists;
        let pairs = [
            ("ALERTER_DLQ_NAME", source, "INGEST_QUEUE_NAME", target),
            ("ALERTER_DLQ_NAME", source, "DEAD_LETTER_QUEUE", dead),
            ("INGEST_QUEUE_NAME", target, "DEAD_LETTER_QUEUE", dead),
        ];
        for (one, name, other, same) in pairs {
            if name == same {
                self.problems.push(format!(
                    "{one} and {other} are both {name:?}: expected two different lists"
                ));
            }
        }
    }

    fn probe(&mut self, moog: MoogVars) -> Option<ProbeConfig> {
        let enabled = self
            .take("MOOG_HEALTH_CHECK_ENABLED", moog.moog_health_check_enabled)
            .0;
        let url = self.optional("MOOG_WEBHOOK_URL", moog.moog_webhook_url);
        let timeout = self.take("MOOG_HEALTH_TIMEOUT", moog.moog_health_timeout).0;
        let api_key = self.optional("MOOG_API_KEY", moog.moog_api_key);
        if let Some(url) = &url {
            self.shown.insert("MOOG_WEBHOOK_URL", redacted(&url.0));
        } else if enabled {
            self.warnings.push(
                "MOOG_WEBHOOK_URL is not set: Moogsoft is not probed and counts as healthy".into(),
            );
        }
        let url = url.filter(|_| enabled)?.0;
        Some(ProbeConfig {
            url,
            timeout: Duration::from_secs(timeout),
            api_key: api_key.map(|key| key.0),
        })
    }

    fn redis(&mut self, vars: RedisVars, instance: &str) -> LinkConfig {
        let host = self.take("REDIS_HOST", vars.redis_host).0;
        let port = self.take("REDIS_PORT", vars.redis_port).0;
        let db = self.take("REDIS_DB", vars.redis_db).0;
        let tls = self.take("REDIS_TLS_ENABLED", vars.redis_tls_enabled).0;
        let mut url = match self.optional("REDIS_URL", vars.redis_url) {
            Some(RedisUrl(url)) => {
                self.shown.insert("REDIS_URL", redacted(&url));
                url
            }
            None => self.redis_address(&host, port, db),
        };
        let wanted = match url.scheme() {
            "redis" if tls => "rediss",
            "valkey" if tls => "valkeys",
            other => other,
        }
        .to_owned();
        // Between these schemes a change always succeeds.
        let _ = url.set_scheme(&wanted);
        let speaks_tls = matches!(url.scheme(), "rediss" | "valkeys");

        let ca_cert = self.optional("REDIS_CA_CERT_PATH", vars.redis_ca_cert_path);
        let cert = self.optional("REDIS_TLS_CLIENT_CERT", vars.redis_tls_client_cert);
        let key = self.optional("REDIS_TLS_CLIENT_KEY", vars.redis_tls_client_key);
        if !speaks_tls && (ca_cert.is_some() || cert.is_some() || key.is_some()) {
            self.warnings.push(
                "REDIS_CA_CERT_PATH, REDIS_TLS_CLIENT_CERT and REDIS_TLS_CLIENT_KEY have no effect without REDIS_TLS_ENABLED=true or a rediss:// address".into(),
            );
        }
        let client_cert = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.problems.push(
                    "REDIS_TLS_CLIENT_KEY is not set: expected the key of REDIS_TLS_CLIENT_CERT"
                        .into(),
                );
                None
            }
            (None, Some(_)) => {
                self.problems.push("REDIS_TLS_CLIENT_CERT is not set: expected the certificate of REDIS_TLS_CLIENT_KEY".into());
                None
            }
        };
        let first = self.optional("REDIS_PASSWORD", vars.redis_password);
        let next = self.optional("REDIS_PASSWORD_NEXT", vars.redis_password_next);
        let from_url = url.password().map(percent_decoded);
        LinkConfig {
            username: self
                .optional("REDIS_USERNAME", vars.redis_username)
                .map(|text| text.0),
            passwords: first.or(from_url).into_iter().chain(next).collect(),
            ca_cert,
            client_cert,
            client_name: instance.to_owned(),
            timeout: Duration::from_secs(self.take("REDIS_TIMEOUT", vars.redis_timeout).0),
            url,
        }
    }

    fn redis_address(&mut self, host: &str, port: u64, db: u64) -> Url {
        let bracketed = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let parsed = Url::parse(&format!("redis://{bracketed}:{port}/{db}"));
        let plain = |url: &Url| url.username().is_empty() && url.path() == format!("/{db}");
        match parsed {
            Ok(url) if plain(&url) => url,
            _ => {
                self.problems.push(format!(
                    "REDIS_HOST: {host:?} is not a host name or address"
                ));
                Url::parse("redis://localhost:6379/0")
                    .unwrap_or_else(|_| unreachable!("it is a URL"))
            }
        }
    }

    fn warn_of_what_has_no_effect(
        &mut self,
        otel: Field<Flag>,
        endpoint: Option<Field<HttpUrl>>,
        prometheus: Option<Field<HttpUrl>>,
    ) {
        let otel = self.take("OTEL_ENABLED", otel).0;
        self.optional("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        self.optional("PROMETHEUS_URL", prometheus);
        if otel {
            self.warnings.push(
                "OTEL_ENABLED=true has no effect: traces are not exported in this version".into(),
            );
        }
    }

    fn finish(self) -> Result<(Vec<String>, Vec<Effective>), Problems> {
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        let effective = variables::all().map(|variable| Effective {
            name: variable.name,
            shown: self.shown.get(variable.name).cloned().unwrap_or_default(),
            from_environment: self.set.contains_key(variable.name),
        });
        let effective = effective.collect();
        Ok((self.warnings, effective))
    }
}

/// A warning about a name that looks like one of ours and is none.
fn misspelt(name: &str) -> Option<String> {
    let ours = name.starts_with("REMEDIATION_") || name.starts_with("REPLAY_");
    if !ours && !name.starts_with("MOOG_") {
        return None;
    }
    // Kubernetes sets such names for a service called "remediation" or "moog".
    if name.contains("_SERVICE_") || name.ends_with("_PORT") || name.contains("_PORT_") {
        return None;
    }
    let distance =
        |variable: &&variables::Variable| strsim::damerau_levenshtein(variable.name, name);
    let nearest = variables::all().min_by_key(distance)?;
    // The forwarder has MOOG_ variables of its own, so only near misses are ours to speak of.
    (ours || distance(&nearest) <= 3).then(|| {
        format!(
            "{name} is not known and has no effect: did you mean {}?",
            nearest.name
        )
    })
}

fn percent_decoded(text: &str) -> SecretString {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
        .into()
}

fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    Name::parse(&name).map_or_else(|| "remediation-unknown".into(), |name| name.0)
}
