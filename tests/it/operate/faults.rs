//! Runs and acts under blows: nothing is lost, nothing doubled, and the audit tells what happened.

use super::runs::{at_once, numbers, plan};
use super::*;
use crate::support::{Daemon, Proxy};

/// Every letter is in exactly one of the lists.
async fn each_once(redis: &Redis, count: usize) {
    let mut found = vec![];
    for list in [SOURCE, TARGET, DEAD] {
        found.extend(numbers(redis, list).await);
    }
    found.sort_unstable();
    assert_eq!(found, (0..count).collect::<Vec<_>>());
}

/// Messages that the audit says were moved by runs.
async fn told(operator: &Operator) -> u64 {
    let mut sum = 0;
    let mut request = AuditRequest {
        kind: Some("act".into()),
        limit: Some(500),
        ..AuditRequest::default()
    };
    loop {
        let page = operator.audit(&request).await.expect("an audit");
        for entry in page.entries {
            if entry.fields["act"] == "run" {
                let moved = ["replayed", "dead", "restored", "purged"];
                let moved = moved.iter().filter_map(|name| entry.fields.get(*name));
                sum += moved
                    .map(|count| count.parse::<u64>().expect("a count"))
                    .sum::<u64>();
            }
        }
        match page.next {
            Some(next) => request.before = Some(next),
            None => return sum,
        }
    }
}

#[tokio::test]
async fn a_run_goes_on_after_its_worker_was_killed_and_moves_each_once() {
    let redis = Redis::start();
    redis.dead_letter(&letters(3_000)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Bury, of_host("sw1")).await;
    let slow = RunRequest {
        rate: Some(400),
        ..at_once(&plan)
    };
    // So that only the run moves anything.
    let still = [("REMEDIATION_ENABLED", "false")];
    let run = operator.start(&slow, &who()).await.expect("it starts");
    for _ in 0..2 {
        let worker = Daemon::start(&redis, &still);
        let before = operator.run(&run.run).await.expect("it is known").moved;
        wait::until("it has moved some", || async {
            operator.run(&run.run).await.expect("it is known").moved > before
        })
        .await;
        worker.signal("-KILL");
    }
    let _last = Daemon::start(&redis, &still);
    wait::until("it has ended", || async {
        operator.run(&run.run).await.expect("it is known").state == RunState::Done
    })
    .await;
    let run = operator.run(&run.run).await.expect("it is known");
    assert_eq!((run.moved, redis.len(DEAD).await), (1_000, 1_000));
    assert_eq!(told(&operator).await, 1_000);
    each_once(&redis, 3_000).await;
}

#[tokio::test]
async fn a_run_outlives_a_redis_that_is_killed_and_started_again() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    redis.dead_letter(&letters(3_000)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Replay, of_host("sw2")).await;
    let slow = RunRequest {
        rate: Some(400),
        ..at_once(&plan)
    };
    let run = operator.start(&slow, &who()).await.expect("it starts");
    let _worker = Daemon::start(&redis, &[("REMEDIATION_ENABLED", "false")]);
    for _ in 0..2 {
        let before = operator.run(&run.run).await.expect("it is known").moved;
        wait::until("it has moved some", || async {
            operator.run(&run.run).await.expect("it is known").moved > before
        })
        .await;
        redis.kill();
        redis.up();
    }
    wait::until("it has ended", || async {
        operator.run(&run.run).await.expect("it is known").state == RunState::Done
    })
    .await;
    assert_eq!(redis.len(TARGET).await, 1_000);
    assert_eq!(told(&operator).await, 1_000);
    each_once(&redis, 3_000).await;
}

#[tokio::test]
async fn a_run_whose_line_is_cut_again_and_again_moves_each_once() {
    let redis = Redis::start();
    redis.dead_letter(&letters(1_200)).await;
    let proxy = Proxy::before(redis.port()).await;
    let port = proxy.port().to_string();
    let through = with(&redis, &[("REDIS_PORT", &port), ("REDIS_TIMEOUT", "5")]);
    let straight = operator(&redis);
    let plan = plan(&straight, "alerter", Action::Replay, of_host("sw0")).await;
    let run = straight
        .start(&at_once(&plan), &who())
        .await
        .expect("it starts");
    let never = CancellationToken::new();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut broken = 0;
    for _ in 0..40 {
        let bytes = rng.i64(1..60_000);
        if rng.bool() {
            proxy.cut_after_request_bytes(bytes);
        } else {
            proxy.cut_after_reply_bytes(bytes);
        }
        match through.work_at(&run.run, |_| {}, &never).await {
            Ok(view) if view.state == RunState::Done => break,
            Ok(_) => {}
            Err(_) => broken += 1,
        }
    }
    assert!(broken > 0, "no cut was noticed");
    let ended = straight.work_at(&run.run, |_| {}, &never).await;
    assert_eq!(ended.expect("it ends").state, RunState::Done);
    assert_eq!(redis.len(TARGET).await, 400);
    assert_eq!(told(&straight).await, 400);
    each_once(&redis, 1_200).await;
}

#[tokio::test]
async fn a_run_at_maxmemory_waits_and_then_goes_on() {
    let redis = Redis::start();
    redis.dead_letter(&letters(600)).await;
    let operator = operator(&redis);
    let plan = plan(&operator, "alerter", Action::Bury, of_host("sw0")).await;
    let run = operator
        .start(&at_once(&plan), &who())
        .await
        .expect("it starts");
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    let never = CancellationToken::new();
    let refused = operator.work_at(&run.run, |_| {}, &never).await;
    assert!(matches!(refused, Err(Error::Redis(_))), "{refused:?}");
    each_once(&redis, 600).await;
    redis
        .command::<()>(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    let ended = operator.work_at(&run.run, |_| {}, &never).await;
    let ended = ended.expect("it ends");
    assert_eq!(ended.summary, "moved 200 of 200", "and no trouble any more");
    each_once(&redis, 600).await;
}
