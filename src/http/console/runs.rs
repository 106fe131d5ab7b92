//! Runs: how far they are, and what became of them.

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::door::{self, Form, Visitor};
use super::filter;
use super::layout::{self, Place};
use super::live::Parts;
use super::plan::{live_address, run_address, sure};
use super::queue::of_time;
use super::view::{
    action as told_of, ago, count, progress, queue_address, run_state, theirs, time, token,
};
use super::{Answer, ConsoleState};
use crate::http::api::acts::told;
use crate::http::api::problem::Problem;
use crate::operate::Error;
use crate::operate::wire::{Action, RunRequest, RunState, RunView};
use crate::spell;

/// The last runs.
pub(super) async fn list(State(console): State<ConsoleState>, visitor: Visitor) -> Answer<Markup> {
    let runs = console.operator().runs().await?;
    let now = jiff::Timestamp::now().as_second();
    let body = html! {
        h1 { "Runs" }
        p .faint { "A run carries out a plan. The last ones of every queue are kept; the audit tells of all." }
        (table(&runs, now))
    };
    Ok(layout::page(&visitor, Place::Runs, "Runs", None, &body))
}

/// Runs as a table.
pub(super) fn table(runs: &[RunView], now: i64) -> Markup {
    if runs.is_empty() {
        return html! { div .empty {
            p { strong { "There has been no run yet." } }
            p { "To start one, open a queue, filter, and plan." }
        } };
    }
    html! {
        div .scroll { table .stacks {
            thead { tr {
                th { "Run" } th { "State" } th { "What" } th { "Queue" } th .r { "Moved" } th { "By" } th .r { "Started" }
            } }
            tbody { @for run in runs { tr {
                th scope="row" { a href=(run_address(&run.run)) { code { (short(&run.run)) } } }
                td { (run_state(run.state)) }
                td { (told_of(run.action).0) }
                td { a href=(queue_address(&run.queue)) { (theirs(&run.queue)) } }
                td .r data-label="moved" { (count(run.moved)) " of " (count(run.wanted)) }
                td data-label="by" { (theirs(&run.by)) }
                td .r data-label="started" { (ago(run.started_at, now)) }
            } } }
        } }
    }
}

/// The beginning of what is random in a run's id, which begins with its queue.
pub(super) fn short(run: &str) -> String {
    let random = run.rsplit('.').next().unwrap_or(run);
    random.chars().take(8).collect()
}

/// One run.
pub(super) async fn page(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(run): Path<String>,
) -> Answer<Markup> {
    let view = console.operator().run(&run).await?;
    let title = format!("Run {}", short(&view.run));
    let live = (view.state == RunState::Running).then(|| live_address(&run));
    let body = html! {
        nav .crumbs aria-label="Where you are" { a href="/console/runs" { "Runs" } " / " code { (theirs(&view.run)) } }
        h1 { (told_of(view.action).0) " from " a href=(queue_address(&view.queue)) { (theirs(&view.queue)) } }
        div #trouble role="status" {}
        div #run { (shown(&view)) }
        @if visitor.acts() && view.state == RunState::Running {
            form #cancel method="post" action=(format!("{}/cancel", run_address(&run))) {
                (token(&visitor))
                button .danger type="submit" { "Cancel the run" }
                span .help { " What it has moved stays moved." }
            }
        }
    };
    Ok(layout::page(
        &visitor,
        Place::Runs,
        &title,
        live.as_deref(),
        &body,
    ))
}

/// What changes on it.
pub(super) async fn parts(console: &ConsoleState, run: &str) -> Parts {
    match console.operator().run(run).await {
        Ok(view) if view.state == RunState::Running => {
            vec![("run", shown(&view)), ("trouble", html! {})]
        }
        // Nothing is left to cancel.
        Ok(view) => vec![
            ("run", shown(&view)),
            ("trouble", html! {}),
            ("cancel", html! {}),
        ],
        Err(Error::NotFound { .. }) => vec![(
            "run",
            html! { p .alert role="alert" { "This run is no longer kept; the audit tells." } },
        )],
        Err(_) => vec![(
            "trouble",
            html! { p .alert { "Redis cannot be asked: what stands below is of before. A run goes on when Redis is back." } },
        )],
    }
}

