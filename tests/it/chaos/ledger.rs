//! The count: what was made, against what lies where.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::letters::{Form, Letter};

/// Where a message was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Source,
    Target,
    Dead,
    /// Taken from the target by the consumer.
    Consumed,
    /// Taken from the source by the operator.
    Taken,
}

/// Everything that was found, and what was counted on the way.
#[derive(Debug, Default)]
pub struct Found {
    pub lists: Vec<(Place, Vec<Vec<u8>>)>,
    /// Messages that the consumer has handed back to the source.
    pub bounces: u64,
    /// Unix seconds between which all was stamped.
    pub dates: Option<RangeInclusive<i64>>,
}

/// What was dead-lettered.
#[derive(Debug, Default)]
pub struct Ledger {
    made: Vec<Made>,
    /// Which message has these bytes, and what it has become then.
    forms: HashMap<Vec<u8>, (usize, Form)>,
}

/// Twins are one of these.
#[derive(Debug)]
struct Made {
    bytes: Vec<u8>,
    /// Pushed, as Redis has said.
    sure: usize,
    /// Pushed or not: the answer was lost, and the producer does not push again.
    unsure: usize,
}

impl Ledger {
    /// Notes letters before they are pushed.
    pub fn attempt(&mut self, letters: &[Letter]) {
        for letter in letters {
            let known = self.forms.get(&letter.bytes).map(|(index, _)| *index);
            let index = known.unwrap_or_else(|| {
                let forms = letter.forms.iter().cloned();
                let index = self.made.len();
                self.forms
                    .extend(forms.map(|(bytes, form)| (bytes, (index, form))));
                self.made.push(Made {
                    bytes: letter.bytes.clone(),
                    sure: 0,
                    unsure: 0,
                });
                index
            });
            self.made[index].unsure += 1;
        }
    }

    /// Redis has taken them.
    pub fn took(&mut self, letters: &[Letter]) {
        for letter in letters {
            self.of(letter).sure += 1;
        }
        self.refused(letters);
    }

    /// Redis has refused them.
    pub fn refused(&mut self, letters: &[Letter]) {
        for letter in letters {
            self.of(letter).unsure -= 1;
        }
    }

    fn of(&mut self, letter: &Letter) -> &mut Made {
        let (index, _) = self.forms[&letter.bytes];
        &mut self.made[index]
    }

    /// Counts.
    pub fn judge(&self, found: &Found) -> Verdict {
        let mut verdict = Verdict::default();
        let mut counts = vec![0; self.made.len()];
        // Each replay has put a message into the target once, from where it was handed back or not.
        let (mut stamped, mut arrived) = (0, found.bounces);
        for (place, messages) in &found.lists {
            for message in messages {
                let (bytes, dates) = without_dates(message);
                let Some((index, form)) = self.forms.get(&bytes) else {
                    verdict.altered.push(sample(*place, message));
                    continue;
                };
                counts[*index] += 1;
                stamped += match form {
                    Form::Replayed(times) => *times,
                    Form::Parked if bytes.windows(COUNT.len()).any(|part| part == COUNT) => 3,
                    _ => 0,
                };
                arrived += u64::from(matches!(place, Place::Target | Place::Consumed));
                if !belongs(*form, *place) {
                    verdict.misplaced.push(sample(*place, message));
                }
                let in_time = |date| {
                    found
                        .dates
                        .as_ref()
                        .is_none_or(|range| range.contains(date))
                };
                if !dates.iter().all(in_time) {
                    verdict.misdated.push(sample(*place, message));
                }
            }
        }
        for (made, count) in self.made.iter().zip(counts) {
            let text = format!("{} of {}: {}", count, made.sure, excerpt(&made.bytes));
            if count < made.sure {
                verdict.lost.push(text);
            } else if count > made.sure + made.unsure {
                verdict.doubled.push(text);
            }
        }
        if verdict.is_sound() && stamped != arrived {
            verdict.miscounted = Some((stamped, arrived));
        }
        verdict
    }
}

const COUNT: &[u8] = b",\"_remediation_count\":3,";

fn belongs(form: Form, place: Place) -> bool {
    matches!(
        (form, place),
        (Form::Original { .. } | Form::Replayed(_), Place::Taken)
            | (Form::Replayed(_), Place::Target | Place::Consumed)
            | (
                Form::Parked | Form::Original { malformed: true },
                Place::Dead
            )
    )
}

