//! The objectives, judged by a real Prometheus whose counters follow a script.

mod away;
mod gate;
mod live;
pub(crate) mod past;

use std::time::Duration;

use mutt_remediation::slo::ask::PrometheusConfig;
use mutt_remediation::slo::built_in::built_in;
use mutt_remediation::slo::knobs::Knobs;
use mutt_remediation::slo::view::{SloReport, SloView};
use mutt_remediation::slo::{SloConfig, once};

use crate::support::Prometheus;
use past::{Minute, STEADY, prometheus};

/// How all objectives stand, asked of this Prometheus.
async fn judged(prometheus: &Prometheus, knobs: &Knobs) -> SloReport {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seconds = Duration::from_secs;
    let config = SloConfig {
        prometheus: Some(PrometheusConfig {
            url: prometheus.url().parse().expect("an address"),
            access: None,
            ca_cert: None,
            timeout: seconds(30),
        }),
        interval: seconds(30),
        unknown_after: seconds(300),
    };
    SloReport::of(&once(&config, knobs, false).await)
}

async fn after(script: impl Fn(u32) -> Minute) -> SloReport {
    let prometheus = prometheus(script).await;
    judged(&prometheus, &Knobs::new(built_in(), vec![])).await
}

fn named<'a>(report: &'a SloReport, name: &str) -> &'a SloView {
    let found = report.slos.iter().find(|slo| slo.slo_name == name);
    found.expect("it is built in")
}

fn forwarder(report: &SloReport) -> &SloView {
    named(report, "forwarder_availability")
}

fn near(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() <= expected.abs() * 0.03 + 1e-3)
}

#[tokio::test]
async fn a_steady_day_is_ok() {
    let report = after(|_| STEADY).await;
    assert_eq!(report.status, "ok", "{report:#?}");
    assert_eq!(report.prometheus.state, "up");
    assert_eq!(report.slos.len(), built_in().len());
    for slo in &report.slos {
        assert_eq!(slo.status, "ok", "{slo:#?}");
        assert_eq!(slo.availability, Some(1.0), "{slo:#?}");
        assert_eq!(slo.error_budget_remaining, Some(1.0), "{slo:#?}");
    }
    let forwarder = forwarder(&report);
    assert!(near(forwarder.events, 600.0 * 1_440.0), "{forwarder:#?}");
    let latency = named(&report, "forwarder_latency_p99");
    assert_eq!(latency.target_seconds, Some(2.0));
    assert!(near(latency.actual_value, 0.099), "{latency:#?}");
    let names: Vec<_> = report.components.keys().map(String::as_str).collect();
    assert_eq!(names, ["alerter", "forwarder", "ingestor", "remediation"]);
}

#[tokio::test]
async fn an_outage_is_critical_while_it_lasts_and_leaves_a_spent_budget() {
    let report = after(|back| Minute {
        refused: if back < 20 { 0.5 } else { 0.0 },
        ..STEADY
    })
    .await;
    let now = forwarder(&report);
    assert_eq!(now.status, "critical", "{now:#?}");
    assert!(near(now.burn_rate, 100.0), "{now:#?}");
    assert!(
        near(now.error_budget_remaining, 1.0 - 10.0 / 1_440.0 / 0.005),
        "{now:#?}"
    );
    assert!(now.message.contains("more than 14.4"), "{now:#?}");
    assert_eq!(report.components["forwarder"].state, "critical");
    assert_eq!(named(&report, "ingestor_availability").status, "ok");

    let report = after(|back| Minute {
        refused: if (400..440).contains(&back) { 0.5 } else { 0.0 },
        ..STEADY
    })
    .await;
    let now = forwarder(&report);
    assert_eq!(now.status, "warn", "{now:#?}");
    assert_eq!(now.message, "the budget of the last 1d is spent");
    assert_eq!(now.burn_rate, Some(0.0));
    assert!(
        now.error_budget_remaining.is_some_and(|left| left < -1.5),
        "{now:#?}"
    );
}

#[tokio::test]
async fn a_slow_burn_is_a_warning() {
    let report = after(|back| Minute {
        refused: if back < 400 { 0.008 } else { 0.0 },
        ..STEADY
    })
    .await;
    let now = forwarder(&report);
    assert_eq!(now.status, "warn", "{now:#?}");
    assert!(near(now.burn_rate, 1.6), "{now:#?}");
    assert!(
        near(
            now.error_budget_remaining,
            1.0 - 400.0 * 0.008 / 1_440.0 / 0.005
        ),
        "{now:#?}"
    );
}

