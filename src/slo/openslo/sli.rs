//! What is counted, or looked at: the `spec` of an SLI.

use std::collections::BTreeMap;

use super::super::objective::{Part, Series};
use super::place::{Map, Place};
use super::promql;

/// An indicator before an objective has said what is good enough.
#[derive(Clone)]
pub(super) enum Sli {
    /// Events, and some of them.
    Ratio { part: Part, total: Series },
    /// A value, as PromQL.
    Threshold { query: String },
}

/// Whether each source of data that the file describes is a Prometheus, by name.
pub(super) type Sources<'a> = BTreeMap<&'a str, bool>;

pub(super) fn read(spec: &Place<'_>, sources: &Sources<'_>) -> Option<Sli> {
    let map = spec.map(&["description", "ratioMetric", "thresholdMetric"])?;
    match (map.get("ratioMetric"), map.get("thresholdMetric")) {
        (Some(ratio), None) => read_ratio(&ratio, sources),
        (None, Some(threshold)) => {
            let query = query(&threshold, sources)?;
            let text = query.text()?;
            let value = promql::value(text).map_err(|why| query.refuse(why)).ok()?;
            Some(Sli::Threshold { query: value })
        }
        (None, None) => {
            spec.refuse("ratioMetric or thresholdMetric is missing");
            None
        }
        (Some(_), Some(threshold)) => {
            threshold.refuse("either ratioMetric or thresholdMetric, not both");
            None
        }
    }
}

fn read_ratio(ratio: &Place<'_>, sources: &Sources<'_>) -> Option<Sli> {
    let map = ratio.map(&["counter", "good", "bad", "total", "raw", "rawType"])?;
    map.refuse(
        &["raw", "rawType"],
        "a ratio does not say of how many events it is; expected good or bad, and total",
    );
    if map.get("raw").is_some() {
        return None;
    }
    if let Some(counter) = map.need("counter")
        && counter.flag() == Some(false)
    {
        counter.refuse(
            "false, expected true: only what counts up can be counted over any stretch; \
             a value that rises and falls is a thresholdMetric",
        );
    }
    let total = map.need("total").and_then(|total| series(&total, sources));
    let part = match (map.get("good"), map.get("bad")) {
        (Some(good), None) => series(&good, sources).map(Part::Good),
        (None, Some(bad)) => series(&bad, sources).map(Part::Bad),
        (None, None) => {
            ratio.refuse("good or bad is missing");
            None
        }
        (Some(_), Some(bad)) => {
            bad.refuse("either good or bad, not both");
            None
        }
    };
    Some(Sli::Ratio {
        part: part?,
        total: total?,
    })
}

fn series(metric: &Place<'_>, sources: &Sources<'_>) -> Option<Series> {
    let query = query(metric, sources)?;
    let series = promql::series(query.text()?);
    series.map_err(|why| query.refuse(why)).ok()
}

/// The query of a metric. It is asked of one Prometheus, so that it must not be meant for another
/// kind of source.
fn query<'a>(metric: &Place<'a>, sources: &Sources<'_>) -> Option<Place<'a>> {
    let source = metric.map(&["metricSource"])?.need("metricSource")?;
    let source = source.map(&["metricSourceRef", "type", "spec"])?;
    if let Some(kind) = source.get("type")
        && !is_prometheus(&kind)
    {
        kind.expected("Prometheus, which is all that can be asked");
    }
    if let Some(reference) = source.get("metricSourceRef")
        && let Some(name) = reference.text()
        && sources.get(name) == Some(&false)
    {
        reference.refuse(format!("{name} is a DataSource that is no Prometheus"));
    }
    let spec = source.need("spec")?;
    let map = spec.map(&["query", "promql", "queryType"])?;
    if let Some(kind) = map.get("queryType")
        && !kind
            .scalar()
            .is_some_and(|text| text.eq_ignore_ascii_case("promql"))
    {
        kind.expected("promql");
    }
    only_query(&spec, &map)
}

fn only_query<'a>(spec: &Place<'a>, map: &Map<'a>) -> Option<Place<'a>> {
    match (map.get("query"), map.get("promql")) {
        (Some(query), None) | (None, Some(query)) => Some(query),
        (None, None) => {
            spec.refuse("query is missing");
            None
        }
        (Some(_), Some(second)) => {
            second.refuse("either query or promql, not both");
            None
        }
    }
}

/// Whether a type of source is the one that can be asked.
pub(super) fn is_prometheus(kind: &Place<'_>) -> bool {
    let text = kind.scalar().unwrap_or_default();
    text.eq_ignore_ascii_case("prometheus")
}
