//! The count: what was made, against what lies where.
//!
//! Whoever pushes a message writes the number of the push beside the source, in the same step. So
//! there is no doubt about what was made, also where no answer came or a failover has undone it:
//! what the source's server has in its history by the end, and nothing else.
//!
//! A message is known by its letter and by the replays that lay behind it when it was pushed. It is
//! moved once and then stays, because what the consumer hands back is another one. So each stamp
//! tells from which push its message comes, and one that is there twice does not make up for
//! another that is missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;

use super::letters::{Form, Letter};

mod tests;

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

/// Everything that was found, and what the count has to allow for.
#[derive(Debug, Default)]
pub struct Found {
    pub lists: Vec<(List, Vec<Vec<u8>>)>,
    /// Numbers of the pushes that are in the history of the source's server.
    pub pushed: Vec<usize>,
    /// Unix seconds between which all was stamped.
    pub dates: Option<RangeInclusive<i64>>,
    /// The source is on another server than what is moved to.
    pub apart: bool,
    /// An operator took messages. Apart, that is not seen between push and trim, so that what was
    /// taken may have been moved as well.
    pub raided: bool,
    /// Servers may have been replaced by others that lacked what they had done last. The consumer
    /// may have seen what is not taken any more. Apart, what was moved may have been pushed by
    /// nobody in the source's history.
    pub undone: bool,
}

/// What was dead-lettered.
#[derive(Debug, Default)]
pub struct Ledger {
    letters: Vec<Vec<u8>>,
    /// Which letter has these bytes, and what it has become then.
    forms: HashMap<Vec<u8>, (usize, Form)>,
    /// What was to be pushed, by number.
    pushes: Vec<Push>,
    /// How often the consumer has seen what, in this form.
    seen: BTreeMap<Message, usize>,
    /// The count allows for messages that are there once too often, so that nothing is handed back
    /// twice in the same form.
    lenient: bool,
    handed_back: HashSet<Message>,
}

/// Index of its letter, and replays. Twins are one of these.
type Message = (usize, u64);

#[derive(Debug)]
struct Push {
    messages: Vec<Message>,
    /// Redis has said that it did not do it.
    refused: bool,
}

/// How often there is a message.
#[derive(Debug, Default)]
struct Count {
    made: usize,
    /// Pushed to a server that may have forgotten it again, but not before it was moved.
    undone: usize,
    found: usize,
    /// Of these, taken by an operator.
    taken: usize,
}

impl Ledger {
    /// Of a round whose count is to allow for messages that are there once too often.
    pub fn new(lenient: bool) -> Self {
        Self {
            lenient,
            ..Self::default()
        }
    }

    /// Notes letters before they are pushed, and returns the number of the push.
    pub fn attempt(&mut self, letters: &[Letter]) -> usize {
        let messages = letters.iter().map(|letter| {
            let known = self.forms.get(&letter.bytes).map(|(index, _)| *index);
            let index = known.unwrap_or_else(|| {
                let forms = letter.forms.iter().cloned();
                let index = self.letters.len();
                self.forms
                    .extend(forms.map(|(bytes, form)| (bytes, (index, form))));
                self.letters.push(letter.bytes.clone());
                index
            });
            (index, 0)
        });
        let messages = messages.collect();
        self.number(messages)
    }

    /// Notes that the consumer has seen this. What nobody has made is found by the count.
    pub fn see(&mut self, message: &[u8]) {
        if let Some(message) = self.known(message) {
            *self.seen.entry(message).or_default() += 1;
        }
    }

    /// Notes a message that is handed back before it is pushed, and returns the number of the push.
    /// What the consumer has stays with it, so that the source gets another one. `None` if nobody
    /// has ever made it, or if it had better not be handed back.
    pub fn hand_back(&mut self, message: &[u8]) -> Option<usize> {
        let message = self.known(message)?;
        let first = self.handed_back.insert(message);
        (first || !self.lenient).then(|| self.number(vec![message]))
    }

    fn known(&self, message: &[u8]) -> Option<Message> {
        let (bytes, _) = without_dates(message);
        let (index, form) = self.forms.get(&bytes)?;
        Some((*index, form.replays()))
    }

    fn number(&mut self, messages: Vec<Message>) -> usize {
        self.pushes.push(Push {
            messages,
            refused: false,
        });
        self.pushes.len() - 1
    }

    /// Redis has refused this push.
    pub fn refused(&mut self, number: usize) {
        self.pushes[number].refused = true;
    }

