//! What an operator does on a day when something has gone wrong.

use super::{KEY, QUEUE, Scene, letters};
use crate::support::{DEAD, SOURCE, TARGET, until};

#[tokio::test]
async fn a_plan_of_a_filter_is_shown_before_anything_moves_and_a_run_carries_it_out() {
    let scene = Scene::with(&letters(9)).await;
    let browser = scene.browser(KEY, QUEUE).await;
    assert_eq!(browser.count("#messages tbody tr").await, 9);
    browser.fill("#f-host", "sw1").await;
    browser.press("Filter").await;
    browser
        .until("document.querySelectorAll('#messages tbody tr').length === 3")
        .await;
    // An empty field makes no address longer.
    assert_eq!(
        browser.url().await,
        scene.at(&format!("{QUEUE}?host=sw1&limit=50"))
    );

    browser.press("Plan to replay").await;
    browser.until_text("h1", "Plan: replay from alerter").await;
    let plan = browser.text("main").await;
    for text in ["host sw1", TARGET, "m1", "m4", "m7"] {
        assert!(plan.contains(text), "{text}: {plan}");
    }
    assert_eq!(browser.text(".facts .big").await, "3");
    let [source, target] = [scene.redis.len(SOURCE).await, scene.redis.len(TARGET).await];
    assert_eq!((source, target), (9, 0), "a plan moves nothing");

    browser.press("Replay 3 messages").await;
    browser.until_text("#run", "done").await;
    assert_eq!(scene.redis.len(SOURCE).await, 6);
    let replayed = scene.redis.texts(TARGET).await;
    assert!(
        replayed.iter().all(|body| body.contains("\"sw1\"")),
        "{replayed:?}"
    );
    browser.open(&scene.at("/console/audit")).await;
    browser.until_text("table.audit", "operator:ann").await;
    assert!(browser.text("table.audit").await.contains("plan"));
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_run_is_watched_without_loading_the_page_again_and_is_cancelled() {
    let scene = Scene::with(&letters(3_000)).await;
    let browser = scene.browser(KEY, QUEUE).await;
    browser.press("Plan to bury").await;
    browser.fill("#r-rate", "20").await;
    browser.press("Bury 3,000 messages").await;
    browser.until_text("#run", "running").await;
    browser.run("window.still = true", &[]).await;
    let moved = "Number(document.querySelector('#run .facts .big').innerText.replace(',', ''))";
    browser.until(&format!("{moved} > 0")).await;
    let first = browser.run(&format!("return {moved}"), &[]).await;
    browser
        .until(&format!("{moved} > {first} && window.still"))
        .await;

    browser.press("Cancel the run").await;
    browser.until_text("#run", "cancelled").await;
    let moved = browser.text("#run .facts .big").await;
    assert_eq!(
        scene.redis.len(DEAD).await.to_string(),
        moved,
        "the rest stays"
    );
    // Nothing is left to cancel.
    browser
        .until("!document.querySelector('#cancel button')")
        .await;
    browser.open(&scene.at("/console/runs")).await;
    browser.until_text("main table", "cancelled").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn ticked_messages_are_reviewed_and_then_moved() {
    let scene = Scene::with(&letters(4)).await;
    let filtered = format!("{QUEUE}?text=m&limit=25");
    let browser = scene.browser(KEY, &filtered).await;
    browser.click("#messages tbody tr:nth-child(1) input").await;
    browser.click("#messages tbody tr:nth-child(3) input").await;
    browser.until_text("#ticked", "2").await;
    browser.press("Bury…").await;
    browser.until_text("h1", "Bury from alerter").await;
    assert_eq!(browser.count("table.messages tbody tr").await, 2);
    assert_eq!(scene.redis.len(SOURCE).await, 4, "a review moves nothing");
    browser.press("Bury 2 messages").await;
    browser.until_text(".flash", "Bury").await;
    let address = browser.url().await;
    assert!(
        address.ends_with(&filtered),
        "one is where one was: {address}"
    );
    let dead = scene.redis.texts(DEAD).await;
    let buried = |number: &str| dead.iter().any(|body| body.contains(number));
    assert!(
        dead.len() == 2 && buried("\"m0\"") && buried("\"m2\""),
        "{dead:?}"
    );

    // What cannot be undone takes a tick more.
    browser.open(&scene.at("/console/queues/dead")).await;
    browser.click("#tick-all").await;
    browser.press("Purge…").await;
    browser.press("Purge 2 messages").await;
    browser
        .until("document.querySelector('#a-sure:invalid')")
        .await;
    assert_eq!(scene.redis.len(DEAD).await, 2);
    browser.click("#a-sure").await;
    browser.press("Purge 2 messages").await;
    browser.until_text("main", "The queue is empty").await;
    assert_eq!(scene.redis.len(DEAD).await, 0);
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_source_is_paused_with_a_reason_and_resumed() {
    let scene = Scene::with(&letters(1)).await;
    let browser = scene.browser(KEY, QUEUE).await;
    browser.press("Pause the drain").await;
    browser.fill("#p-reason", "change window").await;
    browser.fill("#p-time", "soon").await;
    browser.press("Pause").await;
    browser.until_text("h1", "cannot be used").await;
    assert!(browser.text("main").await.contains("such as 10m"));
    browser.back().await;
    browser.press("Pause the drain").await;
    browser.fill("#p-reason", "change window").await;
    browser.fill("#p-time", "31d").await;
    browser.press("Pause").await;
    browser.until_text("main", "a time of 30d at most").await;
    browser.back().await;
    browser.press("Pause the drain").await;
    browser.fill("#p-reason", "change window").await;
    browser.fill("#p-time", "2h").await;
    browser.press("Pause").await;
    browser.until_text("#head", "Paused by operator:ann").await;
    assert!(browser.text("#head").await.contains("change window"));
    browser.press("Resume the drain").await;
    browser.until_text("summary", "Pause the drain").await;
    browser
        .until("!document.querySelector('#head').innerText.includes('Paused by')")
        .await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_setting_is_set_refused_beside_its_field_and_unset() {
    let scene = Scene::with(&letters(0)).await;
    let browser = scene.browser(KEY, "/console/settings").await;
    let field = "#max_poison_retries input[name=value]";
    browser.fill(field, "7").await;
    browser.click("#max_poison_retries button[value=set]").await;
    browser
        .until_text(".flash", "max_poison_retries is set to 7")
        .await;
    assert!(browser.text("#max_poison_retries").await.contains("Redis"));

    browser.fill(field, "many").await;
    browser.click("#max_poison_retries button[value=set]").await;
    browser
        .until_text("#max_poison_retries .alert", "cannot be used")
        .await;
    let script = "const field = document.querySelector(arguments[0]);\
        return [field.value, field.getAttribute('aria-invalid'),\
            document.getElementById(field.getAttribute('aria-describedby')).innerText]";
    let said = browser.run(script, &[field.into()]).await;
    assert_eq!(
        (&said[0], &said[1]),
        (&"many".into(), &"true".into()),
        "{said}"
    );
    assert!(
        said[2]
            .as_str()
            .is_some_and(|text| text.contains("expected")),
        "{said}"
    );
    assert!(
        browser
            .text("#max_poison_retries strong")
            .await
            .contains('7'),
        "what was good counts"
    );

    browser
        .click("#max_poison_retries button[value=unset]")
        .await;
    browser
        .until_text(".flash", "from the environment again")
        .await;
    until("it is gone", async || {
        let keys: Vec<String> = scene.redis.command(&["KEYS", "*max_poison_retries"]).await;
        keys.is_empty()
    })
    .await;
    assert_eq!(browser.complaints().await, [""; 0]);
}
