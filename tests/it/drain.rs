//! What a pass moves, where to, and with which bytes.

use std::time::Duration;

use mutt_remediation::dlq::envelope::{Envelope, Fields};
use mutt_remediation::dlq::redis::{Limits, Lists, Queue};
use mutt_remediation::dlq::{Committed, Disposition, Entry, Peeked, Transfer};
use mutt_remediation::drain::classify::Rules;
use mutt_remediation::drain::plan::{Plan, plan};
use mutt_remediation::link::{LinkConfig, Reason, Wait};

use crate::support::{DEAD, Daemon, Onward, Redis, SOURCE, Stepper, Stop, TARGET, until};

fn event(id: usize, members: &str) -> String {
    format!(r#"{{"timestamp":"2026-11-20T10:00:00Z","hostname":"sw-{id}","message":"m"{members}}}"#)
}

fn queue(redis: &Redis) -> Queue {
    queue_at(redis.port(), None)
}

fn queue_at(port: u16, wait: Option<Wait>) -> Queue {
    let config = LinkConfig {
        url: format!("redis://127.0.0.1:{port}")
            .parse()
            .expect("an address"),
        username: None,
        passwords: vec![],
        ca_cert: None,
        client_cert: None,
        client_name: "test".into(),
        timeout: Duration::from_secs(20),
        cluster: vec![],
        sentinels: None,
        wait,
    };
    let lists = Lists {
        source: SOURCE.into(),
        target: TARGET.into(),
        dead: DEAD.into(),
    };
    Queue::new(config, lists)
}

fn limits(entries: u64) -> Limits {
    Limits {
        entries,
        bytes: 8 * 1024 * 1024,
    }
}

async fn peek(queue: &mut Queue, limits: Limits) -> Peeked {
    let mut entries = vec![];
    let each = |piece: Vec<Entry>| entries.extend(piece);
    let depth = queue.peek(limits, each).await.expect("peeked");
    Peeked { depth, entries }
}

fn planned(entries: Vec<Entry>) -> Plan {
    let rules = Rules::alerter();
    plan(entries, &rules, 1_790_000_000)
}

#[tokio::test]
async fn a_source_emptied_before_the_wait_leaves_the_replicas_to_be_waited_for() {
    let redis = Redis::start();
    redis.dead_letter(&[event(1, "")]).await;
    let mut stepper = Stepper::before(redis.port()).await;
    let wait = Wait {
        replicas: 1,
        timeout: Duration::from_millis(10),
    };
    let mut queue = queue_at(stepper.port(), Some(wait));
    // The look is sent twice, because Redis does not know it at first; then comes the write.
    stepper.stop_at(Stop::Request("EVALSHA", 3));
    let catching = tokio::spawn(async move {
        let caught = queue.catch_up().await;
        (queue, caught)
    });
    let held = stepper.held().await;
    redis.command::<i64>(&["DEL", SOURCE]).await;
    held.go(Onward::Pass);
    let (mut queue, caught) = catching.await.expect("it ended");
    caught.expect("there is nothing to move");

    redis.dead_letter(&[event(2, "")]).await;
    let error = queue.catch_up().await.expect_err("there is no replica");
    assert_eq!(error.link().reason, Reason::ReplicasBehind, "{error}");
}

#[tokio::test]
async fn messages_go_where_the_contract_says_oldest_first() {
    let redis = Redis::start();
    let letters = [
        event(
            1,
            r#","_retry_count":4,"f":1.10,"big":123456789012345678901234567890"#,
        ),
        event(2, r#","_moog_retry_count":3"#),
        "[1,2]".to_owned(),
        event(3, r#","shedding_reason":"queue_depth_exceeded:2500>2000""#),
        event(4, r#","_remediation_count":2,"_remediation_at":1"#),
        event(5, r#","_moog_retry_count":"2""#),
    ];
    redis.dead_letter(&letters).await;
    let daemon = Daemon::start(&redis, &[]);
    until("the queue is empty", || async {
        redis.len(SOURCE).await == 0
    })
    .await;

    let replayed = redis.texts(TARGET).await;
    let sources = [&letters[0], &letters[3], &letters[4]];
    assert_eq!(replayed.len(), sources.len());
    for (after, before) in replayed.iter().zip(sources) {
        let fields = Fields::alerter();
        let was = Envelope::read(before.as_bytes(), &fields).expect("sound");
        let read = Envelope::read(after.as_bytes(), &fields).expect("sound");
        assert_eq!(read.remediation_count(), was.remediation_count() + 1);
        let age = jiff::Timestamp::now().as_second() - read.since().expect("stamped");
        assert!((0..60).contains(&age), "{after}");
    }
    assert!(
        replayed[0]
            .starts_with(&letters[0].replace("\"_retry_count\":4", "\"_retry_count\":0")[..100])
    );
    assert!(replayed[0].contains(r#""f":1.10,"big":123456789012345678901234567890,"#));

    let dead = redis.texts(DEAD).await;
    assert!(dead[0].starts_with(&letters[1][..letters[1].len() - 1]));
    assert!(
        dead[0].contains(r#","_remediation_reason":"retries_exhausted","_remediation_dead_at":1"#)
    );
    assert_eq!(dead[1..], [letters[2].clone(), letters[5].clone()]);

    daemon
        .until_metric("mutt_remediation_replay_success_total", |value| {
            value == 3.0
        })
        .await;
    let count =
        |labels: &str| format!("mutt_remediation_messages_total{{{labels},source=\"alerter\"}}");
    for (labels, expected) in [
        (r#"disposition="replay",reason="""#, 3.0),
        (r#"disposition="dead",reason="retries_exhausted""#, 1.0),
        (r#"disposition="dead",reason="malformed""#, 2.0),
        (r#"disposition="dead",reason="incomplete""#, 0.0),
    ] {
        assert_eq!(
            daemon.metric(&count(labels)).await,
            Some(expected),
            "{labels}"
        );
    }
    assert_eq!(
        daemon
            .metric("mutt_remediation_poison_messages_total")
            .await,
        Some(3.0)
    );
}

#[tokio::test]
async fn without_the_stamp_every_message_keeps_its_bytes() {
    let redis = Redis::start();
    let letters: [&[u8]; 4] = [
        br#"{"_retry_count":4,"_remediation_count":1} "#,
        br#"{"_moog_retry_count":9}"#,
        b"\xff\x00",
        b"",
    ];
    redis.dead_letter(&letters).await;
    let _daemon = Daemon::start(&redis, &[("REPLAY_STAMP", "false")]);
    until("the queue is empty", || async {
        redis.len(SOURCE).await == 0
    })
    .await;
    assert_eq!(redis.list(TARGET).await, [letters[0]]);
    assert_eq!(redis.list(DEAD).await, letters[1..]);
}

#[tokio::test]
async fn a_message_that_the_alerter_would_discard_is_parked_where_fields_are_required() {
    let redis = Redis::start();
    redis
        .dead_letter(&[r#"{"hostname":"a"}"#, &event(1, "")])
        .await;
    let fields = ("REPLAY_REQUIRED_FIELDS", "hostname, timestamp,message");
    let _daemon = Daemon::start(&redis, &[fields]);
    until("the queue is empty", || async {
        redis.len(SOURCE).await == 0
    })
    .await;
    assert_eq!(redis.len(TARGET).await, 1);
    assert!(redis.texts(DEAD).await[0].contains(r#""_remediation_reason":"incomplete""#));
}

#[tokio::test]
async fn a_limit_of_zero_parks_everything_and_says_so() {
    let redis = Redis::start();
    redis.dead_letter(&[event(1, "")]).await;
    let daemon = Daemon::start(&redis, &[("MAX_POISON_RETRIES", "0")]);
    until("the queue is empty", || async {
        redis.len(DEAD).await == 1
    })
    .await;
    daemon
        .until_logged("MAX_POISON_RETRIES=0 sends every message to the dead list")
        .await;
}

#[tokio::test]
async fn the_defaults_take_one_batch_of_ten_at_once_after_the_start() {
    let redis = Redis::start();
    let letters: Vec<String> = (0..35).map(|id| event(id, "")).collect();
    redis.dead_letter(&letters).await;
    let daemon = Daemon::start(&redis, &[("REMEDIATION_INTERVAL", "300")]);
    until("a batch has gone", || async { redis.len(TARGET).await > 0 }).await;
    daemon
        .until_metric(
            "mutt_remediation_passes_total{outcome=\"drained\",source=\"alerter\"}",
            |n| n == 1.0,
        )
        .await;
    assert_eq!((redis.len(SOURCE).await, redis.len(TARGET).await), (25, 10));
    assert!(
        redis.texts(TARGET).await[0].contains("\"sw-0\""),
        "the oldest first"
    );
    // Three more batches, one an interval: 900 s less the time since the first.
    assert_eq!(
        daemon
            .metric("mutt_remediation_drain_estimate_seconds{source=\"alerter\"}")
            .await,
        Some(600.0)
    );
    daemon
        .until_metric(
            "mutt_remediation_dlq_depth{dlq_name=\"mutt:dlq:alerter\"}",
            |n| n == 25.0,
        )
        .await;
}

#[tokio::test]
async fn a_queue_that_will_take_days_is_warned_about() {
    let redis = Redis::start();
    redis.dead_letter(&vec!["{}"; 3_000]).await;
    let daemon = Daemon::start(&redis, &[("REMEDIATION_INTERVAL", "300")]);
    daemon
        .until_logged("2990 messages at 10 per 300 s: 1 day; see REMEDIATION_BATCHES_PER_CYCLE")
        .await;
}

#[tokio::test]
async fn several_batches_a_pass_with_a_pause_between_them() {
    let redis = Redis::start();
    redis.dead_letter(&vec!["{}"; 50]).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("REMEDIATION_INTERVAL", "300"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "3"),
            ("REMEDIATION_BATCH_PAUSE_MS", "150"),
        ],
    );
    daemon.until_logged("batches=3").await;
    assert_eq!(redis.len(TARGET).await, 30);
    let seconds = daemon
        .metric("mutt_remediation_loop_duration_seconds_sum")
        .await;
    assert!(
        seconds.expect("observed") >= 0.3,
        "two pauses of 150 ms: {seconds:?}"
    );
}

#[tokio::test]
async fn messages_that_bounce_straight_back_do_not_keep_a_pass_alive() {
    let redis = Redis::start();
    redis.dead_letter(&vec!["{}"; 40]).await;
    let mut bounce = redis.connect().await;
    let bouncing = async {
        loop {
            let _: Option<Vec<u8>> = redis::cmd("LMOVE")
                .arg(&[TARGET, SOURCE, "RIGHT", "LEFT"])
                .query_async(&mut bounce)
                .await
                .expect("it moves");
        }
    };
    let checking = async {
        let daemon = Daemon::start(
            &redis,
            &[
                ("REMEDIATION_INTERVAL", "300"),
                ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
                ("MAX_POISON_RETRIES", "1000000"),
            ],
        );
        daemon.until_logged("pass moved messages").await;
        assert_eq!(
            daemon.metric("mutt_remediation_replay_success_total").await,
            Some(40.0)
        );
    };
    tokio::select! { () = bouncing => {}, () = checking => {} }
}

#[tokio::test]
async fn a_batch_is_bounded_by_bytes_and_a_larger_message_travels_alone() {
    let redis = Redis::start();
    let mib = 1024 * 1024;
    let sizes = [3 * mib, 3 * mib, 3 * mib, 50 * mib, 10, 10];
    let letters: Vec<Vec<u8>> = sizes.iter().map(|size| vec![b'x'; *size]).collect();
    redis.dead_letter(&letters).await;
    let mut queue = queue(&redis);
    let mut batches = vec![];
    while redis.len(SOURCE).await > 0 {
        let peeked = peek(&mut queue, limits(500)).await;
        batches.push(peeked.entries.len());
        let plan = planned(peeked.entries);
        let moved = queue.commit(&plan.transfers, 0).await.expect("committed");
        assert!(matches!(moved, Committed::Moved { .. }));
    }
    assert_eq!(batches, [2, 1, 1, 2]);
    assert_eq!(redis.list(DEAD).await, letters);
}

#[tokio::test]
async fn huge_and_empty_messages_are_drained_in_bounded_memory() {
    let redis = Redis::start();
    let depth = 1_000_000;
    let deep = [vec![b'['; depth], vec![b']'; depth]].concat();
    let huge = format!(r#"{{"message":"{}"}}"#, "x".repeat(50 * 1024 * 1024)).into_bytes();
    redis
        .dead_letter(&[huge, deep.clone(), [b"{\"a\":", &deep[..], b"}"].concat()])
        .await;
    redis.dead_letter(&vec![""; 100_000]).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_BATCH_SIZE", "500"),
        ],
    );
    until("the queue is empty", || async {
        redis.len(SOURCE).await == 0
    })
    .await;
    assert_eq!(redis.len(TARGET).await, 2);
    assert_eq!(redis.len(DEAD).await, 100_001);
    let kib = daemon.peak_memory_kib();
    // The limit in k8s/ is 256 MiB; a message of 50 MiB is held a few times over while it moves.
    assert!(kib < 256 * 1024, "{kib} KiB");
}

#[tokio::test]
async fn a_commit_moves_all_of_what_was_peeked_also_while_new_letters_arrive() {
    let redis = Redis::start();
    redis.dead_letter(&["{\"n\":1}", "{\"n\":2}", "x"]).await;
    let mut queue = queue(&redis);
    let plan = planned(peek(&mut queue, limits(2)).await.entries);
    redis.dead_letter(&["{\"n\":4}"]).await;
    let moved = queue.commit(&plan.transfers, 0).await.expect("committed");
    assert_eq!(
        moved,
        Committed::Moved {
            replayed: 2,
            dead: 0
        }
    );
    assert_eq!(redis.texts(SOURCE).await, ["x", "{\"n\":4}"]);
    assert_eq!(redis.len(TARGET).await, 2);
}

#[tokio::test]
async fn a_changed_tail_is_a_conflict_and_nothing_is_written() {
    for change in [
        &["LREM", SOURCE, "1", "{\"n\":2}"][..],
        &["RPOP", SOURCE],
        &["LTRIM", SOURCE, "0", "0"],
        &["LSET", SOURCE, "1", "edited"],
        &["DEL", SOURCE],
        &["RENAME", SOURCE, "elsewhere"],
    ] {
        let redis = Redis::start();
        redis
            .dead_letter(&["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"])
            .await;
        let mut queue = queue(&redis);
        let plan = planned(peek(&mut queue, limits(3)).await.entries);
        let _: redis::Value = redis.command(change).await;
        let before = redis.list(SOURCE).await;
        let committed = queue.commit(&plan.transfers, 0).await.expect("answered");
        assert_eq!(committed, Committed::Conflict, "{change:?}");
        assert_eq!(redis.list(SOURCE).await, before, "{change:?}");
        assert_eq!(redis.len(TARGET).await, 0, "{change:?}");
    }
}

/// Runs the transaction of a commit by hand, without WATCH, and returns what the settling said.
async fn settle(redis: &Redis, lists: [&str; 2], ends: [&str; 2]) -> (i64, redis::Value) {
    let mut connection = redis.connect().await;
    let mut transaction = redis::pipe();
    transaction.atomic().ignore_errors();
    transaction.cmd("LPUSH").arg(lists[0]).arg(&["A", "B"]);
    transaction.cmd("LPUSH").arg(lists[1]).arg("C");
    transaction
        .cmd("EVAL")
        .arg(include_str!("../../src/dlq/settle.lua"))
        .arg(3)
        .arg(&[SOURCE, lists[0], lists[1]])
        .arg(&[2, 1])
        .arg(&ends)
        .arg(&[0, 0, 0]);
    let mut answers: Vec<redis::Value> = transaction
        .query_async(&mut connection)
        .await
        .expect("answered");
    redis::from_redis_value(answers.pop().expect("an answer")).expect("two values")
}

/// How many entries lie in those of these that are lists.
async fn lists_len(redis: &Redis, lists: [&str; 2]) -> usize {
    let mut sum = 0;
    for list in lists {
        sum += redis.try_command(&["LLEN", list]).await.unwrap_or(0);
    }
    sum
}

#[tokio::test]
async fn a_transaction_that_finds_other_ends_takes_its_pushes_back() {
    let redis = Redis::start();
    redis.dead_letter(&["a", "b", "c", "d"]).await;
    let () = redis.command(&["LPUSH", TARGET, "before"]).await;
    let () = redis.command(&["LPUSH", DEAD, "before"]).await;
    for ends in [["a", "x"], ["x", "c"], ["b", "d"]] {
        assert_eq!(settle(&redis, [TARGET, DEAD], ends).await.0, -1);
        assert_eq!(redis.texts(SOURCE).await, ["a", "b", "c", "d"]);
        assert_eq!(redis.texts(TARGET).await, ["before"]);
        assert_eq!(redis.texts(DEAD).await, ["before"]);
    }
    assert_eq!(settle(&redis, [TARGET, DEAD], ["a", "c"]).await.0, 2);
    assert_eq!(redis.texts(SOURCE).await, ["d"]);
    assert_eq!(redis.texts(TARGET).await, ["before", "A", "B"]);
    assert_eq!(redis.texts(DEAD).await, ["before", "C"]);
}

#[tokio::test]
async fn a_transaction_whose_push_failed_takes_the_other_one_back() {
    for lists in [["text", DEAD], [TARGET, "text"]] {
        let redis = Redis::start();
        redis.dead_letter(&["a", "b", "c"]).await;
        let () = redis.command(&["SET", "text", "t"]).await;
        let (refused, why) = settle(&redis, lists, ["a", "c"]).await;
        assert_eq!(refused, -1);
        assert!(format!("{why:?}").contains("key text holds a string"));
        assert_eq!(redis.texts(SOURCE).await, ["a", "b", "c"]);
        assert_eq!(lists_len(&redis, lists).await, 0);
    }
}

#[tokio::test]
async fn giants_behind_small_messages_are_read_in_bounded_memory() {
    let redis = Redis::start();
    let small = vec![format!(r#"{{"message":"{}"}}"#, "x".repeat(800)); 3_000];
    let giants = vec![format!(r#"{{"message":"{}"}}"#, "x".repeat(5 * 1024 * 1024)); 40];
    for part in [&small[..], &giants[..], &small[..], &giants[..10]] {
        redis.dead_letter(part).await;
    }
    let daemon = Daemon::start(
        &redis,
        &[
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
            ("REMEDIATION_BATCH_SIZE", "500"),
            ("REMEDIATION_BATCH_PAUSE_MS", "0"),
        ],
    );
    until("the queue is empty", || async {
        redis.len(SOURCE).await == 0
    })
    .await;
    assert_eq!(redis.len(TARGET).await, 6_050);
    let kib = daemon.peak_memory_kib();
    assert!(kib < 128 * 1024, "{kib} KiB");
}

#[tokio::test]
async fn a_plan_committed_twice_moves_nothing_the_second_time() {
    let redis = Redis::start();
    redis.dead_letter(&["{\"n\":1}", "{\"n\":2}"]).await;
    let mut queue = queue(&redis);
    let plan = planned(peek(&mut queue, limits(2)).await.entries);
    queue.commit(&plan.transfers, 0).await.expect("committed");
    assert_eq!(
        queue.commit(&plan.transfers, 0).await.expect("answered"),
        Committed::Conflict
    );
    assert_eq!(redis.len(TARGET).await, 2);
}

#[tokio::test]
async fn an_old_watch_does_not_disturb_a_later_batch() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let mut queue = queue(&redis);
    // Once around, so that the scripts are known.
    let warm = planned(peek(&mut queue, limits(1)).await.entries);
    queue.commit(&warm.transfers, 0).await.expect("committed");
    redis.command::<()>(&["CONFIG", "RESETSTAT"]).await;

    redis.dead_letter(&["{}"]).await;
    let first = peek(&mut queue, limits(1)).await;
    redis.dead_letter(&["{}"]).await;
    let again = peek(&mut queue, limits(2)).await;
    assert_eq!((first.depth, again.depth), (1, 2));
    let plan = planned(again.entries);
    queue.commit(&plan.transfers, 0).await.expect("committed");
    let calls: String = redis.command(&["INFO", "commandstats"]).await;
    assert!(calls.contains("cmdstat_exec:calls=1,"), "{calls}");
    assert!(
        calls.contains("cmdstat_eval:calls=3,") && calls.contains("cmdstat_evalsha:calls=2,"),
        "two rehearsals, two peeks and one commit: {calls}"
    );
}

#[tokio::test]
async fn more_messages_than_unpack_can_take_move_in_one_commit() {
    let redis = Redis::start();
    redis.dead_letter(&vec!["{}"; 10_000]).await;
    let mut queue = queue(&redis);
    let peeked = peek(&mut queue, limits(10_000)).await;
    // Another producer makes the comparing way run.
    redis.dead_letter(&["x"]).await;
    let plan = planned(peeked.entries);
    let moved = queue.commit(&plan.transfers, 0).await.expect("committed");
    assert_eq!(
        moved,
        Committed::Moved {
            replayed: 10_000,
            dead: 0
        }
    );
    assert_eq!(redis.len(SOURCE).await, 1);
}

#[tokio::test]
async fn a_commit_without_a_peek_on_this_connection_compares() {
    let redis = Redis::start();
    redis.dead_letter(&["a", "b"]).await;
    let transfer = |text: &str| Transfer {
        entry: Entry(text.into()),
        edits: vec![],
        disposition: Disposition::Replay,
    };
    let mut queue = queue(&redis);
    let wrong = [transfer("b")];
    assert_eq!(
        queue.commit(&wrong, 0).await.expect("answered"),
        Committed::Conflict
    );
    let right = [transfer("a")];
    let moved = queue.commit(&right, 0).await.expect("answered");
    assert_eq!(
        moved,
        Committed::Moved {
            replayed: 1,
            dead: 0
        }
    );
}

#[tokio::test]
async fn the_age_of_the_oldest_letter_is_told() {
    let redis = Redis::start();
    let hour_ago = jiff::Timestamp::now().as_second() - 3_600;
    redis
        .dead_letter(&[format!(r#"{{"timestamp":{hour_ago}}}"#)])
        .await;
    let age = "mutt_remediation_oldest_dead_letter_age_seconds{source=\"alerter\"}";
    let daemon = Daemon::start(&redis, &[("REMEDIATION_ENABLED", "false")]);
    daemon
        .until_metric(age, |seconds| (3_600.0..3_700.0).contains(&seconds))
        .await;
    redis.command::<i64>(&["DEL", SOURCE]).await;
    daemon.until_metric(age, |seconds| seconds == 0.0).await;
    redis.dead_letter(&["x"]).await;
    daemon.until_metric(age, f64::is_nan).await;
    assert_eq!(
        redis.len(SOURCE).await,
        1,
        "switched off, it drains nothing"
    );
}
