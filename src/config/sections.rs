//! Flat structs, one for each part of the program, as envy fills them. A field is named like its
//! variable; its type says what is allowed.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::addresses::Addresses;
use super::reader::{Attributes, Base, Events, Headers, HmacSecret, Receivers, Sampler};
use super::value::{
    AccessKey, ArchivePlace, Bind, Field, Flag, HeaderSecret, Host, HttpUrl, LogFilter, Name,
    Names, PaceName, Port, Ratio, RedisUrl, Text, Whole,
};
use crate::settings::{
    BatchPause, BatchSize, BatchesPerCycle, CanarySize, Interval, MaxPerSecond, MaxPoisonRetries,
    Observe, TargetMaxDepth,
};
use crate::slo::knobs::{BurnRate, Hours, Target};

#[derive(Deserialize)]
pub(super) struct SettingVars {
    pub(super) remediation_enabled: Field<Flag>,
    pub(super) remediation_interval: Field<Interval>,
    pub(super) remediation_batch_size: Field<BatchSize>,
    pub(super) remediation_batches_per_cycle: Field<BatchesPerCycle>,
    pub(super) remediation_batch_pause_ms: Field<BatchPause>,
    pub(super) max_poison_retries: Field<MaxPoisonRetries>,
}

#[derive(Deserialize)]
pub(super) struct PaceVars {
    pub(super) replay_pace: Field<PaceName>,
    pub(super) replay_canary_size: Field<CanarySize>,
    pub(super) replay_observe_seconds: Field<Observe>,
    pub(super) replay_max_bounce_ratio: Field<Ratio>,
    pub(super) replay_target_max_depth: Option<Field<TargetMaxDepth>>,
    pub(super) replay_max_per_second: Field<MaxPerSecond>,
    pub(super) poison_guard_enabled: Field<Flag>,
    pub(super) poison_max_ratio: Field<Ratio>,
}

#[derive(Deserialize)]
pub(super) struct FixedVars {
    pub(super) remediation_batch_max_bytes: Field<Whole<1, 536_870_912>>,
    pub(super) remediation_stall_max_ms: Field<Whole<0, 10_000>>,
    pub(super) replay_stamp: Field<Flag>,
    pub(super) remediation_wake_on_arrival: Field<Flag>,
    pub(super) replay_required_fields: Option<Field<Names>>,
    pub(super) dynamic_config_enabled: Field<Flag>,
}

#[derive(Deserialize)]
pub(super) struct ListVars {
    pub(super) alert_queue_name: Field<Text>,
    pub(super) moog_dlq_name: Field<Text>,
    pub(super) remediation_moog_enabled: Field<Flag>,
    pub(super) remediation_sources: Option<Field<Names>>,
    pub(super) alerter_dlq_name: Field<Text>,
    pub(super) ingest_queue_name: Field<Text>,
    pub(super) dead_letter_queue: Field<Text>,
}

#[derive(Deserialize)]
pub(super) struct GuardVars {
    pub(super) backpressure_guard_enabled: Field<Flag>,
    pub(super) alerter_processing_list_prefix: Field<Text>,
    pub(super) alerter_heartbeat_prefix: Field<Text>,
}

#[derive(Deserialize)]
pub(super) struct MoogVars {
    pub(super) moog_health_check_enabled: Field<Flag>,
    pub(super) moog_webhook_url: Option<Field<HttpUrl>>,
    pub(super) moog_health_timeout: Field<Whole<1, 300>>,
    pub(super) moog_api_key: Option<Field<HeaderSecret>>,
}

#[derive(Deserialize)]
pub(super) struct RedisVars {
    pub(super) redis_host: Field<Host>,
    pub(super) redis_port: Field<Whole<1, 65_535>>,
    pub(super) redis_db: Field<Whole<0, 2_147_483_647>>,
    pub(super) redis_url: Option<Field<RedisUrl>>,
    pub(super) redis_cluster_nodes: Option<Field<Addresses<6_379>>>,
    pub(super) redis_username: Option<Field<Text>>,
    pub(super) redis_password: Option<Field<SecretString>>,
    pub(super) redis_password_next: Option<Field<SecretString>>,
    pub(super) redis_tls_enabled: Field<Flag>,
    pub(super) redis_ca_cert_path: Option<Field<PathBuf>>,
    pub(super) redis_tls_client_cert: Option<Field<PathBuf>>,
    pub(super) redis_tls_client_key: Option<Field<PathBuf>>,
    pub(super) redis_timeout: Field<Whole<1, 300>>,
}

