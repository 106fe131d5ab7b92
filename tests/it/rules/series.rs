//! From what happened in each minute to the series of an objective.

use std::fmt::Write as _;

use mutt_remediation::slo::evidence::Count;
use mutt_remediation::slo::objective::{Indicator, Objective, Part, Series};

/// What a minute has had; `None` where nobody counts.
pub(super) type Minute = Option<Count>;

type Share = fn(Count) -> f64;

/// Adds the series that MUTT would have, with a sample a minute, to a case of promtool's. The counters
/// begin anew so many minutes before the end, if they do.
pub(super) fn add(
    cases: &mut String,
    objective: &Objective,
    minutes: &[Minute],
    reset: Option<usize>,
) {
    let mut add = |name: &str, samples: &[String]| {
        let samples = samples.join(" ");
        let _ = writeln!(
            cases,
            "      - series: '{name}'\n        values: '{samples}'"
        );
    };
    let counter = |of: Share| counted(minutes, reset, of);
    match &objective.indicator {
        Indicator::Latency { buckets, .. } => {
            let name = selector(buckets);
            for bound in ["0.1", "0.25", "0.5", "1", "2.5", "5"] {
                add(&format!("{name}{{le=\"{bound}\"}}"), &counter(good));
            }
            for bound in ["10", "+Inf"] {
                add(&format!("{name}{{le=\"{bound}\"}}"), &counter(total));
            }
        }
        Indicator::Moments { query, .. } => add(query, &looked_at(minutes)),
        Indicator::Ratio {
            total: Series::Template(_),
            ..
        } => {
            let moved = "mutt_remediation_messages_total";
            add(
                &format!("{moved}{{disposition=\"replay\"}}"),
                &counter(good),
            );
            add(&format!("{moved}{{disposition=\"dead\"}}"), &counter(bad));
            add("mutt_remediation_bounced_total", &counter(|_| 0.0));
        }
        Indicator::Ratio { part, total: all } => {
            let all = selector(all);
            let (part, of, others): (_, Share, Share) = match part {
                Part::Good(series) => (selector(series), good, bad),
                Part::Bad(series) => (selector(series), bad, good),
            };
            let samples = counter(of);
            // What has never counted has no series.
            if samples.iter().any(|sample| sample != "0") {
                add(&part.replace("=~\"poison|error\"", "=\"error\""), &samples);
            }
            if part.starts_with(all) && part.contains('{') {
                add(&format!("{all}{{status=\"other\"}}"), &counter(others));
            } else {
                add(all, &counter(total));
            }
        }
    }
}

fn selector(series: &Series) -> &str {
    match series {
        Series::Selector(selector) => selector,
        Series::Template(_) => panic!("{series:?}"),
    }
}

fn good(count: Count) -> f64 {
    count.total - count.bad
}

fn bad(count: Count) -> f64 {
    count.bad
}

fn total(count: Count) -> f64 {
    count.total
}

/// A counter that begins at zero.
fn counted(minutes: &[Minute], reset: Option<usize>, of: Share) -> Vec<String> {
    let mut sum = 0.0;
    let mut samples = vec![minutes[0].map_or("_", |_| "0").to_owned()];
    for (number, minute) in minutes.iter().enumerate() {
        if reset == Some(minutes.len() - number) {
            sum = 0.0;
        }
        sum += minute.map_or(0.0, of);
        samples.push(minute.map_or("_".into(), |_| sum.to_string()));
    }
    samples
}

/// An age, which nobody tells where nothing happens.
fn looked_at(minutes: &[Minute]) -> Vec<String> {
    let sample = |minute: &Minute| match minute {
        Some(count) if count.total > 0.0 && count.bad > 0.0 => "7200".into(),
        Some(count) if count.total > 0.0 => "60".into(),
        _ => "_".to_owned(),
    };
    let first = minutes.first().map(sample);
    first
        .into_iter()
        .chain(minutes.iter().map(sample))
        .collect()
}
