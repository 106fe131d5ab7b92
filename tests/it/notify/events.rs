//! What is told, from the first dead letter to the webhook.

use std::ffi::OsString;

use mutt_remediation::config::Config;
use mutt_remediation::operate::Operator;
use mutt_remediation::operate::wire::{Action, Filter, PlanRequest, RunRequest, Who};

use super::*;
use crate::support::TARGET;

fn letters(count: usize) -> Vec<String> {
    let letter = |i| format!(r#"{{"hostname":"sw1","message":"BODY-{i}","_retry_count":4}}"#);
    (0..count).map(letter).collect()
}

#[tokio::test]
async fn an_outage_of_moogsoft_is_told_with_its_end_and_when_the_queue_is_worked_off() {
    let redis = Redis::start();
    redis.dead_letter(&letters(40)).await;
    let moogsoft = Webhook::start(Manner::Status(503)).await;
    let webhook = Webhook::start(Manner::Status(200)).await;
    let daemon = daemon(
        &redis,
        &url("webhook", &webhook),
        &[
            ("MOOG_WEBHOOK_URL", &moogsoft.url()),
            ("NOTIFY_GATE_SHUT_SECONDS", "1"),
        ],
    );
    until_told(&webhook, "gate_shut firing").await;
    let firing = notice(&webhook, "gate_shut", "firing");
    assert_eq!(firing["subject"], "alerter");
    assert_eq!(firing["facts"]["reason"], "moogsoft");
    assert_eq!(firing["severity"], "warning");
    let page = "https://mutt.example:8400/console/queues/alerter";
    assert_eq!(firing["url"], page);
    moogsoft.behave(Manner::Status(200));
    until_told(&webhook, "drain_finished happened").await;
    let told = notices(&webhook);
    let order = [
        "gate_shut firing",
        "gate_shut resolved",
        "drain_finished happened",
    ];
    assert_eq!(told, order);
    let finished = notice(&webhook, "drain_finished", "happened");
    assert_eq!(finished["facts"]["replayed"], "40");
    assert_eq!(redis.len(TARGET).await, 40);
    let all = webhook.requests().join("");
    assert!(!all.contains("BODY-"), "no message is told: {all}");
    assert!(!daemon.log().contains("hush"), "{}", daemon.log());
}

#[tokio::test]
async fn many_parked_messages_and_a_long_and_old_dead_list_are_told() {
    let redis = Redis::start();
    let malformed: Vec<String> = (0..12).map(|i| format!("BODY-{i}")).collect();
    redis.dead_letter(&malformed).await;
    let old = r#"{"_remediation_reason":"retries_exhausted","_remediation_dead_at":1600000000}"#;
    redis.push(crate::support::DEAD, &[old]).await;
    let webhook = Webhook::start(Manner::Status(200)).await;
    let _daemon = daemon(
        &redis,
        &url("webhook", &webhook),
        &[
            ("NOTIFY_POISON_PER_MINUTE", "5"),
            ("NOTIFY_DEAD_LIST_SIZE", "5"),
            ("REMEDIATION_MOOG_ENABLED", "true"),
        ],
    );
    for event in ["poison_rate", "dead_list_size", "dead_list_age"] {
        until_told(&webhook, &format!("{event} firing")).await;
    }
    let size = notice(&webhook, "dead_list_size", "firing");
    assert_eq!(size["facts"]["list"], "mutt:dlq:dead");
    assert_eq!(size["url"], "https://mutt.example:8400/console/queues/dead");
    let poison = notice(&webhook, "poison_rate", "firing");
    assert_eq!(poison["url"], "https://mutt.example:8400/console/dead");
    // Two sources park there, and it is one list.
    let told = notices(&webhook);
    let sizes = told.iter().filter(|told| *told == "dead_list_size firing");
    assert_eq!(sizes.count(), 1, "{told:?}");
    let all = webhook.requests().join("");
    assert!(!all.contains("BODY-"), "no message is told: {all}");
}

#[tokio::test]
async fn that_parking_has_stopped_is_told_and_that_it_goes_on() {
    let redis = Redis::start();
    let at = jiff::Timestamp::now().as_second() - 60;
    let used_up: Vec<String> = (0..30)
        .map(|i| format!(r#"{{"n":{i},"_remediation_count":3,"_remediation_at":{at}}}"#))
        .collect();
    redis.dead_letter(&used_up).await;
    let webhook = Webhook::start(Manner::Status(200)).await;
    let _daemon = daemon(
        &redis,
        &url("webhook", &webhook),
        &[
            ("REMEDIATION_BATCH_SIZE", "30"),
            ("DYNAMIC_CONFIG_ENABLED", "true"),
        ],
    );
    until_told(&webhook, "systemic firing").await;
    let firing = notice(&webhook, "systemic", "firing");
    assert_eq!(firing["severity"], "critical");
    let key = "mutt:config:poison_guard_enabled";
    let () = redis.command(&["SET", key, "false"]).await;
    until_told(&webhook, "systemic resolved").await;
}

#[tokio::test]
async fn redis_lost_and_back_is_told_although_nothing_can_be_read_meanwhile() {
    let mut redis = Redis::start();
    let webhook = Webhook::start(Manner::Status(200)).await;
    let daemon = daemon(&redis, &url("webhook", &webhook), &[]);
    daemon.until_logged("redis is reached").await;
    redis.kill();
    until_told(&webhook, "redis_lost firing").await;
    redis.up();
    until_told(&webhook, "redis_lost resolved").await;
    let firing = notice(&webhook, "redis_lost", "firing");
    assert_eq!(firing["url"], "https://mutt.example:8400/console/");
    assert_eq!(firing["subject"], "");
    assert_eq!(notices(&webhook).len(), 2, "{:?}", notices(&webhook));
    let sent = daemon
        .metric(&counted("webhook", "redis_lost", "sent"))
        .await;
    assert_eq!(sent, Some(2.0));
}

#[tokio::test]
async fn the_end_of_a_run_is_told_by_one_of_two_daemons() {
    let mut redis = Redis::start();
    redis.dead_letter(&letters(6)).await;
    let webhook = Webhook::start(Manner::Status(200)).await;
    let both = ["one", "two"].map(|name| {
        let more = [("POD_NAME", name), ("REMEDIATION_ENABLED", "false")];
        daemon(&redis, &url("webhook", &webhook), &more)
    });
    for daemon in &both {
        daemon.until_logged("redis is reached").await;
    }
    let port = redis.port().to_string();
    let pairs = [("REDIS_PORT", port.as_str())];
    let pairs = pairs.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let operator = Operator::new(&Config::load(pairs).expect("a good configuration"));
    let who = Who {
        name: "alice\r\n<!channel>".into(),
        from: "a test".into(),
    };
    let request = PlanRequest {
        action: Action::Bury,
        filter: Filter::default(),
        limit: None,
        force: false,
    };
    let plan = operator
        .plan("alerter", &request, &who)
        .await
        .expect("a plan");
    let request = RunRequest {
        token: plan.token,
        ..RunRequest::default()
    };
    let run = operator.start(&request, &who).await.expect("it starts");
    until_told(&webhook, "run_finished happened").await;
    // What each of them tells next comes behind what the other one could have told as well.
    redis.kill();
    until("both tell of something else", || async {
        let told = notices(&webhook);
        let lost = told.iter().filter(|told| *told == "redis_lost firing");
        lost.count() == 2
    })
    .await;
    let told = notices(&webhook);
    let ends = told.iter().filter(|told| *told == "run_finished happened");
    assert_eq!(ends.count(), 1, "{told:?}");
    let told = notice(&webhook, "run_finished", "happened");
    assert_eq!(told["subject"], run.run);
    assert_eq!(told["facts"]["moved"], "6");
    assert!(
        told["url"]
            .as_str()
            .expect("a link")
            .contains("/console/runs/alerter.")
    );
    assert_eq!(told["facts"]["by"], "alice\u{fffd}\u{fffd}<!channel>");
}
