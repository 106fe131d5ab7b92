//! The table of the objectives: what is promised, what is, and how fast the budget is spent.

use maud::{Markup, html};

use super::{Seen, anchor, mark, then};
use crate::http::console::view::{ago, count, progress, share, theirs};
use crate::slo::judge::{Judgement, State, figure};
use crate::slo::known::Entry;
use crate::slo::objective::{Indicator, Objective};
use crate::slo::query;
use crate::slo::window::{Pair, Window};

/// By component, in the order in which they are first met.
pub(super) fn table(all: &[Seen<'_>]) -> Markup {
    let mut components: Vec<&str> = vec![];
    for one in all {
        let component = one.entry.objective.component.as_str();
        if !components.contains(&component) {
            components.push(component);
        }
    }
    html! {
        div .scroll { table .stacks.objectives {
            thead { tr {
                th { "Objective" } th { "State" } th .r { "Target" } th .r { "Actual" }
                th { "Budget left" } th { "Burn rates, and what is too much" }
            } }
            @for component in components { tbody {
                tr { th .group colspan="6" scope="rowgroup" { (theirs(component)) } }
                @for one in all.iter().filter(|one| one.entry.objective.component == component) {
                    (row(one))
                }
            } }
        } }
        p .faint {
            "A burn rate is how many times as fast as it may be the budget is spent: at 1 it lasts just as long as its hours. "
            "Too much is what is above the rate over both stretches of time. What is too much can be set: "
            a href="/console/settings#slo_burn_rate_critical" { "critical" } ", "
            a href="/console/settings#slo_burn_rate_warning" { "warn" } ", "
            a href="/console/settings#slo_window_hours" { "hours" } "."
        }
    }
}

fn row(one: &Seen<'_>) -> Markup {
    let objective = &one.entry.objective;
    let judgement = &one.now.judgement;
    let query = query::share(objective, objective.period);
    html! { tr #(anchor(&objective.name)) {
        th .whole scope="row" {
            (theirs(&objective.name))
            div .told { (theirs(&objective.description)) }
            details .fold { summary { "Query" } code .break { (theirs(&query)) } }
        }
        td .whole {
            (mark(judgement.state, one.now.stale))
            @if one.now.stale { " " span .tag { "stale" } }
            div .why { (theirs(&one.why)) }
            @if let Some(age) = one.now.age { div .told { "answered " (ago(then(age), super::now())) } }
        }
        td .r data-label="target" {
            (target(objective))
            div .told { (over(objective)) }
        }
        td .r data-label="actual" { (actual(objective, judgement)) }
        td .whole.budget data-label="budget left" { (budget(one)) }
        td .whole data-label="burn rates" { (burns(objective, judgement)) }
    } }
}

/// What is promised, where nobody looks whether it is kept.
pub(super) fn promises(entries: &[Entry]) -> Markup {
    html! { div .scroll { table .stacks {
        thead { tr { th { "Objective" } th { "Of" } th .r { "Target" } } }
        tbody { @for entry in entries { tr {
            th .whole scope="row" {
                (theirs(&entry.objective.name))
                div .told { (theirs(&entry.objective.description)) }
            }
            td { (theirs(&entry.objective.component)) }
            td .r { (target(&entry.objective)) div .told { (over(&entry.objective)) } }
        } } }
    } } }
}

fn over(objective: &Objective) -> String {
    format!("over {} h", objective.period.as_hours())
}

fn target(objective: &Objective) -> Markup {
    html! {
        span .n { (share(objective.target, 5)) }
        @if let Some(seconds) = objective.target_seconds() { div .told { "within " (seconds) " s" } }
    }
}

fn actual(objective: &Objective, judgement: &Judgement) -> Markup {
    html! {
        span .n { (judgement.availability.map_or_else(|| "–".into(), |good| share(good, 3))) }
        @if let (Indicator::Latency { .. }, Some(seconds)) = (&objective.indicator, judgement.quantile) {
            div .told {
                (share(objective.target, 5))
                @if seconds.is_finite() { " within " (figure(seconds)) " s" } @else { ": longer than is counted" }
            }
        }
        @if let Some(events) = judgement.events {
            div .told { "of " (count(whole(events))) " " (counted(objective)) }
        }
    }
}

fn budget(one: &Seen<'_>) -> Markup {
    let Some(left) = one.now.judgement.budget_left else {
        return html! { span .n { "–" } };
    };
    // Of what is spent more than once there is nothing left to draw.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1000"
    )]
    let drawn = (left.clamp(0.0, 1.0) * 1_000.0) as u64;
    let label = format!("Budget left of {}", one.name());
    let class = match one.state() {
        State::Ok if !one.now.stale => "good",
        State::Critical => "bad",
        State::Warn => "warn",
        _ => "none",
    };
    html! {
        span .n { (figure(left * 100.0)) " %" }
        div class=(format!("level {class}")) { (progress(&label, drawn, 1_000)) }
    }
}

/// Each pair of stretches with the rate that is too much over both.
fn burns(objective: &Objective, judgement: &Judgement) -> Markup {
    if judgement.burn_rates.is_empty() {
        return html! { span .faint { "not known" } };
    }
    let pairs = objective.pairs();
    let name = &objective.name;
    let setting = |what: &str| Some(format!("/console/settings#slo_{name}_burn_rate_{what}"));
    let lines = [
        (pairs.critical, "critical", "bad", setting("critical")),
        (pairs.warning, "warn", "warn", setting("warning")),
        (pairs.slow, "warn", "warn", None),
    ];
    html! { ul .burns { @for (pair, word, class, setting) in lines {
        @let [long, short] = [pair.long, pair.short].map(|window| (window, rate(judgement, window)));
        @let over = exceeds(pair, long.1, short.1);
        li class=[over.then_some(class)] {
            (stretch(long)) ", " (stretch(short)) " "
            span .limit {
                @if over { "▲ " }
                (word) " above "
                @match setting {
                    Some(setting) => a href=(setting) { (figure(pair.burn_rate)) },
                    None => (figure(pair.burn_rate)),
                }
            }
        }
    } } }
}

fn rate(judgement: &Judgement, window: Window) -> Option<f64> {
    let mut rates = judgement.burn_rates.iter();
    rates
        .find(|(of, _)| *of == window)
        .and_then(|(_, rate)| *rate)
}

fn exceeds(pair: Pair, long: Option<f64>, short: Option<f64>) -> bool {
    [long, short]
        .into_iter()
        .all(|rate| rate.is_some_and(|rate| rate > pair.burn_rate))
}

fn stretch((window, rate): (Window, Option<f64>)) -> Markup {
    html! { span .pair-of { span .faint { (window) } " " strong .n { (rate.map_or_else(|| "–".into(), figure)) } } }
}

/// What is counted.
fn counted(objective: &Objective) -> &'static str {
    match objective.indicator {
        Indicator::Moments { .. } => "moments",
        _ => "events",
    }
}

/// Prometheus extrapolates, so that five can be 4.97.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count, which ends at the largest number"
)]
fn whole(events: f64) -> u64 {
    events.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_above_the_rate_over_both_stretches_is_too_much() {
        let pair = Pair {
            burn_rate: 6.0,
            long: Window::hours(1),
            short: Window::minutes(5),
        };
        for (long, short, over) in [
            (Some(7.0), Some(7.0), true),
            (Some(7.0), Some(5.0), false),
            (Some(6.0), Some(7.0), false),
            (Some(7.0), None, false),
            (None, None, false),
        ] {
            assert_eq!(exceeds(pair, long, short), over, "{long:?} {short:?}");
        }
    }
}
