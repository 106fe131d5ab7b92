//! Prometheus goes away, comes back, does not speak, and asks who we are.

use serde_json::Value;

use super::past::{STEADY, past, prometheus};
use crate::connection::Certificates;
use crate::support::daemon::output;
use crate::support::webhook::Manner;
use crate::support::{Daemon, Prometheus, Redis, Webhook, until};

/// What the API says of the objectives.
async fn report(daemon: &Daemon) -> Value {
    let (status, text) = daemon.get("api", "/api/v1/slo").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

fn forwarder(report: &Value) -> &Value {
    let slos = report["slos"].as_array().expect("objectives");
    let found = slos
        .iter()
        .find(|slo| slo["slo_name"] == "forwarder_availability");
    found.expect("it is built in")
}

async fn until_forwarder(daemon: &Daemon, what: &str, right: impl Fn(&Value) -> bool) {
    until(what, || async { right(forwarder(&report(daemon).await)) }).await;
}

fn times(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[tokio::test]
async fn what_is_known_grows_stale_then_unknown_and_comes_back() {
    let mut prometheus = prometheus(|_| STEADY).await;
    let redis = Redis::start();
    let url = prometheus.url();
    let daemon = Daemon::start(
        &redis,
        &[
            ("PROMETHEUS_URL", &url),
            ("SLO_INTERVAL", "5"),
            ("PROMETHEUS_TIMEOUT", "1"),
            ("SLO_STALE_SECONDS", "15"),
        ],
    );
    until_forwarder(&daemon, "it is ok", |slo| slo["status"] == "ok").await;
    let state = |state: &str| {
        format!(
            r#"mutt_slo_state{{component="forwarder",slo="forwarder_availability",state="{state}"}}"#
        )
    };
    let labels = r#"{component="forwarder",slo="forwarder_availability"}"#;
    let availability = format!("mutt_slo_availability{labels}");
    assert_eq!(daemon.metric(&state("ok")).await, Some(1.0));
    assert_eq!(daemon.metric(&availability).await, Some(1.0));
    assert_eq!(daemon.metric("mutt_slo_prometheus_up").await, Some(1.0));

    prometheus.kill();
    until_forwarder(&daemon, "it is stale", |slo| slo["stale"] == true).await;
    let seen = report(&daemon).await;
    let late = forwarder(&seen);
    assert_eq!(late["status"], "ok", "{late}");
    assert_eq!(late["actual_value"], 1.0);
    assert!(
        late["message"].as_str().expect("text").contains("as of "),
        "{late}"
    );
    assert_eq!(seen["prometheus"]["state"], "away", "{seen}");
    assert_eq!(daemon.metric("mutt_slo_prometheus_up").await, Some(0.0));
    until_forwarder(&daemon, "it is unknown", |slo| slo["status"] == "unknown").await;
    let seen = report(&daemon).await;
    let unknown = forwarder(&seen);
    assert_eq!(unknown["actual_value"], Value::Null, "{unknown}");
    assert_eq!(unknown["stale"], true);
    daemon.until_metric(&state("unknown"), |is| is == 1.0).await;
    assert!(daemon.metric(&availability).await.is_some_and(f64::is_nan));
    // More rounds in vain say nothing more.
    daemon.until_metric(&state("ok"), |is| is == 0.0).await;
    assert_eq!(
        times(&daemon.log(), "prometheus is away"),
        1,
        "{}",
        daemon.log()
    );
    let (ready, _) = daemon.get("health", "/ready").await;
    assert_eq!(ready, 200);

    prometheus.up().await;
    until_forwarder(&daemon, "it is ok again", |slo| {
        slo["status"] == "ok" && slo["stale"] == false
    })
    .await;
    daemon.until_logged("prometheus answers again").await;
    assert_eq!(times(&daemon.log(), "prometheus is away"), 1);
}

#[tokio::test]
async fn nobody_waits_for_a_prometheus_that_hangs() {
    let stuck = Webhook::start(Manner::Hang).await;
    let redis = Redis::start();
    let url = stuck.url().replace("/events?token=hush", "/prom");
    let daemon = Daemon::start(
        &redis,
        &[("PROMETHEUS_URL", &url), ("PROMETHEUS_TIMEOUT", "60")],
    );
    until("it is asked", || async { !stuck.requests().is_empty() }).await;
    let seen = report(&daemon).await;
    assert_eq!(
        seen["prometheus"]["state"], "not_asked",
        "it was not waited for"
    );
    assert_eq!(seen["status"], "unknown");
    assert_eq!(
        forwarder(&seen)["message"],
        "Prometheus has not been asked yet"
    );
    let head = stuck.requests().swap_remove(0);
    assert!(
        head.starts_with("POST /prom/api/v1/query HTTP/1.1"),
        "{head}"
    );
    daemon.signal("-TERM");
    let mut daemon = daemon;
    assert!(daemon.ended().await.success(), "nor at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_prometheus_is_named() {
    for (manner, expected) in [
        (Manner::Status(401), "answered 401: check PROMETHEUS_TOKEN"),
        (Manner::Status(404), "check the path of PROMETHEUS_URL"),
        (Manner::Status(500), "answered 500"),
        (Manner::Status(200), "does not speak like Prometheus"),
        (Manner::Redirect, "a redirect, which is not followed"),
        (Manner::Hang, "no answer within 1 s"),
        (Manner::Drip, "no answer within 1 s"),
        (Manner::EndlessBody, "answered 500"),
        (Manner::EndlessAnswer, "is longer than"),
    ] {
        let webhook = Webhook::start(manner).await;
        let url = webhook.url().replace("/events?token=hush", "/hush");
        let variables = [
            ("PROMETHEUS_URL", url.as_str()),
            ("PROMETHEUS_TIMEOUT", "1"),
            ("PROMETHEUS_TOKEN", "hush-hush"),
        ];
        let said = output(&["slo"], &variables);
        let text = String::from_utf8(said.stdout).expect("text");
        assert!(text.contains(expected), "{manner:?}: {text}");
        assert!(!text.contains("hush"), "{text}");
        assert_eq!(said.status.code(), Some(3), "{text}");
        let heads = webhook.requests();
        assert!(
            heads[0].contains("authorization: Bearer hush-hush"),
            "{heads:?}"
        );
    }
}

/// The hash of "test", from Prometheus's own documentation of basic authentication.
const USERS: &str =
    "basic_auth_users: {alice: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay}\n";

#[tokio::test]
async fn it_is_spoken_to_by_tls_and_with_a_password() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::new();
    let authority = certificates.authority(dir.path());
    let (cert, key) = certificates.write(dir.path(), "prometheus");
    let mut prometheus = Prometheus::stopped(&[], &[]);
    prometheus.guarded_by(&format!(
        "{USERS}tls_server_config: {{cert_file: {cert}, key_file: {key}}}\n"
    ));
    prometheus.fill(&past(|_| STEADY));
    prometheus.up().await;
    let url = prometheus.url().replace("http:", "https:");
    let with_user = |user: &str| url.replace("https://", &format!("https://{user}@"));
    let ca = ("PROMETHEUS_CA_CERT_PATH", authority.as_str());
    let user = ("PROMETHEUS_USERNAME", "alice");
    let asked = |variables: &[(&str, &str)]| {
        let mut all = vec![("PROMETHEUS_URL", url.as_str())];
        all.extend(variables);
        let said = output(&["slo"], &all);
        let text = [said.stdout, said.stderr].concat();
        (said.status.code(), String::from_utf8(text).expect("text"))
    };
    let (code, text) = asked(&[ca, user, ("PROMETHEUS_PASSWORD", "test")]);
    assert_eq!(code, Some(0), "{text}");
    let in_address = with_user("alice:test");
    let (code, text) = asked(&[ca, ("PROMETHEUS_URL", &in_address)]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = asked(&[ca, user, ("PROMETHEUS_PASSWORD", "hush")]);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("answered 401") && !text.contains("hush"),
        "{text}"
    );
    let (code, text) = asked(&[user, ("PROMETHEUS_PASSWORD", "test")]);
    assert_eq!(code, Some(3), "nobody vouches for it: {text}");
    assert!(text.to_lowercase().contains("certificate"), "{text}");
    let (code, text) = asked(&[("PROMETHEUS_CA_CERT_PATH", "/nowhere"), user]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("/nowhere"), "{text}");
    let (code, text) = asked(&[user, ("PROMETHEUS_TOKEN", "hush")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("expected one way to sign in") && !text.contains("hush"),
        "{text}"
    );
}
