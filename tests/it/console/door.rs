//! Who gets in, what a reader can do, and what every answer says to the browser.

use super::{Guest, KEY, KEYED, QUEUE, READ_KEY, Scene, letters};
use crate::support::{Browser, DEAD, Redis, SOURCE, TARGET};

/// Every address that acts, and a form that it would take.
const ACTS: [(&str, &[(&str, &str)]); 8] = [
    ("/console/queues/alerter/pause", &[("reason", "x")]),
    ("/console/queues/alerter/resume", &[]),
    (
        "/console/queues/alerter/acts",
        &[("action", "purge"), ("sure", "true"), ("m", DIGEST)],
    ),
    (MESSAGE, &[("step", "send"), ("body", "{}")]),
    (
        "/console/runs",
        &[("action", "replay"), ("plan", "x"), ("would_move", "1")],
    ),
    ("/console/runs/x/cancel", &[]),
    (
        "/console/settings",
        &[
            ("key", "remediation_enabled"),
            ("value", "true"),
            ("do", "set"),
        ],
    ),
    (
        "/console/settings",
        &[
            ("key", "remediation_enabled"),
            ("value", "true"),
            ("do", "unset"),
        ],
    ),
];
/// Of the first of `letters`.
const DIGEST: &str = "43dfdf1b1b687dfb3b612cb1936a1f90d3c12414";
const MESSAGE: &str =
    "/console/queues/alerter/messages/43dfdf1b1b687dfb3b612cb1936a1f90d3c12414/edit";
const LOOKS: [&str; 11] = [
    "/console/",
    QUEUE,
    "/console/queues/dead",
    "/console/queues/alerter/counts",
    "/console/dead",
    "/console/runs",
    "/console/audit",
    "/console/settings",
    "/console/history",
    "/console/slo",
    "/console/slo/history",
];

/// Whether a session has moved or changed nothing: the letters lie where they lay, nothing is
/// paused, set or told of.
async fn nothing_was_done(scene: &Scene, letters: usize) {
    let lists = [SOURCE, TARGET, DEAD];
    let mut lengths = vec![];
    for list in lists {
        lengths.push(scene.redis.len(list).await);
    }
    assert_eq!(lengths, [letters, 0, 0]);
    let log = scene.daemon.log();
    assert!(!log.contains("an operator acted"), "{log}");
}

