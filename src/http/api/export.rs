//! Messages whole, as lines of JSON, for as many as there are: page after page, as fast as they are
//! read. A failure in the middle breaks the connection off, so that no short answer looks whole.

use std::io;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::ApiState;
use super::limits::{Place, TIME};
use super::look::{FilterParams, InQueue};
use super::problem::{Always, Named, Problem};
use super::take::Asked;
use crate::operate::wire::{Filter, Line, PageRequest};
use crate::operate::{ExportPage, Operator};

/// Messages that are read at a time.
const PAGE: u64 = 500;

/// The last line of a whole export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Last {
    end: Counted,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    lines: u64,
}

/// Where an export is.
struct Export {
    operator: Operator,
    queue: String,
    filter: Filter,
    next: Next,
    lines: u64,
    _place: Place,
}

enum Next {
    Page(ExportPage),
    From(String),
    Nothing,
}

/// Export the messages of a queue that match, oldest first, as lines of JSON
///
/// The last line of a whole export is `{"end":{"lines":N}}`; without it the export has broken off.
#[utoipa::path(
    get,
    path = "/queues/{queue}/export",
    tag = "messages",
    params(InQueue, FilterParams),
    responses(
        (status = 200, description = "A message a line.", content_type = "application/x-ndjson", body = Line),
        Always,
        Named,
    ),
)]
pub(super) async fn export(
    State(api): State<ApiState>,
    Path(InQueue { queue }): Path<InQueue>,
    Asked(filter): Asked<Filter>,
    Extension(place): Extension<Place>,
) -> Result<Response, Problem> {
    exported(&api.0.operator, &queue, filter, place).await
}

/// The messages that match, as an answer that goes on for as long as there are any.
pub(in crate::http) async fn exported(
    operator: &Operator,
    queue: &str,
    filter: Filter,
    place: Place,
) -> Result<Response, Problem> {
    let first = page(operator, queue, &filter, None).await?;
    let export = Export {
        operator: operator.clone(),
        queue: queue.to_owned(),
        filter,
        next: Next::Page(first),
        lines: 0,
        _place: place,
    };
    let parts = stream::try_unfold(export, part);
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(parts)).into_response())
}

async fn page(
    operator: &Operator,
    queue: &str,
    filter: &Filter,
    cursor: Option<String>,
) -> Result<ExportPage, crate::operate::Error> {
    let page = PageRequest {
        limit: Some(PAGE),
        cursor,
        ..PageRequest::default()
    };
    operator.export(queue, filter, &page).await
}

/// The next part of the answer, and where it goes on.
async fn part(mut export: Export) -> io::Result<Option<(Bytes, Export)>> {
    let page = match std::mem::replace(&mut export.next, Next::Nothing) {
        Next::Nothing => return Ok(None),
        Next::Page(page) => page,
        Next::From(cursor) => {
            let page = page(
                &export.operator,
                &export.queue,
                &export.filter,
                Some(cursor),
            );
            let page = timeout(TIME, page).await;
            let page = page.map_err(io::Error::other)?;
            page.map_err(|error| {
                tracing::warn!(queue = export.queue, %error, "an export has broken off");
                io::Error::other(error)
            })?
        }
    };
    let mut text = vec![];
    for line in &page.lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    export.lines += page.lines.len() as u64;
    if let Some(cursor) = page.next {
        export.next = Next::From(cursor);
    } else {
        let lines = export.lines;
        let last = Last {
            end: Counted { lines },
        };
        serde_json::to_writer(&mut text, &last)?;
        text.push(b'\n');
    }
    Ok(Some((text.into(), export)))
}
