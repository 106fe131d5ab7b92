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
