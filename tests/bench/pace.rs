//! What the adaptive pace does on a real Redis: a backlog after an outage, brought back past a
//! stand-in alerter of limited speed, and what the controller costs when all is well. Prints what
//! it measured; it fails when a message is lost, doubled or parked, not when a machine is slow.
//!
//! `make pace`, or `cargo bench --bench pace -- --letters 20000 --alerter 500 --outage 20`.

#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "it measures real time, in a program of its own"
)]

#[expect(unreachable_pub, reason = "the tests share it")]
#[path = "../it/support/alerter.rs"]
mod alerter;
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

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::time::sleep;

use alerter::Alerter;
use support::daemon::Daemon;
use support::redis::{DEAD, Redis, SOURCE, TARGET};
use support::{argument, message, say};

const BATCH: u64 = 100;

#[tokio::main]
async fn main() {
    let letters = argument("--letters").unwrap_or(20_000);
    let capacity = argument("--alerter").unwrap_or(500);
    let outage = argument("--outage").unwrap_or(20);
    let rounds = argument("--rounds").unwrap_or(3);
    let many = argument("--many").unwrap_or(200_000);
    after_an_outage(letters, capacity, outage).await;
    let mut best = [0.0_f64; 2];
    for _ in 0..rounds {
        for (pace, best) in ["fixed", "adaptive"].into_iter().zip(&mut best) {
            *best = best.max(when_all_is_well(pace, many).await);
        }
    }
    say(&format!(
        "\n{many} letters past an alerter that takes all there is, batches of 500 without a pause, best of {rounds}\n\
         fixed pace                      {:.0} messages/s\n\
         adaptive pace, without its ramp {:.0} messages/s, {:.2} of that",
        best[0],
        best[1],
        best[1] / best[0]
    ));
}

/// Brings a backlog back while the alerter's database is away, and then is not.
async fn after_an_outage(letters: usize, capacity: usize, outage: usize) {
    let redis = Redis::start();
    fill(&redis, letters).await;
    let alerter = Alerter::new(true);
    let work = working(&alerter, &redis, capacity as u64).await;
    let size = BATCH.to_string();
    let daemon = Daemon::start(
        &redis,
        &[
            ("REPLAY_PACE", "adaptive"),
            ("REMEDIATION_BATCH_SIZE", &size),
        ],
    );
    let mut watched = redis.connect().await;
    let replayed = "mutt_remediation_replay_success_total";
    let size = "mutt_remediation_batch_size{source=\"alerter\"}";
    let began = Instant::now();
    let mut peak = 0;
    while began.elapsed() < Duration::from_secs(outage as u64) {
        peak = peak.max(depth(&mut watched, TARGET).await);
        sleep(Duration::from_millis(5)).await;
    }
    let in_vain = daemon.metric(replayed).await.expect("exposed");
    alerter.failing.store(false, Ordering::SeqCst);
    let recovered = Instant::now();

    let (mut first, mut full, mut drained) = (None, None, None);
    let mut asked = Instant::now();
    while alerter.handled() < letters as u64 {
        assert!(recovered.elapsed() < Duration::from_secs(600), "stuck");
        peak = peak.max(depth(&mut watched, TARGET).await);
        let now = recovered.elapsed().as_secs_f64();
        if alerter.handled() > 0 {
            first.get_or_insert(now);
        }
        if full.is_none() && asked.elapsed() > Duration::from_millis(100) {
            asked = Instant::now();
            let size = daemon.metric(size).await.expect("exposed");
            full = (size >= BATCH as f64).then_some(now);
        }
        if depth(&mut watched, SOURCE).await == 0 {
            drained.get_or_insert(now);
        }
        sleep(Duration::from_millis(5)).await;
    }
    let settled = recovered.elapsed().as_secs_f64();
    alerter.stop.store(true, Ordering::SeqCst);
    work.await.expect("the alerter ends");
    let log = daemon.log();
    drop(daemon);
    assert_eq!(depth(&mut watched, SOURCE).await, 0, "{log}");
    assert_eq!(depth(&mut watched, TARGET).await, 0);
    assert_eq!(depth(&mut watched, DEAD).await, 0, "none was parked");
    assert_eq!(alerter.handled(), letters as u64);

    let first = first.unwrap_or_default();
    let ramp = full.unwrap_or_default() - first;
    let ideal = letters as f64 / capacity as f64;
    let rest = settled - first - ramp;
    say(&format!(
        "{letters} letters, an alerter of {capacity} messages/s whose database is away for {outage} s, batches of {BATCH}\n\
         replays while it was away       {in_vain:.0} ({:.2} % of the letters)\n\
         from recovery to the next trial {first:.1} s\n\
         ramp                            {ramp:.1} s\n\
         the rest                        {rest:.1} s, {:.2} of what the alerter needs for all of them\n\
         deepest target                  {peak}\n\
         most replays of one letter      {}",
        100.0 * in_vain / letters as f64,
        rest / ideal,
        alerter.most_replays(),
    ));
}

/// Messages a second past an alerter that takes all there is; of the adaptive pace those after its
/// ramp.
async fn when_all_is_well(pace: &str, letters: usize) -> f64 {
    let redis = Redis::start();
    fill(&redis, letters).await;
    let alerter = Alerter::new(false);
    let work = working(&alerter, &redis, 1_000_000).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("REPLAY_PACE", pace),
            ("REMEDIATION_BATCH_SIZE", "500"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_BATCH_PAUSE_MS", "0"),
            ("REPLAY_OBSERVE_SECONDS", "1"),
            ("REPLAY_TARGET_MAX_DEPTH", "0"),
        ],
    );
    let mut watched = redis.connect().await;
    // What comes before the full size is the ramp.
    let ramp = letters - 5_000;
    let mut left = letters;
    while left > ramp {
        left = depth(&mut watched, SOURCE).await;
        sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    let at_first = left;
    while left > 0 {
        left = depth(&mut watched, SOURCE).await;
        sleep(Duration::from_millis(1)).await;
    }
    let rate = at_first as f64 / began.elapsed().as_secs_f64();
    while alerter.handled() < letters as u64 {
        assert!(began.elapsed() < Duration::from_secs(600), "stuck");
        sleep(Duration::from_millis(10)).await;
    }
    alerter.stop.store(true, Ordering::SeqCst);
    work.await.expect("the alerter ends");
    drop(daemon);
    rate
}

async fn working(
    alerter: &Arc<Alerter>,
    redis: &Redis,
    capacity: u64,
) -> tokio::task::JoinHandle<()> {
    let lists = [TARGET, SOURCE].map(str::to_owned);
    let work = alerter.clone().work(redis.connect().await, lists, capacity);
    tokio::spawn(work)
}

async fn fill(redis: &Redis, letters: usize) {
    let all: Vec<String> = (0..letters).map(message).collect();
    redis.dead_letter(&all).await;
}

async fn depth(redis: &mut MultiplexedConnection, list: &str) -> usize {
    let answer = cmd("LLEN").arg(list).query_async(redis).await;
    answer.expect("redis answers")
}
