//! Traces, as a collector reads them that knows OpenTelemetry's own definitions.

mod away;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::daemon::output;
use crate::support::otlp::{Span, attributes};
use crate::support::webhook::Manner;
use crate::support::{Collector, DEAD, Daemon, Redis, TARGET, Webhook, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A daemon that tells this collector.
fn traced(redis: &Redis, collector: &str, others: &[(&str, &str)]) -> Daemon {
    let mut all = vec![
        ("OTEL_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        ("POD_NAME", "remediation-0"),
    ];
    all.extend(others);
    Daemon::start(redis, &all)
}

fn result(result: &str) -> String {
    format!("mutt_remediation_spans_total{{result=\"{result}\"}}")
}

/// Waits for the first pass that ended so.
async fn pass_that(collector: &Collector, outcome: &str) -> Span {
    let ended = |span: &Span| span.name == "pass" && span.attributes["outcome"] == outcome;
    until(&format!("a pass has come that is {outcome}"), || async {
        collector.spans().iter().any(ended)
    })
    .await;
    collector.spans().into_iter().find(ended).expect("seen")
}

fn children(collector: &Collector, of: &Span) -> BTreeMap<String, Span> {
    let children = collector.spans().into_iter();
    children
        .filter(|span| span.trace == of.trace && span.parent == of.id)
        .map(|span| (span.name.clone(), span))
        .collect()
}

fn has_thread(daemon: &Daemon) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.id())).expect("it runs");
    tasks.flatten().any(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "traces\n")
    })
}

