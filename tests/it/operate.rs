//! The operator's core on a real Redis: look, act, plan, run, audit.

use std::collections::BTreeMap;
use std::ffi::OsString;

use mutt_remediation::audit::digest;
use mutt_remediation::config::Config;
use mutt_remediation::operate::wire::{
    ActOutcome, ActRequest, Action, AuditRequest, EditRequest, Filter, Line, Named, Page,
    PageRequest, PauseRequest, PlanRequest, PlanView, RunRequest, RunState, RunView,
    SettingRequest, Who,
};
use mutt_remediation::operate::{Error, Operator};
use tokio_util::sync::CancellationToken;

use crate::support::redis::{DEAD, SOURCE, TARGET};
use crate::support::{Redis, wait};

mod acts;
mod daemon;
mod edges;
mod faults;
mod lease;
mod memory;
mod places;
mod retain;
mod runs;

fn who() -> Who {
    Who {
        name: "alice".into(),
        from: "a test".into(),
    }
}

fn operator(redis: &Redis) -> Operator {
    with(redis, &[])
}

fn with(redis: &Redis, more: &[(&str, &str)]) -> Operator {
    let port = redis.port().to_string();
    let fixed = [("REDIS_PORT", port.as_str()), ("POD_NAME", "here")];
    let pairs = fixed.iter().chain(more);
    let pairs = pairs.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Operator::new(&Config::load(pairs).expect("a good configuration"))
}

fn letters(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| {
            let host = i % 3;
            format!(r#"{{"hostname":"sw{host}","timestamp":1700000000,"message":"m{i}","_retry_count":4}}"#)
        })
        .collect()
}

fn of_host(host: &str) -> Filter {
    Filter {
        host: Some(host.into()),
        ..Filter::default()
    }
}

fn act(action: Action, bodies: &[&str]) -> ActRequest {
    let named = |body: &&str| Named {
        digest: digest(body.as_bytes()),
        at: None,
    };
    ActRequest {
        action,
        messages: bodies.iter().map(named).collect(),
        force: false,
    }
}

async fn page(operator: &Operator, filter: Filter, request: &PageRequest) -> Page {
    let page = operator.messages("alerter", &filter, request).await;
    page.expect("a page")
}

