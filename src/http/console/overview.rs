//! The overview: how everything stands, and why.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::door::{Sought, Visitor};
use super::layout::{self, Place};
use super::live::Parts;
use super::view::{age, ago, count, gate, percent, queue_address, seconds, theirs, why};
use super::{Answer, ConsoleState, runs, slo};
use crate::http::api::problem::Problem;
use crate::operate::wire::{DrainStatus, QueueView, RunView, Status};

/// The stretches of time that charts show: seconds, and what they are called.
const SPANS: [(i64, &str); 3] = [(900, "15 min"), (3_600, "1 h"), (21_600, "6 h")];
/// Runs that are shown.
const RUNS: usize = 5;

/// The page.
pub(super) async fn page(State(console): State<ConsoleState>, visitor: Visitor) -> Answer<Markup> {
    let (status, runs) = seen(&console).await;
    let body = html! {
        h1 .sr { "Overview" }
        section #health .cards aria-label="Health" { (health(&console, &status)) }
        section aria-labelledby="h-queues" {
            h2 #h-queues { "Sources" }
            div #sources { (sources(&console, &status)) }
        }
        section aria-labelledby="h-charts" {
            div .row {
                h2 #h-charts { "The last hours of this daemon's drains" }
                div .spans role="group" aria-label="Stretch of time" hidden {
                    @for (seconds, name) in SPANS {
                        button .quiet type="button" data-span=(seconds)
                            aria-pressed=(if seconds == 3_600 { "true" } else { "false" }) { (name) }
                    }
                }
            }
            div #charts .charts data-history="/console/history" {
                noscript { p .faint { "The charts need the script of this page; the sums above do not." } }
            }
        }
        section aria-labelledby="h-dead" {
            h2 #h-dead { "Dead lists" }
            div #dead { (dead(&status)) }
        }
        section aria-labelledby="h-runs" {
            h2 #h-runs { "Last runs" }
            div #runs { (last_runs(runs.as_deref(), status.now)) }
        }
    };
    let live = Some("/console/live/overview");
    Ok(layout::page(
        &visitor,
        Place::Overview,
        "Overview",
        live,
        &body,
    ))
}

/// How things stand, and the last runs, unless Redis is away.
async fn seen(console: &ConsoleState) -> (Arc<Status>, Option<Vec<RunView>>) {
    let status = console.status().await;
    if status.redis != "up" {
        return (status, None);
    }
    let runs = console.operator().runs().await.ok();
    (
        status,
        runs.map(|runs| runs.into_iter().take(RUNS).collect()),
    )
}

fn last_runs(runs: Option<&[RunView]>, now: i64) -> Markup {
    match runs {
        Some(runs) => runs::table(runs, now),
        None => html! { p .faint { "Redis cannot be asked." } },
    }
}

/// What changes on it.
pub(super) async fn parts(console: &ConsoleState) -> Parts {
    let (status, runs) = seen(console).await;
    vec![
        ("health", health(console, &status)),
        ("sources", sources(console, &status)),
        ("dead", dead(&status)),
        ("runs", last_runs(runs.as_deref(), status.now)),
    ]
}

pub(super) fn card(name: &str, class: &str, state: &str, more: &Markup) -> Markup {
    html! {
        div .card {
            span .name { (name) }
            span class=(format!("state {class}")) { (state) }
            span .more { (more) }
        }
    }
}

fn health(console: &ConsoleState, status: &Status) -> Markup {
    let beside = &console.0.beside;
    let redis = if status.redis == "up" {
        card("Redis", "good", "● answers", &html! {})
    } else {
        let more = html! { (theirs(&status.redis)) ". What lies there is safe; it is tried again by itself." };
        card("Redis", "bad", "■ cannot be reached", &more)
    };
    let told = beside.moogsoft.borrow().clone();
    let moogsoft = match told {
        _ if !beside.probed => card(
            "Moogsoft",
            "none",
            "○ not probed",
            &html! { "taken for well" },
        ),
        None => card("Moogsoft", "none", "○ not asked yet", &html! {}),
        Some(told) => {
            let when = html! { "asked " (ago(told.at, status.now)) };
            match told.health {
                Ok(()) => card("Moogsoft", "good", "● takes events", &when),
                Err(cause) => {
                    let more = html! { (theirs(&cause.to_string())) ", " (when) };
                    card("Moogsoft", "bad", "■ does not", &more)
                }
            }
        }
    };
    let prometheus = match beside.metrics.scraped_at() {
        None => card(
            "Prometheus",
            "none",
            "○ has not been here",
            &html! { "nobody has read /metrics yet" },
        ),
        Some(at) if status.now - at > 300 => card(
            "Prometheus",
            "warn",
            "◐ stays away",
            &html! { "last scrape " (ago(at, status.now)) },
        ),
        Some(at) => card(
            "Prometheus",
            "good",
            "● scrapes",
            &html! { "last " (ago(at, status.now)) },
        ),
    };
    html! {
        (redis) (moogsoft) (slo::summary(&console.0.api.slos())) (prometheus)
        (card("This daemon", "good", "● runs", &html! { (theirs(&status.instance)) ", version " (status.version) }))
    }
}

