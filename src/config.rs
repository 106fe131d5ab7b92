//! From environment pairs to a validated configuration. Opens nothing but `SLO_FILE`, and logs nothing.
//!
//! The pairs go through flat structs (one per subsystem) whose fields never fail to parse, so that
//! every bad variable can be named at once; then the rules that span variables are checked.

mod addresses;
mod reader;
mod sections;
pub mod sources;
pub mod value;
pub mod variables;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::audit::AuditConfig;
use crate::dlq::overflow::GuardedLists;
use crate::guard::GuardConfig;
use crate::health::probe::ProbeConfig;
use crate::http::api::ApiConfig;
use crate::link::LinkConfig;
use crate::notify::NotifyConfig;
use crate::retain::RetainConfig;
use crate::settings::Settings;
use crate::slo::SloConfig;
use crate::telemetry::TelemetryConfig;
use crate::trace::TraceConfig;
use reader::Reader;
use sections::{FixedVars, OperatorVars};
use sources::SourceConfig;

/// Everything the app needs, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port of `/metrics`; 0 = any.
    pub metrics_port: u16,
    /// Port of `/health` and `/ready`; 0 = any.
    pub health_port: u16,
    /// The operator's API, if there is to be one.
    pub api: Option<ApiConfig>,
    /// How and what to log.
    pub telemetry: TelemetryConfig,
    /// Where traces go, if they are wanted.
    pub trace: Option<TraceConfig>,
    /// The line to Redis.
    pub redis: LinkConfig,
    /// What is drained: the alerter's dead letters, then others.
    pub sources: Vec<SourceConfig>,
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
    /// For how long a batch may keep Redis from other clients; 0 = as long as it takes.
    pub stall_max: Duration,
    /// Whether replays are stamped.
    pub stamp: bool,
    /// Whether an arrival begins a pass before its time.
    pub wake_on_arrival: bool,
    /// The backpressure guard, if it is switched on.
    pub guard: Option<GuardConfig>,
    /// How the audit is kept.
    pub audit: AuditConfig,
    /// The bounds of the dead lists.
    pub retain: RetainConfig,
    /// Whom to tell of what, if anybody.
    pub notify: Option<NotifyConfig>,
    /// Whom to ask for the objectives.
    pub slo: SloConfig,
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
    pub name: String,
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

impl Config {
    /// Reads and validates the environment.
    ///
    /// # Errors
    /// [`Problems`] names every bad variable, its value and what was expected.
    pub fn load(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Problems> {
        Self::load_with(environment, &small_file)
    }

    /// The same, with what opens `SLO_FILE`, the one file that is a part of the configuration.
    ///
    /// # Errors
    /// [`Problems`] names every bad variable, its value and what was expected.
    pub fn load_with(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        open: &dyn Fn(&Path) -> Result<String, String>,
    ) -> Result<Self, Problems> {
        let mut reader = Reader::new(environment);
        let vars = reader.section()?;
        let slo = reader.slo(vars);
        let vars = reader.section()?;
        let knobs = reader.objectives(vars, slo.prometheus.is_some(), open);
        let vars = reader.section()?;
        let pace = reader.section()?;
        let fixed: FixedVars = reader.section()?;
        let stamp = reader.take("REPLAY_STAMP", fixed.replay_stamp).0;
        let settings = reader.settings(vars, pace, stamp, knobs);
        reader.stamp_for_pace(&settings);
        let required = reader.optional("REPLAY_REQUIRED_FIELDS", fixed.replay_required_fields);
        let required = required.map_or_else(Vec::new, |names| names.0);
        let lists = reader.section()?;
        let (sources, others) = reader.sources(lists, required);
        let vars = reader.section()?;
        let probe = reader.probe(vars);
        let vars = reader.section()?;
        let telemetry = reader.telemetry(vars);
        let vars = reader.section()?;
        let trace = reader.trace(vars, &telemetry);
        let vars = reader.section()?;
        let mut redis = reader.redis(vars, &telemetry.instance);
        let vars = reader.section()?;
        reader.sentinels(vars, &mut redis);
        let vars = reader.section()?;
        let (metrics_port, health_port) = reader.ports(vars);
        let vars = reader.section()?;
        let taken = [
            ("METRICS_PORT_REMEDIATION", metrics_port),
            ("HEALTH_PORT_REMEDIATION", health_port),
        ];
        let api = reader.api(vars, taken);
        reader.cluster_lists(&redis, &sources);

        let vars: OperatorVars = reader.section()?;
        let length = vars.remediation_audit_length;
        let (bounds, archive) = (
            (vars.dead_letter_max, vars.dead_letter_max_age_days),
            vars.dead_letter_archive,
        );
        let retain = reader.retain(bounds, archive, &redis, &sources);
        let audit = AuditConfig {
            length: reader.take("REMEDIATION_AUDIT_LENGTH", length).0,
            instance: telemetry.instance.clone(),
        };

        let vars = reader.section()?;
        let notify = reader.notify(vars, &telemetry.instance);

        let vars: FixedVars = reader.section()?;
        let guarded = GuardedLists {
            alert: others.alert_queue.clone(),
            ingest: sources[0].lists.target.clone(),
            dlq: sources[0].lists.source.clone(),
        };
        let guard_vars = reader.section()?;
        let guard = reader.guard(guard_vars, &redis, guarded);
        let max_bytes = vars.remediation_batch_max_bytes;
        let stall_max = vars.remediation_stall_max_ms;
        let config = Self {
            metrics_port,
            health_port,
            api,
            telemetry,
            trace,
            redis,
            sources,
            alert_queue: others.alert_queue,
            moog_dlq: others.moog_dlq,
            guard,
            settings,
            dynamic: reader
                .take("DYNAMIC_CONFIG_ENABLED", vars.dynamic_config_enabled)
                .0,
            batch_max_bytes: reader.take("REMEDIATION_BATCH_MAX_BYTES", max_bytes).0,
            stall_max: Duration::from_millis(reader.take("REMEDIATION_STALL_MAX_MS", stall_max).0),
            stamp,
            wake_on_arrival: reader.wake(vars.remediation_wake_on_arrival, stamp),
            audit,
            retain,
            notify,
            slo,
            probe,
            warnings: vec![],
            effective: vec![],
        };
        let (warnings, effective) = reader.finish()?;
        Ok(Self {
            warnings,
            effective,
            ..config
        })
    }
}

/// Bytes of a file that is a part of the configuration, at most.
const FILE_SIZE: u64 = 1024 * 1024;

/// The text of a file of moderate size. What is no file, such as a pipe, may never end.
fn small_file(path: &Path) -> Result<String, String> {
    let of = fs::metadata(path).map_err(|error| error.to_string())?;
    if !of.is_file() {
        return Err("it is not a file".into());
    }
    if of.len() > FILE_SIZE {
        return Err(format!("it is longer than {FILE_SIZE} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}
