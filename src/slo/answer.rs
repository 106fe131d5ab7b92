//! Reads what Prometheus answers. Pure.
//!
//! Whatever is not exactly what was asked for, a number that is none included, makes the objective
//! unknown; nothing is guessed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::evidence::{Buckets, Count, Evidence};
use super::objective::{Indicator, Objective, Part};
use super::query::{BAD, BUCKET, GOOD, PART, TOTAL};
use super::window::Window;

/// An answer of `/api/v1/query` or `/api/v1/query_range`, as far as it counts.
#[derive(Debug, Deserialize)]
pub struct Body {
    status: String,
    data: Option<Data>,
    error: Option<String>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    /// Prometheus says so where an answer lacks something, such as a remote store.
    warnings: Option<Vec<String>>,
    /// VictoriaMetrics says so where a part of its stores did not answer.
    #[serde(rename = "isPartial", default)]
    is_partial: bool,
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    // Of a scalar it is a pair, so that it is looked at only after the kind.
    result: serde_json::Value,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Series {
    metric: BTreeMap<String, String>,
    /// One point, of an instant.
    value: Option<Point>,
    /// Many, of a stretch.
    #[serde(default)]
    values: Vec<Point>,
}

/// A moment in Unix seconds, and a number as text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Point(f64, String);

impl Body {
    /// What an answer says; of a bad one, why it is bad.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn series(self) -> Result<Vec<Series>, String> {
        if self.status != "success" {
            let error = self.error.unwrap_or_else(|| "no reason given".into());
            return Err(format!("Prometheus refuses the query: {}", short(&error)));
        }
        if self.is_partial {
            return Err(
                "the answer of Prometheus is not complete: it says that it is partial".into(),
            );
        }
        if let Some(warning) = self.warnings.iter().flatten().next() {
            return Err(format!(
                "the answer of Prometheus is not complete: {}",
                short(warning)
            ));
        }
        let Some(data) = self.data else {
            return Err("the answer of Prometheus has no data".into());
        };
        if !matches!(data.kind.as_str(), "vector" | "matrix") {
            return Err(format!(
                "the answer of Prometheus is a {}, expected a vector",
                short(&data.kind)
            ));
        }
        serde_json::from_value(data.result)
            .map_err(|error| format!("the answer of Prometheus cannot be read: {error}"))
    }

    /// Whether it is this query that took too long, and not Prometheus that is not ready.
    #[must_use]
    pub fn is_of_query(&self) -> bool {
        let kind = self.error_type.as_deref();
        kind.is_some_and(|kind| matches!(kind, "timeout" | "canceled" | "execution"))
    }

    /// What went wrong, where Prometheus says it.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.error.as_deref().map(short)
    }
}

/// The parts of an answer by stretch and name: a count, or the counts within bounds.
#[derive(Debug, Default)]
struct Parts {
    counts: BTreeMap<(Window, &'static str), f64>,
    buckets: BTreeMap<Window, Vec<(f64, f64)>>,
}

/// What was counted for an objective, from the answer to [`super::query::evidence`].
///
/// # Errors
/// Why it cannot be told, for people.
pub fn evidence(objective: &Objective, series: &[Series]) -> Result<Evidence, String> {
    let mut parts = Parts::default();
    for one in series {
        let Some(Point(_, text)) = &one.value else {
            return Err("the answer of Prometheus has a series without a value".into());
        };
        parts.take(objective, &one.metric, text)?;
    }
    let mut evidence = Evidence::default();
    for window in objective.windows() {
        if let Some(count) = parts.count(objective, window)? {
            evidence.counts.insert(window, count);
        }
    }
    if let Some(bounds) = parts.buckets.remove(&objective.period) {
        evidence.quantile = Buckets::new(bounds).quantile(objective.target);
    }
    Ok(evidence)
}

/// What was counted in each step of a stretch of time: the end of the step in Unix seconds, and the
/// events in it. A step without any is missing.
///
/// # Errors
/// Why it cannot be told, for people.
pub fn steps(
    objective: &Objective,
    step: Window,
    series: &[Series],
) -> Result<Vec<(i64, Count)>, String> {
    let mut moments: BTreeMap<i64, Parts> = BTreeMap::new();
    for one in series {
        for Point(at, text) in &one.values {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole seconds were asked for"
            )]
            let parts = moments.entry(at.round() as i64).or_default();
            parts.take(objective, &one.metric, text)?;
        }
    }
    let each = moments.into_iter().map(|(at, parts)| {
        let count = parts.count(objective, step)?;
        Ok(count
            .filter(|count| count.total > 0.0)
            .map(|count| (at, count)))
    });
    each.filter_map(Result::transpose).collect()
}

