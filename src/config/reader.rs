//! Reads the pairs section by section, and collects what is wrong with them.

mod api;
mod guard;
mod notify;
mod retain;
mod sentinels;
mod slo;
mod sources;
mod trace;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

use super::sections::{MoogVars, PaceVars, PortVars, RedisVars, SettingVars, TelemetryVars};
use super::sources::SourceConfig;
use super::value::{Field, Flag, Name, PaceName, RedisUrl, Value, redacted, redacted_redis};
use super::{Effective, Problems, variables};
use crate::dlq::queue::Queue;
use crate::health::probe::ProbeConfig;
use crate::link::LinkConfig;
use crate::settings::Settings;
use crate::slo::knobs::Knobs;
use crate::telemetry::TelemetryConfig;
pub(super) use notify::{Base, Events, HmacSecret, Receivers};
pub(super) use trace::{Attributes, Headers, Sampler};

/// The pairs, and what was found wrong with them so far.
pub(super) struct Reader {
    pairs: Vec<(String, String)>,
    set: BTreeMap<String, String>,
    /// Variables of sources of one's own.
    of_sources: BTreeMap<String, String>,
    /// Variables of single objectives.
    of_slos: BTreeMap<String, String>,
    /// Variables of OpenTelemetry that are none of ours.
    of_opentelemetry: BTreeMap<String, String>,
    shown: BTreeMap<&'static str, String>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Reader {
    pub(super) fn new(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut reader = Self {
            pairs: Vec::new(),
            set: BTreeMap::new(),
            of_sources: BTreeMap::new(),
            of_slos: BTreeMap::new(),
            of_opentelemetry: BTreeMap::new(),
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
                Ok(text) if name == api::KEY_FILE => {
                    reader.set.insert(name, text);
                }
                Ok(text) if name.starts_with("SOURCE_") => {
                    reader.of_sources.insert(name, text);
                }
                Ok(text) if name.starts_with("SLO_") => {
                    reader.of_slos.insert(name, text);
                }
                Ok(text) if name.starts_with("OTEL_") => {
                    reader.of_opentelemetry.insert(name, text);
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
    pub(super) fn section<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        envy::from_iter(self.pairs.iter().cloned())
            .map_err(|error| Problems(vec![format!("inconsistent program: {error}")]))
    }

    /// The field's value; of a bad one the default, after noting the problem.
    pub(super) fn take<T: Value>(&mut self, name: &'static str, field: Field<T>) -> T {
        self.optional(name, Some(field)).unwrap_or_else(|| {
            let default = variables::all().find(|variable| variable.name == name);
            T::parse(default.map_or("", |variable| variable.default))
                .unwrap_or_else(|| unreachable!("the default of {name} is valid"))
        })
    }

    /// The field's value; `None` if it is not set, or bad, after noting the problem.
    pub(super) fn optional<T: Value>(
        &mut self,
        name: &'static str,
        field: Option<Field<T>>,
    ) -> Option<T> {
        let Field { text, value } = field?;
        if T::SECRET {
            self.shown.insert(name, "(set, not shown)".into());
        }
        if value.is_none() {
            // It may be a part of an address, and have a password in it.
            let address = name.starts_with("REDIS_") && text.contains('@');
            let shown = if T::SECRET || address {
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

    /// The settings that may change while running.
    pub(super) fn settings(
        &mut self,
        vars: SettingVars,
        pace: PaceVars,
        stamped: bool,
        slo: Knobs,
    ) -> Settings {
        let interval = self
            .take("REMEDIATION_INTERVAL", vars.remediation_interval)
            .0;
        let pause = self
            .take(
                "REMEDIATION_BATCH_PAUSE_MS",
                vars.remediation_batch_pause_ms,
            )
            .0;
        let batches = vars.remediation_batches_per_cycle;
        let settings = Settings {
            enabled: self.take("REMEDIATION_ENABLED", vars.remediation_enabled).0,
            interval: Duration::from_secs(interval),
            batch_size: self
                .take("REMEDIATION_BATCH_SIZE", vars.remediation_batch_size)
                .0,
            batches_per_cycle: self.take("REMEDIATION_BATCHES_PER_CYCLE", batches).0,
            batch_pause: Duration::from_millis(pause),
            max_poison_retries: self.take("MAX_POISON_RETRIES", vars.max_poison_retries).0,
            adaptive: self.take("REPLAY_PACE", pace.replay_pace) == PaceName::Adaptive,
            stamped,
            canary_size: self.take("REPLAY_CANARY_SIZE", pace.replay_canary_size).0,
            observe: Duration::from_secs(
                self.take("REPLAY_OBSERVE_SECONDS", pace.replay_observe_seconds)
                    .0,
            ),
            max_bounce_ratio: self
                .take("REPLAY_MAX_BOUNCE_RATIO", pace.replay_max_bounce_ratio)
                .0,
            target_max_depth: self
                .optional("REPLAY_TARGET_MAX_DEPTH", pace.replay_target_max_depth)
                .map(|depth| depth.0),
            max_per_second: self
                .take("REPLAY_MAX_PER_SECOND", pace.replay_max_per_second)
                .0,
            poison_guard: self
                .take("POISON_GUARD_ENABLED", pace.poison_guard_enabled)
                .0,
            poison_max_ratio: self.take("POISON_MAX_RATIO", pace.poison_max_ratio).0,
            slo,
        };
        if settings.max_poison_retries == 0 {
            self.warn(
                "MAX_POISON_RETRIES=0 sends every message to the dead list, none is replayed",
            );
        }
        settings
    }

    /// The adaptive pace recognises by their stamp what came back.
    pub(super) fn stamp_for_pace(&mut self, settings: &Settings) {
        if settings.adaptive && !settings.stamped {
            self.problems.push("REPLAY_PACE: \"adaptive\" needs REPLAY_STAMP=true: without a stamp nobody can tell which replays came back".into());
        }
    }

    /// Whether an arrival begins a pass.
    pub(super) fn wake(&mut self, wanted: Field<Flag>, stamped: bool) -> bool {
        let wanted = self.take("REMEDIATION_WAKE_ON_ARRIVAL", wanted).0;
        if wanted && !stamped {
            self.problems.push("REMEDIATION_WAKE_ON_ARRIVAL: \"true\" needs REPLAY_STAMP=true: without a stamp nobody can tell what has just arrived from a replay that came back".into());
        }
        wanted
    }

    /// The two ports, which must differ unless any will do.
    pub(super) fn ports(&mut self, vars: PortVars) -> (u16, u16) {
        let metrics = self
            .take("METRICS_PORT_REMEDIATION", vars.metrics_port_remediation)
            .0;
        let health = self
            .take("HEALTH_PORT_REMEDIATION", vars.health_port_remediation)
            .0;
        if metrics == health && metrics != 0 {
            self.problems.push(format!(
                "METRICS_PORT_REMEDIATION and HEALTH_PORT_REMEDIATION are both {health}: expected two different ports"
            ));
        }
        (metrics, health)
    }

    /// How to log, and as whom.
    pub(super) fn telemetry(&mut self, vars: TelemetryVars) -> TelemetryConfig {
        let version = self.optional("SERVICE_VERSION", vars.service_version);
        TelemetryConfig {
            filter: self.take("LOG_LEVEL", vars.log_level).0,
            json: self.take("LOG_JSON_ENABLED", vars.log_json_enabled).0,
            service: self.take("OTEL_SERVICE_NAME", vars.otel_service_name).0,
            version: version.map_or_else(|| env!("CARGO_PKG_VERSION").into(), |text| text.0),
            instance: self
                .optional("POD_NAME", vars.pod_name)
                .map_or_else(host_name, |n| n.0),
        }
    }

    pub(super) fn probe(&mut self, moog: MoogVars) -> Option<ProbeConfig> {
        let enabled = self
            .take("MOOG_HEALTH_CHECK_ENABLED", moog.moog_health_check_enabled)
            .0;
        let url = self.optional("MOOG_WEBHOOK_URL", moog.moog_webhook_url);
        let timeout = self.take("MOOG_HEALTH_TIMEOUT", moog.moog_health_timeout).0;
        let api_key = self.optional("MOOG_API_KEY", moog.moog_api_key);
        if let Some(url) = &url {
            self.shown.insert("MOOG_WEBHOOK_URL", redacted(&url.0));
        } else if enabled {
            self.warn("MOOG_WEBHOOK_URL is not set: Moogsoft is not probed and counts as healthy");
        }
        let url = url.filter(|_| enabled)?.0;
        Some(ProbeConfig {
            url,
            timeout: Duration::from_secs(timeout),
            api_key: api_key.map(|key| key.0),
        })
    }

    pub(super) fn redis(&mut self, vars: RedisVars, instance: &str) -> LinkConfig {
        let host = self.take("REDIS_HOST", vars.redis_host).0;
        self.shown.insert("REDIS_HOST", host.clone());
        let port = self.take("REDIS_PORT", vars.redis_port).0;
        let db = self.take("REDIS_DB", vars.redis_db).0;
        let tls = self.take("REDIS_TLS_ENABLED", vars.redis_tls_enabled).0;
        let mut url = match self.optional("REDIS_URL", vars.redis_url) {
            Some(RedisUrl(url)) => {
                self.shown.insert("REDIS_URL", redacted_redis(&url));
                let ignored = ["REDIS_HOST", "REDIS_PORT", "REDIS_DB"];
                for name in ignored
                    .into_iter()
                    .filter(|name| self.set.contains_key(*name))
                {
                    self.warnings
                        .push(format!("{name} has no effect: REDIS_URL wins"));
                }
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

        let cluster = self.optional("REDIS_CLUSTER_NODES", vars.redis_cluster_nodes);
        let cluster = cluster.map_or_else(Vec::new, |nodes| nodes.0);
        let texts: Vec<String> = cluster.iter().map(ToString::to_string).collect();
        self.shown.insert("REDIS_CLUSTER_NODES", texts.join(","));
        if !cluster.is_empty() {
            self.only_cluster(db);
        }
        let ca_cert = self.optional("REDIS_CA_CERT_PATH", vars.redis_ca_cert_path);
        let cert = self.optional("REDIS_TLS_CLIENT_CERT", vars.redis_tls_client_cert);
        let key = self.optional("REDIS_TLS_CLIENT_KEY", vars.redis_tls_client_key);
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
        if !speaks_tls && (ca_cert.is_some() || client_cert.is_some()) {
            self.warn("REDIS_CA_CERT_PATH, REDIS_TLS_CLIENT_CERT and REDIS_TLS_CLIENT_KEY have no effect without REDIS_TLS_ENABLED=true or a rediss:// address");
        }
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
            sentinels: None,
            wait: None,
            url,
            cluster,
        }
    }

    /// What does not go together with a cluster.
    fn only_cluster(&mut self, db: u64) {
        if self.set.contains_key("REDIS_URL") {
            self.problems.push(
                "REDIS_URL and REDIS_CLUSTER_NODES are both set: expected one of them; TLS and credentials of a cluster have variables of their own".into(),
            );
        }
        if self.set.contains_key("REDIS_SENTINELS") {
            self.problems.push(
                "REDIS_SENTINELS and REDIS_CLUSTER_NODES are both set: expected one of them; a cluster fails over by itself".into(),
            );
        }
        if db != 0 {
            self.problems.push(format!(
                "REDIS_DB: {db} cannot be used with REDIS_CLUSTER_NODES, expected 0: a cluster has one database"
            ));
        }
        for name in ["REDIS_HOST", "REDIS_PORT"] {
            if self.set.contains_key(name) {
                let warning = format!("{name} has no effect: REDIS_CLUSTER_NODES wins");
                self.warnings.push(warning);
            }
        }
    }

    fn redis_address(&mut self, host: &str, port: u64, db: u64) -> Url {
        let bracketed = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        // `Host` has refused everything that could make another part of the address of it.
        Url::parse(&format!("redis://{bracketed}:{port}/{db}")).unwrap_or_else(|_| {
            self.problems
                .push("REDIS_HOST: the value (not shown) is not a host name or address".into());
            Url::parse("redis://localhost:6379/0").unwrap_or_else(|_| unreachable!("it is a URL"))
        })
    }

    /// Lists of a cluster must leave room for what goes with them.
    pub(super) fn cluster_lists(&mut self, redis: &LinkConfig, sources: &[SourceConfig]) {
        for SourceConfig { name, lists, .. } in sources {
            if let Err(problem) = Queue::new(redis.clone(), lists.clone()) {
                let named = [
                    ("DLQ", &lists.source),
                    ("TARGET", &lists.target),
                    ("DEAD", &lists.dead),
                ];
                for (part, _) in named.iter().filter(|(_, list)| **list == problem.list) {
                    let variable = sources::named(name, part);
                    self.problems.push(format!("{variable}: {problem}"));
                }
            }
        }
    }

    /// Whether a variable says something else than what holds without it: the template sets many
    /// to their defaults.
    fn differs(&self, name: &str) -> bool {
        let known = variables::all().find(|variable| variable.name == name);
        let text = self.set.get(name).map(String::as_str);
        text.is_some() && text != known.map(|variable| variable.default)
    }

    fn warn(&mut self, warning: &str) {
        self.warnings.push(warning.to_owned());
    }

    pub(super) fn finish(self) -> Result<(Vec<String>, Vec<Effective>), Problems> {
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        let effective = variables::all().map(|variable| Effective {
            name: variable.name.to_owned(),
            shown: self.shown.get(variable.name).cloned().unwrap_or_default(),
            from_environment: self.set.contains_key(variable.name),
        });
        let of_names = self.of_sources.iter().chain(&self.of_slos);
        let of_names = of_names.map(|(name, text)| Effective {
            name: name.clone(),
            shown: text.clone(),
            from_environment: true,
        });
        let effective = effective.chain(of_names).collect();
        Ok((self.warnings, effective))
    }
}

/// A warning about a name that looks like one of ours and is none.
fn misspelt(name: &str) -> Option<String> {
    let ours = name.starts_with("REMEDIATION_") || name.starts_with("REPLAY_");
    let may_be = [
        "MOOG_",
        "BACKPRESSURE_",
        "NOTIFY_",
        "OTEL_",
        "POISON_",
        "PROMETHEUS_",
    ];
    if !ours && !may_be.iter().any(|start| name.starts_with(start)) {
        return None;
    }
    if is_of_kubernetes(name) {
        return None;
    }
    let distance =
        |variable: &&variables::Variable| strsim::damerau_levenshtein(variable.name, name);
    let nearest = variables::all().min_by_key(distance)?;
    // Others have variables like these of their own, so only near misses are ours to speak of.
    (ours || distance(&nearest) <= 3).then(|| {
        format!(
            "{} is not known and has no effect: did you mean {}?",
            name.escape_debug(),
            nearest.name
        )
    })
}

/// Kubernetes sets such names for a service called "remediation" or "moog".
fn is_of_kubernetes(name: &str) -> bool {
    name.contains("_SERVICE_") || name.ends_with("_PORT") || name.contains("_PORT_")
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
