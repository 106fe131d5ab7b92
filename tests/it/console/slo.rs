//! The page of the objectives, before a real Prometheus and without one.

use std::fmt::Write as _;
use std::io::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::look::Looker;
use super::{KEY, KEYED, READ_KEY, Scene};
use crate::slo::past::{Minute, STEADY, past};
use crate::support::exporter::{Exporter, observations};
use crate::support::{Browser, Prometheus, Redis};

const PAGE: &str = "/console/slo";
/// Every form but the one that signs out.
const ACTS: &str = "main form, main button";

/// A daemon that asks this address, and drains nothing.
async fn asking(url: &str, more: &[(&str, &str)]) -> Scene {
    let mut variables = KEYED.to_vec();
    variables.push(("PROMETHEUS_URL", url));
    variables.extend(more);
    Scene::of(Redis::start(), &[""; 0], &variables).await
}

/// The cells of an objective's row, in words.
async fn row(browser: &Browser, name: &str) -> String {
    browser.text(&format!("#slo-{name}")).await
}

/// A pipeline all of whose services do well but the alerter, which nobody scrapes.
fn steady(mutt: &Exporter) {
    let mut growth = vec![];
    for service in ["ingest", "moog"] {
        growth.push((
            format!("mutt_{service}_requests_total{{status=\"success\"}}"),
            20.0,
        ));
        growth.push((
            format!("mutt_{service}_requests_total{{status=\"fail\"}}"),
            0.0,
        ));
    }
    growth.extend(observations("mutt_ingest_latency_seconds", 0.02, 20.0));
    growth.extend(observations("mutt_moog_request_latency_seconds", 0.3, 20.0));
    mutt.each_scrape(growth);
}

#[tokio::test]
async fn the_page_follows_an_objective_into_danger_and_a_prometheus_that_goes_away() {
    let mutt = Exporter::start().await;
    steady(&mutt);
    let mut prometheus = Prometheus::start(&[("mutt", mutt.port())], &[]).await;
    let found = "increase(mutt_moog_requests_total{status=\"success\"}[5m]) > 10";
    prometheus.until_found(found).await;
    let often = [
        ("SLO_INTERVAL", "5"),
        ("PROMETHEUS_TIMEOUT", "1"),
        ("SLO_STALE_SECONDS", "15"),
        ("REPLAY_SLO_GATE", "true"),
    ];
    let scene = asking(&prometheus.url(), &often).await;
    let browser = scene.browser(READ_KEY, PAGE).await;
    browser
        .until_text("#slo-forwarder_availability", "● ok")
        .await;
    browser.run("window.still = true", &[]).await;
    let well = row(&browser, "ingestor_latency_p99").await;
    for part in [
        "● ok",
        "within 0.5 s",
        "99 %",
        "100 %",
        "over 24 h",
        "events",
    ] {
        assert!(well.contains(part), "{part}: {well}");
    }
    // What nobody scrapes is not known, and that is the first that is said.
    let verdict = browser.text("#verdict").await;
    assert!(
        verdict.starts_with("○ unknown") && verdict.contains("Prometheus answers"),
        "{verdict}"
    );
    assert!(verdict.contains("no samples"), "{verdict}");
    let unknown = row(&browser, "alerter_processing_success").await;
    assert!(
        unknown.contains("○ unknown") && !unknown.contains("ok"),
        "{unknown}"
    );
    browser.until_text("#gate", "● not held").await;
    browser
        .click("#slo-forwarder_availability details summary")
        .await;

    // Moogsoft refuses half of it.
    let half = ["success", "fail"].map(|status| {
        (
            format!("mutt_moog_requests_total{{status=\"{status}\"}}"),
            200.0,
        )
    });
    mutt.each_scrape(half);
    browser.until_text("#verdict", "■ critical").await;
    let danger = browser.text("#verdict .dangers").await;
    assert!(
        danger.contains("forwarder_availability") && danger.contains("times as fast as it may be"),
        "{danger}"
    );
    let burning = row(&browser, "forwarder_availability").await;
    assert!(burning.contains("▲ critical above 14.4"), "{burning}");
    assert!(
        burning.contains("mutt_moog_requests_total{status=\"success\"}"),
        "what was opened stays open: {burning}"
    );
    browser.until_text("#gate", "■ held").await;

    prometheus.kill();
    browser.until_text("#verdict", "■ was critical").await;
    browser
        .until_text("#slo-ingestor_availability", "● was ok")
        .await;
    assert_eq!(browser.count("#slo-ingestor_availability .good").await, 0);
    let verdict = browser.text("#verdict").await;
    assert!(
        verdict.contains("Prometheus does not answer since"),
        "{verdict}"
    );
    browser.until_text("#verdict", "○ unknown").await;
    browser
        .until("!document.querySelector('#objectives .good, #objectives .bad')")
        .await;
    browser.until_text("#gate", "nothing is known of it").await;
    assert!(!browser.text("main").await.contains("● ok"));

    prometheus.up().await;
    browser.until_text("#verdict", "Prometheus answers").await;
    browser
        .until("window.still && document.querySelector('#slo-ingestor_availability .good')")
        .await;
    assert_eq!(browser.count(ACTS).await, 0, "nothing acts here");
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn without_a_prometheus_the_page_says_how_to_have_one() {
    let scene = Scene::with(&[""; 0]).await;
    let browser = scene.browser(READ_KEY, "/console/").await;
    browser.until_text("#health", "○ not watched").await;
    browser.press("The objectives").await;
    browser.until_text("h1", "Service level objectives").await;
    let text = browser.text("main").await;
    for part in [
        "PROMETHEUS_URL",
        "http://prometheus:9090",
        "forwarder_availability",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("ok"), "{text}");
    assert_eq!(browser.count("main .good, main progress").await, 0);
    // Nor does the page of the settings speak of what has no effect.
    browser.open(&scene.at("/console/settings")).await;
    assert!(!browser.text("main").await.contains("slo_"));
    assert_eq!(browser.complaints().await, [""; 0]);
}

/// What becomes an element wherever it is not taken as text.
const EVIL: &str = "</div></td><img src=x onerror=window.evil=1>\u{202e}\u{1b}[2J";

/// Refuses every query with that.
async fn refusing(listener: TcpListener) {
    let mut tasks = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        tasks.spawn(refuse(stream));
    }
}

