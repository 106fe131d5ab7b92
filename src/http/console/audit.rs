//! The audit: what was done, when, and by whom.

use axum::extract::State;
use maud::{Markup, html};

use super::door::{Sought, Visitor};
use super::layout::{self, Place};
use super::plan::run_address;
use super::runs::short;
use super::view::{count, encoded, queue_address, safe, theirs, time, time_ms};
use super::{Answer, ConsoleState};
use crate::operate::wire::{AuditEntry, AuditMessage, AuditRequest};

/// What an entry can tell of, and what that is called.
const KINDS: [(&str, &str); 5] = [
    ("act", "operators' acts"),
    ("commit", "batches of the drains"),
    ("parked", "messages parked"),
    ("gate", "gates"),
    ("refused", "refused settings"),
];

/// The page.
pub(super) async fn page(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Sought(mut pairs): Sought,
) -> Answer<Markup> {
    let request = AuditRequest {
        limit: Some(50),
        before: pairs.one("before")?,
        kind: pairs.one("kind")?,
        who: pairs.one("who")?,
        digest: pairs.one("digest")?,
        correlation_id: pairs.one("correlation_id")?,
    };
    pairs.end()?;
    let page = console.operator().audit(&request).await?;
    let kind = request.kind.as_deref().unwrap_or_default();
    let any = [
        &request.kind,
        &request.who,
        &request.digest,
        &request.correlation_id,
    ];
    let filtered = any.iter().any(|one| one.is_some());
    let body = html! {
        h1 { "Audit" }
        form .filter method="get" action="/console/audit" role="search" aria-label="Filter" {
            div .field {
                label for="a-kind" { "What" }
                select #a-kind name="kind" {
                    option value="" { "everything" }
                    @for (name, words) in KINDS { option value=(name) selected[name == kind] { (words) } }
                }
            }
            div .field {
                label for="a-who" { "Who" }
                input #a-who name="who" value=[request.who.as_deref()] placeholder="operator:ann" spellcheck="false";
            }
            div .field {
                label for="a-digest" { "Message" }
                input #a-digest name="digest" value=[request.digest.as_deref()] placeholder="its digest, 8 digits or more" spellcheck="false";
            }
            div .field {
                label for="a-id" { "Correlation id" }
                input #a-id name="correlation_id" value=[request.correlation_id.as_deref()] spellcheck="false";
            }
            div .field.buttons {
                button .primary type="submit" { "Filter" }
                @if filtered { a .button href="/console/audit" { "Clear" } }
            }
        }
        @if page.entries.is_empty() && page.next.is_some() {
            div .empty { p { strong { "Nothing has matched so far." } } p { "Looked at " (count(page.scanned)) " entries." } }
        } @else {
            (table(&page.entries, true))
        }
        nav .pages aria-label="Pages" {
            @if request.before.is_some() { a .button href=(address(&request, None)) { "Newest" } }
            @if let Some(next) = &page.next { a .button rel="next" href=(address(&request, Some(next))) { "Older" } }
            span .faint { "looked at " (count(page.scanned)) @if page.next.is_none() { ", to the end" } "." }
        }
    };
    Ok(layout::page(&visitor, Place::Audit, "Audit", None, &body))
}

fn address(request: &AuditRequest, before: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [
        ("kind", request.kind.as_deref()),
        ("who", request.who.as_deref()),
        ("digest", request.digest.as_deref()),
        ("correlation_id", request.correlation_id.as_deref()),
        ("before", before),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("/console/audit?{}", query.finish())
}

/// What the audit says of a message that is gone.
pub(super) async fn of_message(console: &ConsoleState, digest: &str) -> Answer<Markup> {
    let request = AuditRequest {
        limit: Some(50),
        digest: Some(digest.to_owned()),
        ..AuditRequest::default()
    };
    Ok(table(
        &console.operator().audit(&request).await?.entries,
        false,
    ))
}

/// Entries, newest first.
pub(super) fn table(entries: &[AuditEntry], every: bool) -> Markup {
    if entries.is_empty() {
        return html! { p .faint { "The audit tells of nothing here. Messages that went back to work are counted there, batch by batch; named are those that were parked, edited, or acted on one by one." } };
    }
    html! {
        div .scroll { table .audit.stacks {
            thead { tr { th { "When" } th { "What" } th { "Who" } th { "More" } } }
            tbody { @for entry in entries { tr {
                td { (time_ms(entry.at_ms)) }
                td { (what(entry)) }
                td { (who(entry)) }
                td .whole { (more(entry, every)) }
            } } }
        } }
    }
}

fn of<'a>(entry: &'a AuditEntry, name: &str) -> Option<&'a str> {
    entry.fields.get(name).map(String::as_str)
}

fn what(entry: &AuditEntry) -> Markup {
    let name = match entry.kind.as_str() {
        "act" => of(entry, "act").unwrap_or("act").replace('_', " "),
        "gate" => format!("gate {}", of(entry, "gate").unwrap_or_default()),
        other => other.to_owned(),
    };
    html! { strong { (theirs(&name)) } }
}

fn who(entry: &AuditEntry) -> Markup {
    html! {
        @match of(entry, "who") {
            Some(who) => a href=(format!("/console/audit?who={}", encoded(who))) { (theirs(who)) },
            None => span .faint { "the daemon" },
        }
    }
}

fn more(entry: &AuditEntry, every: bool) -> Markup {
    let queue = of(entry, "queue").or_else(|| of(entry, "source"));
    html! {
        @if let Some(outcome) = of(entry, "outcome") { span .pair { (theirs(outcome)) } " " }
        @for (name, value) in &entry.fields {
            @if !["act", "who", "gate", "outcome"].contains(&name.as_str()) {
                span .pair { span .faint { (theirs(name)) " " }
                    @if name == "queue" { a href=(queue_address(value)) { (theirs(value)) } }
                    @else if name == "run" { a href=(run_address(value)) title=(safe(value)) { code { (theirs(&short(value))) } } }
                    @else if name == "original" {
                        @match queue {
                            Some(queue) => a href=(format!("{}/originals/{}", queue_address(queue), encoded(value))) { "the old bytes" },
                            None => (theirs(value)),
                        }
                    }
                    @else if let (true, Ok(at)) = (name == "until", value.parse()) { (time(at)) }
                    @else { (theirs(value)) }
                } " "
            }
        }
        @if !entry.messages.is_empty() {
            details { summary { (count(entry.messages.len() as u64)) " message" @if entry.messages.len() != 1 { "s" } }
                ul .plain { @for message in entry.messages.iter().take(if every { 20 } else { 200 }) { (one(message)) } }
                @if every && entry.messages.len() > 20 { p .faint { "and more" } }
            }
        }
    }
}

fn one(message: &AuditMessage) -> Markup {
    let short = |digest: &str| digest.chars().take(8).collect::<String>();
    html! { li {
        (theirs(&message.disposition)) " "
        a href=(format!("/console/audit?digest={}", encoded(&message.digest))) { code { (theirs(&short(&message.digest))) } }
        @if let Some(after) = &message.after { " → " code { (theirs(&short(after))) } }
        @if !message.reason.is_empty() { ", " (theirs(&message.reason.replace('_', " "))) }
        @if let Some(retries) = message.retries { ", failed " (retries) " times" }
        @if let Some(id) = &message.correlation_id { ", " (theirs(id)) }
    } }
}
