//! One message: what it says, what has become of it, what can be done with it.

use axum::extract::{Path, State};
use maud::{Markup, html};
use serde_json::value::RawValue;

use super::door::{Sought, Visitor};
use super::layout::{self, Place};
use super::view::{
    action as told_of, actions, age, bytes, count, message_address, queue_address, theirs,
};
use super::{Answer, ConsoleState, audit};
use crate::clean;
use crate::operate::Error;
use crate::operate::wire::Detail;

/// Signs of a text that a page shows; the rest is in an export.
const SHOWN: usize = 200_000;

/// The page.
pub(super) async fn page(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path((queue, digest)): Path<(String, String)>,
    Sought(mut pairs): Sought,
) -> Answer<Markup> {
    let at = pairs.number("at", (0, (1 << 53) - 1))?;
    pairs.end()?;
    let short: String = digest.chars().take(8).collect();
    let crumbs = html! {
        nav .crumbs aria-label="Where you are" {
            a href="/console/" { "Overview" } " / " a href=(queue_address(&queue)) { (theirs(&queue)) }
            " / " code { (theirs(&short)) }
        }
    };
    let title = format!("Message {short}");
    let body = match console.operator().message(&queue, &digest, at).await {
        Ok(detail) => {
            let role = console.operator().role(&queue)?;
            html! { (crumbs) (shown(&visitor, &detail, role)) }
        }
        // It was moved, which its history tells.
        Err(Error::NotFound {
            what: "message", ..
        }) => {
            let history = audit::of_message(&console, &digest).await?;
            html! {
                (crumbs)
                h1 { "Message " code { (theirs(&short)) } }
                div .empty {
                    p { strong { "It is not in this queue any more" } ", or lies deeper than was looked." }
                    p { "The drain or somebody has moved it; its history tells." }
                }
                h2 { "History" }
                (history)
            }
        }
        Err(error) => return Err(error.into()),
    };
    Ok(layout::page(&visitor, Place::Queues, &title, None, &body))
}

fn shown(visitor: &Visitor, detail: &Detail, role: &str) -> Markup {
    let message = &detail.message;
    let now = jiff::Timestamp::now().as_second();
    let name = format!("{}.{}", message.digest, message.at);
    let queue = detail.queue.as_str();
    html! {
        h1 { "Message " code { (message.digest[..8]) } }
        p .summary-line { (theirs(&message.summary)) }
        dl .facts {
            div { dt { "Reason" } dd { (message.reason.replace('_', " ")) } }
            div { dt { "Has failed" } dd { @match message.retries { Some(n) => { (count(n)) " times" } None => "unknown" } } }
            div { dt { "Replayed by us" } dd { @match message.replays { Some(n) => { (count(n)) " times" } None => "unknown" } } }
            div { dt { "Age" } dd { (age(message.since, now)) } }
            div { dt { "Size" } dd { (bytes(message.bytes)) } }
            div { dt { "Place" } dd { (count(message.at)) span .faint { " from the oldest" } } }
            @if detail.copies > 1 { div { dt { "Identical copies" } dd { (count(detail.copies)) } } }
            div { dt { "The drain would" } dd { @if detail.disposition == "dead" { "park it" } @else { (detail.disposition) " it" } } }
            div .wide { dt { "Digest" } dd { code .break { (message.digest) } } }
            @if let Some(id) = &message.correlation_id {
                div .wide { dt { "Correlation id" } dd {
                    a href=(format!("/console/audit?correlation_id={}", super::view::encoded(id))) { (theirs(id)) }
                } }
            }
        }
        @if visitor.acts() {
            form .acts method="get" action=(format!("{}/review", queue_address(queue))) aria-label="Act" {
                input type="hidden" name="m" value=(name);
                @for one in actions(role) {
                    button type="submit" name="action" value=(one.as_str()) title=(told_of(*one).1) { (told_of(*one).0) "…" }
                }
                @if detail.base64.is_none() {
                    a .button href=(edit_address(queue, detail)) { "Edit and replay…" }
                }
            }
        }
        h2 { "Fields" }
        (fields(&detail.body))
        h2 { "Body" }
        @if detail.base64.is_some() {
            p .notice { "Its bytes are not UTF-8: what is none is shown as a question mark in a diamond. An export has the bytes." }
        }
        (body(detail.pretty.as_deref().unwrap_or(&detail.body)))
        h2 { "History" }
        (audit::table(&detail.history, false))
    }
}

pub(super) fn edit_address(queue: &str, detail: &Detail) -> String {
    let message = &detail.message;
    let whole = message_address(queue, &message.digest, None);
    format!("{whole}/edit?at={}", message.at)
}

/// The members of its top level, spelt as they are.
fn fields(body: &str) -> Markup {
    let members: Option<Members<'_>> = serde_json::from_str(body).ok();
    let Some(Members(members)) = members else {
        return html! { p .faint { "It is no JSON object, so that it has none." } };
    };
    html! {
        div .scroll { table .fields { tbody { @for (name, value) in members.iter().take(200) { tr {
            th scope="row" { (theirs(name)) }
            td { code .break { (cut(&clean::lines(plain(value).as_str()), 2_000)) } }
        } } } } }
        @if members.len() > 200 { p .faint { "The first 200 of " (members.len()) "." } }
    }
}

/// The members of an object in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut members = vec![];
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        from.deserialize_map(Visit).map(Members)
    }
}

/// A string without its quotes; anything else as it is spelt.
fn plain(value: &RawValue) -> String {
    let text: Option<String> = serde_json::from_str(value.get()).ok();
    text.unwrap_or_else(|| value.get().to_owned())
}

fn cut(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn body(text: &str) -> Markup {
    let shown = cut(&clean::lines(text), SHOWN);
    html! {
        pre .body tabindex="0" aria-label="Body" { code { (shown) } }
        @if text.len() > shown.len() { p .faint { "This is the beginning; an export has all of it." } }
    }
}

/// The bytes that an edit has replaced.
pub(super) async fn original(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path((queue, original)): Path<(String, String)>,
) -> Answer<Markup> {
    let found = console.operator().original(&queue, &original).await?;
    let title = "What an edit has replaced";
    let body = html! {
        nav .crumbs aria-label="Where you are" {
            a href="/console/" { "Overview" } " / " a href=(queue_address(&queue)) { (theirs(&queue)) } " / original"
        }
        h1 { (title) }
        p { "Digest " code .break { (found.digest) } }
        (body(&found.body))
    };
    Ok(layout::page(&visitor, Place::Queues, title, None, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_shown_as_they_are_spelt_and_as_text() {
        let shown =
            fields(r#"{"a":"<b>\u202e","n":1.10,"n":12345678901234567890123,"o":{"x":[1, 2]}}"#);
        let shown = shown.into_string();
        for text in [
            "&lt;b&gt;",
            "1.10",
            "12345678901234567890123",
            "{&quot;x&quot;:[1, 2]}",
        ] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        assert!(!shown.contains('\u{202e}'), "{shown}");
        assert!(fields("[1]").into_string().contains("no JSON object"));
        assert!(fields("\u{fffd}").into_string().contains("no JSON object"));
    }
}
