//! What an operator does beside a running daemon.

use super::*;
use crate::support::Daemon;

async fn told(operator: &Operator, kind: &str) -> Vec<BTreeMap<String, String>> {
    let request = AuditRequest {
        kind: Some(kind.into()),
        ..AuditRequest::default()
    };
    let page = operator.audit(&request).await.expect("an audit");
    page.entries.into_iter().map(|entry| entry.fields).collect()
}

#[tokio::test]
async fn a_paused_source_is_not_drained_until_it_is_resumed() {
    let redis = Redis::start();
    let operator = operator(&redis);
    let pause = PauseRequest {
        reason: "the database is away".into(),
        seconds: None,
    };
    let view = operator.pause("alerter", &pause, &who()).await;
    assert_eq!(view.expect("paused").paused.expect("a pause").by, "alice");
    redis.dead_letter(&letters(5)).await;
    let daemon = Daemon::start(&redis, &[("REMEDIATION_INTERVAL", "300")]);
    let shut = r#"mutt_remediation_gate_shut{reason="paused",source="alerter"}"#;
    daemon.until_metric(shut, |value| value == 1.0).await;
    assert_eq!(redis.len(SOURCE).await, 5);
    operator.resume("alerter", &who()).await.expect("resumed");
    wait::until("it is drained", || async { redis.len(TARGET).await == 5 }).await;
    let again = operator.resume("alerter", &who()).await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
}

#[tokio::test]
async fn the_daemon_works_at_runs_and_drains_nothing_meanwhile() {
    let redis = Redis::start();
    let operator = operator(&redis);
    redis.dead_letter(&letters(90)).await;
    let request = PlanRequest {
        action: Action::Bury,
        filter: of_host("sw1"),
        limit: None,
        force: false,
    };
    let plan = operator
        .plan("alerter", &request, &who())
        .await
        .expect("a plan");
    let request = RunRequest {
        token: plan.token,
        ..RunRequest::default()
    };
    let run = operator.start(&request, &who()).await.expect("it starts");
    let _daemon = Daemon::start(&redis, &[("REMEDIATION_BATCH_SIZE", "1000")]);
    wait::until("the run has ended", || async {
        operator.run(&run.run).await.expect("it is known").state == RunState::Done
    })
    .await;
    let run = operator.run(&run.run).await.expect("it is known");
    assert_eq!((run.moved, run.depth_before), (30, 90), "{run:?}");
    wait::until("the rest is drained", || async {
        redis.len(TARGET).await == 60
    })
    .await;
    assert_eq!(redis.len(DEAD).await, 30);
}

#[tokio::test]
async fn the_audit_tells_of_commits_poison_gates_and_refused_settings() {
    let redis = Redis::start();
    redis
        .dead_letter(&[
            r#"{"hostname":"secret-host","_moog_retry_count":9,"_correlation_id":"c-1"}"#,
            r#"{"hostname":"secret-host"}"#,
            "secret-host",
        ])
        .await;
    redis
        .command::<()>(&["SET", "mutt:config:remediation_batch_size", "lots"])
        .await;
    let _daemon = Daemon::start(
        &redis,
        &[("DYNAMIC_CONFIG_ENABLED", "true"), ("POD_NAME", "pod-7")],
    );
    let operator = operator(&redis);
    wait::until("all is told", || async {
        !told(&operator, "commit").await.is_empty() && !told(&operator, "refused").await.is_empty()
    })
    .await;
    let commit = told(&operator, "commit").await.remove(0);
    let field = |name: &str| commit[name].as_str();
    assert_eq!((field("source"), field("instance")), ("alerter", "pod-7"));
    assert_eq!((field("replayed"), field("dead")), ("1", "2"));
    let refused = told(&operator, "refused").await.remove(0);
    assert_eq!(refused["key"], "remediation_batch_size");
    assert!(refused["expected"].starts_with("a whole number"));
    wait::until("the gate is told", || async {
        !told(&operator, "gate").await.is_empty()
    })
    .await;
    let by_id = AuditRequest {
        correlation_id: Some("c-1".into()),
        ..AuditRequest::default()
    };
    let entry = operator
        .audit(&by_id)
        .await
        .expect("an audit")
        .entries
        .remove(0);
    assert_eq!(entry.kind, "parked");
    assert_eq!(entry.messages[0].reason, "retries_exhausted");
    let raw: redis::Value = redis
        .command(&["XRANGE", "mutt:remediation:audit", "-", "+"])
        .await;
    assert!(!format!("{raw:?}").contains("secret-host"));
}

#[tokio::test]
async fn nothing_is_drained_where_the_audit_cannot_be_written() {
    let redis = Redis::start();
    redis.dead_letter(&letters(5)).await;
    redis
        .command::<()>(&["SET", "mutt:remediation:audit", "x"])
        .await;
    let daemon = Daemon::start(&redis, &[]);
    let failed = r#"mutt_remediation_replay_fail_total{reason="wrong_type"}"#;
    daemon.until_metric(failed, |value| value >= 1.0).await;
    assert_eq!(redis.len(SOURCE).await, 5);
    redis
        .command::<()>(&["DEL", "mutt:remediation:audit"])
        .await;
    wait::until("it is drained", || async { redis.len(TARGET).await == 5 }).await;
}

#[tokio::test]
async fn without_an_audit_everything_works_all_the_same() {
    let redis = Redis::start();
    redis.dead_letter(&letters(5)).await;
    let off = [("REMEDIATION_AUDIT_LENGTH", "0")];
    let operator = with(&redis, &off);
    let all = letters(5);
    let bury = act(Action::Bury, &[&all[4]]);
    assert_eq!(done(&operator, "alerter", bury).await.moved, 1);
    let _daemon = Daemon::start(&redis, &off);
    wait::until("it is drained", || async { redis.len(TARGET).await == 4 }).await;
    let kept: bool = redis.command(&["EXISTS", "mutt:remediation:audit"]).await;
    assert!(!kept);
}

#[tokio::test]
async fn what_is_restored_is_brought_back_although_replays_are_not_stamped() {
    let redis = Redis::start();
    let poison = r#"{"hostname":"a","_moog_retry_count":7,"_retry_count":4}"#;
    redis.push(DEAD, &[poison, r#"{"hostname":"b"}"#]).await;
    let plain = [("REPLAY_STAMP", "false")];
    let operator = with(&redis, &plain);
    let request = act(Action::Restore, &[poison, r#"{"hostname":"b"}"#]);
    assert_eq!(done(&operator, "dead", request).await.moved, 2);
    let _daemon = Daemon::start(&redis, &plain);
    wait::until("both are brought back", || async {
        redis.len(TARGET).await == 2
    })
    .await;
    assert_eq!(redis.len(DEAD).await, 0, "none is parked again");
    assert_eq!(
        redis.texts(TARGET).await,
        [
            r#"{"hostname":"a","_moog_retry_count":0,"_retry_count":0}"#,
            r#"{"hostname":"b"}"#
        ],
        "nothing else is changed"
    );
}