fn shown(view: &RunView) -> Markup {
    let words = filter::words(&view.filter);
    html! {
        p .runs-at {
            (run_state(view.state)) " "
            (progress("Messages looked at", view.scanned, view.to_scan))
            " " (theirs(&view.summary))
        }
        @if let Some(trouble) = &view.trouble {
            p .notice { "It stands still: " (theirs(trouble)) ". It goes on by itself." }
        }
        dl .facts {
            div { dt { "Moved" } dd .big { (count(view.moved)) } }
            div { dt { "Planned" } dd .big { (count(view.wanted)) } }
            div { dt { "Looked at" } dd .big { (count(view.scanned)) span .faint { " of " (count(view.to_scan)) } } }
            div .wide { dt { "Which" } dd { @if words.is_empty() { "all messages" } @else { (theirs(&words)) } } }
            div { dt { "Started" } dd { (time(view.started_at)) " by " (theirs(&view.by)) } }
            div { dt { "Last heard of" } dd { (time(view.updated_at)) " from " (theirs(&view.instance)) } }
            @if let Some(rate) = view.rate { div { dt { "At most" } dd { (count(rate)) " a second" } } }
            @if let Some(until) = view.until { div { dt { "Until" } dd { (time(until)) } } }
            @if view.conflicts > 0 { div { dt { "Met others at work" } dd { (count(view.conflicts)) " times" } } }
            div { dt { "In the queue before" } dd { (count(view.depth_before)) } }
            @if let Some(after) = view.depth_after { div { dt { "After" } dd { (count(after)) } } }
        }
        @if !view.left.is_empty() {
            h2 { "What stayed, and why" }
            table .slim { tbody { @for (why, number) in &view.left {
                tr { th scope="row" { (theirs(&why.replace('_', " "))) } td .r { (count(*number)) } }
            } } }
        }
    }
}

/// Starts a run of a plan.
pub(super) async fn start(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Extension(Form(mut form)): Extension<Form>,
) -> Answer<Response> {
    let text = form.one("action")?.unwrap_or_default();
    let action = Action::ALL.into_iter().find(|known| known.as_str() == text);
    let action = action.ok_or_else(|| Problem::bad("action", &text, "the plan's action"))?;
    let time = form.one("time")?;
    let seconds = time.as_deref().map(|text| {
        let expected = "a time such as 45s, 10m or 2h";
        spell::duration(text).map_err(|_| Problem::bad("time", text, expected))
    });
    let request = RunRequest {
        token: form.one("plan")?.unwrap_or_default(),
        action: Some(action),
        would_move: Some(form.number("would_move", (0, u64::MAX))?.unwrap_or(0)),
        rate: form.number("rate", (1, 1_000_000))?,
        seconds: seconds.transpose()?,
    };
    sure(&mut form, action)?;
    form.end()?;
    let outcome = match console.operator().start(&request, &visitor.who).await {
        // Until it expires the token is as good as a key.
        Err(Error::NotFound { what, .. }) => {
            Err(Error::not_found(what, "(run already, or expired)"))
        }
        outcome => outcome,
    };
    let queue = console.operator().planned_on(&request.token);
    let queue = queue.unwrap_or_default();
    let run = told(&visitor.who, "start", queue, outcome, |run| {
        format!("run {} to {}", run.run, run.action.as_str())
    });
    let run = run.map_err(|problem| of_time(problem, time.as_deref(), "a time of 24h at most"))?;
    Ok(door::to(
        &visitor,
        &run_address(&run.run),
        "The run has begun.",
    ))
}

/// Cancels a run.
pub(super) async fn cancel(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(run): Path<String>,
    Extension(Form(form)): Extension<Form>,
) -> Answer<Response> {
    form.end()?;
    let outcome = console.operator().cancel(&run, &visitor.who).await;
    told(&visitor.who, "cancel", &run, outcome, |run| {
        run.summary.clone()
    })?;
    Ok(door::to(
        &visitor,
        &run_address(&run),
        "The run is being cancelled.",
    ))
}
