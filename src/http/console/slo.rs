//! The objectives: what is in danger and why, then each in turn, then how its budget went down.

mod chart;
mod table;

use std::time::Duration;

use axum::extract::State;
use maud::{Markup, html};

use super::door::Visitor;
use super::layout::{self, Place};
use super::live::Parts;
use super::overview::card;
use super::view::{ago, seconds, theirs};
use super::{Answer, ConsoleState};
use crate::slo::judge::State as Stand;
use crate::slo::known::{Entry, Known, Now, Reach};
use crate::slo::objective;

pub(super) use chart::history;

/// Where it is.
pub(super) const ADDRESS: &str = "/console/slo";

/// An objective, and what counts of it now.
struct Seen<'a> {
    entry: &'a Entry,
    now: Now,
    /// Why it stands so. That Prometheus is away is said once, for all of them.
    why: String,
}

impl Seen<'_> {
    fn state(&self) -> Stand {
        self.now.judgement.state
    }

    fn name(&self) -> &str {
        &self.entry.objective.name
    }

    /// Nothing is known of it because nothing happened, to which it is used.
    fn idle(&self) -> bool {
        self.entry.objective.is_idle(&self.now.judgement)
    }
}

fn seen(known: &Known) -> Vec<Seen<'_>> {
    let entries = known.entries.iter();
    entries.map(|entry| look(known, entry)).collect()
}

fn look<'a>(known: &Known, entry: &'a Entry) -> Seen<'a> {
    let now = known.now(entry);
    let counts = now.age.is_some_and(|age| age <= known.unknown_after);
    let why = match (&known.prometheus, &entry.last) {
        (Reach::Away { .. }, Some(last)) if counts => last.judgement.message.clone(),
        (Reach::Away { .. }, _) => "Prometheus does not answer".into(),
        _ => now.judgement.message.clone(),
    };
    Seen { entry, now, why }
}

/// The page.
pub(super) async fn page(State(console): State<ConsoleState>, visitor: Visitor) -> Answer<Markup> {
    let known = console.0.api.slos();
    let wanted = console.operator().in_force().slo.gate;
    if known.prometheus == Reach::Off {
        let body = off(&known);
        return Ok(layout::page(&visitor, Place::Slos, "SLOs", None, &body));
    }
    let all = seen(&known);
    let body = html! {
        h1 { "Service level objectives" }
        section #verdict aria-label="How they stand" { (verdict(&known, &all)) }
        section aria-labelledby="h-objectives" {
            h2 #h-objectives { "Objectives" }
            div #objectives { (table::table(&all)) }
        }
        section aria-labelledby="h-budgets" {
            h2 #h-budgets { "How the budgets went down" }
            (chart::place(known.entries.len()))
        }
        section aria-labelledby="h-gate" {
            h2 #h-gate { "Replays" }
            div #gate { (gate(&known, &all, wanted)) }
        }
    };
    let live = Some("/console/live/slo");
    Ok(layout::page(&visitor, Place::Slos, "SLOs", live, &body))
}

/// What changes on it.
pub(super) fn parts(console: &ConsoleState) -> Parts {
    let known = console.0.api.slos();
    let wanted = console.operator().in_force().slo.gate;
    let all = seen(&known);
    vec![
        ("verdict", verdict(&known, &all)),
        ("objectives", table::table(&all)),
        ("gate", gate(&known, &all, wanted)),
    ]
}

/// How a state is shown, with a sign besides its colour: a class and a text. What is not known is
/// never shown like what is well, and neither is what was well before nobody answered any more.
fn sign(state: Stand, old: bool) -> (&'static str, String) {
    let (class, sign) = match state {
        Stand::Ok if old => ("none", "●"),
        Stand::Ok => ("good", "●"),
        Stand::Warn => ("warn", "◐"),
        Stand::Critical => ("bad", "■"),
        Stand::Unknown => ("none", "○"),
    };
    let was = if old && state != Stand::Unknown {
        "was "
    } else {
        ""
    };
    (class, format!("{sign} {was}{state}"))
}

fn mark(state: Stand, old: bool) -> Markup {
    let (class, text) = sign(state, old);
    html! { span class=(format!("state {class}")) { (text) } }
}

