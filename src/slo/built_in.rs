//! The objectives of MUTT and of this worker. Names and targets are those of the Python checker; the
//! last two are ours.

use super::objective::{
    CRITICAL, FORWARDER, INGESTOR, Indicator, Lull, MIN_EVENTS, Objective, Op, PERIOD, Part,
    Series, WARNING,
};
use super::window::Window;

/// All of them.
#[must_use]
pub fn built_in() -> Vec<Objective> {
    let each = [ingestor(), forwarder(), alerter(), remediation()];
    each.into_iter().flatten().collect()
}

fn ingestor() -> [Objective; 2] {
    [
        objective(
            (INGESTOR, "ingestor"),
            "Requests that the ingestor takes",
            0.999,
            good(
                r#"mutt_ingest_requests_total{status="success"}"#,
                "mutt_ingest_requests_total",
            ),
        ),
        objective(
            ("ingestor_latency_p99", "ingestor"),
            "Requests that the ingestor answers within half a second",
            0.99,
            latency("mutt_ingest_latency_seconds_bucket", 0.5),
        ),
    ]
}

/// It sends only what is worth an alert, so that a quiet hour is nothing unusual.
fn forwarder() -> [Objective; 2] {
    [
        Objective {
            lull: Lull::Hours,
            ..objective(
                (FORWARDER, "forwarder"),
                "Requests of the forwarder that Moogsoft takes",
                0.995,
                good(
                    r#"mutt_moog_requests_total{status="success"}"#,
                    "mutt_moog_requests_total",
                ),
            )
        },
        Objective {
            lull: Lull::Hours,
            ..objective(
                ("forwarder_latency_p99", "forwarder"),
                "Requests of the forwarder that Moogsoft answers within two seconds",
                0.99,
                latency("mutt_moog_request_latency_seconds_bucket", 2.0),
            )
        },
    ]
}

fn alerter() -> [Objective; 2] {
    [
        objective(
            ("alerter_processing_success", "alerter"),
            "Events that the alerter processes, those without a rule of theirs included",
            0.999,
            bad(
                r#"mutt_alerter_events_processed_total{status=~"poison|error"}"#,
                "mutt_alerter_events_processed_total",
            ),
        ),
        Objective {
            lull: Lull::Any,
            ..objective(
                ("alerter_cache_reload_success", "alerter"),
                "Times that the alerter reloads its rules without a failure",
                0.99,
                bad(
                    "mutt_alerter_cache_reload_failures_total",
                    "mutt_alerter_cache_reload_total",
                ),
            )
        },
    ]
}

fn remediation() -> [Objective; 2] {
    const PARKED: &str = r#"mutt_remediation_messages_total{disposition="dead"}"#;
    const REPLAYED: &str = r#"mutt_remediation_messages_total{disposition="replay"}"#;
    // What came back was not brought back.
    let total = format!(
        "sum(increase({PARKED}[{{{{.window}}}}])) + clamp_min(sum(increase({REPLAYED}[{{{{.window}}}}])) - sum(increase(mutt_remediation_bounced_total[{{{{.window}}}}])), 0)"
    );
    [
        Objective {
            lull: Lull::Any,
            ..objective(
                ("remediation_replay_success", "remediation"),
                "Dead letters that this worker brings back to work instead of parking them",
                0.95,
                Indicator::Ratio {
                    part: Part::Bad(selector(PARKED)),
                    total: Series::Template(total),
                },
            )
        },
        objective(
            ("remediation_drain_time", "remediation"),
            "Time during which no dead letter waits for more than an hour",
            0.99,
            Indicator::Moments {
                query: "mutt_remediation_oldest_dead_letter_age_seconds".into(),
                op: Op::Lte,
                bound: 3_600.0,
                every: Window::minutes(1),
            },
        ),
    ]
}

fn objective(
    (name, component): (&str, &str),
    description: &str,
    target: f64,
    indicator: Indicator,
) -> Objective {
    Objective {
        name: name.into(),
        component: component.into(),
        description: description.into(),
        indicator,
        target,
        period: PERIOD,
        warning: WARNING,
        critical: CRITICAL,
        min_events: MIN_EVENTS,
        lull: Lull::Minutes,
    }
}

fn selector(text: &str) -> Series {
    Series::Selector(text.into())
}

fn good(part: &str, total: &str) -> Indicator {
    Indicator::Ratio {
        part: Part::Good(selector(part)),
        total: selector(total),
    }
}

fn bad(part: &str, total: &str) -> Indicator {
    Indicator::Ratio {
        part: Part::Bad(selector(part)),
        total: selector(total),
    }
}

fn latency(buckets: &str, seconds: f64) -> Indicator {
    Indicator::Latency {
        buckets: selector(buckets),
        seconds,
    }
}
