//! The guard among others, struck down, and refused: then every message is counted.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    ALERT, DEPTH, Guard, LEVEL, SHED, alerts, each_once, events, failed, guarding, is, thresholds,
};
use crate::support::wait::pause;
use crate::support::{Held, Onward, Proxy, Redis, SOURCE, Stepper, Stop, TARGET, until};

/// Takes from the right of the ingest queue as alerters do, until told to stop.
async fn consume(redis: &Redis, into: &str, stop: &AtomicBool) {
    let mut line = redis.connect().await;
    let mut take = redis::cmd("BRPOPLPUSH");
    take.arg(TARGET).arg(into).arg(0.05);
    while !stop.load(Ordering::Relaxed) {
        let taken: Option<Vec<u8>> = take.query_async(&mut line).await.expect("it answers");
        if taken.is_some() {
            pause().await;
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_among_alerters_producers_and_a_second_guard() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    let guards = [guarding(&redis, &[]), guarding(&redis, &[])];
    for guard in &guards {
        guard.until_metric(LEVEL, |level| level == 2.0).await;
    }
    let stop = AtomicBool::new(false);
    let produced = 6_000;
    let produce = async {
        for first in (0..produced).step_by(60) {
            redis.push(TARGET, &events(first..first + 60)).await;
            pause().await;
        }
        until("none waits", || async { redis.len(TARGET).await == 0 }).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        produce,
        consume(&redis, "taken:1", &stop),
        consume(&redis, "taken:2", &stop),
    );
    each_once(&redis, &[SOURCE, "taken:1", "taken:2"], produced).await;
    let shed = redis.texts(SOURCE).await;
    assert!(shed.len() > 1_000, "{} shed", shed.len());
    let taken = redis.len("taken:1").await + redis.len("taken:2").await;
    assert!(taken > 20, "{taken} taken");
    let stamp = r#","shedding_reason":"queue_depth_exceeded:11>10"}"#;
    assert!(shed.iter().all(|text| text.ends_with(stamp)));
    for list in ["taken:1", "taken:2"] {
        let untouched = redis.texts(list).await;
        assert!(untouched.iter().all(|text| !text.contains("shedding")));
    }
    until("both have counted", || async {
        let mut counted = 0.0;
        for guard in &guards {
            counted += guard.metric(SHED).await.expect("exposed");
        }
        is(shed.len())(counted)
    })
    .await;
}

#[tokio::test]
async fn two_guards_do_not_move_more_than_one_would() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    let guards = [guarding(&redis, &[]), guarding(&redis, &[])];
    for guard in &guards {
        guard.until_metric(LEVEL, |level| level == 2.0).await;
    }
    alerts(&redis, 7).await;
    for guard in &guards {
        guard.until_metric(DEPTH, |depth| depth == 7.0).await;
    }
    redis.push(TARGET, &events(0..1_000)).await;
    until("three are left", || async { redis.len(TARGET).await == 3 }).await;
    for (round, depth) in [(0, 6), (1, 5)] {
        alerts(&redis, depth).await;
        for guard in &guards {
            guard.until_metric(DEPTH, is(depth)).await;
        }
        assert_eq!(redis.len(TARGET).await, 3, "{round}");
    }
    assert_eq!(redis.texts(TARGET).await, events(997..1_000));
    each_once(&redis, &[SOURCE, TARGET], 1_000).await;
}

#[tokio::test]
async fn nothing_is_lost_when_it_is_killed_in_the_middle() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    redis.push(TARGET, &events(0..3_000)).await;
    let mut kills = 0;
    while redis.len(TARGET).await > 0 {
        let before = redis.len(TARGET).await;
        let daemon = guarding(&redis, &[]);
        let enough = before.saturating_sub(1 + kills * 30);
        until("it has moved some", || async {
            redis.len(TARGET).await <= enough
        })
        .await;
        drop(daemon);
        kills += 1;
    }
    assert!(kills > 5, "{kills} kills");
    each_once(&redis, &[SOURCE, TARGET], 3_000).await;
}

