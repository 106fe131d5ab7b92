//! Looks for messages that an alerter took and will not end, because it is gone: its processing
//! list holds some, and there is no heartbeat of it. Reads only; bringing them back is for the
//! alerters, who do so when they start.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio_util::sync::CancellationToken;

use crate::link::{self, Error, LinkConfig, Links, Reason};
use crate::metrics::GuardMetrics;

/// From the end of one round through all keys to the next.
const PERIOD: Duration = Duration::from_secs(15);
/// Pause between two parts of a round.
const PAUSE: Duration = Duration::from_secs(1);
/// Calls of SCAN in a part, at most.
const CALLS: usize = 100;
/// Keys that one call looks at, about.
const COUNT: u64 = 500;

/// The names of what alerters leave in Redis; a colon and the alerter's own name follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanConfig {
    /// Of the lists with the messages that they are at work on.
    pub processing: String,
    /// Of the keys that expire when they are gone.
    pub heartbeat: String,
}

/// What has been found in a round so far.
#[derive(Debug, Default)]
struct Round {
    cursor: u64,
    /// SCAN may name a key twice.
    lists: BTreeMap<Vec<u8>, u64>,
}

/// Looks for orphans until cancelled.
pub async fn run(
    redis: LinkConfig,
    config: OrphanConfig,
    metrics: GuardMetrics,
    cancel: CancellationToken,
) {
    let mut links = Links::new(redis);
    let mut round = Round::default();
    let mut told = (0, 0);
    let mut failing: Option<Reason> = None;
    while !cancel.is_cancelled() {
        let wait = match look(&mut links, &config, &mut round).await {
            Ok(false) => PAUSE,
            Ok(true) => {
                failing = None;
                let lists = std::mem::take(&mut round).lists;
                let found = (lists.len(), lists.values().sum());
                metrics.orphans(found.0, found.1);
                if found != told {
                    tell(&lists, found);
                    told = found;
                }
                PERIOD
            }
            Err(error) => {
                round = Round::default();
                if failing == Some(error.reason) {
                    tracing::debug!(%error, "orphans still cannot be looked for");
                } else {
                    tracing::warn!(reason = %error.reason, %error, advice = error.reason.advice(),
                        "orphans cannot be looked for");
                }
                failing = Some(error.reason);
                PERIOD
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn tell(lists: &BTreeMap<Vec<u8>, u64>, (count, messages): (usize, u64)) {
    let Some(first) = lists.keys().next() else {
        tracing::info!("no messages of absent alerters are left");
        return;
    };
    let first = String::from_utf8_lossy(first);
    tracing::warn!(
        lists = count,
        messages,
        first = %first.escape_debug(),
        advice = "start an alerter: it takes over what absent ones have left",
        "messages lie in processing lists of alerters without a heartbeat"
    );
}

/// One part of a round; true if the round has come to its end.
async fn look(links: &mut Links, config: &OrphanConfig, round: &mut Round) -> Result<bool, Error> {
    let prefix = format!("{}:", config.processing);
    let link = links.to(&prefix);
    for _ in 0..CALLS {
        let mut scan = redis::cmd("SCAN");
        scan.arg(round.cursor).arg("MATCH");
        scan.arg(format!("{}*", escaped(&prefix)));
        scan.arg("COUNT").arg(COUNT).arg("TYPE").arg("list");
        let (cursor, names): (u64, Vec<Vec<u8>>) = link.call(&scan).await?;
        round.cursor = cursor;
        let mut pipeline = Pipeline::with_capacity(names.len() * 2);
        for name in &names {
            let mut heartbeat = format!("{}:", config.heartbeat).into_bytes();
            heartbeat.extend(name.strip_prefix(prefix.as_bytes()).unwrap_or(name));
            pipeline.cmd("EXISTS").arg(heartbeat);
            pipeline.cmd("LLEN").arg(name);
        }
        if !names.is_empty() {
            let answers = link.call_raw(&pipeline).await?;
            for (name, pair) in names.into_iter().zip(answers.chunks(2)) {
                let [alive, length] = pair else { continue };
                let alive = link::checked(alive.clone())?;
                let length = link::checked(length.clone())?;
                if let (Value::Int(0), Value::Int(length @ 1..)) = (alive, length) {
                    round.lists.insert(name, length.unsigned_abs());
                }
            }
        }
        if cursor == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A text as a pattern that matches nothing else.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_prefix_matches_itself_alone() {
        assert_eq!(super::escaped(r"a*[b]?\:"), r"a\*\[b\]\?\\:");
        assert_eq!(super::escaped("mutt:é:"), "mutt:é:");
    }
}
