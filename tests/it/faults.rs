//! Killed, cut off, two at once, an operator in between: then every message is counted.

use std::collections::HashMap;

use crate::support::{DEAD, Daemon, Proxy, Redis, SOURCE, TARGET, until};

const DRAINING: [(&str, &str); 2] = [
    ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
    ("REMEDIATION_BATCH_SIZE", "50"),
];

pub(crate) fn letters(count: usize) -> Vec<String> {
    let letter = |id| match id % 10 {
        0 => format!(r#"{{"id":{id},"_moog_retry_count":7}}"#),
        1 => format!("no json {id}"),
        _ => format!(
            r#"{{"id":{id},"_retry_count":4,"message":"{}"}}"#,
            "x".repeat(300)
        ),
    };
    (0..count).map(letter).collect()
}

/// How often each letter lies in one of the lists, told by its number.
async fn count(redis: &Redis) -> HashMap<usize, usize> {
    let mut found = HashMap::new();
    for list in [SOURCE, TARGET, DEAD] {
        for text in redis.texts(list).await {
            let digits = text.chars().skip_while(|c| !c.is_ascii_digit());
            let id: String = digits.take_while(char::is_ascii_digit).collect();
            *found.entry(id.parse().expect("a number")).or_default() += 1;
        }
    }
    found
}

async fn each_is_in_exactly_one_list(redis: &Redis, letters: usize) {
    let found = count(redis).await;
    let lost: Vec<usize> = (0..letters).filter(|id| !found.contains_key(id)).collect();
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
    assert!(
        lost.is_empty() && doubled.is_empty(),
        "lost {lost:?}, doubled {doubled:?}"
    );
}

#[tokio::test]
async fn entries_survive_kill_minus_nine_at_any_moment() {
    let redis = Redis::start();
    let letters = letters(20_000);
    redis.dead_letter(&letters).await;
    let mut kills = 0;
    while redis.len(SOURCE).await > 0 {
        let before = redis.len(SOURCE).await;
        let daemon = Daemon::start(&redis, &DRAINING);
        // The more it has moved, the later in a batch the blow falls.
        let enough = before.saturating_sub(1_000 + kills * 37);
        until("it has moved some", || async {
            redis.len(SOURCE).await <= enough
        })
        .await;
        drop(daemon);
        kills += 1;
    }
    assert!(kills > 5, "{kills} kills");
    each_is_in_exactly_one_list(&redis, letters.len()).await;
}

#[tokio::test]
async fn entries_survive_a_cut_at_any_byte_of_request_or_reply() {
    let redis = Redis::start();
    let letters = letters(6_000);
    redis.dead_letter(&letters).await;
    let proxy = Proxy::before(redis.port()).await;
    let port = proxy.port().to_string();
    let mut variables = vec![("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &*port)];
    variables.extend([
        ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ("REMEDIATION_BATCH_SIZE", "20"),
        ("REMEDIATION_BATCH_PAUSE_MS", "5"),
    ]);
    let daemon = Daemon::start_alone(&variables);
    let mut cuts = 0;
    while redis.len(SOURCE).await > 0 {
        let before = redis.len(SOURCE).await;
        // Steps without a common factor with the size of a batch on the wire.
        let bytes = 1 + i64::from(cuts) * 1_237 % 9_973;
        if cuts % 2 == 0 {
            proxy.cut_after_request_bytes(bytes);
        } else {
            proxy.cut_after_reply_bytes(bytes);
        }
        cuts += 1;
        let less = before.saturating_sub(150);
        until("it drains on", || async { redis.len(SOURCE).await <= less }).await;
    }
    assert!(cuts > 10, "{cuts} cuts");
    each_is_in_exactly_one_list(&redis, letters.len()).await;
    daemon
        .until_metric(
            "mutt_remediation_replay_fail_total{reason=\"unreachable\"}",
            |n| n > 3.0,
        )
        .await;
}

#[tokio::test]
async fn two_daemons_on_the_same_queue_move_each_message_once() {
    let redis = Redis::start();
    let letters = letters(20_000);
    redis.dead_letter(&letters[..10_000]).await;
    let one = Daemon::start(&redis, &DRAINING);
    let other = Daemon::start(&redis, &DRAINING);
    // Letters that arrive meanwhile make both compare instead of trusting their WATCH.
    for part in letters[10_000..].chunks(100) {
        redis.dead_letter(part).await;
    }
    until("the queue is empty", || async {
        redis.len(SOURCE).await == 0
    })
    .await;
    each_is_in_exactly_one_list(&redis, letters.len()).await;
    let mut moved = 0.0;
    for daemon in [&one, &other] {
        let total = daemon.metric("mutt_remediation_replay_success_total").await;
        moved += total.expect("exposed");
    }
    assert_eq!(moved, 16_000.0);
}

#[tokio::test]
async fn an_operator_at_work_on_the_same_end_takes_each_message_once() {
    let redis = Redis::start();
    let letters = letters(10_000);
    redis.dead_letter(&letters).await;
    let _daemon = Daemon::start(&redis, &DRAINING);
    let mut operator = redis.connect().await;
    let mut taken = Vec::new();
    while redis.len(SOURCE).await > 0 {
        let popped: Option<String> = redis::cmd("RPOP")
            .arg(SOURCE)
            .query_async(&mut operator)
            .await
            .expect("it works");
        taken.extend(popped);
    }
    assert!(!taken.is_empty());
    redis.push("taken", &taken).await;
    let mut found = count(&redis).await;
    for text in redis.texts("taken").await {
        let id: String = text.chars().filter(char::is_ascii_digit).collect();
        // The first digits are the number; what follows belongs to the counters.
        let id = (0..letters.len())
            .find(|n| letters[*n] == text)
            .unwrap_or_else(|| panic!("{id}"));
        *found.entry(id).or_default() += 1;
    }
    assert_eq!(found.len(), letters.len());
    assert!(found.values().all(|count| *count == 1));
}

#[tokio::test]
async fn nothing_is_lost_when_redis_is_killed_and_restarted_with_its_log() {
    // fsync on every write, so that what Redis has said survives its own end.
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let letters = letters(6_000);
    redis.dead_letter(&letters).await;
    let mut daemon = Daemon::start(&redis, &DRAINING);
    for left in [4_000, 2_000] {
        until("it has moved some", || async {
            redis.len(SOURCE).await <= left
        })
        .await;
        redis.kill();
        redis.up();
        // A server that is still reading its log answers LOADING; connect() waits for its end.
        until("it has loaded", || async {
            redis.try_command::<String>(&["PING"]).await.is_ok()
        })
        .await;
    }
    until("the queue is empty", || async {
        redis.len(SOURCE).await == 0
    })
    .await;
    each_is_in_exactly_one_list(&redis, letters.len()).await;
    assert!(daemon.is_running());
}

#[tokio::test]
async fn a_reply_lost_after_the_commit_is_no_loss_and_no_double() {
    let redis = Redis::start();
    redis.dead_letter(&["{\"id\":0}", "{\"id\":1}"]).await;
    // Redis stands still for longer than the daemon waits; the commit runs afterwards, unseen.
    let daemon = Daemon::start(
        &redis,
        &[("REDIS_TIMEOUT", "1"), ("REMEDIATION_ENABLED", "true")],
    );
    until("it drains", || async { redis.len(SOURCE).await == 0 }).await;
    redis
        .command::<()>(&["CLIENT", "PAUSE", "2500", "WRITE"])
        .await;
    let pushing = redis.dead_letter(&["{\"id\":2}", "{\"id\":3}"]);
    let ((), ()) = tokio::join!(
        daemon.until_metric("mutt_remediation_loops_total", |loops| loops >= 2.0),
        pushing
    );
    until("it drains", || async { redis.len(SOURCE).await == 0 }).await;
    each_is_in_exactly_one_list(&redis, 4).await;
}
