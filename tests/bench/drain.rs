//! How fast the daemon drains, side by side with two yardsticks on the same redis-server, in the
//! same run: the Python worker's loop (RPOP, parse, LPUSH, one by one over one connection) and
//! pipelined LMOVE. Prints ratios; nothing fails because a machine is slow.
//!
//! `make bench`, or `cargo bench --bench drain -- --messages 100000 --rounds 3`.

#![expect(clippy::cast_precision_loss, reason = "rates")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time, in a program of its own"
)]

#[path = "drain/stall.rs"]
mod stall;
#[expect(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the other benchmarks use the rest; percentiles; it talks to people"
)]
mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use mutt_remediation::demo::server::{RedisServer, free_port};
use redis::ProtocolVersion;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use stall::{Held, Load};
use support::daemon::client;
use support::{Latency, argument, message, rate, say, server};

const SOURCE: &str = "mutt:dlq:alerter";
const TARGET: &str = "mutt:ingest_queue";
const BATCH: usize = 500;

fn main() -> anyhow::Result<()> {
    let messages = argument("--messages").unwrap_or(100_000);
    let rounds = argument("--rounds").unwrap_or(3);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(bench(messages, rounds))
}

async fn bench(messages: usize, rounds: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = server(dir.path()).await?;
    let mut redis = connect(server.port()).await?;
    say(&format!(
        "{messages} messages of {} bytes, AOF everysec, best of {rounds} rounds",
        message(0).len()
    ));

    let collector = collector().await?;
    let [
        mut python,
        mut one_by_one,
        mut lmove,
        mut daemon,
        mut traced,
    ] = [0.0_f64; 5];
    let mut memory = 0;
    let mut start = Duration::MAX;
    for round in 0..rounds {
        if let Some(rate) = python_loop(&server, &mut redis, dir.path(), messages / 20).await? {
            python = python.max(rate);
        }
        one_by_one = one_by_one.max(one_by_one_loop(&mut redis, messages / 10).await?);
        lmove = lmove.max(pipelined_lmove(&mut redis, messages).await?);
        // In turns, so that what slows the machine down for a while slows both down, and in another
        // order each time, because each finds what the one before has left.
        let mut told = [Some(collector.as_str()), None];
        if round % 2 == 1 {
            told.reverse();
        }
        for told in told {
            let run = drain(&server, &mut redis, messages, told, dir.path()).await?;
            if told.is_some() {
                traced = traced.max(run.rate);
                continue;
            }
            daemon = daemon.max(run.rate);
            memory = memory.max(run.peak_memory_kib);
            start = start.min(run.start_to_first);
        }
    }
    row("the Python worker's loop", &rate(python));
    row(
        "the bare loop (no log, no counter) in Rust",
        &rate(one_by_one),
    );
    row("pipelined LMOVE, no stamp, no check", &rate(lmove));
    row(
        &format!("mutt-remediation, batches of up to {BATCH}"),
        &rate(daemon),
    );
    if python > 0.0 {
        row(
            "  against the Python worker's loop",
            &format!("{:.1} x", daemon / python),
        );
    }
    row(
        "  against the bare loop in Rust",
        &format!("{:.1} x", daemon / one_by_one),
    );
    row(
        "  against pipelined LMOVE",
        &format!("{:.2} x", daemon / lmove),
    );
    let on = format!("{}, {:.2} x", rate(traced), traced / daemon);
    row("the same with tracing on", &on);
    row(
        "peak resident memory",
        &format!("{:.1} MiB", memory as f64 / 1024.0),
    );
    row(
        "start to first replay",
        &format!("{} ms", start.as_millis()),
    );
    row(
        "binary",
        &format!(
            "{:.1} MiB",
            std::fs::metadata(BINARY)?.len() as f64 / 1_048_576.0
        ),
    );
    tell_stalls(&server, &mut redis, dir.path()).await
}

/// Measures what other clients notice of a drain.
async fn tell_stalls(
    server: &RedisServer,
    redis: &mut MultiplexedConnection,
    dir: &Path,
) -> anyhow::Result<()> {
    let idle = pings(server.port(), Duration::from_secs(2)).await?;
    row("PING of another client, idle server", &idle.to_string());
    let load = Load::new()?;
    let late = pings(server.port(), Duration::from_secs(2)).await?;
    drop(load);
    row("  with every core busy elsewhere", &late.to_string());
    for (batch, limit) in [(10, "1"), (BATCH, "1"), (10_000, "1"), (10_000, "0")] {
        let (late, held) = pings_while_draining(server, redis, (batch, limit), dir).await?;
        let bound = if limit == "0" { ", no limit" } else { "" };
        let name = format!("PING while draining, batches of {batch}{bound}");
        row(&name, &late.to_string());
        row("  held up by a batch, by Redis's clock", &held.to_string());
    }
    Ok(())
}

