//! What a note and a message of several say, in plain text. Pure.
//!
//! The texts lie beside this file: a title, and lines below it. What others wrote, such as the names
//! of queues and of people, comes into one line without anything that could steer it.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use super::event::{Event, Note, State};
use super::outbox::Batch;
use super::watcher::spell;

/// What is spelt otherwise in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Characters of a fact that are shown, at most.
const SHOWN: usize = 300;

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// One line.
    pub title: String,
    /// Some more.
    pub lines: Vec<String>,
}

/// What a note says.
#[must_use]
pub fn said(note: &Note) -> Said {
    let text = fill(template(note.event, note.state), note);
    let mut lines = text.lines().map(str::to_owned);
    Said {
        title: lines.next().unwrap_or_default(),
        lines: lines.collect(),
    }
}

/// What a message says in a line.
#[must_use]
pub fn headline(notes: &[&Note]) -> String {
    // What holds is worse than what is over; of what is equally grave the first one counts.
    let grave = |note: &&&Note| (note.state == State::Firing, note.event.severity());
    let Some(gravest) = notes.iter().rev().max_by_key(grave) else {
        return "nothing".to_owned();
    };
    let title = said(gravest).title;
    match notes.len() - 1 {
        0 => title,
        more => format!("{title}; and {more} more"),
    }
}

/// What a person is to read: where something has ended in the same message, not that it had begun.
#[must_use]
pub fn without_what_is_over(notes: &[Note]) -> Vec<&Note> {
    let over = |at: usize, note: &Note| {
        let mut later = notes[at + 1..].iter();
        note.state == State::Firing
            && later.any(|later| later.state == State::Resolved && later.key() == note.key())
    };
    let notes = notes.iter().enumerate();
    let left = notes.filter(|(at, note)| !over(*at, note));
    left.map(|(_, note)| note).collect()
}

/// What a message says of those that are not in it.
#[must_use]
pub fn remark(batch: &Batch) -> Option<String> {
    let mut parts = vec![];
    if batch.held_back > 0 {
        parts.push(format!(
            "{} of these were held back, because NOTIFY_MAX_PER_HOUR was reached",
            batch.held_back
        ));
    }
    if batch.missed > 0 {
        parts.push(format!(
            "{} before these never came through, for want of room or because they were refused",
            batch.missed
        ));
    }
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
}

/// The page of the console that shows more, below its base.
#[must_use]
pub fn page(note: &Note) -> String {
    let subject = || {
        let subject = note.subject.as_bytes();
        percent_encoding::percent_encode(subject, SEGMENT)
    };
    match note.event {
        Event::RedisLost => "/console/".to_owned(),
        Event::PoisonRate => "/console/dead".to_owned(),
        Event::Systemic
        | Event::GateShut
        | Event::DeadListSize
        | Event::DeadListAge
        | Event::DrainFinished => format!("/console/queues/{}", subject()),
        Event::RunFinished => format!("/console/runs/{}", subject()),
    }
}

/// A time for people.
#[must_use]
pub fn time(second: i64) -> String {
    let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.0}")
}

/// When a note is from, and since when it holds.
#[must_use]
pub fn when(note: &Note) -> String {
    let at = time(note.at);
    if note.since == note.at {
        return format!("At {at}");
    }
    format!("At {at}, since {}", time(note.since))
}

/// One line without anything that could steer a terminal, a page or the head of a mail.
#[must_use]
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    let shown = |c| if steers(c) { '\u{fffd}' } else { c };
    let mut line: String = text.chars().take(SHOWN).map(shown).collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    line
}

fn template(event: Event, state: State) -> &'static str {
    let over = state == State::Resolved;
    match event {
        Event::RedisLost if over => include_str!("texts/redis_lost.resolved.txt"),
        Event::RedisLost => include_str!("texts/redis_lost.txt"),
        Event::Systemic if over => include_str!("texts/systemic.resolved.txt"),
        Event::Systemic => include_str!("texts/systemic.txt"),
        Event::GateShut if over => include_str!("texts/gate_shut.resolved.txt"),
        Event::GateShut => include_str!("texts/gate_shut.txt"),
        Event::PoisonRate if over => include_str!("texts/poison_rate.resolved.txt"),
        Event::PoisonRate => include_str!("texts/poison_rate.txt"),
        Event::DeadListSize if over => include_str!("texts/dead_list_size.resolved.txt"),
        Event::DeadListSize => include_str!("texts/dead_list_size.txt"),
        Event::DeadListAge if over => include_str!("texts/dead_list_age.resolved.txt"),
        Event::DeadListAge => include_str!("texts/dead_list_age.txt"),
        Event::DrainFinished => include_str!("texts/drain_finished.txt"),
        Event::RunFinished => include_str!("texts/run_finished.txt"),
    }
}

