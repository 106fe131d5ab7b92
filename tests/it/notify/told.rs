//! How receivers over HTTP are told, and what becomes of it when they misbehave.

use std::process::Command;

use super::*;
use crate::support::daemon::output;
use crate::support::smtp::PYTHON;

/// A second opinion on the signature.
const SIGN: &str = "
import base64, hashlib, hmac, sys
secret, id, second, body = sys.argv[1:]
key = base64.b64decode(secret.removeprefix('whsec_'))
text = f'{id}.{second}.{body}'.encode()
print('v1,' + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode())
";

fn header(request: &str, name: &str) -> String {
    let head = request.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.next().expect(name).1.to_owned()
}

#[tokio::test]
async fn a_webhook_is_signed_as_a_second_opinion_signs_it() {
    let mut redis = Redis::start();
    let webhook = Webhook::start(Manner::Status(200)).await;
    let daemon = daemon(&redis, &url("webhook", &webhook), &[]);
    daemon.until_logged("redis is reached").await;
    redis.kill();
    until_told(&webhook, "redis_lost firing").await;
    let request = webhook.requests()[0].clone();
    let (_, body) = request.split_once("\r\n\r\n").expect("head and body");
    let (id, second) = (
        header(&request, "webhook-id"),
        header(&request, "webhook-timestamp"),
    );
    let said = Command::new(PYTHON)
        .args(["-c", SIGN, SECRET, &id, &second, body])
        .output()
        .expect("python is installed by `.ci/setup test`");
    let expected = String::from_utf8(said.stdout).expect("text");
    assert_eq!(header(&request, "webhook-signature"), expected.trim());
    let now = jiff::Timestamp::now().as_second();
    let at: i64 = second.parse().expect("Unix seconds");
    assert!((now - 60..=now).contains(&at));
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["id"], id.as_str());
    assert_eq!(body["instance"], "remediation-0");
    for secret in ["hush", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        assert!(!daemon.log().contains(secret), "{}", daemon.log());
        let (_, metrics) = daemon.get("metrics", "/metrics").await;
        assert!(!metrics.contains(secret));
    }
}

#[tokio::test]
async fn who_fails_is_told_again_under_the_same_id_and_who_is_busy_when_it_asks() {
    for manner in [Manner::Status(500), Manner::Busy, Manner::Nonsense] {
        let mut redis = Redis::start();
        let webhook = Webhook::start(manner).await;
        let daemon = daemon(&redis, &url("webhook", &webhook), &[]);
        daemon.until_logged("redis is reached").await;
        redis.kill();
        daemon.until_logged("a notification cannot be sent").await;
        until("it is tried again", || async {
            webhook.requests().len() >= 2
        })
        .await;
        webhook.behave(Manner::Status(200));
        let sent = counted("webhook", "redis_lost", "sent");
        daemon.until_metric(&sent, |count| count == 1.0).await;
        daemon.until_logged("notifications are sent again").await;
        let requests = webhook.requests();
        let ids: Vec<String> = requests.iter().map(|r| header(r, "webhook-id")).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{manner:?} {ids:?}");
        let failed = counted("webhook", "redis_lost", "failed");
        assert_eq!(daemon.metric(&failed).await, Some(0.0));
        assert!(!daemon.log().contains("hush"), "{}", daemon.log());
    }
}

#[tokio::test]
async fn who_refuses_or_sends_elsewhere_is_not_told_again_but_hears_of_it_next_time() {
    for (manner, said) in [
        (Manner::Status(400), "answered 400"),
        (
            Manner::Redirect,
            "answered 302, a redirect, which is not followed",
        ),
    ] {
        let mut redis = Redis::start();
        let webhook = Webhook::start(manner).await;
        let daemon = daemon(&redis, &url("webhook", &webhook), &[]);
        daemon.until_logged("redis is reached").await;
        redis.kill();
        let failed = counted("webhook", "redis_lost", "failed");
        daemon.until_metric(&failed, |count| count == 1.0).await;
        daemon.until_logged(said).await;
        assert_eq!(webhook.requests().len(), 1, "{manner:?}");
        webhook.behave(Manner::Status(200));
        redis.up();
        until_told(&webhook, "redis_lost resolved").await;
        assert_eq!(webhook.requests().len(), 2, "{manner:?}");
        let next = bodies(&webhook).pop().expect("a body");
        assert_eq!(
            (&next["missed"], next["notices"].as_array().map(Vec::len)),
            (&1.into(), Some(1))
        );
        assert!(!daemon.log().contains("hush"), "{}", daemon.log());
    }
}

