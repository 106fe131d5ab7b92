//! Settings that are changed in Redis while the daemon runs.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Daemon, Proxy, Redis, SOURCE, TARGET, until};

const DYNAMIC: (&str, &str) = ("DYNAMIC_CONFIG_ENABLED", "true");

async fn set(redis: &Redis, key: &str, value: &str) {
    redis
        .command::<()>(&["SET", &format!("mutt:config:{key}"), value])
        .await;
}

async fn publish(redis: &Redis, key: &str) -> i64 {
    redis
        .command(&["PUBLISH", "mutt:config:updates", key])
        .await
}

#[tokio::test]
async fn remediation_is_paused_and_resumed_at_once() {
    let redis = Redis::start();
    set(&redis, "remediation_enabled", "false").await;
    redis.dead_letter(&["{}"]).await;
    let daemon = Daemon::start(
        &redis,
        &[
            DYNAMIC,
            ("REMEDIATION_ENABLED", "false"),
            ("REMEDIATION_INTERVAL", "300"),
        ],
    );
    daemon
        .until_metric(
            "mutt_remediation_passes_total{outcome=\"disabled\",source=\"alerter\"}",
            |n| n == 1.0,
        )
        .await;
    until("it listens", || async { publish(&redis, "x").await == 1 }).await;
    assert_eq!(redis.len(SOURCE).await, 1);
    set(&redis, "remediation_enabled", "true").await;
    publish(&redis, "remediation_enabled").await;
    // The interval is 300 s: switching on ends the sleep.
    until("it drains", || async { redis.len(TARGET).await == 1 }).await;
    daemon
        .until_metric("mutt_remediation_enabled", |on| on == 1.0)
        .await;
    set(&redis, "remediation_enabled", "off").await;
    publish(&redis, "remediation_enabled").await;
    daemon
        .until_metric("mutt_remediation_enabled", |on| on == 0.0)
        .await;
}

#[tokio::test]
async fn a_plain_set_takes_effect_without_a_message() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[DYNAMIC, ("REMEDIATION_ENABLED", "false")]);
    until("it listens", || async { publish(&redis, "x").await == 1 }).await;
    let began = Instant::now();
    set(&redis, "remediation_enabled", "true").await;
    daemon
        .until_metric("mutt_remediation_enabled", |on| on == 1.0)
        .await;
    assert!(
        began.elapsed().as_secs_f32() < 30.0,
        "{:?}",
        began.elapsed()
    );
    redis
        .command::<i64>(&["DEL", "mutt:config:remediation_enabled"])
        .await;
    daemon
        .until_metric("mutt_remediation_enabled", |on| on == 0.0)
        .await;
}

#[tokio::test]
async fn a_shorter_interval_wakes_the_sleeper() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[DYNAMIC, ("REMEDIATION_INTERVAL", "300")]);
    daemon
        .until_metric(
            "mutt_remediation_passes_total{outcome=\"empty\",source=\"alerter\"}",
            |n| n == 1.0,
        )
        .await;
    redis.dead_letter(&["{}"]).await;
    until("it listens", || async { publish(&redis, "x").await == 1 }).await;
    set(&redis, "remediation_interval", "1").await;
    publish(&redis, "remediation_interval").await;
    until("it drains", || async { redis.len(TARGET).await == 1 }).await;
}

