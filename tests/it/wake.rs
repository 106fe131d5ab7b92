//! An idle worker that is woken by what arrives.

use crate::connection::allow_setinfo;
use crate::support::webhook::Manner;
use crate::support::{Cluster, Daemon, Redis, SOURCE, TARGET, Webhook, until};

const WOKEN: &str = "mutt_remediation_woken_total{source=\"alerter\"}";
/// Nothing that these tests wait for comes by itself: the interval is an hour.
const IDLE: [(&str, &str); 4] = [
    ("REMEDIATION_INTERVAL", "3600"),
    ("REMEDIATION_WAKE_ON_ARRIVAL", "true"),
    ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
    ("LOG_LEVEL", "DEBUG"),
];
const TELLS_NOT: &str = "redis does not tell of arrivals";

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    IDLE.iter().chain(more).copied().collect()
}

fn passes(outcome: &str) -> String {
    format!("mutt_remediation_passes_total{{outcome=\"{outcome}\",source=\"alerter\"}}")
}

/// A worker that has found its queue empty.
async fn idle(redis: &Redis, more: &[(&str, &str)]) -> Daemon {
    let daemon = Daemon::start(redis, &with(more));
    daemon
        .until_metric(&passes("empty"), |count| count >= 1.0)
        .await;
    daemon
}

/// Sends a letter to the idle worker and waits until it has moved.
async fn sent(redis: &Redis, count: usize) {
    redis.dead_letter(&["{}"]).await;
    until("it has moved", || async {
        redis.len(TARGET).await == count
    })
    .await;
}

#[tokio::test]
async fn what_arrives_at_an_idle_worker_goes_before_the_interval_ends_each_time() {
    for pace in ["fixed", "adaptive"] {
        let redis = Redis::start();
        let daemon = idle(&redis, &[("REPLAY_PACE", pace)]).await;
        for count in 1..=3 {
            sent(&redis, 1).await;
            let _: String = redis.command(&["RPOP", TARGET]).await;
            daemon
                .until_metric(WOKEN, |woken| woken >= f64::from(count))
                .await;
        }
        assert!(!daemon.log().contains(TELLS_NOT), "{}", daemon.log());
    }
}

#[tokio::test]
async fn without_the_setting_nobody_is_woken() {
    let redis = Redis::start();
    let sleeper = idle(&redis, &[("REMEDIATION_WAKE_ON_ARRIVAL", "false")]).await;
    // Another worker at the same queue shows that there was something to be woken for.
    let waking = idle(&redis, &[]).await;
    sent(&redis, 1).await;
    waking.until_metric(WOKEN, |woken| woken == 1.0).await;
    assert_eq!(sleeper.metric(WOKEN).await, Some(0.0));
    assert_eq!(sleeper.metric(&passes("empty")).await, Some(1.0));
}

#[tokio::test]
async fn what_has_come_back_is_not_replayed_any_sooner_for_being_an_arrival() {
    for pace in ["fixed", "adaptive"] {
        let redis = Redis::start();
        let daemon = idle(&redis, &[("REPLAY_PACE", pace)]).await;
        sent(&redis, 1).await;
        let letter: String = redis.command(&["RPOP", TARGET]).await;
        assert!(letter.contains("\"_remediation_count\":1"), "{letter}");
        redis.dead_letter(&[letter]).await;
        daemon
            .until_metric(&passes("waiting"), |count| count == 1.0)
            .await;
        assert_eq!(redis.len(SOURCE).await, 1, "{pace}");
        assert_eq!(redis.len(TARGET).await, 0, "{pace}");
        // It was looked at once; that it lies there wakes nobody.
        let woken = daemon.metric(WOKEN).await.expect("a count");
        assert!(woken <= 2.0, "{}", daemon.log());
    }
}

#[tokio::test]
async fn no_more_goes_in_an_interval_than_without_being_woken() {
    let redis = Redis::start();
    let daemon = idle(
        &redis,
        &[
            ("REMEDIATION_INTERVAL", "5"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "1"),
            ("REMEDIATION_BATCH_SIZE", "1"),
        ],
    )
    .await;
    sent(&redis, 1).await;
    sent(&redis, 2).await;
    // The second had to wait for the next pass that was due; on a slow machine the first had, too.
    let woken = daemon.metric(WOKEN).await.expect("a count");
    assert!(woken <= 1.0, "{woken}\n{}", daemon.log());
}

#[tokio::test]
async fn each_arrival_counts_for_itself_until_the_interval_has_had_its_batch() {
    let redis = Redis::start();
    let one_batch = [
        ("REMEDIATION_BATCHES_PER_CYCLE", "1"),
        ("REMEDIATION_BATCH_SIZE", "3"),
    ];
    let daemon = idle(&redis, &one_batch).await;
    for count in 1..=3 {
        sent(&redis, count).await;
    }
    daemon.until_metric(WOKEN, |woken| woken == 3.0).await;
    // Another worker at the same queue shows that there was something to be woken for.
    let waking = idle(&redis, &[]).await;
    sent(&redis, 4).await;
    waking.until_metric(WOKEN, |woken| woken == 1.0).await;
    assert_eq!(daemon.metric(WOKEN).await, Some(3.0));
}

