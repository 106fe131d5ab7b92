//! Operators with the product's own tools, beside everything else that goes wrong: they plan, run,
//! and leave in the middle. And what the audit tells of it all.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use mutt_remediation::config::Config;
use mutt_remediation::operate::wire::{Action, Filter, PlanRequest, RunRequest, Who};
use mutt_remediation::operate::{Error, Operator};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Runs of an operator in a round, at most: each may replay a message once more.
pub const RUNS: u64 = 3;

/// Operators in a round, at most.
pub const OPERATORS: usize = 2;

/// How many there are in a round; half of the rounds are without.
pub fn how_many(rng: &mut Rng) -> usize {
    if rng.bool() {
        rng.usize(1..=OPERATORS)
    } else {
        0
    }
}

/// Plans and runs until told to stop. What fails is part of the fault; a run that its operator has
/// left is for the workers.
pub async fn operate(variables: Vec<(&'static str, String)>, mut rng: Rng, stop: Arc<AtomicBool>) {
    let pairs = variables.iter();
    let pairs = pairs.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let operator = Operator::new(&Config::load(pairs).expect("a good configuration"));
    let mut runs = 0;
    while runs < RUNS && !stop.load(Ordering::SeqCst) {
        let run = run(&operator, &mut rng).await;
        if run.is_ok() {
            runs += 1;
        }
        sleep(Duration::from_millis(rng.u64(20..300))).await;
    }
}

async fn run(operator: &Operator, rng: &mut Rng) -> Result<(), Error> {
    let who = Who {
        name: "an operator".into(),
        from: "a test".into(),
    };
    let action = if rng.bool() {
        Action::Replay
    } else {
        Action::Bury
    };
    let request = PlanRequest {
        action,
        filter: Filter {
            text: rng.bool().then(|| rng.u32(0..10).to_string()),
            ..Filter::default()
        },
        limit: Some(rng.u64(1..300)),
        force: false,
    };
    let plan = operator.plan("alerter", &request, &who).await?;
    let rate = rng.bool().then(|| rng.u64(300..3_000));
    let request = RunRequest {
        token: plan.token,
        rate,
        ..RunRequest::default()
    };
    let run = operator.start(&request, &who).await?.run;
    // Some go away in the middle of whatever they are at. Nobody drains then until a worker may
    // take the run up, so that most stay.
    let leaves = rng.u32(0..4) == 0;
    let while_there = Duration::from_millis(if leaves { rng.u64(10..900) } else { 3_000 });
    let never = CancellationToken::new();
    let work = operator.work_at(&run, |_| {}, &never);
    let _ = timeout(while_there, work).await;
    Ok(())
}

/// How many messages the entries of an audit say were replayed and parked: by the drain, and by
/// operators.
pub fn told(entries: &[(String, Vec<String>)]) -> (usize, usize) {
    let sum = |wanted: &str| {
        let fields = entries.iter().flat_map(|(_, fields)| fields.chunks(2));
        let counts = fields.filter(|field| field[0] == wanted);
        let counts = counts.map(|field| field[1].parse::<usize>().expect("a count"));
        counts.sum()
    };
    (sum("replayed"), sum("dead"))
}
