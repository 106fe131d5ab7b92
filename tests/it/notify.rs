//! Who is told of what: real receivers, and receivers that do what they should not.

use serde_json::Value;

use crate::support::webhook::Manner;
use crate::support::{Daemon, Redis, Webhook, until};

mod alerts;
mod events;
mod hanging;
mod mail;
mod told;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Quick enough for a test.
const QUICK: [(&str, &str); 6] = [
    ("NOTIFY_HMAC_SECRET", SECRET),
    ("NOTIFY_CONSOLE_URL", "https://mutt.example:8400/"),
    ("NOTIFY_REDIS_LOST_SECONDS", "1"),
    ("NOTIFY_CALM_SECONDS", "0"),
    ("NOTIFY_GROUP_SECONDS", "0"),
    ("POD_NAME", "remediation-0"),
];

/// A daemon that tells these.
fn daemon(redis: &Redis, urls: &str, more: &[(&str, &str)]) -> Daemon {
    let mut variables = QUICK.to_vec();
    variables.push(("NOTIFY_URLS", urls));
    variables.extend(more);
    Daemon::start(redis, &variables)
}

/// Its address as the setting has it; what stands behind the name of the host is a secret.
fn url(scheme: &str, webhook: &Webhook) -> String {
    format!("{scheme}+{}", webhook.url())
}

/// The bodies that a webhook was sent.
fn bodies(webhook: &Webhook) -> Vec<Value> {
    let body = |request: &String| {
        let (_, body) = request.split_once("\r\n\r\n").expect("head and body");
        serde_json::from_str(body).expect("JSON")
    };
    webhook.requests().iter().map(body).collect()
}

/// The notices that a generic webhook was sent, as `event state`.
fn notices(webhook: &Webhook) -> Vec<String> {
    let bodies = bodies(webhook);
    let all = bodies.iter().flat_map(|body| {
        let notices = body["notices"].as_array().expect("notices");
        notices.iter().map(|notice| {
            let text = |name: &str| notice[name].as_str().expect("text").to_owned();
            format!("{} {}", text("event"), text("state"))
        })
    });
    all.collect()
}

async fn until_told(webhook: &Webhook, notice: &str) {
    until(
        &format!("{notice} is told: {:?}", notices(webhook)),
        || async { notices(webhook).iter().any(|told| told == notice) },
    )
    .await;
}

/// The notice of this event and state.
fn notice(webhook: &Webhook, event: &str, state: &str) -> Value {
    let bodies = bodies(webhook);
    let mut all = bodies
        .iter()
        .flat_map(|body| body["notices"].as_array().expect("notices"));
    let found = all.find(|notice| notice["event"] == event && notice["state"] == state);
    found.expect("it was told").clone()
}

fn counted(kind: &str, event: &str, result: &str) -> String {
    format!(
        "mutt_remediation_notifications_total{{event=\"{event}\",receiver=\"{kind}\",result=\"{result}\"}}"
    )
}