#[tokio::test]
async fn a_list_that_others_empty_again_is_not_looked_at_without_a_breath() {
    let redis = Redis::start();
    let _daemon = idle(&redis, &[]).await;
    let mut line = redis.connect().await;
    let script = "redis.call('LPUSH', KEYS[1], 'x') redis.call('RPOP', KEYS[1])";
    let looks = || async {
        let stats: String = redis.command(&["INFO", "commandstats"]).await;
        let llen = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_llen:calls="));
        let calls = llen.and_then(|rest| rest.split(',').next()?.parse().ok());
        calls.unwrap_or(0_u64)
    };
    let before = looks().await;
    let began = std::time::Instant::now();
    let mut changes = 0;
    while began.elapsed() < std::time::Duration::from_secs(2) {
        let mut change = redis::cmd("EVAL");
        change.arg(script).arg(1).arg(SOURCE);
        let () = change.query_async(&mut line).await.expect("it runs");
        changes += 1;
    }
    // The survey looks too, at five lists every two seconds. A slow machine makes fewer, not more.
    let made = looks().await - before;
    assert!(made < 100, "{made} looks at {changes} changes");
}

#[tokio::test]
async fn while_moogsoft_is_down_nobody_is_woken() {
    let redis = Redis::start();
    let webhook = Webhook::start(Manner::Status(503)).await;
    let held = Daemon::start(&redis, &with(&[("MOOG_WEBHOOK_URL", &webhook.url())]));
    held.until_metric(&passes("unhealthy"), |count| count == 1.0)
        .await;
    // Another worker at the same queue shows that there was something to be woken for.
    let waking = idle(&redis, &[]).await;
    sent(&redis, 1).await;
    waking.until_metric(WOKEN, |woken| woken == 1.0).await;
    assert_eq!(held.metric(WOKEN).await, Some(0.0));
}

#[tokio::test]
async fn it_is_woken_after_redis_was_away() {
    let mut redis = Redis::start();
    let daemon = idle(&redis, &[]).await;
    sent(&redis, 1).await;
    redis.kill();
    redis.up();
    until("it has moved", || async {
        redis.push(SOURCE, &["{}"; 1]).await;
        redis.len(TARGET).await > 0
    })
    .await;
    daemon.until_metric(WOKEN, |woken| woken >= 2.0).await;
}

/// A worker whose user has the rights of docs/configuration.md, with and without those for this.
async fn as_user(redis: &Redis, more: &[&str]) -> Daemon {
    let docs = std::fs::read_to_string("docs/configuration.md").expect("the page exists");
    let mut lines = docs.lines();
    let rule = lines.find_map(|line| line.strip_prefix("ACL SETUSER mutt-remediation "));
    let rule = rule.expect("a rule").replace("'><password>'", ">secret");
    let mut words = vec!["ACL", "SETUSER", "worker"];
    words.extend(rule.split_whitespace().chain(more.iter().copied()));
    redis.command::<()>(&words).await;
    allow_setinfo(redis).await;
    let worker = [("REDIS_USERNAME", "worker"), ("REDIS_PASSWORD", "secret")];
    idle(redis, &worker).await
}

#[tokio::test]
async fn a_user_needs_the_rights_that_the_docs_say_and_without_them_the_queue_is_looked_at() {
    const NEEDED: &str = "needs `+client|tracking` too";
    let docs = std::fs::read_to_string("docs/configuration.md").expect("the page exists");
    assert!(docs.contains(NEEDED), "the docs say so");
    for rights in [&["+client|tracking"][..], &[]] {
        let redis = Redis::start();
        let daemon = as_user(&redis, rights).await;
        sent(&redis, 1).await;
        daemon.until_metric(WOKEN, |woken| woken == 1.0).await;
        let log = daemon.log();
        assert_eq!(!log.contains(TELLS_NOT), rights.len() == 1, "{log}");
    }
}

#[tokio::test]
async fn in_a_cluster_the_node_of_the_source_tells() {
    let cluster = Cluster::start().await;
    let seeds = cluster.seeds();
    let variables = with(&[("REDIS_CLUSTER_NODES", &seeds)]);
    let daemon = Daemon::start_alone(&variables);
    daemon
        .until_metric(&passes("empty"), |count| count >= 1.0)
        .await;
    cluster.push(SOURCE, &["{}"]).await;
    until("it has moved", || async { cluster.len(TARGET).await == 1 }).await;
    daemon.until_metric(WOKEN, |woken| woken == 1.0).await;
    assert!(!daemon.log().contains(TELLS_NOT), "{}", daemon.log());
}
