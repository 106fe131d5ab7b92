//! Collectors that are away, slow, full or mad, beside a drain that does not notice.

use super::*;

const LETTERS: u32 = 3_000;

/// A batch for each message, so that there are more spans than there is room for.
const MANY: [(&str, &str); 3] = [
    ("REMEDIATION_BATCH_SIZE", "1"),
    ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
    // Longer than any test waits: whoever waited for the collector would wait for ever.
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "300000"),
];

async fn drained_beside(collector: &str, count: u32, told: &str) -> Daemon {
    let redis = Redis::start();
    let poison = vec!["poison"; 10];
    redis.dead_letter(&poison).await;
    let letters: Vec<String> = (0..count).map(|i| format!(r#"{{"n":{i}}}"#)).collect();
    redis.dead_letter(&letters).await;
    let mut daemon = traced(&redis, collector, &MANY);
    until("all are replayed", || async {
        redis.len(TARGET).await == count as usize
    })
    .await;
    assert_eq!(redis.len(DEAD).await, poison.len());
    let replayed = "mutt_remediation_replay_success_total";
    daemon
        .until_metric(replayed, |replayed| replayed == f64::from(count))
        .await;
    for page in ["/health", "/ready"] {
        assert_eq!(daemon.get("health", page).await.0, 200, "{page}");
    }
    if !told.is_empty() {
        daemon.until_logged(told).await;
    }
    assert_eq!(
        daemon.log().matches("traces cannot be sent").count(),
        usize::from(!told.is_empty())
    );
    let peak = daemon.peak_memory_kib();
    assert!(peak < 80 * 1024, "{peak} KiB");
    daemon.signal("-TERM");
    assert!(daemon.ended().await.success());
    daemon
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_spans_and_no_message() {
    for manner in [Manner::Hang, Manner::Drip] {
        let collector = Webhook::start(manner).await;
        let daemon = drained_beside(&collector.root(), LETTERS, "").await;
        assert_eq!(collector.requests().len(), 1, "it was asked once");
        assert!(
            daemon
                .log()
                .contains("the process ends before all traces could be sent")
        );
    }
}

#[tokio::test]
async fn a_collector_that_refuses_or_is_away_is_told_of_once() {
    let closed = mutt_remediation::demo::server::free_port().expect("a port");
    let closed = format!("http://127.0.0.1:{closed}");
    drained_beside(&closed, 1_000, "Connection refused").await;
    for (manner, told) in [
        (Manner::Status(500), "answered 500"),
        (Manner::Busy, "answered 429"),
        (
            Manner::Redirect,
            "answered 302, a redirect, which is not followed",
        ),
        (Manner::EndlessBody, "answered 500"),
        (Manner::Nonsense, "traces cannot be sent"),
    ] {
        let collector = Webhook::start(manner).await;
        drained_beside(&collector.root(), 1_000, told).await;
    }
}

#[tokio::test]
async fn where_there_is_no_room_spans_are_dropped_and_counted() {
    let redis = Redis::start();
    let collector = Webhook::start(Manner::Hang).await;
    let letters: Vec<String> = (0..LETTERS).map(|i| format!(r#"{{"n":{i}}}"#)).collect();
    redis.dead_letter(&letters).await;
    let daemon = traced(&redis, &collector.root(), &MANY);
    until("all are replayed", || async {
        redis.len(TARGET).await == LETTERS as usize
    })
    .await;
    // A peek and a commit for each; 2,048 have room, and 512 are being sent.
    let least = f64::from(2 * LETTERS - 2_048 - 512);
    daemon
        .until_metric(&result("dropped"), |dropped| dropped >= least)
        .await;
    for other in ["sent", "refused", "failed"] {
        assert_eq!(daemon.metric(&result(other)).await, Some(0.0), "{other}");
    }
}

#[tokio::test]
async fn a_collector_that_comes_back_gets_what_has_waited() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let collector = Webhook::start(Manner::Busy).await;
    let daemon = traced(&redis, &collector.root(), &[]);
    daemon.until_logged("traces cannot be sent").await;
    assert!(daemon.log().contains("answered 429"), "{}", daemon.log());
    until("it is asked again", || async {
        collector.requests().len() >= 2
    })
    .await;
    assert_eq!(daemon.metric(&result("sent")).await, Some(0.0));
    collector.behave(Manner::Status(200));
    daemon.until_logged("traces are sent again").await;
    daemon
        .until_metric(&result("sent"), |sent| sent >= 3.0)
        .await;
    for other in ["refused", "failed", "dropped"] {
        assert_eq!(daemon.metric(&result(other)).await, Some(0.0), "{other}");
    }
    assert_eq!(daemon.log().matches("traces cannot be sent").count(), 1);
}

#[tokio::test]
async fn the_last_pass_is_told_before_the_process_ends() {
    let redis = Redis::start();
    let collector = Collector::start(&[]).await;
    // The pass ends by the signal: its batches are without end otherwise.
    let mut daemon = traced(
        &redis,
        &collector.url(),
        &[
            ("REMEDIATION_BATCH_PAUSE_MS", "60000"),
            ("REMEDIATION_BATCH_SIZE", "1"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ],
    );
    pass_that(&collector, "empty").await;
    redis.dead_letter(&["{}", "{}"]).await;
    until("one is replayed", || async { redis.len(TARGET).await == 1 }).await;
    daemon.signal("-TERM");
    assert!(daemon.ended().await.success());
    let pass = collector.named("pass").pop().expect("it has come");
    assert_eq!(pass.attributes["outcome"], "drained");
    assert_eq!(pass.attributes["replayed"], 1);
    assert_eq!(children(&collector, &pass).len(), 2, "a peek and a commit");
    assert!(!daemon.log().contains("could be sent"), "{}", daemon.log());
}

#[tokio::test]
async fn a_collector_that_takes_a_part_is_believed() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let collector = Collector::start(&["--reject", "1"]).await;
    let daemon = traced(&redis, &collector.url(), &[]);
    daemon.until_logged("has taken all but 1 spans").await;
    assert!(!daemon.log().contains('\u{1b}'), "{}", daemon.log());
    daemon
        .until_metric(&result("refused"), |count| count >= 1.0)
        .await;
    daemon
        .until_metric(&result("sent"), |count| count >= 1.0)
        .await;
}

#[tokio::test]
async fn of_an_answer_without_end_the_status_counts() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let collector = Webhook::start(Manner::EndlessAnswer).await;
    let daemon = traced(&redis, &collector.root(), &[]);
    daemon
        .until_metric(&result("sent"), |sent| sent >= 3.0)
        .await;
    assert!(!daemon.log().contains("cannot be sent"), "{}", daemon.log());
}