#[tokio::test]
async fn an_operator_signs_in_and_out_and_the_audit_names_him() {
    let scene = Scene::with(&letters(1)).await;
    let browser = Browser::start().await;
    let there = scene.at(&format!("{QUEUE}?host=sw0&limit=50"));
    browser.open(&there).await;
    browser.fill("#key", "not-the-operators-key").await;
    browser.press("Sign in").await;
    browser.until_text(".alert", "This key is wrong").await;
    browser.fill("#key", KEY).await;
    browser.fill("#user", "ann").await;
    browser.press("Sign in").await;
    browser.until_text("header.top", "operator:ann").await;
    assert_eq!(browser.url().await, there, "the page that was asked for");

    browser.press("Pause the drain").await;
    browser.fill("#p-reason", "change window").await;
    browser.press("Pause").await;
    browser.until_text(".flash", "paused").await;
    browser
        .open(&scene.at("/console/audit?who=operator%3Aann"))
        .await;
    browser.until_text("table.audit tbody", "pause").await;
    let told = browser.text("table.audit tbody").await;
    assert!(
        told.contains("console 127.0.0.1") && told.contains("change window"),
        "{told}"
    );

    browser.press("Sign out").await;
    browser.until("document.querySelector('#key')").await;
    browser.open(&scene.at("/console/settings")).await;
    browser.until("document.querySelector('#key')").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn who_sends_too_many_wrong_keys_is_told_to_wait() {
    let scene = Scene::with(&letters(0)).await;
    let guest = scene.guest(KEY).await;
    for _ in 0..10 {
        let answer = guest.send("/console/sign-in", &[("key", "wrong")]).await;
        assert_eq!(answer.status(), 401);
    }
    let browser = Browser::start().await;
    browser.open(&scene.at("/console/")).await;
    browser.fill("#key", "wrong").await;
    browser.press("Sign in").await;
    browser.until_text(".alert", "Too many wrong keys").await;
    // Who has the key is not kept out by those who do not.
    browser.fill("#key", KEY).await;
    browser.press("Sign in").await;
    browser.until_text("header.top", "operator").await;
}

#[tokio::test]
async fn a_reader_sees_every_page_and_nothing_to_act_with() {
    let scene = Scene::with(&letters(3)).await;
    let browser = scene.browser(READ_KEY, QUEUE).await;
    browser.until_text("header.top", "looks only").await;
    let forms = "form[method=post]:not([action='/console/sign-out']), input[type=checkbox], #plan";
    browser.click("#messages tbody tr a").await;
    browser.until_text("h1", "Message").await;
    assert_eq!(browser.count(forms).await, 0);
    assert!(!browser.text("main").await.contains("Edit and replay"));
    for page in LOOKS {
        browser.open(&scene.at(page)).await;
        assert_eq!(browser.count(forms).await, 0, "{page}");
    }
    for page in [
        "plan?action=purge",
        "review?action=purge&m=43dfdf1b",
        "messages/43dfdf1b/edit",
    ] {
        browser.open(&scene.at(&format!("{QUEUE}/{page}"))).await;
        browser.until_text("h1", "Not allowed").await;
    }
    assert_eq!(browser.complaints().await, [""; 0]);

    // Nor with forms that no page has shown him, with whatever token.
    let operator = scene.guest(KEY).await;
    let reader = scene.guest(READ_KEY).await;
    for (path, form) in ACTS {
        for token in ["", &operator.token] {
            let form = [form, &[("token", token)]].concat();
            let answer = reader.send(path, &form).await;
            assert_eq!(answer.status(), 403, "{path}");
        }
    }
    nothing_was_done(&scene, 3).await;
}

#[tokio::test]
async fn a_form_without_the_token_of_its_session_moves_nothing() {
    let scene = Scene::with(&letters(1)).await;
    let guest = scene.guest(KEY).await;
    let other = scene.guest(KEY).await;
    assert_ne!(guest.token, other.token);
    let nobody = Guest {
        cookie: String::new(),
        ..scene.guest(KEY).await
    };
    for (path, form) in ACTS {
        for token in [None, Some(""), Some("x"), Some(&other.token)] {
            let token: Vec<_> = token.map(|token| ("token", token)).into_iter().collect();
            let answer = guest.send(path, &[form, &token].concat()).await;
            assert_eq!(answer.status(), 403, "{path} {token:?}");
        }
        let twice = [form, &[("token", &guest.token), ("token", &guest.token)]].concat();
        assert_eq!(guest.send(path, &twice).await.status(), 400, "{path}");
        // What a form of another kind or another method has brought along.
        let body = super::encoded(&[form, &[("token", &guest.token)]].concat());
        for kind in [
            "text/plain",
            "application/json",
            "multipart/form-data; boundary=x",
        ] {
            let request = guest.ask("POST", path).header("content-type", kind);
            let answer = request.body(body.clone()).send().await.expect("it answers");
            assert_eq!(answer.status(), 415, "{path} {kind}");
        }
        guest.get(&format!("{path}?{body}")).await;
        for method in ["PUT", "DELETE", "PATCH"] {
            let answer = guest.ask(method, path).body(body.clone()).send().await;
            let status = answer.expect("it answers").status();
            assert!(status.is_client_error(), "{method} {path} {status}");
        }
        // Without a session its token is nothing.
        let form = [form, &[("token", nobody.token.as_str())]].concat();
        assert_eq!(nobody.send(path, &form).await.status(), 401, "{path}");
    }
    nothing_was_done(&scene, 1).await;
    // It is the token that was missing.
    let form = [("reason", "x"), ("token", &guest.token)];
    let answer = guest.send("/console/queues/alerter/pause", &form).await;
    assert_eq!(answer.status(), 303);
}

#[tokio::test]
async fn every_answer_forbids_what_no_page_needs_and_is_kept_nowhere() {
    let scene = Scene::with(&letters(1)).await;
    let guest = scene.guest(KEY).await;
    let nobody = Guest {
        cookie: String::new(),
        ..scene.guest(KEY).await
    };
    let mut all = vec![];
    for page in LOOKS {
        all.push((page, 200, guest.ask("GET", page)));
        all.push((page, 303, nobody.ask("GET", page)));
    }
    for (page, status) in [
        ("/console/nowhere", 404),
        ("/console/queues/none", 404),
        ("/console/queues/%FF", 400),
        ("/console/queues/alerter?min_age=soon", 400),
        ("/console/queues/alerter?surprise=1", 400),
        ("/console/runs/none", 404),
        ("/console/queues/alerter/export", 200),
        ("/console/live/overview", 200),
        ("/console/live/slo", 200),
        ("/console/slo/history?surprise=1", 400),
    ] {
        all.push((page, status, guest.ask("GET", page)));
    }
    all.push((
        "/console/sign-in",
        200,
        nobody.ask("GET", "/console/sign-in"),
    ));
    all.push((
        "/console/settings",
        403,
        guest
            .ask("POST", "/console/settings")
            .header("content-type", "application/x-www-form-urlencoded"),
    ));
    for (page, status, request) in all {
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status(), status, "{page}");
        let header = |name| answer.headers()[name].to_str().expect("a text");
        assert_eq!(header("cache-control"), "no-store", "{page}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{page}");
        assert_eq!(header("x-frame-options"), "DENY", "{page}");
        assert_eq!(header("referrer-policy"), "same-origin", "{page}");
        assert_eq!(
            header("cross-origin-opener-policy"),
            "same-origin",
            "{page}"
        );
        assert_eq!(
            header("cross-origin-resource-policy"),
            "same-origin",
            "{page}"
        );
        let policy = header("content-security-policy");
        assert!(
            !policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"),
            "{policy}"
        );
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{part}: {policy}");
        }
    }
    let (_, page) = guest.get("/console/").await;
    for part in page.split("/console/assets/").skip(1) {
        let name = part.split('"').next().expect("a name");
        let answer = nobody.ask("GET", &format!("/console/assets/{name}"));
        let answer = answer.send().await.expect("it answers");
        assert_eq!(answer.status(), 200, "{name}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert!(
            answer.headers()["cache-control"]
                .to_str()
                .expect("a text")
                .contains("immutable")
        );
    }
}

#[tokio::test]
async fn without_keys_only_this_machines_browser_is_let_in_by_its_own_name() {
    let scene = Scene::of(Redis::start(), &letters(1), &KEYED[..1]).await;
    let browser = Browser::start().await;
    browser.open(&scene.at(QUEUE)).await;
    browser.until_text("h1", "alerter").await;
    assert_eq!(browser.count("form[action='/console/sign-out']").await, 0);
    browser.press("Plan to bury").await;
    browser.press("Bury 1 message").await;
    browser.until_text("#run", "done").await;
    assert_eq!(scene.redis.len(DEAD).await, 1);
    // A name of somebody else's that leads here.
    let elsewhere = super::client()
        .get(scene.at("/console/"))
        .header("host", "evil.example");
    assert_eq!(elsewhere.send().await.expect("it answers").status(), 403);
    assert_eq!(browser.complaints().await, [""; 0]);
}
