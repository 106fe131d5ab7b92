//! What goes first when a gate has opened again that was open before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinHandle;

use super::{letters, shut, state, used_up, with};
use crate::support::{Alerter, Daemon, Redis, SOURCE, TARGET, until};

const BATCH: usize = 20;
const CANARY: usize = 10;

/// A daemon whose batches have their full size, and the alerter that has taken them.
async fn at_full_size(redis: &Redis) -> (Daemon, Arc<Alerter>, JoinHandle<()>) {
    let alerter = Alerter::new(false);
    let lists = [TARGET, SOURCE].map(str::to_owned);
    let work = alerter.clone().work(redis.connect().await, lists, 1_000);
    let work = tokio::spawn(work);
    redis.dead_letter(&letters(CANARY + BATCH)).await;
    let daemon = Daemon::start(
        redis,
        &with(&[
            ("REPLAY_PACE", "adaptive"),
            ("REMEDIATION_BATCH_SIZE", &BATCH.to_string()),
            ("REPLAY_CANARY_SIZE", &CANARY.to_string()),
            ("REPLAY_OBSERVE_SECONDS", "1"),
            ("DYNAMIC_CONFIG_ENABLED", "true"),
        ]),
    );
    until("all are handled", || async {
        alerter.handled() == (CANARY + BATCH) as u64
    })
    .await;
    daemon.until_metric(&state("open"), |is| is == 1.0).await;
    (daemon, alerter, work)
}

/// From now on nobody takes what is replayed, so that nothing follows a canary.
async fn ends((alerter, work): (Arc<Alerter>, JoinHandle<()>)) {
    alerter.stop.store(true, Ordering::SeqCst);
    work.await.expect("it ends");
}

async fn set(redis: &Redis, key: &str, value: &str) {
    let key = format!("mutt:config:{key}");
    redis.command::<()>(&["SET", &key, value]).await;
}

/// Waits until what has gone is watched, and asserts that it is a canary.
async fn a_canary_goes(redis: &Redis, daemon: &Daemon) {
    until("something goes", || async { redis.len(TARGET).await > 0 }).await;
    let waiting = "mutt_remediation_waiting{for=\"evidence\",source=\"alerter\"}";
    daemon.until_metric(waiting, |is| is == 1.0).await;
    daemon
        .until_metric(&state("probation"), |is| is == 1.0)
        .await;
    assert_eq!(redis.len(TARGET).await, CANARY);
}

#[tokio::test]
async fn a_canary_goes_first_when_remediation_is_switched_on_again() {
    let redis = Redis::start();
    let (daemon, alerter, work) = at_full_size(&redis).await;
    set(&redis, "remediation_enabled", "false").await;
    daemon.until_metric(&shut("disabled"), |is| is == 1.0).await;
    ends((alerter, work)).await;
    redis.dead_letter(&letters(3 * BATCH)).await;
    set(&redis, "remediation_enabled", "true").await;
    a_canary_goes(&redis, &daemon).await;
}

#[tokio::test]
async fn a_canary_goes_first_when_what_was_systemic_is_over() {
    let redis = Redis::start();
    let (daemon, alerter, work) = at_full_size(&redis).await;
    let now = jiff::Timestamp::now().as_second();
    redis.dead_letter(&used_up(3 * BATCH, now - 60)).await;
    daemon.until_metric(&shut("systemic"), |is| is == 1.0).await;
    ends((alerter, work)).await;
    assert_eq!(redis.len(SOURCE).await, 3 * BATCH);
    set(&redis, "max_poison_retries", "6").await;
    a_canary_goes(&redis, &daemon).await;
}
