//! The dead lists, by reason: what was given up, and why.

use axum::extract::State;
use maud::{Markup, html};

use super::door::{Sought, Visitor};
use super::layout::{self, Place};
use super::queue::counted;
use super::view::{queue_address, theirs};
use super::{Answer, ConsoleState};

/// The page.
pub(super) async fn page(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Sought(mut pairs): Sought,
) -> Answer<Markup> {
    let scan = pairs.number("scan", (1, 1_000_000))?;
    pairs.end()?;
    let _turn = console.scan().await;
    let mut lists = vec![];
    for queue in console.operator().dead_lists() {
        lists.push(console.operator().queue(&queue.name, scan).await?);
    }
    let body = html! {
        h1 { "Dead lists" }
        p .faint { "Messages that were parked: poison, what cannot be read, and what an operator has buried. They stay until somebody restores or purges them, or a bound evicts them." }
        @for detail in &lists {
            section .panel {
                h2 { a href=(queue_address(&detail.queue.queue)) { (theirs(&detail.queue.queue)) }
                    " " code .faint { (theirs(&detail.queue.list)) } }
                (counted(detail))
            }
        }
        @if lists.is_empty() { p { "There is none." } }
    };
    Ok(layout::page(
        &visitor,
        Place::Dead,
        "Dead lists",
        None,
        &body,
    ))
}