#[tokio::test]
async fn no_traffic_is_unknown_and_never_ok() {
    let report = after(|back| Minute {
        requests: if back < 370 { 0.0 } else { 600.0 },
        ..STEADY
    })
    .await;
    for (name, silence) in [
        ("ingestor_availability", "15m"),
        ("ingestor_latency_p99", "15m"),
        ("forwarder_availability", "6h"),
        ("forwarder_latency_p99", "6h"),
        ("alerter_processing_success", "15m"),
    ] {
        let now = named(&report, name);
        assert_eq!(now.status, "unknown", "{now:#?}");
        assert_eq!(now.message, format!("no event in the last {silence}"));
        assert_eq!(now.burn_rate, None);
        assert!(!now.idle);
    }
    let report = after(|_| Minute {
        requests: 0.0,
        ..STEADY
    })
    .await;
    let now = forwarder(&report);
    assert_eq!(now.message, "no event in the last 1d, 10 are needed");
    assert_eq!((now.actual_value, now.error_budget_remaining), (None, None));
}

#[tokio::test]
async fn counters_that_begin_anew_cost_nothing() {
    let report = after(|back| Minute {
        restart: back % 97 == 50,
        ..STEADY
    })
    .await;
    assert_eq!(report.status, "ok", "{report:#?}");
    let now = forwarder(&report);
    assert_eq!(now.availability, Some(1.0));
    assert!(near(now.events, 600.0 * 1_440.0), "{now:#?}");
}

#[tokio::test]
async fn slow_answers_are_counted_by_the_buckets() {
    let report = after(|back| Minute {
        slow: if back < 20 { 0.3 } else { 0.0 },
        ..STEADY
    })
    .await;
    let now = named(&report, "forwarder_latency_p99");
    assert_eq!(now.status, "critical", "{now:#?}");
    assert!(near(now.burn_rate, 30.0), "{now:#?}");
    assert_eq!(named(&report, "ingestor_latency_p99").status, "ok");
    assert_eq!(forwarder(&report).status, "ok");
}

#[tokio::test]
async fn a_prometheus_that_knows_nothing_makes_everything_unknown() {
    let prometheus = Prometheus::start(&[], &[]).await;
    let report = judged(&prometheus, &Knobs::new(built_in(), vec![])).await;
    assert_eq!(report.status, "unknown");
    for slo in &report.slos {
        assert_eq!(slo.status, "unknown", "{slo:#?}");
        assert_eq!(slo.message, "Prometheus has no samples of the last 5m");
    }
}

/// What people are shown to ask says the same as what is computed.
#[tokio::test]
async fn the_query_for_people_gives_the_actual_value() {
    let prometheus = prometheus(|back| Minute {
        refused: if back < 400 { 0.008 } else { 0.0 },
        slow: 0.02,
        ..STEADY
    })
    .await;
    let report = judged(&prometheus, &Knobs::new(built_in(), vec![])).await;
    for slo in &report.slos {
        let values = prometheus.values(&slo.metric_query).await;
        assert_eq!(values.len(), 1, "{slo:#?}");
        assert!(near(slo.actual_value, values[0]), "{values:?} {slo:#?}");
    }
}

#[tokio::test]
async fn the_charts_show_where_the_budget_went() {
    let prometheus = prometheus(|back| Minute {
        refused: if (400..420).contains(&back) { 0.2 } else { 0.0 },
        ..STEADY
    })
    .await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let knobs = Knobs::new(built_in(), vec![]);
    let config = SloConfig {
        prometheus: Some(PrometheusConfig {
            url: prometheus.url().parse().expect("an address"),
            access: None,
            ca_cert: None,
            timeout: Duration::from_secs(30),
        }),
        interval: Duration::from_secs(30),
        unknown_after: Duration::from_secs(300),
    };
    let known = once(&config, &knobs, true).await;
    let entries = known.entries.iter();
    let entry = entries
        .clone()
        .find(|entry| entry.objective.name == "forwarder_availability");
    let left = entry.expect("it is built in").burn_down();
    assert!((90..=97).contains(&left.len()), "{left:?}");
    assert!(
        left.windows(2)
            .all(|two| two[0].1 >= two[1].1 && two[1].0 - two[0].0 == 900)
    );
    assert!(near(left.first().map(|point| point.1), 1.0), "{left:?}");
    let spent = 20.0 * 0.2 / 1_440.0 / 0.005;
    // What falls between the last sample of a step and the first of the next is in neither.
    let last = left.last().expect("there are steps").1;
    assert!((last - (1.0 - spent)).abs() < 0.1 * spent, "{left:?}");
    let at = left
        .iter()
        .find(|point| point.1 < 0.99)
        .expect("it was spent")
        .0;
    let ago = jiff::Timestamp::now().as_second() - at;
    assert!((390 * 60..440 * 60).contains(&ago), "{ago} s ago");
    for entry in entries {
        assert!(entry.steps.len() > 80, "{}", entry.objective.name);
    }
}
