//! What comes back to the source, and what a look at it costs Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mutt_remediation::config::Config;
use mutt_remediation::dlq::ahead::{Ahead, AheadConfig};
use mutt_remediation::dlq::arrivals::{Arrivals, CameBack};
use mutt_remediation::dlq::envelope::Fields;
use mutt_remediation::drain::outlook::Outlook;
use mutt_remediation::guard::Deferred;
use mutt_remediation::link::LinkConfig;
use mutt_remediation::slo::known::{Known, Reach};
use tokio::sync::watch;

use crate::support::{Proxy, Redis, SOURCE, TARGET};

fn line(port: u16) -> LinkConfig {
    LinkConfig {
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
        wait: None,
    }
}

async fn arrivals(redis: &Redis) -> Arrivals {
    let mut arrivals = Arrivals::new(line(redis.port()), SOURCE, Fields::alerter());
    assert_eq!(look(&mut arrivals).await, came_back(&[]));
    arrivals
}

async fn look(arrivals: &mut Arrivals) -> CameBack {
    let answer = arrivals.replays_that_came_back().await;
    answer.expect("it can be read")
}

fn came_back(seconds: &[i64]) -> CameBack {
    CameBack {
        replayed: seconds.to_vec(),
        complete: true,
    }
}

fn bounce(id: usize, at: i64) -> String {
    format!(r#"{{"id":{id},"_remediation_count":1,"_remediation_at":{at}}}"#)
}

/// How often this command has been called, in scripts too.
async fn calls(redis: &Redis, command: &str) -> usize {
    let stats: String = redis.command(&["INFO", "commandstats"]).await;
    let name = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&name));
    let number = line.and_then(|line| line.split(',').next());
    number.map_or(0, |number| number.parse().expect("a number"))
}

#[tokio::test]
async fn a_look_at_many_large_arrivals_ends_soon_and_blocks_redis_for_no_more_than_one_at_a_time() {
    let redis = Redis::start();
    let mut arrivals = arrivals(&redis).await;
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024 * 1024));
    for _ in 0..5 {
        redis.dead_letter(&vec![large.as_str(); 20]).await;
    }
    let read = calls(&redis, "lindex").await;
    let scripts = calls(&redis, "evalsha").await;
    assert!(!look(&mut arrivals).await.complete);
    let read = calls(&redis, "lindex").await - read;
    let scripts = calls(&redis, "evalsha").await - scripts;
    assert_eq!(read, 4, "entries of 1 MiB");
    assert_eq!(scripts, 4, "one at a time");
    assert_eq!(look(&mut arrivals).await, came_back(&[]), "nothing new");
}

#[tokio::test]
async fn of_many_small_arrivals_a_thousand_are_read_and_the_rest_is_known_to_be_missing() {
    let redis = Redis::start();
    let mut arrivals = arrivals(&redis).await;
    let many: Vec<String> = (0..1_500).map(|id| bounce(id, 7)).collect();
    redis.dead_letter(&many).await;
    let seen = look(&mut arrivals).await;
    assert_eq!((seen.replayed.len(), seen.complete), (1_000, false));
    redis.dead_letter(&[bounce(1_500, 8)]).await;
    assert_eq!(look(&mut arrivals).await, came_back(&[8]));
}

