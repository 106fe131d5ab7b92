//! A queue: what is in it, page by page, and what can be done with it.

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::door::{self, Form, Sought, Visitor};
use super::filter;
use super::layout::{self, Place};
use super::live::Parts;
use super::view::{
    action, actions, age, bytes, count, gate, message_address, pause as paused, queue_address,
    safe, theirs, token, why,
};
use super::{Answer, ConsoleState};
use crate::http::api::acts::told;
use crate::http::api::export::exported;
use crate::http::api::limits::Place as Slot;
use crate::http::api::problem::Problem;
use crate::http::api::take::Pairs;
use crate::operate::Error;
use crate::operate::wire::{
    Filter, Message, Page, PageRequest, PauseRequest, QueueDetail, QueueView, Status,
};
use crate::spell;

/// Messages on a page.
const LIMITS: [u64; 3] = [25, 50, 100];
/// Messages that one page looks at; a filter that finds little goes on with a link.
const SCAN: u64 = 20_000;

/// What an address asks to see.
struct Wanted {
    filter: Filter,
    limit: u64,
    newest: bool,
    cursor: Option<String>,
}

impl Wanted {
    fn take(pairs: &mut Pairs) -> Answer<Self> {
        let limit = pairs.number("limit", (1, 100))?;
        Ok(Self {
            filter: filter::take(pairs)?,
            limit: limit.unwrap_or(LIMITS[1]),
            newest: match pairs.one("order")?.as_deref() {
                None | Some("oldest") => false,
                Some("newest") => true,
                Some(other) => return Err(Problem::bad("order", other, "oldest or newest")),
            },
            cursor: pairs.one("cursor")?,
        })
    }

    /// The same page's address from another place on.
    fn address(&self, queue: &str, cursor: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(filter::query(&self.filter));
        if self.newest {
            query.append_pair("order", "newest");
        }
        if self.limit != LIMITS[1] {
            query.append_pair("limit", &self.limit.to_string());
        }
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        let query = query.finish();
        format!("{}?{}", queue_address(queue), query.trim_start_matches('&'))
    }
}

/// The page.
pub(super) async fn page(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    Sought(mut pairs): Sought,
) -> Answer<Markup> {
    let wanted = Wanted::take(&mut pairs)?;
    pairs.end()?;
    let status = console.status().await;
    let view = named(&status, &queue)?;
    let request = PageRequest {
        limit: Some(wanted.limit),
        cursor: wanted.cursor.clone(),
        newest_first: wanted.newest,
        scan: Some(SCAN),
    };
    let operator = console.operator();
    let messages = operator.messages(&queue, &wanted.filter, &request).await?;
    let title = format!("Queue {queue}");
    let body = html! {
        nav .crumbs aria-label="Where you are" { a href="/console/" { "Overview" } " / " (theirs(&queue)) }
        h1 { (theirs(&queue)) " " code .faint { (theirs(&view.list)) } }
        div #head { (head(&status, view)) }
        @if view.role == "source" && visitor.acts() { (pause_form(&visitor, view)) }
        details #by-reason .fold data-load=(format!("{}/counts", queue_address(&queue))) {
            summary { "What is in it, by reason and age" }
            div .loads { a href=(format!("{}/counts", queue_address(&queue))) { "Count" } }
        }
        details #filter-fold .filter-fold open { summary { "Filter" }
        form #filter .filter method="get" action=(queue_address(&queue)) role="search" aria-label="Filter" {
            (filter::common(&wanted.filter))
            div .field.short {
                label for="f-order" { "Order" }
                select #f-order name="order" {
                    option value="" { "oldest first" }
                    option value="newest" selected[wanted.newest] { "newest first" }
                }
            }
            div .field.short {
                label for="f-limit" { "A page" }
                select #f-limit name="limit" { @for limit in LIMITS {
                    option value=(limit) selected[limit == wanted.limit] { (limit) }
                } }
            }
            div .field.buttons {
                button .primary type="submit" { "Filter" }
                @if !wanted.filter.is_empty() { a .button href=(queue_address(&queue)) { "Clear" } }
            }
            (filter::members(&wanted.filter))
        } }
        (list(&visitor, view, &wanted, &messages, status.now))
    };
    let live = format!("/console/live/queues/{}", super::view::encoded(&queue));
    Ok(layout::page(
        &visitor,
        Place::Queues,
        &title,
        Some(&live),
        &body,
    ))
}

