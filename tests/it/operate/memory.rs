//! What an operator can do while Redis has reached `maxmemory`: look, throw away, cancel and pause,
//! which is what it takes to make room.

use super::runs::{at_once, numbers, plan};
use super::*;
use crate::support::Daemon;

async fn limit(redis: &Redis, bytes: &str) {
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", bytes])
        .await;
}

async fn ended(operator: &Operator, plan: &PlanView) -> RunView {
    let run = operator.start(&at_once(plan), &who()).await;
    let run = run.expect("it starts");
    let never = CancellationToken::new();
    let ended = operator.work_at(&run.run, |_| {}, &never).await;
    ended.expect("it ends")
}

fn is_full<T: std::fmt::Debug>(refused: &Result<T, Error>) {
    let full =
        matches!(refused, Err(Error::Redis(error)) if error.reason.as_str() == "out_of_memory");
    assert!(full, "{refused:?}");
}

#[tokio::test]
async fn named_messages_are_thrown_away_at_maxmemory_and_nothing_else_moves() {
    let redis = Redis::start();
    let mut all = letters(200);
    let large = format!(r#"{{"message":"m77","x":"{}"}}"#, "x".repeat(1_500_000));
    all[77] = large;
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    limit(&redis, "1").await;

    let request = PageRequest::default();
    assert_eq!(
        page(&operator, Filter::default(), &request).await.depth,
        200
    );
    let fifth = digest(all[5].as_bytes());
    let detail = operator.message("alerter", &fifth, None).await;
    assert_eq!(detail.expect("it is shown").message.at, 5);

    let named = [&*all[0], &all[77], &all[120], &all[199]];
    is_full(
        &operator
            .act("alerter", &act(Action::Replay, &named), &who())
            .await,
    );
    is_full(
        &operator
            .act("alerter", &act(Action::Bury, &named), &who())
            .await,
    );
    let purged = done(&operator, "alerter", act(Action::Purge, &named)).await;
    assert_eq!((purged.moved, purged.depth_after), (4, 196), "{purged:?}");
    let missing = done(&operator, "alerter", act(Action::Purge, &named)).await;
    assert_eq!(missing.summary, "moved 0 of 4; 4 not found");
    let mut left = numbers(&redis, SOURCE).await;
    left.sort_unstable();
    let kept = |i: &usize| ![0, 77, 120, 199].contains(i);
    assert_eq!(left, (0..200).filter(kept).collect::<Vec<_>>());

    let line = Line {
        digest: None,
        body: Some("{}".into()),
        base64: None,
    };
    is_full(&operator.import("alerter", vec![line], &who()).await);
    let told = operator.audit(&AuditRequest::default()).await;
    let told = told.expect("an audit").entries;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1].fields["purged"], "4");
    assert_eq!(told[1].messages.len(), 4);
}

#[tokio::test]
async fn a_run_throws_away_at_maxmemory_wherever_its_messages_lie() {
    let redis = Redis::start();
    redis.dead_letter(&letters(15_000)).await;
    let operator = operator(&redis);
    limit(&redis, "1").await;
    let purge = plan(&operator, "alerter", Action::Purge, of_host("sw2")).await;
    let run = ended(&operator, &purge).await;
    assert_eq!((run.state, run.moved), (RunState::Done, 5_000), "{run:?}");
    let mut left = numbers(&redis, SOURCE).await;
    left.sort_unstable();
    assert_eq!(left, (0..15_000).filter(|i| i % 3 != 2).collect::<Vec<_>>());

    let waits = plan(&operator, "alerter", Action::Bury, of_host("sw1")).await;
    let run = operator.start(&at_once(&waits), &who()).await;
    let run = run.expect("it starts").run;
    let never = CancellationToken::new();
    is_full(&operator.work_at(&run, |_| {}, &never).await);
    let waits = operator.run(&run).await.expect("it is known");
    let why = waits.trouble.expect("it says why it waits");
    assert!(why.starts_with("OOM "), "{why}");
    assert!(waits.summary.ends_with(&why), "{}", waits.summary);
    operator.cancel(&run, &who()).await.expect("asked");
    let cancelled = operator.work_at(&run, |_| {}, &never).await;
    let cancelled = cancelled.expect("it ends");
    assert_eq!((cancelled.state, cancelled.moved), (RunState::Cancelled, 0));
    assert_eq!(redis.len(SOURCE).await, 10_000);
}

#[tokio::test]
async fn what_lies_beside_the_queues_can_be_set_at_maxmemory_and_is_told() {
    let redis = Redis::start();
    let operator = operator(&redis);
    limit(&redis, "1").await;
    let pause = PauseRequest {
        reason: "the disk is full".into(),
        seconds: None,
    };
    operator
        .pause("alerter", &pause, &who())
        .await
        .expect("paused");
    operator.resume("alerter", &who()).await.expect("resumed");
    let set = SettingRequest {
        value: "7".into(),
        seconds: None,
    };
    operator
        .set("remediation_batch_size", &set, &who())
        .await
        .expect("set");
    let told = operator.audit(&AuditRequest::default()).await;
    let told = told.expect("an audit").entries.into_iter();
    let acts: Vec<String> = told.map(|entry| entry.fields["act"].clone()).collect();
    assert_eq!(acts, ["setting", "resume", "pause"]);
}

#[tokio::test]
async fn what_the_audit_cannot_be_told_is_not_thrown_away_at_maxmemory_either() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    redis
        .command::<()>(&["SET", "mutt:remediation:audit", "x"])
        .await;
    let operator = operator(&redis);
    limit(&redis, "1").await;
    let purge = act(Action::Purge, &["{}"]);
    let refused = operator.act("alerter", &purge, &who()).await;
    assert!(matches!(refused, Err(Error::Redis(_))), "{refused:?}");
    let purge = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
    let refused = operator.start(&at_once(&purge), &who()).await;
    assert!(matches!(refused, Err(Error::Redis(_))), "{refused:?}");
    assert_eq!(redis.len(SOURCE).await, 1);
}

#[tokio::test]
async fn at_maxmemory_the_audit_stays_as_long_as_it_may_be() {
    let redis = Redis::start();
    let short = with(&redis, &[("REMEDIATION_AUDIT_LENGTH", "10")]);
    let all = letters(300);
    redis.dead_letter(&all).await;
    limit(&redis, "1").await;
    for body in &all {
        assert_eq!(
            done(&short, "alerter", act(Action::Purge, &[body]))
                .await
                .moved,
            1
        );
    }
    let kept: usize = redis.command(&["XLEN", "mutt:remediation:audit"]).await;
    // A node of a stream goes as a whole, and holds a hundred.
    assert!((10..=110).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_dead_list_is_kept_within_its_bounds_at_maxmemory() {
    let redis = Redis::start();
    redis.push(DEAD, &letters(250)).await;
    limit(&redis, "1").await;
    let daemon = Daemon::start(&redis, &[("DEAD_LETTER_MAX", "20")]);
    let evicted = r#"mutt_remediation_evicted_total{queue="dead",why="count"}"#;
    daemon.until_metric(evicted, |count| count == 230.0).await;
    assert_eq!(numbers(&redis, DEAD).await, (230..250).collect::<Vec<_>>());
}
