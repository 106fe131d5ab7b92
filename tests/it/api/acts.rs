//! What can be done, and how it is refused.

use mutt_remediation::audit::digest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Asker, KEY, letter, with_letters};
use crate::support::redis::{DEAD, SOURCE, TARGET};
use crate::support::until;

fn named(numbers: &[usize]) -> Vec<Value> {
    let each = numbers
        .iter()
        .map(|number| digest(letter(*number).as_bytes()));
    each.map(|digest| json!({ "digest": digest })).collect()
}

#[tokio::test]
async fn messages_are_acted_on_by_name_and_the_audit_tells() {
    let (redis, daemon) = with_letters(4).await;
    let asker = Asker::of(&daemon).await;
    let acts = "/queues/alerter/acts";
    let (status, outcome) = asker
        .post(
            acts,
            &json!({"action": "replay", "messages": named(&[1, 9])}),
        )
        .await;
    assert_eq!(
        (status, &outcome["moved"], &outcome["wanted"]),
        (200, &json!(1), &json!(2))
    );
    assert_eq!(outcome["missing"], json!([digest(letter(9).as_bytes())]));
    asker
        .post(acts, &json!({"action": "bury", "messages": named(&[2])}))
        .await;
    asker
        .post(acts, &json!({"action": "purge", "messages": named(&[3])}))
        .await;
    assert_eq!(redis.len(SOURCE).await, 1);
    assert_eq!((redis.len(TARGET).await, redis.len(DEAD).await), (1, 1));
    let (status, _) = asker
        .post(acts, &json!({"action": "restore", "messages": named(&[0])}))
        .await;
    assert_eq!(status, 409);
    let (_, page) = asker.get("/audit?kind=act").await;
    let acts: Vec<&Value> = page["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .collect();
    assert!(acts.len() >= 3, "{page}");
    daemon
        .until_logged("act=\"purge\" on=\"alerter\" outcome=\"moved 1 of 1")
        .await;
}

#[tokio::test]
async fn a_message_is_edited_and_its_old_bytes_are_kept() {
    let (redis, daemon) = with_letters(2).await;
    let asker = Asker::of(&daemon).await;
    let old = digest(letter(1).as_bytes());
    let path = format!("/queues/alerter/messages/{old}/edit");
    assert_eq!(
        asker.post(&path, &json!({"body": "no object"})).await.0,
        422
    );
    let new = r#"{"hostname":"sw9","timestamp":1700000000,"message":"mended"}"#;
    let (status, outcome) = asker.post(&path, &json!({"body": new})).await;
    assert_eq!(
        (status, &outcome["moved"]),
        (200, &json!(true)),
        "{outcome}"
    );
    assert_eq!(redis.len(TARGET).await, 1);
    let original = outcome["original"].as_str().expect("an id");
    let (_, kept) = asker
        .get(&format!("/queues/alerter/originals/{original}"))
        .await;
    assert_eq!(
        (&kept["body"], &kept["digest"]),
        (&json!(letter(1)), &json!(old))
    );
    assert_eq!(
        asker.post(&path, &json!({"body": new})).await.0,
        404,
        "it has gone"
    );
}

#[tokio::test]
async fn a_plan_is_run_once_and_a_forged_token_never() {
    let (redis, daemon) = with_letters(30).await;
    let asker = Asker::of(&daemon).await;
    let request = json!({"action": "replay", "filter": {"host": "sw1"}});
    let (status, plan) = asker.post("/queues/alerter/plans", &request).await;
    assert_eq!((status, &plan["would_move"]), (201, &json!(10)));
    let token = plan["token"].as_str().expect("a token");
    let forged = format!("{}0000", &token[..token.len() - 4]);
    for bad in [forged.as_str(), "alerter.x", "", "x.y", &"0".repeat(32)] {
        let (status, problem) = asker.post("/runs", &json!({"token": bad})).await;
        assert_eq!(status, 404, "{problem}");
        assert!(
            bad.is_empty() || !problem.to_string().contains(bad),
            "{problem}"
        );
    }
    let (status, _) = asker
        .post("/runs", &json!({"token": token, "rate": 0}))
        .await;
    assert_eq!(status, 422);
    let (status, run) = asker.post("/runs", &json!({ "token": token })).await;
    assert_eq!(status, 202, "{run}");
    let page = format!("/runs/{}", run["run"].as_str().expect("an id"));
    until("the run is done", || async {
        asker.get(&page).await.1["state"] == "done"
    })
    .await;
    let (_, run) = asker.get(&page).await;
    assert_eq!((&run["moved"], &run["wanted"]), (&json!(10), &json!(10)));
    assert_eq!((redis.len(TARGET).await, redis.len(SOURCE).await), (10, 20));
    let (status, _) = asker.post("/runs", &json!({ "token": token })).await;
    assert!(
        matches!(status, 404 | 409),
        "a token starts one run, and no second: {status}"
    );
    assert_eq!(asker.get("/runs").await.1[0]["run"], run["run"]);
    assert_eq!(
        asker.post(&format!("{page}/cancel"), &json!({})).await.0,
        409
    );
    assert!(!daemon.log().contains(token), "{}", daemon.log());
    let refused = "act=\"start\" on=\"alerter\" outcome=\"refused";
    assert!(daemon.log().contains(refused), "{}", daemon.log());
}

#[tokio::test]
async fn a_plan_that_is_not_what_it_is_believed_to_be_is_not_run() {
    let (redis, daemon) = with_letters(30).await;
    let asker = Asker::of(&daemon).await;
    let request = json!({"action": "purge", "filter": {"host": "sw1"}});
    let (_, plan) = asker.post("/queues/alerter/plans", &request).await;
    let token = &plan["token"];
    for wrong in [
        json!({"token": token, "action": "replay"}),
        json!({"token": token, "action": "replay", "would_move": 10}),
        json!({"token": token, "action": "purge", "would_move": 11}),
        json!({"token": token, "would_move": 0}),
    ] {
        let (status, problem) = asker.post("/runs", &wrong).await;
        assert_eq!(status, 409, "{problem}");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("to purge 10 messages"), "{detail}");
    }
    assert_eq!(asker.get("/runs").await.1, json!([]));
    let (status, _) = asker
        .post("/runs", &json!({"token": token, "action": "explode"}))
        .await;
    assert_eq!(status, 422);
    let right = json!({"token": token, "action": "purge", "would_move": 10});
    assert_eq!(asker.post("/runs", &right).await.0, 202, "it is still good");
    until("the run is done", || async {
        redis.len(SOURCE).await == 20
    })
    .await;
}

