//! What others have written into messages, and what other sites send.

use std::net::Ipv4Addr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{KEY, KEYED, QUEUE, Scene, letters};
use crate::support::{Browser, DEAD, Redis, SOURCE, TARGET};

/// Texts that become an element or a script wherever they are not taken as text.
const EVIL: [&str; 4] = [
    "</code></td></bdi><img src=x onerror=window.evil=1><script>window.evil=1</script>",
    "\" onmouseover=window.evil=1 autofocus onfocus=window.evil=1 x=\"",
    "</textarea></pre></title><svg onload=window.evil=1>{{7*7}}",
    "javascript:window.evil=1",
];

/// A letter of whose members, names and values, each is one of them.
fn letter(evil: &str, number: usize) -> String {
    let mut members = json!({
        "hostname": evil, "message": evil, "timestamp": 1_700_000_000, "severity": evil,
        "_correlation_id": evil, "_retry_count": 1, "_remediation_reason": evil,
        "_shedding_reason": evil, "_remediation_by": evil, "number": number,
        "deep": {"deeper": [evil, {"deepest": evil}]},
    });
    members[evil] = evil.into();
    members.to_string()
}

/// Whether anything of it has become more than text on the page that is shown.
async fn harmless(browser: &Browser, page: &str) {
    browser.until("document.readyState === 'complete'").await;
    let found = "const odd = [...document.querySelectorAll('img, iframe, object, embed, base, form [onfocus]')];\
        const own = [...document.scripts].filter((one) => !one.src.startsWith(location.origin + '/console/assets/'));\
        const on = [...document.querySelectorAll('*')].filter((one) =>\
            [...one.attributes].some((attribute) => attribute.name.startsWith('on')));\
        const links = [...document.querySelectorAll('a[href], form[action]')]\
            .map((one) => [one, new URL(one.getAttribute(one.localName === 'a' ? 'href' : 'action'), location)])\
            .filter(([, url]) => !url.href.startsWith(location.origin + '/console/')).map(([one]) => one);\
        const svg = [...document.querySelectorAll('svg')];\
        return [...odd, ...own, ...on, ...links, ...svg].map((one) => one.outerHTML).concat(window.evil ? ['ran'] : [])";
    let found = browser.run(found, &[]).await;
    assert_eq!(found, json!([]), "{page}");
    assert_eq!(browser.complaints().await, [""; 0], "{page}");
}

/// Each letter, its editor and its difference.
async fn each_letter(scene: &Scene, browser: &Browser, count: usize) {
    let messages =
        "return [...document.querySelectorAll('#messages tbody a')].map((one) => one.href)";
    let messages = browser.run(messages, &[]).await;
    let messages = messages.as_array().expect("addresses").clone();
    assert_eq!(messages.len(), count);
    for message in messages {
        let message = message.as_str().expect("an address");
        browser.open(message).await;
        harmless(browser, message).await;
    }
    browser.open(&scene.at(QUEUE)).await;
    browser.click("#messages tbody a").await;
    browser.press("Edit and replay").await;
    browser.until("document.querySelector('#body')").await;
    harmless(browser, "edit").await;
    browser
        .fill("#body", &letter(EVIL[2], 99).replace("99", "{"))
        .await;
    browser.press("Show the difference").await;
    browser.until_text("#wrong", "Nothing was sent").await;
    harmless(browser, "refused").await;
    browser.fill("#body", &letter(EVIL[2], 99)).await;
    browser.press("Show the difference").await;
    browser.until_text(".diff", "onload").await;
    harmless(browser, "difference").await;
    browser.press("Replay it like this").await;
    browser.until_text(".flash", "old bytes").await;
    harmless(browser, "replayed").await;
    browser.press("the old bytes").await;
    browser.until_text("h1", "replaced").await;
    harmless(browser, "original").await;
}

/// A filter, a plan, a run, a review: what was typed comes back in each.
async fn each_address(scene: &Scene, browser: &Browser) {
    let [evil, _, other, _] =
        EVIL.map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string());
    for page in [
        format!("{QUEUE}?host={evil}"),
        format!("{QUEUE}?reason={evil}"),
        format!("{QUEUE}?min_age={evil}"),
        format!("{QUEUE}?cursor={evil}"),
        format!("{QUEUE}?{evil}={evil}"),
        format!("{QUEUE}?field={evil}%3D{evil}&contains={evil}~{evil}&text=onerror"),
        format!("{QUEUE}/review?action=replay&m={evil}"),
        format!("{QUEUE}/plan?action={evil}"),
        format!("{QUEUE}/plan?action=bury&host={evil}"),
        format!("/console/queues/{evil}"),
        format!("{QUEUE}/messages/{evil}"),
        format!("{QUEUE}/originals/{evil}"),
        format!("/console/runs/{evil}"),
        format!("/console/audit?who={evil}&digest={evil}&correlation_id={evil}&kind={evil}"),
        format!("/console/sign-in?to={evil}"),
        format!("/console/{evil}"),
        "/console/dead".to_owned(),
        "/console/queues/dead".to_owned(),
        "/console/settings".to_owned(),
    ] {
        browser.open(&scene.at(&page)).await;
        harmless(browser, &page).await;
    }
    browser
        .open(&scene.at(&format!(
            "{QUEUE}/plan?action=replay&host={other}&force=true"
        )))
        .await;
    harmless(browser, "plan").await;
    browser.press("Replay 1 message").await;
    browser.until_text("#run", "done").await;
    harmless(browser, "run").await;
    for page in ["/console/audit", "/console/runs", "/console/"] {
        browser.open(&scene.at(page)).await;
        browser.until_text("main", "onerror").await;
        harmless(browser, page).await;
    }
    browser.open(&scene.at("/console/settings")).await;
    browser
        .fill("#max_poison_retries [name=value]", EVIL[1])
        .await;
    browser.click("#max_poison_retries button[value=set]").await;
    browser.until_text(".alert", "cannot be used").await;
    harmless(browser, "settings").await;
}