/// Puts in what stands in braces. What is put in is not looked at again.
fn fill(template: &str, note: &Note) -> String {
    let mut text = String::with_capacity(template.len());
    let mut parts = template.split('{');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        text.push_str(&value(name, note));
        text.push_str(rest);
    }
    text
}

fn value(name: &str, note: &Note) -> String {
    match name {
        "subject" => plain(&note.subject),
        "since" => time(note.since),
        "lasted" => spell(lasted(note).as_secs()),
        fact => note
            .facts
            .get(fact)
            .map_or_else(|| "?".into(), |f| plain(f)),
    }
}

/// From its beginning to when it was noticed, or to its end.
#[must_use]
pub fn lasted(note: &Note) -> Duration {
    Duration::from_secs((note.at - note.since).max(0).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::super::sample::samples;
    use super::*;

    #[test]
    fn each_text_has_a_title_and_all_that_it_asks_for() {
        for note in samples(1_790_000_000) {
            let Said { title, lines } = said(&note);
            assert!(!title.is_empty() && !lines.is_empty(), "{note:?}");
            for line in std::iter::once(&title).chain(&lines) {
                let whole = !line.contains(['{', '}', '?']) && line.trim() == line;
                assert!(whole && !line.is_empty(), "{line:?} of {note:?}");
            }
        }
    }

    #[test]
    fn what_others_wrote_stays_in_its_line_and_steers_nothing() {
        let mut note = samples(0).into_iter().next_back().expect("a note");
        let evil = "a\r\nBcc: x@evil\u{1b}[2J\u{202e}{subject}{by}";
        note.subject = evil.to_owned();
        let facts: Vec<_> = note.facts.keys().copied().collect();
        for fact in facts {
            note.facts.insert(fact, evil.to_owned());
        }
        let Said { title, lines } = said(&note);
        assert_eq!(lines.len(), 2);
        for line in std::iter::once(&title).chain(&lines) {
            let steering = line.chars().any(|c| c.is_control() || c == '\u{202e}');
            assert!(!steering, "{line:?}");
            assert!(line.contains("{by}"), "it is not filled in again: {line:?}");
        }
        assert_eq!(plain(&"x".repeat(400)).chars().count(), SHOWN + 1);
    }

    #[test]
    fn pages_are_those_of_the_console_and_names_cannot_leave_them() {
        let mut pages: Vec<String> = samples(0).iter().map(page).collect();
        pages.dedup();
        assert!(pages.iter().all(|page| page.starts_with("/console/")));
        let mut note = samples(0).into_iter().next_back().expect("a note");
        assert_eq!(page(&note), "/console/runs/alerter.0123456789abcdef");
        note.event = Event::GateShut;
        note.subject = "../a b?c#d".into();
        assert_eq!(page(&note), "/console/queues/..%2Fa%20b%3Fc%23d");
    }

    #[test]
    fn a_message_is_headed_by_the_gravest_that_holds() {
        let notes = samples(0);
        let find = |event, state| {
            let mut found = notes
                .iter()
                .filter(|note| note.event == event && note.state == state);
            found.next().expect("a sample")
        };
        let over = find(Event::RedisLost, State::Resolved);
        let gate = find(Event::GateShut, State::Firing);
        let age = find(Event::DeadListAge, State::Firing);
        let systemic = find(Event::Systemic, State::Firing);
        let title = |notes: &[&Note]| headline(notes);
        assert_eq!(
            title(&[over, gate, age, systemic]),
            format!("{}; and 3 more", said(systemic).title)
        );
        assert_eq!(
            title(&[over, gate, age]),
            format!("{}; and 2 more", said(gate).title)
        );
        assert_eq!(
            title(&[find(Event::RunFinished, State::Happened), over]),
            format!("{}; and 1 more", said(over).title)
        );
        assert_eq!(headline(&[]), "nothing");
    }

    #[test]
    fn of_what_began_and_ended_people_read_the_end() {
        let mut notes: Vec<Note> = samples(0).into_iter().take(4).collect();
        notes[2].subject = "other".into();
        // The beginning of one, the end of another, and one that began once more.
        notes.push(notes[0].clone());
        let left = without_what_is_over(&notes);
        assert_eq!(left, [&notes[1], &notes[2], &notes[3], &notes[4]]);
    }

    #[test]
    fn a_message_says_how_many_are_in_it_and_how_many_are_not() {
        let mut batch = Batch {
            number: 1,
            notes: samples(0),
            held_back: 0,
            missed: 0,
        };
        let all: Vec<&Note> = batch.notes.iter().collect();
        assert!(headline(&all).ends_with("; and 13 more"));
        assert_eq!(remark(&batch), None);
        batch.notes.truncate(1);
        assert_eq!(headline(&[&batch.notes[0]]), said(&batch.notes[0]).title);
        (batch.held_back, batch.missed) = (2, 3);
        let said = remark(&batch).expect("something");
        assert!(said.starts_with("2 of these") && said.contains("; 3 before these"));
    }
}
