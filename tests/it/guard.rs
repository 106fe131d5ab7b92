//! The backpressure guard: what it moves, what it leaves, and that every message is accounted for.

mod faults;
mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use mutt_remediation::dlq::overflow::GuardedLists;
use mutt_remediation::guard::orphans::OrphanConfig;
use mutt_remediation::guard::{self, Deferred, GuardConfig};
use mutt_remediation::link::LinkConfig;
use mutt_remediation::metrics::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Daemon, Redis, SOURCE, TARGET, until};

const ALERT: &str = "mutt:alert_queue";
const DEPTH: &str = "mutt_alerter_queue_depth";
const LEVEL: &str = "mutt_remediation_guard_level";
const SHED: &str = "mutt_alerter_shed_events_total{mode=\"dlq\"}";
const DEFERRED: &str = "mutt_alerter_shed_events_total{mode=\"defer\"}";

fn failed(reason: &str) -> String {
    format!("mutt_remediation_guard_fail_total{{reason=\"{reason}\"}}")
}

/// Whether a sample is this count.
fn is(count: usize) -> impl Fn(f64) -> bool {
    let count = u32::try_from(count).expect("a small number");
    move |sample| sample == f64::from(count)
}

/// A daemon that guards and does not drain.
fn guarding(redis: &Redis, more: &[(&str, &str)]) -> Daemon {
    let mut variables = vec![
        ("BACKPRESSURE_GUARD_ENABLED", "true"),
        ("REMEDIATION_ENABLED", "false"),
    ];
    variables.extend(more);
    Daemon::start(redis, &variables)
}

async fn set(redis: &Redis, key: &str, value: &str) {
    let key = format!("mutt:config:alerter_{key}");
    redis.command::<()>(&["SET", &key, value]).await;
}

async fn thresholds(redis: &Redis, warn: &str, shed: &str) {
    set(redis, "queue_warn_threshold", warn).await;
    set(redis, "queue_shed_threshold", shed).await;
}

/// Makes the alert queue this long.
async fn alerts(redis: &Redis, depth: usize) {
    let have = redis.len(ALERT).await;
    if have < depth {
        redis.push(ALERT, &vec!["{}"; depth - have]).await;
    } else {
        let from = (have - depth).to_string();
        redis.command::<()>(&["LTRIM", ALERT, &from, "-1"]).await;
    }
}

