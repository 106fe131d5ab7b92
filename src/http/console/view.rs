//! Small pieces of pages: times, counts, states. What others wrote is escaped by the templates, and
//! made visible here.

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use super::door::Visitor;
use crate::operate::wire::{Action, DrainStatus, PauseView, RunState};
use crate::{clean, spell};

/// Text that others wrote: nothing in it steers the direction of the page or hides.
pub(super) fn safe(text: &str) -> String {
    clean::line(text)
}

/// A text that others wrote, which cannot turn its neighbours around.
pub(super) fn theirs(text: &str) -> Markup {
    html! { bdi { (safe(text)) } }
}

/// A number with its thousands apart, in digits of one width.
pub(super) fn count(number: u64) -> Markup {
    html! { span .n { (spell::count(number)) } }
}

/// A time of day: in UTC as it is sent, in the reader's zone as soon as the script has seen it.
pub(super) fn time(seconds: i64) -> Markup {
    moment(seconds.saturating_mul(1_000), "at")
}

/// The same of milliseconds.
pub(super) fn time_ms(milliseconds: i64) -> Markup {
    moment(milliseconds, "at")
}

/// How long ago; the script keeps it true.
pub(super) fn ago(seconds: i64, now: i64) -> Markup {
    let Ok(at) = Timestamp::from_second(seconds) else {
        return html! { span .n { (seconds) } };
    };
    let exact = format!("{at:.0}");
    html! {
        time .n datetime=(exact) title=(exact) data-as="ago" { (spell::ago(Some(seconds), now)) " ago" }
    }
}

/// How long something has been around.
pub(super) fn age(since: Option<i64>, now: i64) -> Markup {
    let Some(at) = since.and_then(|since| Timestamp::from_second(since).ok()) else {
        return html! { span .faint title="nothing in the message tells" { "–" } };
    };
    let exact = format!("{at:.0}");
    html! {
        time .n datetime=(exact) title=(exact) data-as="age" { (spell::ago(since, now)) }
    }
}

fn moment(milliseconds: i64, kind: &str) -> Markup {
    let Ok(at) = Timestamp::from_millisecond(milliseconds) else {
        return html! { span .n { (milliseconds) } };
    };
    let exact = format!("{at:.0}");
    html! {
        time .n datetime=(exact) title=(exact) data-as=(kind) {
            (exact.replace('T', " ").replace('Z', " UTC"))
        }
    }
}

/// A span of seconds.
pub(super) fn seconds(seconds: u64) -> String {
    spell::seconds(seconds)
}

/// A size in bytes.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{} B", spell::count(bytes)),
        10_240..10_485_760 => format!("{} KiB", spell::count(bytes / 1_024)),
        _ => format!("{} MiB", spell::count(bytes / 1_048_576)),
    }
}

/// The state of a gate, with a sign besides its colour.
pub(super) fn gate(drain: &DrainStatus) -> Markup {
    match drain.gate.as_str() {
        "open" => html! { span .state.good { "● open" } },
        "probation" => html! { span .state.warn { "◐ probation" } },
        "shut" => html! { span .state.bad { "■ shut" } },
        _ => html! { span .state.none { "○ not looked yet" } },
    }
}

/// What a gate's state means, and what to do about it: a name, a sentence, an advice.
pub(super) fn why(drain: &DrainStatus) -> (&'static str, &'static str) {
    match (drain.gate.as_str(), drain.why.as_str()) {
        ("open", _) => ("Dead letters go back to work.", ""),
        ("probation", _) => (
            "A few are on trial; what becomes of them decides.",
            "Nothing to do: it opens by itself when they are worked off and do not come back.",
        ),
        (_, "disabled") => (
            "Remediation is switched off.",
            "Set remediation_enabled to true in the settings.",
        ),
        (_, "paused") => (
            "An operator has paused this source.",
            "Resume it on the queue's page.",
        ),
        (_, "run") => (
            "An operator's run is at work here.",
            "It goes on when the run has ended.",
        ),
        (_, "moogsoft") => (
            "Moogsoft does not take events.",
            "Nothing to do here: it is asked again every few seconds.",
        ),
        (_, "circuit_breaker") => (
            "The forwarder's circuit breaker is open.",
            "See to the forwarder; the gate goes on trial when its breaker does.",
        ),
        (_, "backpressure") => (
            "The queue in front of the forwarder is so full that the alerter may shed.",
            "It opens by itself when that queue has gone down.",
        ),
        (_, "deferred") => (
            "The guard holds replays back while the alerter is above its shed threshold.",
            "It opens by itself when the alerter has caught up.",
        ),
        (_, "slo") => (
            "The forwarder spends its error budget critically fast.",
            "It opens by itself when it does not any more; see the SLO page, and replay_slo_gate in the settings.",
        ),
        (_, "bounces") => (
            "Too many of the last replays came back.",
            "See in the messages why they fail; it tries again by itself after a pause.",
        ),
        (_, "systemic") => (
            "So many messages have used up their retries that the fault must lie upstream.",
            "Find the fault; then set poison_guard_enabled to false to park them, or raise poison_max_ratio.",
        ),
        _ => ("The drain has not looked yet.", ""),
    }
}

