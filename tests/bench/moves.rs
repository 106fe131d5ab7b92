//! The ways in which a batch could move, side by side on one redis-server in one run: what they
//! cost the server and its other clients. The figures of ADR 16 are its.
//!
//! `make moves`, or `cargo bench --bench moves -- --messages 100000 --rounds 3 --batch 500`.

#![expect(clippy::cast_precision_loss, reason = "rates")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time, in a program of its own"
)]

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

#[path = "moves/way.rs"]
mod way;

use std::time::{Duration, Instant};

use mutt_remediation::demo::server::RedisServer;
use redis::Client;
use redis::aio::MultiplexedConnection;
use tokio_util::sync::CancellationToken;

use support::{Latency, argument, connect, fill, message, say, server};
use way::Way;

const SOURCE: &str = "mutt:dlq:alerter";
const TARGET: &str = "mutt:ingest_queue";

fn main() -> anyhow::Result<()> {
    let messages = argument("--messages").unwrap_or(100_000);
    let rounds = argument("--rounds").unwrap_or(3);
    let batch = argument("--batch").unwrap_or(500);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(bench(messages, rounds, batch))
}

/// What moving a queue in one way took.
#[derive(Clone)]
struct Run {
    /// Messages a second.
    rate: f64,
    /// Microseconds of the server's processor a message.
    server: f64,
    /// Bytes that the server was sent for a message.
    bytes: f64,
    /// How long another client's PINGs took meanwhile.
    pings: Vec<Duration>,
}

async fn bench(messages: usize, rounds: usize, batch: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = server(dir.path()).await?;
    say(&format!(
        "{messages} messages of {} bytes in batches of {batch}, AOF everysec, best of {rounds} rounds, PINGs of all",
        message(0).len()
    ));
    let mut best: Vec<Option<Run>> = vec![None; Way::ALL.len()];
    for _ in 0..rounds {
        // In another order each time: what comes before leaves its marks on memory and disk.
        let mut order: Vec<usize> = (0..Way::ALL.len()).collect();
        fastrand::shuffle(&mut order);
        for index in order {
            let (way, best) = (Way::ALL[index], &mut best[index]);
            let mut run = measure(&server, way, messages, batch).await?;
            if let Some(before) = best.take() {
                run.pings.extend(before.pings);
                run.rate = run.rate.max(before.rate);
                run.server = run.server.min(before.server);
            }
            *best = Some(run);
        }
    }
    let ceiling = best[0].as_ref().map_or(1.0, |run| run.rate);
    for (way, run) in Way::ALL.into_iter().zip(best) {
        let Some(run) = run else { continue };
        say(&format!(
            "{:<44} {:>8.0}/s {:>5.2} x {:>6.2} us server {:>6.0} B sent  PING {}",
            way.name(),
            run.rate,
            run.rate / ceiling,
            run.server,
            run.bytes,
            Latency::of(run.pings),
        ));
    }
    Ok(())
}

async fn measure(
    server: &RedisServer,
    way: Way,
    messages: usize,
    batch: usize,
) -> anyhow::Result<Run> {
    let mut redis = connect(server.port(), way.protocol()).await?;
    fill(&mut redis, SOURCE, messages).await?;
    let stop = CancellationToken::new();
    // On a thread of its own, so that what moves does not keep it waiting.
    let pinging = std::thread::spawn({
        let (port, stop) = (server.port(), stop.clone());
        move || pings(port, &stop)
    });
    let before = Spent::now(&mut redis).await?;
    let began = Instant::now();
    way.drain(&mut redis, batch).await?;
    let took = began.elapsed();
    let spent = Spent::now(&mut redis).await?;
    stop.cancel();
    let pings = pinging.join().map_err(|_| anyhow::anyhow!("no PINGs"))??;
    let arrived: usize = redis::cmd("LLEN")
        .arg(TARGET)
        .query_async(&mut redis)
        .await?;
    anyhow::ensure!(
        arrived == messages,
        "{arrived} of {messages} messages arrived: {}",
        way.name()
    );
    Ok(Run {
        rate: messages as f64 / took.as_secs_f64(),
        server: (spent.cpu - before.cpu) * 1e6 / messages as f64,
        bytes: (spent.bytes - before.bytes) / messages as f64,
        pings,
    })
}

/// What the server says of itself.
struct Spent {
    /// Seconds of its main thread.
    cpu: f64,
    /// What it was sent.
    bytes: f64,
}

impl Spent {
    async fn now(redis: &mut MultiplexedConnection) -> anyhow::Result<Self> {
        let info: String = redis::cmd("INFO")
            .arg("everything")
            .query_async(redis)
            .await?;
        let number = |name: &str| -> anyhow::Result<f64> {
            let mut lines = info.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(value
                .ok_or_else(|| anyhow::anyhow!("INFO without {name}"))?
                .trim()
                .parse()?)
        };
        Ok(Self {
            cpu: number("used_cpu_user_main_thread")? + number("used_cpu_sys_main_thread")?,
            bytes: number("total_net_input_bytes")?,
        })
    }
}

fn pings(port: u16, stop: &CancellationToken) -> anyhow::Result<Vec<Duration>> {
    let mut redis = Client::open(("127.0.0.1", port))?.get_connection()?;
    let mut times = Vec::new();
    while !stop.is_cancelled() {
        let sent = Instant::now();
        let () = redis::cmd("PING").query(&mut redis)?;
        times.push(sent.elapsed());
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(times)
}