fn events(ids: std::ops::Range<usize>) -> Vec<String> {
    ids.map(|id| format!(r#"{{"id":{id},"message":"link down"}}"#))
        .collect()
}

/// How often each event lies in one of these lists, by its number.
async fn count(redis: &Redis, lists: &[&str]) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    for list in lists {
        for text in redis.texts(list).await {
            let id = text.strip_prefix("{\"id\":").expect("an event");
            let digits: String = id.chars().take_while(char::is_ascii_digit).collect();
            *found.entry(digits.parse().expect("a number")).or_default() += 1;
        }
    }
    found
}

async fn each_once(redis: &Redis, lists: &[&str], events: usize) {
    let found = count(redis, lists).await;
    let wrong: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
    assert_eq!((found.len(), wrong), (events, vec![]));
}

/// The guard alone, without a daemon around it.
struct Guard {
    deferred: watch::Receiver<Deferred>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Guard {
    fn start(port: u16) -> Self {
        let config = GuardConfig {
            redis: LinkConfig {
                url: format!("redis://127.0.0.1:{port}")
                    .parse()
                    .expect("an address"),
                username: None,
                passwords: vec![],
                ca_cert: None,
                client_cert: None,
                client_name: "test".into(),
                timeout: Duration::from_secs(5),
                cluster: vec![],
                sentinels: None,
                wait: None,
            },
            lists: GuardedLists {
                alert: ALERT.into(),
                ingest: TARGET.into(),
                dlq: SOURCE.into(),
            },
            orphans: OrphanConfig {
                processing: "mutt:processing:alerter".into(),
                heartbeat: "mutt:heartbeat:alerter".into(),
            },
        };
        let metrics = Metrics::new().expect("registered").guard;
        let (sender, deferred) = watch::channel(Deferred::default());
        let cancel = CancellationToken::new();
        let run = guard::run(config, sender, metrics, cancel.clone());
        Self {
            deferred,
            cancel,
            task: tokio::spawn(run),
        }
    }

    async fn end(mut self) {
        self.cancel.cancel();
        (&mut self.task).await.expect("it ends");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn between_the_thresholds_it_warns_once_and_moves_nothing() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    redis.push(TARGET, &events(0..20)).await;
    alerts(&redis, 4).await;
    let daemon = guarding(&redis, &[]);
    daemon.until_metric(DEPTH, |depth| depth == 4.0).await;
    assert_eq!(daemon.metric(LEVEL).await, Some(0.0));
    for depth in [5, 7, 10] {
        alerts(&redis, depth).await;
        daemon.until_metric(DEPTH, is(depth)).await;
        assert_eq!(daemon.metric(LEVEL).await, Some(1.0), "{depth}");
    }
    assert_eq!(daemon.log().matches("the alert queue fills up").count(), 1);
    assert_eq!((redis.len(TARGET).await, redis.len(SOURCE).await), (20, 0));
    assert_eq!(daemon.metric(SHED).await, Some(0.0));
}

#[tokio::test]
async fn only_what_has_no_room_goes_oldest_first_until_the_queue_has_calmed_down() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    let daemon = guarding(&redis, &[]);
    daemon.until_metric(LEVEL, |level| level == 2.0).await;
    // Below the threshold again, and not below the lower one: it goes on, and leaves what has room.
    alerts(&redis, 7).await;
    daemon.until_metric(DEPTH, |depth| depth == 7.0).await;
    assert_eq!(daemon.metric(LEVEL).await, Some(2.0));
    redis.push(TARGET, &events(0..20)).await;
    until("the overflow is gone", || async {
        redis.len(SOURCE).await == 17
    })
    .await;
    assert_eq!(redis.texts(TARGET).await, events(17..20));
    let stamp = r#","shedding_reason":"queue_depth_exceeded:27>10"}"#;
    let stamped = |event: String| event.replace('}', stamp);
    let expected: Vec<String> = events(0..17).into_iter().map(stamped).collect();
    assert_eq!(redis.texts(SOURCE).await, expected);
    daemon.until_metric(SHED, |count| count == 17.0).await;

    alerts(&redis, 5).await;
    daemon.until_metric(DEPTH, |depth| depth == 5.0).await;
    alerts(&redis, 4).await;
    daemon.until_metric(LEVEL, |level| level == 1.0).await;
    daemon.until_logged("the alert queue has room again").await;
    daemon
        .until_logged("overflow moved to the alerter's dead letters moved=17")
        .await;
    redis.push(TARGET, &events(20..90)).await;
    alerts(&redis, 10).await;
    daemon.until_metric(DEPTH, |depth| depth == 10.0).await;
    assert_eq!((redis.len(TARGET).await, redis.len(SOURCE).await), (73, 17));
    let began = daemon.log().matches("the alert queue is full").count();
    assert_eq!(began, 1);
}

#[tokio::test]
async fn every_kind_of_content_arrives_whole() {
    let redis = Redis::start();
    let huge = "x".repeat(3 * 1024 * 1024);
    let huge = format!(r#"{{"id":1,"message":"{huge}"}}"#);
    let reason = r#""shedding_reason":"queue_depth_exceeded:3>2""#;
    let wide = huge.replace("\"}", &format!("\",{reason}}}"));
    let kinds: Vec<(&[u8], String)> = vec![
        (b"{}", format!("{{{reason}}}")),
        (b" { } \n", format!(" {{ {reason}}} \n")),
        (br#"{"a":1}"#, format!(r#"{{"a":1,{reason}}}"#)),
        (br#"{"a":"}"}"#, format!(r#"{{"a":"}}",{reason}}}"#)),
        (br#"{"shedding_reason":"earlier","b":1.10}"#, format!(r#"{{{reason},"b":1.10}}"#)),
        (
            br#"{"shedding_reason":{"a":[1]},"x":{"shedding_reason":2},"shedding\u005freason":null}"#,
            format!(
                r#"{{{reason},"x":{{"shedding_reason":2}},"shedding\u005freason":"queue_depth_exceeded:3>2"}}"#
            ),
        ),
        (br#"{"_retry_count":"many"}"#, format!(r#"{{"_retry_count":"many",{reason}}}"#)),
        ("{\"é\":\"\u{1f600}\"}".as_bytes(), format!("{{\"é\":\"\u{1f600}\",{reason}}}")),
        (b"[1,2]", "[1,2]".into()),
        (b"null", "null".into()),
        (b"no json }", "no json }".into()),
        (b"{\"a\":1} x", "{\"a\":1} x".into()),
        (b"{\"a\":1", "{\"a\":1".into()),
        (b"", String::new()),
        (huge.as_bytes(), wide),
    ];
    let mut letters: Vec<&[u8]> = kinds.iter().map(|(letter, _)| *letter).collect();
    // The same one three times, and one that is no text.
    letters.extend([&b"{}"[..], b"{}", b"\xff\x00{}"]);
    redis.push(TARGET, &letters).await;
    let mut expected: Vec<Vec<u8>> = kinds.iter().map(|(_, text)| text.clone().into()).collect();
    let same = format!("{{{reason}}}").into_bytes();
    expected.extend([same.clone(), same, b"\xff\x00{}".to_vec()]);
    thresholds(&redis, "1", "2").await;
    alerts(&redis, 3).await;
    let daemon = guarding(&redis, &[]);
    until("all are moved", || async { redis.len(TARGET).await == 0 }).await;
    let found = redis.list(SOURCE).await;
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let (shown, wanted) = (
            String::from_utf8_lossy(found),
            String::from_utf8_lossy(expected),
        );
        assert!(found == expected, "{index}: {shown:.200} for {wanted:.200}");
    }
    assert_eq!(found.len(), expected.len());
    daemon.until_metric(SHED, is(expected.len())).await;
    assert!(!daemon.log().contains("earlier"), "no content in the log");
}

#[tokio::test]
async fn switched_off_it_looks_at_nothing_and_moves_nothing() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 11).await;
    redis.push(TARGET, &events(0..50)).await;
    redis.push("mutt:processing:alerter:gone", &["{}"]).await;
    let daemon = Daemon::start(&redis, &[]);
    daemon
        .until_metric("mutt_remediation_loops_total", |loops| loops >= 2.0)
        .await;
    assert_eq!(redis.texts(TARGET).await, events(0..50));
    for metric in [DEPTH, LEVEL, SHED, "mutt_alerter_orphaned_lists"] {
        assert_eq!(daemon.metric(metric).await, Some(0.0), "{metric}");
    }
}

#[tokio::test]
async fn replays_are_to_wait_while_it_sheds_in_either_mode_and_not_longer() {
    let redis = Redis::start();
    thresholds(&redis, "5", "10").await;
    alerts(&redis, 4).await;
    let guard = Guard::start(redis.port());
    let deferred = &guard.deferred;
    for mode in ["dlq", "defer"] {
        set(&redis, "shed_mode", mode).await;
        assert!(!deferred.borrow().holds());
        alerts(&redis, 11).await;
        until("replays wait", || async { deferred.borrow().holds() }).await;
        let first = deferred.borrow().until;
        until("they wait longer", || async {
            deferred.borrow().until > first
        })
        .await;
        alerts(&redis, 4).await;
        until("they may go on", || async {
            deferred.borrow().until.is_none()
        })
        .await;
    }
    alerts(&redis, 11).await;
    until("replays wait", || async { deferred.borrow().holds() }).await;
    // A guard that cannot look any more does not hold them up.
    redis.command::<i64>(&["DEL", ALERT]).await;
    redis.command::<i64>(&["SADD", ALERT, "x"]).await;
    until("the hold lapses", || async { !deferred.borrow().holds() }).await;
    guard.end().await;
}

#[tokio::test]
async fn the_drain_waits_while_the_guard_says_so_and_says_so_itself() {
    let redis = Redis::start();
    let letter = |id: usize| format!(r#"{{"id":{id}}}"#);
    let many: Vec<String> = (0..2_100).map(letter).collect();
    redis.push("mutt:alert_queue", &many).await;
    redis.dead_letter(&many[..20]).await;
    let () = redis
        .command(&["SET", "mutt:config:alerter_shed_mode", "defer"])
        .await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("BACKPRESSURE_GUARD_ENABLED", "true"),
            ("REMEDIATION_INTERVAL", "1"),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
        ],
    );
    let deferred = "mutt_remediation_gate_shut{reason=\"deferred\",source=\"alerter\"}";
    daemon.until_metric(deferred, |is| is == 1.0).await;
    assert_eq!(redis.len(SOURCE).await, 20);
    let _: redis::Value = redis
        .command(&["LTRIM", "mutt:alert_queue", "0", "9"])
        .await;
    until("they are replayed", || async {
        redis.len(TARGET).await == 20
    })
    .await;
    daemon.until_metric(deferred, |is| is == 0.0).await;
}
