//! The past of a pipeline, minute by minute, as Prometheus would have scraped it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mutt_remediation::slo::built_in::built_in;
use mutt_remediation::slo::evidence::{Count, Evidence};
use mutt_remediation::slo::judge::{State, judge};

use crate::support::Prometheus;

/// Minutes of a past.
const MINUTES: u32 = 25 * 60;

/// What happened in a minute, counted from now back: 0 is the last one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minute {
    /// Requests of ingestor and forwarder, and events of the alerter.
    pub(crate) requests: f64,
    /// The share of the forwarder's that Moogsoft refused.
    pub(crate) refused: f64,
    /// The share of its requests that took three seconds instead of a tenth of one.
    pub(crate) slow: f64,
    /// Whether every service was started again, so that its counters begin anew.
    pub(crate) restart: bool,
}

pub(crate) const STEADY: Minute = Minute {
    requests: 600.0,
    refused: 0.0,
    slow: 0.0,
    restart: false,
};

/// All counters of the built-in objectives, as they went by this script.
pub(crate) fn past(script: impl Fn(u32) -> Minute) -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut counters: BTreeMap<String, f64> = BTreeMap::new();
    let mut samples: BTreeMap<String, String> = BTreeMap::new();
    for back in (0..MINUTES).rev() {
        let minute = script(back);
        if minute.restart {
            for value in counters.values_mut() {
                *value = 0.0;
            }
        }
        let mut count = |series: &str, by: f64| {
            *counters.entry(series.to_owned()).or_default() += by;
        };
        let Minute {
            requests,
            refused,
            slow,
            ..
        } = minute;
        count(r#"mutt_ingest_requests_total{status="success"}"#, requests);
        count(r#"mutt_ingest_requests_total{status="fail"}"#, 0.0);
        count(
            r#"mutt_moog_requests_total{status="success"}"#,
            requests * (1.0 - refused),
        );
        count(
            r#"mutt_moog_requests_total{status="fail"}"#,
            requests * refused,
        );
        count(
            r#"mutt_alerter_events_processed_total{status="handled"}"#,
            requests * 0.9,
        );
        count(
            r#"mutt_alerter_events_processed_total{status="unhandled"}"#,
            requests * 0.1,
        );
        count("mutt_alerter_cache_reload_failures_total", 0.0);
        count(
            "mutt_alerter_cache_reload_total",
            if back % 5 == 0 { 1.0 } else { 0.0 },
        );
        for (histogram, slow) in [
            ("mutt_ingest_latency_seconds", 0.0),
            ("mutt_moog_request_latency_seconds", slow),
        ] {
            for bound in ["0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "+Inf"] {
                let quick = bound != "5.0" && bound != "+Inf";
                let within = if quick {
                    requests * (1.0 - slow)
                } else {
                    requests
                };
                count(&format!("{histogram}_bucket{{le=\"{bound}\"}}"), within);
            }
        }
        count(
            r#"mutt_remediation_messages_total{disposition="replay"}"#,
            5.0,
        );
        count(
            r#"mutt_remediation_messages_total{disposition="dead"}"#,
            0.0,
        );
        count("mutt_remediation_bounced_total", 0.0);
        let age = r#"mutt_remediation_oldest_dead_letter_age_seconds{source="alerter"}"#;
        counters.insert(age.to_owned(), 60.0);
        let at = now - i64::from(back) * 60;
        for (series, value) in &counters {
            let text = samples.entry(series.clone()).or_default();
            writeln!(text, "{series} {value} {at}").expect("it is written to memory");
        }
    }
    samples.into_values().collect::<String>() + "# EOF\n"
}

/// What a worker would have exposed of the objectives in that past, every five minutes.
pub(crate) fn judged(script: impl Fn(u32) -> Minute) -> String {
    let now = jiff::Timestamp::now().as_second();
    let minutes: Vec<Minute> = (0..2 * MINUTES).map(script).collect();
    let mut samples: BTreeMap<String, String> = BTreeMap::new();
    for back in (0..MINUTES).rev().step_by(5) {
        let mut sample = |series: String, value: f64| {
            let at = now - i64::from(back) * 60;
            let text = samples.entry(series.clone()).or_default();
            writeln!(text, "{series} {value} {at}").expect("it is written to memory");
        };
        for objective in built_in() {
            let counts = objective.windows().into_iter().map(|window| {
                let length = usize::try_from(window.as_secs() / 60).expect("minutes");
                let of = minutes.iter().skip(back as usize).take(length);
                let bad = |minute: &Minute| match objective.name.as_str() {
                    "forwarder_availability" => minute.refused,
                    "forwarder_latency_p99" => minute.slow,
                    _ => 0.0,
                };
                let total: f64 = of.clone().map(|minute| minute.requests).sum();
                let bad: f64 = of.map(|minute| minute.requests * bad(minute)).sum();
                (window, Count::of_bad(bad, total))
            });
            let evidence = Evidence {
                counts: counts.collect(),
                quantile: None,
            };
            let judgement = judge(&objective, &evidence);
            let (slo, component) = (&objective.name, &objective.component);
            let labels = format!("slo=\"{slo}\",component=\"{component}\"");
            let told = |value: Option<f64>| value.unwrap_or(f64::NAN);
            sample(format!("mutt_slo_objective{{{labels}}}"), objective.target);
            let availability = told(judgement.availability);
            sample(format!("mutt_slo_availability{{{labels}}}"), availability);
            let left = told(judgement.budget_left);
            sample(format!("mutt_slo_error_budget_remaining{{{labels}}}"), left);
            for (window, rate) in &judgement.burn_rates {
                let series = format!("mutt_slo_burn_rate{{{labels},window=\"{window}\"}}");
                sample(series, told(*rate));
            }
            for state in State::ALL {
                let is_in = f64::from(u8::from(judgement.state == state));
                sample(
                    format!("mutt_slo_state{{{labels},state=\"{state}\"}}"),
                    is_in,
                );
            }
        }
        sample("mutt_slo_prometheus_up".into(), 1.0);
    }
    samples.into_values().collect()
}

/// A Prometheus that knows this past, and scrapes nobody.
pub(crate) async fn prometheus(script: impl Fn(u32) -> Minute) -> Prometheus {
    let mut prometheus = Prometheus::stopped(&[], &[]);
    prometheus.fill(&past(script));
    prometheus.up().await;
    prometheus
}
