//! Plans and runs.

use super::*;

pub(super) async fn plan(
    operator: &Operator,
    queue: &str,
    action: Action,
    filter: Filter,
) -> PlanView {
    let request = PlanRequest {
        action,
        filter,
        limit: None,
        force: false,
    };
    operator
        .plan(queue, &request, &who())
        .await
        .expect("a plan")
}

pub(super) fn at_once(plan: &PlanView) -> RunRequest {
    RunRequest {
        token: plan.token.clone(),
        ..RunRequest::default()
    }
}

async fn run(operator: &Operator, request: &RunRequest) -> RunView {
    let run = operator.start(request, &who()).await.expect("it starts");
    let never = CancellationToken::new();
    operator
        .work_at(&run.run, |_| {}, &never)
        .await
        .expect("it ends")
}

/// The numbers of the letters in a list, oldest first.
pub(super) async fn numbers(redis: &Redis, list: &str) -> Vec<usize> {
    let number = |text: String| {
        let rest = text
            .split("\"message\":\"m")
            .nth(1)
            .expect("a letter")
            .to_owned();
        let digits = rest.split('"').next().expect("a number").to_owned();
        digits.parse().expect("a number")
    };
    redis.texts(list).await.into_iter().map(number).collect()
}

#[tokio::test]
async fn a_run_moves_what_the_plan_counted_and_nothing_else() {
    let redis = Redis::start();
    let mut all = letters(2_000);
    all[7] = "[7]".into();
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Replay, of_host("sw1")).await;
    let meant: Vec<usize> = (0..2_000).filter(|i| i % 3 == 1 && *i != 7).collect();
    assert_eq!(plan.would_move, meant.len() as u64);
    assert!(plan.complete);
    assert_eq!((plan.scanned, plan.sample.len()), (2_000, 10));
    assert_eq!(plan.to.as_deref(), Some(TARGET));
    redis.dead_letter(&letters(1)).await;

    let run = run(&operator, &at_once(&plan)).await;
    assert_eq!(run.state, RunState::Done, "{run:?}");
    assert_eq!(run.moved, plan.would_move);
    assert_eq!(
        run.summary,
        format!("moved {} of {}", meant.len(), meant.len())
    );
    assert_eq!(run.depth_after, Some(2_001 - run.moved));
    let mut moved = numbers(&redis, TARGET).await;
    moved.sort_unstable();
    assert_eq!(moved, meant);
    assert_eq!(redis.len(SOURCE).await, 2_001 - meant.len());

    let again = operator.start(&at_once(&plan), &who()).await;
    assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");
}