/// How long the PINGs of another client take while batches of this size drain, with this limit on
/// how long one may keep Redis, and for how long they did.
async fn pings_while_draining(
    server: &RedisServer,
    redis: &mut MultiplexedConnection,
    (batch, limit): (usize, &str),
    dir: &Path,
) -> anyhow::Result<(Latency, Held)> {
    const AT_ONCE: usize = 100_000;
    let (mut times, mut held) = (vec![], Held::default());
    let mut rounds = 0;
    while times.len() < 1_000 && rounds < 20 {
        rounds += 1;
        fill(redis, AT_ONCE).await?;
        let running = Daemon::start_with(server, batch, Some(limit), None, dir)?;
        wait_for_first(redis, AT_ONCE).await?;
        while times.len() < 1_000 && left(redis).await? > 0 {
            times.extend(pings_for(server.port(), Duration::from_millis(20)).await?);
        }
        held.add(&running.metrics().await?);
    }
    Ok((Latency::of(times), held))
}

const BINARY: &str = env!("CARGO_BIN_EXE_mutt-remediation");

async fn connect(port: u16) -> anyhow::Result<MultiplexedConnection> {
    support::connect(port, ProtocolVersion::RESP2).await
}

async fn fill(redis: &mut MultiplexedConnection, messages: usize) -> anyhow::Result<()> {
    support::fill(redis, SOURCE, messages).await
}

/// The Python worker's loop with its log line and counter for each message, run by a python3 that
/// has redis-py and prometheus_client.
async fn python_loop(
    server: &RedisServer,
    redis: &mut MultiplexedConnection,
    dir: &Path,
    messages: usize,
) -> anyhow::Result<Option<f64>> {
    const LOOP: &str = r#"
import json, logging, sys, time
import prometheus_client, redis
logging.basicConfig(filename=sys.argv[2], level=logging.INFO)
replayed = prometheus_client.Counter("replayed", "Messages replayed")
poison = prometheus_client.Counter("poison", "Messages moved to dead letter")
r = redis.Redis(port=int(sys.argv[1]))
began, moved = time.perf_counter(), 0
while True:
    message = r.rpop("mutt:dlq:alerter")
    if message is None:
        break
    retries = json.loads(message.decode("utf-8")).get("_moog_retry_count", 0)
    if retries >= 3:
        logging.warning("poison after %d retries, moved to the dead list", retries)
        r.lpush("mutt:dlq:dead", message)
        poison.inc()
    else:
        r.lpush("mutt:ingest_queue", message)
        replayed.inc()
        logging.info("replayed a message after %d retries", retries)
    moved += 1
print(moved / (time.perf_counter() - began))
"#;
    fill(redis, messages).await?;
    let script = dir.join("loop.py");
    std::fs::write(&script, LOOP)?;
    let python = std::env::var_os("BENCH_PYTHON").unwrap_or_else(|| "python3".into());
    let run = tokio::process::Command::new(python)
        .arg(&script)
        .arg(server.port().to_string())
        .arg(dir.join("loop.log"))
        .output()
        .await;
    let rate = run
        .ok()
        .and_then(|run| String::from_utf8_lossy(&run.stdout).trim().parse().ok());
    if rate.is_none() {
        say(
            "no python3 with redis-py and prometheus_client: its row is left out (make bench sets it up)",
        );
    }
    Ok(rate)
}

async fn one_by_one_loop(
    redis: &mut MultiplexedConnection,
    messages: usize,
) -> anyhow::Result<f64> {
    fill(redis, messages).await?;
    let began = Instant::now();
    loop {
        let taken: Option<Vec<u8>> = redis::cmd("RPOP").arg(SOURCE).query_async(redis).await?;
        let Some(message) = taken else { break };
        let event: Value = serde_json::from_slice(&message)?;
        let retries = event
            .get("_moog_retry_count")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let target = if retries >= 3 {
            "mutt:dlq:dead"
        } else {
            TARGET
        };
        let _: usize = redis::cmd("LPUSH")
            .arg(target)
            .arg(message)
            .query_async(redis)
            .await?;
    }
    Ok(messages as f64 / began.elapsed().as_secs_f64())
}

