//! `slo`: how the service level objectives stand.

use super::desk::Desk;
use super::screen::{Screen, answer, put_json};
use super::table::{Column, Table};
use super::{Outcome, clean, spell};
use crate::slo::view::{SloReport, SloView};

/// What scripts are told: all is ok; an objective is in danger; or none is, but of some it cannot be
/// told, or is told of an earlier time.
fn outcome(report: &SloReport) -> Outcome {
    let stale = report.slos.iter().any(|slo| slo.stale);
    match report.status.as_str() {
        "ok" if !stale => Outcome::Done,
        "ok" | "unknown" => Outcome::Partly,
        _ => Outcome::Failed,
    }
}

pub(super) async fn run(desk: &Desk, screen: Screen) -> anyhow::Result<Outcome> {
    let report = desk.slo().await?;
    if screen.json {
        put_json(&report)?;
    } else {
        answer(&shown(&report, screen))?;
    }
    Ok(outcome(&report))
}

fn shown(report: &SloReport, screen: Screen) -> String {
    let mut text = String::new();
    let prometheus = &report.prometheus;
    if prometheus.state != "up" {
        let why = clean::line(&prometheus.message);
        let state = prometheus.state.replace('_', " ");
        text.push_str(&format!(
            "prometheus: {}: {why}\n\n",
            screen.red(&clean::line(&state))
        ));
    }
    let mut table = Table::new(&[
        Column::Left("objective"),
        Column::Left("state"),
        Column::Right("target"),
        Column::Right("actual"),
        Column::Right("budget left"),
        Column::Right("burn rate"),
        Column::Right("over"),
        Column::Left("why"),
    ]);
    for slo in &report.slos {
        table.row(row(slo));
    }
    text.push_str(&screen.table(&table));
    text
}

fn row(slo: &SloView) -> [String; 8] {
    let told = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let target = match slo.target_seconds {
        Some(seconds) => format!("{seconds} s"),
        None => share(slo.target),
    };
    let actual = slo.actual_value.map(|value| match slo.target_seconds {
        Some(_) => format!("{value:.3} s"),
        None => share(value),
    });
    let state = match slo.age_seconds.filter(|_| slo.stale) {
        Some(age) => format!("{} (stale, {})", slo.status, spell::seconds(age)),
        None => slo.status.clone(),
    };
    [
        slo.slo_name.clone(),
        state,
        target,
        told(actual),
        told(
            slo.error_budget_remaining
                .map(|left| format!("{:.1} %", left * 100.0)),
        ),
        told(slo.burn_rate.map(|rate| format!("{rate:.2}"))),
        format!("{} h", slo.window_hours),
        slo.message.clone(),
    ]
}

/// A share in per cent, with as many places as tell 0.9995 from 0.999.
fn share(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_to_the_place_that_matters() {
        assert_eq!(share(0.999), "99.9 %");
        assert_eq!(share(0.9995), "99.95 %");
        assert_eq!(share(1.0), "100 %");
        assert_eq!(share(0.0), "0 %");
    }
}
