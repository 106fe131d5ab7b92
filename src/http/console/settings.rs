//! The settings that can be changed while running: what counts, and where that comes from.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::door::{self, Form, Visitor};
use super::layout::{self, Place};
use super::view::{seconds, theirs, token};
use super::{Answer, ConsoleState};
use crate::http::api::acts::told;
use crate::http::api::problem::Problem;
use crate::operate::Error;
use crate::operate::wire::{SettingRequest, SettingView};
use crate::spell;

/// What was tried and is wrong.
struct Wrong {
    key: String,
    value: String,
    problem: String,
}

/// The page.
pub(super) async fn page(State(console): State<ConsoleState>, visitor: Visitor) -> Answer<Markup> {
    let settings = console.operator().settings().await?;
    Ok(whole(&visitor, &settings, None))
}

fn whole(visitor: &Visitor, settings: &[SettingView], wrong: Option<&Wrong>) -> Markup {
    let body = html! {
        h1 { "Settings" }
        p .faint { "They hold for every daemon on this Redis, from a few seconds after the change on. What is not set here comes from each daemon's environment; the value shown then is that of this one." }
        div .scroll { table .settings.stacks {
            thead { tr {
                th { "Key" } th { "In force" } th { "From" } th { "Expected" }
                @if visitor.acts() { th { "Change" } }
            } }
            tbody { @for setting in settings {
                (row(visitor, setting, wrong.filter(|wrong| wrong.key == setting.key)))
            } }
        } }
    };
    layout::page(visitor, Place::Settings, "Settings", None, &body)
}

fn row(visitor: &Visitor, setting: &SettingView, wrong: Option<&Wrong>) -> Markup {
    let key = setting.key.as_str();
    let value = setting.value.as_deref().filter(|_| setting.valid);
    let problem = format!("{key}-wrong");
    let tried = wrong.map(|wrong| wrong.value.as_str());
    html! { tr #(key) {
        th scope="row" { code { (key) } }
        td { strong { (theirs(&setting.in_force)) } }
        td data-label="from" {
            @match (&setting.value, setting.valid) {
                (Some(_), true) => {
                    "Redis"
                    @if let Some(left) = setting.seconds_left { ", for " (seconds(left)) " more" }
                    div .faint { "without it " (theirs(&setting.default)) }
                }
                (Some(text), false) => {
                    span .state.bad { "■ refused in Redis" }
                    div .faint { (theirs(text)) " cannot be used; the last good value counts" }
                }
                (None, _) => "environment",
            }
        }
        td .faint.whole { (setting.expected) }
        @if visitor.acts() {
            td .whole {
                form method="post" action="/console/settings" .inline {
                    (token(visitor))
                    input type="hidden" name="key" value=(key);
                    input name="value" aria-label=(format!("New value of {key}")) required size="8" spellcheck="false"
                        value=(tried.or(value).unwrap_or(&setting.default))
                        aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| &problem)];
                    input name="time" aria-label=(format!("How long {key} shall count")) size="6" placeholder="for ever" spellcheck="false";
                    button type="submit" name="do" value="set" { "Set" }
                    @if setting.value.is_some() {
                        button type="submit" name="do" value="unset" formnovalidate { "Unset" }
                    }
                    @if let Some(wrong) = wrong { p #(problem) .alert role="alert" { (theirs(&wrong.problem)) } }
                }
            }
        }
    } }
}

/// Sets one, or has it fall back.
pub(super) async fn change(
    State(console): State<ConsoleState>,
    visitor: Visitor,
    Extension(Form(mut form)): Extension<Form>,
) -> Answer<Response> {
    let key = form.one("key")?.unwrap_or_default();
    let value = form.one("value")?.unwrap_or_default();
    let time = form.one("time")?;
    let deed = form.one("do")?.unwrap_or_default();
    form.end()?;
    let operator = console.operator();
    if deed == "unset" {
        let outcome = operator.unset(&key, &visitor.who).await;
        told(&visitor.who, "unset", &key, outcome, |_| "unset".into())?;
        let flash = format!("{key} comes from the environment again.");
        return Ok(door::to(&visitor, "/console/settings", &flash));
    }
    let wrong = async |problem: String| -> Answer<Response> {
        let settings = operator.settings().await?;
        let wrong = Wrong {
            key: key.clone(),
            value: value.clone(),
            problem,
        };
        let page = whole(&visitor, &settings, Some(&wrong));
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let Ok(seconds) = time.as_deref().map(spell::duration).transpose() else {
        let text = "The time cannot be used: expected one such as 10m, 2h or 1d.";
        return wrong(text.into()).await;
    };
    let request = SettingRequest {
        value: value.clone(),
        seconds,
    };
    let outcome = operator.set(&key, &request, &visitor.who).await;
    let expected = match &outcome {
        Err(Error::Invalid {
            name: "value" | "seconds",
            expected,
            ..
        }) => Some(expected.clone()),
        _ => None,
    };
    let outcome: Result<_, Problem> = told(&visitor.who, "set", &key, outcome, |_| "set".into());
    if let Some(expected) = expected {
        return wrong(format!("This cannot be used: expected {expected}.")).await;
    }
    outcome?;
    Ok(door::to(
        &visitor,
        "/console/settings",
        &format!("{key} is set to {value}."),
    ))
}
