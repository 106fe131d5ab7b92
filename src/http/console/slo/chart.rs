//! The charts of the budgets: a place on the page, and their points.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Serialize;

use super::{Seen, seen, then};
use crate::http::api::problem::Problem;
use crate::http::console::door::{Sought, Visitor};
use crate::http::console::{Answer, ConsoleState};
use crate::slo::judge::State as Stand;

/// Charts on the page, at most: a file can have any number of objectives.
const CHARTS: usize = 40;

/// All charts.
#[derive(Debug, Serialize)]
struct Charts {
    slos: Vec<Chart>,
}

/// How a budget went down.
#[derive(Debug, Serialize)]
struct Chart {
    slo_name: String,
    description: String,
    /// Of the period.
    seconds: u64,
    /// The ends of about a hundred steps and the last answer, in Unix seconds.
    at: Vec<i64>,
    /// The share of the budget that was left then.
    left: Vec<f64>,
    /// What must be known of it: that it is not of now.
    note: &'static str,
}

/// Where they will be.
pub(super) fn place(objectives: usize) -> Markup {
    html! {
        p .faint {
            "The share of each budget that was left in the course of its period, by its events until now. Below the line at 0 more was spent than there was."
            @if objectives > CHARTS { " These are the first " (CHARTS) "." }
        }
        div #budgets .charts data-history="/console/slo/history" {
            noscript { p .faint { "The charts need the script of this page; the table above does not." } }
        }
    }
}

/// The points of the charts.
pub(in crate::http::console) async fn history(
    State(console): State<ConsoleState>,
    _: Visitor,
    Sought(pairs): Sought,
) -> Answer<Response> {
    pairs.end()?;
    let known = console.0.api.slos();
    let slos = seen(&known).iter().take(CHARTS).map(chart).collect();
    let text = serde_json::to_vec(&Charts { slos });
    let text = text.map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the points cannot be written",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// The steps, and what is left by the last answer: the last step ended some time before.
fn points(one: &Seen<'_>) -> Vec<(i64, f64)> {
    let mut points = one.entry.burn_down();
    let last = points.last().map(|(at, _)| *at);
    if let (Some(last), Some(age), Some(left)) = (last, one.now.age, one.now.judgement.budget_left)
    {
        let at = then(age);
        if at > last {
            points.push((at, left));
        }
    }
    points
}

fn chart(one: &Seen<'_>) -> Chart {
    let objective = &one.entry.objective;
    let (at, left) = points(one).into_iter().unzip();
    Chart {
        slo_name: objective.name.clone(),
        description: objective.description.clone(),
        seconds: objective.period.as_secs(),
        at,
        left,
        note: match (one.state(), one.now.stale) {
            (Stand::Unknown, _) => "how it stands now is not known",
            (_, true) => "stale",
            (_, false) => "",
        },
    }
}
