//! The count: what was made, against what lies where.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::letters::{Form, Letter};

/// Where a message was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
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
    pub lists: Vec<(List, Vec<Vec<u8>>)>,
    /// An operator took messages where that is not seen between push and trim, so that what was
    /// taken may have been moved as well.
    pub taken_twice: bool,
    /// Unix seconds between which all was stamped.
    pub dates: Option<RangeInclusive<i64>>,
}

/// What was dead-lettered.
#[derive(Debug, Default)]
pub struct Ledger {
    made: Vec<Made>,
    /// Which message has these bytes, and what it has become then.
    forms: HashMap<Vec<u8>, (usize, Form)>,
    /// Replays that messages had behind them when they were handed back, as Redis has said.
    sure: u64,
    unsure: u64,
}

/// A message on its way into the source.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    index: usize,
    /// Replays that it has behind it.
    replays: u64,
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
    pub fn attempt(&mut self, letters: &[Letter]) -> Vec<Attempt> {
        let attempts = letters.iter().map(|letter| {
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
            Attempt { index, replays: 0 }
        });
        attempts.collect()
    }

    /// Notes a message that is handed back before it is pushed. What the consumer has stays with
    /// it, so that the source gets another copy. `None` if nobody has ever made it.
    pub fn hand_back(&mut self, message: &[u8]) -> Option<Attempt> {
        let (bytes, _) = without_dates(message);
        let (index, form) = *self.forms.get(&bytes)?;
        let replays = match form {
            Form::Replayed(times) => times,
            _ => 0,
        };
        self.made[index].unsure += 1;
        self.unsure += replays;
        Some(Attempt { index, replays })
    }

    /// Redis has taken them.
    pub fn took(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            self.made[attempt.index].sure += 1;
            self.sure += attempt.replays;
        }
        self.refused(attempts);
    }

    /// Redis has refused them.
    pub fn refused(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            self.made[attempt.index].unsure -= 1;
            self.unsure -= attempt.replays;
        }
    }

    /// Counts.
    pub fn judge(&self, found: &Found) -> Verdict {
        let mut verdict = Verdict::default();
        let mut counts = vec![0; self.made.len()];
        let mut taken = vec![0; self.made.len()];
        // Each replay has put a message into the target once, where it still is or the consumer
        // has it.
        let (mut stamped, mut arrived) = (0, self.sure);
        for (list, messages) in &found.lists {
            for message in messages {
                let (bytes, dates) = without_dates(message);
                let Some((index, form)) = self.forms.get(&bytes) else {
                    verdict.altered.push(sample(*list, message));
                    continue;
                };
                counts[*index] += 1;
                taken[*index] += usize::from(found.taken_twice && *list == List::Taken);
                stamped += match form {
                    Form::Replayed(times) => *times,
                    Form::Parked if bytes.windows(COUNT.len()).any(|part| part == COUNT) => 3,
                    _ => 0,
                };
                arrived += u64::from(matches!(list, List::Target | List::Consumed));
                if !belongs(*form, *list) {
                    verdict.misplaced.push(sample(*list, message));
                }
                let in_time = |date| {
                    found
                        .dates
                        .as_ref()
                        .is_none_or(|range| range.contains(date))
                };
                if !dates.iter().all(in_time) {
                    verdict.misdated.push(sample(*list, message));
                }
            }
        }
        for ((made, count), taken) in self.made.iter().zip(counts).zip(taken) {
            let text = format!("{} of {}: {}", count, made.sure, excerpt(&made.bytes));
            if count < made.sure {
                verdict.lost.push(text);
            } else if count > made.sure + made.unsure + taken {
                verdict.doubled.push(text);
            }
        }
        let right = (arrived..=arrived + self.unsure).contains(&stamped);
        if verdict.is_sound() && !right && !found.taken_twice {
            verdict.miscounted = Some((stamped, arrived));
        }
        verdict
    }
}

const COUNT: &[u8] = b",\"_remediation_count\":3,";

fn belongs(form: Form, list: List) -> bool {
    matches!(
        (form, list),
        (Form::Original { .. } | Form::Replayed(_), List::Taken)
            | (Form::Replayed(_), List::Target | List::Consumed)
            | (
                Form::Parked | Form::Original { malformed: true },
                List::Dead
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

fn sample(list: List, message: &[u8]) -> String {
    format!("{list:?}: {}", excerpt(message))
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
    let attempts = ledger.attempt(&letters);
    ledger.took(&attempts);
    let end = |letter: &Letter| {
        let replayed = letter
            .forms
            .iter()
            .find(|(_, form)| *form == Form::Replayed(1));
        let list = if replayed.is_some() {
            List::Target
        } else {
            List::Dead
        };
        let (bytes, _) = replayed.or(letter.forms.last()).expect("a form");
        let text = String::from_utf8_lossy(bytes).replace("at\":T", "at\":1790000000");
        let bytes = if text.contains("1790000000") {
            text.into_bytes()
        } else {
            bytes.clone()
        };
        (list, vec![bytes])
    };
    let right = || Found {
        lists: letters.iter().map(end).collect(),
        taken_twice: false,
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
    for (list, _) in &mut swapped.lists {
        *list = if *list == List::Dead {
            List::Target
        } else {
            List::Dead
        };
    }
    assert_eq!(ledger.judge(&swapped).misplaced.len(), letters.len());
    let mut late = right();
    late.dates = Some(0..=1);
    assert!(!ledger.judge(&late).misdated.is_empty());
    let mut taken = right();
    taken
        .lists
        .push((List::Taken, vec![letters[0].bytes.clone()]));
    assert_eq!(ledger.judge(&taken).doubled.len(), 1);
    taken.taken_twice = true;
    assert!(ledger.judge(&taken).doubled.is_empty());

    let mut again = ledger;
    let replayed = letters.iter().position(|letter| letter.forms.len() > 2);
    let (_, bytes) = end(&letters[replayed.expect("one is replayed")]);
    let handed = again.hand_back(&bytes[0]).expect("it was made");
    assert!(
        again.judge(&right()).is_sound(),
        "it may have arrived or not"
    );
    again.took(&[handed]);
    assert_eq!(again.judge(&right()).lost.len(), 1);
    let mut kept = right();
    kept.lists.push((List::Target, bytes));
    assert!(
        again.judge(&kept).miscounted.is_some(),
        "its stamp is that of before"
    );
}