impl Parts {
    fn take(
        &mut self,
        objective: &Objective,
        metric: &BTreeMap<String, String>,
        text: &str,
    ) -> Result<(), String> {
        let part = metric.get(PART).map_or("", String::as_str);
        let (name, window) = part.split_once(':').unwrap_or((part, ""));
        let known = [TOTAL, GOOD, BAD, BUCKET]
            .into_iter()
            .find(|known| *known == name);
        // A step of the chart is no stretch of the objective's own.
        let mut windows = objective.windows();
        windows.push(objective.step());
        let window = windows
            .into_iter()
            .find(|known| known.to_string() == window);
        let (Some(name), Some(window)) = (known, window) else {
            return Err(format!(
                "Prometheus answers a part {:?} that was not asked for",
                short(part)
            ));
        };
        let number = number(text).ok_or_else(|| {
            format!(
                "Prometheus answers {:?} for {name} of the last {window}",
                short(text)
            )
        })?;
        if name == BUCKET {
            let le = metric.get("le").map_or("", String::as_str);
            let bound = le.parse::<f64>().ok().filter(|bound| !bound.is_nan());
            let bound = bound.ok_or_else(|| {
                format!(
                    "a bucket in the answer of Prometheus has the bound {:?}",
                    short(le)
                )
            })?;
            self.buckets
                .entry(window)
                .or_default()
                .push((bound, number));
            return Ok(());
        }
        match self.counts.insert((window, name), number) {
            None => Ok(()),
            Some(_) => Err(format!(
                "Prometheus answers more than one series for {name} of the last {window}"
            )),
        }
    }

    /// The events of a stretch; `None` if it was not answered for.
    fn count(&self, objective: &Objective, window: Window) -> Result<Option<Count>, String> {
        match &objective.indicator {
            Indicator::Latency { seconds, .. } => {
                let Some(bounds) = self.buckets.get(&window) else {
                    return Ok(None);
                };
                let buckets = Buckets::new(bounds.clone());
                let Some(total) = buckets.total() else {
                    return Err("the histogram has no bucket without an end".into());
                };
                Ok(Some(Count::of_good(buckets.within(*seconds), total)))
            }
            indicator => {
                let good = match indicator {
                    Indicator::Ratio {
                        part: Part::Bad(_), ..
                    } => BAD,
                    _ => GOOD,
                };
                let total = self.counts.get(&(window, TOTAL)).copied();
                let part = self.counts.get(&(window, good)).copied();
                match (total, part) {
                    (None, None) => Ok(None),
                    (None, Some(_)) => Err(format!(
                        "Prometheus knows some events of the last {window}, and not how many there were"
                    )),
                    (Some(total), Some(part)) if is_nonsense(part, total) => Err(format!(
                        "Prometheus counts {part} {good} events of the last {window}, and {total} of all"
                    )),
                    // What was never counted has no series.
                    (Some(total), part) if good == BAD => {
                        Ok(Some(Count::of_bad(part.unwrap_or(0.0), total)))
                    }
                    (Some(total), part) => Ok(Some(Count::of_good(part.unwrap_or(0.0), total))),
                }
            }
        }
    }
}

/// Whether a part cannot be one of these. Prometheus extrapolates both by themselves, which makes some
/// difference where there are few samples.
fn is_nonsense(part: f64, total: f64) -> bool {
    part > total * 1.5 + 3.0 || part < -3.0
}

/// A number that one can count with.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// What somebody else has written, in one line and short.
fn short(text: &str) -> String {
    let text: String = text.chars().take(200).collect();
    crate::clean::line(&text)
}
