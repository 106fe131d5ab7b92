//! Edit and replay.

use super::{KEY, QUEUE, Scene, letters};
use crate::support::{SOURCE, TARGET};

#[tokio::test]
async fn a_message_is_edited_and_replayed_once_its_difference_was_shown() {
    let scene = Scene::with(&letters(2)).await;
    let browser = scene.browser(KEY, QUEUE).await;
    browser.click("#messages tbody tr a").await;
    browser.press("Edit and replay").await;
    browser
        .until("document.querySelector('textarea#body')")
        .await;

    browser.press("Show the difference").await;
    browser.until_text("#wrong", "nothing was changed").await;
    browser.fill("#body", "{\"hostname\": ").await;
    browser.press("Show the difference").await;
    browser
        .until("document.querySelector('#body').value === '{\"hostname\": '")
        .await;
    assert!(browser.text("#wrong").await.contains("Nothing was sent"));
    assert_eq!(
        browser
            .count("#body[aria-invalid=true][aria-describedby=wrong]")
            .await,
        1
    );

    let new = "{\"hostname\":\"sw9\",\"timestamp\":1700000000,\"message\":\"<b>mended</b>\"}";
    browser.fill("#body", new).await;
    browser.press("Show the difference").await;
    browser.until_text(".diff ins", "<b>mended</b>").await;
    assert!(browser.text(".diff").await.contains("\"m0\""));
    let [source, target] = [scene.redis.len(SOURCE).await, scene.redis.len(TARGET).await];
    assert_eq!((source, target), (2, 0), "a difference moves nothing");

    browser.press("Replay it like this").await;
    browser.until_text(".flash", "old bytes are kept").await;
    let replayed = scene.redis.texts(TARGET).await;
    assert_eq!(replayed.len(), 1);
    assert!(
        replayed[0].contains("<b>mended</b>") && replayed[0].contains("\"sw9\""),
        "{replayed:?}"
    );
    assert_eq!(scene.redis.len(SOURCE).await, 1);
    browser.press("the old bytes").await;
    browser.until_text("pre.body", "\"m0\"").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}
