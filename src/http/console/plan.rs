//! What would happen, shown before anything moves: a plan over a filter, which a run carries out, or
//! a review of ticked messages, which are moved at once.

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::door::{self, Form, Sought, Visitor};
use super::filter;
use super::layout::{self, Place};
use super::view::{
    action as told_of, age, count, encoded, message_address, queue_address, theirs, time, token,
};
use super::{Answer, ConsoleState};
use crate::http::api::acts::told;
use crate::http::api::problem::Problem;
use crate::http::api::take::Pairs;

use crate::operate::wire::{
    ActOutcome, ActRequest, Action, Detail, Message, Named, PlanRequest, PlanView,
};

/// Messages that can be ticked for one act.
const MOST: usize = 100;

fn action(pairs: &mut Pairs) -> Answer<Action> {
    let text = pairs.one("action")?.unwrap_or_default();
    let known = Action::ALL.into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| Problem::bad("action", &text, "replay, bury, restore or purge"))
}

/// The queue's page where this began, with its filter and its place.
fn back(pairs: &mut Pairs, queue: &str) -> Answer<String> {
    let plain = queue_address(queue);
    let begins = format!("{plain}?");
    let ours = |to: &String| {
        to.starts_with(&begins) && to.bytes().all(|byte| (0x21..0x7f).contains(&byte))
    };
    Ok(pairs.one("back")?.filter(ours).unwrap_or(plain))
}

/// A plan. It moves nothing, so that its address can be loaded again; it counts anew then.
pub(super) async fn page(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    Sought(mut pairs): Sought,
) -> Answer<Markup> {
    visitor.may_act()?;
    let request = PlanRequest {
        action: action(&mut pairs)?,
        limit: pairs.number("limit", (1, 1_000_000_000))?,
        force: pairs.flag("force")?,
        filter: filter::take(&mut pairs)?,
    };
    let back = back(&mut pairs, &queue)?;
    pairs.end()?;
    let turn = console.scan().await;
    let outcome = console
        .operator()
        .plan(&queue, &request, &visitor.who)
        .await;
    drop(turn);
    let name = format!("plan to {}", request.action.as_str());
    let plan = told(&visitor.who, &name, &queue, outcome, |plan| {
        format!("would move {} of {}", plan.would_move, plan.matched)
    })?;
    let title = format!(
        "Plan: {} from {queue}",
        told_of(request.action).0.to_lowercase()
    );
    let body = html! {
        nav .crumbs aria-label="Where you are" {
            a href="/console/" { "Overview" } " / "
            a href=(format!("{}?{}", queue_address(&queue), filter::query(&plan.filter))) { (theirs(&queue)) } " / plan"
        }
        h1 { (title) }
        (shown(&visitor, &plan, &request, &back))
    };
    Ok(layout::page(&visitor, Place::Queues, &title, None, &body))
}

fn shown(visitor: &Visitor, plan: &PlanView, request: &PlanRequest, back: &str) -> Markup {
    let (name, what) = told_of(plan.action);
    let words = filter::words(&plan.filter);
    let irrevocable = plan.action == Action::Purge;
    html! {
        dl .facts {
            div { dt { "Would move" } dd .big { (count(plan.would_move)) } }
            div { dt { "Match and would stay" } dd .big { (count(plan.would_leave.values().sum())) } }
            div { dt { "In the queue" } dd .big { (count(plan.depth)) } }
            div .wide { dt { "Which" } dd {
                @match request.limit {
                    Some(limit) => { "the oldest " (count(limit)) " that can be moved of " }
                    None => {}
                }
                @if words.is_empty() { "all messages of the queue" } @else { (theirs(&words)) }
            } }
            div .wide { dt { "What becomes of them" } dd {
                (name) ": " (what)
                @if let Some(to) = &plan.to { ", " code { (theirs(to)) } }
                "."
            } }
        }
        p .faint {
            @if request.limit == Some(plan.would_move) {
                "The oldest " (count(plan.scanned)) " messages were looked at, until there were enough; those behind them were not, and stay."
            }
            @else if plan.complete { "All " (count(plan.scanned)) " messages were looked at." }
            @else {
                "Only the oldest " (count(plan.scanned)) " messages were looked at in the time there is: the counts are of these, and a run looks no further."
            }
            " What arrives from now on is not meant and stays. The plan can be run once, until " (time(plan.expires_at)) "."
        }
        @if !plan.would_leave.is_empty() {
            h2 { "What would stay, and why" }
            table .slim { tbody { @for (why, number) in &plan.would_leave {
                tr { th scope="row" { (theirs(&why.replace('_', " "))) } td .r { (count(*number)) } }
            } } }
            @if !request.force && plan.action != Action::Purge {
                p { a href=(again(plan, request, back)) { "Plan with these as well" }
                    span .faint { " – the alerter may discard them, or they may belong to another source." } }
            }
        }
        @if plan.would_move == 0 {
            div .empty {
                p { strong { "There is nothing to move." } }
                p { a href=(back) { "Back to the queue" } }
            }
        } @else {
            form method="post" action="/console/runs" .go {
                (token(visitor))
                input type="hidden" name="plan" value=(plan.token);
                input type="hidden" name="action" value=(plan.action.as_str());
                input type="hidden" name="would_move" value=(plan.would_move);
                div .field {
                    label for="r-rate" { "Messages a second, at most" }
                    input #r-rate name="rate" inputmode="numeric" placeholder="as fast as it goes";
                }
                div .field {
                    label for="r-time" { "Stop after" }
                    input #r-time name="time" placeholder="when it is done" spellcheck="false";
                }
                @if irrevocable {
                    div .field.check {
                        input #r-sure type="checkbox" name="sure" value="true" required;
                        label for="r-sure" { "I know that this cannot be undone" }
                    }
                }
                div .field.buttons {
                    button type="submit" .primary[!irrevocable] .danger[irrevocable] {
                        (name) " " (count(plan.would_move)) " message" @if plan.would_move != 1 { "s" }
                    }
                    a .button href=(back) { "Do nothing" }
                }
            }
            h2 { "The oldest of them" }
            div .scroll { table .messages.stacks {
                thead { tr { th { "Message" } th { "Host" } th { "Reason" } th .r { "Age" } } }
                tbody { @for message in &plan.sample { (sample(&plan.queue, message)) } }
            } }
        }
    }
}

