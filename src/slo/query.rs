//! From an objective to PromQL. Pure.
//!
//! One query asks for everything at one moment: each part of its answer carries the label [`PART`],
//! which says what it is of which stretch.

use super::objective::{Indicator, Objective, Part, Series, WINDOW};
use super::window::Window;

/// The label that tells the parts of an answer from each other.
pub const PART: &str = "mutt_slo_part";
/// All events.
pub const TOTAL: &str = "total";
/// Those that are good.
pub const GOOD: &str = "good";
/// Those that are not.
pub const BAD: &str = "bad";
/// Those within a bound of the histogram, by `le`.
pub const BUCKET: &str = "bucket";

impl Series {
    /// How many there were in a stretch.
    fn counted(&self, window: Window) -> String {
        match self {
            Self::Selector(selector) => format!("sum(increase({selector}[{window}]))"),
            Self::Template(template) => template.replace(WINDOW, &window.to_string()),
        }
    }
}

/// What counts the parts of an indicator over a stretch: each with its name.
fn parts(indicator: &Indicator, window: Window) -> Vec<(&'static str, String)> {
    match indicator {
        Indicator::Ratio { part, total } => {
            let (name, series) = match part {
                Part::Good(series) => (GOOD, series),
                Part::Bad(series) => (BAD, series),
            };
            vec![
                (TOTAL, total.counted(window)),
                (name, series.counted(window)),
            ]
        }
        Indicator::Latency { buckets, .. } => {
            let counted = match buckets {
                Series::Selector(selector) => {
                    format!("sum by (le) (increase({selector}[{window}]))")
                }
                template @ Series::Template(_) => template.counted(window),
            };
            vec![(BUCKET, counted)]
        }
        Indicator::Moments {
            query,
            op,
            bound,
            every,
        } => {
            // What is no number is within no bound and beyond none.
            let moments = format!(
                "((({query}) >= -Inf) {} bool {bound})[{window}:{every}]",
                op.as_str()
            );
            vec![
                (TOTAL, format!("sum(count_over_time({moments}))")),
                (GOOD, format!("sum(sum_over_time({moments}))")),
            ]
        }
    }
}

/// Everything that an objective needs, over each of the stretches.
#[must_use]
pub fn evidence(objective: &Objective, windows: &[Window]) -> String {
    let each = windows.iter().flat_map(|window| {
        parts(&objective.indicator, *window)
            .into_iter()
            .map(move |(name, counted)| {
                format!(r#"label_replace({counted}, "{PART}", "{name}:{window}", "", "")"#)
            })
    });
    each.collect::<Vec<_>>().join(" or ")
}

/// The share of good events over a stretch, as a person would ask for it.
#[must_use]
pub fn share(objective: &Objective, window: Window) -> String {
    match &objective.indicator {
        Indicator::Latency { .. } => {
            let rates = recorded(objective, window);
            format!("histogram_quantile({}, {rates})", objective.target)
        }
        indicator => format!("1 - {}", bad_share(indicator, window)),
    }
}

/// What the rules record over a stretch: the share of events that were not good, nothing without any
/// event; of a latency objective the rates of its buckets, by `le`.
#[must_use]
pub fn recorded(objective: &Objective, window: Window) -> String {
    match &objective.indicator {
        Indicator::Latency { buckets, .. } => match buckets {
            Series::Selector(selector) => format!("sum by (le) (rate({selector}[{window}]))"),
            template @ Series::Template(_) => template.counted(window),
        },
        indicator => bad_share(indicator, window),
    }
}

/// All events of a stretch.
#[must_use]
pub fn total(objective: &Objective, window: Window) -> String {
    match &objective.indicator {
        Indicator::Ratio { total, .. } => total.counted(window),
        Indicator::Latency { buckets, .. } => match buckets {
            Series::Selector(selector) => {
                let all = with_matcher(selector, r#"le="+Inf""#);
                format!("sum(increase({all}[{window}]))")
            }
            // The bound without an end is the largest.
            template @ Series::Template(_) => format!("max({})", template.counted(window)),
        },
        moments @ Indicator::Moments { .. } => {
            let total = parts(moments, window).into_iter().next();
            total.map(|(_, text)| text).unwrap_or_default()
        }
    }
}

/// The share of events that were not good. Where none of the counted part was ever seen it is none of
/// them: a counter that has never counted has no series.
pub(super) fn bad_share(indicator: &Indicator, window: Window) -> String {
    let mut parts = parts(indicator, window).into_iter();
    let (Some((_, total)), Some((name, part))) = (parts.next(), parts.next()) else {
        return String::new();
    };
    let share = format!("({part} or vector(0)) / ({total} > 0)");
    if name == BAD {
        format!("clamp({share}, 0, 1)")
    } else {
        format!("clamp(1 - {share}, 0, 1)")
    }
}

/// A selector with one more matcher.
fn with_matcher(selector: &str, matcher: &str) -> String {
    match selector.trim_end().strip_suffix('}') {
        None => format!("{selector}{{{matcher}}}"),
        Some(open) => {
            let open = open.trim_end().trim_end_matches(',');
            let comma = if open.ends_with('{') { "" } else { "," };
            format!("{open}{comma}{matcher}}}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::built_in::built_in;
    use super::*;

    fn named(name: &str) -> Objective {
        let found = built_in().into_iter().find(|one| one.name == name);
        found.expect("it is built in")
    }

    #[test]
    fn one_query_asks_for_every_part_over_every_stretch() {
        let objective = named("forwarder_availability");
        let query = evidence(&objective, &objective.windows());
        let parts: Vec<_> = query.split(" or label_replace").collect();
        assert_eq!(parts.len(), 10, "{query}");
        assert!(query.contains(r#"label_replace(sum(increase(mutt_moog_requests_total[15m])), "mutt_slo_part", "total:15m", "", "")"#), "{query}");
        assert!(query.contains(r#"label_replace(sum(increase(mutt_moog_requests_total{status="success"}[1d])), "mutt_slo_part", "good:1d", "", "")"#), "{query}");
    }

    #[test]
    fn a_matcher_is_added_to_any_selector() {
        for (selector, expected) in [
            ("a", r#"a{le="1"}"#),
            ("a{}", r#"a{le="1"}"#),
            (r#"a{b="c"}"#, r#"a{b="c",le="1"}"#),
            (r#"a{b="c", } "#, r#"a{b="c",le="1"}"#),
        ] {
            assert_eq!(with_matcher(selector, r#"le="1""#), expected);
        }
    }

    #[test]
    fn the_query_for_people_says_how_it_is_meant() {
        let day = Window::hours(24);
        assert_eq!(
            share(&named("ingestor_latency_p99"), day),
            "histogram_quantile(0.99, sum by (le) (rate(mutt_ingest_latency_seconds_bucket[1d])))"
        );
        assert_eq!(
            share(&named("alerter_cache_reload_success"), day),
            "1 - clamp((sum(increase(mutt_alerter_cache_reload_failures_total[1d])) or vector(0)) / (sum(increase(mutt_alerter_cache_reload_total[1d])) > 0), 0, 1)"
        );
    }
}