#[tokio::test]
async fn nothing_is_lost_when_it_is_cut_off_at_any_byte() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    redis.push(TARGET, &events(0..4_000)).await;
    let proxy = Proxy::before(redis.port()).await;
    let port = proxy.port().to_string();
    let daemon = guarding(&redis, &[("REDIS_PORT", &port)]);
    let mut cuts = 0;
    while redis.len(TARGET).await > 0 {
        let before = redis.len(TARGET).await;
        // Steps without a common factor with the size of a move on the wire.
        let bytes = 1 + i64::from(cuts) * 1_237 % 19_973;
        if cuts % 2 == 0 {
            proxy.cut_after_request_bytes(bytes);
        } else {
            proxy.cut_after_reply_bytes(bytes);
        }
        cuts += 1;
        let less = before.saturating_sub(150);
        until("it goes on", || async { redis.len(TARGET).await <= less }).await;
    }
    assert!(cuts > 10, "{cuts} cuts");
    each_once(&redis, &[SOURCE, TARGET], 4_000).await;
    daemon
        .until_metric(&failed("unreachable"), |count| count > 3.0)
        .await;
}

#[tokio::test]
async fn out_of_memory_it_moves_nothing_and_goes_on_afterwards() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    redis.push(TARGET, &events(0..50)).await;
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    let daemon = guarding(&redis, &[]);
    daemon
        .until_metric(&failed("out_of_memory"), |count| count >= 2.0)
        .await;
    assert_eq!((redis.len(TARGET).await, redis.len(SOURCE).await), (50, 0));
    assert_eq!(
        daemon.log().matches("the guard cannot do its work").count(),
        1
    );
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
    daemon.until_logged("the guard can do its work again").await;
}

#[tokio::test]
async fn a_key_of_the_wrong_type_is_left_alone_and_nothing_is_moved() {
    for (key, moved) in [
        (SOURCE, false),
        (ALERT, false),
        ("mutt:config:alerter_shed_mode", true),
    ] {
        let redis = Redis::start();
        thresholds(&redis, "5", "10").await;
        if key != ALERT {
            alerts(&redis, 11).await;
        }
        redis.push(TARGET, &events(0..50)).await;
        redis.command::<i64>(&["SADD", key, "x"]).await;
        let daemon = guarding(&redis, &[]);
        if moved {
            until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
            daemon
                .until_logged("rule of the alerters refused, the default counts")
                .await;
        } else {
            daemon
                .until_metric(&failed("wrong_type"), |count| count >= 2.0)
                .await;
            assert_eq!(redis.texts(TARGET).await, events(0..50));
            assert_eq!(redis.command::<i64>(&["SCARD", key]).await, 1);
            redis.command::<i64>(&["DEL", key]).await;
            alerts(&redis, 11).await;
            until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
        }
    }
}

#[tokio::test]
async fn a_missing_right_moves_nothing() {
    for denied in ["-lpush", "-ltrim", "-evalsha", "-lindex"] {
        let redis = Redis::start();
        thresholds(&redis, "5", "10").await;
        alerts(&redis, 11).await;
        redis.push(TARGET, &events(0..50)).await;
        let words = [
            "ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all", denied,
        ];
        redis.command::<()>(&words).await;
        let user = [("REDIS_USERNAME", "worker"), ("REDIS_PASSWORD", "secret")];
        let daemon = guarding(&redis, &user);
        daemon
            .until_metric(&failed("no_permission"), |count| count >= 2.0)
            .await;
        assert_eq!(redis.texts(TARGET).await, events(0..50), "{denied}");
        assert_eq!(redis.len(SOURCE).await, 0, "{denied}");
        let granted = denied.replace('-', "+");
        redis
            .command::<()>(&["ACL", "SETUSER", "worker", &granted])
            .await;
        until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
    }
}

#[tokio::test]
async fn where_replicas_are_demanded_and_away_nothing_is_moved() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    redis.push(TARGET, &events(0..50)).await;
    let replicas = [
        ("REDIS_WAIT_REPLICAS", "1"),
        ("REDIS_WAIT_TIMEOUT_MS", "10"),
    ];
    let daemon = guarding(&redis, &replicas);
    daemon
        .until_metric(&failed("replicas_behind"), |count| count >= 2.0)
        .await;
    assert_eq!(redis.texts(TARGET).await, events(0..50));
    // Later servers wait for nothing where the connection itself has written nothing.
    let statistics: String = redis.command(&["INFO", "commandstats"]).await;
    assert!(statistics.contains("cmdstat_ltrim:"), "{statistics}");
    let primary = ["--replicaof", "127.0.0.1", &redis.port().to_string()].join(" ");
    let words: Vec<&str> = primary.split(' ').collect();
    let _replica = Redis::with(&words);
    until("all are moved", || async { redis.len(SOURCE).await == 50 }).await;
}

