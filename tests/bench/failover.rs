//! What a failover brings back, and what waiting for replicas costs: one primary, two replicas and
//! three sentinels on loopback, with the daemon as a process of its own.
//!
//! `make failover`, or `cargo bench --bench failover -- --messages 100000 --rounds 3`.

#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "it measures real time, with the servers of the tests"
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

use std::time::{Duration, Instant};

use support::daemon::Daemon;
use support::redis::{Redis, SOURCE, TARGET};
use support::sentinel::{MASTER, Watched};
use support::wait::until;
use support::{argument, message, say};

/// For so long the replicas are cut off before the primary dies.
const LAG: Duration = Duration::from_millis(200);
const BATCH: usize = 100;

#[tokio::main]
async fn main() {
    let messages = argument("--messages").unwrap_or(100_000);
    let rounds = argument("--rounds").unwrap_or(3);
    say(&format!(
        "{messages} messages of {} bytes, {rounds} rounds each",
        message(0).len()
    ));

    say(&format!(
        "\nmessages that a failover brings back, batches of {BATCH} without a pause"
    ));
    for cut in [false, true] {
        for replicas in [0, 1] {
            let mut back = Vec::new();
            for _ in 0..rounds {
                back.push(brought_back(messages, replicas, cut).await.to_string());
            }
            let how = if cut {
                format!("replicas cut off {} ms before", LAG.as_millis())
            } else {
                "replicas in step".to_owned()
            };
            let name = format!("{how}, REDIS_WAIT_REPLICAS={replicas}");
            row(&name, &back.join(", "));
        }
    }

    say("\nfrom the death of the primary (down-after-milliseconds 2000)");
    let (mut elected, mut first) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let times = recovery(messages).await;
        elected.push(format!("{:.1}", times.0.as_secs_f64()));
        first.push(format!("{:.1}", times.1.as_secs_f64()));
    }
    row("to a new primary, s", &elected.join(", "));
    row("to the first message moved there, s", &first.join(", "));

    say("\nmessages a second, primary with two replicas, best round");
    for batch in [10, 100, 500] {
        let mut rates = [0.0_f64; 3];
        for _ in 0..rounds {
            for (replicas, best) in rates.iter_mut().enumerate() {
                *best = best.max(rate(messages, batch, replicas).await);
            }
        }
        let each = rates.iter().enumerate();
        let each = each.map(|(replicas, rate)| format!("wait for {replicas}: {rate:.0}"));
        let each: Vec<String> = each.collect();
        row(&format!("batches of {batch}"), &each.join(", "));
    }
}

/// Messages that the old primary had moved, and that lie in the source of the new one.
async fn brought_back(messages: usize, replicas: usize, cut: bool) -> usize {
    let mut set = Watched::start().await;
    fill(set.primary(), messages).await;
    let daemon = start(&set, replicas);
    until("a third is moved", || async {
        set.primary().len(TARGET).await > messages / 3
    })
    .await;
    if cut {
        set.cut_replicas_off().await;
        tokio::time::sleep(LAG).await;
    }
    set.servers[0].kill();
    drop(daemon);
    let successor = set.successor().await.port();
    let found = |server: &&Redis| server.port() == successor;
    let kept = set.servers.iter().find(found).expect("one of them");
    let kept = kept.len(TARGET).await;
    // Nobody is left to make the old primary a replica, so that its log tells what it had done.
    set.sentinels.clear();
    set.servers[0].up();
    let moved = set.primary().len(TARGET).await;
    assert!(
        moved < messages,
        "it was drained too soon: use more messages"
    );
    moved - kept
}

/// Time until there is a new primary, and until the daemon has moved something on it.
async fn recovery(messages: usize) -> (Duration, Duration) {
    let mut set = Watched::start().await;
    fill(set.primary(), messages).await;
    let _daemon = start(&set, 0);
    until("a third is moved", || async {
        set.primary().len(TARGET).await > messages / 3
    })
    .await;
    set.servers[0].kill();
    let died = Instant::now();
    let successor = set.successor().await;
    let elected = died.elapsed();
    let left = successor.len(SOURCE).await;
    until("something is moved", || async {
        successor.len(SOURCE).await < left
    })
    .await;
    (elected, died.elapsed())
}

/// Messages a second, from the first to the last.
async fn rate(messages: usize, batch: usize, replicas: usize) -> f64 {
    let quick = ["--repl-diskless-sync-delay", "0"];
    let primary = Redis::with(&[&quick[..], &["--appendonly", "yes"]].concat());
    let port = primary.port().to_string();
    let follow = ["--appendonly", "yes", "--replicaof", "127.0.0.1", &port];
    let _replicas = [Redis::with(&follow), Redis::with(&follow)];
    until("the replicas follow", || async {
        let info: String = primary.command(&["INFO", "replication"]).await;
        info.matches("state=online").count() == 2
    })
    .await;
    fill(&primary, messages).await;
    let (batch, replicas) = (batch.to_string(), replicas.to_string());
    let _daemon = Daemon::start(
        &primary,
        &[
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_BATCH_SIZE", &batch),
            ("REDIS_WAIT_REPLICAS", &replicas),
        ],
    );
    let mut line = primary.connect().await;
    let mut length = redis::cmd("LLEN");
    length.arg(SOURCE);
    let mut first = None;
    loop {
        let left: usize = length.query_async(&mut line).await.expect("it answers");
        if left < messages && first.is_none() {
            first = Some((Instant::now(), left));
        }
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (began, left) = first.expect("it began");
    left as f64 / began.elapsed().as_secs_f64()
}

fn start(set: &Watched, replicas: usize) -> Daemon {
    Daemon::start_alone(&[
        ("REDIS_SENTINELS", &set.addresses()),
        ("REDIS_SENTINEL_MASTER", MASTER),
        ("REMEDIATION_INTERVAL", "300"),
        ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ("REMEDIATION_BATCH_SIZE", &BATCH.to_string()),
        ("REDIS_WAIT_REPLICAS", &replicas.to_string()),
    ])
}

async fn fill(primary: &Redis, messages: usize) {
    for first in (0..messages).step_by(10_000) {
        let bodies: Vec<String> = (first..messages.min(first + 10_000)).map(message).collect();
        primary.dead_letter(&bodies).await;
    }
    let caught_up: usize = primary.command(&["WAIT", "2", "20000"]).await;
    assert_eq!(caught_up, 2, "the replicas are in step");
}

fn row(name: &str, value: &str) {
    say(&format!("{name:<58} {value}"));
}
