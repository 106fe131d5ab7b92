//! A stand-in MUTT that is really scraped, from its first second on.

use serde_json::Value;

use crate::support::exporter::Exporter;
use crate::support::{Daemon, Prometheus, Redis, until};

const TAKEN: &str = r#"mutt_moog_requests_total{status="success"}"#;
const REFUSED: &str = r#"mutt_moog_requests_total{status="fail"}"#;

async fn forwarder(daemon: &Daemon) -> Value {
    let (_, text) = daemon.get("api", "/api/v1/slo").await;
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let slos = report["slos"].as_array().expect("objectives").iter();
    let mut found = slos.filter(|slo| slo["slo_name"] == "forwarder_availability");
    found.next().expect("it is built in").clone()
}

#[tokio::test]
async fn a_pipeline_is_followed_from_silence_over_work_and_a_restart_into_an_outage() {
    let mutt = Exporter::start().await;
    mutt.each_scrape([(TAKEN, 0.0), (REFUSED, 0.0)]);
    let prometheus = Prometheus::start(&[("mutt", mutt.port())], &[]).await;
    let redis = Redis::start();
    let url = prometheus.url();
    let daemon = Daemon::start(
        &redis,
        &[
            ("PROMETHEUS_URL", &url),
            ("SLO_INTERVAL", "5"),
            ("SLO_WINDOW_HOURS", "1"),
        ],
    );
    let until_it = async |what: &str, right: &dyn Fn(&Value) -> bool| {
        until(what, || async { right(&forwarder(&daemon).await) }).await;
    };
    until_it("nothing happens, which is not ok", &|slo| {
        slo["status"] == "unknown" && slo["message"] == "no event in the last 1h, 10 are needed"
    })
    .await;

    mutt.each_scrape([(TAKEN, 50.0), (REFUSED, 0.0)]);
    until_it("it works", &|slo| slo["status"] == "ok").await;
    let before = forwarder(&daemon).await["events"].as_f64().expect("events");

    mutt.reset();
    let began_anew = format!("resets({TAKEN}[5m]) > 0");
    prometheus.until_found(&began_anew).await;
    until_it("it goes on from where it was", &|slo| {
        slo["status"] == "ok"
            && slo["availability"] == 1.0
            && slo["events"].as_f64().is_some_and(|events| events > before)
    })
    .await;

    mutt.each_scrape([(TAKEN, 0.0), (REFUSED, 50.0)]);
    until_it("Moogsoft refuses all", &|slo| slo["status"] == "critical").await;
}
