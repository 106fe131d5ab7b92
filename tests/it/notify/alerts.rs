//! Debian's Alertmanager.

use super::*;
use crate::support::Alertmanager;

#[tokio::test]
async fn an_alert_fires_with_its_labels_is_told_again_and_resolves() {
    let mut redis = Redis::start();
    let alertmanager = Alertmanager::start().await;
    let urls = format!("{}?env=test", alertmanager.url());
    let daemon = daemon(&redis, &urls, &[]);
    daemon.until_logged("redis is reached").await;
    redis.kill();
    until("it fires", || async {
        alertmanager.alert("redis_lost").await.is_some()
    })
    .await;
    let alert = alertmanager.alert("redis_lost").await.expect("it fires");
    let labels = alert["labels"].as_object().expect("labels");
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let expected = [
        "alertname=\"MuttRemediationRedisLost\"",
        "env=\"test\"",
        "event=\"redis_lost\"",
        "severity=\"critical\"",
    ];
    assert_eq!(labels, expected);
    assert_eq!(alert["generatorURL"], "https://mutt.example:8400/console/");
    assert_eq!(alert["annotations"]["instance"], "remediation-0");
    assert_eq!(alert["status"]["state"], "active");

    // It would expire otherwise.
    let ends = alert["endsAt"].clone();
    until("it is told again", || async {
        let again = alertmanager.alert("redis_lost").await;
        again.is_some_and(|again| again["endsAt"] != ends)
    })
    .await;
    let again = alertmanager.alert("redis_lost").await.expect("it fires");
    assert_eq!(again["startsAt"], alert["startsAt"], "it is the same");

    redis.up();
    until("it is resolved", || async {
        alertmanager.alert("redis_lost").await.is_none()
    })
    .await;
    let sent = counted("alertmanager", "redis_lost", "sent");
    assert_eq!(
        daemon.metric(&sent).await,
        Some(2.0),
        "what is told again is not counted"
    );
}

#[tokio::test]
async fn alertmanager_that_comes_late_is_told_what_still_holds() {
    let mut redis = Redis::start();
    let gone = mutt_remediation::demo::server::free_port().expect("a port");
    let webhook = Webhook::start(Manner::Status(400)).await;
    let urls = format!(
        "alertmanager+http://127.0.0.1:{gone}/ {}",
        url("alertmanager", &webhook)
    );
    let daemon = daemon(&redis, &urls, &[]);
    daemon.until_logged("redis is reached").await;
    redis.kill();
    let failed = counted("alertmanager", "redis_lost", "failed");
    daemon.until_metric(&failed, |count| count == 1.0).await;
    assert!(
        daemon.log().contains("Connection refused"),
        "{}",
        daemon.log()
    );
    webhook.behave(Manner::Status(200));
    // The first one was refused, and yet it is not forgotten.
    until("it is told again", || async {
        webhook.requests().len() >= 2
    })
    .await;
    let body: Value = bodies(&webhook).pop().expect("a body");
    assert_eq!(body[0]["labels"]["event"], "redis_lost");
    assert!(webhook.requests()[1].starts_with("POST /events/api/v2/alerts HTTP"));
}
