//! The dashboards on a real Prometheus that scrapes a real daemon, knows MUTT's past, and evaluates
//! our rules.

mod picture;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use mutt_remediation::demo::server::free_port;
use mutt_remediation::slo::built_in::built_in;
use mutt_remediation::slo::rules::File;
use serde_json::Value;

use crate::slo::past::{Minute, STEADY, judged, past};
use crate::support::{Daemon, Prometheus, Redis, until};

const DASHBOARDS: [&str; 2] = ["worker", "slos"];
/// Set to `write`, it has the pictures drawn anew, which takes two minutes more.
const WRITE: &str = "DASHBOARDS";

#[tokio::test]
async fn a_prometheus_finds_the_daemon_and_still_knows_it_after_a_kill() {
    let redis = Redis::start();
    let daemon = Daemon::start(&redis, &[]);
    let port = daemon.port("metrics").await;
    let rule = "groups: [{name: one, rules: [{record: 'a:b', expr: 'up'}]}]";
    let mut prometheus = Prometheus::start(&[("worker", port)], &[("one", rule)]).await;
    prometheus.until_found("mutt_remediation_build_info").await;
    prometheus.until_found("a:b").await;

    prometheus.kill();
    drop(daemon);
    prometheus.up().await;
    assert_eq!(
        prometheus
            .values("last_over_time(up{job=\"worker\"}[5m])")
            .await
            .len(),
        1
    );
    assert_eq!(prometheus.answer("1 +").await["status"], "error");
}

#[tokio::test]
async fn every_query_of_the_dashboards_finds_something() {
    let port = free_port().expect("a port");
    let text = |file: File| {
        let text = file.text(&built_in(), "docs/");
        let often = text.replace("interval: 1m", "interval: 1s");
        often.replace("interval: 2m", "interval: 1s")
    };
    let files = File::ALL.map(|file| (file.as_str(), text(file)));
    let rules = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut prometheus = Prometheus::stopped(&[("worker", port)], &rules);
    // Moogsoft refuses everything, so that there are alerts to show.
    let day = |back| Minute {
        refused: match back {
            0..20 => 1.0,
            500..530 => 0.1,
            _ => 0.0,
        },
        slow: if (800..830).contains(&back) { 0.3 } else { 0.0 },
        ..STEADY
    };
    prometheus.fill(&(judged(day) + &past(day)));
    prometheus.up().await;
    let redis = Redis::start();
    redis.dead_letter(&["no JSON"]).await;
    let (url, port) = (prometheus.url(), port.to_string());
    let _daemon = Daemon::start(
        &redis,
        &[
            ("PROMETHEUS_URL", &url),
            ("METRICS_PORT_REMEDIATION", &port),
        ],
    );

    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        for query in queries(&dashboard) {
            let query = filled_in(&query);
            let answer = prometheus.answer(&query).await;
            assert_eq!(answer["status"], "success", "{name}: {query}: {answer}");
            for metric in metrics(&query) {
                prometheus.until_found(&format!("count({metric})")).await;
            }
            // What shows only what is wrong has nothing to show.
            if !query.contains("> 0") && !query.contains("== 1") {
                prometheus.until_found(&query).await;
            }
        }
    }
    until("the state is that of the forwarder's outage", || async {
        let state = r#"mutt_slo_state{slo="forwarder_availability", state="critical"}"#;
        prometheus.values(state).await == [1.0]
    })
    .await;
    prometheus
        .until_found(r#"ALERTS{alertname="SloBurnCritical", alertstate="firing"}"#)
        .await;
    let writes = std::env::var(WRITE).is_ok_and(|text| text == "write");
    if writes {
        work(&redis).await;
    }
    let now = jiff::Timestamp::now().as_second();
    for (name, back, step) in [("worker", 110, 1), ("slos", 86_400, 600)] {
        let dashboard = dashboard(name);
        let drawn = picture::picture(&prometheus, &dashboard, (now - back, now), step).await;
        let panels = list(&dashboard["panels"]).count();
        assert_eq!(drawn.matches("<g ").count(), panels, "{name}");
        // Many show what goes wrong, and most of it does not.
        assert!(drawn.matches("<polyline").count() > 10, "{name}");
        if writes {
            fs::write(format!("docs/grafana/{name}.svg"), drawn).expect("written");
        }
    }
}