/// The same plan with those that would stay.
fn again(plan: &PlanView, request: &PlanRequest, back: &str) -> String {
    let limit = request
        .limit
        .map_or_else(String::new, |limit| format!("&limit={limit}"));
    format!(
        "{}/plan?action={}{limit}&force=true&back={}&{}",
        queue_address(&plan.queue),
        plan.action.as_str(),
        encoded(back),
        filter::query(&plan.filter),
    )
}

fn sample(queue: &str, message: &Message) -> Markup {
    let now = jiff::Timestamp::now().as_second();
    html! { tr {
        td .what.whole {
            a href=(message_address(queue, &message.digest, Some(message.at))) { code { (message.digest[..8]) } }
            " " span .summary { (theirs(&message.summary)) }
        }
        td .host data-label="host" { @if let Some(host) = &message.host { (theirs(host)) } }
        td data-label="reason" { (message.reason.replace('_', " ")) }
        td .r data-label="age" { (age(message.since, now)) }
    } }
}

/// Messages that were ticked: digest and place.
fn ticked(pairs: &mut Pairs) -> Answer<Vec<Named>> {
    let expected = "a message's digest and place";
    let each = pairs.many("m").into_iter().map(|text| {
        let (digest, at) = text.split_once('.').unwrap_or((&text, ""));
        let at = match at {
            "" => None,
            at => Some(at.parse().map_err(|_| Problem::bad("m", &text, expected))?),
        };
        Ok(Named {
            digest: digest.to_owned(),
            at,
        })
    });
    let named: Vec<Named> = each.collect::<Answer<_>>()?;
    if named.len() > MOST {
        let detail = format!(
            "{} messages are ticked, and {MOST} can be at most: plan with a filter instead",
            named.len()
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(named)
}

/// Ticked messages, looked at once more before anything moves.
pub(super) async fn review(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    Sought(mut pairs): Sought,
) -> Answer<Markup> {
    visitor.may_act()?;
    let action = action(&mut pairs)?;
    let named = ticked(&mut pairs)?;
    let back = back(&mut pairs, &queue)?;
    pairs.end()?;
    let found = console.operator().seen_all(&queue, &named).await?;
    let is_there = |one: &&Named| {
        let mut found = found.iter();
        found.any(|detail| detail.message.digest.starts_with(&one.digest))
    };
    let (there, gone): (Vec<&Named>, Vec<&Named>) = named.iter().partition(is_there);
    let (name, what) = told_of(action);
    let title = format!("{name} from {queue}");
    let body = html! {
        nav .crumbs aria-label="Where you are" {
            a href="/console/" { "Overview" } " / " a href=(queue_address(&queue)) { (theirs(&queue)) } " / review"
        }
        h1 { (title) }
        @if named.is_empty() {
            div .empty {
                p { strong { "No message is ticked." } }
                p { a href=(back) { "Back to the queue" } ": tick some, or plan with a filter." }
            }
        } @else {
            p { (name) ": " (what) ". Nothing has moved yet." }
            @if !gone.is_empty() {
                p .notice { (count(gone.len() as u64)) " of the ticked messages are no longer there: "
                    @for one in &gone { code { (theirs(&one.digest.chars().take(8).collect::<String>())) } " " } }
            }
            @if !found.is_empty() { (reviewed(&visitor, &queue, action, (&found, &there), &back)) }
        }
    };
    Ok(layout::page(&visitor, Place::Queues, &title, None, &body))
}

fn reviewed(
    visitor: &Visitor,
    queue: &str,
    action: Action,
    (found, ticked): (&[Detail], &[&Named]),
    back: &str,
) -> Markup {
    let now = jiff::Timestamp::now().as_second();
    let doubtful = found
        .iter()
        .filter(|detail| detail.disposition == "dead")
        .count();
    let irrevocable = action == Action::Purge;
    html! {
        form method="post" action=(format!("{}/acts", queue_address(queue))) {
            (token(visitor))
            input type="hidden" name="action" value=(action.as_str());
            input type="hidden" name="back" value=(back);
            @for one in ticked {
                input type="hidden" name="m" value=(name_of(one, found));
            }
            div .scroll { table .messages.stacks {
                thead { tr { th { "Message" } th { "Host" } th { "Reason" } th .r { "Age" } th { "The drain would" } } }
                tbody { @for detail in found { @let message = &detail.message; tr {
                    td .what.whole {
                        a href=(message_address(queue, &message.digest, Some(message.at))) { code { (message.digest[..8]) } }
                        " " span .summary { (theirs(&message.summary)) }
                        @if detail.copies > 1 { " " span .tag { (detail.copies) " copies" } }
                    }
                    td .host data-label="host" { @if let Some(host) = &message.host { (theirs(host)) } }
                    td data-label="reason" { (message.reason.replace('_', " ")) }
                    td .r data-label="age" { (age(message.since, now)) }
                    td data-label="the drain would" { @if detail.disposition == "dead" { "park it" } @else { (detail.disposition) " it" } }
                } } }
            } }
            div .go {
                @if action == Action::Replay && doubtful > 0 || action == Action::Restore {
                    div .field.check {
                        input #a-force type="checkbox" name="force" value="true";
                        label for="a-force" { "Also those that the alerter would discard, or that may belong to another source" }
                    }
                }
                @if irrevocable {
                    div .field.check {
                        input #a-sure type="checkbox" name="sure" value="true" required;
                        label for="a-sure" { "I know that this cannot be undone" }
                    }
                }
                div .field.buttons {
                    button type="submit" .primary[!irrevocable] .danger[irrevocable] {
                        (told_of(action).0) " " (count(ticked.len() as u64)) " message" @if ticked.len() != 1 { "s" }
                    }
                    a .button href=(back) { "Do nothing" }
                }
            }
        }
    }
}

/// Digest and place of a ticked message, now that the whole digest is known.
fn name_of(one: &Named, found: &[Detail]) -> String {
    let mut found = found.iter();
    let known = found.find(|detail| detail.message.digest.starts_with(&one.digest));
    let digest = known.map_or(&one.digest, |detail| &detail.message.digest);
    match one.at {
        Some(at) => format!("{digest}.{at}"),
        None => digest.clone(),
    }
}

/// Moves ticked messages.
pub(super) async fn act(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Path(queue): Path<String>,
    Extension(Form(mut form)): Extension<Form>,
) -> Answer<Response> {
    let request = ActRequest {
        action: action(&mut form)?,
        messages: ticked(&mut form)?,
        force: form.flag("force")?,
    };
    sure(&mut form, request.action)?;
    let back = back(&mut form, &queue)?;
    form.end()?;
    let outcome = console.operator().act(&queue, &request, &visitor.who).await;
    let name = request.action.as_str();
    let done = told(&visitor.who, name, &queue, outcome, |done| {
        done.summary.clone()
    })?;
    Ok(door::to(&visitor, &back, &said(request.action, &done)))
}

/// What cannot be undone is done only to who has said that he knows.
pub(super) fn sure(form: &mut Pairs, action: Action) -> Answer<()> {
    if form.flag("sure")? || action != Action::Purge {
        return Ok(());
    }
    let detail = "a purge cannot be undone: tick that you know it";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
}

/// What became of an act, with what was left and why.
fn said(action: Action, done: &ActOutcome) -> String {
    let mut text = format!("{}: {}.", told_of(action).0, done.summary);
    for (why, number) in &done.left {
        text.push_str(&format!(" {number} stayed: {}.", why.replace('_', " ")));
    }
    if !done.missing.is_empty() {
        text.push_str(&format!(" {} were gone.", done.missing.len()));
    }
    text
}

/// The address of a run.
pub(super) fn run_address(run: &str) -> String {
    format!("/console/runs/{}", encoded(run))
}

/// Where a run's page hears how it goes on.
pub(super) fn live_address(run: &str) -> String {
    format!("/console/live/runs/{}", encoded(run))
}
