//! Who works at a run, and whose lease has gone, moves nothing any more.

use mutt_remediation::dlq::{Disposition, Entry, Lease, Proviso, Transfer};
use mutt_remediation::operate::mover::{Chosen, Moved, Mover};

use super::runs::at_once;
use super::*;
use crate::support::{Onward, Stepper, Stop};

/// Whether a batch is watched since it was peeked, or compared.
const WAYS: [&[&str]; 2] = [&["+watch"], &["-watch"]];

async fn allow(redis: &Redis, rules: &[&str]) {
    let words = [&["ACL", "SETUSER", "default"], rules].concat();
    redis.command::<()>(&words).await;
}

#[tokio::test]
async fn a_worker_that_slept_until_its_run_was_another_s_moves_nothing_beyond_the_plan() {
    for rules in WAYS {
        let redis = Redis::start();
        // Which of them are moved nobody can tell.
        redis.dead_letter(&["{}"; 20]).await;
        allow(&redis, rules).await;
        let operator = operator(&redis);
        let request = PlanRequest {
            action: Action::Replay,
            filter: Filter::default(),
            limit: Some(4),
            force: false,
        };
        let plan = operator.plan("alerter", &request, &who()).await;
        let run = operator
            .start(&at_once(&plan.expect("a plan")), &who())
            .await;
        let run = run.expect("it starts").run;

        let mut line = Stepper::before(redis.port()).await;
        let port = line.port().to_string();
        let patient = [("REDIS_PORT", port.as_str()), ("REDIS_TIMEOUT", "60")];
        let sleeper = with(&redis, &patient);
        line.stop_at(Stop::Request("WATCH", 1));
        let asleep = tokio::spawn({
            let run = run.clone();
            async move {
                let never = CancellationToken::new();
                sleeper.work_at(&run, |_| {}, &never).await
            }
        });
        // It has looked, and is about to move.
        let held = line.held().await;
        let lease = format!("mutt:remediation:{SOURCE}:lease");
        let _: i64 = redis.command(&["DEL", &lease]).await;
        let never = CancellationToken::new();
        let ended = operator.work_at(&run, |_| {}, &never).await;
        assert_eq!(ended.expect("it ends").summary, "moved 4 of 4");

        held.go(Onward::Pass);
        let awake = asleep.await.expect("no panic").expect("it is another's");
        assert_eq!((awake.state, awake.moved), (RunState::Done, 4), "{rules:?}");
        assert_eq!(redis.len(TARGET).await, 4, "{rules:?}");
        assert_eq!(redis.len(SOURCE).await, 16, "{rules:?}");
    }
}

fn oldest(count: usize) -> Vec<Chosen> {
    let chosen = |at| Chosen {
        at,
        transfer: Transfer {
            entry: Entry(b"{}".to_vec()),
            edits: vec![],
            disposition: Disposition::Purge,
        },
    };
    (0..count as u64).map(chosen).collect()
}

#[tokio::test]
async fn nothing_is_moved_unless_the_lease_is_held_and_enough_stay() {
    for rules in WAYS {
        let redis = Redis::start();
        redis.push(DEAD, &["{}"; 10]).await;
        allow(&redis, rules).await;
        redis
            .command::<()>(&["SET", "mutt:remediation:lease", "me"])
            .await;
        for audit in ["10", "0"] {
            let operator = with(&redis, &[("REMEDIATION_AUDIT_LENGTH", audit)]);
            let queue = operator.dead_lists().next().expect("a dead list").clone();
            let trail = operator.trail(&queue, vec![], false);
            let store = operator.store();
            let under = |says: &str, keep| Proviso {
                lease: Some(Lease {
                    key: "mutt:remediation:lease".into(),
                    says: says.into(),
                }),
                keep,
            };
            let before = redis.len(DEAD).await as u64;
            for (proviso, moved) in [
                (under("you", 0), Moved::Conflict),
                (under("me", before - 2), Moved::Conflict),
                (under("me", before - 3), Moved::All),
            ] {
                let mover = Mover::new(store, &queue, trail.clone()).expect("plain names");
                let taken = mover.provided(proviso.clone()).take(&oldest(3)).await;
                assert_eq!(taken.expect("answered"), moved, "{rules:?} {proviso:?}");
            }
            assert_eq!(redis.len(DEAD).await as u64, before - 3);
        }
        let written: usize = redis.command(&["XLEN", "mutt:remediation:audit"]).await;
        assert_eq!(written, 1, "with one of the two");
    }
}
