//! Edit a message and send it back to work: first a form, then the difference, then the act.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use similar::{ChangeTag, TextDiff};

use super::door::{self, Form, Sought, Visitor};
use super::layout::{self, Place};
use super::view::{bytes, message_address, queue_address, theirs, token};
use super::{Answer, ConsoleState};
use crate::clean;
use crate::http::api::acts::told;
use crate::http::api::problem::Problem;
use crate::operate::spelling::compact;
use crate::operate::wire::{Detail, EditRequest};

/// Any place that a script can count to.
const ANY: (u64, u64) = (0, (1 << 53) - 1);

/// The form.
pub(super) async fn page(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path((queue, digest)): Path<(String, String)>,
    Sought(mut pairs): Sought,
) -> Answer<Markup> {
    visitor.may_act()?;
    let at = pairs.number("at", ANY)?;
    pairs.end()?;
    let detail = console.operator().seen(&queue, &digest, at).await?;
    if detail.base64.is_some() {
        let detail =
            "its bytes are not UTF-8: export it, change it, import it, and purge the old one";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let text = detail.pretty.as_deref().unwrap_or(&detail.body);
    Ok(whole(
        &visitor,
        &detail,
        &form(&visitor, &detail, text, None),
    ))
}

/// Shows the difference, or sends what was shown.
pub(super) async fn send(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path((queue, digest)): Path<(String, String)>,
    Extension(Form(mut sent)): Extension<Form>,
) -> Answer<Response> {
    let at = sent.number("at", ANY)?;
    let text = sent.one("body")?.unwrap_or_default();
    // Browsers end lines in their own way.
    let text = text.replace("\r\n", "\n");
    let step = sent.one("step")?.unwrap_or_default();
    sent.end()?;
    let operator = console.operator();
    let detail = operator.seen(&queue, &digest, at).await?;
    let old = detail.pretty.as_deref().unwrap_or(&detail.body);
    let wrong = |wrong: &str| {
        let page = whole(
            &visitor,
            &detail,
            &form(&visitor, &detail, &text, Some(wrong)),
        );
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let body = match compact(&text) {
        Ok(body) => body,
        Err(problem) => return wrong(&problem),
    };
    if compact(old).is_ok_and(|old| old == body) {
        return wrong("nothing was changed");
    }
    if step != "send" {
        let page = whole(&visitor, &detail, &review(&visitor, &detail, old, &text));
        return Ok(page.into_response());
    }
    let request = EditRequest { body, at };
    let outcome = operator.edit(&queue, &digest, &request, &visitor.who).await;
    let done = told(&visitor.who, "edit", &queue, outcome, |done| {
        done.summary.clone()
    })?;
    let flash = format!("{}. The old bytes are kept: see the history.", done.summary);
    Ok(door::to(
        &visitor,
        &message_address(&queue, &done.digest, None),
        &flash,
    ))
}

fn whole(visitor: &Visitor, detail: &Detail, inner: &Markup) -> Markup {
    let queue = detail.queue.as_str();
    let message = &detail.message;
    let title = format!("Edit {}", &message.digest[..8]);
    let body = html! {
        nav .crumbs aria-label="Where you are" {
            a href="/console/" { "Overview" } " / " a href=(queue_address(queue)) { (theirs(queue)) } " / "
            a href=(message_address(queue, &message.digest, Some(message.at))) { code { (message.digest[..8]) } } " / edit"
        }
        h1 { "Edit and replay " code { (message.digest[..8]) } }
        (inner)
    };
    layout::page(visitor, Place::Queues, &title, None, &body)
}

fn address(detail: &Detail) -> String {
    format!(
        "{}/edit",
        message_address(&detail.queue, &detail.message.digest, None)
    )
}

fn form(visitor: &Visitor, detail: &Detail, text: &str, wrong: Option<&str>) -> Markup {
    let rows = (text.lines().count() + 2).clamp(8, 30);
    html! {
        p { "The changed message goes back to work; the old bytes are kept, and the audit tells who did it." }
        form method="post" action=(address(detail)) .stack {
            (token(visitor))
            input type="hidden" name="at" value=(detail.message.at);
            input type="hidden" name="step" value="review";
            label for="body" { "Body, a JSON object" }
            @if let Some(wrong) = wrong {
                p #wrong .alert role="alert" { (theirs(wrong)) ". Nothing was sent." }
            }
            textarea #body name="body" rows=(rows) spellcheck="false" autofocus
                aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| "wrong")] {
                // What stands first on a line of its own is not part of the text for a browser.
                "\n" (text)
            }
            div .buttons {
                button .primary type="submit" { "Show the difference" }
                a .button href=(message_address(&detail.queue, &detail.message.digest, Some(detail.message.at))) { "Do nothing" }
            }
        }
    }
}