/// A queue as it was seen last.
fn named<'a>(status: &'a Status, queue: &str) -> Answer<&'a QueueView> {
    if let Some(view) = status.queues.iter().find(|view| view.queue == queue) {
        return Ok(view);
    }
    if status.redis == "up" {
        return Err(Error::not_found("queue", queue).into());
    }
    let detail = format!("redis cannot be asked: {}", status.redis);
    Err(Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, detail).after(5))
}

/// What changes on it.
pub(super) async fn parts(console: &ConsoleState, queue: &str) -> Parts {
    let status = console.status().await;
    match named(&status, queue) {
        Ok(view) => vec![("head", head(&status, view))],
        Err(_) => vec![(
            "head",
            html! {
                p .alert role="alert" { "Redis cannot be asked. What lies there is safe; it is tried again by itself." }
            },
        )],
    }
}

fn head(status: &Status, view: &QueueView) -> Markup {
    let drain = status
        .drains
        .iter()
        .find(|drain| drain.source == view.source);
    html! {
        dl .facts {
            div { dt { "Messages" } dd .big { (count(view.depth)) } }
            div { dt { "Oldest" } dd .big { (age(view.oldest_since, status.now)) } }
            @if view.role == "source" {
                div { dt { "Replays go to" } dd { code { (theirs(&view.target)) } } }
                @if let Some(drain) = drain {
                    div .wide { dt { "Gate" } dd { (gate(drain)) " " (why(drain).0)
                        @if view.paused.is_none() { " " span .faint { (why(drain).1) } } } }
                }
            } @else {
                div .wide { dt { "What lies here" } dd { "Messages that were parked. Nothing takes them away by itself, unless a bound was set; restore those that shall be tried again." } }
            }
            @if let Some(run) = &view.run {
                div { dt { "Run at work" } dd { a href=(format!("/console/runs/{run}")) { (run) } } }
            }
        }
        @if let Some(pause) = &view.paused { p .notice { (paused(pause, status.now)) } }
    }
}

fn pause_form(visitor: &Visitor, view: &QueueView) -> Markup {
    let address = queue_address(&view.queue);
    html! {
        @if view.paused.is_some() {
            form method="post" action=(format!("{address}/resume")) .inline {
                (token(visitor))
                button type="submit" { "Resume the drain" }
            }
        } @else {
            details .fold {
                summary { "Pause the drain" }
                form method="post" action=(format!("{address}/pause")) .inline {
                    (token(visitor))
                    label for="p-reason" { "Why" }
                    input #p-reason name="reason" required maxlength="200";
                    label for="p-time" { "For" }
                    input #p-time name="time" .narrow-input placeholder="2h; until resumed if empty" spellcheck="false";
                    button type="submit" { "Pause" }
                }
            }
        }
    }
}

