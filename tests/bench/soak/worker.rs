//! The workers: the real binary with all that it can do switched on.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};

use mutt_remediation::demo::server::free_port;

use super::log::Copied;
use super::{ARCHIVE, SOURCES};
use crate::support::daemon::{client, command};
use crate::support::wait::{pause, until};

#[derive(Clone, Copy)]
pub struct Ports {
    pub metrics: u16,
    pub health: u16,
    pub api: u16,
}

impl Ports {
    pub fn free() -> Self {
        let free = || free_port().expect("a free port");
        Self {
            metrics: free(),
            health: free(),
            api: free(),
        }
    }
}

/// What a worker speaks to.
pub struct Around {
    pub redis: u16,
    pub moogsoft: String,
    pub prometheus: String,
    pub sinks: String,
}

pub struct Worker {
    child: Child,
    name: &'static str,
    ports: Ports,
    redis: u16,
}

/// A worker, as those see it who ask it something.
#[derive(Clone, Copy)]
pub struct Seen {
    pub id: u32,
    pub ports: Ports,
    /// The port of Redis.
    pub redis: u16,
}

impl Worker {
    /// Starts one that writes its log to this file, or else to a pipe.
    pub fn start(
        name: &'static str,
        ports: Ports,
        around: &Around,
        log: Option<&Copied>,
        dir: &Path,
    ) -> Self {
        let errors = File::create(dir.join(format!("{name}.errors"))).expect("a file");
        let variables = variables(name, ports, around, log.is_none());
        let borrowed: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let child = command(&borrowed)
            .stdin(Stdio::null())
            .stdout(log.map_or_else(Stdio::piped, Copied::end))
            .stderr(errors)
            .spawn()
            .expect("the worker starts");
        Self {
            child,
            name,
            ports,
            redis: around.redis,
        }
    }

    pub fn seen(&self) -> Seen {
        Seen {
            id: self.child.id(),
            ports: self.ports,
            redis: self.redis,
        }
    }

    /// The pipe that its log comes out of.
    pub fn pipe(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("it has a pipe")
    }

    pub async fn until_ready(&self) {
        let url = format!("http://127.0.0.1:{}/ready", self.ports.health);
        let client = client();
        until("the worker is ready", || async {
            let answer = client.get(&url).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// Has it end as it should.
    pub async fn end(&mut self) {
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &id])
            .status();
        assert!(sent.expect("kill exists").success());
        let mut status = None;
        for _ in 0..3_000 {
            status = self.child.try_wait().expect("it can be asked");
            if status.is_some() {
                break;
            }
            pause().await;
        }
        let well = status.is_some_and(|status| status.success());
        assert!(well, "{} ended with {status:?}", self.name);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn variables(name: &str, ports: Ports, around: &Around, json: bool) -> Vec<(String, String)> {
    let Around {
        redis,
        moogsoft,
        prometheus,
        sinks,
    } = around;
    let host = sinks.trim_start_matches("http://");
    let notify = format!("webhook+http://{host}/hook slack+http://{host}/hook");
    let plain = [
        ("POD_NAME", name.to_owned()),
        ("REDIS_HOST", "127.0.0.1".into()),
        ("REDIS_PORT", redis.to_string()),
        ("REDIS_TIMEOUT", "2".into()),
        ("METRICS_PORT_REMEDIATION", ports.metrics.to_string()),
        ("HEALTH_PORT_REMEDIATION", ports.health.to_string()),
        ("API_PORT_REMEDIATION", ports.api.to_string()),
        ("REMEDIATION_INTERVAL", "1".into()),
        ("REMEDIATION_BATCH_SIZE", "50".into()),
        ("REMEDIATION_BATCHES_PER_CYCLE", "0".into()),
        ("REMEDIATION_MOOG_ENABLED", "true".into()),
        ("REMEDIATION_SOURCES", "snmp,syslog,web".into()),
        ("DYNAMIC_CONFIG_ENABLED", "true".into()),
        ("BACKPRESSURE_GUARD_ENABLED", "true".into()),
        ("DEAD_LETTER_MAX", "100".into()),
        ("DEAD_LETTER_ARCHIVE", format!("list:{ARCHIVE}")),
        ("MOOG_WEBHOOK_URL", moogsoft.clone()),
        ("MOOG_HEALTH_TIMEOUT", "1".into()),
        ("NOTIFY_URLS", notify),
        (
            "NOTIFY_HMAC_SECRET",
            "a secret of sixteen and more".replace(' ', "-"),
        ),
        ("NOTIFY_POISON_PER_MINUTE", "5".into()),
        ("NOTIFY_GATE_SHUT_SECONDS", "2".into()),
        ("NOTIFY_DEAD_LIST_SIZE", "50".into()),
        ("NOTIFY_REDIS_LOST_SECONDS", "1".into()),
        ("NOTIFY_CALM_SECONDS", "1".into()),
        ("NOTIFY_GROUP_SECONDS", "1".into()),
        ("NOTIFY_MAX_PER_HOUR", "3600".into()),
        ("PROMETHEUS_URL", prometheus.clone()),
        ("PROMETHEUS_TIMEOUT", "2".into()),
        ("SLO_INTERVAL", "5".into()),
        ("SLO_STALE_SECONDS", "20".into()),
        ("OTEL_ENABLED", "true".into()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", sinks.clone()),
        ("LOG_LEVEL", "DEBUG".into()),
        ("LOG_JSON_ENABLED", json.to_string()),
    ];
    let mut all: Vec<(String, String)> = plain
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (source, list, target, dead) in &SOURCES[2..] {
        let named = |what: &str| format!("SOURCE_{}_{what}", source.to_uppercase());
        all.push((named("DLQ"), (*list).to_owned()));
        all.push((named("TARGET"), (*target).to_owned()));
        all.push((named("DEAD"), (*dead).to_owned()));
        all.push((named("RESET_FIELDS"), "_retry_count".to_owned()));
    }
    all
}