    /// Counts.
    pub fn judge(&self, found: &Found) -> Verdict {
        let mut verdict = Verdict::default();
        let mut counts = self.made(found);
        // What the consumer has seen and does not have.
        let mut gone = self.seen.clone();
        for (list, messages) in &found.lists {
            for message in messages {
                let (bytes, dates) = without_dates(message);
                let Some((index, form)) = self.forms.get(&bytes) else {
                    verdict.altered.push(sample(*list, message));
                    continue;
                };
                let count = counts.entry((*index, before(*form, *list))).or_default();
                count.found += 1;
                count.taken += usize::from(*list == List::Taken);
                if *list == List::Consumed
                    && let Some(times) = gone.get_mut(&(*index, form.replays()))
                {
                    *times = times.saturating_sub(1);
                }
                if !belongs(*form, *list) {
                    verdict.misplaced.push(sample(*list, message));
                }
                let in_time = |date| {
                    let range = found.dates.as_ref();
                    range.is_none_or(|range| range.contains(date))
                };
                if !dates.iter().all(in_time) {
                    verdict.misdated.push(sample(*list, message));
                }
            }
        }
        for ((index, replays), count) in counts {
            let letter = excerpt(&self.letters[index]);
            let Count {
                made, found: there, ..
            } = count;
            let text = format!("{there} of {made} after {replays} replays: {letter}");
            let taken = if found.apart && found.raided {
                count.taken
            } else {
                0
            };
            // What is allowed for must not hide that another one with the same bytes is lost.
            if count.undone + taken > 0 && made + count.undone > 1 {
                verdict.unsure.push(text);
            } else if there < made {
                verdict.lost.push(text);
            } else if there > made + count.undone + taken {
                verdict.doubled.push(text);
            } else {
                verdict.allowed += there - made;
            }
        }
        for ((index, _), times) in gone {
            verdict.came_back += times;
            if times > 0 && !found.undone {
                let letter = excerpt(&self.letters[index]);
                verdict.vanished.push(format!("{times} times: {letter}"));
            }
        }
        verdict
    }

    /// What was pushed, or may have been.
    fn made(&self, found: &Found) -> BTreeMap<Message, Count> {
        let mut counts: BTreeMap<Message, Count> = BTreeMap::new();
        let mut open: Vec<bool> = self.pushes.iter().map(|push| !push.refused).collect();
        for number in &found.pushed {
            open[*number] = false;
            for message in &self.pushes[*number].messages {
                counts.entry(*message).or_default().made += 1;
            }
        }
        if found.apart && found.undone {
            let pushes = self.pushes.iter().zip(open);
            for (push, _) in pushes.filter(|(_, open)| *open) {
                for message in &push.messages {
                    counts.entry(*message).or_default().undone += 1;
                }
            }
        }
        counts
    }
}

/// The numbers of pushes, as they were noted.
pub fn numbers(noted: &[impl AsRef<[u8]>]) -> Vec<usize> {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    let numbers = noted.iter().map(|text| number(text.as_ref()));
    numbers.map(|number| number.expect("a number")).collect()
}

/// The replays that lay behind a message before it was moved to this list.
fn before(form: Form, list: List) -> u64 {
    match list {
        List::Target | List::Consumed => form.replays().saturating_sub(1),
        List::Source | List::Dead | List::Taken => form.replays(),
    }
}

fn belongs(form: Form, list: List) -> bool {
    matches!(
        (form, list),
        (Form::Original { .. } | Form::Replayed(_), List::Taken)
            | (Form::Replayed(_), List::Target | List::Consumed)
            | (
                Form::Parked(_) | Form::Original { malformed: true },
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
    /// One that is lost and one that is there twice would make up for one another: the round's fault.
    pub unsure: Vec<String>,
    /// The consumer has seen it, and nobody took that back, but it does not have it.
    pub vanished: Vec<String>,
    /// The audit tells something else.
    pub untold: Vec<String>,
    /// How many messages the consumer has seen and does not have, for people.
    pub came_back: usize,
    /// How many are there once more than they were made, and may be, for people.
    pub allowed: usize,
}

impl Verdict {
    pub fn is_sound(&self) -> bool {
        self.all().iter().all(|(_, messages)| messages.is_empty())
    }

    fn all(&self) -> [(&str, &[String]); 8] {
        [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("altered", &self.altered),
            ("in the wrong list", &self.misplaced),
            ("with a wrong date", &self.misdated),
            ("not to be told from one another", &self.unsure),
            ("seen and not there", &self.vanished),
            ("told otherwise by the audit", &self.untold),
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