#[tokio::test]
async fn a_plan_says_what_would_stay_and_why() {
    let redis = Redis::start();
    redis
        .push(DEAD, &["[1]", r#"{"hostname":"a"}"#, "{}", "x"])
        .await;
    let operator = with(&redis, &[("REPLAY_REQUIRED_FIELDS", "hostname")]);
    let plan = plan(&operator, "dead", Action::Restore, Filter::default()).await;
    assert_eq!((plan.matched, plan.would_move), (4, 1));
    let left = [("incomplete".to_owned(), 1), ("malformed".to_owned(), 2)];
    assert_eq!(plan.would_leave, BTreeMap::from(left));
    let run = run(&operator, &at_once(&plan)).await;
    assert_eq!(
        run.summary,
        "moved 1 of 1; 3 left (1 incomplete, 2 malformed)"
    );
    assert_eq!(redis.len(SOURCE).await, 1);
    assert_eq!(redis.len(DEAD).await, 3);
}

#[tokio::test]
async fn from_a_dead_list_that_sources_share_nothing_is_restored_unless_it_is_forced() {
    let redis = Redis::start();
    redis
        .push(DEAD, &[r#"{"event_id":"of the forwarder"}"#])
        .await;
    let operator = with(&redis, &[("REMEDIATION_MOOG_ENABLED", "true")]);
    let left = plan(&operator, "dead", Action::Restore, Filter::default()).await;
    assert_eq!((left.matched, left.would_move), (1, 0));
    let why = BTreeMap::from([("perhaps of another source".to_owned(), 1)]);
    assert_eq!(left.would_leave, why);
    let purge = plan(&operator, "dead", Action::Purge, Filter::default()).await;
    assert_eq!(purge.would_move, 1, "it is gone either way");

    let request = PlanRequest {
        action: Action::Restore,
        filter: Filter::default(),
        limit: None,
        force: true,
    };
    let forced = operator.plan("dead", &request, &who()).await;
    let run = run(&operator, &at_once(&forced.expect("a plan"))).await;
    assert_eq!(run.moved, 1);
    assert_eq!(redis.len(SOURCE).await, 1);
}

#[tokio::test]
async fn a_run_that_finds_nothing_says_that_it_moved_none() {
    let redis = Redis::start();
    redis.dead_letter(&letters(40)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
    redis.command::<()>(&["DEL", SOURCE]).await;
    let run = run(&operator, &at_once(&plan)).await;
    assert_eq!(run.state, RunState::Done);
    assert!(
        run.summary.starts_with("moved 0 of 40; "),
        "{}",
        run.summary
    );
}

#[tokio::test]
async fn a_run_over_a_long_queue_brings_round_what_stays() {
    let redis = Redis::start();
    redis.dead_letter(&letters(30_000)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Bury, of_host("sw2")).await;
    let run = run(&operator, &at_once(&plan)).await;
    assert_eq!((run.moved, run.conflicts), (10_000, 0), "{run:?}");
    let mut left = numbers(&redis, SOURCE).await;
    left.sort_unstable();
    let expected: Vec<usize> = (0..30_000).filter(|i| i % 3 != 2).collect();
    assert_eq!(left, expected);
    assert_eq!(redis.len(DEAD).await, 10_000);
}

#[tokio::test]
async fn a_run_moves_all_large_messages_that_lie_apart() {
    let redis = Redis::start();
    let mut all = letters(60);
    for large in [13, 20, 44, 59] {
        let padding = "x".repeat(5 * 1024 * 1024);
        all[large] =
            format!(r#"{{"message":"m{large}","hostname":"large","padding":"{padding}"}}"#);
    }
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Bury, of_host("large")).await;
    let run = run(&operator, &at_once(&plan)).await;
    assert_eq!((run.moved, run.conflicts), (4, 0), "{run:?}");
    assert_eq!(run.scanned, 60);
    assert_eq!(numbers(&redis, DEAD).await, [13, 20, 44, 59]);
    let mut left = numbers(&redis, SOURCE).await;
    left.sort_unstable();
    let small = |i: &usize| ![13, 20, 44, 59].contains(i);
    assert_eq!(left, (0..60).filter(small).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_run_at_a_time_works_on_a_queue_and_it_can_be_cancelled() {
    let redis = Redis::start();
    redis.dead_letter(&letters(1_000)).await;
    let operator = operator(&redis);
    let first = plan(&operator, "alerter", Action::Purge, Filter::default()).await;
    let second = plan(&operator, "alerter", Action::Replay, of_host("sw0")).await;
    let slow = RunRequest {
        rate: Some(10),
        ..at_once(&first)
    };
    let started = operator.start(&slow, &who()).await.expect("it starts");
    let refused = operator.start(&at_once(&second), &who()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");

    let worker = tokio::spawn({
        let operator = operator.clone();
        let run = started.run.clone();
        async move {
            let never = CancellationToken::new();
            operator.work_at(&run, |_| {}, &never).await
        }
    });
    wait::until("it has begun", || async {
        operator.run(&started.run).await.expect("it is known").moved > 0
    })
    .await;
    operator.cancel(&started.run, &who()).await.expect("asked");
    let ended = worker.await.expect("no panic").expect("it ends");
    assert_eq!(ended.state, RunState::Cancelled);
    assert!(ended.summary.ends_with("; cancelled"), "{}", ended.summary);
    assert_eq!(ended.moved + redis.len(SOURCE).await as u64, 1_000);

    let ended = run(&operator, &at_once(&second)).await;
    assert_eq!(ended.state, RunState::Done, "the plan was not used up");
    let acts = AuditRequest {
        kind: Some("act".into()),
        ..AuditRequest::default()
    };
    let told = operator.audit(&acts).await.expect("an audit").entries;
    let acts: Vec<&str> = told
        .iter()
        .map(|entry| entry.fields["act"].as_str())
        .collect();
    assert_eq!(acts.first(), Some(&"run_ended"));
    assert_eq!(acts.last(), Some(&"run_started"));
    assert!(acts.contains(&"cancel"));
    assert_eq!(operator.runs().await.expect("the last runs").len(), 2);
}

#[tokio::test]
async fn another_worker_goes_on_with_a_run_and_counts_what_was_moved() {
    let redis = Redis::start();
    redis.dead_letter(&letters(500)).await;
    let one = operator(&redis);
    let plan = plan(&one, "alerter", Action::Replay, Filter::default()).await;
    let slow = RunRequest {
        rate: Some(100),
        ..at_once(&plan)
    };
    let started = one.start(&slow, &who()).await.expect("it starts");
    let stop = CancellationToken::new();
    let begun = one
        .work_at(
            &started.run,
            |view| {
                if view.moved > 0 {
                    stop.cancel();
                }
            },
            &stop,
        )
        .await
        .expect("it leaves");
    assert_eq!(begun.state, RunState::Running);

    // The count that was written down is lost, as in a crash between a batch and the note of it.
    let other = operator(&redis);
    let never = CancellationToken::new();
    let ended = other
        .work_at(&started.run, |_| {}, &never)
        .await
        .expect("it ends");
    assert_eq!((ended.state, ended.moved), (RunState::Done, 500));
    assert_eq!(redis.len(TARGET).await, 500);
    assert_eq!(redis.len(SOURCE).await, 0);
}

#[tokio::test]
async fn two_operators_at_the_same_messages_move_each_once() {
    let redis = Redis::start();
    let all = letters(60);
    redis.dead_letter(&all).await;
    let bodies: Vec<&str> = all.iter().map(String::as_str).collect();
    let act_of = |action| {
        let operator = operator(&redis);
        let request = act(action, &bodies);
        async move { operator.act("alerter", &request, &who()).await }
    };
    let (replay, bury) = tokio::join!(act_of(Action::Replay), act_of(Action::Bury));
    let (replay, bury) = (replay.expect("an outcome"), bury.expect("an outcome"));
    assert_eq!(replay.moved, redis.len(TARGET).await as u64);
    assert_eq!(bury.moved, redis.len(DEAD).await as u64);
    let left = redis.len(SOURCE).await as u64;
    assert_eq!(replay.moved + bury.moved + left, 60, "{replay:?} {bury:?}");
    let mut found: Vec<usize> = numbers(&redis, TARGET).await;
    found.extend(numbers(&redis, DEAD).await);
    found.extend(numbers(&redis, SOURCE).await);
    found.sort_unstable();
    assert_eq!(found, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn of_what_a_run_throws_away_each_is_told_by_its_digest() {
    let redis = Redis::start();
    let all = letters(500);
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Purge, of_host("sw1")).await;
    let run = run(&operator, &at_once(&plan)).await;
    assert_eq!(run.moved, 167);
    let acts = AuditRequest {
        kind: Some("act".into()),
        ..AuditRequest::default()
    };
    let told = operator.audit(&acts).await.expect("an audit").entries;
    assert!(told.len() <= 3, "no more entries than batches: {told:?}");
    let mut digests: Vec<String> = told.into_iter().flat_map(|entry| entry.digests).collect();
    digests.sort_unstable();
    let meant = all.iter().filter(|text| text.contains("sw1"));
    let mut meant: Vec<String> = meant
        .map(|text| digest(text.as_bytes())[..16].into())
        .collect();
    meant.sort_unstable();
    assert_eq!(digests, meant);

    let of_one = AuditRequest {
        digest: Some(digest(all[4].as_bytes())),
        ..AuditRequest::default()
    };
    let told = operator.audit(&of_one).await.expect("an audit").entries;
    assert_eq!((told.len(), told[0].fields["run"].as_str()), (1, &*run.run));
}
