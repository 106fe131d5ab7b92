//! Signals, and what the process leaves behind.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::daemon::{command, output};
use crate::support::webhook::Manner;
use crate::support::{Daemon, Redis, SOURCE, TARGET, Webhook, until};

#[tokio::test]
async fn a_signal_in_the_middle_of_a_drain_ends_it_in_order() {
    for signal in ["-TERM", "-INT"] {
        let redis = Redis::start();
        redis.dead_letter(&vec!["{}"; 20_000]).await;
        let drain = [
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_BATCH_PAUSE_MS", "1"),
        ];
        let mut daemon = Daemon::start(&redis, &drain);
        until("it drains", || async { redis.len(TARGET).await > 100 }).await;
        let began = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.ended().await.code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(redis.len(SOURCE).await + redis.len(TARGET).await, 20_000);
        assert!(
            redis.len(SOURCE).await > 0,
            "it ended before the queue was empty"
        );
        assert!(daemon.log().contains("bye"));
    }
}

#[tokio::test]
async fn it_ends_in_time_while_redis_and_moogsoft_hang() {
    let redis = Redis::start();
    let webhook = Webhook::start(Manner::Hang).await;
    let mut daemon = Daemon::start(
        &redis,
        &[
            ("MOOG_WEBHOOK_URL", &webhook.url()),
            ("MOOG_HEALTH_TIMEOUT", "60"),
            ("REDIS_TIMEOUT", "60"),
            ("DYNAMIC_CONFIG_ENABLED", "true"),
        ],
    );
    until("it probes", || async { webhook.requests().len() == 1 }).await;
    redis
        .command::<()>(&["CLIENT", "PAUSE", "60000", "ALL"])
        .await;
    let began = Instant::now();
    daemon.signal("-TERM");
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let redis = Redis::start();
    let mut daemon = Daemon::start(&redis, &[("REDIS_TIMEOUT", "60")]);
    until("it is ready", || async {
        daemon.get("health", "/ready").await.0 == 200
    })
    .await;
    redis
        .command::<()>(&["CLIENT", "PAUSE", "60000", "ALL"])
        .await;
    until("a pass waits for Redis", || async {
        let ended = "mutt_remediation_loop_duration_seconds_count";
        daemon.metric("mutt_remediation_loops_total").await > daemon.metric(ended).await
    })
    .await;
    daemon.signal("-TERM");
    daemon.until_logged("shutting down").await;
    // The loop still waits for Redis; probes are answered until the end.
    assert_eq!(daemon.get("health", "/health").await.0, 200);
    assert_eq!(
        daemon.get("health", "/ready").await,
        (503, "shutting down\n".into())
    );
    assert_eq!(daemon.get("metrics", "/metrics").await.0, 200);
    let began = Instant::now();
    daemon.signal("-TERM");
    assert_eq!(daemon.ended().await.code(), Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn the_health_check_command_tells_by_its_exit_code() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    let port = daemon.port("health").await.to_string();
    let code = |variables: &[(&str, &str)], arguments: &[&str]| {
        output(&[&["healthcheck"], arguments].concat(), variables)
            .status
            .code()
    };
    assert_eq!(code(&[("HEALTH_PORT_REMEDIATION", &port)], &[]), Some(0));
    let page = format!("http://127.0.0.1:{port}/nothing");
    assert_eq!(code(&[], &["--url", &page]), Some(1));
    let closed = mutt_remediation::demo::server::free_port()
        .expect("a port")
        .to_string();
    assert_eq!(code(&[("HEALTH_PORT_REMEDIATION", &closed)], &[]), Some(1));
    // Docker knows no other code for "not well".
    assert_eq!(code(&[("HEALTH_PORT_REMEDIATION", "x")], &[]), Some(1));
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_neither_the_drain_nor_the_end() {
    let redis = Redis::start();
    redis.dead_letter(&vec![""; 20_000]).await;
    let port = redis.port().to_string();
    let mut child = command(&[
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("LOG_LEVEL", "DEBUG"),
        ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
    ])
    .stdout(Stdio::piped())
    .spawn()
    .expect("it starts");
    until("it drains", || async { redis.len(SOURCE).await == 0 }).await;
    let began = Instant::now();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill exists").success());
    until("it has ended", || {
        let ended = child.try_wait().expect("it can be asked").is_some();
        async move { ended }
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
}