async fn refuse(mut stream: TcpStream) {
    let mut request = vec![];
    // The end of the form that is sent.
    while !String::from_utf8_lossy(&request).contains("timeout=") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    let body = serde_json::json!({"status": "error", "errorType": "bad_data", "error": EVIL});
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

/// An objective of one's own that has the name of a part of every page, and says that.
fn own() -> String {
    serde_json::json!({
        "apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": "main"},
        "spec": {
            "service": "main", "description": EVIL, "budgetingMethod": "Occurrences",
            "timeWindow": [{"duration": "30d", "isRolling": true}],
            "indicator": {"metadata": {"name": "up"}, "spec": {"ratioMetric": {
                "counter": true,
                "good": {"metricSource": {"type": "Prometheus", "spec": {"query": "good_total{a=\"<img>\"}"}}},
                "total": {"metricSource": {"type": "Prometheus", "spec": {"query": "all_total"}}},
            }}},
            "objectives": [{"target": 0.9999}],
        },
    })
    .to_string()
}

#[tokio::test]
async fn what_prometheus_and_a_file_say_is_text() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(refusing(listener));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(own().as_bytes()).expect("written");
    let path = file.path().to_str().expect("text");
    let scene = asking(&url, &[("SLO_FILE", path)]).await;
    for browser in [
        scene.browser(KEY, PAGE).await,
        Browser::without_scripts().await,
    ] {
        browser.open(&scene.at(PAGE)).await;
        if browser.count("#key").await > 0 {
            scene.sign_in(&browser, KEY, PAGE).await;
        }
        for _ in 0..100 {
            if browser.text("#verdict").await.contains("onerror") {
                break;
            }
            browser.reload().await;
        }
        browser.until_text("#verdict", "onerror").await;
        browser
            .until_text("#slo-forwarder_availability", "onerror")
            .await;
        let own = row(&browser, "main").await;
        for part in ["99.99 %", "over 720 h", "onerror"] {
            assert!(own.contains(part), "{part}: {own}");
        }
        assert_eq!(browser.count("img, svg").await, 0);
        let text = browser.text("main").await;
        assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
        // Without a script it is all there but the charts.
        for part in ["○ unknown", "9 unknown", "99.5 %", "is off"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

/// A day with an incident at noon, a leak, and an outage that goes on.
pub(super) fn day() -> String {
    let script = |back| Minute {
        refused: match back {
            0..18 => 0.3,
            640..655 => 0.12,
            _ => 0.0005,
        },
        slow: if back < 700 { 0.011 } else { 0.002 },
        ..STEADY
    };
    let mut text = past(script);
    // Where dead letters wait nobody has looked.
    let known = text
        .lines()
        .filter(|line| !line.contains("oldest_dead_letter_age") && *line != "# EOF");
    let mut known = known.collect::<Vec<_>>().join("\n");
    let now = jiff::Timestamp::now().as_second();
    for (series, bad) in [
        ("mutt_ingest_requests_total{status=\"fail\"}", [0.2, 2.0]),
        (
            "mutt_alerter_events_processed_total{status=\"error\"}",
            [0.1, 0.4],
        ),
    ] {
        let mut count = 0.0;
        for back in (0..25 * 60).rev() {
            count += bad[usize::from((300..360).contains(&back))];
            let series = series.replace('}', ",pod=\"1\"}");
            let at = now - i64::from(back) * 60;
            write!(known, "\n{series} {count} {at}").expect("it is written to memory");
        }
    }
    text = known + "\n# EOF\n";
    text
}

#[tokio::test]
async fn every_page_can_be_used_that_tells_of_objectives() {
    let mut prometheus = Prometheus::stopped(&[], &[]);
    prometheus.fill(&day());
    prometheus.up().await;
    // What is seen at first stays, however long the looking takes.
    let slowly = [
        ("SLO_INTERVAL", "3600"),
        ("SLO_STALE_SECONDS", "86400"),
        ("DYNAMIC_CONFIG_ENABLED", "true"),
        ("POD_NAME", "remediation-0"),
    ];
    let scene = asking(&prometheus.url(), &slowly).await;
    let mut looker = Looker::start().await;
    scene.sign_in(&looker.browser, KEY, PAGE).await;
    looker.browser.until_text("#verdict", "■ critical").await;
    looker.browser.reload().await;
    looker
        .browser
        .until("document.querySelectorAll('#budgets canvas').length === 7")
        .await;
    let charts =
        "return [...document.querySelectorAll('#budgets canvas')].map((one) => one.ariaLabel)";
    let charts = looker.browser.run(charts, &[]).await.to_string();
    assert!(
        charts.contains("forwarder_availability") && charts.contains("budget left -"),
        "{charts}"
    );
    let bare = looker.browser.text("#budgets > p").await;
    assert!(bare.contains("remediation_drain_time"), "{bare}");
    looker.look("slo").await;

    looker.browser.press("14.4").await;
    looker
        .browser
        .until_text("details[open] summary", "ingestor_availability")
        .await;
    looker.browser.open(&scene.at("/console/settings")).await;
    looker.browser.press("forwarder_availability").await;
    looker
        .browser
        .fill("#slo_forwarder_availability_window_hours [name=value]", "0")
        .await;
    looker
        .browser
        .click("#slo_forwarder_availability_window_hours button[value=set]")
        .await;
    looker.browser.until_text(".alert", "cannot be used").await;
    assert_eq!(looker.browser.count("details[open]").await, 1);
    looker.check("settings-of-objectives").await;

    prometheus.kill();
    // A round of questions begins as soon as something is set.
    looker
        .browser
        .fill("#replay_slo_gate [name=value]", "true")
        .await;
    looker
        .browser
        .click("#replay_slo_gate button[value=set]")
        .await;
    looker.browser.until_text(".flash", "replay_slo_gate").await;
    looker.browser.open(&scene.at(PAGE)).await;
    looker
        .browser
        .until_text("#verdict", "does not answer")
        .await;
    looker.browser.until_text("#budgets", "stale").await;
    looker.look("slo-without-prometheus").await;

    let off = Scene::with(&[""; 0]).await;
    off.sign_in(&looker.browser, KEY, PAGE).await;
    looker.look("slo-off").await;
    assert_eq!(looker.grave, [""; 0]);
}