/// Dead letters of all kinds, in waves, for long enough to be seen.
async fn work(redis: &Redis) {
    for wave in 0..20 {
        let letters: Vec<String> = (0..40 * (wave % 5))
            .map(|i| {
                let retries = if i % 17 == 0 { 9 } else { 1 };
                format!(r#"{{"hostname":"sw{i}","timestamp":1700000000,"message":"m","_moog_retry_count":{retries}}}"#)
            })
            .collect();
        if !letters.is_empty() {
            redis.dead_letter(&letters).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

#[test]
fn each_panel_says_what_it_shows_and_asks_the_chosen_prometheus() {
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        let declared: BTreeSet<&str> = list(&dashboard["templating"]["list"])
            .map(|variable| variable["name"].as_str().expect("a name"))
            .collect();
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in list(&dashboard["panels"]) {
            let title = panel["title"].as_str().expect("a title");
            assert!(ids.insert(panel["id"].as_u64()), "{name}: {title}");
            let place = |side: &str| panel["gridPos"][side].as_u64().expect("a number");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(x < 24 && taken.insert((x, y)), "{name}: {title}");
                }
            }
            if panel["type"] == "row" {
                continue;
            }
            let description = panel["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{name}: {title}");
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            assert!(unit.is_string(), "{name}: {title}");
            assert!(list(&panel["targets"]).count() > 0, "{name}: {title}");
            for asked in list(&panel["targets"]).chain([panel]) {
                assert_eq!(asked["datasource"]["uid"], "${datasource}", "{title}");
            }
        }
        for query in queries(&dashboard) {
            let used = query.split('$').skip(1).map(|rest| {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                &rest[..end.unwrap_or(rest.len())]
            });
            for variable in used.filter(|variable| !variable.starts_with("__")) {
                assert!(declared.contains(variable), "{name}: {query}");
            }
        }
    }
}

fn dashboard(name: &str) -> Value {
    let text = fs::read_to_string(format!("docs/grafana/{name}.json")).expect("it exists");
    serde_json::from_str(&text).expect("JSON")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What the panels ask for, and what the variables do.
fn queries(dashboard: &Value) -> Vec<String> {
    let targets = list(&dashboard["panels"]).flat_map(|panel| list(&panel["targets"]));
    let expressions = targets.map(|target| target["expr"].as_str().expect("a query").to_owned());
    let variables = list(&dashboard["templating"]["list"]);
    let values = variables.filter_map(|variable| {
        let query = variable["query"]["query"].as_str()?;
        let inner = query.strip_prefix("label_values(")?.strip_suffix(')')?;
        let (metric, label) = inner.split_once(", ")?;
        Some(format!("count by ({label}) ({metric})"))
    });
    let all: Vec<_> = expressions.chain(values).collect();
    assert!(all.len() > 15, "{all:?}");
    all
}

/// As Grafana asks it with everything chosen.
fn filled_in(query: &str) -> String {
    let mut query = query.replace("$__rate_interval", "5m");
    for variable in ["$instance", "$source", "$slo"] {
        query = query.replace(&format!("\"{variable}\""), "\".*\"");
    }
    assert!(!query.contains('$'), "{query}");
    query
}

/// The metrics that a query names.
fn metrics(query: &str) -> Vec<&str> {
    // Not those within quotes, which are patterns.
    let outside = query.split('"').step_by(2);
    let words = outside
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':'));
    words
        .filter(|word| {
            word.starts_with("mutt_") || word.starts_with("mutt:") || word.starts_with("process_")
        })
        .collect()
}