/// The worst of them; of none, nothing is known.
fn worst(all: &[Seen<'_>]) -> Stand {
    let states = all.iter().filter(|one| !one.idle()).map(Seen::state);
    states.max().unwrap_or(Stand::Unknown)
}

/// How many there are of each state, the gravest first.
fn sums(all: &[Seen<'_>]) -> String {
    let gravest = [Stand::Critical, Stand::Warn, Stand::Unknown, Stand::Ok];
    let busy = || all.iter().filter(|one| !one.idle());
    let sums = gravest.into_iter().filter_map(|state| {
        let count = busy().filter(|one| one.state() == state).count();
        (count > 0).then(|| format!("{count} {state}"))
    });
    let idle = all.len() - busy().count();
    let idle = (idle > 0).then(|| format!("{idle} idle"));
    sums.chain(idle).collect::<Vec<_>>().join(", ")
}

/// The first that one needs to know.
fn verdict(known: &Known, all: &[Seen<'_>]) -> Markup {
    let old = all.iter().any(|one| one.now.stale);
    html! {
        p .verdict role="status" {
            (mark(worst(all), old)) " " span .faint { (sums(all)) }
        }
        (reach(known))
        @let danger = endangered(all);
        @if !danger.is_empty() {
            ul .dangers { @for one in danger { li {
                (mark(one.state(), one.now.stale)) " "
                (link(one.name())) ": "
                (theirs(&one.why)) "."
                div .faint { (theirs(&one.entry.objective.description)) }
            } } }
        }
        @for (message, names) in not_known(all) {
            p { (mark(Stand::Unknown, false)) " Nothing is known of "
                @for (index, name) in names.iter().enumerate() {
                    @if index > 0 { ", " }
                    (link(name))
                }
                ": " (theirs(message)) "."
            }
        }
    }
}

/// Those whose budgets burn or are spent, the gravest first.
fn endangered<'a, 'b>(all: &'b [Seen<'a>]) -> Vec<&'b Seen<'a>> {
    let of = |state: Stand| all.iter().filter(move |one| one.state() == state);
    of(Stand::Critical).chain(of(Stand::Warn)).collect()
}

/// Those of which nothing is known, by the reason.
fn not_known<'a>(all: &'a [Seen<'_>]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut reasons: Vec<(&str, Vec<&str>)> = vec![];
    let unknown = |one: &&Seen<'_>| one.state() == Stand::Unknown && !one.idle();
    for one in all.iter().filter(unknown) {
        let why = one.why.as_str();
        match reasons.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, names)) => names.push(one.name()),
            None => reasons.push((why, vec![one.name()])),
        }
    }
    reasons
}

/// Whether Prometheus answers, and what it means if it does not.
fn reach(known: &Known) -> Markup {
    match &known.prometheus {
        Reach::Off => {
            html! { p { span .state.none { "○ Not watched" } ": PROMETHEUS_URL is not set." } }
        }
        Reach::NotAsked => {
            html! { p { span .state.none { "○ Prometheus has not been asked yet" } "." } }
        }
        Reach::Up => html! { p { span .state.good { "● Prometheus answers" } "." } },
        Reach::Away { why, since } => html! { div .alert {
            p {
                strong { "■ Prometheus does not answer" } " since " (ago(*since, now())) ": "
                (theirs(why)) "."
            }
            p {
                "What is shown is of before, and marked as such; when it is older than "
                (seconds(known.unknown_after.as_secs())) " it counts as unknown. "
                "Check " code { "PROMETHEUS_URL" } ", what signs in there, and Prometheus itself; it is asked again by itself."
            }
        } },
    }
}

/// Whether the objectives hold replays back.
fn gate(known: &Known, all: &[Seen<'_>], wanted: bool) -> Markup {
    let setting =
        html! { a href="/console/settings#replay_slo_gate" { code { "replay_slo_gate" } } };
    let forwarder = all.iter().find(|one| one.name() == objective::FORWARDER);
    html! { p {
        @if !wanted {
            span .state.none { "○ not held" } " The objectives hold no replays back: " (setting) " is off."
        } @else if known.prometheus == Reach::NotAsked {
            span .state.warn { "◐ held" } " Replays are held back until Prometheus has been asked for the first time ("
            (setting) ")."
        } @else if known.burns() {
            span .state.bad { "■ held" } " Replays are held back, because the budget of "
            (link(objective::FORWARDER)) " burns critically. They go on by themselves when it does not any more; "
            (setting) " switches this off."
        } @else if forwarder.is_some_and(|one| one.state() != Stand::Unknown) {
            span .state.good { "● not held" } " Replays would be held back while the budget of "
            (link(objective::FORWARDER)) " burns critically (" (setting) "); it does not."
        } @else {
            span .state.warn { "◐ not held" } " Replays would be held back while the budget of "
            (link(objective::FORWARDER)) " burns critically (" (setting)
            "); nothing is known of it, and what is not known holds nothing back."
        }
    } }
}

/// Where the row of an objective is. No part of a page has such a name.
fn anchor(name: &str) -> String {
    format!("slo-{name}")
}

fn link(name: &str) -> Markup {
    html! { a href=(format!("#{}", anchor(name))) { (theirs(name)) } }
}

/// Nobody is asked: how that is changed, and what would be watched then.
fn off(known: &Known) -> Markup {
    html! {
        h1 { "Service level objectives" }
        section #verdict aria-label="How they stand" {
            p .verdict { span .state.none { "○ not watched" } }
            p .notice {
                "Nothing is known of the objectives, because " code { "PROMETHEUS_URL" } " is not set. Set it to the address of the Prometheus that scrapes MUTT, such as "
                code { "http://prometheus:9090" } ", and start this daemon again."
            }
        }
        section aria-labelledby="h-objectives" {
            h2 #h-objectives { "What would be watched" }
            (table::promises(&known.entries))
        }
    }
}

