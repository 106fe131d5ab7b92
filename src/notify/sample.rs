//! One note of each kind, as `notify test` sends them. Pure.

use super::event::{Event, Note, State};

/// One note of each event, and of those that last one for each end; nothing in them has happened.
#[must_use]
pub fn samples(now: i64) -> Vec<Note> {
    let mut notes = vec![];
    for event in Event::ALL {
        if event.lasts() {
            notes.push(sample(event, State::Firing, now));
            notes.push(sample(event, State::Resolved, now));
        } else {
            notes.push(sample(event, State::Happened, now));
        }
    }
    notes
}

fn sample(event: Event, state: State, now: i64) -> Note {
    let subject = match event {
        Event::RedisLost => "",
        Event::DeadListSize | Event::DeadListAge => "dead",
        Event::RunFinished => "alerter.0123456789abcdef",
        _ => "alerter",
    };
    let (reason, limit) = match event {
        Event::RedisLost => ("unreachable", ""),
        Event::GateShut => ("moogsoft", ""),
        Event::DeadListSize => ("", "1000"),
        Event::DeadListAge => ("", "7 d"),
        _ => ("", "30"),
    };
    let meaning = match state {
        State::Resolved => "messages may be replayed again",
        State::Firing | State::Happened => "Moogsoft does not take events",
    };
    let facts = [
        ("reason", reason),
        ("meaning", meaning),
        ("advice", "nothing, this is a test"),
        ("parked", "31"),
        ("limit", limit),
        ("total", "310"),
        ("list", "mutt:dlq:dead"),
        ("depth", "1001"),
        ("age", "8 d"),
        ("replayed", "990"),
        ("dead", "10"),
        ("left", "0"),
        ("queue", "alerter"),
        ("action", "replay"),
        ("state", "done"),
        ("moved", "12"),
        ("wanted", "12"),
        ("by", "somebody"),
        ("summary", "moved 12 of 12"),
    ];
    let facts = facts
        .into_iter()
        .filter(|(name, _)| told(event).contains(name));
    Note {
        event,
        state,
        subject: subject.to_owned(),
        since: now - 960,
        at: now,
        facts: facts.map(|(name, text)| (name, text.to_owned())).collect(),
    }
}

/// The facts of an event.
fn told(event: Event) -> &'static [&'static str] {
    match event {
        Event::RedisLost => &["reason", "advice"],
        Event::Systemic => &[],
        Event::GateShut => &["reason", "meaning"],
        Event::PoisonRate => &["parked", "limit", "total"],
        Event::DeadListSize | Event::DeadListAge => &["list", "depth", "age", "limit"],
        Event::DrainFinished => &["replayed", "dead", "left"],
        Event::RunFinished => &[
            "queue", "action", "state", "moved", "wanted", "by", "summary",
        ],
    }
}
