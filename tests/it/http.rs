//! The listeners, as Kubernetes, Prometheus and strangers meet them.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use mutt_remediation::background::Pulse;
use mutt_remediation::http::{HealthState, Limits, bind, health_routes, serve};
use mutt_remediation::survey::Reach;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::daemon::client;
use crate::support::{Daemon, Redis, until};

#[tokio::test]
async fn each_port_serves_its_pages_and_nothing_else() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    assert_eq!(daemon.get("health", "/health").await, (200, "OK".into()));
    until("it is ready", || async {
        daemon.get("health", "/ready").await == (200, "OK".into())
    })
    .await;
    assert_eq!(daemon.get("metrics", "/metrics").await.0, 200);
    for (listener, path) in [
        ("health", "/metrics"),
        ("health", "/"),
        ("health", "/healthz"),
        ("metrics", "/health"),
        ("metrics", "/"),
    ] {
        assert_eq!(daemon.get(listener, path).await.0, 404, "{listener} {path}");
    }
    let url = format!("http://127.0.0.1:{}/health", daemon.port("health").await);
    assert_eq!(
        client()
            .post(&url)
            .send()
            .await
            .expect("it answers")
            .status(),
        405
    );
    assert_eq!(
        client()
            .head(&url)
            .send()
            .await
            .expect("it answers")
            .status(),
        200
    );
    let url = format!("http://127.0.0.1:{}/metrics", daemon.port("metrics").await);
    let answer = client().get(url).send().await.expect("it answers");
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4"
    );
}

