//! Batches that are made so large that other clients do not wait for long.

use crate::support::{Daemon, Redis, SOURCE, TARGET, until};

const COUNT: &str = "mutt_remediation_stall_seconds_count";
const SUM: &str = "mutt_remediation_stall_seconds_sum";
const WHOLE: [(&str, &str); 3] = [
    ("REMEDIATION_BATCH_SIZE", "5000"),
    ("REMEDIATION_BATCHES_PER_CYCLE", "1"),
    ("REMEDIATION_INTERVAL", "3600"),
];

fn letters(count: usize) -> Vec<String> {
    let letter = |id| format!(r#"{{"id":{id},"text":"{}"}}"#, "x".repeat(800));
    (0..count).map(letter).collect()
}

/// A daemon that has drained all of these, in the one pass that there is.
async fn drained(redis: &Redis, count: usize, more: &[(&str, &str)]) -> Daemon {
    redis.dead_letter(&letters(count)).await;
    let variables: Vec<_> = WHOLE.iter().chain(more).copied().collect();
    let daemon = Daemon::start(redis, &variables);
    until("all have moved", || async {
        redis.len(TARGET).await == count
    })
    .await;
    assert_eq!(redis.len(SOURCE).await, 0);
    daemon
}

/// In the order of their arrival, each once.
async fn are_all_there(redis: &Redis, count: usize) {
    let texts = redis.texts(TARGET).await;
    let ids = texts.iter().enumerate();
    assert!(
        ids.into_iter()
            .all(|(id, text)| text.starts_with(&format!(r#"{{"id":{id},"#)))
    );
    assert_eq!(texts.len(), count);
}

#[tokio::test]
async fn a_batch_begins_small_and_the_pass_moves_as_many_as_it_would_have() {
    let redis = Redis::start();
    let daemon = drained(&redis, 5_000, &[]).await;
    are_all_there(&redis, 5_000).await;
    // A hundred, then at most twice as many each time.
    daemon.until_metric(COUNT, |batches| batches >= 6.0).await;
    is_measured(&daemon).await;
}

/// No server moves 5,000 messages within a fifth of a millisecond, unless its clock stands still.
async fn is_measured(daemon: &Daemon) {
    let sum = daemon.metric(SUM).await.expect("a sum");
    assert!(sum > 0.000_2, "{sum}");
}

#[tokio::test]
async fn batches_that_their_bytes_cut_short_are_as_many_as_ever() {
    let redis = Redis::start();
    let letters: Vec<String> = (0..300)
        .map(|id| format!(r#"{{"id":{id},"text":"{}"}}"#, "x".repeat(10_000)))
        .collect();
    redis.dead_letter(&letters).await;
    let bytes = ("REMEDIATION_BATCH_MAX_BYTES", "100000");
    let variables: Vec<_> = WHOLE.iter().chain([&bytes]).copied().collect();
    let daemon = Daemon::start(&redis, &variables);
    let drained = "mutt_remediation_passes_total{outcome=\"drained\",source=\"alerter\"}";
    daemon.until_metric(drained, |passes| passes == 1.0).await;
    assert_eq!(redis.len(TARGET).await, 9, "one batch, as was asked for");
}

#[tokio::test]
async fn a_server_that_does_not_know_the_time_is_drained_in_whole_batches() {
    for denied in ["+watch", "-watch"] {
        let redis = Redis::with(&["--rename-command", "TIME", ""]);
        let words = format!("ACL SETUSER worker on >secret ~* &* +@all {denied}");
        redis
            .command::<()>(&words.split(' ').collect::<Vec<_>>())
            .await;
        let worker = [("REDIS_USERNAME", "worker"), ("REDIS_PASSWORD", "secret")];
        let daemon = drained(&redis, 5_000, &worker).await;
        are_all_there(&redis, 5_000).await;
        assert_eq!(daemon.metric(COUNT).await, Some(0.0));
        daemon.until_logged("redis does not tell the time").await;
    }
}

#[tokio::test]
async fn where_nobody_minds_a_batch_is_as_large_as_is_said() {
    let redis = Redis::start();
    let daemon = drained(&redis, 5_000, &[("REMEDIATION_STALL_MAX_MS", "0")]).await;
    are_all_there(&redis, 5_000).await;
    daemon.until_metric(COUNT, |batches| batches == 1.0).await;
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_the_time_drains_in_whole_batches() {
    let redis = Redis::start();
    let words = "ACL SETUSER worker on >secret ~* &* +@all -time".split(' ');
    redis.command::<()>(&words.collect::<Vec<_>>()).await;
    let worker = [("REDIS_USERNAME", "worker"), ("REDIS_PASSWORD", "secret")];
    let daemon = drained(&redis, 5_000, &worker).await;
    are_all_there(&redis, 5_000).await;
    assert_eq!(daemon.metric(COUNT).await, Some(0.0));
    let batches = "mutt_remediation_commit_duration_seconds_count";
    // The first is a small one, because the right is not known to be missing yet.
    assert_eq!(daemon.metric(batches).await, Some(2.0));
}

#[tokio::test]
async fn a_batch_that_is_compared_is_measured_as_well_and_without_the_right_it_is_not() {
    for (denied, measured) in [("-watch", true), ("-time", false)] {
        let redis = Redis::start();
        let words = format!("ACL SETUSER worker on >secret ~* &* +@all -watch {denied}");
        let words: Vec<&str> = words.split(' ').collect();
        redis.command::<()>(&words).await;
        let worker = [("REDIS_USERNAME", "worker"), ("REDIS_PASSWORD", "secret")];
        let daemon = drained(&redis, 5_000, &worker).await;
        are_all_there(&redis, 5_000).await;
        let batches = daemon.metric(COUNT).await.expect("a count");
        assert_eq!(batches >= 6.0, measured, "{denied}: {batches}");
        assert_eq!(batches == 0.0, !measured, "{denied}: {batches}");
        if measured {
            is_measured(&daemon).await;
        }
    }
}

#[tokio::test]
async fn the_right_may_be_taken_away_while_it_drains() {
    let redis = Redis::start();
    let words = "ACL SETUSER worker on >secret ~* &* +@all".split(' ');
    redis.command::<()>(&words.collect::<Vec<_>>()).await;
    let worker = [
        ("REDIS_USERNAME", "worker"),
        ("REDIS_PASSWORD", "secret"),
        ("REMEDIATION_INTERVAL", "1"),
        ("REMEDIATION_BATCH_SIZE", "100"),
    ];
    let daemon = drained(&redis, 200, &worker).await;
    daemon.until_metric(COUNT, |batches| batches >= 2.0).await;
    redis
        .command::<()>(&["ACL", "SETUSER", "worker", "-time"])
        .await;
    redis.dead_letter(&letters(50)).await;
    until("they have moved", || async {
        redis.len(TARGET).await == 250
    })
    .await;
    assert_eq!(redis.len(SOURCE).await, 0);
}