#[tokio::test]
async fn a_name_that_cannot_be_used_or_means_several_moves_nothing() {
    // Found by trying: their digests begin alike.
    let twins = [letter(8_170), letter(76_661)];
    let (redis, daemon) = with_letters(4).await;
    redis.dead_letter(&twins).await;
    let asker = Asker::of(&daemon).await;
    let digests = twins.map(|twin| digest(twin.as_bytes()));
    let begin = "2a9b5d0a";
    assert!(digests.iter().all(|digest| digest.starts_with(begin)));
    let acts = "/queues/alerter/acts";
    for (bad, status, says) in [
        ("x", 422, "8 to 40 hexadecimal digits"),
        ("2a9b5d0", 422, "8 to 40 hexadecimal digits"),
        (
            begin,
            409,
            "2 messages have digests that begin with 2a9b5d0a",
        ),
        ("2A9B5D0A", 409, "2 messages"),
    ] {
        for first in 0..4 {
            let mut messages = named(&[first]);
            messages.push(json!({"digest": bad}));
            let body = json!({"action": "purge", "messages": messages});
            let (found, problem) = asker.post(acts, &body).await;
            assert_eq!(found, status, "{problem}");
            assert!(problem["detail"].to_string().contains(says), "{problem}");
        }
    }
    let message = format!("/queues/alerter/messages/{begin}");
    assert_eq!(asker.get(&message).await.0, 409);
    let edit = json!({"body": letter(1)});
    assert_eq!(asker.post(&format!("{message}/edit"), &edit).await.0, 409);
    assert_eq!(redis.len(SOURCE).await, 6, "whatever came before it");

    // One digit more is enough, and two names of one message mean two copies of it.
    let one = &digests[1][..9];
    let messages = [json!({"digest": one}), json!({"digest": digests[1]})];
    let body = json!({"action": "purge", "messages": messages});
    let (_, outcome) = asker.post(acts, &body).await;
    assert_eq!(
        (&outcome["moved"], &outcome["missing"]),
        (&json!(1), &json!([digests[1]])),
        "{outcome}"
    );
    assert_eq!(asker.get(&message).await.1["digest"], digests[0].as_str());
}

