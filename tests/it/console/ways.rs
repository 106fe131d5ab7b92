//! Ways around: back, without a script, without a mouse, and never to anywhere else.

use serde_json::json;

use super::{KEY, QUEUE, Scene, letters};
use crate::support::browser::{ENTER, TAB};
use crate::support::{Browser, SOURCE, TARGET};

/// Pages that need nothing but a source with a letter.
const PAGES: [&str; 9] = [
    "/console/",
    "/console/slo",
    QUEUE,
    "/console/queues/dead",
    "/console/queues/alerter/counts",
    "/console/dead",
    "/console/runs",
    "/console/audit",
    "/console/settings",
];

#[tokio::test]
async fn the_back_button_leads_to_the_same_page_of_the_same_filter_and_acts_nothing_again() {
    let scene = Scene::with(&letters(90)).await;
    let browser = scene.browser(KEY, QUEUE).await;
    browser.fill("#f-host", "sw1").await;
    browser.choose("#f-limit", "25").await;
    browser.press("Filter").await;
    browser
        .until("document.querySelectorAll('#messages tbody tr').length === 25")
        .await;
    browser.press("Next page").await;
    browser
        .until("document.querySelectorAll('#messages tbody tr').length === 5")
        .await;
    let (second, shown) = (browser.url().await, browser.text("#messages").await);
    browser.click("#messages tbody tr a").await;
    browser.until_text("h1", "Message").await;
    browser.back().await;
    browser
        .until("document.querySelectorAll('#messages tbody tr').length === 5")
        .await;
    assert_eq!(browser.url().await, second);
    let names = |text: &str| text.matches("\"m").count() + text.matches(" m").count();
    assert_eq!(names(&browser.text("#messages").await), names(&shown));
    let filter = "return document.querySelector('#f-host').value";
    assert_eq!(browser.run(filter, &[]).await, "sw1");

    // After a run, back is the plan, which counts anew and has moved nothing by that.
    browser.press("Plan to replay").await;
    browser.press("Replay 30 messages").await;
    browser.until_text("#run", "done").await;
    browser.back().await;
    browser.until_text("h1", "Plan").await;
    browser.until_text("main", "There is nothing to move").await;
    browser.back().await;
    browser.until_text("main", "othing").await;
    assert_eq!(
        [scene.redis.len(SOURCE).await, scene.redis.len(TARGET).await],
        [60, 30]
    );
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn filtering_planning_and_running_work_without_a_script() {
    let scene = Scene::with(&letters(6)).await;
    let browser = Browser::without_scripts().await;
    scene.sign_in(&browser, KEY, QUEUE).await;
    assert_eq!(
        browser.count(".themes:not([hidden])").await,
        0,
        "no script has run"
    );
    browser.fill("#f-host", "sw2").await;
    browser.press("Filter").await;
    browser
        .until("document.querySelectorAll('#messages tbody tr').length === 2")
        .await;
    browser.press("Plan to bury").await;
    browser.press("Bury 2 messages").await;
    browser.until_text("h1", "Bury from alerter").await;
    // A page stays as it was loaded.
    for _ in 0..100 {
        if browser.text("#run").await.contains("done") {
            break;
        }
        browser.reload().await;
    }
    browser.until_text("#run", "done").await;
    assert_eq!(scene.redis.len(SOURCE).await, 4);
    for page in PAGES {
        browser.open(&scene.at(page)).await;
        assert!(browser.text("h1").await.len() > 3, "{page}");
    }
}

/// Where the focus is, in words.
const FOCUS: &str = "const one = document.activeElement;\
    return one.getAttribute('aria-label') || one.labels?.[0]?.innerText || one.innerText || one.tagName";

/// Goes on with the tabulator until the focus is on something that is called so.
async fn tab_to(browser: &Browser, name: &str) {
    let mut met = vec![];
    for _ in 0..60 {
        browser.keys(TAB).await;
        let focus = browser.run(FOCUS, &[]).await;
        let focus = focus.as_str().unwrap_or_default().to_owned();
        if focus.trim().starts_with(name) {
            let seen = "const one = document.activeElement;\
                const style = getComputedStyle(one);\
                const box = one.getBoundingClientRect();\
                const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);\
                return [style.outlineStyle !== 'none', one.contains(top) || top?.contains(one)]";
            let seen = browser.run(seen, &[]).await;
            assert_eq!(
                seen,
                json!([true, true]),
                "{name}: a ring, and nothing in front"
            );
            return;
        }
        met.push(focus);
    }
    panic!("no way leads to {name}, only to {met:?}");
}

#[tokio::test]
async fn everything_can_be_done_from_the_keyboard() {
    let scene = Scene::with(&letters(6)).await;
    let browser = scene.browser(KEY, "/console/").await;
    tab_to(&browser, "Skip to the content").await;
    browser.keys(ENTER).await;
    tab_to(&browser, "alerter").await;
    browser.keys(ENTER).await;
    browser.until_text("h1", "alerter").await;
    browser.until("document.readyState === 'complete'").await;
    tab_to(&browser, "Host").await;
    browser.keys("sw1").await;
    browser.keys(ENTER).await;
    browser
        .until("document.querySelectorAll('#messages tbody tr').length === 2")
        .await;
    tab_to(&browser, "Tick all").await;
    tab_to(&browser, "Tick ").await;
    browser.keys(" ").await;
    browser.until_text("#ticked", "1").await;
    tab_to(&browser, "Tick ").await;
    browser.keys(" ").await;
    browser.until_text("#ticked", "2").await;
    tab_to(&browser, "Replay…").await;
    browser.keys(ENTER).await;
    browser.until_text("h1", "Replay from alerter").await;
    tab_to(&browser, "Replay 2 messages").await;
    browser.keys(ENTER).await;
    browser.until_text(".flash", "Replay").await;
    assert_eq!(
        [scene.redis.len(SOURCE).await, scene.redis.len(TARGET).await],
        [4, 2]
    );
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn no_page_asks_for_anything_elsewhere() {
    let scene = Scene::with(&letters(2)).await;
    let browser = Browser::noting_requests().await;
    scene.sign_in(&browser, KEY, QUEUE).await;
    browser.click("#messages tbody tr a").await;
    browser.press("Edit and replay").await;
    browser.until("document.querySelector('#body')").await;
    for page in PAGES {
        browser.open(&scene.at(page)).await;
        browser.until("document.readyState === 'complete'").await;
    }
    browser.open(&scene.at("/console/nowhere")).await;
    let asked = browser.requests().await;
    assert!(asked.len() > 20, "{asked:?}");
    for url in asked {
        assert!(url.starts_with(&scene.at("/console/")), "{url}");
    }
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn times_are_those_of_the_readers_zone_and_colours_those_that_he_has_chosen() {
    let scene = Scene::with(&letters(1)).await;
    let browser = Browser::start().await;
    let zone = json!({"timezoneId": "Pacific/Auckland"});
    browser
        .command("Emulation.setTimezoneOverride", &zone)
        .await;
    scene.sign_in(&browser, KEY, QUEUE).await;
    browser.press("Plan to replay").await;
    browser.press("Replay 1 message").await;
    browser.until_text("#run", "done").await;
    let time = "const one = document.querySelector('#run time[data-as=at]');\
        const there = new Date(one.dateTime).toLocaleTimeString('en-GB', {timeZone: 'Pacific/Auckland'});\
        return [one.innerText.includes(there), one.title === one.dateTime, one.dateTime.endsWith('Z')]";
    assert_eq!(browser.run(time, &[]).await, json!([true, true, true]));
    browser.press("Show them in UTC").await;
    let exact = "const one = document.querySelector('#run time[data-as=at]');\
        return one.innerText === one.dateTime";
    assert_eq!(browser.run(exact, &[]).await, true);

    let back = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.run(back, &[]).await;
    browser.click("[data-set-theme=dark]").await;
    let dark = browser.run(back, &[]).await;
    assert_ne!(dark, light);
    browser.open(&scene.at("/console/settings")).await;
    assert_eq!(browser.run(back, &[]).await, dark, "on every page");
    assert_eq!(browser.complaints().await, [""; 0]);
}