/// A guard before ten messages, held at this step of its first move. It looks by `EVALSHA`, which
/// Redis does not know at first, and moves by another one, likewise: the fourth is the move.
async fn held_at(redis: &Redis, stop: Stop) -> (Guard, Stepper, Held) {
    thresholds(redis, "5", "10").await;
    alerts(redis, 11).await;
    redis.push(TARGET, &events(0..10)).await;
    let mut stepper = Stepper::before(redis.port()).await;
    stepper.stop_at(stop);
    let guard = Guard::start(stepper.port());
    let held = stepper.held().await;
    (guard, stepper, held)
}

#[tokio::test]
async fn what_alerters_take_between_look_and_move_is_theirs_and_the_rest_moves() {
    let redis = Redis::start();
    let (guard, _stepper, held) = held_at(&redis, Stop::Request("EVALSHA", 4)).await;
    for _ in 0..3 {
        let taken: Vec<u8> = redis.command(&["RPOPLPUSH", TARGET, "taken"]).await;
        assert!(!taken.is_empty());
    }
    // In the middle of what was read somebody has removed one, and younger ones have come.
    let gone = &events(5..6)[0];
    assert_eq!(redis.command::<i64>(&["LREM", TARGET, "1", gone]).await, 1);
    redis.push("taken", &[gone]).await;
    redis.push(TARGET, &events(10..15)).await;
    held.go(Onward::Pass);
    until("all are moved", || async { redis.len(TARGET).await == 0 }).await;
    guard.end().await;
    each_once(&redis, &[SOURCE, "taken"], 15).await;
    let moved = redis.texts(SOURCE).await;
    let stamp = r#","shedding_reason":"queue_depth_exceeded:11>10"}"#;
    let stamped = |event: String| event.replace('}', stamp);
    let rest = events(3..5).into_iter().chain(events(6..15));
    assert_eq!(moved, rest.map(stamped).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_late_move_leaves_what_has_room_though_it_has_the_same_bytes() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    let mut stepper = Stepper::before(redis.port()).await;
    let guard = Guard::start(stepper.port());
    until("it sheds", || async { guard.deferred.borrow().holds() }).await;
    alerts(&redis, 7).await;
    stepper.stop_at(Stop::Request("EVALSHA", 4));
    redis.push(TARGET, &["{}"; 20]).await;
    let held = stepper.held().await;
    // Meanwhile another guard moves all of the overflow.
    for _ in 0..17 {
        let moved: Vec<u8> = redis.command(&["RPOPLPUSH", TARGET, SOURCE]).await;
        assert_eq!(moved, b"{}");
    }
    let before = guard.deferred.borrow().until;
    held.go(Onward::Pass);
    until("it has looked again", || async {
        guard.deferred.borrow().until > before
    })
    .await;
    guard.end().await;
    assert_eq!((redis.len(TARGET).await, redis.len(SOURCE).await), (3, 17));
}

#[tokio::test]
async fn a_move_that_is_disturbed_at_any_step_is_whole_or_not_done() {
    use Onward::{Cut, Half, Pass, Swallow};
    use Stop::{Reply, Request};
    for (stop, onward, moved) in [
        (Reply("EVALSHA", 2), Half, 0),
        (Request("MULTI", 1), Cut, 0),
        (Request("EVALSHA", 4), Cut, 0),
        (Request("EVALSHA", 4), Half, 0),
        (Reply("EVALSHA", 4), Pass, 10),
        (Reply("EVALSHA", 4), Cut, 10),
        (Reply("EVALSHA", 4), Swallow, 10),
    ] {
        for aborted in [false, true] {
            let redis = Redis::start();
            let (guard, _stepper, held) = held_at(&redis, stop).await;
            assert_eq!(redis.len(SOURCE).await, moved, "{stop:?}");
            if aborted {
                guard.task.abort();
            }
            held.go(onward);
            redis.push(TARGET, &events(10..12)).await;
            let other = aborted.then(|| Guard::start(redis.port()));
            until("all are moved", || async { redis.len(TARGET).await == 0 }).await;
            each_once(&redis, &[SOURCE], 12).await;
            drop(other);
        }
    }
}