async fn pipelined_lmove(
    redis: &mut MultiplexedConnection,
    messages: usize,
) -> anyhow::Result<f64> {
    fill(redis, messages).await?;
    let mut pipeline = redis::pipe();
    for _ in 0..BATCH {
        pipeline
            .cmd("LMOVE")
            .arg(&[SOURCE, TARGET, "RIGHT", "LEFT"]);
    }
    let began = Instant::now();
    for _ in 0..messages.div_ceil(BATCH) {
        let _: Vec<Option<Vec<u8>>> = pipeline.query_async(redis).await?;
    }
    Ok(messages as f64 / began.elapsed().as_secs_f64())
}

struct Run {
    rate: f64,
    peak_memory_kib: u64,
    start_to_first: Duration,
}

async fn drain(
    server: &RedisServer,
    redis: &mut MultiplexedConnection,
    messages: usize,
    collector: Option<&str>,
    dir: &Path,
) -> anyhow::Result<Run> {
    fill(redis, messages).await?;
    let began = Instant::now();
    let daemon = Daemon::start(server, BATCH, collector, dir)?;
    wait_for_first(redis, messages).await?;
    let first = Instant::now();
    let at_first = left(redis).await?;
    loop {
        if left(redis).await? == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = first.elapsed();
    let arrived: usize = redis::cmd("LLEN").arg(TARGET).query_async(redis).await?;
    anyhow::ensure!(
        arrived == messages,
        "{arrived} of {messages} messages arrived"
    );
    Ok(Run {
        rate: at_first as f64 / took.as_secs_f64(),
        peak_memory_kib: daemon.peak_memory_kib()?,
        start_to_first: first - began,
    })
}

/// How many messages are in the queue.
async fn left(redis: &mut MultiplexedConnection) -> anyhow::Result<usize> {
    Ok(redis::cmd("LLEN").arg(SOURCE).query_async(redis).await?)
}

async fn wait_for_first(redis: &mut MultiplexedConnection, messages: usize) -> anyhow::Result<()> {
    loop {
        if left(redis).await? < messages {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

/// A collector of traces that takes everything and keeps nothing; its address.
async fn collector() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/v1/traces", post(|_: Bytes| async {}));
    tokio::spawn(async { axum::serve(listener, routes).await });
    Ok(format!("http://{address}"))
}

struct Daemon {
    child: Child,
    /// The port of its metrics.
    port: u16,
}

impl Daemon {
    fn start(
        server: &RedisServer,
        batch: usize,
        collector: Option<&str>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_with(server, batch, None, collector, dir)
    }

    fn start_with(
        server: &RedisServer,
        batch: usize,
        stall_max: Option<&str>,
        collector: Option<&str>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let log = std::fs::File::create(dir.join("daemon.log"))?;
        let mut command = Command::new(BINARY);
        command.env_clear();
        if let Some(collector) = collector {
            command
                .env("OTEL_ENABLED", "true")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
        }
        if let Some(milliseconds) = stall_max {
            command.env("REMEDIATION_STALL_MAX_MS", milliseconds);
        }
        let port = free_port()?;
        let child = command
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", server.port().to_string())
            .env("REMEDIATION_BATCH_SIZE", batch.to_string())
            .env("REMEDIATION_BATCHES_PER_CYCLE", "0")
            .env("REMEDIATION_BATCH_PAUSE_MS", "0")
            .env("METRICS_PORT_REMEDIATION", port.to_string())
            .env("HEALTH_PORT_REMEDIATION", "0")
            .env("API_PORT_REMEDIATION", "0")
            .stdout(log)
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { child, port })
    }

    async fn metrics(&self) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        Ok(client().get(url).send().await?.text().await?)
    }

    fn peak_memory_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.unwrap_or_default().parse()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn pings(port: u16, span: Duration) -> anyhow::Result<Latency> {
    Ok(Latency::of(pings_for(port, span).await?))
}

async fn pings_for(port: u16, span: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut redis = connect(port).await?;
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < span {
        let sent = Instant::now();
        let () = redis::cmd("PING").query_async(&mut redis).await?;
        times.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(times)
}

fn row(name: &str, value: &str) {
    say(&format!("{name:<40} {value}"));
}
