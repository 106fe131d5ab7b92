//! What keeps pages true while they are open: server-sent events with those parts of a page that
//! have changed. A hidden tab closes its stream, so that six of them do not use up what a browser
//! opens to one host.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::Markup;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::door::Visitor;
use super::{Answer, ConsoleState, overview, queue as queues, runs, slo as objectives};
use crate::http::api::problem::Problem;
use crate::http::connections::StillThere;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(2);
/// The same while a run is watched.
const QUICK: Duration = Duration::from_millis(500);

/// Parts of a page, by the ids of their elements.
pub(super) type Parts = Vec<(&'static str, Markup)>;

#[derive(Clone, Debug)]
enum Watched {
    Overview,
    Slos,
    Queue(String),
    Run(String),
}

struct Stream {
    console: ConsoleState,
    watched: Watched,
    until: Option<i64>,
    sent: HashMap<&'static str, String>,
    first: bool,
    there: Option<StillThere>,
    _places: Vec<OwnedSemaphorePermit>,
}

/// The client's connection, where it has come over one.
type There = Option<Extension<StillThere>>;

pub(super) async fn overview(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    there: There,
) -> Answer<Response> {
    open(console, &visitor, there, Watched::Overview)
}

pub(super) async fn slo(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    there: There,
) -> Answer<Response> {
    open(console, &visitor, there, Watched::Slos)
}

pub(super) async fn queue(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    there: There,
) -> Answer<Response> {
    // Known, or it is an error and no page.
    console.operator().role(&queue)?;
    open(console, &visitor, there, Watched::Queue(queue))
}

pub(super) async fn run(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(run): Path<String>,
    there: There,
) -> Answer<Response> {
    open(console, &visitor, there, Watched::Run(run))
}

fn open(
    console: ConsoleState,
    visitor: &Visitor,
    there: There,
    watched: Watched,
) -> Answer<Response> {
    let shared = &console.0;
    let wanted = if visitor.acts() {
        vec![&shared.streams]
    } else {
        // Whoever only looks leaves room for who acts.
        vec![&shared.of_readers, &shared.streams]
    };
    let places = wanted.into_iter().map(|of| of.clone().try_acquire_owned());
    let places: Result<Vec<_>, _> = places.collect();
    let places = places.map_err(|_| {
        let detail = "too many pages are kept up to date; this one is as it was loaded";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(10)
    })?;
    let stream = Stream {
        console,
        watched,
        until: visitor.until,
        sent: HashMap::new(),
        first: true,
        there: there.map(|Extension(there)| there),
        _places: places,
    };
    let events = stream::unfold(stream, next);
    let alive = KeepAlive::new().interval(Duration::from_secs(5));
    let headers = [("x-accel-buffering", "no")];
    Ok((headers, Sse::new(events).keep_alive(alive)).into_response())
}

/// What has changed since the last look, however long that takes; the end of the stream where the
/// session or the listener ends.
async fn next(mut stream: Stream) -> Option<(Result<Event, Infallible>, Stream)> {
    let closing = stream.console.0.closing.clone();
    loop {
        let pause = match stream.watched {
            _ if stream.first => Duration::ZERO,
            Watched::Run(_) => QUICK,
            Watched::Overview | Watched::Slos | Watched::Queue(_) => PERIOD,
        };
        tokio::select! {
            () = closing.cancelled() => return None,
            () = sleep(pause) => {}
        }
        let now = jiff::Timestamp::now().as_second();
        if stream.until.is_some_and(|until| until <= now) {
            return None;
        }
        let parts = match &stream.watched {
            Watched::Overview => overview::parts(&stream.console).await,
            Watched::Slos => objectives::parts(&stream.console),
            Watched::Queue(queue) => queues::parts(&stream.console, queue).await,
            Watched::Run(run) => runs::parts(&stream.console, run).await,
        };
        if let Some(there) = &stream.there {
            there.note();
        }
        let mut changed = HashMap::new();
        for (id, part) in parts {
            let text = part.into_string();
            let still = without_ages(&text);
            if stream.sent.get(id) != Some(&still) {
                changed.insert(id, text);
                stream.sent.insert(id, still);
            }
        }
        let first = std::mem::take(&mut stream.first);
        if !first && changed.is_empty() {
            continue;
        }
        // Texts alone: there is nothing in it that could not be written.
        let text = serde_json::to_string(&changed).unwrap_or_default();
        return Some((Ok(Event::default().event("parts").data(text)), stream));
    }
}

/// A part without what only says how much time has passed, which the script knows by itself.
fn without_ages(part: &str) -> String {
    let mut rest = part;
    let mut still = String::with_capacity(part.len());
    while let Some(at) = rest.find("data-as=\"a") {
        let Some(end) = rest[at..].find("</time>") else {
            break;
        };
        still.push_str(&rest[..at]);
        rest = &rest[at + end..];
    }
    still.push_str(rest);
    still
}

#[cfg(test)]
mod tests {
    use super::super::view::{age, ago};
    use super::*;

    #[test]
    fn time_that_passes_is_no_change_and_all_else_is() {
        let part =
            |since, now| maud::html! { td { (age(Some(since), now)) } "x" (ago(since, now)) };
        let of = |since, now| without_ages(&part(since, now).into_string());
        assert_eq!(of(10, 20), of(10, 90_000));
        assert_ne!(of(10, 20), of(11, 20));
        assert!(of(10, 20).ends_with("</time>"), "{}", of(10, 20));
    }
}