#[tokio::test]
async fn a_pass_is_a_trace_with_its_probe_peek_and_commit() {
    let redis = Redis::start();
    let first = format!(r#"{{"note":"private","traceparent":"00-{TRACE}-{SPAN}-01"}}"#);
    let letters = [
        first.as_str(),
        r#"{"note":"private","traceparent":"00-nonsense-01"}"#,
        r#"{"_moog_retry_count":9,"traceparent":"00-00000000000000000000000000000001-0000000000000002-00"}"#,
        "private, and no JSON",
    ];
    redis.dead_letter(&letters).await;
    let bytes: usize = letters.iter().map(|letter| letter.len()).sum();
    let webhook = Webhook::start(Manner::Status(200)).await;
    let collector = Collector::start(&[]).await;
    let daemon = traced(
        &redis,
        &collector.url(),
        &[
            ("MOOG_WEBHOOK_URL", &webhook.url()),
            ("LOG_JSON_ENABLED", "true"),
            ("OTEL_SERVICE_NAME", "drain"),
            ("SERVICE_VERSION", "9.9"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=a%20b,service.name=other",
            ),
        ],
    );
    let pass = pass_that(&collector, "drained").await;
    assert_eq!(pass.parent, "");
    for (name, value) in [
        ("source", json!("alerter")),
        ("replayed", json!(2)),
        ("dead", json!(2)),
        ("batches", json!(1)),
        ("depth", json!(0)),
    ] {
        assert_eq!(pass.attributes[name], value, "{name}");
    }
    let children = children(&collector, &pass);
    let names: Vec<&String> = children.keys().collect();
    assert_eq!(names, ["commit", "peek", "probe"]);
    for name in ["peek", "commit"] {
        assert_eq!(children[name].attributes["messages"], 4, "{name}");
        assert_eq!(children[name].attributes["bytes"], bytes, "{name}");
    }
    let commit = &children["commit"];
    assert_eq!(commit.attributes["result"], "moved");
    let other = "00000000000000000000000000000001-0000000000000002";
    assert_eq!(commit.links, [format!("{TRACE}-{SPAN}"), other.to_owned()]);
    assert!(pass.links.is_empty() && children["peek"].links.is_empty());
    for span in collector.spans() {
        let whole = span.whole.to_string();
        assert!(!whole.contains("private"), "{whole}");
    }

    // Moogsoft is told of the span in which it is asked.
    let probe = &children["probe"];
    assert_eq!(probe.attributes["healthy"], true);
    let header = format!("\r\ntraceparent: 00-{}-{}-01\r\n", probe.trace, probe.id);
    assert!(webhook.requests()[0].contains(&header));
    // The message is not.
    let replayed = redis.texts(TARGET).await;
    let kept = format!(r#"{{"note":"private","traceparent":"00-{TRACE}-{SPAN}-01","#);
    assert!(
        replayed.iter().any(|text| text.starts_with(&kept)),
        "{replayed:?}"
    );

    let request = &collector.requests()[0];
    assert_eq!(request["path"], "/v1/traces");
    assert_eq!(request["headers"]["content-type"], "application/x-protobuf");
    let of = &request["request"]["resource_spans"][0];
    let resource = attributes(&of["resource"]);
    for (name, value) in [
        ("service.name", "drain"),
        ("service.version", "9.9"),
        ("service.instance.id", "remediation-0"),
        ("deployment.environment.name", "a b"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(resource[name], value, "{name}");
    }
    assert_eq!(of["scope_spans"][0]["scope"]["name"], "mutt-remediation");

    let log = daemon.log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    let moved = lines
        .iter()
        .find(|line| line["message"] == "pass moved messages");
    let moved = moved.expect("it is logged");
    assert_eq!(moved["trace_id"], pass.trace.as_str());
    assert_eq!(moved["span_id"], pass.id.as_str());
    let up = lines
        .iter()
        .find(|line| line["message"] == "up")
        .expect("it is logged");
    assert_eq!(up.get("trace_id"), None, "it belongs to no pass");
}

#[tokio::test]
async fn a_commit_names_32_traces_and_counts_the_others_whatever_the_sdk_would_read() {
    let redis = Redis::start();
    let letter = |n: usize| format!(r#"{{"traceparent":"00-{TRACE}-{n:016x}-01"}}"#);
    let letters: Vec<String> = (1..=100).map(letter).collect();
    redis.dead_letter(&letters).await;
    let collector = Collector::start(&[]).await;
    let daemon = traced(
        &redis,
        &collector.url(),
        &[
            ("REMEDIATION_BATCH_SIZE", "100"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "1"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "86400000"),
        ],
    );
    let pass = pass_that(&collector, "drained").await;
    let commit = &children(&collector, &pass)["commit"];
    assert_eq!(commit.attributes["messages"], 100);
    assert_eq!(commit.links.len(), 32);
    // The oldest, which went first.
    assert_eq!(commit.links[0], format!("{TRACE}-0000000000000001"));
    assert_eq!(commit.links_dropped, 68);
    daemon
        .until_logged("OTEL_SPAN_LINK_COUNT_LIMIT is not supported and has no effect")
        .await;
    // For people too a line says where it belongs.
    let ids = format!("trace_id={} span_id={}", pass.trace, pass.id);
    let log = daemon.log();
    let mut lines = log
        .lines()
        .filter(|line| line.contains("pass moved messages"));
    assert!(lines.all(|line| line.ends_with(&ids)), "{log}");
    daemon
        .until_metric(&result("sent"), |sent| sent >= 3.0)
        .await;
}

#[tokio::test]
async fn what_fails_is_an_error_in_its_span_and_in_no_others_words() {
    let mut redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let webhook = Webhook::start(Manner::Status(503)).await;
    let collector = Collector::start(&[]).await;
    let url = webhook.url();
    let _daemon = traced(&redis, &collector.url(), &[("MOOG_WEBHOOK_URL", &url)]);
    let failed = |span: &Span| span.whole["status"]["code"] == "STATUS_CODE_ERROR";
    let pass = pass_that(&collector, "unhealthy").await;
    assert!(!failed(&pass), "it did what it is for");
    let probe = &children(&collector, &pass)["probe"];
    assert!(failed(probe));
    assert_eq!(probe.attributes["healthy"], false);
    assert_eq!(probe.attributes["http.response.status_code"], 503);
    assert_eq!(probe.attributes["error.type"], "status");

    webhook.behave(Manner::Status(200));
    pass_that(&collector, "drained").await;
    redis.kill();
    let pass = pass_that(&collector, "redis_error").await;
    assert!(failed(&pass));
    assert_eq!(pass.attributes["error.type"], "unreachable");
    for span in collector.spans() {
        let whole = span.whole.to_string();
        assert!(
            !whole.contains("hush") && !whole.contains("refused"),
            "{whole}"
        );
    }
}

#[tokio::test]
async fn without_tracing_there_is_no_span_no_thread_and_no_header() {
    let redis = Redis::start();
    redis
        .dead_letter(&[format!(r#"{{"traceparent":"00-{TRACE}-{SPAN}-01"}}"#)])
        .await;
    let webhook = Webhook::start(Manner::Status(200)).await;
    let collector = Collector::start(&[]).await;
    let off = Daemon::start(
        &redis,
        &[
            ("MOOG_WEBHOOK_URL", &webhook.url()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("LOG_LEVEL", "DEBUG"),
        ],
    );
    until("it is replayed", || async { redis.len(TARGET).await == 1 }).await;
    off.until_logged("pass moved messages").await;
    assert!(!off.log().contains("trace_id"), "{}", off.log());
    assert!(!webhook.requests()[0].contains("traceparent"));
    assert!(!has_thread(&off));
    assert_eq!(off.metric(&result("sent")).await, Some(0.0));
    assert!(collector.requests().is_empty());

    let on = traced(&redis, &collector.url(), &[]);
    pass_that(&collector, "empty").await;
    assert!(has_thread(&on));
}

#[tokio::test]
async fn a_trace_that_is_not_to_be_sent_is_known_by_its_flag_and_its_ids() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let webhook = Webhook::start(Manner::Status(200)).await;
    let collector = Collector::start(&[]).await;
    let daemon = traced(
        &redis,
        &collector.url(),
        &[
            ("MOOG_WEBHOOK_URL", &webhook.url()),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ],
    );
    daemon.until_logged("trace_id=").await;
    let requests = webhook.requests();
    let header = requests[0]
        .split("\r\ntraceparent: ")
        .nth(1)
        .expect("it is sent");
    let parent = header.split("\r\n").next().unwrap_or_default();
    assert!(
        parent.starts_with("00-") && parent.ends_with("-00"),
        "{parent}"
    );
    let trace = parent.split('-').nth(1).expect("a trace");
    daemon.until_logged(&format!("trace_id={trace}")).await;
    let passes = "mutt_remediation_loops_total";
    daemon.until_metric(passes, |passes| passes >= 4.0).await;
    assert!(collector.requests().is_empty());
}

#[tokio::test]
async fn headers_reach_the_collector_and_nobody_else() {
    let redis = Redis::start();
    let collector = Collector::start(&[]).await;
    let place = format!("{}/hush/traces?token=hush", collector.url());
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", place.as_str()),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20hush-1,x-tenant=hush-2",
        ),
        ("LOG_LEVEL", "trace,"),
    ];
    let daemon = traced(&redis, "http://127.0.0.1:1", &variables);
    pass_that(&collector, "empty").await;
    let request = &collector.requests()[0];
    assert_eq!(request["path"], "/hush/traces?token=hush");
    assert_eq!(request["headers"]["authorization"], "Bearer hush-1");
    assert_eq!(request["headers"]["x-tenant"], "hush-2");
    daemon
        .until_metric(&result("sent"), |sent| sent > 0.0)
        .await;
    let (_, metrics) = daemon.get("metrics", "/metrics").await;
    let shown = output(&["--check-config"], &variables);
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(
        shown.contains("OTEL_EXPORTER_OTLP_HEADERS=(set, not shown)"),
        "{shown}"
    );
    for text in [daemon.log(), daemon.errors(), metrics, shown] {
        assert!(!text.contains("hush"), "{text}");
    }
}