/// Of the overview: how they stand in a few words.
pub(super) fn summary(known: &Known) -> Markup {
    let more = |text: &str| html! { (text) " " a href=(ADDRESS) { "The objectives" } };
    if known.prometheus == Reach::Off {
        return card(
            "SLOs",
            "none",
            "○ not watched",
            &more("PROMETHEUS_URL is not set."),
        );
    }
    let all = seen(known);
    let old = all.iter().any(|one| one.now.stale);
    let (class, state) = sign(worst(&all), old);
    let away = if matches!(known.prometheus, Reach::Away { .. }) {
        " Prometheus does not answer."
    } else {
        ""
    };
    let text = format!("{}.{away}", sums(&all));
    card("SLOs", class, &state, &more(&text))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// When something was that is so old, to the second, whenever that is asked.
fn then(age: Duration) -> i64 {
    let now = jiff::Timestamp::now().as_millisecond();
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    now.saturating_sub(age) / 1_000
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::slo::built_in::built_in;
    use crate::slo::judge::Judgement;
    use crate::slo::known::Answer;

    /// The first objectives stand like this, so many seconds ago.
    fn known(states: &[Stand], age: u64) -> Known {
        let (interval, unknown_after) = (Duration::from_secs(10), Duration::from_secs(100));
        let mut known = Known::nothing(Reach::Up, interval, unknown_after);
        known.follow(built_in().into_iter().take(states.len()).collect());
        for (entry, state) in known.entries.iter_mut().zip(states) {
            let mut judgement = Judgement::unknown("<b>why</b>");
            judgement.state = *state;
            entry.last = Some(Answer {
                at: Instant::now() - Duration::from_secs(age),
                judgement,
                evidence: None,
            });
        }
        known
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_known_or_stale_is_never_shown_as_well() {
        tokio::time::advance(Duration::from_secs(1_000)).await;
        let shown = |states: &[Stand], age| {
            let known = known(states, age);
            let page = verdict(&known, &seen(&known)).into_string();
            (page, summary(&known).into_string())
        };
        for (states, age, says) in [
            (&[Stand::Ok, Stand::Unknown][..], 0, "unknown"),
            (&[Stand::Ok, Stand::Ok], 50, "was ok"),
            (&[Stand::Ok, Stand::Ok], 200, "unknown"),
            (&[Stand::Critical, Stand::Ok], 50, "was critical"),
            (&[], 0, "unknown"),
        ] {
            let (page, card) = shown(states, age);
            assert!(
                page.contains(says) && card.contains(says),
                "{states:?} {age}: {page} {card}"
            );
            assert!(!card.contains("good"), "{card}");
            assert!(!page.contains("good\">● ok"), "{page}");
        }
        let (page, card) = shown(&[Stand::Ok], 0);
        assert!(
            page.contains("good\">● ok") && card.contains("● ok"),
            "{page} {card}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_gravest_comes_first_and_what_others_wrote_is_text() {
        let known = known(&[Stand::Warn, Stand::Unknown, Stand::Critical], 0);
        let all = seen(&known);
        let names: Vec<_> = endangered(&all).iter().map(|one| one.name()).collect();
        assert_eq!(names, ["forwarder_availability", "ingestor_availability"]);
        assert_eq!(sums(&all), "1 critical, 1 warn, 1 unknown");
        let page = verdict(&known, &all).into_string() + &table::table(&all).into_string();
        assert!(
            page.contains("&lt;b&gt;why") && !page.contains("<b>"),
            "{page}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_says_whether_it_holds_and_why_not() {
        let of = |state, on| {
            let known = known(&[Stand::Ok, Stand::Ok, state], 0);
            gate(&known, &seen(&known), on).into_string()
        };
        assert!(of(Stand::Critical, true).contains("■ held"));
        assert!(of(Stand::Warn, true).contains("it does not."));
        assert!(of(Stand::Unknown, true).contains("nothing is known of it"));
        assert!(of(Stand::Critical, false).contains("is off"));
    }
}
