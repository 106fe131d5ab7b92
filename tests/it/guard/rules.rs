//! What the guard is told, by whom, and what it tells.

use super::{ALERT, DEFERRED, LEVEL, SHED, alerts, events, guarding, set, thresholds};
use crate::connection::allow_setinfo;
use crate::support::{Cluster, Daemon, Redis, SOURCE, TARGET, until};

#[tokio::test]
async fn who_may_not_read_the_thresholds_has_the_defaults() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 2_001).await;
    redis.push(TARGET, &events(0..50)).await;
    let words = [
        "ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all", "-get",
    ];
    redis.command::<()>(&words).await;
    let user = [("REDIS_USERNAME", "worker"), ("REDIS_PASSWORD", "secret")];
    let daemon = guarding(&redis, &user);
    daemon
        .until_logged("the alerters' thresholds cannot be read, the defaults count")
        .await;
    until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
    assert!(redis.texts(SOURCE).await[0].contains("queue_depth_exceeded:2001>2000"));
}

#[tokio::test]
async fn an_acl_user_needs_no_more_than_the_docs_say() {
    let redis = Redis::start();
    let page = std::fs::read_to_string("docs/configuration.md").expect("it exists");
    let mut lines = page.lines();
    let rule = lines.find_map(|line| line.strip_prefix("ACL SETUSER mutt-remediation "));
    let rule = rule.expect("a rule").replace("'><password>'", ">secret");
    let more = lines.find(|line| line.contains("`BACKPRESSURE_GUARD_ENABLED` needs `"));
    let more = more.expect("more").rsplit('`').nth(1).expect("quoted");
    let mut words = vec!["ACL", "SETUSER", "worker"];
    words.extend(rule.split_whitespace().chain(more.split_whitespace()));
    redis.command::<()>(&words).await;
    allow_setinfo(&redis).await;
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    redis.push(TARGET, &events(0..50)).await;
    redis.push("mutt:processing:alerter:gone", &["{}"]).await;
    let user = [("REDIS_USERNAME", "worker"), ("REDIS_PASSWORD", "secret")];
    let daemon = guarding(&redis, &user);
    until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
    daemon
        .until_metric("mutt_alerter_orphaned_lists", |lists| lists == 1.0)
        .await;
    let log: Vec<Vec<redis::Value>> = redis.command(&["ACL", "LOG"]).await;
    assert!(log.is_empty(), "{log:?}");
}

#[tokio::test]
async fn the_mode_can_be_switched_while_it_sheds() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    set(&redis, "shed_mode", "defer").await;
    set(&redis, "defer_sleep_ms", "20").await;
    alerts(&redis, 11).await;
    redis.push(TARGET, &events(0..50)).await;
    let daemon = guarding(&redis, &[]);
    daemon.until_metric(DEFERRED, |count| count >= 3.0).await;
    assert_eq!((redis.len(TARGET).await, redis.len(SOURCE).await), (50, 0));
    assert_eq!(daemon.metric(SHED).await, Some(0.0));
    daemon.until_logged("mode=\"defer\"").await;

    set(&redis, "shed_mode", "dlq").await;
    until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
    let held = daemon.metric(DEFERRED).await.expect("exposed");
    set(&redis, "shed_mode", "defer").await;
    daemon.until_metric(DEFERRED, |count| count > held).await;
    redis.push(TARGET, &events(50..70)).await;
    daemon
        .until_metric(DEFERRED, |count| count > held + 3.0)
        .await;
    assert_eq!((redis.len(TARGET).await, redis.len(SOURCE).await), (20, 50));
}

#[tokio::test]
async fn a_bad_threshold_is_refused_once_and_the_default_counts() {
    let redis = Redis::start();
    thresholds(&redis, "5", "lots\x1b[31m").await;
    alerts(&redis, 11).await;
    redis.push(TARGET, &events(0..50)).await;
    let daemon = guarding(&redis, &[]);
    daemon.until_metric(LEVEL, |level| level == 1.0).await;
    set(&redis, "queue_warn_threshold", "6").await;
    daemon.until_logged("warn: 6").await;
    assert_eq!(redis.len(SOURCE).await, 0);
    let log = daemon.log();
    assert_eq!(log.matches("rule of the alerters refused").count(), 1);
    assert!(
        !log.contains('\x1b'),
        "nothing from Redis reaches the terminal raw"
    );
    set(&redis, "queue_shed_threshold", "10").await;
    until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
}

#[tokio::test]
async fn orphans_are_reported_once_a_change_and_never_touched() {
    let redis = Redis::start();
    let list = |name: &str| format!("work[1]:{name}");
    for (name, messages) in [("gone", 3), ("alive", 5), ("lost", 2)] {
        redis.push(&list(name), &vec!["{}"; messages]).await;
    }
    redis.command::<()>(&["SET", "beat:alive", "1"]).await;
    redis.command::<()>(&["SET", &list("text"), "1"]).await;
    redis.push("work1:other", &["{}"]).await;
    let daemon = guarding(
        &redis,
        &[
            ("ALERTER_PROCESSING_LIST_PREFIX", "work[1]"),
            ("ALERTER_HEARTBEAT_PREFIX", "beat"),
        ],
    );
    daemon
        .until_metric("mutt_alerter_orphaned_messages", |count| count == 5.0)
        .await;
    assert_eq!(
        daemon.metric("mutt_alerter_orphaned_lists").await,
        Some(2.0)
    );
    daemon.until_logged("first=work[1]:gone").await;
    let lengths = [list("gone"), list("alive"), list("lost")];
    for (list, length) in lengths.iter().zip([3, 5, 2]) {
        assert_eq!(redis.len(list).await, length);
    }
    redis.command::<()>(&["SET", "beat:gone", "1"]).await;
    daemon
        .until_metric("mutt_alerter_orphaned_lists", |count| count == 1.0)
        .await;
    redis.command::<()>(&["SET", "beat:lost", "1"]).await;
    daemon
        .until_logged("no messages of absent alerters are left")
        .await;
    assert_eq!(
        daemon.metric("mutt_alerter_orphaned_messages").await,
        Some(0.0)
    );
    let warnings = daemon.log().matches("alerters without a heartbeat").count();
    assert_eq!(warnings, 2, "one for each change");
}

#[tokio::test]
async fn it_works_in_a_cluster_with_the_alert_queue_elsewhere() {
    let (ingest, dlq) = ("{mutt}:ingest_queue", "{mutt}:dlq:alerter");
    let cluster = Cluster::start().await;
    cluster.push(ALERT, &vec!["{}"; 2_001]).await;
    cluster.push(ingest, &events(0..50)).await;
    let nodes = cluster.seeds();
    let daemon = Daemon::start_alone(&[
        ("REDIS_CLUSTER_NODES", &nodes),
        ("BACKPRESSURE_GUARD_ENABLED", "true"),
        ("REMEDIATION_ENABLED", "false"),
        ("INGEST_QUEUE_NAME", ingest),
        ("ALERTER_DLQ_NAME", dlq),
        ("DEAD_LETTER_QUEUE", "{mutt}:dlq:dead"),
    ]);
    daemon.until_metric(SHED, |count| count == 50.0).await;
    assert_eq!((cluster.len(ingest).await, cluster.len(dlq).await), (0, 50));
    daemon
        .until_logged("messages of absent alerters are not looked for")
        .await;
}