/// Replaces the dates of the stamp, ten digits behind either name, and returns them.
fn without_dates(message: &[u8]) -> (Vec<u8>, Vec<i64>) {
    const NAMES: [&[u8]; 2] = [b"\"_remediation_at\":", b"\"_remediation_dead_at\":"];
    let (mut bytes, mut dates) = (Vec::with_capacity(message.len()), vec![]);
    let mut rest = message;
    while let Some((first, after)) = rest.split_first() {
        let name = match first {
            b'"' => NAMES.iter().find(|name| rest.starts_with(name)),
            _ => None,
        };
        let digits = name.and_then(|name| rest.get(name.len()..name.len() + 10));
        let date = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|text| text.parse().ok());
        if let (Some(name), Some(date)) = (name, date) {
            bytes.extend_from_slice(name);
            bytes.push(b'T');
            dates.push(date);
            rest = &rest[name.len() + 10..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    (bytes, dates)
}

/// What is wrong; empty if nothing is.
#[derive(Debug, Default)]
pub struct Verdict {
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    pub altered: Vec<String>,
    pub misplaced: Vec<String>,
    pub misdated: Vec<String>,
    /// Replays that the stamps tell of, and arrivals in the target.
    pub miscounted: Option<(u64, u64)>,
}

impl Verdict {
    pub fn is_sound(&self) -> bool {
        self.all().iter().all(|(_, messages)| messages.is_empty()) && self.miscounted.is_none()
    }

    fn all(&self) -> [(&str, &[String]); 5] {
        [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("altered", &self.altered),
            ("in the wrong list", &self.misplaced),
            ("with a wrong date", &self.misdated),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, messages) in self.all() {
            if !messages.is_empty() {
                writeln!(f, "{} {what}, such as", messages.len())?;
                for message in messages.iter().take(5) {
                    writeln!(f, "  {message}")?;
                }
            }
        }
        if let Some((stamped, arrived)) = self.miscounted {
            writeln!(f, "{stamped} replays are stamped, {arrived} were made")?;
        }
        Ok(())
    }
}

fn sample(place: Place, message: &[u8]) -> String {
    format!("{place:?}: {}", excerpt(message))
}

fn excerpt(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message).replace("xxxxxxxx", "");
    text.chars().take(300).collect()
}

#[test]
fn the_count_tells_lost_doubled_altered_and_misplaced_apart() {
    let mut rng = fastrand::Rng::with_seed(1);
    let letters: Vec<Letter> = (0..200).map(|id| Letter::draw(&mut rng, id)).collect();
    let mut ledger = Ledger::default();
    ledger.attempt(&letters);
    ledger.took(&letters);
    let end = |letter: &Letter| {
        let replayed = letter
            .forms
            .iter()
            .find(|(_, form)| *form == Form::Replayed(1));
        let place = if replayed.is_some() {
            Place::Target
        } else {
            Place::Dead
        };
        let (bytes, _) = replayed.or(letter.forms.last()).expect("a form");
        let text = String::from_utf8_lossy(bytes).replace("at\":T", "at\":1790000000");
        let bytes = if text.contains("1790000000") {
            text.into_bytes()
        } else {
            bytes.clone()
        };
        (place, vec![bytes])
    };
    let right = || Found {
        lists: letters.iter().map(end).collect(),
        bounces: 0,
        dates: Some(1_790_000_000..=1_790_000_000),
    };
    let verdict = ledger.judge(&right());
    assert!(verdict.is_sound(), "{verdict}");

    let mut lost = right();
    lost.lists.pop();
    assert_eq!(ledger.judge(&lost).lost.len(), 1);
    let mut doubled = right();
    doubled.lists.push(end(&letters[0]));
    assert_eq!(ledger.judge(&doubled).doubled.len(), 1);
    let mut altered = right();
    altered.lists[7].1[0].push(b' ');
    assert_eq!(ledger.judge(&altered).altered.len(), 1);
    let mut swapped = right();
    for (place, _) in &mut swapped.lists {
        *place = if *place == Place::Dead {
            Place::Target
        } else {
            Place::Dead
        };
    }
    assert_eq!(ledger.judge(&swapped).misplaced.len(), letters.len());
    let mut late = right();
    late.dates = Some(0..=1);
    assert!(!ledger.judge(&late).misdated.is_empty());
    let mut bounced = right();
    bounced.bounces = 1;
    assert!(ledger.judge(&bounced).miscounted.is_some());
}