#[tokio::test]
async fn nothing_that_others_wrote_becomes_more_than_text() {
    let mut bodies: Vec<String> = vec![];
    for (number, evil) in EVIL.iter().enumerate() {
        bodies.push(letter(evil, number));
        bodies.push((*evil).to_owned());
        bodies.push(format!("[{}]", json!(evil)));
    }
    let redis = Redis::start();
    // One that came with a reason of its own, and a setting that cannot be used.
    redis.push(DEAD, &bodies).await;
    let key = "mutt:config:max_poison_retries";
    redis.command::<()>(&["SET", key, EVIL[0]]).await;
    let scene = Scene::of(redis, &bodies, &KEYED).await;
    let browser = Browser::start().await;
    browser.open(&scene.at("/console/")).await;
    browser.fill("#key", KEY).await;
    browser
        .fill("#user", "<img src=x onerror=window.evil=1>")
        .await;
    browser.press("Sign in").await;
    browser.until_text("header.top", "<img src=x onerror").await;
    harmless(&browser, "overview").await;

    // A pause, with an evil reason.
    browser.open(&scene.at(QUEUE)).await;
    browser.press("Pause the drain").await;
    browser.fill("#p-reason", EVIL[0]).await;
    browser.press("Pause").await;
    browser.until_text("#head", "<img src=x").await;
    harmless(&browser, "paused").await;
    browser.press("What is in it").await;
    browser.until_text(".loads", "messages").await;
    harmless(&browser, "counts").await;

    each_letter(&scene, &browser, bodies.len()).await;
    each_address(&scene, &browser).await;

    // The judge is not blind: what does become a script is seen, and does not run.
    let script = "document.body.append(Object.assign(document.createElement('script'), {textContent: 'evil = 1'}))";
    browser.run(script, &[]).await;
    assert_eq!(
        browser.run("return window.evil === undefined", &[]).await,
        true
    );
    assert!(browser.complaints().await[0].contains("Content Security Policy"));
}

/// Serves this page on a port of its own, as another site does.
async fn elsewhere(page: String) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut lines = JoinSet::new();
        while let Ok((mut line, _)) = listener.accept().await {
            let page = page.clone();
            // A browser opens lines before it has anything to ask for.
            lines.spawn(async move {
                let _ = line.read(&mut [0; 4096]).await;
                let length = page.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\
                     content-length: {length}\r\n\r\n{page}"
                );
                let _ = line.write_all(answer.as_bytes()).await;
            });
        }
    });
    (port, task)
}

#[tokio::test]
async fn a_form_that_another_site_sends_with_the_operators_cookie_moves_nothing() {
    let scene = Scene::with(&letters(2)).await;
    let browser = scene.browser(KEY, "/console/settings").await;
    // Even with the token, as if it had leaked.
    let token = browser
        .run("return document.querySelector('[name=token]').value", &[])
        .await;
    let token = token.as_str().expect("a token");
    let inner = format!(
        "<input name=token value='{token}'><input name=reason value=x><input name=key value=max_poison_retries>\
         <input name=value value=9><input name=do value=set><input name=action value=bury>"
    );
    for path in [
        "/console/queues/alerter/pause",
        "/console/queues/alerter/acts",
        "/console/settings",
        "/console/sign-out",
        "/console/sign-in",
    ] {
        let page = format!(
            "<form method=post action='{}'>{inner}</form><script>document.forms[0].submit()</script>",
            scene.at(path)
        );
        let (port, _task) = elsewhere(page).await;
        // Another port is another origin of the same site, and another name another site.
        for host in ["127.0.0.1", "localhost"] {
            browser.open(&format!("http://{host}:{port}/")).await;
            // From another site no cookie comes along.
            browser
                .until("/^Not (allowed|signed in)$/.test(document.querySelector('h1')?.innerText)")
                .await;
        }
    }
    // Nor can it be framed, read, or made to plan.
    let plan = scene.at(&format!("{QUEUE}/plan?action=replay"));
    let page = format!(
        "<iframe src='{}'></iframe><a href='{plan}'>go</a>",
        scene.at("/console/")
    );
    let (port, _task) = elsewhere(page).await;
    browser.open(&format!("http://127.0.0.1:{port}/")).await;
    let read = format!(
        "const done = arguments[0];\
         fetch({}, {{credentials: 'include'}}).then((answer) => answer.text()).then(done, () => done('no'))",
        json!(scene.at("/console/"))
    );
    assert_eq!(browser.run_later(&read).await, "no");
    let framed = "try { return frames[0].document.body.innerText } catch { return 'no' }";
    assert_eq!(browser.run(framed, &[]).await, "no");
    browser.click("a").await;
    browser.until_text("h1", "Not allowed").await;

    // The session is as it was, and nothing has happened to anything.
    browser.open(&scene.at("/console/audit?kind=act")).await;
    browser.until_text("header.top", "operator:ann").await;
    assert!(
        browser
            .text("main")
            .await
            .contains("The audit tells of nothing")
    );
    assert_eq!(
        [scene.redis.len(SOURCE).await, scene.redis.len(TARGET).await],
        [2, 0]
    );
    let log = scene.daemon.log();
    assert!(!log.contains("an operator acted"), "{log}");
}
