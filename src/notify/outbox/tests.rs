//! What waits, for how long, and what goes first.

use proptest::prelude::*;

use super::*;
use crate::notify::event::{Event, Severity};
use crate::notify::sample::samples;

fn moment() -> Instant {
    tokio::time::Instant::now().into_std()
}

const LIMITS: Limits = Limits {
    group: Duration::from_secs(5),
    per_hour: 30,
    again: false,
};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn note(event: Event, subject: &str) -> Note {
    let all = samples(1_790_000_000);
    let mut found = all.into_iter().filter(|note| note.event == event);
    Note {
        subject: subject.to_owned(),
        ..found.next().expect("a sample")
    }
}

fn sent(outbox: &mut Outbox, now: Instant) -> Batch {
    match outbox.next(now) {
        Next::Send(batch) => {
            outbox.settle(Outcome::Sent, now);
            batch
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_of_a_moment_are_one_message() {
    let start = moment();
    let mut outbox = Outbox::new(LIMITS, start);
    assert_eq!(outbox.next(start), Next::Wait(None));
    outbox.push(note(Event::GateShut, "a"), start);
    assert_eq!(outbox.next(start), Next::Wait(Some(start + seconds(5))));
    outbox.push(note(Event::GateShut, "b"), start + seconds(4));
    let batch = sent(&mut outbox, start + seconds(5));
    assert_eq!(batch.notes.len(), 2);
    assert_eq!((batch.number, batch.held_back, batch.missed), (1, 0, 0));
    assert_eq!(outbox.next(start + seconds(5)), Next::Wait(None));
    outbox.push(note(Event::GateShut, "c"), start + seconds(9));
    let due = start + seconds(14);
    assert_eq!(outbox.next(start + seconds(9)), Next::Wait(Some(due)));
    assert_eq!(sent(&mut outbox, due).number, 2);
}

#[test]
fn above_the_cap_what_waits_goes_together_and_says_so() {
    let start = moment();
    let mut outbox = Outbox::new(
        Limits {
            per_hour: 2,
            ..LIMITS
        },
        start,
    );
    let mut now = start;
    for _ in 0..2 {
        outbox.push(note(Event::GateShut, "a"), now);
        now += seconds(5);
        assert_eq!(sent(&mut outbox, now).held_back, 0);
    }
    for subject in ["b", "c", "d"] {
        outbox.push(note(Event::GateShut, subject), now);
        now += seconds(10);
        assert!(matches!(outbox.next(now), Next::Wait(Some(_))));
    }
    let Next::Wait(Some(due)) = outbox.next(now) else {
        panic!("it is held back");
    };
    assert!(due > start + seconds(1_780) && due < start + seconds(1_830));
    let batch = sent(&mut outbox, due + seconds(1));
    assert_eq!((batch.notes.len(), batch.held_back), (3, 3));
}

#[test]
fn a_message_is_tried_again_as_it_is_and_given_up_after_an_hour() {
    let start = moment();
    let mut outbox = Outbox::new(LIMITS, start);
    outbox.push(note(Event::GateShut, "a"), start);
    let mut now = start + seconds(5);
    let Next::Send(first) = outbox.next(now) else {
        panic!("it is due");
    };
    outbox.push(note(Event::GateShut, "b"), now);
    let mut tries = 1;
    let given_up = loop {
        // However long the receiver wants to be left alone.
        let settled = outbox.settle(Outcome::Later(seconds(9_999)), now);
        if !settled.is_empty() {
            break settled;
        }
        assert_eq!(outbox.next(now), Next::Wait(Some(now + LONGEST_WAIT)));
        now += LONGEST_WAIT;
        assert_eq!(outbox.next(now), Next::Send(first.clone()), "the same");
        tries += 1;
    };
    assert_eq!((tries, given_up.len()), (5, 1));
    let next = sent(&mut outbox, now);
    assert_eq!((next.number, next.missed), (2, 1));
    outbox.push(note(Event::GateShut, "c"), now);
    assert_eq!(sent(&mut outbox, now + seconds(5)).missed, 0, "told once");
}

#[test]
fn what_is_refused_is_not_tried_again() {
    let start = moment();
    let mut outbox = Outbox::new(LIMITS, start);
    outbox.push(note(Event::GateShut, "a"), start);
    let now = start + seconds(5);
    assert!(matches!(outbox.next(now), Next::Send(_)));
    assert_eq!(outbox.settle(Outcome::Never, now).len(), 1);
    assert_eq!(outbox.next(now), Next::Wait(None));
    assert!(outbox.is_empty() && outbox.last(now).is_none());
}

#[test]
fn the_least_grave_and_oldest_goes_first_when_there_is_no_room() {
    let start = moment();
    let mut outbox = Outbox::new(LIMITS, start);
    outbox.push(note(Event::RedisLost, "first"), start);
    outbox.push(note(Event::RunFinished, "old"), start);
    outbox.push(note(Event::RunFinished, "young"), start);
    for at in 3..WAITING {
        assert_eq!(
            outbox.push(note(Event::GateShut, &at.to_string()), start),
            None
        );
    }
    let mut push = |event| {
        outbox
            .push(note(event, "new"), start)
            .expect("no room")
            .subject
    };
    assert_eq!(push(Event::Systemic), "old");
    assert_eq!(push(Event::Systemic), "young");
    assert_eq!(
        push(Event::RunFinished),
        "new",
        "it is the least grave itself"
    );
    assert_eq!(push(Event::Systemic), "3");
    let first = sent(&mut outbox, start);
    assert_eq!(
        (first.notes[0].subject.as_str(), first.missed),
        ("first", 4)
    );
    assert_eq!(
        first.notes.len(),
        TOGETHER,
        "a full message waits for nothing"
    );
}

#[test]
fn what_holds_is_told_again_until_it_has_ended() {
    let start = moment();
    let mut outbox = Outbox::new(
        Limits {
            again: true,
            ..LIMITS
        },
        start,
    );
    let firing = note(Event::RedisLost, "");
    outbox.push(firing.clone(), start);
    let mut now = start + seconds(5);
    assert_eq!(outbox.next(start), Next::Wait(Some(now)));
    sent(&mut outbox, now);
    for _ in 0..3 {
        assert_eq!(outbox.next(now), Next::Wait(Some(now + AGAIN)));
        now += AGAIN;
        assert_eq!(outbox.next(now), Next::Again(vec![firing.clone()]));
    }
    let over = Note {
        state: State::Resolved,
        ..firing
    };
    outbox.push(over.clone(), now);
    let batch = sent(&mut outbox, now + seconds(5));
    assert_eq!(batch.notes, [over]);
    assert_eq!(outbox.next(now + seconds(100)), Next::Wait(None));
}

#[test]
fn what_nobody_says_came_through_is_sent_three_times_more_at_most() {
    let start = moment();
    let mut outbox = Outbox::new(LIMITS, start);
    outbox.push(note(Event::GateShut, "a"), start);
    let mut now = start + seconds(5);
    for wait in UNSURE_WAITS {
        assert!(matches!(outbox.next(now), Next::Send(_)));
        assert!(outbox.settle(Outcome::Unsure(seconds(1)), now).is_empty());
        assert!(wait >= seconds(120));
        assert_eq!(outbox.next(now), Next::Wait(Some(now + wait)));
        now += wait;
    }
    assert!(matches!(outbox.next(now), Next::Send(_)));
    assert_eq!(outbox.settle(Outcome::Unsure(seconds(1)), now).len(), 1);
    assert_eq!(outbox.next(now), Next::Wait(None));
    outbox.push(note(Event::GateShut, "b"), now);
    assert_eq!(sent(&mut outbox, now + seconds(5)).missed, 1);
}

#[test]
fn what_holds_does_not_end_because_a_receiver_asks_to_be_left_alone() {
    for outcome in [Outcome::Later(seconds(900)), Outcome::Unsure(seconds(900))] {
        let start = moment();
        let mut outbox = Outbox::new(
            Limits {
                again: true,
                ..LIMITS
            },
            start,
        );
        let firing = note(Event::RedisLost, "");
        outbox.push(firing.clone(), start);
        let mut now = start + seconds(5);
        sent(&mut outbox, now);
        let other = note(Event::GateShut, "a");
        outbox.push(other.clone(), now);
        now += seconds(5);
        for _ in 0..10 {
            let Next::Send(batch) = outbox.next(now) else {
                panic!("it is due");
            };
            assert_eq!(
                batch.notes,
                [other.clone(), firing.clone()],
                "all that holds"
            );
            assert!(outbox.settle(outcome, now).is_empty());
            let due = now + LONGEST_WAIT_AGAIN;
            assert_eq!(outbox.next(now), Next::Wait(Some(due)));
            now = due;
        }
    }
}

#[test]
fn the_gravest_goes_first() {
    let start = moment();
    let mut outbox = Outbox::new(LIMITS, start);
    let over = Note {
        state: State::Resolved,
        ..note(Event::Systemic, "a")
    };
    for at in 0..TOGETHER {
        outbox.push(note(Event::RunFinished, &at.to_string()), start);
    }
    outbox.push(note(Event::GateShut, "a"), start);
    outbox.push(note(Event::Systemic, "a"), start);
    outbox.push(over.clone(), start);
    let first = sent(&mut outbox, start);
    assert_eq!(first.notes[0], note(Event::Systemic, "a"));
    assert_eq!(first.notes[1], over);
    assert_eq!(first.notes[2].event, Event::GateShut);
    assert_eq!(first.notes[3].subject, "0");
    let rest = sent(&mut outbox, start + seconds(5));
    let left: Vec<&str> = rest.notes.iter().map(|note| &*note.subject).collect();
    assert_eq!(left, ["47", "48", "49"]);
}

#[test]
fn a_quarter_of_the_messages_is_kept_for_what_is_critical() {
    let start = moment();
    let mut outbox = Outbox::new(
        Limits {
            per_hour: 8,
            ..LIMITS
        },
        start,
    );
    for _ in 0..6 {
        outbox.push(note(Event::GateShut, "a"), start);
        sent(&mut outbox, start + seconds(5));
    }
    let mut now = start + seconds(5);
    outbox.push(note(Event::GateShut, "b"), now);
    now += seconds(10);
    let Next::Wait(Some(due)) = outbox.next(now) else {
        panic!("it is held back");
    };
    assert!(due > now + seconds(400), "one more in an eighth of an hour");
    outbox.push(note(Event::RedisLost, ""), now);
    let batch = sent(&mut outbox, now);
    let events: Vec<Event> = batch.notes.iter().map(|note| note.event).collect();
    assert_eq!(events, [Event::RedisLost, Event::GateShut]);
    assert_eq!(batch.held_back, 1, "what is critical was not");
    outbox.push(note(Event::Systemic, "a"), now);
    assert_eq!(sent(&mut outbox, now + seconds(5)).notes.len(), 1);
}

proptest! {
    /// Whatever happens: bounded, in order, each note settled or dropped once, and no more
    /// messages than the cap allows.
    #[test]
    fn notes_are_bounded_and_accounted_for(
        steps in prop::collection::vec((0u8..6, 0usize..8, 0u64..400), 1..600),
        per_hour in 1u32..100,
    ) {
        let start = moment();
        let mut now = start;
        let mut outbox = Outbox::new(Limits { per_hour, ..LIMITS }, start);
        let (mut pushed, mut gone, mut messages) = (0, 0, 0);
        let mut last = 0;
        for (step, event, wait) in steps {
            match step {
                0..=2 => {
                    let event = Event::ALL[event];
                    pushed += 1;
                    if let Some(dropped) = outbox.push(note(event, ""), now) {
                        gone += 1;
                        prop_assert!(dropped.event.severity() <= event.severity()
                            || event.severity() == Severity::Info);
                    }
                }
                _ => now += seconds(wait),
            }
            if let Next::Send(batch) = outbox.next(now) {
                prop_assert!(batch.notes.len() <= TOGETHER && batch.number >= last);
                messages += u32::from(batch.number > last);
                last = batch.number;
                let outcome = match wait % 4 {
                    0 => Outcome::Sent,
                    1 => Outcome::Never,
                    2 => Outcome::Unsure(seconds(wait)),
                    _ => Outcome::Later(seconds(wait)),
                };
                gone += outbox.settle(outcome, now).len();
            }
            prop_assert!(outbox.len() <= WAITING + TOGETHER);
            prop_assert_eq!(pushed, gone + outbox.len());
            let hours = (now - start).as_secs_f64() / 3_600.0;
            let most = f64::from(per_hour) * (1.0 + hours) + 1e-6;
            prop_assert!(f64::from(messages) <= most, "{} of {}", messages, most);
        }
    }
}
