//! Who may ask, and what becomes of those who may not.

use std::net::{Ipv4Addr, TcpListener};

use mutt_remediation::app::App;
use mutt_remediation::config::Config;
use reqwest::Method;
use serde_json::json;

use super::{Asker, KEY, KEYED, READ_KEY, answered, with_letters};
use crate::support::daemon::client;
use crate::support::redis::SOURCE;
use crate::support::{Daemon, Redis};

#[tokio::test]
async fn no_page_answers_without_a_key_and_none_acts_with_the_one_for_reading() {
    let (redis, daemon) = with_letters(3).await;
    let pages = Asker::of(&daemon).await.pages().await;
    let nobody = Asker::with(&daemon, None).await;
    let reader = Asker::with(&daemon, Some(READ_KEY)).await;
    for (method, path) in pages {
        let request = nobody.ask(method.clone(), &path).body("{}");
        assert_eq!(answered(request).await.0, 401, "{method} {path}");
        let request = reader.ask(method.clone(), &path).json(&json!({}));
        let response = request.send().await.expect("it answers");
        let status = response.status().as_u16();
        if method == Method::GET {
            assert!(matches!(status, 200 | 404), "{status} {path}");
        } else {
            assert_eq!(status, 403, "{method} {path}");
        }
    }
    for path in ["/none", "/queues/", "/../../metrics"] {
        assert_eq!(nobody.get(path).await.0, 401, "nobody learns what there is");
    }
    assert_eq!(redis.len(SOURCE).await, 3);
}

#[tokio::test]
async fn wrong_keys_are_refused_on_every_page_and_too_many_of_them_told_to_wait() {
    let (_redis, daemon) = with_letters(0).await;
    let right = Asker::of(&daemon).await;
    let wrong = Asker::with(&daemon, Some("the-operators-own-keyX")).await;
    let mut statuses = vec![];
    for (method, path) in right.pages().await {
        let response = wrong.ask(method, &path).send().await.expect("it answers");
        let status = response.status().as_u16();
        let wait = response.headers().get("retry-after").cloned();
        assert_eq!(wait.is_some(), status == 429, "{status} {wait:?}");
        statuses.push(status);
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert!(statuses[10..].iter().all(|status| *status == 429));
    assert_eq!(right.get("/queues").await.0, 200, "nobody is locked out");
    assert_eq!(daemon.log().matches("a wrong key").count(), 1);
    assert!(!daemon.log().contains("own-key"), "{}", daemon.log());
}

#[tokio::test]
async fn a_key_counts_in_its_header_alone_and_only_one_at_a_time() {
    let (_redis, daemon) = with_letters(0).await;
    let nobody = Asker::with(&daemon, None).await;
    let right = Asker::of(&daemon).await;
    for name in ["x-api-key", "X-API-KEY", "api_key", "key", "access_token"] {
        let path = format!("/queues?{name}={KEY}");
        assert_eq!(nobody.get(&path).await.0, 401, "{path}");
        let (status, problem) = right.get(&path).await;
        assert_eq!((status, &problem["name"]), (400, &json!(name)));
        assert!(!problem.to_string().contains(KEY), "{problem}");
    }
    let ask = || nobody.ask(Method::GET, "/queues");
    assert_eq!(answered(ask().bearer_auth(KEY)).await.0, 200);
    assert_eq!(
        answered(ask().header("cookie", format!("x-api-key={KEY}")))
            .await
            .0,
        401
    );
    assert_eq!(
        answered(ask().basic_auth("operator", Some(KEY))).await.0,
        401
    );
    assert_eq!(
        answered(ask().bearer_auth(KEY).header("x-api-key", KEY))
            .await
            .0,
        401
    );
    let with_user = format!("http://operator:{KEY}@{}/api/v1/queues", nobody.address);
    assert_eq!(answered(client().get(with_user)).await.0, 401);
    let refused = ask().send().await.expect("it answers");
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Bearer realm=\"mutt-remediation\""
    );
}