#[tokio::test]
async fn a_bounce_of_any_size_is_recognised_wherever_its_stamp_lies() {
    let redis = Redis::start();
    let mut arrivals = arrivals(&redis).await;
    for size in [1_000, 16_000, 17_000, 200_000, 5_000_000] {
        let text = "x".repeat(size);
        let places = [
            format!(r#"{{"a":"{text}","_remediation_count":2,"_remediation_at":1700000001}}"#),
            format!(r#"{{"a":"{text}", "_remediation_count": 2, "_remediation_at": 1700000001}}"#),
            format!(
                r#"{{"a":"{text}","_remediation_count":2,"_remediation_at":1700000001,"b":["{}"]}}"#,
                "y".repeat(5_000)
            ),
        ];
        for letter in places {
            redis.dead_letter(&[&letter]).await;
            let seen = look(&mut arrivals).await;
            assert_eq!(seen.replayed, [1_700_000_001], "{size}");
            assert_eq!(seen.complete, size < 4_000_000, "beyond that nobody looks");
        }
        let fresh = format!(r#"{{"a":"{text}","_remediation_count":0}}"#);
        redis.dead_letter(&[fresh]).await;
        let seen = look(&mut arrivals).await;
        assert_eq!(seen.replayed, [] as [i64; 0]);
        assert_eq!(seen.complete, size < 4_000_000);
    }
    let front = format!(
        r#"{{"_remediation_at":9,"_remediation_count":1,"a":"{}"}}"#,
        "x".repeat(1_000_000)
    );
    redis.dead_letter(&[front]).await;
    assert_eq!(look(&mut arrivals).await, came_back(&[9]));
}

#[tokio::test]
async fn a_stamp_that_cannot_be_read_is_not_taken_for_none() {
    let redis = Redis::start();
    let mut arrivals = arrivals(&redis).await;
    redis.dead_letter(&["no letter", r#"{"a":1}"#]).await;
    assert_eq!(look(&mut arrivals).await, came_back(&[]));
    let long = "x".repeat(20_000);
    for spoilt in [
        r#"{"_remediation_count":1,"_remediation_at":"soon"}"#.to_owned(),
        r#"{"_remediation_count":1,"_remediation_at":1700000001"#.to_owned(),
        format!(r#"{{"a":"{long}","_remediation_count":1,"_remediation_at":null}}"#),
    ] {
        redis.dead_letter(&[spoilt]).await;
        assert!(!look(&mut arrivals).await.complete);
    }
}

#[tokio::test]
async fn bounces_that_are_equal_byte_for_byte_are_each_counted() {
    let redis = Redis::start();
    let same = bounce(1, 5);
    redis.dead_letter(&[&same; 20]).await;
    let mut arrivals = arrivals(&redis).await;
    redis.dead_letter(&[&same; 12]).await;
    assert_eq!(look(&mut arrivals).await, came_back(&[5; 12]));
    // They are replayed, and come back.
    let _: Vec<String> = redis.command(&["RPOP", SOURCE, "32"]).await;
    arrivals.taken(32);
    redis.dead_letter(&[&same; 15]).await;
    assert_eq!(look(&mut arrivals).await, came_back(&[5; 15]));
    assert_eq!(look(&mut arrivals).await, came_back(&[]));
    // Others than these may have been taken.
    let _: Vec<String> = redis.command(&["RPOP", SOURCE, "14"]).await;
    assert_eq!(look(&mut arrivals).await, came_back(&[]));
    redis.dead_letter(&[bounce(2, 6)]).await;
    assert_eq!(look(&mut arrivals).await, came_back(&[6]));
}

#[tokio::test]
async fn what_is_put_back_at_the_other_end_has_not_come_back() {
    let redis = Redis::start();
    let old: Vec<String> = (0..40).map(|id| bounce(id, 5)).collect();
    redis.dead_letter(&old).await;
    let mut arrivals = arrivals(&redis).await;
    for id in 40..60 {
        let () = redis.command(&["RPUSH", SOURCE, &bounce(id, 4)]).await;
    }
    assert_eq!(look(&mut arrivals).await, came_back(&[]));
}

#[tokio::test]
async fn what_arrives_during_a_look_is_counted_once() {
    let redis = Redis::start();
    let mut arrivals = arrivals(&redis).await;
    let told = Arc::new(AtomicUsize::new(0));
    let pushed = Arc::new(AtomicUsize::new(0));
    let pushing = tokio::spawn({
        let mut connection = redis.connect().await;
        let (told, pushed) = (told.clone(), pushed.clone());
        async move {
            for id in 0..3_000 {
                // No look is to meet more than it reads.
                while id > told.load(Ordering::SeqCst) + 500 {
                    tokio::task::yield_now().await;
                }
                let at = i64::try_from(id).expect("few");
                let mut push = redis::cmd("LPUSH");
                push.arg(SOURCE).arg(bounce(id, at));
                let () = push.query_async(&mut connection).await.expect("answered");
                pushed.store(id + 1, Ordering::SeqCst);
            }
        }
    });
    let mut seen = vec![];
    while seen.len() < 3_000 {
        // Enough for several pieces, between which more arrive.
        while pushed.load(Ordering::SeqCst) < (seen.len() + 300).min(3_000) {
            tokio::task::yield_now().await;
        }
        let news = look(&mut arrivals).await;
        assert!(news.complete);
        seen.extend(news.replayed);
        told.store(seen.len(), Ordering::SeqCst);
    }
    pushing.await.expect("it ends");
    assert_eq!(look(&mut arrivals).await, came_back(&[]));
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..3_000), "each once");
}

#[tokio::test]
async fn what_came_back_is_kept_for_the_next_view_if_the_queues_ahead_cannot_be_looked_at() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port()).await;
    let ahead = AheadConfig {
        target: TARGET.into(),
        alert_queue: Some("mutt:alert_queue".into()),
        holds: vec![],
    };
    let (_guard, deferred) = watch::channel(Deferred::default());
    let seconds = Duration::from_secs(30);
    let nothing = Known::nothing(Reach::Off, seconds, seconds);
    let (_, slos) = watch::channel(Arc::new(nothing));
    let settings = Config::load([]).expect("valid").settings;
    let (_, settings) = watch::channel(settings);
    let mut outlook = Outlook::new(
        Ahead::new(line(proxy.port()), ahead),
        Arrivals::new(line(redis.port()), SOURCE, Fields::alerter()),
        false,
        Some(deferred),
        (slos, settings),
    );
    outlook.view(true).await.expect("both can be looked at");
    redis.dead_letter(&[bounce(1, 3), "{".to_owned()]).await;
    redis
        .dead_letter(&[r#"{"_remediation_count":1,"_remediation_at":{}}"#])
        .await;
    proxy.refuse();
    outlook.look_again();
    outlook.view(true).await.expect_err("one is away");
    proxy.accept();
    redis.dead_letter(&[bounce(2, 4)]).await;
    outlook.look_again();
    let view = outlook.view(true).await.expect("both can be looked at");
    assert_eq!(view.came_back, [3, 4]);
    assert!(!outlook.saw_all());
    outlook.look_again();
    let view = outlook.view(true).await.expect("both can be looked at");
    assert_eq!(view.came_back, [] as [i64; 0]);
    assert!(outlook.saw_all());
}

#[tokio::test]
async fn a_queue_ahead_that_cannot_be_read_does_not_hide_the_other() {
    const ALERTS: &str = "mutt:alert_queue";
    for (list, no_list, depths) in [(TARGET, ALERTS, (3, 0)), (ALERTS, TARGET, (0, 3))] {
        let redis = Redis::start();
        let config = AheadConfig {
            target: TARGET.into(),
            alert_queue: Some(ALERTS.into()),
            holds: vec![],
        };
        let mut ahead = Ahead::new(line(redis.port()), config);
        redis.push(list, &["{}"; 3]).await;
        redis.command::<()>(&["SET", no_list, "no list"]).await;
        for _ in 0..2 {
            let seen = ahead.look().await.expect("one of them can be read");
            assert_eq!((seen.target_depth, seen.alert_depth), depths);
        }
        // A line that is closed is told of once, and made anew.
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        redis.command::<i64>(&kill).await;
        ahead.look().await.expect_err("the line is closed");
        let seen = ahead.look().await.expect("it is made anew");
        assert_eq!((seen.target_depth, seen.alert_depth), depths);
    }
}
