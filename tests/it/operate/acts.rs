//! Acts that are refused, or named badly.

use std::collections::HashMap;

use super::*;

#[tokio::test]
async fn an_act_that_is_refused_has_moved_nothing() {
    let redis = Redis::start();
    let all = letters(30);
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let mut request = act(
        Action::Purge,
        &all.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    request.messages.push(Named {
        digest: "no digest".into(),
        at: None,
    });
    let refused = operator.act("alerter", &request, &who()).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert_eq!(redis.len(SOURCE).await, 30);
}

#[tokio::test]
async fn an_act_in_which_a_message_is_named_too_shortly_has_moved_nothing() {
    let mut known: HashMap<String, String> = HashMap::new();
    let (one, other) = (0..)
        .find_map(|i| {
            let body = format!("{{\"n\":{i}}}");
            let begins = digest(body.as_bytes())[..8].to_owned();
            known
                .insert(begins, body.clone())
                .map(|before| (before, body))
        })
        .expect("two digests begin alike");
    let redis = Redis::start();
    let mut all = letters(30);
    let bodies: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut request = act(Action::Purge, &bodies);
    request.messages.push(Named {
        digest: digest(one.as_bytes())[..8].to_owned(),
        at: None,
    });
    all.extend([one, other]);
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let refused = operator.act("alerter", &request, &who()).await;
    let Err(Error::Conflict(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.starts_with("2 messages have digests"), "{why}");
    assert_eq!(redis.texts(SOURCE).await, all);
}

#[tokio::test]
async fn a_message_is_found_whatever_its_place_is_said_to_be() {
    let redis = Redis::start();
    let all = letters(30);
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    for at in [u64::MAX, u64::MAX - 400, 1 << 63, 1_000_000_000, 29, 0] {
        let found = operator
            .message("alerter", &digest(all[7].as_bytes()), Some(at))
            .await;
        assert_eq!(found.expect("it is there").message.at, 7, "{at}");
    }
}

#[tokio::test]
async fn many_messages_are_found_in_one_go_through_the_queue() {
    let redis = Redis::start();
    let all = letters(3_000);
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let named = (0..100).map(|i| all[i * 30 + 7].as_str());
    let request = act(Action::Bury, &named.collect::<Vec<_>>());
    let outcome = done(&operator, "alerter", request).await;
    assert_eq!(
        (outcome.moved, outcome.complete),
        (100, true),
        "{outcome:?}"
    );
    assert!(outcome.scanned <= 3_000, "{}", outcome.scanned);
    let mut moved = super::runs::numbers(&redis, DEAD).await;
    moved.sort_unstable();
    assert_eq!(moved, (0..100).map(|i| i * 30 + 7).collect::<Vec<_>>());
    let mut left = super::runs::numbers(&redis, SOURCE).await;
    left.sort_unstable();
    assert_eq!(left, (0..3_000).filter(|i| i % 30 != 7).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_that_lies_where_it_was_seen_costs_no_search() {
    let redis = Redis::start();
    let all = letters(3_000);
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let mut request = act(Action::Bury, &[&all[2_500], &all[2_600], &all[2_700]]);
    for (named, at) in request.messages.iter_mut().zip([2_500, 2_600, 2_710]) {
        named.at = Some(at);
    }
    let outcome = done(&operator, "alerter", request).await;
    assert_eq!(outcome.moved, 3);
    assert!(outcome.scanned < 600, "{}", outcome.scanned);
}

#[tokio::test]
async fn an_act_on_many_large_messages_moves_them_all_a_few_at_a_time() {
    let redis = Redis::start();
    let padding = "x".repeat(3 * 1024 * 1024);
    let all: Vec<String> = (0..12)
        .map(|i| format!(r#"{{"message":"m{i}","padding":"{padding}"}}"#))
        .collect();
    redis.dead_letter(&all).await;
    let operator = operator(&redis);
    let named = [1, 3, 4, 7, 9, 11].map(|i: usize| all[i].as_str());
    let outcome = done(&operator, "alerter", act(Action::Replay, &named)).await;
    assert_eq!(outcome.moved, 6, "{}", outcome.summary);
    let mut left = super::runs::numbers(&redis, SOURCE).await;
    left.sort_unstable();
    assert_eq!(left, [0, 2, 5, 6, 8, 10]);
    let mut moved = super::runs::numbers(&redis, TARGET).await;
    moved.sort_unstable();
    assert_eq!(moved, [1, 3, 4, 7, 9, 11]);
}

#[tokio::test]
async fn what_was_not_found_in_a_queue_too_long_to_look_at_all_of_it_is_told_as_such() {
    let redis = Redis::start();
    let numbered: Vec<String> = (0..100_050).map(|i| i.to_string()).collect();
    redis.dead_letter(&numbered).await;
    let operator = operator(&redis);
    let request = act(Action::Purge, &["5", "100020", "not there"]);
    let outcome = done(&operator, "alerter", request).await;
    assert_eq!((outcome.moved, outcome.missing.len()), (1, 2));
    assert!(outcome.scanned <= 100_000, "{}", outcome.scanned);
    assert!(!outcome.complete);
    assert_eq!(
        outcome.summary,
        "moved 1 of 3; 2 not found, though not all of the queue was looked at"
    );
    let mut request = act(Action::Purge, &["100020"]);
    request.messages[0].at = Some(100_020);
    let outcome = done(&operator, "alerter", request).await;
    assert_eq!(
        (outcome.moved, outcome.complete),
        (1, true),
        "it has moved by one"
    );
}

#[tokio::test]
async fn a_message_under_two_names_is_meant_twice() {
    let redis = Redis::start();
    redis.dead_letter(&["{}", "[1]", "{}", "{}"]).await;
    let operator = operator(&redis);
    let mut request = act(Action::Bury, &["{}", "{}"]);
    request.messages[1].digest.truncate(9);
    let outcome = done(&operator, "alerter", request).await;
    assert_eq!((outcome.wanted, outcome.moved), (2, 2));
    assert_eq!((redis.len(SOURCE).await, redis.len(DEAD).await), (2, 2));
}

#[tokio::test]
async fn the_audit_tells_what_of_an_act_was_done_and_what_was_not() {
    let redis = Redis::start();
    let all = letters(5);
    redis.dead_letter(&all).await;
    redis.dead_letter(&["[1]"]).await;
    let operator = operator(&redis);
    let request = act(Action::Replay, &[&all[1], &all[3], "[1]", "gone"]);
    let outcome = done(&operator, "alerter", request).await;
    assert_eq!(outcome.moved, 2);
    let told = operator.audit(&AuditRequest::default()).await;
    let told = told.expect("an audit").entries;
    assert_eq!(told.len(), 2, "{told:?}");
    let fields =
        |entry: usize, names: [&str; 3]| names.map(|name| told[entry].fields[name].clone());
    assert_eq!(
        fields(1, ["wanted", "replayed", "depth_before"]),
        ["4", "2", "6"]
    );
    assert_eq!(
        fields(0, ["outcome", "depth_before", "depth_after"]),
        ["moved 2 of 4; 1 not found; 1 left: malformed", "6", "4"]
    );
}

#[tokio::test]
async fn the_audit_is_searched_by_digits_of_any_case_and_by_nothing_else() {
    let redis = Redis::start();
    redis.dead_letter(&["{}"]).await;
    let operator = operator(&redis);
    done(&operator, "alerter", act(Action::Bury, &["{}"])).await;
    let by = |digest: &str| AuditRequest {
        digest: Some(digest.into()),
        ..AuditRequest::default()
    };
    let name = digest(b"{}").to_uppercase();
    for right in [&name[..], &name[..5]] {
        let found = operator.audit(&by(right)).await.expect("an audit");
        assert_eq!(found.entries.len(), 1, "{right}");
    }
    for wrong in ["", "bf21a9e8fx", &"a".repeat(41), "bf21 "] {
        let refused = operator.audit(&by(wrong)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
}
