//! What befalls plans and runs, and must not spoil them.

use super::runs::{at_once, plan};
use super::*;
use crate::support::Daemon;

async fn work(operator: &Operator, run: &str) -> RunView {
    let never = CancellationToken::new();
    let ended = operator.work_at(run, |_| {}, &never).await;
    ended.expect("it ends")
}

fn key(kind: &str) -> String {
    format!("mutt:remediation:{SOURCE}:{kind}")
}

#[tokio::test]
async fn a_run_leaves_alone_what_came_after_its_plan() {
    let redis = Redis::start();
    redis.dead_letter(&letters(100)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
    assert_eq!(plan.would_move, 100);
    // The drain takes most of them while the operator looks at the plan, and others fail.
    redis.command::<()>(&["LTRIM", SOURCE, "0", "-61"]).await;
    let fresh: Vec<String> = (0..80).map(|i| format!(r#"{{"fresh":{i}}}"#)).collect();
    redis.dead_letter(&fresh).await;
    let run = operator.start(&at_once(&plan), &who()).await;
    let run = work(&operator, &run.expect("it starts").run).await;
    assert_eq!((run.moved, run.scanned), (40, 40), "{}", run.summary);
    assert_eq!(redis.texts(SOURCE).await, fresh);
}

#[tokio::test]
async fn a_run_whose_plan_is_gone_moves_nothing() {
    let redis = Redis::start();
    redis.dead_letter(&letters(100)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
    redis.command::<()>(&["DEL", SOURCE]).await;
    let fresh: Vec<String> = (0..200).map(|i| format!(r#"{{"fresh":{i}}}"#)).collect();
    redis.dead_letter(&fresh).await;
    let run = operator.start(&at_once(&plan), &who()).await;
    let run = work(&operator, &run.expect("it starts").run).await;
    assert_eq!(run.moved, 0, "{}", run.summary);
    assert_eq!(redis.texts(SOURCE).await, fresh);
}

#[tokio::test]
async fn a_run_whose_plan_has_lost_its_youngest_messages_moves_older_ones_and_no_others() {
    for (taken, moved) in [(1, 99), (16, 64)] {
        let redis = Redis::start();
        redis.dead_letter(&letters(100)).await;
        let operator = operator(&redis);
        let plan = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
        let taken = taken.to_string();
        redis.command::<()>(&["LTRIM", SOURCE, &taken, "-1"]).await;
        let fresh: Vec<String> = (0..30).map(|i| format!(r#"{{"fresh":{i}}}"#)).collect();
        redis.dead_letter(&fresh).await;
        let run = operator.start(&at_once(&plan), &who()).await;
        let run = work(&operator, &run.expect("it starts").run).await;
        assert_eq!(run.moved, moved, "{}", run.summary);
        assert!(redis.texts(SOURCE).await.ends_with(&fresh));
    }
}

#[tokio::test]
async fn a_run_passes_nobody_by_where_older_ones_are_taken_meanwhile() {
    let redis = Redis::start();
    redis.dead_letter(&letters(300)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Bury, of_host("sw2")).await;
    let slow = RunRequest {
        rate: Some(100),
        ..at_once(&plan)
    };
    let run = operator.start(&slow, &who()).await.expect("it starts");
    let worker = tokio::spawn({
        let (operator, run) = (operator.clone(), run.run.clone());
        async move { work(&operator, &run).await }
    });
    wait::until("it has passed some by", || async {
        operator.run(&run.run).await.expect("it is known").moved >= 10
    })
    .await;
    let taken: Vec<String> = redis.command(&["RPOP", SOURCE, "10"]).await;
    let ended = worker.await.expect("no panic");
    // What was about to move may be among them.
    let meant = taken.iter().filter(|text| text.contains("sw2")).count();
    assert_eq!(ended.moved, 100 - meant as u64, "{}", ended.summary);
    assert_eq!(redis.len(SOURCE).await, 190 + meant);
}

#[tokio::test]
async fn a_run_moves_all_of_many_large_messages() {
    let redis = Redis::start();
    let padding = "x".repeat(400_000);
    let large: Vec<String> = (0..60)
        .map(|i| format!(r#"{{"hostname":"sw{}","i":{i},"x":"{padding}"}}"#, i % 2))
        .collect();
    redis.dead_letter(&large).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Bury, of_host("sw1")).await;
    let run = operator.start(&at_once(&plan), &who()).await;
    let run = work(&operator, &run.expect("it starts").run).await;
    assert_eq!(run.summary, "moved 30 of 30");
    assert_eq!((redis.len(SOURCE).await, redis.len(DEAD).await), (30, 30));
}

#[tokio::test]
async fn what_is_left_is_counted_once_whatever_happens_meanwhile() {
    let redis = Redis::start();
    let all: Vec<String> = (0..200)
        .map(|i| match i % 2 {
            0 => format!("[{i}]"),
            _ => format!(r#"{{"hostname":"a","i":{i}}}"#),
        })
        .collect();
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Replay, Filter::default()).await;
    let slow = RunRequest {
        rate: Some(100),
        ..at_once(&plan)
    };
    let run = operator.start(&slow, &who()).await.expect("it starts");
    // Somebody leaves in the middle, and somebody else goes on.
    let stop = CancellationToken::new();
    let seen = |view: &RunView| {
        if view.moved >= 20 {
            stop.cancel();
        }
    };
    let left = operator.work_at(&run.run, seen, &stop).await;
    assert_eq!(left.expect("it leaves").state, RunState::Running);
    let ended = work(&operator, &run.run).await;
    assert_eq!(ended.summary, "moved 100 of 100; 100 left (100 malformed)");
    assert_eq!((ended.scanned, ended.to_scan), (200, 200));
}

#[tokio::test]
async fn a_run_does_not_wait_for_that_of_another_queue() {
    let redis = Redis::start();
    redis.dead_letter(&letters(500)).await;
    redis.push(DEAD, &letters(10)).await;
    let operator = operator(&redis);
    let long = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
    let long = RunRequest {
        rate: Some(1),
        ..at_once(&long)
    };
    let long = operator.start(&long, &who()).await.expect("it starts");
    let _daemon = Daemon::start(&redis, &[]);
    wait::until("the long one has begun", || async {
        !operator
            .run(&long.run)
            .await
            .expect("it is known")
            .instance
            .is_empty()
    })
    .await;
    let short = plan(&operator, "dead", Action::Purge, Filter::default()).await;
    let short = operator.start(&at_once(&short), &who()).await;
    let short = short.expect("it starts").run;
    wait::until("the short one has ended", || async {
        operator.run(&short).await.expect("it is known").state == RunState::Done
    })
    .await;
    let state = operator.run(&long.run).await.expect("it is known").state;
    assert_eq!(state, RunState::Running);
}

#[tokio::test]
async fn a_queue_is_freed_from_a_run_of_which_nothing_is_known_any_more() {
    let redis = Redis::start();
    redis.dead_letter(&letters(20)).await;
    let operator = operator(&redis);
    let mut lost = vec![];
    for spoilt in [false, true] {
        let plan = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
        let run = operator.start(&at_once(&plan), &who()).await;
        let run = run.expect("it starts").run;
        let id = run.rsplit_once('.').expect("a name").1;
        let record = key(&format!("run:{id}"));
        if spoilt {
            redis
                .command::<()>(&["SET", &record, "{\"view\":{\"run\""])
                .await;
        } else {
            let _: i64 = redis.command(&["DEL", &record]).await;
        }
        let cancelled = operator.cancel(&run, &who()).await;
        assert!(matches!(cancelled, Err(Error::NotHere(_))), "{cancelled:?}");
        lost.push(run);
    }
    let told = operator.audit(&AuditRequest::default()).await;
    let told = told.expect("an audit").entries;
    assert_eq!(told[0].fields["act"], "run_ended");
    assert_eq!(told[0].fields["run"], lost[1]);

    // Nobody need ask for it where nothing is left of it.
    let plan = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
    let run = operator.start(&at_once(&plan), &who()).await;
    let run = run.expect("it starts").run;
    let id = run.rsplit_once('.').expect("a name").1;
    let _: i64 = redis.command(&["DEL", &key(&format!("run:{id}"))]).await;
    let drains = [("REMEDIATION_BATCH_SIZE", "100")];
    let daemon = Daemon::start(&redis, &drains);
    daemon.until_logged("nothing is known of the run").await;
    wait::until("it drains again", || async {
        redis.len(TARGET).await == 20
    })
    .await;
}

#[tokio::test]
async fn a_wish_to_end_a_run_holds_as_long_as_the_run() {
    let redis = Redis::start();
    redis.dead_letter(&letters(20)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
    let run = operator.start(&at_once(&plan), &who()).await;
    let run = run.expect("it starts").run;
    operator.cancel(&run, &who()).await.expect("asked");
    let id = run.rsplit_once('.').expect("a name").1;
    let wish: i64 = redis.command(&["TTL", &key(&format!("cancel:{id}"))]).await;
    let record: i64 = redis.command(&["TTL", &key(&format!("run:{id}"))]).await;
    assert!(wish >= record, "{wish} {record}");
    assert_eq!(work(&operator, &run).await.state, RunState::Cancelled);
    assert_eq!(redis.len(SOURCE).await, 20);
}
