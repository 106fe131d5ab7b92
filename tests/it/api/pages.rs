//! What can be looked at, and what the API tells of itself.

use std::ffi::OsString;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use mutt_remediation::audit::digest;
use mutt_remediation::config::Config;
use mutt_remediation::http::api::{ApiState, routes};
use mutt_remediation::operate::Operator;
use mutt_remediation::operate::wire::Who;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

use super::{Asker, KEY, answered, letter, with_letters};
use crate::support::redis::SOURCE;
use crate::support::{Redis, until};

/// The table of the agreement, as methods and paths.
const PAGES: [&str; 23] = [
    "DELETE /queues/{queue}/pause",
    "DELETE /settings/{key}",
    "GET /audit",
    "GET /openapi.json",
    "GET /queues",
    "GET /queues/{queue}",
    "GET /queues/{queue}/export",
    "GET /queues/{queue}/messages",
    "GET /queues/{queue}/messages/{digest}",
    "GET /queues/{queue}/originals/{original}",
    "GET /runs",
    "GET /runs/{run}",
    "GET /settings",
    "GET /slo",
    "GET /status",
    "POST /queues/{queue}/acts",
    "POST /queues/{queue}/import",
    "POST /queues/{queue}/messages/{digest}/edit",
    "POST /queues/{queue}/plans",
    "POST /runs",
    "POST /runs/{run}/cancel",
    "PUT /queues/{queue}/pause",
    "PUT /settings/{key}",
];

#[tokio::test]
async fn the_document_names_every_page_with_what_it_answers_and_the_metrics_count_them() {
    let (_redis, daemon) = with_letters(1).await;
    let asker = Asker::of(&daemon).await;
    let (_, document) = asker.get("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut pages = vec![];
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, page) in methods.as_object().expect("methods") {
            let path = path.strip_prefix("/api/v1").expect("the base");
            let name = format!("{} {path}", method.to_uppercase());
            let answers = page["responses"].as_object().expect("answers");
            assert!(page["summary"].is_string(), "{name}");
            assert!(
                answers.keys().any(|status| status.starts_with('2')),
                "{name}"
            );
            let mut refusals = vec!["400", "401", "403", "429", "503", "504"];
            if page.get("requestBody").is_some() {
                refusals.extend(["408", "413", "415", "422"]);
            }
            if path.contains('{') {
                refusals.push("404");
            }
            if method != "get" {
                refusals.push("409");
            }
            for status in refusals {
                let schema = &answers[status]["content"]["application/problem+json"]["schema"];
                assert_eq!(
                    schema["$ref"], "#/components/schemas/Problem",
                    "{name} {status}"
                );
            }
            pages.push(name);
        }
    }
    pages.sort();
    assert_eq!(pages, PAGES);

    asker.get("/none").await;
    asker.get("/queues/none").await;
    let sample = |method: &str, route: &str, status: &str| {
        format!(
            "mutt_remediation_api_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        )
    };
    let count = async |method: &str, route: &str, status: &str| {
        daemon.metric(&sample(method, route, status)).await
    };
    assert_eq!(count("other", "other", "4xx").await, Some(1.0));
    assert_eq!(
        count("GET", "/api/v1/queues/{queue}", "4xx").await,
        Some(1.0)
    );
    assert_eq!(count("GET", "/api/v1/openapi.json", "2xx").await, Some(1.0));
    assert_eq!(count("POST", "/api/v1/runs", "5xx").await, Some(0.0));
    assert_eq!(
        asker
            .ask(Method::PATCH, "/queues")
            .send()
            .await
            .expect("it answers")
            .status(),
        405
    );
    // Scrapes of 50 ms share one rendering.
    let others = sample("other", "other", "4xx");
    daemon.until_metric(&others, |count| count == 2.0).await;
    let (_, metrics) = daemon.get("metrics", "/metrics").await;
    let series = metrics
        .matches("\nmutt_remediation_api_requests_total{")
        .count();
    // Those of the document, what is no page, and the console's two.
    assert_eq!(series, 26 * 3);
}

#[tokio::test]
async fn a_message_that_is_too_large_to_show_is_named_and_left_to_an_export() {
    let (redis, daemon) = with_letters(0).await;
    let large = format!("{{\"message\":\"{}\"}}", "x".repeat(17 << 20));
    redis.push(SOURCE, &[&large]).await;
    let asker = Asker::of(&daemon).await;
    let (_, page) = asker.get("/queues/alerter/messages").await;
    assert_eq!(page["messages"][0]["bytes"], large.len());
    let address = format!("/queues/alerter/messages/{}", digest(large.as_bytes()));
    let (status, problem) = asker.get(&address).await;
    assert_eq!(status, 409, "{problem}");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("export") && detail.len() < 200, "{detail}");
    assert_eq!(redis.len(SOURCE).await, 1);
}

