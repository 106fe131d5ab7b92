//! What is too large, too slow, too much, or not what it should be.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Asker, KEY, READ_KEY, answered, letter, with_letters};
use crate::support::redis::SOURCE;
use crate::support::until;

const ACTS: &str = "/queues/alerter/acts";
const IMPORT: &str = "/queues/alerter/import";

#[tokio::test]
async fn a_body_is_bounded_typed_and_understood_to_the_last_member() {
    let (redis, daemon) = with_letters(1).await;
    let asker = Asker::of(&daemon).await;
    let with = |kind: &str, body: Vec<u8>| {
        let request = asker.ask(Method::POST, ACTS).body(body);
        answered(request.header("content-type", kind))
    };
    let json = "application/json";
    assert_eq!(with(json, vec![b' '; 1 << 20]).await.0, 400);
    assert_eq!(with(json, vec![b' '; (1 << 20) + 1]).await.0, 413);
    let good = br#"{"action":"purge","messages":[{"digest":"00000000"}]}"#;
    assert_eq!(with(json, good.to_vec()).await.0, 200);
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
    ] {
        assert_eq!(with(kind, good.to_vec()).await.0, 415, "{kind}");
    }
    let packed = asker.ask(Method::POST, ACTS).header("content-type", json);
    let packed = packed
        .header("content-encoding", "gzip")
        .body(good.to_vec());
    assert_eq!(answered(packed).await.0, 415);
    let deep = format!("{{\"action\":{}", "[".repeat(100_000));
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("\u{feff}{}", 400),
        (deep.as_str(), 400),
        ("[]", 422),
        ("{}", 422),
        (r#"{"action":"explode","messages":[]}"#, 422),
        (r#"{"action":"purge","messages":[],"all":true}"#, 422),
        (r#"{"action":"purge","action":"bury","messages":[]}"#, 422),
        (
            r#"{"action":"purge","messages":[{"digest":"00000000","at":-1}]}"#,
            422,
        ),
        (r#"{"action":"purge","messages":[{"digest":"x"}]}"#, 422),
        (r#"{"action":"purge","messages":[]}"#, 422),
    ] {
        assert_eq!(with(json, body.into()).await.0, status, "{body}");
    }
    assert_eq!(redis.len(SOURCE).await, 1);
}

#[tokio::test]
async fn an_import_is_bounded_by_bytes_and_lines_and_taken_whole_or_not_at_all() {
    let (redis, daemon) = with_letters(0).await;
    let asker = Asker::of(&daemon).await;
    let with = |body: String| {
        let request = asker.ask(Method::POST, IMPORT).body(body);
        answered(request.header("content-type", "application/x-ndjson"))
    };
    let line = |number| json!({"body": letter(number)}).to_string() + "\n";
    let many: String = (0..1_000).map(line).collect();
    let large = json!({"body": json!({"message": "x".repeat(2 << 20)}).to_string()});
    for (body, status) in [
        (" ".repeat((8 << 20) + 1), 413),
        (many.clone() + &line(1_000), 422),
        (line(0) + "{\"body\":1}\n", 422),
        (line(0) + "{\"body\":\"{}\",\"more\":1}\n", 422),
        (line(0) + "{\"base64\":\"*\"}\n", 422),
        (line(0) + "{", 400),
        (String::new(), 422),
    ] {
        let start: String = body.chars().take(80).collect();
        assert_eq!(with(body).await.0, status, "{start}");
        assert_eq!(redis.len(SOURCE).await, 0, "{start}");
    }
    assert_eq!(with(large.to_string()).await.0, 200);
    assert_eq!(with(many).await.1["imported"], 1_000);
    assert_eq!(redis.len(SOURCE).await, 1_001);
}

#[tokio::test]
async fn a_parameter_is_known_and_given_once() {
    let (_redis, daemon) = with_letters(1).await;
    let asker = Asker::of(&daemon).await;
    for path in [
        "/queues?verbose=1",
        "/status?x",
        "/queues/alerter/messages?limits=5",
        "/queues/alerter/messages?limit=5&limit=6",
        "/queues/alerter/messages?limit=0",
        "/queues/alerter/messages?limit=501",
        "/queues/alerter/messages?limit=five",
        "/queues/alerter/messages?scan=1000001",
        "/queues/alerter/messages?newest_first=yes",
        "/queues/alerter/messages?field=hostname",
        "/queues/alerter/messages?contains=message=x",
        "/queues/alerter/messages?cursor=x",
        "/queues/alerter/messages?text=%ff",
        "/queues/alerter/messages?min_age=5&max_age=4",
        "/queues/alerter?scan=-1",
        "/queues/alerter/export?limit=5",
        "/queues/alerter/messages/xyz",
        "/queues/alerter/messages/00000000?at=1e3",
        "/audit?kind=none",
        "/audit?before=x",
        "/audit?before=0-0",
    ] {
        let (status, problem) = asker.get(path).await;
        assert_eq!(status, 400, "{path} {problem}");
    }
    assert_eq!(asker.delete("/queues/alerter/pause?force=1").await.0, 400);
    let twice = "/queues/alerter/messages?field=hostname=sw0&field=message=m0&contains=message~M";
    let (_, page) = asker.get(twice).await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1), "{page}");
}

#[tokio::test]
async fn tricks_with_paths_and_heads_lead_nowhere() {
    let (redis, daemon) = with_letters(1).await;
    let asker = Asker::of(&daemon).await;
    let long = format!("/api/v1/queues/{}", "a".repeat(8_000));
    let endless = format!("/api/v1/queues/{}", "a".repeat(80_000));
    for path in [
        "//api/v1/queues",
        "/api/v1//queues",
        "/api/v1/queues/",
        "/api/v1/./queues",
        "/api/v1/queues/../settings",
        "/api/v1/queues/%2e%2e/export",
        "/api/v1/queues/..%2f..%2fmetrics",
        "/api/v1/queues/alerter%2fexport",
        "/api/v1/queues/alerter%00",
        "/api/v1/queues/%ff",
        "/api/v1/queues/%zz",
        "/api/v1/queues/mutt:dlq:alerter",
        "/api/v1/queues/ALERTER",
        "/api/v1/queues/alerter;x=1",
        "/API/V1/queues",
        "/metrics",
        "*",
        &long,
        &endless,
    ] {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: close\r\n\r\n"
        );
        let answer = asker.raw(head.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        let shown: String = path.chars().take(60).collect();
        assert!(
            status.starts_with('4') || status == "closed",
            "{shown}: {answer}"
        );
    }
    for head in [
        format!("GET /api/v1/queues HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\0\r\n\r\n"),
        format!("GET /api/v1/queues\0 HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n\r\n"),
        format!("GET /api/v1/queues HTTP/1.1\r\nhost: x\r\nx-api-key : {KEY}\r\n\r\n"),
        format!("GET /api/v1/queues HTTP/1.1\r\nhost: x\r\n x-api-key: {KEY}\r\n\r\n"),
        format!(
            "POST /api/v1{ACTS} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"
        ),
        format!(
            "POST /api/v1{ACTS} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ntransfer-encoding: chunked, identity\r\n\r\n"
        ),
        format!(
            "GET /api/v1/queues HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nx: {}\r\n\r\n",
            "y".repeat(100_000)
        ),
        format!(
            "GET /api/v1/queues HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n{}\r\n",
            "x: y\r\n".repeat(200)
        ),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let answer = asker.raw(head.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        let shown: String = head.chars().take(120).collect();
        assert!(
            status.starts_with('4') || status == "closed",
            "{shown}: {answer}"
        );
    }
    for method in [Method::OPTIONS, Method::PATCH, Method::TRACE, Method::PUT] {
        let response = asker
            .ask(method.clone(), "/queues")
            .send()
            .await
            .expect("it answers");
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "GET,HEAD");
    }
    assert_eq!(redis.len(SOURCE).await, 1);
    assert_eq!(asker.get("/queues").await.0, 200);
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_given_up_and_hold_up_nobody() {
    let (_redis, daemon) = with_letters(1).await;
    let asker = Asker::of(&daemon).await;
    let head = format!("GET /api/v1/queues HTTP/1.1\r\nx-api-key: {KEY}\r\n");
    let mut slow_heads = vec![];
    for _ in 0..100 {
        let mut line = TcpStream::connect(asker.address).await.expect("connected");
        line.write_all(head.as_bytes()).await.expect("sent");
        slow_heads.push(line);
    }
    let body = format!(
        "POST /api/v1{ACTS} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let slow_body = asker.raw(body.as_bytes());
    let others = async {
        for _ in 0..20 {
            assert_eq!(asker.get("/queues").await.0, 200);
        }
        let mut rest = vec![];
        for mut line in slow_heads {
            // Closed by the other side, with or without a word.
            let _ = line.read_to_end(&mut rest).await;
        }
    };
    let (answer, ()) = tokio::join!(slow_body, others);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(asker.get("/queues").await.0, 200);
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_back_and_redis_away_is_told_as_such() {
    let (mut redis, daemon) = with_letters(1).await;
    let asker = Asker::of(&daemon).await;
    assert_eq!(asker.get("/queues").await.0, 200);
    redis.signal("-STOP");
    let many = (0..40).map(|_| async {
        let response = asker
            .ask(Method::GET, "/runs")
            .timeout(std::time::Duration::from_secs(60));
        let response = response.send().await.expect("it answers");
        let wait = response.headers().get("retry-after").cloned();
        let wait = wait.map(|wait| wait.to_str().expect("text").to_owned());
        (super::judged(response).await, wait)
    });
    let answers = futures_util::future::join_all(many).await;
    redis.signal("-CONT");
    let too_many = answers
        .iter()
        .filter(|(_, wait)| wait.as_deref() == Some("1"));
    assert_eq!(too_many.count(), 40 - 16);
    // Those with a line wait for an answer, the others for a line.
    let away = answers.iter().filter(|((status, problem), wait)| {
        *status == 504
            || (*status == 503 && wait.as_deref() == Some("5") && problem["detail"].is_string())
    });
    assert_eq!(away.count(), 16, "{answers:?}");
    until("it answers again", || async {
        asker.get("/runs").await.0 == 200
    })
    .await;
    redis.kill();
    let (status, problem) = asker.get("/runs").await;
    assert_eq!(status, 503, "{problem}");
}

#[tokio::test]
async fn those_who_only_read_leave_room_for_those_who_act() {
    let (redis, daemon) = with_letters(1).await;
    let operator = Asker::of(&daemon).await;
    let reader = Asker::with(&daemon, Some(READ_KEY)).await;
    assert_eq!(reader.get("/queues").await.0, 200);
    redis.signal("-STOP");
    let ask = async |asker: &Asker| {
        let request = asker.ask(Method::GET, "/runs");
        let request = request.timeout(std::time::Duration::from_secs(60));
        let response = request.send().await.expect("it answers");
        let wait = response.headers().get("retry-after").cloned();
        wait.is_some_and(|wait| wait == "1")
    };
    let many = futures_util::future::join_all((0..20).map(|_| ask(&reader)));
    let one = async {
        let refused = "mutt_remediation_api_requests_total{method=\"GET\",route=\"/api/v1/runs\",status=\"5xx\"}";
        daemon.until_metric(refused, |count| count >= 8.0).await;
        ask(&operator).await
    };
    let (many, one) = tokio::join!(many, one);
    redis.signal("-CONT");
    let refused = many.iter().filter(|too_many| **too_many);
    assert_eq!(refused.count(), 20 - 12);
    assert!(!one, "there is a place for the operator");
}
