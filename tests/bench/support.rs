//! What the benchmarks share: the servers and the daemon of the tests, the message, and the way to
//! tell what was found.

#[path = "../it/support/daemon.rs"]
pub mod daemon;
#[path = "../it/support/prometheus.rs"]
pub mod prometheus;
#[path = "../it/support/redis.rs"]
pub mod redis;
#[path = "../it/support/sentinel.rs"]
pub mod sentinel;
#[path = "../it/support/wait.rs"]
pub mod wait;
#[path = "../it/support/webhook.rs"]
pub mod webhook;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion};
use mutt_remediation::demo::server::{RedisServer, free_port};

/// An event of about 0.9 KB, as the alerter dead-letters it.
pub fn message(number: usize) -> String {
    let mut body = String::new();
    let mut seed = number as u64 + 1;
    while body.len() < 720 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        body.push_str(&format!("{seed:016x} "));
    }
    format!(
        r#"{{"timestamp": "2026-11-20T10:00:00Z", "hostname": "sw-{number:06}.example.net", "_correlation_id": "{seed:032x}", "message": "{body}", "_retry_count": 4, "severity": 3}}"#
    )
}

/// A server that syncs its append-only file each second, and never rewrites it unasked.
pub async fn server(dir: &Path) -> anyhow::Result<RedisServer> {
    let settings = [
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--auto-aof-rewrite-percentage",
        "0",
    ];
    RedisServer::start(dir, free_port()?, &settings).await
}

/// A connection that waits for as long as an answer takes.
pub async fn connect(
    port: u16,
    protocol: ProtocolVersion,
) -> anyhow::Result<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let info = ("127.0.0.1", port).into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(protocol);
    let client = Client::open(info.set_redis_settings(settings))?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&patient)
        .await?)
}

/// Empties the server and puts so many messages into this list.
pub async fn fill(
    redis: &mut MultiplexedConnection,
    list: &str,
    messages: usize,
) -> anyhow::Result<()> {
    let () = ::redis::cmd("FLUSHALL").query_async(redis).await?;
    // The append-only file begins anew for each round, so that the server finds no reason to do that
    // beside what is measured.
    let _: String = ::redis::cmd("BGREWRITEAOF").query_async(redis).await?;
    is_quiet(redis).await?;
    for first in (0..messages).step_by(1_000) {
        let bodies: Vec<String> = (first..messages.min(first + 1_000)).map(message).collect();
        let _: usize = ::redis::cmd("LPUSH")
            .arg(list)
            .arg(bodies)
            .query_async(redis)
            .await?;
    }
    // What filling has left for the disk is not the business of what is measured next.
    is_quiet(redis).await
}

/// Waits until the server has nothing to do for its append-only file.
async fn is_quiet(redis: &mut MultiplexedConnection) -> anyhow::Result<()> {
    const QUIET: [&str; 3] = [
        "aof_rewrite_in_progress:0",
        "aof_rewrite_scheduled:0",
        "aof_pending_bio_fsync:0",
    ];
    loop {
        let info: String = ::redis::cmd("INFO")
            .arg("persistence")
            .query_async(redis)
            .await?;
        if QUIET.iter().all(|quiet| info.contains(quiet)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Times that something took, in the order of their length.
pub struct Latency(Vec<Duration>);

impl Latency {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("not measured");
        }
        let at =
            |share: f64| self.0[((self.0.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let (middle, high, worst) = (at(0.5), at(0.99), at(1.0));
        write!(f, "p50 {middle:.2} ms, p99 {high:.2} ms, max {worst:.2} ms")
    }
}

/// The number after this name on the command line.
pub fn argument(name: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

pub fn rate(rate: f64) -> String {
    if rate > 0.0 {
        format!("{rate:.0} messages/s")
    } else {
        "not measured".into()
    }
}

pub fn say(line: &str) {
    println!("{line}");
}
