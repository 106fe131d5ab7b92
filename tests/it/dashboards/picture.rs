//! A dashboard as a picture, drawn from what Prometheus answers to its panels' own queries.
//!
//! Not Grafana, which is no part of the tests: it shows what a panel has to show, and where it stands.

use std::fmt::Write as _;

use serde_json::Value;

use super::{filled_in, list};
use crate::support::Prometheus;

/// A column and a row of the grid, in pixels.
const CELL: (f64, f64) = (46.0, 26.0);
const COLOURS: [&str; 8] = [
    "#3274d9", "#e0752d", "#37872d", "#c4162a", "#8f3bb8", "#b58900", "#1f9ea3", "#7c6f64",
];

/// A line of a panel: what it is called, and its points, each a moment and a value.
type Line = (String, Vec<(f64, f64)>);

/// The whole dashboard, from one moment to another.
pub(super) async fn picture(
    prometheus: &Prometheus,
    dashboard: &Value,
    (from, to): (i64, i64),
    step: i64,
) -> String {
    let mut body = String::new();
    let mut bottom: f64 = 0.0;
    for panel in list(&dashboard["panels"]) {
        let side = |name: &str| panel["gridPos"][name].as_f64().expect("a number");
        let (x, y) = (side("x") * CELL.0, side("y") * CELL.1);
        let (w, h) = (side("w") * CELL.0 - 6.0, side("h") * CELL.1 - 6.0);
        bottom = bottom.max(y + h);
        let title = escaped(
            panel["title"]
                .as_str()
                .expect("a title")
                .trim_start_matches('$'),
        );
        write!(body, "<g transform=\"translate({x:.0} {y:.0})\">").expect("memory");
        if panel["type"] == "row" {
            write!(body, "<text y=\"17\" class=\"row\">{title}</text></g>").expect("memory");
            continue;
        }
        write!(
            body,
            "<rect width=\"{w:.0}\" height=\"{h:.0}\" class=\"panel\"/><text x=\"8\" y=\"17\" class=\"title\">{title}</text>"
        )
        .expect("memory");
        let mut lines = vec![];
        for target in list(&panel["targets"]) {
            let query = filled_in(target["expr"].as_str().expect("a query"));
            let name = target["legendFormat"].as_str().unwrap_or_default();
            let answer = prometheus.range(&query, (from, to), step).await;
            for series in list(&answer["data"]["result"]) {
                lines.push((legend(name, &series["metric"]), points(&series["values"])));
            }
        }
        let unit = panel["fieldConfig"]["defaults"]["unit"]
            .as_str()
            .unwrap_or_default();
        body += &match panel["type"].as_str().expect("a type") {
            "timeseries" => curves(&lines, (w, h), (from, to), unit),
            "state-timeline" => bars(&lines, (w, h), (from, to)),
            _ => figures(&lines, (w, h), unit),
        };
        body += "</g>\n";
    }
    let width = 24.0 * CELL.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-8 -8 {:.0} {:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n<style>.panel{{fill:#fff;stroke:#d0d4da}}.title{{font-weight:bold;fill:#24292f}}.row{{font-weight:bold;font-size:14px;fill:#24292f}}text{{fill:#57606a}}.big{{font-size:20px;fill:#24292f}}</style>\n<rect x=\"-8\" y=\"-8\" width=\"100%\" height=\"100%\" fill=\"#f4f5f7\"/>\n{body}</svg>\n",
        width + 12.0,
        bottom + 16.0
    )
}

/// A line for each series, and its name and last value below.
fn curves(lines: &[Line], (w, h): (f64, f64), (from, to): (i64, i64), unit: &str) -> String {
    let shown = &lines[..lines.len().min(6)];
    let rows = f64::from(u32::try_from(shown.len().div_ceil(2)).unwrap_or(0));
    let (top, low) = (26.0, h - 10.0 - rows * 14.0);
    let values = || {
        lines
            .iter()
            .flat_map(|(_, points)| points)
            .map(|point| point.1)
    };
    let least = values().fold(0.0_f64, f64::min);
    let most = values().fold(least + 1e-9, f64::max);
    let mut text = format!(
        "<text x=\"8\" y=\"{:.0}\">{}</text><text x=\"8\" y=\"{low:.0}\">{}</text>",
        top + 8.0,
        figure(most, unit),
        figure(least, unit)
    );
    for (index, (name, points)) in shown.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let place = |(at, value): &(f64, f64)| {
            let x = 60.0 + (at - real(from)) / (real(to) - real(from)) * (w - 70.0);
            let y = low - (value - least) / (most - least) * (low - top);
            format!("{x:.1},{y:.1}")
        };
        let path: Vec<_> = points.iter().map(place).collect();
        let (column, row) = (index % 2, index / 2);
        let at = (
            8.0 + real(column) * w / 2.0,
            h - rows * 14.0 + real(row) * 14.0 + 4.0,
        );
        let now = points
            .last()
            .map_or_else(String::new, |point| figure(point.1, unit));
        write!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/><text x=\"{:.0}\" y=\"{:.0}\" style=\"fill:{colour}\">{} {now}</text>",
            path.join(" "), at.0, at.1, escaped(&short(name, 30))
        )
        .expect("memory");
    }
    text
}