fn list(visitor: &Visitor, view: &QueueView, wanted: &Wanted, page: &Page, now: i64) -> Markup {
    let queue = view.queue.as_str();
    let address = queue_address(queue);
    let here = wanted.address(queue, wanted.cursor.as_deref());
    let known = actions(&view.role);
    let all = wanted.filter.is_empty();
    let which = if all {
        "all messages"
    } else {
        "all that match"
    };
    html! {
        @if view.depth == 0 && page.messages.is_empty() {}
        @else if visitor.acts() {
            form #plan .acts method="get" action=(format!("{address}/plan")) aria-label="Plan" {
                (filter::hidden(&wanted.filter))
                input type="hidden" name="back" value=(here);
                label for="plan-limit" { "With " strong { (which) } " of this queue, at most" }
                input #plan-limit name="limit" .count inputmode="numeric" size="6" placeholder="all";
                @for one in known {
                    button type="submit" name="action" value=(one.as_str()) title=(action(*one).1) {
                        "Plan to " (action(*one).0.to_lowercase())
                    }
                }
                a .button href=(export_address(queue, &wanted.filter)) download { "Export" }
                span .help { " A plan counts and shows; nothing moves before you say so." }
            }
        } @else {
            p { a .button href=(export_address(queue, &wanted.filter)) download { "Export " (which) } }
        }
        @if !page.steady {
            p .notice { "Others have changed the queue meanwhile: some messages may be missing here, or be shown twice." }
        }
        @if page.messages.is_empty() {
            (nothing(wanted, page, queue))
        } @else {
            form #selected method="get" action=(format!("{address}/review")) {
                input type="hidden" name="back" value=(here);
                div .scroll { table #messages .messages.stacks {
                    caption .sr { "Messages" }
                    thead { tr {
                        @if visitor.acts() {
                            th .tick { input type="checkbox" #tick-all aria-label="Tick all on this page" hidden; }
                        }
                        th { "Message" } th { "Host" } th { "Reason" } th .r { "Failed" }
                        th .r { "Age" } th .r { "Size" } th .r { "Place" }
                    } }
                    tbody { @for message in &page.messages { (row(visitor, queue, message, now)) } }
                } }
                @if visitor.acts() {
                    div .acts.sticky {
                        span { "With the " span #ticked { "ticked" } ": " }
                        @for one in known {
                            button type="submit" name="action" value=(one.as_str()) { (action(*one).0) "…" }
                        }
                    }
                }
            }
        }
        nav .pages aria-label="Pages" {
            @if wanted.cursor.is_some() { a .button href=(wanted.address(queue, None)) { "First page" } }
            @if let Some(next) = &page.next {
                a .button rel="next" href=(wanted.address(queue, Some(next))) {
                    @if (page.messages.len() as u64) < wanted.limit { "Look further" } @else { "Next page" }
                }
            }
            span .faint {
                (count(page.messages.len() as u64)) " shown; looked at " (count(page.scanned))
                " of " (count(page.depth)) @if page.next.is_none() { ", to the end" } "."
            }
        }
    }
}

fn nothing(wanted: &Wanted, page: &Page, queue: &str) -> Markup {
    html! { div .empty {
        @if page.depth == 0 {
            p { strong { "The queue is empty." } }
            p { "There is nothing to do here." }
        } @else if let Some(next) = &page.next {
            p { strong { "Nothing has matched so far." } }
            p { "Looked at " (count(page.scanned)) " of " (count(page.depth)) " messages. "
                a href=(wanted.address(queue, Some(next))) { "Look further" } ", or plan: that looks at all of them." }
        } @else {
            p { strong { "Nothing matches." } }
            p { a href=(queue_address(queue)) { "Clear the filter" } " to see all " (count(page.depth)) "." }
        }
    } }
}

fn row(visitor: &Visitor, queue: &str, message: &Message, now: i64) -> Markup {
    let name = format!("{}.{}", &message.digest[..16], message.at);
    html! { tr {
        @if visitor.acts() {
            td .tick { input type="checkbox" name="m" value=(name) aria-label=(format!("Tick {}", &message.digest[..8])); }
        }
        td .what.whole {
            a href=(message_address(queue, &message.digest, Some(message.at))) {
                code { (message.digest[..8]) }
            }
            " " span .summary { (theirs(&message.summary)) }
        }
        td .host title=[message.host.as_deref().map(safe)] data-label="host" {
            @if let Some(host) = &message.host { (theirs(host)) } @else { span .faint { "–" } }
        }
        td data-label="reason" { (message.reason.replace('_', " ")) }
        td .r data-label="failed" { @match message.retries { Some(retries) => (count(retries)), None => span .faint { "–" } } }
        td .r data-label="age" { (age(message.since, now)) }
        td .r data-label="size" { span .n { (bytes(message.bytes)) } }
        td .r data-label="place" { (count(message.at)) }
    } }
}

fn export_address(queue: &str, filter: &Filter) -> String {
    format!("{}/export?{}", queue_address(queue), filter::query(filter))
}

/// What is in it, by reason and age: a part that is loaded when it is opened, or a page.
pub(super) async fn counts(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    Sought(mut pairs): Sought,
) -> Answer<Markup> {
    let scan = pairs.number("scan", (1, 1_000_000))?;
    pairs.end()?;
    let turn = console.scan().await;
    let detail = console.operator().queue(&queue, scan).await?;
    drop(turn);
    let part = counted(&detail);
    if visitor.wants_a_part() {
        return Ok(part);
    }
    let title = format!("What is in {queue}");
    let body = html! {
        nav .crumbs aria-label="Where you are" {
            a href="/console/" { "Overview" } " / " a href=(queue_address(&queue)) { (theirs(&queue)) } " / counts"
        }
        h1 { (title) }
        (part)
    };
    Ok(layout::page(&visitor, Place::Queues, &title, None, &body))
}

