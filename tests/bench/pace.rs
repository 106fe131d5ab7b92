//! What the adaptive pace does on a real Redis: a backlog after an outage, brought back past a
//! stand-in alerter of limited speed, and what the controller costs when all is well. Prints what
//! it measured; it fails when a message is lost, doubled or parked, not when a machine is slow.
//!
//! `make pace`, or `cargo bench --bench pace -- --letters 20000 --alerter 500 --outage 20`.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "it measures real time, in a program of its own"
)]

#[expect(unreachable_pub, reason = "the tests share it")]
#[path = "../it/support/alerter.rs"]
mod alerter;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod process;
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
use process::cpu_seconds;
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
    if letters > 0 {
        after_an_outage(letters, capacity, outage).await;
    }
    what_it_costs(rounds, many).await;
}

/// Drains in each way by turns, so that all of them meet the same machine.
async fn what_it_costs(rounds: usize, many: usize) {
    let ways = [Way::Fixed, Way::Adaptive, Way::Limited];
    let mut runs = ways.map(|_| vec![]);
    for round in 0..rounds {
        // What comes first finds another machine than what comes last.
        for turn in 0..ways.len() {
            let way = (round + turn) % ways.len();
            runs[way].push(when_all_is_well(ways[way], many).await);
        }
    }
    let of = |what: fn(&Run) -> f64, wanted: f64| {
        runs.each_ref().map(|runs| {
            let mut all: Vec<f64> = runs.iter().map(what).collect();
            all.sort_unstable_by(f64::total_cmp);
            all[((all.len() - 1) as f64 * wanted) as usize]
        })
    };
    say(&format!(
        "\n{many} letters past an alerter that takes all there is, batches of 500 without a pause, {rounds} rounds by turns,\n\
         the adaptive pace without its ramp; ratios to the fixed pace\n\
         {:37} {:>9} {:>18} {:>18}",
        "", "fixed", "adaptive", "with its limits"
    ));
    let row = |what: &str, [fixed, adaptive, limited]: [f64; 3], digits: usize| {
        let (one, other) = (adaptive / fixed, limited / fixed);
        say(&format!(
            "{what:37} {fixed:9.digits$} {adaptive:9.digits$}, x {one:5.2} {limited:9.digits$}, x {other:5.2}"
        ));
    };
    row("messages/s, best", of(|run| run.rate, 1.0), 0);
    row("messages/s, median", of(|run| run.rate, 0.5), 0);
    let cost = |run: &Run| run.cost;
    row("CPU ms per 1,000 messages, least", of(cost, 0.0), 2);
    row("CPU ms per 1,000 messages, median", of(cost, 0.5), 2);
    row("messages a batch, median", of(|run| run.batch, 0.5), 0);
    // Within a round the machine is the same, from round to round it is not.
    let shares = |what: fn(&Run) -> f64| {
        [1, 2].map(|way| {
            let pairs = runs[way].iter().zip(&runs[0]);
            let mut shares: Vec<f64> = pairs.map(|(run, fixed)| what(run) / what(fixed)).collect();
            shares.sort_unstable_by(f64::total_cmp);
            let at = |wanted: f64| shares[((shares.len() - 1) as f64 * wanted).round() as usize];
            format!("{:.2} ({:.2} to {:.2})", at(0.5), at(0.25), at(0.75))
        })
    };
    say("of the fixed pace in the same round, median (and quartiles)");
    for (what, of) in [
        ("messages/s", shares(|run| run.rate)),
        ("CPU per message", shares(cost)),
    ] {
        say(&format!("{what:47} {:>18} {:>18}", of[0], of[1]));
    }
}

/// In which way a drain is measured.
#[derive(Clone, Copy)]
enum Way {
    Fixed,
    /// With no limit for the target, and an alert queue that is never too deep.
    Adaptive,
    /// With the defaults of both, which are 1,000: at two batches ahead they bind.
    Limited,
}

/// What a drain did from a moment after its ramp to its end.
struct Run {
    /// Messages a second.
    rate: f64,
    /// User and system time of the daemon, in milliseconds per 1,000 messages.
    cost: f64,
    /// Messages in a batch, on average.
    batch: f64,
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

/// Drains past an alerter that takes all there is; of the adaptive pace what comes after its ramp.
async fn when_all_is_well(way: Way, letters: usize) -> Run {
    let redis = Redis::start();
    let (pace, depth_allowed, warn) = match way {
        Way::Fixed => ("fixed", "0", "1000000"),
        Way::Adaptive => ("adaptive", "0", "1000000"),
        Way::Limited => ("adaptive", "", "1000"),
    };
    let threshold = "mutt:config:alerter_queue_warn_threshold";
    redis.command::<()>(&["SET", threshold, warn]).await;
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
            ("REPLAY_TARGET_MAX_DEPTH", depth_allowed),
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
    let commits = "mutt_remediation_commit_duration_seconds_count";
    let before = daemon.metric(commits).await.expect("exposed");
    let began = Instant::now();
    let used = cpu_seconds(daemon.id());
    let at_first = left;
    while left > 0 {
        left = depth(&mut watched, SOURCE).await;
        sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    let used = cpu_seconds(daemon.id()) - used;
    let batches = daemon.metric(commits).await.expect("exposed") - before;
    let run = Run {
        rate: at_first as f64 / took.as_secs_f64(),
        cost: used * 1e6 / at_first as f64,
        batch: at_first as f64 / batches,
    };
    while alerter.handled() < letters as u64 {
        assert!(began.elapsed() < Duration::from_secs(600), "stuck");
        sleep(Duration::from_millis(10)).await;
    }
    alerter.stop.store(true, Ordering::SeqCst);
    work.await.expect("the alerter ends");
    drop(daemon);
    run
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