/// A bar for each series; the darker the worse.
fn bars(lines: &[Line], (w, h): (f64, f64), (from, to): (i64, i64)) -> String {
    const STATES: [&str; 4] = ["#7eb26d", "#b0b7c3", "#eab839", "#c4162a"];
    let height = ((h - 34.0) / real(lines.len().max(1))).min(18.0);
    let mut text = String::new();
    for (index, (name, points)) in lines.iter().enumerate() {
        let y = 28.0 + real(index) * height;
        write!(
            text,
            "<text x=\"8\" y=\"{:.0}\">{}</text>",
            y + height - 6.0,
            escaped(&short(name, 28))
        )
        .expect("memory");
        let x = |at: f64| 180.0 + (at - real(from)) / (real(to) - real(from)) * (w - 190.0);
        let mut points = points.iter().peekable();
        while let Some((begin, value)) = points.next() {
            let mut end = *begin;
            while let Some((at, _)) = points.next_if(|(_, next)| next == value) {
                end = *at;
            }
            let end = points.peek().map_or(end, |(at, _)| *at);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "states are few"
            )]
            let colour = STATES[(value.max(0.0) as usize).min(3)];
            write!(
                text,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                x(*begin), (x(end) - x(*begin)).max(1.5), height - 3.0
            )
            .expect("memory");
        }
    }
    text
}

/// The last value of each series.
fn figures(lines: &[Line], (w, h): (f64, f64), unit: &str) -> String {
    let last = |points: &[(f64, f64)]| points.last().map(|point| figure(point.1, unit));
    if let [(_, points)] = lines {
        let value = last(points).unwrap_or_default();
        return format!(
            "<text x=\"8\" y=\"{:.0}\" class=\"big\">{value}</text>",
            h / 2.0 + 16.0
        );
    }
    let fits = ((h - 28.0) / 15.0).floor();
    let mut text = String::new();
    for (index, (name, points)) in lines
        .iter()
        .enumerate()
        .filter(|(index, _)| real(*index) < fits)
    {
        let y = 36.0 + real(index) * 15.0;
        write!(
            text,
            "<text x=\"8\" y=\"{y:.0}\">{}</text><text x=\"{:.0}\" y=\"{y:.0}\" text-anchor=\"end\">{}</text>",
            escaped(&short(name, 60)), w - 8.0, last(points).unwrap_or_default()
        )
        .expect("memory");
    }
    text
}

/// A series's name as its panel wants it, or its labels.
fn legend(format: &str, metric: &Value) -> String {
    let labels = metric.as_object().expect("labels");
    if format.is_empty() {
        let each = labels
            .iter()
            .map(|(_, value)| value.as_str().unwrap_or_default());
        return each.collect::<Vec<_>>().join(" ");
    }
    let mut text = format.to_owned();
    for (name, value) in labels {
        let value = value.as_str().unwrap_or_default();
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    text
}

fn points(values: &Value) -> Vec<(f64, f64)> {
    let point = |pair: &Value| {
        let value: f64 = pair[1].as_str()?.parse().ok()?;
        Some((pair[0].as_f64()?, value)).filter(|_| value.is_finite())
    };
    list(values).filter_map(point).collect()
}

/// A value in the units that the dashboards use.
fn figure(value: f64, unit: &str) -> String {
    match unit {
        "percentunit" => format!("{:.2} %", value * 100.0),
        "bytes" => format!("{:.1} MiB", value / 1_048_576.0),
        "s" | "dtdurations" if value.abs() < 1.0 => format!("{:.1} ms", value * 1_000.0),
        "s" | "dtdurations" => format!("{value:.0} s"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Small numbers, for pixels.
fn real(number: impl TryInto<i64>) -> f64 {
    let number = number.try_into().unwrap_or(0);
    #[expect(
        clippy::cast_precision_loss,
        reason = "pixels, and seconds of our time"
    )]
    let number = number as f64;
    number
}