#[tokio::test]
async fn slack_is_told_in_its_own_words() {
    let mut redis = Redis::start();
    let webhook = Webhook::start(Manner::Status(200)).await;
    let daemon = daemon(&redis, &url("slack", &webhook), &[]);
    daemon.until_logged("redis is reached").await;
    redis.kill();
    until("it is told", || async { !webhook.requests().is_empty() }).await;
    let body = bodies(&webhook).remove(0);
    let text = body["text"].as_str().expect("text");
    assert!(
        text.starts_with("*CRITICAL* Redis cannot be reached"),
        "{text}"
    );
    assert!(
        text.contains("<https://mutt.example:8400/console/|Open the console>"),
        "{text}"
    );
    assert!(text.ends_with("from remediation-0"), "{text}");
    assert_eq!(body["link_names"], false);
}

#[tokio::test]
async fn what_waits_is_told_before_the_end_and_what_hangs_does_not_hold_it_up() {
    let mut redis = Redis::start();
    let webhook = Webhook::start(Manner::Status(200)).await;
    let hanging = Webhook::start(Manner::Hang).await;
    let urls = format!("{} {}", url("webhook", &webhook), url("slack", &hanging));
    let mut daemon = daemon(&redis, &urls, &[("NOTIFY_GROUP_SECONDS", "3600")]);
    daemon.until_logged("redis is reached").await;
    redis.kill();
    let waiting = "mutt_remediation_notifications_waiting{receiver=\"webhook\"}";
    daemon.until_metric(waiting, |count| count == 1.0).await;
    assert!(webhook.requests().is_empty());
    daemon.signal("-TERM");
    assert_eq!(daemon.ended().await.code(), Some(0));
    assert_eq!(notices(&webhook), ["redis_lost firing"]);
    assert_eq!(hanging.requests().len(), 1);
    assert!(
        daemon
            .log()
            .contains("the process ends before all could be told")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_sends_one_of_each_to_each_and_says_who_could_not_be_told() {
    let good = Webhook::start(Manner::Status(200)).await;
    let slack = Webhook::start(Manner::Status(200)).await;
    let bad = Webhook::start(Manner::Status(404)).await;
    let alertmanager = crate::support::Alertmanager::start().await;
    let urls = |more: &str| {
        let (good, slack) = (url("webhook", &good), url("slack", &slack));
        format!("{good},{slack}\n{}{more}", alertmanager.url())
    };
    let run = |urls: String, arguments: &[&str]| {
        let mut variables = QUICK.to_vec();
        variables.push(("NOTIFY_URLS", &urls));
        let said = output(&[&["notify", "test"], arguments].concat(), &variables);
        let text = String::from_utf8([said.stdout, said.stderr].concat()).expect("text");
        assert!(!text.contains("hush"), "{text}");
        (said.status.code(), text)
    };
    let (code, text) = run(urls(""), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("ok      ").count(), 3, "{text}");
    let told = notices(&good);
    for event in [
        "redis_lost",
        "systemic",
        "gate_shut",
        "poison_rate",
        "dead_list_size",
        "dead_list_age",
    ] {
        for state in ["firing", "resolved"] {
            assert!(told.contains(&format!("{event} {state}")), "{told:?}");
        }
    }
    for event in ["drain_finished", "run_finished"] {
        assert!(told.contains(&format!("{event} happened")), "{told:?}");
    }
    assert_eq!(bodies(&good)[0]["test"], true);
    assert!(
        bodies(&slack)[0]["text"]
            .as_str()
            .expect("text")
            .starts_with("This is a test")
    );
    let alerts = alertmanager.alerts().await;
    assert_eq!(alerts.len(), 8, "one for each event: {alerts:?}");
    assert!(alerts.iter().all(|alert| alert["labels"]["test"] == "true"));

    let (code, text) = run(
        urls(&format!(" {}", url("slack", &bad))),
        &["--event", "systemic"],
    );
    assert_eq!(code, Some(1));
    assert!(text.contains("failed  slack+http://127.0.0.1:"), "{text}");
    assert!(text.contains("/...: answered 404"), "{text}");
    assert_eq!(notices(&good).len(), told.len() + 2, "only one event");

    let said = output(&["notify", "test"], &[]);
    assert_eq!(said.status.code(), Some(2));
    let text = String::from_utf8(said.stderr).expect("text");
    assert!(text.contains("NOTIFY_URLS is not set"), "{text}");
}

#[test]
fn bad_addresses_are_named_all_at_once_and_not_shown() {
    let urls = "https://hush.example/ slack+https://hooks.slack.com/hush, smtps://u:hush@h/?from=x";
    let said = output(
        &[],
        &[("NOTIFY_URLS", urls), ("NOTIFY_EVENTS", "redis_gone")],
    );
    assert_eq!(said.status.code(), Some(2));
    let text = String::from_utf8(said.stderr).expect("text");
    assert!(text.contains("3 problems"), "{text}");
    assert!(
        text.contains("NOTIFY_URLS: address 1 (https://..., not shown)"),
        "{text}"
    );
    assert!(
        text.contains("NOTIFY_URLS: address 3 (smtps://..., not shown)"),
        "{text}"
    );
    assert!(
        text.contains("NOTIFY_EVENTS: \"redis_gone\" is not names"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
}