#[tokio::test]
async fn queues_pages_and_messages_are_shown() {
    let (_redis, daemon) = with_letters(5).await;
    let asker = Asker::of(&daemon).await;
    let (_, status) = asker.get("/status").await;
    assert_eq!(
        (&status["redis"], &status["queues"][0]["depth"]),
        (&"up".into(), &5.into())
    );
    let (_, queue) = asker.get("/queues/alerter").await;
    assert_eq!(
        (&queue["by_reason"]["failed"], &queue["complete"]),
        (&5.into(), &true.into())
    );
    let (_, page) = asker.get("/queues/alerter/messages?limit=2").await;
    assert_eq!(page["messages"][1]["summary"], "m1");
    let next = page["next"].as_str().expect("more");
    let (_, page) = asker
        .get(&format!("/queues/alerter/messages?limit=2&cursor={next}"))
        .await;
    assert_eq!(
        (&page["messages"][0]["summary"], &page["steady"]),
        (&"m2".into(), &true.into())
    );
    let digest = page["messages"][0]["digest"].as_str().expect("a digest");
    let (status, detail) = asker
        .get(&format!("/queues/alerter/messages/{digest}?at=2"))
        .await;
    assert_eq!((status, &detail["body"]), (200, &letter(2).into()));
    for missing in [
        "/queues/none",
        "/queues/alerter/messages/00000000",
        "/runs/none",
        "/queues/alerter/originals/1-1",
    ] {
        assert_eq!(asker.get(missing).await.0, 404, "{missing}");
    }
    let head = asker
        .ask(Method::HEAD, "/queues")
        .send()
        .await
        .expect("it answers");
    assert_eq!(head.status(), 200);
    assert_eq!(head.bytes().await.expect("nothing").len(), 0);
}

#[tokio::test]
async fn an_export_is_whole_with_its_last_line_and_can_be_imported_again() {
    let (redis, daemon) = with_letters(1_200).await;
    redis.dead_letter(&[b"\xff".as_slice()]).await;
    let asker = Asker::of(&daemon).await;
    let export = async |path: &str| {
        let response = asker
            .ask(Method::GET, path)
            .send()
            .await
            .expect("it answers");
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        response.text().await.expect("whole")
    };
    let text = export("/queues/alerter/export").await;
    assert_eq!(text.lines().count(), 1_202);
    assert!(text.ends_with("\n{\"end\":{\"lines\":1201}}\n"), "{text}");
    let some = export("/queues/alerter/export?host=sw1").await;
    assert!(some.ends_with("\n{\"end\":{\"lines\":400}}\n"));
    let none = export("/queues/dead/export").await;
    assert_eq!(none, "{\"end\":{\"lines\":0}}\n");

    let tail: Vec<&str> = text.lines().skip(1_100).collect();
    let request = asker
        .ask(Method::POST, "/queues/dead/import")
        .body(tail.join("\n"));
    let request = request.header("content-type", "application/x-ndjson");
    let (status, outcome) = answered(request).await;
    assert_eq!((status, &outcome["imported"]), (200, &101.into()));
    assert_eq!(export("/queues/dead/export").await.lines().count(), 102);
    assert_eq!(asker.get("/queues/none/export").await.0, 404);
}

#[tokio::test]
async fn an_export_that_cannot_go_on_breaks_off_without_its_last_line() {
    let (mut redis, daemon) = with_letters(0).await;
    let large = format!("{{\"message\":\"{}\"}}", "x".repeat(10_000));
    redis.dead_letter(&vec![large; 5_000]).await;
    let asker = Asker::of(&daemon).await;
    let request = asker.ask(Method::GET, "/queues/alerter/export");
    let request = request.timeout(std::time::Duration::from_secs(60));
    let mut response = request.send().await.expect("it answers");
    let first = response
        .chunk()
        .await
        .expect("a part")
        .expect("there is more");
    redis.kill();
    let mut text = first.to_vec();
    let ended = loop {
        match response.chunk().await {
            Ok(Some(part)) => text.extend_from_slice(&part),
            other => break other,
        }
    };
    assert!(ended.is_err(), "{} bytes look whole", text.len());
    assert!(!String::from_utf8_lossy(&text).contains("\"end\""));
    daemon.until_logged("an export has broken off").await;
}

#[tokio::test]
async fn the_same_pages_answer_in_process_where_no_key_is_needed() {
    let redis = Redis::start();
    redis.dead_letter(&[letter(0)]).await;
    let port = redis.port().to_string();
    let pairs = [("REDIS_PORT", port.as_str()), ("REMEDIATION_API_KEY", KEY)];
    let pairs = pairs.map(|(name, text)| (OsString::from(name), OsString::from(text)));
    let config = Config::load(pairs).expect("valid");
    let who = Who {
        name: "alice@here".into(),
        from: "cli".into(),
    };
    let (_, slos) = watch::channel(Arc::new(config.slo.nothing(&config.settings.slo)));
    let pages = routes(ApiState::in_process(Operator::new(&config), slos, who));
    let ask = async |method: &str, path: &str, body: &'static str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let request = request.body(Body::from(body)).expect("a request");
        let response = pages.clone().oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        let body: Value = serde_json::from_slice(&bytes.expect("a body")).expect("JSON");
        (status, body)
    };
    let (status, queues) = ask("GET", "/api/v1/queues", "").await;
    assert_eq!((status, &queues[0]["depth"]), (200, &1.into()));
    let (status, view) = ask("PUT", "/api/v1/queues/alerter/pause", r#"{"reason":"x"}"#).await;
    assert_eq!((status, &view["paused"]["by"]), (200, &"alice@here".into()));
    until("it is there", || async { redis.len(SOURCE).await == 1 }).await;
}
