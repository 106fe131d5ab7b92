//! What waits for one receiver: grouped, held back above a cap, tried again, and bounded. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::event::{Key, Note, Severity, State};

/// Notes that wait for a receiver, at most.
pub const WAITING: usize = 200;
/// Notes in one message, at most.
pub const TOGETHER: usize = 50;
/// A message that nobody takes for so long is given up.
pub const GIVE_UP: Duration = Duration::from_secs(3_600);
/// The longest wait that a receiver may ask for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// The longest wait of a receiver that is told again and again: what holds would end meanwhile.
pub const LONGEST_WAIT_AGAIN: Duration = Duration::from_secs(60);
/// The waits after a message that may have come through, although nobody said so; then it is given
/// up, because each try may be one more copy of it.
pub const UNSURE_WAITS: [Duration; 3] = [
    Duration::from_secs(120),
    Duration::from_secs(240),
    Duration::from_secs(480),
];
/// How often a receiver is told again of what still holds, where it needs that.
pub const AGAIN: Duration = Duration::from_secs(30);

const HOUR: Duration = Duration::from_secs(3_600);

/// How a receiver is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the first note of a message waits for others.
    pub group: Duration,
    /// Messages in an hour, at most.
    pub per_hour: u32,
    /// Whether what holds is told again and again.
    pub again: bool,
}

/// A message to be sent; the same one, under the same number, until it is through or given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Counts the messages to this receiver.
    pub number: u64,
    /// What is in it: the gravest first, and of these the oldest.
    pub notes: Vec<Note>,
    /// How many of them were held back by the cap.
    pub held_back: u64,
    /// Notes since the last message that never came through.
    pub missed: u64,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before this moment, or before something is to be told.
    Wait(Option<Instant>),
    /// Send this, and say what became of it.
    Send(Batch),
    /// Tell again what still holds; it does not matter whether that works.
    Again(Vec<Note>),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is through.
    Sent,
    /// It may get through later, but not before this has passed.
    Later(Duration),
    /// Nobody said, so that it may be through; where a copy does no harm, this has to pass.
    Unsure(Duration),
    /// It never will.
    Never,
}

/// What waits for one receiver.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    waiting: VecDeque<Waiting>,
    /// When the first of them came.
    waiting_since: Option<Instant>,
    missed: u64,
    sending: Option<Sending>,
    number: u64,
    /// Messages that may be sent now, and when that was counted.
    allowance: f64,
    counted: Instant,
    /// What holds, for a receiver who is told again and again.
    holding: BTreeMap<Key, Note>,
    again_at: Instant,
}

#[derive(Debug)]
struct Waiting {
    note: Note,
    /// The cap has held it up.
    held: bool,
}

impl Waiting {
    fn severity(&self) -> Severity {
        self.note.event.severity()
    }
}

#[derive(Debug)]
struct Sending {
    batch: Batch,
    first: Instant,
    not_before: Instant,
    /// How often nobody said whether it came through.
    unsure: usize,
}