#[tokio::test]
async fn closed_label_sets_are_there_from_the_first_scrape() {
    let redis = Redis::stopped(&[]);
    let daemon = Daemon::start(&redis, &[("REMEDIATION_ENABLED", "false")]);
    let (_, text) = daemon.get("metrics", "/metrics").await;
    for sample in [
        "mutt_remediation_loops_total ",
        "mutt_remediation_replay_success_total 0",
        "mutt_remediation_replay_fail_total{reason=\"timeout\"} 0",
        "mutt_remediation_replay_fail_total{reason=\"conflict\"} 0",
        "mutt_remediation_poison_messages_total 0",
        "mutt_remediation_moog_health 1",
        "mutt_moog_health_last_ok_timestamp 0",
        "mutt_remediation_loop_duration_seconds_bucket{le=\"+Inf\"}",
        "mutt_remediation_commit_duration_seconds_count 0",
        "mutt_remediation_dlq_depth{dlq_name=\"mutt:dlq:alerter\"} 0",
        "mutt_remediation_dlq_depth{dlq_name=\"mutt:dlq:dead\"} 0",
        "mutt_remediation_dlq_depth{dlq_name=\"mutt:dlq:moog\"} 0",
        "mutt_remediation_queue_depth{queue_name=\"mutt:ingest_queue\"} 0",
        "mutt_remediation_queue_depth{queue_name=\"mutt:alert_queue\"} 0",
        "mutt_remediation_passes_total{outcome=\"drained\",source=\"alerter\"} 0",
        "mutt_remediation_passes_total{outcome=\"unhealthy\",source=\"alerter\"} 0",
        "mutt_remediation_passes_total{outcome=\"redis_error\",source=\"alerter\"} 0",
        "mutt_remediation_config_refused_total{key=\"max_poison_retries\"} 0",
        "mutt_remediation_build_info{",
        "process_resident_memory_bytes ",
    ] {
        assert!(
            text.contains(&format!("\n{sample}")),
            "{sample} is not in\n{text}"
        );
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    let redis = Redis::start();
    redis.dead_letter(&["{}", "x"]).await;
    let daemon = Daemon::start(&redis, &[]);
    daemon
        .until_metric("mutt_remediation_replay_success_total", |count| {
            count == 1.0
        })
        .await;
    let (_, text) = daemon.get("metrics", "/metrics").await;
    // The name is MUTT's; a counter with a unit would end otherwise.
    let text = text.replace(
        "mutt_moog_health_last_ok_timestamp",
        "mutt_moog_health_last_ok_timestamp_seconds",
    );
    let mut promtool = tokio::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by `.ci/setup test`");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).await.expect("written");
    drop(input);
    let said = promtool.wait_with_output().await.expect("it ends");
    let complaints = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_variable() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for variable in ["HEALTH_PORT_REMEDIATION", "METRICS_PORT_REMEDIATION"] {
        let mut daemon = Daemon::start_alone(&[(variable, &port)]);
        assert_eq!(daemon.ended().await.code(), Some(1));
        let expected = format!("cannot listen on port {port} ({variable}): Address already in use");
        assert!(daemon.errors().contains(&expected), "{}", daemon.errors());
        assert!(
            !daemon.log().contains(" up "),
            "it never said that it was up"
        );
    }
}

/// Connections to a listener of which every other one has said half a request.
async fn idle(port: u16, number: usize) -> Vec<TcpStream> {
    let mut lines = Vec::new();
    for number in 0..number {
        let mut line = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("connected");
        if number % 2 == 0 {
            line.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n")
                .await
                .expect("sent");
        }
        lines.push(line);
    }
    lines
}

async fn answers(daemon: &Daemon) {
    for _ in 0..20 {
        assert_eq!(daemon.get("health", "/health").await.0, 200);
        assert_eq!(daemon.get("metrics", "/metrics").await.0, 200);
    }
}

#[tokio::test]
async fn a_thousand_idle_connections_are_held_and_neither_block_probes_nor_the_shutdown() {
    let allowed = mutt_remediation::open_files::allow_most();
    assert!(allowed >= 4_000, "only {allowed} open files are allowed");
    let redis = Redis::start();
    let mut daemon = Daemon::start(&redis, &[]);
    answers(&daemon).await;
    let before = daemon.peak_memory_kib();
    let health = idle(daemon.port("health").await, 1_000).await;
    let metrics = idle(daemon.port("metrics").await, 1_000).await;
    // On a slow machine the first have been closed again when the last have come.
    let open = daemon.metric("process_open_fds").await.expect("exposed");
    assert!(open > 1_000.0, "{open} descriptors");
    answers(&daemon).await;
    let grown = daemon.peak_memory_kib() - before;
    // Buffers for those that have said nothing would be 10 MiB more.
    assert!(grown < 17 * 1024, "{grown} KiB for 2,000 connections");
    daemon.signal("-TERM");
    assert_eq!(daemon.ended().await.code(), Some(0));
    drop((health, metrics));
}

#[tokio::test]
async fn a_daemon_that_may_open_few_files_holds_few_connections_and_goes_on_draining() {
    let redis = Redis::start();
    let daemon = Daemon::start_limited(&redis, 200);
    let health = idle(daemon.port("health").await, 300).await;
    let metrics = idle(daemon.port("metrics").await, 300).await;
    answers(&daemon).await;
    let open = daemon.metric("process_open_fds").await.expect("exposed");
    assert!(open < 150.0, "{open} descriptors");
    // Its connections to Redis must be made anew amid the crowd.
    let () = redis
        .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .await;
    redis.dead_letter(&["{}"]).await;
    daemon
        .until_metric("mutt_remediation_replay_success_total", |count| {
            count == 1.0
        })
        .await;
    drop((health, metrics));
}

#[tokio::test]
async fn where_no_file_can_be_opened_anymore_an_idle_connection_gives_way() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    let port = daemon.port("health").await;
    let held = idle(port, 100).await;
    let open = daemon.metric("process_open_fds").await.expect("exposed");
    let limit = Command::new("prlimit")
        .arg(format!("--pid={}", daemon.id()))
        .arg(format!("--nofile={open}:{open}"))
        .status();
    assert!(limit.expect("util-linux has it").success());
    let more = idle(port, 100).await;
    for _ in 0..20 {
        assert_eq!(daemon.get("health", "/health").await.0, 200);
    }
    drop((held, more));
}

