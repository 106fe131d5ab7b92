//! Dynamic settings that change, for the better and the worse.

use std::time::Duration;

use redis::cmd;
use tokio::time::sleep;

use super::pipeline::Line;
use super::{Clock, What};

/// Keys and the values that they take in turn; `None` takes the key away.
const CHANGES: [(&str, Option<&str>); 24] = [
    ("remediation_batch_size", Some("10")),
    ("replay_pace", Some("adaptive")),
    ("remediation_batches_per_cycle", Some("3")),
    ("remediation_batch_size", Some("no number")),
    ("max_poison_retries", Some("2")),
    ("replay_canary_size", Some("5")),
    ("remediation_enabled", Some("false")),
    ("remediation_enabled", None),
    ("replay_observe_seconds", Some("1")),
    ("replay_max_per_second", Some("50")),
    ("replay_target_max_depth", Some("200")),
    ("remediation_batch_size", Some("200")),
    ("remediation_interval", Some("2")),
    ("remediation_interval", None),
    ("poison_guard_enabled", Some("false")),
    ("replay_pace", None),
    ("replay_max_per_second", None),
    ("poison_max_ratio", Some("0.9")),
    ("replay_max_bounce_ratio", Some("7")),
    ("remediation_batch_pause_ms", Some("20")),
    ("slo_ingest_success_target", Some("0.99")),
    ("max_poison_retries", None),
    ("remediation_batch_size", None),
    ("poison_guard_enabled", None),
];

/// Most changes are published; every fifth one is left to be found.
pub async fn change(redis: u16, clock: Clock) {
    let mut line = Line::to(redis);
    for (number, (key, value)) in CHANGES.into_iter().cycle().enumerate() {
        if clock.over() {
            return;
        }
        let full = format!("mutt:config:{key}");
        let changed = match value {
            Some(value) => line.call::<()>(cmd("SET").arg(&full).arg(value)).await,
            None => line.call::<()>(cmd("DEL").arg(&full)).await,
        };
        if changed.is_some() {
            clock.mark(What::Setting);
        }
        if number % 5 > 0 {
            let told = cmd("PUBLISH")
                .arg("mutt:config:updates")
                .arg(key)
                .to_owned();
            let _ = line.call::<()>(&told).await;
        }
        sleep(Duration::from_millis(700)).await;
    }
}