#[tokio::test]
async fn every_other_knob_turns_too() {
    let redis = Redis::start();
    for (key, value) in [
        ("remediation_batch_size", "3"),
        ("remediation_batches_per_cycle", "2"),
        ("remediation_batch_pause_ms", "1"),
        ("max_poison_retries", "5"),
    ] {
        set(&redis, key, value).await;
    }
    let daemon = Daemon::start(&redis, &[DYNAMIC, ("REMEDIATION_ENABLED", "false")]);
    daemon.until_logged("settings changed").await;
    redis.dead_letter(&[r#"{"_moog_retry_count":4}"#; 10]).await;
    set(&redis, "remediation_interval", "300").await;
    set(&redis, "remediation_enabled", "true").await;
    daemon.until_logged("pass moved messages").await;
    assert_eq!((redis.len(SOURCE).await, redis.len(TARGET).await), (4, 6));
}

#[tokio::test]
async fn a_bad_value_is_refused_named_and_counted_and_the_last_good_one_stays() {
    let redis = Redis::start();
    set(&redis, "remediation_batch_size", "2").await;
    let daemon = Daemon::start(
        &redis,
        &[
            DYNAMIC,
            ("REMEDIATION_ENABLED", "false"),
            ("REMEDIATION_INTERVAL", "300"),
        ],
    );
    daemon.until_logged("settings changed").await;
    set(&redis, "remediation_batch_size", "lots\x1b[31m").await;
    publish(&redis, "remediation_batch_size").await;
    let refused = "mutt_remediation_config_refused_total{key=\"remediation_batch_size\"}";
    daemon.until_metric(refused, |count| count == 1.0).await;
    daemon.until_logged("a whole number from 1 to 10000").await;
    assert!(
        !daemon.log().contains('\x1b'),
        "nothing from Redis reaches the terminal raw"
    );
    redis.dead_letter(&["{}"; 5]).await;
    set(&redis, "remediation_enabled", "true").await;
    publish(&redis, "remediation_enabled").await;
    daemon.until_logged("pass moved messages").await;
    assert_eq!(redis.len(TARGET).await, 2);
    assert_eq!(
        daemon.metric(refused).await,
        Some(1.0),
        "once, not at every look"
    );
}

#[tokio::test]
async fn settings_are_followed_again_after_the_subscription_was_lost() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let daemon = Daemon::start(&redis, &[DYNAMIC, ("REMEDIATION_ENABLED", "false")]);
    until("it listens", || async { publish(&redis, "x").await == 1 }).await;
    redis
        .command::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"])
        .await;
    until("it listens again", || async {
        publish(&redis, "x").await == 1
    })
    .await;
    redis.kill();
    daemon
        .until_logged("dynamic settings cannot be read, nothing is drained until they are")
        .await;
    redis.up();
    until("it listens again", || async {
        publish(&redis, "x").await == 1
    })
    .await;
    set(&redis, "remediation_enabled", "true").await;
    publish(&redis, "remediation_enabled").await;
    daemon
        .until_metric("mutt_remediation_enabled", |on| on == 1.0)
        .await;
}

#[tokio::test]
async fn a_pause_that_was_set_before_the_start_holds_for_the_first_pass() {
    let redis = Redis::start();
    set(&redis, "remediation_enabled", "false").await;
    set(&redis, "max_poison_retries", "100").await;
    redis
        .dead_letter(&vec![r#"{"_moog_retry_count":5}"#; 20])
        .await;
    let daemon = Daemon::start(&redis, &[DYNAMIC]);
    daemon
        .until_metric("mutt_remediation_loops_total", |loops| loops >= 2.0)
        .await;
    assert_eq!(redis.len(SOURCE).await, 20);
    set(&redis, "remediation_enabled", "true").await;
    until("it drains", || async { redis.len(SOURCE).await == 0 }).await;
    assert_eq!(redis.len(TARGET).await, 20);
}

#[tokio::test]
async fn a_key_of_the_wrong_type_is_refused_and_the_others_still_count() {
    let redis = Redis::start();
    redis
        .command::<i64>(&["HSET", "mutt:config:remediation_interval", "a", "b"])
        .await;
    let daemon = Daemon::start(&redis, &[DYNAMIC]);
    let refused = "mutt_remediation_config_refused_total{key=\"remediation_interval\"}";
    daemon.until_metric(refused, |count| count == 1.0).await;
    set(&redis, "remediation_enabled", "false").await;
    daemon
        .until_metric("mutt_remediation_enabled", |on| on == 0.0)
        .await;
}

#[tokio::test]
async fn fewer_batches_a_pass_take_effect_within_the_pass() {
    let redis = Redis::start();
    redis.dead_letter(&vec!["{}"; 2_000]).await;
    let daemon = Daemon::start(
        &redis,
        &[
            DYNAMIC,
            ("REMEDIATION_INTERVAL", "300"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_BATCH_PAUSE_MS", "100"),
        ],
    );
    until("it drains", || async {
        redis.len(crate::support::TARGET).await > 20
    })
    .await;
    set(&redis, "remediation_batches_per_cycle", "1").await;
    daemon.until_logged("pass moved messages").await;
    assert!(redis.len(SOURCE).await > 0);
}

#[tokio::test]
async fn a_pause_that_was_set_while_the_line_was_cut_holds_when_it_heals() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port()).await;
    let port = proxy.port().to_string();
    let daemon = Daemon::start_alone(&[
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("REDIS_TIMEOUT", "1"),
        DYNAMIC,
    ]);
    daemon
        .until_metric(
            "mutt_remediation_passes_total{outcome=\"empty\",source=\"alerter\"}",
            |n| n >= 1.0,
        )
        .await;
    proxy.refuse();
    daemon
        .until_metric(
            "mutt_remediation_replay_fail_total{reason=\"unreachable\"}",
            |n| n >= 3.0,
        )
        .await;
    set(&redis, "remediation_enabled", "false").await;
    redis.dead_letter(&["{}"; 50]).await;
    proxy.accept();
    daemon
        .until_metric(
            "mutt_remediation_passes_total{outcome=\"disabled\",source=\"alerter\"}",
            |n| n >= 1.0,
        )
        .await;
    assert_eq!(redis.len(SOURCE).await, 50);
}

/// What the runbook says about it.
#[tokio::test]
async fn what_is_systemic_waits_until_an_operator_has_it_replayed_or_parked() {
    let decisions = [
        ("max_poison_retries", "6", TARGET),
        ("poison_guard_enabled", "false", "mutt:dlq:dead"),
    ];
    for (key, value, list) in decisions {
        let redis = Redis::start();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let at = now.expect("after 1970").as_secs() - 60;
        let letter = |id| format!(r#"{{"id":{id},"_remediation_count":3,"_remediation_at":{at}}}"#);
        let letters: Vec<String> = (0..30).map(letter).collect();
        redis.dead_letter(&letters).await;
        let daemon = Daemon::start(&redis, &[DYNAMIC, ("REMEDIATION_BATCH_SIZE", "100")]);
        daemon.until_logged("gate shut: systemic").await;
        let shut = r#"mutt_remediation_gate_shut{reason="systemic",source="alerter"}"#;
        daemon.until_metric(shut, |is| is == 1.0).await;
        assert_eq!(redis.len(SOURCE).await, 30);
        let name = format!("mutt:config:{key}");
        let set = ["SET", &name, value, "EX", "600"];
        redis.command::<()>(&set).await;
        publish(&redis, key).await;
        until("they move", || async { redis.len(list).await == 30 }).await;
        daemon.until_metric(shut, |is| is == 0.0).await;
        assert_eq!(redis.len(SOURCE).await, 0);
    }
}