async fn done(operator: &Operator, queue: &str, request: ActRequest) -> ActOutcome {
    let outcome = operator.act(queue, &request, &who()).await;
    outcome.expect("an outcome")
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended_although_older_messages_went() {
    let redis = Redis::start();
    let all = letters(120);
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let mut request = PageRequest {
        limit: Some(25),
        ..PageRequest::default()
    };
    let first = page(&operator, Filter::default(), &request).await;
    assert_eq!((first.depth, first.messages.len()), (120, 25));
    assert_eq!(first.messages[3].summary, "m3");
    assert_eq!(first.messages[3].reason, "failed");

    redis.command::<()>(&["LTRIM", SOURCE, "0", "-11"]).await;
    redis.dead_letter(&["{}"]).await;
    request.cursor = first.next;
    let second = page(&operator, of_host("sw0"), &request).await;
    assert!(second.steady);
    assert_eq!(
        second.messages[0].summary, "m27",
        "m25 and m26 are of others"
    );
    assert_eq!(second.messages[0].at, 17);

    request.cursor = None;
    request.newest_first = true;
    let newest = page(&operator, of_host("sw0"), &request).await;
    assert_eq!(newest.messages[0].summary, "m117");
    assert_eq!(newest.messages[0].at, 107, "counted from the oldest");
}

#[tokio::test]
async fn a_scan_is_bounded_and_says_how_far_it_went() {
    let redis = Redis::start();
    redis.dead_letter(&letters(300)).await;
    let operator = operator(&redis);
    let request = PageRequest {
        scan: Some(100),
        ..PageRequest::default()
    };
    let first = page(&operator, of_host("nobody"), &request).await;
    assert_eq!((first.messages.len(), first.scanned), (0, 100));
    let request = PageRequest {
        cursor: first.next,
        ..request
    };
    let page = page(&operator, of_host("sw1"), &request).await;
    assert_eq!(page.messages[0].summary, "m100");
    let detail = operator.queue("alerter", Some(100)).await.expect("counts");
    assert_eq!((detail.scanned, detail.complete), (100, false));
    let detail = operator.queue("alerter", None).await.expect("counts");
    assert_eq!((detail.scanned, detail.complete), (300, true));
    assert_eq!(detail.by_reason, BTreeMap::from([("failed".into(), 300)]));
}

#[tokio::test]
async fn exact_messages_move_and_all_others_stay_in_order_but_for_who_made_room() {
    let redis = Redis::start();
    let all = letters(50);
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let request = act(Action::Replay, &[&all[20], &all[0], "not there"]);
    let outcome = done(&operator, "alerter", request).await;
    assert_eq!((outcome.wanted, outcome.moved), (3, 2));
    assert_eq!(outcome.missing, [digest(b"not there")]);
    assert_eq!((outcome.depth_before, outcome.depth_after), (50, 48));
    assert_eq!(outcome.summary, "moved 2 of 3; 1 not found");
    let mut left = redis.texts(SOURCE).await;
    left.sort_unstable();
    let mut expected: Vec<String> = all.clone();
    expected.remove(20);
    expected.remove(0);
    expected.sort_unstable();
    assert_eq!(left, expected);
    let replayed = redis.texts(TARGET).await;
    assert_eq!(replayed.len(), 2);
    assert!(
        replayed
            .iter()
            .all(|text| text.contains(r#""_retry_count":0"#)
                && text.contains(r#""_remediation_count":1"#))
    );
}

#[tokio::test]
async fn of_identical_copies_as_many_move_as_are_named() {
    let redis = Redis::start();
    redis.dead_letter(&["{}", "{\"a\":1}", "{}", "{}"]).await;
    let operator = operator(&redis);
    let detail = operator.message("alerter", &digest(b"{}"), None).await;
    assert_eq!(detail.expect("it is there").copies, 3);
    let request = act(Action::Bury, &["{}", "{}"]);
    assert_eq!(done(&operator, "alerter", request).await.moved, 2);
    let mut left = redis.texts(SOURCE).await;
    left.sort_unstable();
    assert_eq!(left, ["{\"a\":1}", "{}"]);
    let dead = redis.texts(DEAD).await;
    assert_eq!(dead.len(), 2);
    assert!(dead[0].contains(r#""_remediation_reason":"operator""#));
}

#[tokio::test]
async fn a_restored_message_is_brought_back_and_a_purged_one_is_gone() {
    let redis = Redis::start();
    let poison =
        r#"{"hostname":"a","_moog_retry_count":5,"_remediation_reason":"retries_exhausted"}"#;
    redis.push(DEAD, &[poison, "[1]", "[2]"]).await;
    let operator = operator(&redis);
    let request = act(Action::Restore, &[poison, "[1]"]);
    let outcome = done(&operator, "dead", request.clone()).await;
    assert_eq!(outcome.moved, 1);
    assert_eq!(outcome.left, BTreeMap::from([("malformed".into(), 1)]));
    assert_eq!(
        redis.texts(SOURCE).await,
        [r#"{"hostname":"a","_moog_retry_count":0,"_remediation_reason":"retries_exhausted"}"#]
    );
    let purged = done(&operator, "dead", act(Action::Purge, &["[2]"])).await;
    assert_eq!(purged.moved, 1);
    assert_eq!(redis.texts(DEAD).await, ["[1]"]);
    let refused = operator.act("alerter", &request, &who()).await;
    assert!(matches!(refused, Err(Error::NotHere(_))), "{refused:?}");
}

#[tokio::test]
async fn an_edited_message_is_replayed_and_its_old_bytes_are_kept() {
    let redis = Redis::start();
    let old = r#"{"hostname":"a","_correlation_id":"c-1","x":1}"#;
    redis.dead_letter(&["{}", old, "[]"]).await;
    let operator = operator(&redis);
    let request = EditRequest {
        body: r#"{"hostname":"a","_correlation_id":"c-1","x":2}"#.into(),
        at: None,
    };
    let name = digest(old.as_bytes());
    let outcome = operator.edit("alerter", &name, &request, &who()).await;
    let outcome = outcome.expect("an outcome");
    assert!(outcome.moved, "{outcome:?}");
    let arrived = redis.texts(TARGET).await;
    assert!(arrived[0].starts_with(r#"{"hostname":"a","_correlation_id":"c-1","x":2,"_rem"#));
    assert_eq!(digest(arrived[0].as_bytes()), outcome.after);
    let original = operator.original("alerter", &outcome.original).await;
    assert_eq!(original.expect("it is kept").body, old);

    let by = AuditRequest {
        digest: Some(outcome.digest),
        ..AuditRequest::default()
    };
    let told = operator.audit(&by).await.expect("an audit").entries;
    assert_eq!(told[0].fields["act"], "edit");
    assert_eq!(told[0].fields["original"], outcome.original);
    assert_eq!(told[0].messages[0].after, Some(outcome.after));

    let bad = EditRequest {
        body: "[1]".into(),
        at: None,
    };
    let refused = operator.edit("alerter", &digest(b"[]"), &bad, &who()).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}

#[tokio::test]
async fn every_act_is_told_with_who_did_it_and_never_what_a_message_says() {
    let redis = Redis::start();
    redis
        .dead_letter(&[r#"{"hostname":"secret-host","_correlation_id":"c-9"}"#])
        .await;
    let operator = operator(&redis);
    let pause = PauseRequest {
        reason: "the database is away".into(),
        seconds: Some(60),
    };
    operator
        .pause("alerter", &pause, &who())
        .await
        .expect("paused");
    operator.resume("alerter", &who()).await.expect("resumed");
    let set = SettingRequest {
        value: "77".into(),
        seconds: None,
    };
    let setting = operator.set("remediation_batch_size", &set, &who()).await;
    assert_eq!(setting.expect("set").value.as_deref(), Some("77"));
    operator
        .unset("remediation_batch_size", &who())
        .await
        .expect("unset");
    let body = r#"{"hostname":"secret-host","_correlation_id":"c-9"}"#;
    done(&operator, "alerter", act(Action::Bury, &[body])).await;
    let missing = done(&operator, "alerter", act(Action::Bury, &[body])).await;
    assert_eq!(missing.summary, "moved 0 of 1; 1 not found");

    let page = operator
        .audit(&AuditRequest::default())
        .await
        .expect("an audit");
    let acts: Vec<&str> = page
        .entries
        .iter()
        .map(|entry| entry.fields["act"].as_str())
        .collect();
    assert_eq!(
        acts,
        ["bury", "bury", "setting", "setting", "resume", "pause"]
    );
    assert!(
        page.entries
            .iter()
            .all(|entry| entry.fields["who"] == "alice")
    );
    let raw: redis::Value = redis
        .command(&["XRANGE", "mutt:remediation:audit", "-", "+"])
        .await;
    assert!(!format!("{raw:?}").contains("secret-host"));
    let by_id = AuditRequest {
        correlation_id: Some("c-9".into()),
        ..AuditRequest::default()
    };
    assert_eq!(
        operator
            .audit(&by_id)
            .await
            .expect("an audit")
            .entries
            .len(),
        1
    );
}

#[tokio::test]
async fn an_act_whose_audit_cannot_be_written_does_not_happen() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    redis
        .command::<()>(&["SET", "mutt:remediation:audit", "x"])
        .await;
    let operator = operator(&redis);
    let refused = operator
        .act("alerter", &act(Action::Purge, &["{}"]), &who())
        .await;
    assert!(matches!(refused, Err(Error::Redis(_))), "{refused:?}");
    let pause = PauseRequest {
        reason: "x".into(),
        seconds: None,
    };
    let refused = operator.pause("alerter", &pause, &who()).await;
    assert!(matches!(refused, Err(Error::Redis(_))), "{refused:?}");
    let line = Line {
        digest: None,
        body: Some("{}".into()),
        base64: None,
    };
    let refused = operator.import("alerter", vec![line], &who()).await;
    assert!(matches!(refused, Err(Error::Redis(_))), "{refused:?}");
    assert_eq!(redis.len(SOURCE).await, 1);
    let keys: Vec<String> = redis.command(&["KEYS", "*pause*"]).await;
    assert!(keys.is_empty());
}

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    let redis = Redis::start();
    let bodies: [&[u8]; 3] = [b"{\"a\":1}", b"\xff\xfe", b""];
    redis.dead_letter(&bodies).await;
    let operator = operator(&redis);
    let all = PageRequest::default();
    let page = operator.export("alerter", &Filter::default(), &all).await;
    let page = page.expect("a page");
    assert_eq!(page.lines[1].base64.as_deref(), Some("//4="));
    let imported = operator.import("dead", page.lines.clone(), &who()).await;
    assert_eq!(imported.expect("imported").imported, 3);
    assert_eq!(redis.list(DEAD).await, bodies);
    let mut wrong = page.lines;
    wrong[2].digest = Some("0".repeat(40));
    let refused = operator.import("dead", wrong, &who()).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert_eq!(redis.len(DEAD).await, 3, "all or none");
}

#[tokio::test]
async fn an_export_that_others_have_overtaken_says_so() {
    let redis = Redis::start();
    redis.dead_letter(&letters(300)).await;
    let operator = operator(&redis);
    let mut request = PageRequest {
        limit: Some(100),
        ..PageRequest::default()
    };
    let all = Filter::default();
    let first = operator.export("alerter", &all, &request).await;
    request.cursor = first.expect("a page").next;
    redis.command::<()>(&["LTRIM", SOURCE, "0", "-51"]).await;
    let second = operator.export("alerter", &all, &request).await;
    assert_eq!(second.expect("it goes on").lines.len(), 100);
    redis.command::<()>(&["LTRIM", SOURCE, "0", "-101"]).await;
    let lost = operator.export("alerter", &all, &request).await;
    assert!(matches!(lost, Err(Error::Conflict(_))), "{lost:?}");
}