/// The counts of a queue.
pub(super) fn counted(detail: &QueueDetail) -> Markup {
    let queue = detail.queue.queue.as_str();
    let most = detail.by_reason.values().copied().max().unwrap_or(0);
    let ages = ["1m", "10m", "1h", "6h", "1d", "7d", "older", "unknown"];
    let oldest = detail.by_age.values().copied().max().unwrap_or(0);
    html! {
        @if detail.scanned == 0 {
            p .faint { "It is empty." }
        } @else {
            div .columns {
                table .bars {
                    caption { "By reason" }
                    tbody { @for (reason, number) in &detail.by_reason { tr {
                        th scope="row" {
                            a href=(format!("{}?reason={}", queue_address(queue), super::view::encoded(reason))) {
                                (reason.replace('_', " "))
                            }
                        }
                        td .r { (count(*number)) }
                        td .bar { (super::view::progress(reason, *number, most)) }
                    } } }
                }
                table .bars {
                    caption { "By age, up to" }
                    tbody { @for age in ages { @if let Some(number) = detail.by_age.get(age) { tr {
                        th scope="row" { (age) }
                        td .r { (count(*number)) }
                        td .bar { (super::view::progress(age, *number, oldest)) }
                    } } } }
                }
            }
            p .faint {
                @if detail.complete { "These are all " (count(detail.scanned)) " messages." }
                @else {
                    "These are the oldest " (count(detail.scanned)) " of " (count(detail.queue.depth)) ". "
                    a href=(format!("{}/counts?scan=1000000", queue_address(queue))) data-more { "Count up to a million" }
                    ", which takes some seconds."
                }
            }
        }
    }
}

/// A copy of what matches, as a file.
pub(super) async fn export(
    State(console): State<ConsoleState>,
    _: Visitor,
    Path(queue): Path<String>,
    Sought(mut pairs): Sought,
    Extension(slot): Extension<Slot>,
) -> Answer<Response> {
    let filter = filter::take(&mut pairs)?;
    pairs.end()?;
    let mut response = exported(console.operator(), &queue, filter, slot).await?;
    let name: String = queue
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .collect();
    let disposition = format!("attachment; filename=\"{name}.ndjson\"");
    if let Ok(value) = disposition.parse() {
        response
            .headers_mut()
            .insert(axum::http::header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// A time that is out of bounds, as it was written.
pub(super) fn of_time(problem: Problem, text: Option<&str>, expected: &str) -> Problem {
    match (problem.name(), text) {
        (Some("seconds"), Some(text)) => Problem::bad("time", text, expected),
        _ => problem,
    }
}

/// Pauses the drain.
pub(super) async fn pause(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    Extension(Form(mut form)): Extension<Form>,
) -> Answer<Response> {
    let time = form.one("time")?;
    let seconds = time.as_deref().map(|text| {
        let expected = "a time such as 10m, 2h or 1d";
        spell::duration(text).map_err(|_| Problem::bad("time", text, expected))
    });
    let request = PauseRequest {
        reason: form.one("reason")?.unwrap_or_default(),
        seconds: seconds.transpose()?,
    };
    form.end()?;
    let outcome = console
        .operator()
        .pause(&queue, &request, &visitor.who)
        .await;
    let outcome = told(&visitor.who, "pause", &queue, outcome, |_| "paused".into());
    outcome.map_err(|problem| of_time(problem, time.as_deref(), "a time of 30d at most"))?;
    Ok(door::to(
        &visitor,
        &queue_address(&queue),
        &format!("The drain of {queue} is paused."),
    ))
}

/// Resumes it.
pub(super) async fn resume(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    Extension(Form(form)): Extension<Form>,
) -> Answer<Response> {
    form.end()?;
    let outcome = console.operator().resume(&queue, &visitor.who).await;
    told(&visitor.who, "resume", &queue, outcome, |_| {
        "resumed".into()
    })?;
    Ok(door::to(
        &visitor,
        &queue_address(&queue),
        &format!("The drain of {queue} goes on."),
    ))
}
