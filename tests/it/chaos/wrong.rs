//! Workers that commit in ways known to be wrong, and one that does it right, over the same lines
//! and against the same faults as the daemon. They show that the count finds what it is there for.
//!
//! Only the commit is theirs: what to do with a message they ask the daemon's own plan.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mutt_remediation::dlq::{Disposition, Entry, Transfer};
use mutt_remediation::drain::classify::Rules;
use mutt_remediation::drain::plan::plan;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};

use super::access::{Access, Directory};
use crate::support::{DEAD, SOURCE, TARGET};

mod apart;

const SETTLE: &str = include_str!("../../../src/dlq/settle.lua");

/// How a worker commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The daemon itself, as a process.
    Daemon,
    /// WATCH, read, and a transaction that is never repeated: right, to know that it is not the
    /// harness that fails the others.
    Verified,
    PopThenPush,
    TrimThenPush,
    PushThenTrim,
    /// One transaction, but nothing is watched or compared.
    Unverified,
    WatchAfterTheRead,
    /// As `Verified`, but what got no answer is sent again.
    BlindRetry,
    /// Trims by a script that is called by its digest, which Redis may have forgotten.
    SettleByDigest,
    /// A move in two steps, with all that belongs to it.
    Apart,
    /// As `Apart`, but nobody looks for a record of a batch that was begun: what is trimmed is what
    /// was peeked.
    TrimBlindly,
    /// As `TrimBlindly`, and what was pushed before is pushed again.
    PushAgain,
    /// As `Apart`, but the trim does not wait until a replica has what was pushed.
    NoWait,
}

/// Drains until it is told to stop; any error ends the connection and begins a new one.
pub async fn drain(way: Way, access: Access, batch: usize, pause: Duration, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let _ = match access.directory {
            Directory::Cluster(_) => apart::session(way, &access, batch, pause, &stop).await,
            _ => session(way, &access, batch, pause, &stop).await,
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn session(
    way: Way,
    access: &Access,
    batch: usize,
    pause: Duration,
    stop: &AtomicBool,
) -> RedisResult<()> {
    let mut line = connect(access).await?;
    let settle: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(SETTLE)
        .query_async(&mut line)
        .await?;
    while !stop.load(Ordering::SeqCst) {
        let transfers = read(way, &mut line, batch).await?;
        if !transfers.is_empty() {
            commit(way, &mut line, access, &transfers, &settle).await?;
        }
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
    }
    Ok(())
}

async fn connect(access: &Access) -> RedisResult<MultiplexedConnection> {
    let patience = Duration::from_millis(500);
    let (_, line) = access.connect(access.first(), patience).await?;
    Ok(line)
}

/// Reads, or takes, the oldest messages, and plans for each.
async fn read(
    way: Way,
    line: &mut MultiplexedConnection,
    batch: usize,
) -> RedisResult<Vec<Transfer>> {
    if way == Way::PopThenPush {
        let mut pop = redis::cmd("RPOP");
        let popped: Option<Vec<Vec<u8>>> = pop.arg(SOURCE).arg(batch).query_async(line).await?;
        return Ok(planned(popped.unwrap_or_default()));
    }
    let watches = [Way::Verified, Way::BlindRetry, Way::SettleByDigest].contains(&way);
    let mut watch = redis::cmd("WATCH");
    watch.arg(SOURCE);
    if watches {
        let () = watch.query_async(line).await?;
    }
    let mut range = redis::cmd("LRANGE");
    range.arg(SOURCE).arg(format!("-{batch}")).arg(-1);
    let mut read: Vec<Vec<u8>> = range.query_async(line).await?;
    if way == Way::WatchAfterTheRead {
        let () = watch.query_async(line).await?;
    }
    read.reverse();
    Ok(planned(read))
}

fn planned(messages: Vec<Vec<u8>>) -> Vec<Transfer> {
    let rules = Rules::alerter();
    let now = jiff::Timestamp::now().as_second();
    let entries = messages.into_iter().map(Entry).collect();
    plan(entries, &rules, now).transfers
}

async fn commit(
    way: Way,
    line: &mut MultiplexedConnection,
    access: &Access,
    transfers: &[Transfer],
    settle: &str,
) -> RedisResult<()> {
    let (replayed, dead) = pushes(transfers);
    let trim = ["0".to_owned(), format!("-{}", transfers.len() + 1)];
    let mut steps = Pipeline::new();
    let push = |steps: &mut Pipeline| {
        for (list, bodies) in [(TARGET, &replayed), (DEAD, &dead)] {
            if !bodies.is_empty() {
                steps.cmd("LPUSH").arg(list).arg(&bodies[..]);
            }
        }
    };
    if way == Way::TrimThenPush {
        steps.cmd("LTRIM").arg(SOURCE).arg(&trim);
    }
    push(&mut steps);
    match way {
        Way::PopThenPush | Way::TrimThenPush => {}
        Way::SettleByDigest => {
            let (oldest, youngest) = (&transfers[0], &transfers[transfers.len() - 1]);
            let settle = steps.cmd("EVALSHA").arg(settle).arg(3);
            settle.arg(&[SOURCE, TARGET, DEAD]);
            settle.arg(&[replayed.len(), dead.len()]);
            settle.arg(&oldest.entry.0).arg(&youngest.entry.0);
            settle.arg(&[0, 0, 0]);
        }
        _ => {
            steps.cmd("LTRIM").arg(SOURCE).arg(&trim);
        }
    }
    if [Way::PopThenPush, Way::TrimThenPush, Way::PushThenTrim].contains(&way) {
        for step in steps.cmd_iter() {
            let () = step.query_async(line).await?;
        }
        return Ok(());
    }
    steps.atomic();
    let mut answer: RedisResult<Value> = steps.query_async(line).await;
    while way == Way::BlindRetry && answer.as_ref().is_err_and(|error| error.code().is_none()) {
        // This is the mistake: the first attempt may have run.
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = match connect(access).await {
            Ok(mut line) => steps.query_async(&mut line).await,
            Err(error) => Err(error),
        };
    }
    answer.map(drop)
}

fn pushes(transfers: &[Transfer]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (replayed, dead): (Vec<&Transfer>, Vec<&Transfer>) = transfers
        .iter()
        .partition(|transfer| transfer.disposition == Disposition::Replay);
    let bodies = |transfers: Vec<&Transfer>| {
        let bodies = transfers.into_iter();
        bodies
            .map(|transfer| transfer.arriving().into_owned())
            .collect()
    };
    (bodies(replayed), bodies(dead))
}
