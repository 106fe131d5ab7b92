//! What an open page does when something goes away, or when it is not the only one.

use mutt_remediation::demo::server::free_port;
use serde_json::json;

use super::{KEY, KEYED, QUEUE, Scene, letter, letters};
use crate::support::{Browser, Daemon, Redis, SOURCE, TARGET};

#[tokio::test]
async fn when_redis_goes_away_an_open_page_says_so_and_recovers_by_itself() {
    let redis = Redis::with(&["--appendonly", "yes"]);
    let mut scene = Scene::of(redis, &letters(2), &KEYED).await;
    let browser = scene.browser(KEY, "/console/").await;
    browser.until_text("#health", "answers").await;
    browser.run("window.still = true", &[]).await;
    let (overview, queue) = browser.new_tab().await;
    browser.open(&scene.at(QUEUE)).await;
    browser.run("window.still = true", &[]).await;

    scene.redis.kill();
    browser.until_text("#head", "Redis cannot be asked").await;
    browser.go_to_tab(&overview).await;
    browser.until_text("#health", "cannot be reached").await;
    // A page that is opened now says so too, and what to do.
    browser.new_tab().await;
    browser.open(&scene.at(QUEUE)).await;
    browser.until_text("h1", "Redis cannot be asked").await;
    assert!(browser.text("main").await.contains("Nothing is lost"));

    scene.redis.up();
    browser.go_to_tab(&overview).await;
    browser
        .until("window.still && document.querySelector('#health').innerText.includes('answers')")
        .await;
    browser.go_to_tab(&queue).await;
    browser
        .until("window.still && document.querySelector('#head .big')?.innerText === '2'")
        .await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn when_the_daemon_goes_away_an_open_page_says_so_and_recovers_by_itself() {
    let port = free_port().expect("a free port").to_string();
    let mut variables = KEYED.to_vec();
    variables.push(("API_PORT_REMEDIATION", &port));
    let mut scene = Scene::of(Redis::start(), &letters(2), &variables).await;
    let browser = scene.browser(KEY, QUEUE).await;
    browser.until_text("#head .big", "2").await;
    browser.run("window.still = true", &[]).await;

    scene.daemon.signal("-KILL");
    scene.daemon.ended().await;
    browser
        .until("!document.querySelector('#lost').hidden")
        .await;
    assert!(browser.text("#lost").await.contains("is lost"));
    // What it shows is of then, and stays.
    assert_eq!(browser.text("#head .big").await, "2");

    scene.redis.dead_letter(&[letter(2)]).await;
    scene.daemon = Daemon::start(&scene.redis, &variables);
    browser
        .until("document.querySelector('#lost').hidden")
        .await;
    browser
        .until("window.still && document.querySelector('#head .big').innerText === '3'")
        .await;
    // The session has outlived it.
    browser.press("Plan to replay").await;
    browser.until_text("h1", "Plan").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn of_two_tabs_with_the_same_plan_one_runs_it_and_the_other_is_told() {
    let scene = Scene::with(&letters(3)).await;
    let browser = scene.browser(KEY, QUEUE).await;
    let (first, second) = browser.new_tab().await;
    browser.open(&scene.at(QUEUE)).await;
    // Both follow what changes.
    scene.redis.dead_letter(&[letter(3)]).await;
    for tab in [&first, &second] {
        browser.go_to_tab(tab).await;
        browser.until_text("#head .big", "4").await;
    }

    browser.press("Plan to replay").await;
    browser.until_text("h1", "Plan").await;
    // The same plan in both, as a tab that was duplicated has it.
    let form =
        "return new URLSearchParams(new FormData(document.querySelector('form.go'))).toString()";
    let form = browser.run(form, &[]).await;
    browser.go_to_tab(&first).await;
    browser.press("Plan to replay").await;
    browser.until_text("h1", "Plan").await;
    let put = "for (const [name, value] of new URLSearchParams(arguments[0]))\
        document.querySelector(`form.go [name=${name}]`).value = value";
    browser.run(put, &[form]).await;
    browser.press("Replay 4 messages").await;
    browser.until_text("#run", "done").await;
    assert_eq!(
        [scene.redis.len(SOURCE).await, scene.redis.len(TARGET).await],
        [0, 4]
    );

    scene.redis.dead_letter(&[letter(4)]).await;
    browser.go_to_tab(&second).await;
    browser.press("Replay 4 messages").await;
    browser.until_text("h1", "This plan cannot be run").await;
    assert!(
        browser
            .text("main")
            .await
            .contains("run already, or expired")
    );
    assert_eq!(
        [scene.redis.len(SOURCE).await, scene.redis.len(TARGET).await],
        [1, 4]
    );
    assert_eq!(browser.complaints().await, [""; 0]);
}

/// Keeps all streams that pages open where a test can look at them.
async fn keep_streams(browser: &Browser) {
    let source = "window.streams = [];\
        window.EventSource = class extends EventSource {\
            constructor(...all) { super(...all); window.streams.push(this); }\
        };";
    let name = "Page.addScriptToEvaluateOnNewDocument";
    browser.command(name, &json!({ "source": source })).await;
}

#[tokio::test]
async fn a_page_out_of_sight_closes_its_stream_and_is_up_to_date_when_it_is_seen_again() {
    let scene = Scene::with(&letters(1)).await;
    let browser = scene.browser(KEY, "/console/runs").await;
    keep_streams(&browser).await;
    browser.open(&scene.at(QUEUE)).await;
    browser
        .until("streams.length === 1 && streams[0].readyState === EventSource.OPEN")
        .await;
    browser.minimise().await;
    browser
        .until("document.hidden && streams.every((one) => one.readyState === EventSource.CLOSED)")
        .await;
    scene.redis.dead_letter(&[letter(1)]).await;
    browser.restore().await;
    browser
        .until("streams.some((one) => one.readyState === EventSource.OPEN)")
        .await;
    browser.until_text("#head .big", "2").await;
    let open = browser.run(
        "return streams.filter((one) => one.readyState !== EventSource.CLOSED).length",
        &[],
    );
    assert_eq!(open.await, 1);
    assert_eq!(browser.complaints().await, [""; 0]);
}
