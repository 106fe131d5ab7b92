//! What keeps replays back: the queues ahead, the circuit breaker, limits, and what came back.

mod canary;

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mutt_remediation::metrics::Metrics;
use tokio::time::{Instant, sleep};

use crate::support::{Alerter, DEAD, Daemon, Onward, Redis, SOURCE, Stepper, Stop, TARGET, until};

const ALERTS: &str = "mutt:alert_queue";
const BREAKER: &str = "mutt:circuit_breaker:moogsoft:state";
const QUICK: [(&str, &str); 3] = [
    ("REMEDIATION_INTERVAL", "1"),
    ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
    ("REMEDIATION_BATCH_PAUSE_MS", "0"),
];

fn with<'a>(variables: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&QUICK, variables].concat()
}

fn letters(count: usize) -> Vec<String> {
    let letter = |id| format!(r#"{{"id":{id},"_retry_count":4}}"#);
    (0..count).map(letter).collect()
}

fn shut(reason: &str) -> String {
    format!("mutt_remediation_gate_shut{{reason=\"{reason}\",source=\"alerter\"}}")
}

fn state(state: &str) -> String {
    format!("mutt_remediation_gate{{source=\"alerter\",state=\"{state}\"}}")
}

#[tokio::test]
async fn nothing_is_replayed_while_the_alert_queue_is_above_the_alerters_threshold() {
    // Nobody takes the canary out of the target, so that the adaptive pace sends no more.
    for (pace, moved) in [("fixed", 30), ("adaptive", 10)] {
        let redis = Redis::start();
        redis.dead_letter(&letters(30)).await;
        redis.push(ALERTS, &letters(1_001)).await;
        let daemon = Daemon::start(&redis, &with(&[("REPLAY_PACE", pace)]));
        daemon
            .until_metric(&shut("backpressure"), |is| is == 1.0)
            .await;
        assert_eq!(redis.len(SOURCE).await, 30);
        assert!(daemon.log().contains("gate shut: backpressure"));

        // The threshold is the alerter's, and may be changed at any time.
        let () = redis
            .command(&["SET", "mutt:config:alerter_queue_warn_threshold", "2000"])
            .await;
        until("it is replayed", || async {
            redis.len(TARGET).await == moved
        })
        .await;
        daemon.until_metric(&state("shut"), |is| is == 0.0).await;
        let passes = "mutt_remediation_passes_total{outcome=\"held\",source=\"alerter\"}";
        assert!(daemon.metric(passes).await.is_some_and(|held| held >= 1.0));
    }
}

#[tokio::test]
async fn the_forwarders_circuit_breaker_shuts_the_gate_and_half_open_it_lets_a_canary_through() {
    let redis = Redis::start();
    redis.dead_letter(&letters(100)).await;
    let () = redis.command(&["SET", BREAKER, "OPEN"]).await;
    let variables = with(&[
        ("REMEDIATION_BATCH_SIZE", "50"),
        ("REPLAY_CANARY_SIZE", "7"),
        ("REMEDIATION_BATCH_PAUSE_MS", "60000"),
    ]);
    let daemon = Daemon::start(&redis, &variables);
    daemon
        .until_metric(&shut("circuit_breaker"), |is| is == 1.0)
        .await;
    assert_eq!(redis.len(SOURCE).await, 100);
    let () = redis.command(&["SET", BREAKER, "HALF_OPEN"]).await;
    until("a canary goes", || async { redis.len(TARGET).await > 0 }).await;
    daemon
        .until_metric(&state("probation"), |is| is == 1.0)
        .await;
    assert_eq!(redis.len(TARGET).await, 7);
    let size = "mutt_remediation_batch_size{source=\"alerter\"}";
    daemon.until_metric(size, |size| size == 7.0).await;
}

#[tokio::test]
async fn what_makes_no_sense_ahead_counts_as_not_set() {
    let redis = Redis::start();
    redis.dead_letter(&letters(5)).await;
    let () = redis.command(&["SET", BREAKER, "AJAR"]).await;
    redis
        .push("mutt:config:alerter_queue_warn_threshold", &["17"])
        .await;
    let () = redis.command(&["SET", ALERTS, "no list"]).await;
    let daemon = Daemon::start(&redis, &with(&[]));
    until("it is replayed", || async { redis.len(TARGET).await == 5 }).await;
    for told in [
        "the circuit breaker's state is not known",
        "the alerter's warn threshold cannot be read",
        "the depth of a queue ahead cannot be read",
    ] {
        // A line may be written after what it tells of.
        daemon.until_logged(told).await;
        let log = daemon.log();
        assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
    }
    let log = daemon.log();
    for told in ["AJAR", "no list"] {
        assert!(!log.contains(told), "{log}");
    }
}

#[tokio::test]
async fn the_target_is_never_lifted_above_its_limit_whoever_else_pushes_there() {
    let redis = Redis::start();
    redis.dead_letter(&letters(3_000)).await;
    let variables = with(&[
        ("REMEDIATION_BATCH_SIZE", "20"),
        ("REPLAY_TARGET_MAX_DEPTH", "50"),
    ]);
    let daemon = Daemon::start(&redis, &variables);
    let began = Instant::now();
    let mut connection = redis.connect().await;
    let mut taken = 0;
    let mut own = 0;
    while began.elapsed() < Duration::from_secs(2) {
        // Somebody else pushes a few, up to the limit; nobody but the daemon could go above it.
        let (depth, pushed): (usize, usize) = redis::cmd("EVAL")
            .arg(
                "local depth = redis.call('LLEN', KEYS[1])
                 if depth > 48 then return { depth, 0 } end
                 redis.call('LPUSH', KEYS[1], 'live', 'live')
                 return { depth, 2 }",
            )
            .arg(1)
            .arg(TARGET)
            .query_async(&mut connection)
            .await
            .expect("answered");
        assert!(depth <= 50, "{depth}");
        own += pushed;
        let consumed: Option<Vec<String>> = redis::cmd("RPOP")
            .arg(TARGET)
            .arg(3)
            .query_async(&mut connection)
            .await
            .expect("answered");
        taken += consumed.map_or(0, |some| some.len());
    }
    assert!(redis.len(TARGET).await <= 50);
    assert!(taken > 100, "both go on: {taken}");
    drop(daemon);
    let rest = redis.len(SOURCE).await + redis.len(TARGET).await;
    assert_eq!(taken + rest, 3_000 + own, "each is in one place");
    assert!(redis.len(SOURCE).await < 3_000);
}

#[tokio::test]
async fn a_rate_is_kept_over_batches_and_passes() {
    let redis = Redis::start();
    redis.dead_letter(&letters(500)).await;
    let variables = with(&[
        ("REMEDIATION_BATCH_SIZE", "50"),
        ("REPLAY_MAX_PER_SECOND", "100"),
    ]);
    let before = Instant::now();
    let _daemon = Daemon::start(&redis, &variables);
    while before.elapsed() < Duration::from_secs(3) {
        let replayed = redis.len(TARGET).await;
        let allowed = before.elapsed().as_millis() / 10 + 11;
        assert!(replayed as u128 <= allowed, "{replayed} of {allowed}");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(redis.len(TARGET).await >= 20);
}

#[tokio::test]
async fn a_commit_without_an_answer_counts_for_the_rate() {
    let redis = Redis::start();
    let mut stepper = Stepper::before(redis.port()).await;
    let daemon = Daemon::start(
        &redis,
        &with(&[
            ("REDIS_PORT", &stepper.port().to_string()),
            ("REPLAY_MAX_PER_SECOND", "1"),
        ]),
    );
    let waiting = "mutt_remediation_waiting{for=\"rate\",source=\"alerter\"}";
    let empty = "mutt_remediation_passes_total{outcome=\"empty\",source=\"alerter\"}";
    // Nothing else is there to be counted. A machine that stands still for a second would not show
    // it, so it may be tried more than once.
    for attempt in 1.. {
        stepper.stop_at(Stop::Reply("EXEC", 1));
        redis.dead_letter(&letters(1)).await;
        let held = stepper.held().await;
        assert_eq!(redis.len(TARGET).await, attempt, "it has moved");
        let before = daemon.metric(empty).await;
        held.go(Onward::Cut);
        let waited = Cell::new(false);
        until("the next pass has begun", || async {
            waited.set(daemon.metric(waiting).await == Some(1.0));
            waited.get() || daemon.metric(empty).await > before
        })
        .await;
        if waited.get() {
            return;
        }
        assert!(attempt < 5, "the next one would have gone at once");
    }
}

#[tokio::test]
async fn where_the_rate_cuts_a_batch_the_pass_still_moves_what_its_batches_would_have_held() {
    let redis = Redis::start();
    redis.dead_letter(&letters(100)).await;
    let daemon = Daemon::start(
        &redis,
        &[
            ("REMEDIATION_BATCH_SIZE", "30"),
            ("REPLAY_MAX_PER_SECOND", "100"),
        ],
    );
    let drained = "mutt_remediation_passes_total{outcome=\"drained\",source=\"alerter\"}";
    daemon.until_metric(drained, |passes| passes == 1.0).await;
    assert_eq!(redis.len(TARGET).await, 30);
}

/// Letters that our own replays have used up, the last time in this second.
fn used_up(count: usize, at: i64) -> Vec<String> {
    let letter = |id| format!(r#"{{"id":{id},"_remediation_count":3,"_remediation_at":{at}}}"#);
    (0..count).map(letter).collect()
}

#[tokio::test]
async fn when_most_of_a_batch_is_used_up_none_is_parked_until_an_operator_says_so() {
    let redis = Redis::start();
    let now = jiff::Timestamp::now().as_second();
    redis.dead_letter(&used_up(30, now - 60)).await;
    redis.dead_letter(&letters(20)).await;
    let variables = with(&[
        ("REMEDIATION_BATCH_SIZE", "50"),
        ("DYNAMIC_CONFIG_ENABLED", "true"),
    ]);
    let daemon = Daemon::start(&redis, &variables);
    daemon.until_metric(&shut("systemic"), |is| is == 1.0).await;
    let held = "mutt_remediation_passes_total{outcome=\"held\",source=\"alerter\"}";
    daemon.until_metric(held, |passes| passes >= 2.0).await;
    assert_eq!(redis.len(SOURCE).await, 50);
    let log = daemon.log();
    assert_eq!(log.matches("gate shut: systemic").count(), 1, "{log}");

    let () = redis
        .command(&[
            "SET",
            "mutt:config:poison_guard_enabled",
            "false",
            "EX",
            "60",
        ])
        .await;
    until("they are parked", || async { redis.len(DEAD).await == 30 }).await;
    until("the rest is replayed", || async {
        redis.len(TARGET).await == 20
    })
    .await;
    daemon.until_metric(&shut("systemic"), |is| is == 0.0).await;
}

const LATCH: &str = "{mutt:dlq:alerter}:mutt:remediation:systemic:mutt:dlq:alerter";

/// Puts letters where the oldest are.
async fn older(redis: &Redis, letters: &[String]) {
    let mut words = vec!["RPUSH", SOURCE];
    words.extend(letters.iter().map(String::as_str));
    let _: i64 = redis.command(&words).await;
}

#[tokio::test]
async fn a_restart_does_not_forget_that_parking_has_stopped() {
    let redis = Redis::start();
    let now = jiff::Timestamp::now().as_second();
    // Too few in a batch to stop the parking for the first time; and by now they are history.
    redis.dead_letter(&used_up(10, now - 90_000)).await;
    let () = redis
        .command(&["SET", LATCH, &(now - 80_000).to_string()])
        .await;
    let variables = with(&[("DYNAMIC_CONFIG_ENABLED", "true")]);
    let daemon = Daemon::start(&redis, &variables);
    let held = "mutt_remediation_passes_total{outcome=\"held\",source=\"alerter\"}";
    daemon.until_metric(held, |passes| passes >= 1.0).await;
    daemon.until_metric(&shut("systemic"), |is| is == 1.0).await;
    assert_eq!(redis.len(SOURCE).await, 10);
    drop(daemon);

    // The ratio falls when others become the oldest, and the note goes.
    older(&redis, &letters(10)).await;
    let daemon = Daemon::start(&redis, &variables);
    until("they are replayed", || async {
        redis.len(TARGET).await == 10
    })
    .await;
    until("the note is gone", || async {
        redis
            .command::<Option<String>>(&["GET", LATCH])
            .await
            .is_none()
    })
    .await;
    daemon.until_metric(&shut("systemic"), |is| is == 0.0).await;
}

#[tokio::test]
async fn while_parking_has_stopped_the_gate_is_shown_shut_though_there_is_no_room_to_look() {
    let redis = Redis::start();
    let now = jiff::Timestamp::now().as_second();
    redis.dead_letter(&used_up(30, now - 60)).await;
    redis.push(TARGET, &letters(5)).await;
    let () = redis.command(&["SET", LATCH, &now.to_string()]).await;
    let daemon = Daemon::start(&redis, &with(&[("REPLAY_TARGET_MAX_DEPTH", "5")]));
    daemon.until_metric(&shut("systemic"), |is| is == 1.0).await;
    let waiting = "mutt_remediation_waiting{for=\"room\",source=\"alerter\"}";
    assert_eq!(daemon.metric(waiting).await, Some(1.0));
    assert_eq!(daemon.metric(&state("open")).await, Some(0.0));
}

#[tokio::test]
async fn the_note_is_there_while_parking_has_stopped_and_goes_when_an_operator_has_decided() {
    let redis = Redis::start();
    let now = jiff::Timestamp::now().as_second();
    redis.dead_letter(&used_up(30, now - 60)).await;
    let variables = with(&[
        ("REMEDIATION_BATCH_SIZE", "30"),
        ("DYNAMIC_CONFIG_ENABLED", "true"),
    ]);
    let daemon = Daemon::start(&redis, &variables);
    until("it is noted", || async {
        let noted: Option<i64> = redis.command(&["GET", LATCH]).await;
        noted.is_some_and(|since| since >= now)
    })
    .await;
    drop(daemon);
    let key = "mutt:config:poison_guard_enabled";
    let () = redis.command(&["SET", key, "false", "EX", "60"]).await;
    let _daemon = Daemon::start(&redis, &variables);
    until("they are parked", || async { redis.len(DEAD).await == 30 }).await;
    let noted: Option<String> = redis.command(&["GET", LATCH]).await;
    assert_eq!(noted, None);
}

#[tokio::test]
async fn a_note_that_cannot_be_kept_changes_nothing_for_the_drain() {
    let redis = Redis::start();
    let words = "ACL SETUSER worker on nopass ~* &* +@all -get -set -del".split(' ');
    redis.command::<()>(&words.collect::<Vec<_>>()).await;
    let now = jiff::Timestamp::now().as_second();
    redis.dead_letter(&used_up(30, now - 60)).await;
    let daemon = Daemon::start(
        &redis,
        &with(&[
            ("REMEDIATION_BATCH_SIZE", "30"),
            ("REDIS_USERNAME", "worker"),
            ("REDIS_PASSWORD", "any"),
        ]),
    );
    let held = "mutt_remediation_passes_total{outcome=\"held\",source=\"alerter\"}";
    daemon.until_metric(held, |passes| passes >= 2.0).await;
    assert_eq!(redis.len(SOURCE).await, 30);
    older(&redis, &letters(30)).await;
    until("the others are replayed", || async {
        redis.len(TARGET).await == 30
    })
    .await;
    let told = daemon.log().matches("cannot be noted").count();
    assert_eq!(told, 1, "{}", daemon.log());
}

#[tokio::test]
async fn with_more_retries_allowed_they_are_replayed_instead() {
    let redis = Redis::start();
    let now = jiff::Timestamp::now().as_second();
    redis.dead_letter(&used_up(40, now - 60)).await;
    let variables = with(&[
        ("REMEDIATION_BATCH_SIZE", "40"),
        ("DYNAMIC_CONFIG_ENABLED", "true"),
    ]);
    let daemon = Daemon::start(&redis, &variables);
    daemon.until_metric(&shut("systemic"), |is| is == 1.0).await;
    let () = redis
        .command(&["SET", "mutt:config:max_poison_retries", "4", "EX", "60"])
        .await;
    until("they are replayed", || async {
        redis.len(TARGET).await == 40
    })
    .await;
    assert_eq!(redis.len(DEAD).await, 0);
}

#[tokio::test]
async fn history_and_malformed_messages_are_parked_as_ever() {
    let now = jiff::Timestamp::now().as_second();
    let of_mutt: Vec<String> = (0..40)
        .map(|id| format!(r#"{{"id":{id},"_moog_retry_count":5}}"#))
        .collect();
    let malformed: Vec<String> = (0..40).map(|id| format!("[{id}]")).collect();
    for letters in [of_mutt, malformed, used_up(40, now - 90_000)] {
        let redis = Redis::start();
        redis.dead_letter(&letters).await;
        let _daemon = Daemon::start(&redis, &with(&[("REMEDIATION_BATCH_SIZE", "40")]));
        until("they are parked", || async { redis.len(DEAD).await == 40 }).await;
    }
}

#[tokio::test]
async fn the_adaptive_pace_brings_all_back_after_an_outage_that_moogsoft_knows_nothing_of() {
    let redis = Redis::start();
    redis.dead_letter(&letters(400)).await;
    let poison = |id| format!(r#"{{"id":{id},"_retry_count":4,"message":"always fails"}}"#);
    redis
        .dead_letter(&(0..4).map(poison).collect::<Vec<_>>())
        .await;
    let alerter = Alerter::new(true);
    let lists = [TARGET, SOURCE].map(str::to_owned);
    let work = alerter.clone().work(redis.connect().await, lists, 500);
    let work = tokio::spawn(work);
    let variables = with(&[
        ("REPLAY_PACE", "adaptive"),
        ("REMEDIATION_BATCH_SIZE", "100"),
        ("REPLAY_OBSERVE_SECONDS", "1"),
        ("REPLAY_TARGET_MAX_DEPTH", "150"),
    ]);
    let daemon = Daemon::start(&redis, &variables);
    daemon.until_metric(&shut("bounces"), |is| is == 1.0).await;
    let replayed = "mutt_remediation_replay_success_total";
    let in_vain = daemon.metric(replayed).await.expect("exposed");
    assert!(in_vain <= 20.0, "{in_vain}");
    alerter.failing.store(false, Ordering::SeqCst);
    until("all that can be handled is", || async {
        let depth = redis.len(TARGET).await;
        assert!(depth <= 150, "{depth}");
        alerter.handled() == 400
    })
    .await;
    until("the others are parked", || async {
        redis.len(DEAD).await == 4
    })
    .await;
    assert!(alerter.most_replays() <= 3, "{}", alerter.most_replays());
    alerter.stop.store(true, Ordering::SeqCst);
    work.await.expect("it ends");
    assert_eq!(redis.len(SOURCE).await + redis.len(TARGET).await, 0);
    let log = daemon.log();
    for line in ["gate shut: bounces", "gate probation", "gate open"] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[tokio::test]
async fn the_pace_and_its_limits_can_be_changed_while_it_runs() {
    let redis = Redis::start();
    redis.dead_letter(&letters(100)).await;
    let set = async |key: &str, value: &str| {
        let key = format!("mutt:config:{key}");
        redis.command::<()>(&["SET", &key, value]).await;
    };
    set("replay_target_max_depth", "4").await;
    let variables = with(&[
        ("REMEDIATION_BATCH_SIZE", "50"),
        ("REPLAY_OBSERVE_SECONDS", "3600"),
        ("DYNAMIC_CONFIG_ENABLED", "true"),
    ]);
    let daemon = Daemon::start(&redis, &variables);
    until("the limit is reached", || async {
        redis.len(TARGET).await == 4
    })
    .await;
    daemon.until_metric(&state("open"), |is| is == 1.0).await;
    // From now on one canary goes, and what becomes of it is not known for an hour.
    set("replay_pace", "adaptive").await;
    daemon
        .until_metric(&state("probation"), |is| is == 1.0)
        .await;
    set("replay_canary_size", "7").await;
    set("replay_target_max_depth", "1000").await;
    until("a canary goes", || async { redis.len(TARGET).await > 4 }).await;
    let waiting = "mutt_remediation_waiting{for=\"evidence\",source=\"alerter\"}";
    daemon.until_metric(waiting, |is| is == 1.0).await;
    let went = redis.len(TARGET).await - 4;
    assert!(went == 7 || went == 10, "{went}");
}

#[tokio::test]
async fn a_few_letters_go_one_by_one_while_none_gets_through() {
    let redis = Redis::start();
    redis.dead_letter(&letters(3)).await;
    let alerter = Alerter::new(true);
    let lists = [TARGET, SOURCE].map(str::to_owned);
    let work = alerter.clone().work(redis.connect().await, lists, 500);
    let work = tokio::spawn(work);
    let variables = with(&[("REPLAY_PACE", "adaptive"), ("REPLAY_OBSERVE_SECONDS", "1")]);
    let daemon = Daemon::start(&redis, &variables);
    let replayed = "mutt_remediation_replay_success_total";
    // All of them once, and then no two at a time.
    daemon.until_metric(replayed, |count| count >= 4.0).await;
    assert_eq!(daemon.metric(replayed).await, Some(4.0));
    daemon.until_metric(&shut("bounces"), |is| is == 1.0).await;
    assert_eq!(daemon.metric(replayed).await, Some(4.0));
    let of_source = |name| format!("mutt_remediation_{name}{{source=\"alerter\"}}");
    daemon
        .until_metric(&of_source("next_trial_seconds"), |left| left > 0.0)
        .await;
    daemon
        .until_metric(&of_source("bounce_ratio"), |ratio| ratio > 0.9)
        .await;
    daemon
        .until_metric(&of_source("replays_per_second"), |rate| rate > 0.0)
        .await;
    let size = daemon.metric(&of_source("batch_size")).await;
    assert_eq!(size, Some(0.0), "the gate is shut");
    let log = daemon.log();
    let changes = log
        .lines()
        .filter(|line| line.contains("gate shut: bounces"));
    for line in changes {
        for field in ["replays_per_second=", "bounces=", "next_trial_seconds="] {
            assert!(line.contains(field), "{field}: {line}");
        }
    }
    alerter.failing.store(false, Ordering::SeqCst);
    until("all are handled", || async { alerter.handled() == 3 }).await;
    assert_eq!(alerter.most_replays(), 3);
    assert_eq!(redis.len(DEAD).await, 0);
    alerter.stop.store(true, Ordering::SeqCst);
    work.await.expect("it ends");
}

#[tokio::test]
async fn the_adaptive_pace_is_refused_as_a_key_where_replays_are_not_stamped() {
    let redis = Redis::start();
    let key = "mutt:config:replay_pace";
    let () = redis.command(&["SET", key, "adaptive"]).await;
    let daemon = Daemon::start(
        &redis,
        &with(&[
            ("REPLAY_STAMP", "false"),
            ("DYNAMIC_CONFIG_ENABLED", "true"),
        ]),
    );
    let refused = "mutt_remediation_config_refused_total{key=\"replay_pace\"}";
    daemon.until_metric(refused, |count| count == 1.0).await;
    let log = daemon.log();
    assert!(log.contains("REPLAY_STAMP=true"), "{log}");
    // Passes go on as before.
    redis.dead_letter(&letters(20)).await;
    until("it is replayed", || async { redis.len(TARGET).await == 20 }).await;
}

#[tokio::test]
async fn a_long_estimate_is_warned_of_once_while_the_gate_stays_shut() {
    let redis = Redis::start();
    redis.dead_letter(&letters(3_000)).await;
    let () = redis.command(&["SET", BREAKER, "OPEN"]).await;
    let daemon = Daemon::start(&redis, &[("REMEDIATION_INTERVAL", "300")]);
    let held = "mutt_remediation_passes_total{outcome=\"held\",source=\"alerter\"}";
    daemon.until_metric(held, |passes| passes >= 3.0).await;
    let log = daemon.log();
    assert_eq!(log.matches("3000 messages at 10").count(), 1, "{log}");
}

#[test]
fn a_source_has_all_its_gauges_before_the_first_decision() {
    let metrics = Metrics::new().expect("registered");
    let _own = metrics.drain.of("own");
    let text = metrics.render().expect("rendered");
    for line in [
        "mutt_remediation_batch_size{source=\"own\"} 0\n",
        "mutt_remediation_next_trial_seconds{source=\"own\"} 0\n",
        "mutt_remediation_bounce_ratio{source=\"own\"} NaN\n",
        "mutt_remediation_bounced_total{source=\"own\"} 0\n",
        "mutt_remediation_replays_per_second{source=\"own\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
