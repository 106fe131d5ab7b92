//! More than one list to drain, each by its own rules.

use crate::support::daemon::output;
use crate::support::webhook::Manner;
use crate::support::{DEAD, Daemon, Redis, SOURCE, TARGET, Webhook, until};

const MOOG: &str = "mutt:dlq:moog";
const ALERTS: &str = "mutt:alert_queue";

#[tokio::test]
async fn the_forwarders_dead_letters_go_back_to_the_alert_queue_with_their_count_reset() {
    let redis = Redis::start();
    let letters = [
        r#"{"id":1,"_moog_retry_count":6}"#,
        r#"{"id":2,"_moog_retry_count":6,"_remediation_count":3}"#,
        "no JSON",
    ];
    redis.push(MOOG, &letters).await;
    redis.dead_letter(&[r#"{"id":3,"_retry_count":4}"#]).await;
    let daemon = Daemon::start(&redis, &[("REMEDIATION_MOOG_ENABLED", "true")]);
    until("all are moved", || async {
        redis.len(MOOG).await == 0 && redis.len(SOURCE).await == 0
    })
    .await;
    let alerts = redis.texts(ALERTS).await;
    assert_eq!(alerts.len(), 1);
    assert!(
        alerts[0].starts_with(r#"{"id":1,"_moog_retry_count":0,"_remediation_count":1,"#),
        "{alerts:?}"
    );
    assert_eq!(redis.len(DEAD).await, 2);
    assert_eq!(redis.len(TARGET).await, 1);
    for (source, replayed) in [("alerter", 1.0), ("moog", 1.0)] {
        let name = format!(
            "mutt_remediation_messages_total{{disposition=\"replay\",reason=\"\",source=\"{source}\"}}"
        );
        daemon.until_metric(&name, |count| count == replayed).await;
    }
    daemon
        .until_metric("mutt_remediation_replay_success_total", |count| {
            count == 2.0
        })
        .await;
}

#[tokio::test]
async fn a_source_of_ones_own_has_its_own_lists_counters_and_limits() {
    let redis = Redis::start();
    let letters = [
        r#"{"id":1,"tries":2,"fails":9}"#,
        r#"{"id":2,"tries":4}"#,
        r#"{"id":3,"tries":"many"}"#,
        r#"{"nothing":4}"#,
    ];
    redis.push("own:dead", &letters).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("REMEDIATION_SOURCES", "own_2"),
            ("SOURCE_OWN_2_DLQ", "own:dead"),
            ("SOURCE_OWN_2_TARGET", "own:work"),
            ("SOURCE_OWN_2_DEAD", "own:poison"),
            ("SOURCE_OWN_2_POISON_FIELDS", "tries"),
            ("SOURCE_OWN_2_RESET_FIELDS", "fails"),
            ("SOURCE_OWN_2_REQUIRED_FIELDS", "id"),
            ("SOURCE_OWN_2_MAX_POISON_RETRIES", "4"),
            ("SOURCE_OWN_2_BATCH_SIZE", "2"),
            ("SOURCE_OWN_2_BATCHES_PER_CYCLE", "2"),
        ],
    );
    until("all are moved", || async {
        redis.len("own:dead").await == 0
    })
    .await;
    let work = redis.texts("own:work").await;
    assert_eq!(work.len(), 1);
    assert!(
        work[0].starts_with(r#"{"id":1,"tries":2,"fails":0,"_remediation_count":1,"#),
        "{work:?}"
    );
    assert_eq!(redis.len("own:poison").await, 3);
    let own = "mutt_remediation_gate{source=\"own_2\",state=\"open\"}";
    daemon.until_metric(own, |is| is == 1.0).await;
    let depth = "mutt_remediation_dlq_depth{dlq_name=\"own:poison\"}";
    daemon.until_metric(depth, |depth| depth == 3.0).await;
}

#[tokio::test]
async fn two_sources_that_share_a_target_share_its_limit() {
    let redis = Redis::start();
    let letters: Vec<String> = (0..200).map(|id| format!(r#"{{"id":{id}}}"#)).collect();
    redis.dead_letter(&letters).await;
    redis.push("own:dead", &letters).await;
    let _daemon = Daemon::start(
        &redis,
        &[
            ("REMEDIATION_SOURCES", "own"),
            ("SOURCE_OWN_DLQ", "own:dead"),
            ("SOURCE_OWN_TARGET", TARGET),
            ("REMEDIATION_INTERVAL", "1"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_BATCH_PAUSE_MS", "0"),
            ("REPLAY_TARGET_MAX_DEPTH", "25"),
        ],
    );
    let mut seen = 0;
    until("both are drained", || {
        let redis = &redis;
        async move {
            let depth = redis.len(TARGET).await;
            assert!(depth <= 25, "{depth}");
            let _: redis::Value = redis.command(&["RPOP", TARGET, "20"]).await;
            redis.len(SOURCE).await + redis.len("own:dead").await == 0
        }
    })
    .await;
    seen += redis.len(TARGET).await;
    assert!(seen <= 25);
}

#[tokio::test]
async fn all_sources_share_the_probe() {
    let redis = Redis::start();
    let webhook = Webhook::start(Manner::Status(200)).await;
    redis.dead_letter(&["{}"]).await;
    redis.push(MOOG, &["{}"]).await;
    let _daemon = Daemon::start(
        &redis,
        &[
            ("REMEDIATION_MOOG_ENABLED", "true"),
            ("MOOG_WEBHOOK_URL", &webhook.url()),
        ],
    );
    until("both are replayed", || async {
        redis.len(TARGET).await == 1 && redis.len(ALERTS).await == 1
    })
    .await;
    // A healthy answer serves for a minute.
    assert_eq!(webhook.requests().len(), 1);
}

#[tokio::test]
async fn a_full_alert_queue_keeps_back_only_what_goes_there() {
    for (target, said, goes) in [
        ("own:work", "", true),
        ("own:work", "true", false),
        (TARGET, "", false),
        (ALERTS, "", false),
        (TARGET, "false", true),
    ] {
        let redis = Redis::start();
        redis.push(ALERTS, &vec!["{}"; 1_001]).await;
        redis.push("own:dead", &[r#"{"id":1}"#]).await;
        let daemon = Daemon::start(
            &redis,
            &[
                ("REMEDIATION_SOURCES", "own"),
                ("SOURCE_OWN_DLQ", "own:dead"),
                ("SOURCE_OWN_TARGET", target),
                ("SOURCE_OWN_BACKPRESSURE", said),
            ],
        );
        let state = if goes { "open" } else { "shut" };
        let gate = format!("mutt_remediation_gate{{source=\"own\",state=\"{state}\"}}");
        daemon.until_metric(&gate, |is| is == 1.0).await;
        if goes {
            until("it is replayed", || async {
                redis.len("own:dead").await == 0
            })
            .await;
        }
        assert_eq!(redis.len("own:dead").await, usize::from(!goes), "{target}");
    }
}

#[test]
fn variables_of_a_source_that_is_not_named_are_warned_about() {
    for named in ["", "syslog"] {
        let variables = [
            ("REMEDIATION_SOURCES", named),
            ("SOURCE_SYSLOG_DLQ", "a"),
            ("SOURCE_SYSLOG_TARGET", "b"),
            ("SOURCE_SOMEBODY_ELSE_DLQ", "own:dead"),
            ("SOURCE_SOMEBODY_ELSE_BATCHES_PER_CYCLE", "5"),
            ("SOURCE_DATE_EPOCH", "1"),
            ("SOURCE_SOMEBODY_ELSE_COLOUR", "red"),
        ];
        let warned = output(&["--check-config"], &variables);
        assert_eq!(warned.status.code(), Some(0));
        let text = [warned.stdout, warned.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        for part in ["DLQ", "BATCHES_PER_CYCLE"] {
            let told = format!(
                "SOURCE_SOMEBODY_ELSE_{part} has no effect: REMEDIATION_SOURCES does not name somebody_else"
            );
            assert!(text.contains(&told), "{told} is not in\n{text}");
        }
        let told = "SOURCE_SYSLOG_DLQ has no effect";
        assert_eq!(text.contains(told), named.is_empty(), "{text}");
        for others in ["SOURCE_DATE_EPOCH", "SOURCE_SOMEBODY_ELSE_COLOUR"] {
            assert!(!text.contains(others), "{others} is in\n{text}");
        }
    }
}

#[test]
fn work_is_not_drained_and_nothing_is_replayed_into_a_dead_list() {
    let refused = |variables: &[(&str, &str)], problem: &str| {
        let both = [
            ("REMEDIATION_SOURCES", "own,twin"),
            ("SOURCE_TWIN_DLQ", "twin:dead"),
        ];
        let twin = [
            ("SOURCE_TWIN_TARGET", "twin:work"),
            ("SOURCE_TWIN_DEAD", "twin:poison"),
        ];
        let output = output(&["--check-config"], &[&both[..], &twin, variables].concat());
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{problem}: {text}");
        assert!(text.contains(problem), "{problem} is not in\n{text}");
        assert!(text.contains("has 1 problem:"), "{text}");
    };
    let own = |list, target| [("SOURCE_OWN_DLQ", list), ("SOURCE_OWN_TARGET", target)];
    refused(
        &own("mutt:alert_queue", "own:work"),
        "SOURCE_OWN_DLQ and ALERT_QUEUE_NAME are both \"mutt:alert_queue\"",
    );
    refused(
        &own(TARGET, "own:work"),
        &format!("SOURCE_OWN_DLQ and INGEST_QUEUE_NAME are both \"{TARGET}\""),
    );
    refused(
        &own("own:dead", "twin:poison"),
        "SOURCE_OWN_TARGET and SOURCE_TWIN_DEAD are both \"twin:poison\"",
    );
    let dead = ("SOURCE_OWN_DEAD", "mutt:alert_queue");
    refused(
        &[&own("own:dead", "own:work")[..], &[dead]].concat(),
        "SOURCE_OWN_DEAD and ALERT_QUEUE_NAME are both \"mutt:alert_queue\"",
    );
}