/// Asks over this connection and leaves it open; `None` where it was closed.
async fn asked(line: &mut TcpStream) -> Option<String> {
    let request = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    line.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nOK") {
        match line.read_buf(&mut answer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    Some(String::from_utf8(answer).expect("text"))
}

/// A listener with these limits in this process, while the test goes on.
async fn with_listener(limits: Limits, test: impl AsyncFnOnce(u16)) {
    let (_sender, reach) = watch::channel(Reach::Up);
    let shutdown = CancellationToken::new();
    let routes = health_routes(HealthState {
        pulses: vec![],
        reach,
        shutdown: shutdown.clone(),
    });
    let listener = bind(0, "none").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::select! {
        () = serve(listener, routes, limits, shutdown) => unreachable!("nobody ends it"),
        () = test(port) => {}
    }
}

#[tokio::test]
async fn a_connection_that_asks_outlives_a_crowd_that_only_knocks() {
    with_listener(Limits::within(1_024), async |port| {
        outlives_a_crowd(port).await;
    })
    .await;
}

async fn outlives_a_crowd(port: u16) {
    let connect = || async { TcpStream::connect(("127.0.0.1", port)).await };
    let mut kept = Vec::new();
    for _ in 0..20 {
        kept.push(connect().await.expect("connected"));
    }
    let mut crowd = Vec::new();
    for number in 0..1_000 {
        if number % 100 == 0 {
            for line in &mut kept {
                let answer = asked(line).await.expect("it is still open");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
        }
        let mut line = connect().await.expect("connected");
        line.write_all(b"GET /heal").await.expect("sent");
        crowd.push(line);
    }
    for line in &mut kept {
        assert!(asked(line).await.is_some(), "it is still open");
    }
}

#[tokio::test]
async fn a_newcomer_is_heard_where_every_place_is_taken_by_those_that_have_asked() {
    with_listener(Limits::within(1_024), async |port| {
        is_heard_in_full(port, 256).await;
    })
    .await;
}

async fn is_heard_in_full(port: u16, places: usize) {
    let connect = || async { TcpStream::connect(("127.0.0.1", port)).await };
    let mut kept = Vec::new();
    for _ in 0..places {
        let mut line = connect().await.expect("connected");
        assert!(asked(&mut line).await.is_some(), "it is answered");
        kept.push(line);
    }
    let mut newcomer = connect().await.expect("connected");
    for _ in 0..20 {
        kept.push(connect().await.expect("connected"));
    }
    assert!(asked(&mut newcomer).await.is_some(), "it is answered");
    // The one that asked first was to go.
    let mut rest = Vec::new();
    kept[0].read_to_end(&mut rest).await.expect("it is closed");
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn a_client_that_falls_silent_before_its_request_is_complete_or_after_its_answer_is_closed() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    let port = daemon.port("health").await;
    let whole: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut closed = tokio::task::JoinSet::new();
    for said in [&b""[..], b"GET /heal", &whole[..whole.len() - 2], whole] {
        closed.spawn(async move {
            let mut client = TcpStream::connect(("127.0.0.1", port)).await?;
            client.write_all(said).await?;
            client.read_to_end(&mut Vec::new()).await
        });
    }
    // One that goes on for ever, a byte at a time.
    closed.spawn(async move {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await?;
        client.write_all(&whole[..whole.len() - 2]).await?;
        let (mut read, mut write) = client.split();
        let mut answer = Vec::new();
        let drip = async {
            while write.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = read.read_to_end(&mut answer) => end,
            () = drip => unreachable!("it never ends"),
        }
    });
    // Only their closing counts here, not how.
    let all = async { while closed.join_next().await.is_some() {} };
    let all = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(all.is_ok(), "they are closed after ten seconds");
}

#[tokio::test]
async fn a_client_that_asks_on_and_on_but_never_reads_is_closed() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    let port = daemon.port("metrics").await;
    let mut client = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connected");
    let requests = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    // What the system holds for both ends is full at some time, and then this waits.
    let asking = async { while client.write_all(&requests).await.is_ok() {} };
    let closed = tokio::time::timeout(Duration::from_secs(60), asking).await;
    assert!(closed.is_ok(), "it is closed after ten seconds");
    assert_eq!(daemon.get("metrics", "/metrics").await.0, 200);
}

#[tokio::test]
async fn an_oversized_request_head_is_refused() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    let mut client = TcpStream::connect(("127.0.0.1", daemon.port("health").await))
        .await
        .expect("connected");
    let head = format!(
        "GET /health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(1_000_000)
    );
    let _ = client.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    assert_eq!(daemon.get("health", "/health").await.0, 200);
}

#[tokio::test]
async fn a_stuck_loop_makes_the_process_unhealthy_but_a_shut_gate_or_a_lost_redis_does_not() {
    let pulse = Pulse::new(Duration::ZERO);
    let (_sender, reach) = watch::channel(Reach::Up);
    let shutdown = CancellationToken::new();
    let routes = health_routes(HealthState {
        pulses: vec![pulse.clone()],
        reach,
        shutdown: shutdown.clone(),
    });
    let listener = bind(0, "none").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let health = async {
        let url = format!("http://127.0.0.1:{port}/health");
        until("the loop is late", || async {
            client()
                .get(&url)
                .send()
                .await
                .expect("it answers")
                .status()
                == 503
        })
        .await;
        let answer = client().get(&url).send().await.expect("it answers");
        let text = answer.text().await.expect("a body");
        assert!(
            text.starts_with("the drain loop is stuck, overdue by"),
            "{text}"
        );
        pulse.expect_within(Duration::from_secs(60));
        assert_eq!(
            client()
                .get(&url)
                .send()
                .await
                .expect("it answers")
                .status(),
            200
        );
        shutdown.cancel();
    };
    let serve = serve(listener, routes, Limits::default(), shutdown.clone());
    tokio::join!(serve, health);
}