/// The state of a run.
pub(super) fn run_state(state: RunState) -> Markup {
    let (class, sign) = match state {
        RunState::Running => ("warn", "◐"),
        RunState::Done => ("good", "●"),
        RunState::Cancelled | RunState::TimedOut => ("none", "○"),
        RunState::Failed => ("bad", "■"),
    };
    let name = state.as_str().replace('_', " ");
    html! { span class=(format!("state {class}")) { (sign) " " (name) } }
}

/// A pause in words.
pub(super) fn pause(pause: &PauseView, now: i64) -> Markup {
    html! {
        "Paused by " (theirs(&pause.by)) " " (ago(pause.since, now)) ": " (theirs(&pause.reason))
        @if let Some(until) = pause.until { ". It ends " (time(until)) }
        "."
    }
}

/// What an action is called on a button, and what it does.
pub(super) fn action(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::Replay => ("Replay", "back to work, to the replay target"),
        Action::Bury => ("Bury", "to the dead list"),
        Action::Restore => (
            "Restore",
            "to the dead letter list, its counters reset, for the worker to bring back",
        ),
        Action::Purge => ("Purge", "thrown away, for good"),
        Action::Export => ("Export", "a copy in a file; nothing moves"),
    }
}

/// The actions that a queue of this role knows.
pub(super) fn actions(role: &str) -> &'static [Action] {
    if role == "dead" {
        &[Action::Restore, Action::Purge]
    } else {
        &[Action::Replay, Action::Bury, Action::Purge]
    }
}

/// The token of a form.
pub(super) fn token(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="token" value=(visitor.token); }
}

/// The address of a queue.
pub(super) fn queue_address(queue: &str) -> String {
    format!("/console/queues/{}", encoded(queue))
}

/// The address of a message.
pub(super) fn message_address(queue: &str, digest: &str, at: Option<u64>) -> String {
    let at = at.map_or_else(String::new, |at| format!("?at={at}"));
    format!("{}/messages/{digest}{at}", queue_address(queue))
}

/// A part of an address.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A share in per cent.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// A share in per cent, with so many places at most: one that is not quite all is not shown as all.
pub(super) fn share(share: f64, places: i32) -> String {
    let parts = 10_f64.powi(places);
    // So much is lost when a text becomes a number.
    let cut = (share * 100.0 * parts + 1e-4).floor() / parts;
    format!("{cut} %")
}

/// A bar that tells how far something has come; `PreEscaped` numbers only.
pub(super) fn progress(label: &str, done: u64, all: u64) -> Markup {
    let all = all.max(1);
    html! {
        progress max=(PreEscaped(all.to_string())) value=(PreEscaped(done.min(all).to_string()))
            aria-label=(label) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::gate::Shut;

    #[test]
    fn every_reason_for_a_shut_gate_is_explained() {
        for shut in Shut::ALL {
            let drain = DrainStatus {
                gate: "shut".into(),
                why: shut.as_str().into(),
                ..DrainStatus::default()
            };
            let (means, advice) = why(&drain);
            assert!(!advice.is_empty(), "{shut:?}");
            assert_ne!(means, "The drain has not looked yet.", "{shut:?}");
        }
    }

    #[test]
    fn what_others_wrote_is_text_and_keeps_its_direction() {
        let evil = "<img src=x onerror=alert(1)>\u{202e}\u{1b}[2J";
        let shown = theirs(evil).into_string();
        assert!(shown.starts_with("<bdi>&lt;img src=x"), "{shown}");
        assert!(!shown.contains(['\u{202e}', '\u{1b}']), "{shown}");
        assert_eq!(queue_address("a/b?c"), "/console/queues/a%2Fb%3Fc");
    }

    #[test]
    fn a_share_that_is_not_all_is_not_shown_as_all() {
        for (of, text) in [
            ((1.0, 5), "100 %"),
            ((0.999, 5), "99.9 %"),
            ((0.995, 5), "99.5 %"),
            ((0.999_999_9, 5), "99.99999 %"),
            ((0.999_999_99, 5), "99.99999 %"),
            ((0.999_999_9, 3), "99.999 %"),
            ((0.0, 3), "0 %"),
            ((0.7, 3), "70 %"),
            ((0.123_456_78, 3), "12.345 %"),
        ] {
            assert_eq!(share(of.0, of.1), text);
        }
    }

    #[test]
    fn a_time_that_no_calendar_has_is_shown_as_a_number() {
        assert!(time(i64::MAX).into_string().contains("9223372036854775807"));
        assert!(age(Some(i64::MAX), 0).into_string().contains('–'));
        assert!(time(0).into_string().contains("1970-01-01 00:00:00 UTC"));
    }
}
