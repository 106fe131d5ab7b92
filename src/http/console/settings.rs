//! The settings that can be changed while running: what counts, and where that comes from.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::door::{self, Form, Visitor};
use super::layout::{self, Place};
use super::view::{seconds, theirs, token};
use super::{Answer, ConsoleState, slo};
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
    Ok(whole(&console, &visitor, None).await?)
}

async fn whole(
    console: &ConsoleState,
    visitor: &Visitor,
    wrong: Option<&Wrong>,
) -> Result<Markup, Error> {
    let settings = console.operator().settings().await?;
    let known = console.0.api.slos();
    let names = known.entries.iter().map(|one| &*one.objective.name);
    let groups = Groups::of(&settings, names);
    let body = html! {
        h1 { "Settings" }
        p .faint { "They hold for every daemon on this Redis, from a few seconds after the change on. What is not set here comes from each daemon's environment; the value shown then is that of this one." }
        section aria-labelledby="h-drain" {
            h2 #h-drain { "The drain" }
            (table(visitor, &groups.drain, wrong))
        }
        @if !groups.objectives.is_empty() {
            section aria-labelledby="h-objectives" {
                h2 #h-objectives { "The objectives" }
                p .faint { "What they do is on the page " a href=(slo::ADDRESS) { "SLOs" } "." }
                (table(visitor, &groups.objectives, wrong))
                h3 { "Of one objective alone" }
                @for (name, settings) in &groups.single {
                    @let set = settings.iter().filter(|one| one.value.is_some()).count();
                    @let tried = settings.iter().any(|one| wrong.is_some_and(|wrong| wrong.key == one.key));
                    details .fold open[tried || set > 0] {
                        summary { (theirs(name)) @if set > 0 { " " span .tag { (set) " set in Redis" } } }
                        (table(visitor, settings, wrong))
                    }
                }
            }
        }
    };
    Ok(layout::page(
        visitor,
        Place::Settings,
        "Settings",
        None,
        &body,
    ))
}

/// The settings by what they are of.
struct Groups<'a> {
    drain: Vec<&'a SettingView>,
    /// Of all objectives, or of those that the keys name.
    objectives: Vec<&'a SettingView>,
    /// Of single objectives, by their names.
    single: Vec<(&'a str, Vec<&'a SettingView>)>,
}

impl<'a> Groups<'a> {
    fn of(settings: &'a [SettingView], names: impl Iterator<Item = &'a str>) -> Self {
        let mut groups = Self {
            drain: vec![],
            objectives: vec![],
            single: names.map(|name| (name, vec![])).collect(),
        };
        for setting in settings {
            let key = setting.key.as_str();
            let mut single = groups.single.iter_mut();
            if let Some((_, of_it)) = single.find(|(name, _)| is_of(key, name)) {
                of_it.push(setting);
            } else if key.starts_with("slo_") || key == "replay_slo_gate" {
                groups.objectives.push(setting);
            } else {
                groups.drain.push(setting);
            }
        }
        groups.single.retain(|(_, of_it)| !of_it.is_empty());
        groups
    }
}

/// Whether a key is of this objective alone. Its name can begin with that of another one.
fn is_of(key: &str, name: &str) -> bool {
    let rest = key
        .strip_prefix("slo_")
        .and_then(|rest| rest.strip_prefix(name));
    matches!(
        rest,
        Some("_window_hours" | "_burn_rate_warning" | "_burn_rate_critical")
    )
}

fn table(visitor: &Visitor, settings: &[&SettingView], wrong: Option<&Wrong>) -> Markup {
    html! { div .scroll { table .settings.stacks {
        thead { tr {
            th { "Key" } th { "In force" } th { "From" } th { "Expected" }
            @if visitor.acts() { th { "Change" } }
        } }
        tbody { @for setting in settings {
            (row(visitor, setting, wrong.filter(|wrong| wrong.key == setting.key)))
        } }
    } } }
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
        let wrong = Wrong {
            key: key.clone(),
            value: value.clone(),
            problem,
        };
        let page = whole(&console, &visitor, Some(&wrong)).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_in_one_group() {
        let setting = |key: &str| SettingView {
            key: key.into(),
            value: None,
            default: String::new(),
            in_force: String::new(),
            seconds_left: None,
            expected: String::new(),
            valid: true,
        };
        let keys = [
            "remediation_enabled",
            "slo_window_hours",
            "replay_slo_gate",
            "slo_up_window_hours",
            "slo_up_time_burn_rate_warning",
            "slo_up_burn_rate_critical",
        ];
        let settings = keys.map(setting);
        let groups = Groups::of(&settings, ["up", "up_time", "idle"].into_iter());
        let names = |of: &[&SettingView]| of.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
        assert_eq!(names(&groups.drain), keys[..1]);
        assert_eq!(names(&groups.objectives), keys[1..3]);
        let single: Vec<_> = groups
            .single
            .iter()
            .map(|(name, of)| (*name, names(of)))
            .collect();
        let [hours, warning, critical] = [3, 4, 5].map(|index| keys[index].to_owned());
        assert_eq!(
            single,
            [("up", vec![hours, critical]), ("up_time", vec![warning])]
        );
    }
}