#[tokio::test]
async fn nothing_is_done_to_a_message_while_another_may_be_meant() {
    let (redis, daemon) = with_letters(100_001).await;
    let asker = Asker::of(&daemon).await;
    let whole = digest(letter(0).as_bytes());
    let acts = "/queues/alerter/acts";
    let ask = async |message: Value| {
        let body = json!({"action": "bury", "messages": [message]});
        asker.post(acts, &body).await
    };
    let (status, problem) = ask(json!({"digest": &whole[..12]})).await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].to_string().contains("all 40 digits"));
    assert_eq!(redis.len(DEAD).await, 0);
    let (_, outcome) = ask(json!({"digest": &whole[..12], "at": 0})).await;
    assert_eq!(outcome["moved"], 1, "{outcome}");
    let (_, outcome) = ask(json!({"digest": digest(letter(1).as_bytes())})).await;
    assert_eq!(outcome["moved"], 1, "{outcome}");
    let (_, outcome) = ask(json!({"digest": digest(letter(2).as_bytes())[..12]})).await;
    assert_eq!(outcome["moved"], 1, "now all of it is looked at: {outcome}");
}

#[tokio::test]
async fn an_act_is_done_to_its_end_and_told_though_its_client_goes_away() {
    let (redis, daemon) = with_letters(3).await;
    let asker = Asker::of(&daemon).await;
    assert_eq!(asker.get("/queues").await.0, 200);
    // What writes waits from here on, and so does the act in its middle.
    redis
        .command::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"])
        .await;
    let body = json!({"action": "bury", "messages": named(&[1])}).to_string();
    let request = format!(
        "POST /api/v1/queues/alerter/acts HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut line = TcpStream::connect(asker.address).await.expect("connected");
    line.write_all(request.as_bytes()).await.expect("sent");
    until("its script waits", || async {
        let clients: String = redis.command(&["CLIENT", "LIST"]).await;
        let waits = |client: &str| client.contains(" flags=b ") && client.contains("cmd=eval");
        clients.lines().any(waits)
    })
    .await;
    line.shutdown().await.expect("it goes");
    let mut answer = vec![];
    // That the other side closes as well shows that it has noticed.
    let _ = line.read_to_end(&mut answer).await;
    assert_eq!(answer, b"", "nobody is there for an answer");
    redis.command::<()>(&["CLIENT", "UNPAUSE"]).await;
    daemon
        .until_logged("act=\"bury\" on=\"alerter\" outcome=\"moved 1 of 1")
        .await;
    assert_eq!((redis.len(DEAD).await, redis.len(SOURCE).await), (1, 2));
    let (_, page) = asker.get("/audit?kind=act").await;
    assert_eq!(page["entries"][0]["fields"]["act"], "bury", "{page}");
}

#[tokio::test]
async fn a_source_is_paused_with_a_reason_and_resumed() {
    let (_redis, daemon) = with_letters(0).await;
    let asker = Asker::of(&daemon).await;
    let pause = "/queues/alerter/pause";
    for bad in [
        json!({}),
        json!({"reason": ""}),
        json!({"reason": "a\nb"}),
        json!({"reason": "x", "seconds": 0}),
    ] {
        assert_eq!(asker.put(pause, &bad).await.0, 422, "{bad}");
    }
    let (_, view) = asker
        .put(pause, &json!({"reason": "works", "seconds": 60}))
        .await;
    assert_eq!(view["paused"]["reason"], "works");
    assert_eq!(
        asker
            .put("/queues/dead/pause", &json!({"reason": "x"}))
            .await
            .0,
        409
    );
    let (_, view) = asker.delete(pause).await;
    assert_eq!(view["paused"], Value::Null);
    assert_eq!(asker.delete(pause).await.0, 409);
}

#[tokio::test]
async fn a_setting_is_checked_changed_and_taken_back() {
    let (redis, daemon) = with_letters(0).await;
    let asker = Asker::of(&daemon).await;
    let key = "/settings/remediation_batch_size";
    assert_eq!(asker.put(key, &json!({"value": "0"})).await.0, 422);
    let (status, view) = asker
        .put(key, &json!({"value": "20", "seconds": 600}))
        .await;
    assert_eq!(
        (status, &view["value"], &view["valid"]),
        (200, &json!("20"), &json!(true))
    );
    let kept: String = redis
        .command(&["GET", "mutt:config:remediation_batch_size"])
        .await;
    assert_eq!(kept, "20");
    let (_, all) = asker.get("/settings").await;
    assert!(all.as_array().expect("settings").len() > 5, "{all}");
    let (_, view) = asker.delete(key).await;
    assert_eq!(view["value"], Value::Null);
    assert_eq!(
        asker.put("/settings/none", &json!({"value": "1"})).await.0,
        404
    );
    assert_eq!(
        asker
            .put("/settings/..%2fx", &json!({"value": "1"}))
            .await
            .0,
        404
    );
}
