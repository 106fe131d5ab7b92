//! The probe, and all that a webhook can answer.

use std::time::{Duration, Instant};

use rcgen::generate_simple_self_signed;
use serde_json::Value;

use crate::support::webhook::Manner;
use crate::support::{Daemon, Redis, SOURCE, TARGET, Webhook, until};

const HEALTH: &str = "mutt_remediation_moog_health";

#[tokio::test]
async fn the_probe_is_what_the_contract_says() {
    let redis = Redis::start();
    let webhook = Webhook::start(Manner::Status(202)).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("MOOG_WEBHOOK_URL", &webhook.url()),
            ("MOOG_API_KEY", "hush-hush"),
        ],
    );
    daemon.until_metric(HEALTH, |healthy| healthy == 1.0).await;
    let requests = webhook.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").expect("head and body");
    let head = head.to_lowercase();
    assert!(
        head.starts_with("post /events?token=hush http/1.1"),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/json") && head.contains("x-api-key: hush-hush")
    );
    let event: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(event["source"], "MUTT_HEALTH_CHECK");
    assert_eq!(event["description"], "Health check probe - auto-close");
    assert_eq!(event["severity"], "clear");
    let now = jiff::Timestamp::now().as_second();
    let id = event["check_id"]
        .as_str()
        .and_then(|id| id.strip_prefix("health_check_"));
    let at: i64 = id.and_then(|id| id.parse().ok()).expect("Unix seconds");
    assert!((now - 60..=now).contains(&at));
    let stamp: jiff::Timestamp = event["timestamp"]
        .as_str()
        .expect("text")
        .parse()
        .expect("RFC 3339");
    assert_eq!(stamp.as_second(), at);
    let last = daemon
        .metric("mutt_moog_health_last_ok_timestamp")
        .await
        .expect("exposed");
    assert!((last - f64::from(u32::try_from(at).expect("this century"))).abs() < 2.0);
    assert!(!daemon.log().contains("hush"));
}

#[tokio::test]
async fn only_200_201_and_202_open_the_gate() {
    for (code, healthy) in [
        (200, true),
        (201, true),
        (202, true),
        (204, false),
        (401, false),
        (503, false),
    ] {
        let redis = Redis::start();
        redis.dead_letter(&["{}"]).await;
        let webhook = Webhook::start(Manner::Status(code)).await;
        let daemon = Daemon::start(&redis, &[("MOOG_WEBHOOK_URL", &webhook.url())]);
        let outcome = if healthy { "drained" } else { "unhealthy" };
        let passes =
            format!("mutt_remediation_passes_total{{outcome=\"{outcome}\",source=\"alerter\"}}");
        daemon.until_metric(&passes, |count| count >= 1.0).await;
        assert_eq!(redis.len(TARGET).await, usize::from(healthy), "{code}");
        assert_eq!(
            daemon.metric(HEALTH).await,
            Some(f64::from(u8::from(healthy))),
            "{code}"
        );
    }
}

#[tokio::test]
async fn whatever_the_webhook_does_it_counts_as_unhealthy_in_time() {
    for (manner, cause) in [
        (Manner::Hang, "no answer within 1 s"),
        (Manner::EndlessBody, "answered 500"),
        (
            Manner::Redirect,
            "answered 302, a redirect, which is not followed",
        ),
        (Manner::Nonsense, "cause="),
    ] {
        let redis = Redis::start();
        redis.dead_letter(&["{}"]).await;
        let webhook = Webhook::start(manner).await;
        let began = Instant::now();
        let daemon = Daemon::start(
            &redis,
            &[
                ("MOOG_WEBHOOK_URL", &webhook.url()),
                ("MOOG_HEALTH_TIMEOUT", "1"),
            ],
        );
        daemon
            .until_logged("moogsoft is unhealthy, the queue is left alone")
            .await;
        assert!(began.elapsed() < Duration::from_secs(30), "{manner:?}");
        assert!(daemon.log().contains(cause), "{}", daemon.log());
        assert!(
            !daemon.log().contains("hush"),
            "the address may hold a secret"
        );
        assert_eq!(redis.len(SOURCE).await, 1, "{manner:?}");
        assert_eq!(daemon.metric(HEALTH).await, Some(0.0));
        assert_eq!(webhook.requests().len(), 1, "a redirect is not followed");
        let memory = daemon
            .metric("process_resident_memory_bytes")
            .await
            .expect("exposed");
        assert!(memory < 40e6, "{memory}");
    }
}

#[tokio::test]
async fn a_closed_port_is_unhealthy_and_recovery_is_seen_within_seconds() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let webhook = Webhook::start(Manner::Status(503)).await;
    let daemon = Daemon::start(&redis, &[("MOOG_WEBHOOK_URL", &webhook.url())]);
    daemon.until_logged("moogsoft is unhealthy").await;
    webhook.behave(Manner::Status(200));
    let began = Instant::now();
    until("it is replayed", || async { redis.len(TARGET).await == 1 }).await;
    assert!(
        began.elapsed() < Duration::from_secs(45),
        "{:?}",
        began.elapsed()
    );
    daemon.until_logged("moogsoft is healthy again").await;
    // Healthy answers are reused for a minute: passes go on, probes do not.
    let probes = webhook.requests().len();
    let loops = daemon
        .metric("mutt_remediation_loops_total")
        .await
        .expect("exposed");
    daemon
        .until_metric("mutt_remediation_loops_total", |now| now >= loops + 2.0)
        .await;
    assert_eq!(webhook.requests().len(), probes);

    let closed = format!(
        "http://127.0.0.1:{}/",
        mutt_remediation::demo::server::free_port().expect("a port")
    );
    let daemon = Daemon::start(&redis, &[("MOOG_WEBHOOK_URL", &closed)]);
    daemon.until_logged("Connection refused").await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_unhealthy() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let port = mutt_remediation::demo::server::free_port()
        .expect("a port")
        .to_string();
    let dir = tempfile::tempdir().expect("a directory");
    let signed = generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let cert = dir.path().join("crt");
    let key = dir.path().join("key");
    std::fs::write(&cert, signed.cert.pem()).expect("written");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("written");
    // Any server that speaks TLS will do: the handshake is as far as it gets.
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let _tls = Redis::with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &text(&cert),
        "--tls-key-file",
        &text(&key),
        "--tls-ca-cert-file",
        &text(&cert),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("https://localhost:{port}/");
    let daemon = Daemon::start(&redis, &[("MOOG_WEBHOOK_URL", &url)]);
    daemon.until_logged("moogsoft is unhealthy").await;
    assert!(
        daemon.log().to_lowercase().contains("certificate"),
        "{}",
        daemon.log()
    );
    assert_eq!(redis.len(SOURCE).await, 1);
}

#[tokio::test]
async fn a_probe_that_is_switched_off_counts_as_healthy() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let webhook = Webhook::start(Manner::Status(503)).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("MOOG_WEBHOOK_URL", &webhook.url()),
            ("MOOG_HEALTH_CHECK_ENABLED", "no"),
        ],
    );
    until("it is replayed", || async { redis.len(TARGET).await == 1 }).await;
    assert!(webhook.requests().is_empty());
    assert_eq!(daemon.metric(HEALTH).await, Some(1.0));
}