impl Outbox {
    /// Nothing waits.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            waiting_since: None,
            missed: 0,
            sending: None,
            number: 0,
            allowance: limits.per_hour.into(),
            counted: now,
            holding: BTreeMap::new(),
            again_at: now,
        }
    }

    /// Takes a note. Where there is no room, the oldest of the least grave ones is dropped, and
    /// returned.
    pub fn push(&mut self, note: Note, now: Instant) -> Option<Note> {
        if self.limits.again {
            if self.holding.is_empty() {
                self.again_at = now + AGAIN;
            }
            match note.state {
                State::Firing => drop(self.holding.insert(note.key(), note.clone())),
                State::Resolved => drop(self.holding.remove(&note.key())),
                State::Happened => {}
            }
        }
        self.waiting_since.get_or_insert(now);
        self.waiting.push_back(Waiting { note, held: false });
        if self.waiting.len() <= WAITING {
            return None;
        }
        self.missed += 1;
        let severities = self.waiting.iter().map(Waiting::severity);
        let least = severities.enumerate().min_by_key(|(_, grave)| *grave)?.0;
        self.waiting.remove(least).map(|waiting| waiting.note)
    }

    /// Notes that wait, those that are being sent included.
    #[must_use]
    pub fn len(&self) -> usize {
        let sending = self.sending.as_ref();
        self.waiting.len() + sending.map_or(0, |sending| sending.batch.notes.len())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Instant) -> Next {
        if let Some(sending) = &self.sending {
            if now < sending.not_before {
                return Next::Wait(Some(sending.not_before));
            }
            let batch = sending.batch.clone();
            return Next::Send(self.with_what_holds(batch, now));
        }
        let due = self.due(now);
        if due.is_some_and(|due| due <= now) {
            self.allowance -= 1.0;
            let batch = self.begin(now);
            return Next::Send(self.with_what_holds(batch, now));
        }
        if self.holding.is_empty() {
            return Next::Wait(due);
        }
        if self.again_at <= now {
            self.again_at = now + AGAIN;
            return Next::Again(self.holding.values().cloned().collect());
        }
        Next::Wait(Some(
            due.map_or(self.again_at, |due| due.min(self.again_at)),
        ))
    }

    /// What is to be sent before the end, whether its time has come or not.
    pub fn last(&mut self, now: Instant) -> Option<Batch> {
        if self.sending.is_none() && self.waiting.is_empty() {
            return None;
        }
        let sending = self.sending.as_ref();
        let batch = sending.map(|sending| sending.batch.clone());
        Some(batch.unwrap_or_else(|| self.begin(now)))
    }

    /// What became of the message that was to be sent. Returns its notes once nothing more will be
    /// done about them.
    pub fn settle(&mut self, outcome: Outcome, now: Instant) -> Vec<Note> {
        let Some(mut sending) = self.sending.take() else {
            return vec![];
        };
        let wait = match outcome {
            Outcome::Sent => {
                self.missed -= sending.batch.missed.min(self.missed);
                return sending.batch.notes;
            }
            Outcome::Later(wait) | Outcome::Unsure(wait) if self.limits.again => {
                Some(wait.min(LONGEST_WAIT_AGAIN))
            }
            Outcome::Later(wait) => Some(wait.min(LONGEST_WAIT)),
            Outcome::Unsure(_) => {
                sending.unsure += 1;
                UNSURE_WAITS.get(sending.unsure - 1).copied()
            }
            Outcome::Never => None,
        };
        match wait.filter(|_| now - sending.first < GIVE_UP) {
            Some(wait) => {
                sending.not_before = now + wait;
                self.sending = Some(sending);
                vec![]
            }
            None => {
                self.missed += sending.batch.notes.len() as u64;
                sending.batch.notes
            }
        }
    }

    /// A receiver that forgets what it is not told again hears of all that holds with each message.
    fn with_what_holds(&mut self, mut batch: Batch, now: Instant) -> Batch {
        self.again_at = now + AGAIN;
        let others = self.holding.values();
        let others = others.filter(|note| !batch.notes.contains(note));
        let others: Vec<Note> = others.cloned().collect();
        batch.notes.extend(others);
        batch
    }

    /// When the next message is due.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let since = self.waiting_since?;
        let full = self.waiting.len() >= TOGETHER;
        let grouped = if full { now } else { since + self.limits.group };
        self.count_up(now);
        let needed = 1.0 + self.kept();
        if self.allowance >= needed {
            return Some(grouped);
        }
        let each = HOUR / self.limits.per_hour.max(1);
        let allowed = now + each.mul_f64(needed - self.allowance);
        if grouped <= now {
            self.waiting
                .iter_mut()
                .for_each(|waiting| waiting.held = true);
        }
        Some(grouped.max(allowed))
    }

    /// A quarter of the messages is kept for what is critical.
    fn kept(&self) -> f64 {
        let critical = |waiting: &Waiting| waiting.severity() == Severity::Critical;
        if self.waiting.iter().any(critical) {
            return 0.0;
        }
        f64::from(self.limits.per_hour / 4)
    }

    /// A cap of thirty an hour allows thirty at once, and then one every two minutes.
    fn count_up(&mut self, now: Instant) {
        let most = f64::from(self.limits.per_hour);
        let gained = (now - self.counted).as_secs_f64() / HOUR.as_secs_f64() * most;
        self.allowance = (self.allowance + gained).min(most);
        self.counted = now;
    }

    fn begin(&mut self, now: Instant) -> Batch {
        let mut first: Vec<Waiting> = self.waiting.drain(..).collect();
        // The beginning and the end of the same thing are equally grave, and keep their order.
        first.sort_by_key(|waiting| Reverse(waiting.severity()));
        self.waiting = first.split_off(first.len().min(TOGETHER)).into();
        self.number += 1;
        let batch = Batch {
            number: self.number,
            held_back: first.iter().filter(|waiting| waiting.held).count() as u64,
            notes: first.into_iter().map(|waiting| waiting.note).collect(),
            missed: self.missed,
        };
        self.waiting_since = (!self.waiting.is_empty()).then_some(now);
        self.sending = Some(Sending {
            batch: batch.clone(),
            first: now,
            not_before: now,
            unsure: 0,
        });
        batch
    }
}

#[cfg(test)]
mod tests;