fn review(visitor: &Visitor, detail: &Detail, old: &str, new: &str) -> Markup {
    html! {
        p { "This is what changes. Nothing was sent yet." }
        (difference(old, new))
        div .buttons {
            form method="post" action=(address(detail)) {
                (token(visitor))
                input type="hidden" name="at" value=(detail.message.at);
                input type="hidden" name="step" value="send";
                textarea name="body" hidden aria-label="Body" { "\n" (new) }
                button .primary type="submit" { "Replay it like this" }
            }
            form method="post" action=(address(detail)) {
                (token(visitor))
                input type="hidden" name="at" value=(detail.message.at);
                a .button href=(format!("{}?at={}", address(detail), detail.message.at)) { "Begin again" }
                " "
                a .button href=(message_address(&detail.queue, &detail.message.digest, Some(detail.message.at))) { "Do nothing" }
            }
        }
    }
}

/// Bytes of both texts that are compared line by line, at most, and how long that may take: it is
/// done on the thread that also answers probes.
const COMPARED: usize = 512 * 1024;
const PATIENCE: Duration = Duration::from_millis(100);
/// Lines of a difference that are shown.
const LINES: usize = 2_000;

/// What was changed, line by line.
fn difference(old: &str, new: &str) -> Markup {
    let (old, new) = (old.trim().to_owned() + "\n", new.trim().to_owned() + "\n");
    if old.len() + new.len() > COMPARED {
        return html! { p .notice {
            "The texts are too large to compare here: " (bytes(old.len() as u64)) " before, "
            (bytes(new.len() as u64)) " after. The command line does it: "
            code { "mutt-remediation edit" } "."
        } };
    }
    let diff = TextDiff::configure()
        .timeout(PATIENCE)
        .diff_lines(&old, &new);
    let groups = diff.grouped_ops(3);
    let changes = groups.iter().enumerate().flat_map(|(index, group)| {
        let lines = group.iter().flat_map(|op| diff.iter_changes(op));
        lines
            .enumerate()
            .map(move |(line, change)| (index > 0 && line == 0, change))
    });
    let mut changes = changes.peekable();
    html! {
        pre .body.diff tabindex="0" aria-label="Difference" {
            @for (gap, change) in changes.by_ref().take(LINES) {
                @if gap { span .gap { "…\n" } }
                @let line = clean::line(change.value().trim_end_matches('\n'));
                @match change.tag() {
                    ChangeTag::Delete => del { "- " (line) "\n" },
                    ChangeTag::Insert => ins { "+ " (line) "\n" },
                    ChangeTag::Equal => span { "  " (line) "\n" },
                }
            }
        }
        @if changes.peek().is_some() { p .notice { "This is the beginning; more is changed." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_both_sides_as_text() {
        let shown = difference(
            "{\n \"a\": \"<i>\",\n \"b\": 1\n}",
            "{\n \"a\": \"<b>\",\n \"b\": 1\n}",
        );
        let shown = shown.into_string();
        assert!(
            shown.contains("<del>-  &quot;a&quot;: &quot;&lt;i&gt;&quot;,\n</del>"),
            "{shown}"
        );
        assert!(
            shown.contains("<ins>+  &quot;a&quot;: &quot;&lt;b&gt;&quot;,\n</ins>"),
            "{shown}"
        );
        assert!(
            shown.contains("<span>   &quot;b&quot;: 1\n</span>"),
            "{shown}"
        );
    }
}
