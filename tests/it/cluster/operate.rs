//! The operator's side where a move takes two steps.

use std::ffi::OsString;

use mutt_remediation::audit::digest;
use mutt_remediation::config::Config;
use mutt_remediation::operate::Operator;
use mutt_remediation::operate::wire::{
    ActRequest, Action, Filter, Named, PlanRequest, RunRequest, RunState, RunView, Who,
};
use tokio_util::sync::CancellationToken;

use super::{APART, daemon, trimming};
use crate::support::{Cluster, DEAD, SOURCE, TARGET, until};

fn operator(cluster: &Cluster) -> Operator {
    let seeds = cluster.seeds();
    let pairs = [
        ("REDIS_CLUSTER_NODES", seeds.as_str()),
        ("POD_NAME", "here"),
        ("REDIS_TIMEOUT", "20"),
    ];
    let pairs = pairs.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Operator::new(&Config::load(pairs).expect("a good configuration"))
}

fn who() -> Who {
    Who {
        name: "alice".into(),
        from: "a test".into(),
    }
}

fn letters(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| format!(r#"{{"hostname":"sw{}","id":{i}}}"#, i % 2))
        .collect()
}

async fn started(operator: &Operator, queue: &str, request: PlanRequest) -> RunView {
    let plan = operator.plan(queue, &request, &who()).await;
    let request = RunRequest {
        token: plan.expect("a plan").token,
        ..RunRequest::default()
    };
    operator.start(&request, &who()).await.expect("it starts")
}

/// The numbers in a list, sorted.
async fn ids(cluster: &Cluster, list: &str) -> Vec<usize> {
    let texts = cluster.texts(list).await;
    let id = |text: &String| {
        let rest = text.split("\"id\":").nth(1).expect("a letter");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    let mut ids: Vec<usize> = texts.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn acts_and_runs_move_each_message_once() {
    let cluster = Cluster::start().await;
    let all = letters(40);
    cluster.push(SOURCE, &all).await;
    let operator = operator(&cluster);
    let act = |action, bodies: &[String]| ActRequest {
        action,
        messages: bodies
            .iter()
            .map(|body| Named {
                digest: digest(body.as_bytes()),
                at: None,
            })
            .collect(),
        force: false,
    };
    let requests = [
        act(Action::Purge, &all[20..22]),
        act(Action::Bury, &all[30..36]),
    ];
    for request in requests {
        let outcome = operator.act("alerter", &request, &who()).await;
        let outcome = outcome.expect("an outcome");
        assert_eq!(outcome.moved, outcome.wanted);
    }
    assert_eq!(ids(&cluster, DEAD).await, (30..36).collect::<Vec<_>>());

    let never = CancellationToken::new();
    let of_host = Filter {
        host: Some("sw1".into()),
        ..Filter::default()
    };
    let plan = |action, filter: &Filter| PlanRequest {
        action,
        filter: filter.clone(),
        limit: None,
        force: false,
    };
    for (queue, action, moved) in [
        ("dead", Action::Restore, 3),
        ("alerter", Action::Replay, 19),
        ("dead", Action::Purge, 0),
    ] {
        let run = started(&operator, queue, plan(action, &of_host)).await;
        let ended = operator.work_at(&run.run, |_| {}, &never).await;
        let ended = ended.expect("it ends");
        assert_eq!((ended.state, ended.moved), (RunState::Done, moved));
    }
    let odd = (0..40).filter(|i| i % 2 == 1 && *i != 21);
    assert_eq!(ids(&cluster, TARGET).await, odd.collect::<Vec<_>>());
    assert_eq!(ids(&cluster, DEAD).await, [30, 32, 34]);
    let even = (0..40).filter(|i| i % 2 == 0 && ![20, 30, 32, 34].contains(i));
    assert_eq!(ids(&cluster, SOURCE).await, even.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_of_a_run_that_was_begun_counts_as_the_run_s() {
    let cluster = Cluster::start().await;
    cluster.push(SOURCE, &letters(8)).await;
    let operator = operator(&cluster);
    let request = PlanRequest {
        action: Action::Purge,
        filter: Filter::default(),
        limit: Some(4),
        force: false,
    };
    let run = started(&operator, "alerter", request).await;
    let never = CancellationToken::new();
    trimming(&cluster, "-ltrim").await;
    let refused = operator.work_at(&run.run, |_| {}, &never).await;
    refused.expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;
    assert_eq!(cluster.len(SOURCE).await, 8);

    let lease = format!("{{{SOURCE}}}:mutt:remediation:{SOURCE}:lease");
    let _: i64 = cluster.at(SOURCE).await.command(&["DEL", &lease]).await;
    let ended = operator.work_at(&run.run, |_| {}, &never).await;
    let ended = ended.expect("it ends");
    assert_eq!((ended.state, ended.moved), (RunState::Done, 4));
    assert_eq!(ids(&cluster, SOURCE).await, [4, 5, 6, 7]);
}

#[tokio::test]
async fn what_is_evicted_goes_to_a_list_beside_the_dead_list() {
    let cluster = Cluster::start().await;
    cluster.push(DEAD, &letters(250)).await;
    let attic = format!("{{{DEAD}}}:attic");
    let archive = format!("list:{attic}");
    let bounds = [
        ("DEAD_LETTER_MAX", "20"),
        ("DEAD_LETTER_ARCHIVE", archive.as_str()),
    ];
    let _daemon = daemon(&cluster, APART, &bounds);
    until("it is within its bounds", || async {
        cluster.len(DEAD).await == 20
    })
    .await;
    assert_eq!(ids(&cluster, DEAD).await, (230..250).collect::<Vec<_>>());
    assert_eq!(ids(&cluster, &attic).await, (0..230).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_that_was_begun_is_trimmed_although_an_operator_has_made_room_there() {
    let cluster = Cluster::start().await;
    let all = letters(2_500);
    cluster.push(SOURCE, &all).await;
    let operator = operator(&cluster);
    let mut drain = super::queue(&cluster);
    let (_, plan) = super::planned(&mut drain, 4).await;
    trimming(&cluster, "-ltrim").await;
    let begun = drain.commit(&plan.transfers).await;
    begun.expect_err("it cannot trim");
    trimming(&cluster, "+ltrim").await;
    // An operator who has seen nothing begun brings two messages to the old end just now, and the
    // two oldest lie where these were.
    let meant = [1_800, 2_200].map(|at: usize| (at as u64, digest(all[at].as_bytes())));
    let brought = operator
        .store()
        .bring(SOURCE, std::iter::once(meant.to_vec()))
        .await;
    assert!(brought.expect("an answer"));

    super::queue(&cluster).finish().await.expect("finished");
    assert_eq!(ids(&cluster, TARGET).await, [0, 1, 2, 3]);
    assert_eq!(ids(&cluster, SOURCE).await, (4..2_500).collect::<Vec<_>>());
}