fn sources(console: &ConsoleState, status: &Status) -> Markup {
    if status.drains.is_empty() {
        return html! { p .faint { "No drain runs in this process." } };
    }
    html! {
        div .scroll { table .stacks {
            thead { tr {
                th { "Source" } th .r { "Waiting" } th .r { "Oldest" } th { "Gate" }
                th { "Pace" } th .r { "Came back" } th { "Drained in the last hour" } th { "Last pass" }
            } }
            tbody { @for drain in &status.drains {
                (source(console, drain, status))
            } }
        } }
    }
}

fn source(console: &ConsoleState, drain: &DrainStatus, status: &Status) -> Markup {
    let queue = status
        .queues
        .iter()
        .find(|queue| queue.queue == drain.source);
    let (means, advice) = why(drain);
    let sums = console.0.beside.history.sums(&drain.source, 3_600);
    html! { tr {
        th scope="row" { a href=(queue_address(&drain.source)) { (theirs(&drain.source)) } }
        @match queue {
            Some(queue) => {
                td .r data-label="waiting" { (count(queue.depth)) }
                td .r data-label="oldest" { (age(queue.oldest_since, status.now)) }
            }
            None => { td .r data-label="waiting" { "?" } td .r data-label="oldest" { "?" } }
        }
        @if status.redis != "up" {
            td .whole { span .state.none { "○ not known" } div .why { "Nothing moves while Redis is away; nothing is lost." } }
        } @else { td .whole {
            (gate(drain))
            @if drain.since > 0 { " " span .faint { "for " (age(Some(drain.since), status.now)) } }
            div .why { (means) @if !advice.is_empty() { " " span .faint { (advice) } } }
        } }
        td data-label="pace" {
            (drain.pace) ", batch " (count(drain.batch_size))
            @if let Some(next) = drain.next_trial { div .faint { "next trial in " (seconds(next)) } }
        }
        td .r data-label="came back" { (drain.bounce_ratio.map_or_else(|| "–".to_owned(), percent)) }
        td .whole data-label="in the last hour" { @match sums {
            Some((done, time)) => {
                (count(done.replayed)) " replayed, " (count(done.parked)) " parked, "
                (count(done.bounced)) " back"
                @if time < 3_590 { div .faint { "of the last " (seconds(time.max(0).cast_unsigned())) } }
            }
            None => span .faint { "not yet" }
        } }
        td .whole data-label="last pass" { @match drain.passes.first() {
            Some(pass) => {
                (pass.outcome.replace('_', " ")) " " (ago(pass.at, status.now))
                div .faint { (count(pass.replayed)) " replayed, " (count(pass.dead)) " parked" }
            }
            None => span .faint { "none yet" }
        } }
    } }
}

fn dead(status: &Status) -> Markup {
    let lists: Vec<&QueueView> = status
        .queues
        .iter()
        .filter(|queue| queue.role == "dead")
        .collect();
    if lists.is_empty() {
        let text = if status.redis == "up" {
            "There is none."
        } else {
            "Redis cannot be asked."
        };
        return html! { p .faint { (text) } };
    }
    html! {
        div .scroll { table {
            thead { tr { th { "List" } th { "In Redis" } th .r { "Messages" } th .r { "Oldest" } } }
            tbody { @for list in lists { tr {
                th scope="row" { a href=(queue_address(&list.queue)) { (theirs(&list.queue)) } }
                td { code { (theirs(&list.list)) } }
                td .r { (count(list.depth)) }
                td .r { (age(list.oldest_since, status.now)) }
            } } }
        } }
    }
}

/// The points of the charts.
pub(super) async fn history(
    State(console): State<ConsoleState>,
    _: Visitor,
    Sought(mut pairs): Sought,
) -> Answer<Response> {
    let span = pairs.number("seconds", (60, 21_600))?.unwrap_or(3_600);
    pairs.end()?;
    let chart = console.0.beside.history.chart(span.cast_signed());
    let text = serde_json::to_vec(&chart);
    let text = text.map_err(|_| {
        Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "the points cannot be written",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}