#[tokio::test]
async fn without_a_key_only_this_machine_may_ask_and_no_page_in_its_browser() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[("REMEDIATION_ENABLED", "false")]);
    let here = Asker::with(&daemon, None).await;
    assert!(daemon.log().contains(" api=127.0.0.1:"), "{}", daemon.log());
    assert_eq!(here.get("/queues").await.0, 200);
    let (status, _) = here
        .put("/queues/alerter/pause", &json!({"reason": "try"}))
        .await;
    assert_eq!(status, 200);
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("host", "evil.example"),
        ("host", "localhost.evil.example:8400"),
    ] {
        for (method, path) in [
            (Method::GET, "/queues"),
            (Method::DELETE, "/queues/alerter/pause"),
            (Method::OPTIONS, "/queues/alerter/pause"),
        ] {
            let request = here.ask(method.clone(), path).header(name, value);
            assert_eq!(answered(request).await.0, 403, "{name}: {value} {method}");
        }
    }
    // What a form on a foreign page can send at all.
    let form = here.ask(Method::POST, "/queues/alerter/acts").body("a=b");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(answered(form).await.0, 415);
    assert!(
        here.raw(b"GET /api/v1/queues HTTP/1.0\r\n\r\n")
            .await
            .contains(" 403 ")
    );
}

#[tokio::test]
async fn with_a_key_it_listens_everywhere_and_asks_everybody_for_it() {
    let (_redis, daemon) = with_letters(0).await;
    let asker = Asker::of(&daemon).await;
    assert!(!daemon.log().contains(" api=127."), "{}", daemon.log());
    // A browser's page has no key, so that with one its headers do not matter.
    let request = asker
        .ask(Method::GET, "/queues")
        .header("origin", "http://x");
    assert_eq!(answered(request).await.0, 200);
    assert_eq!(Asker::with(&daemon, None).await.get("/queues").await.0, 401);
}

#[tokio::test]
async fn the_audit_and_the_log_name_who_acted_and_the_log_cannot_be_forged() {
    let (_redis, daemon) = with_letters(1).await;
    let asker = Asker::of(&daemon).await;
    let pause = |queue: &str, user: &str| {
        asker
            .ask(Method::PUT, &format!("/queues/{queue}/pause"))
            .header("x-remediation-user", user)
            .json(&json!({"reason": "hush"}))
    };
    let (status, view) = answered(pause("alerter", "alice")).await;
    assert_eq!(
        (status, &view["paused"]["by"]),
        (200, &json!("operator:alice"))
    );
    let (_, page) = asker.get("/audit?who=operator:alice").await;
    let entry = &page["entries"][0];
    assert_eq!(entry["fields"]["act"], "pause", "{page}");
    assert_eq!(entry["fields"]["from"], "api 127.0.0.1");
    let line =
        r#"who="operator:alice" from="api 127.0.0.1" act="pause" on="alerter" outcome="paused""#;
    daemon.until_logged(line).await;

    let forged = "x%0a2026-01-01T00:00:00Z%20%20INFO%20forged%1b%5b31m";
    assert_eq!(answered(pause(forged, "alice")).await.0, 404);
    daemon.until_logged("forged").await;
    let log = daemon.log();
    assert!(
        !log.contains('\u{1b}') && !log.contains("\n2026-01"),
        "{log}"
    );
    assert!(!log.contains("hush") && !log.contains(KEY), "{log}");

    for user in ["", " ", "a\tb", "\u{e9}", &"x".repeat(65)] {
        let mut request = asker.ask(Method::GET, "/queues");
        let value = reqwest::header::HeaderValue::from_bytes(user.as_bytes());
        request = request.header("x-remediation-user", value.expect("sendable"));
        assert_eq!(answered(request).await.0, 400, "{user:?}");
    }
    let twice = pause("alerter", "alice").header("x-remediation-user", "bob");
    assert_eq!(answered(twice).await.0, 400);
}

fn config(pairs: &[(&str, &str)]) -> Config {
    let fixed = [
        ("METRICS_PORT_REMEDIATION", "0"),
        ("HEALTH_PORT_REMEDIATION", "0"),
    ];
    let pairs = fixed.iter().chain(pairs);
    Config::load(pairs.map(|(name, text)| (name.into(), text.into()))).expect("valid")
}

#[tokio::test]
async fn a_port_in_use_ends_the_start_only_where_somebody_wants_the_api() {
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let mut by_default = config(&[]);
    let api = by_default.api.as_mut().expect("by default");
    assert!(!api.wanted);
    api.port = port;
    let app = App::start(by_default).expect("it starts all the same");
    assert_eq!(app.api_address(), None);

    let port = port.to_string();
    let mut variables = KEYED.to_vec();
    variables.push(("API_PORT_REMEDIATION", &port));
    let mut daemon = Daemon::start_alone(&variables);
    assert_eq!(daemon.ended().await.code(), Some(1));
    let expected = format!("cannot listen on port {port} (API_PORT_REMEDIATION)");
    assert!(daemon.errors().contains(&expected), "{}", daemon.errors());

    let nowhere = App::start(config(&[("API_BIND_REMEDIATION", "none")])).expect("it starts");
    assert_eq!(nowhere.api_address(), None);
}