#[derive(Deserialize)]
pub(super) struct SentinelVars {
    pub(super) redis_sentinels: Option<Field<Addresses<26_379>>>,
    pub(super) redis_sentinel_master: Option<Field<Name>>,
    pub(super) redis_sentinel_username: Option<Field<Text>>,
    pub(super) redis_sentinel_password: Option<Field<SecretString>>,
    pub(super) redis_wait_replicas: Field<Whole<0, 100>>,
    pub(super) redis_wait_timeout_ms: Field<Whole<1, 299_999>>,
}

#[derive(Deserialize)]
pub(super) struct OperatorVars {
    pub(super) remediation_audit_length: Field<Whole<0, 1_000_000>>,
    pub(super) dead_letter_max: Field<Whole<0, 1_000_000_000>>,
    pub(super) dead_letter_max_age_days: Field<Whole<0, 36_500>>,
    pub(super) dead_letter_archive: Option<Field<ArchivePlace>>,
}

#[derive(Deserialize)]
pub(super) struct NotifyVars {
    pub(super) notify_urls: Option<Field<Receivers>>,
    pub(super) notify_hmac_secret: Option<Field<HmacSecret>>,
    pub(super) notify_console_url: Option<Field<Base>>,
    pub(super) notify_events: Option<Field<Events>>,
    pub(super) notify_poison_per_minute: Field<Whole<0, 1_000_000>>,
    pub(super) notify_gate_shut_seconds: Field<Whole<0, 604_800>>,
    pub(super) notify_dead_list_size: Field<Whole<0, 1_000_000_000>>,
    pub(super) notify_dead_list_age_hours: Field<Whole<0, 876_000>>,
    pub(super) notify_redis_lost_seconds: Field<Whole<0, 86_400>>,
    pub(super) notify_calm_seconds: Field<Whole<0, 86_400>>,
    pub(super) notify_group_seconds: Field<Whole<0, 3_600>>,
    pub(super) notify_max_per_hour: Field<Whole<1, 3_600>>,
}

#[derive(Deserialize)]
pub(super) struct PortVars {
    pub(super) metrics_port_remediation: Field<Port>,
    pub(super) health_port_remediation: Field<Port>,
}

#[derive(Deserialize)]
pub(super) struct ApiVars {
    pub(super) api_port_remediation: Field<Port>,
    pub(super) api_bind_remediation: Option<Field<Bind>>,
    pub(super) remediation_api_key: Option<Field<AccessKey>>,
    pub(super) remediation_api_read_key: Option<Field<AccessKey>>,
}

#[derive(Deserialize)]
pub(super) struct TelemetryVars {
    pub(super) pod_name: Option<Field<Name>>,
    pub(super) log_level: Field<LogFilter>,
    pub(super) log_json_enabled: Field<Flag>,
    pub(super) service_version: Option<Field<Text>>,
    pub(super) otel_service_name: Field<Text>,
}

#[derive(Deserialize)]
pub(super) struct TraceVars {
    pub(super) otel_enabled: Field<Flag>,
    pub(super) otel_exporter_otlp_endpoint: Field<HttpUrl>,
    pub(super) otel_exporter_otlp_traces_endpoint: Option<Field<HttpUrl>>,
    pub(super) otel_exporter_otlp_headers: Option<Field<Headers>>,
    pub(super) otel_exporter_otlp_timeout: Field<Whole<1, 300_000>>,
    pub(super) otel_resource_attributes: Option<Field<Attributes>>,
    pub(super) otel_traces_sampler: Field<Sampler>,
    pub(super) otel_traces_sampler_arg: Option<Field<Ratio>>,
}

#[derive(Deserialize)]
pub(super) struct PrometheusVars {
    pub(super) prometheus_url: Option<Field<HttpUrl>>,
    pub(super) prometheus_token: Option<Field<HeaderSecret>>,
    pub(super) prometheus_username: Option<Field<Text>>,
    pub(super) prometheus_password: Option<Field<SecretString>>,
    pub(super) prometheus_ca_cert_path: Option<Field<PathBuf>>,
    pub(super) prometheus_timeout: Field<Whole<1, 60>>,
    pub(super) slo_interval: Field<Whole<5, 3_600>>,
    pub(super) slo_stale_seconds: Field<Whole<10, 86_400>>,
}

#[derive(Deserialize)]
pub(super) struct SloVars {
    pub(super) slo_file: Option<Field<PathBuf>>,
    pub(super) slo_ingest_success_target: Option<Field<Target>>,
    pub(super) slo_forward_success_target: Option<Field<Target>>,
    pub(super) slo_window_hours: Field<Hours>,
    pub(super) slo_burn_rate_warning: Field<BurnRate>,
    pub(super) slo_burn_rate_critical: Field<BurnRate>,
    pub(super) replay_slo_gate: Field<Flag>,
}
