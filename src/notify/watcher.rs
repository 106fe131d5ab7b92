//! What is to be told, from what others publish: one look after the other. Pure.
//!
//! It remembers what it has told, and nothing else: after a restart a condition that still holds is
//! told again, once it has lasted long enough in the eyes of the new process.

mod gate;
mod outage;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::condition::{Change, Condition, Look, Patience};
use super::event::{Event, Note, State};
use crate::drain::status::DrainStatus;
use crate::operate::wire::RunView;
use crate::retain::DeadList;
use crate::survey::Reach;
use outage::Outage;

/// Messages parked are counted over this time.
const RATE: Duration = Duration::from_secs(60);

/// From when on something is told; 0 is never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Messages parked in a minute, for one source.
    pub poison_per_minute: u64,
    /// How long a gate may be shut.
    pub gate_shut: Duration,
    /// Messages in a dead list.
    pub dead_list_size: u64,
    /// How long a message may lie in a dead list.
    pub dead_list_age: Duration,
    /// How long Redis may be away.
    pub redis_lost: Duration,
    /// How long a condition must be over before that is told.
    pub calm: Duration,
    /// What is told at all.
    pub events: Vec<Event>,
}

/// What others publish, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Whether Redis can be reached.
    pub redis: Reach,
    /// How the drains stand.
    pub drains: Vec<DrainStatus>,
    /// The dead lists that were looked at.
    pub dead_lists: Vec<DeadList>,
}

/// Looks, and says what is to be told.
#[derive(Debug)]
pub struct Watcher {
    rules: Rules,
    redis: Condition,
    drains: BTreeMap<String, OfDrain>,
    lists: BTreeMap<String, OfList>,
}

#[derive(Debug, Default)]
struct OfDrain {
    gate: Condition,
    systemic: Condition,
    poison: Condition,
    parked: Parked,
    outage: Option<Outage>,
}

#[derive(Debug, Default)]
struct OfList {
    size: Condition,
    age: Condition,
}

impl OfDrain {
    /// An outage begins, or goes on while something else is told: of another one, which ended and
    /// was not worked off, nothing is left to tell.
    fn begins(&mut self, drain: &DrainStatus, since: i64, lost: bool) {
        let told = [lost, self.gate.is_told(), self.systemic.is_told()];
        let alone = told.into_iter().filter(|told| *told).count() <= 1;
        match &mut self.outage {
            Some(outage) if !alone => outage.reaches_back_to(since),
            outage => *outage = Some(Outage::new(drain, since)),
        }
    }
}

/// How many messages had been parked, over the last minute.
#[derive(Debug, Default)]
struct Parked(VecDeque<(Instant, u64)>);

impl Parked {
    /// Messages parked within the last minute.
    fn look(&mut self, all: u64, now: Instant) -> u64 {
        if self.0.is_empty() {
            // The process has just begun, and so has the count.
            self.0.push_back((now, 0));
        }
        self.0.push_back((now, all));
        while self.0.len() > 2 && now - self.0[1].0 >= RATE {
            self.0.pop_front();
        }
        all.saturating_sub(self.0.front().map_or(all, |(_, before)| *before))
    }
}

impl Watcher {
    /// A watcher who has seen nothing yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            redis: Condition::default(),
            drains: BTreeMap::new(),
            lists: BTreeMap::new(),
        }
    }

    /// What is to be told now, in Unix seconds `second`.
    pub fn look(&mut self, seen: &Seen, now: Instant, second: i64) -> Vec<Note> {
        let mut notes: Vec<Note> = self.redis(&seen.redis, now, second).into_iter().collect();
        let firing = notes.iter().find(|note| note.state == State::Firing);
        let lost_since = firing.map(|note| note.since);
        for drain in &seen.drains {
            if let Some(since) = lost_since {
                let known = self.drains.entry(drain.source.clone()).or_default();
                known.begins(drain, since, true);
            }
            self.drain(drain, now, second, &mut notes);
        }
        for list in &seen.dead_lists {
            self.list(list, now, second, &mut notes);
        }
        notes.retain(|note| self.rules.events.contains(&note.event));
        notes
    }

    /// What is to be told of a run that has ended here.
    #[must_use]
    pub fn run_ended(&self, run: &RunView, second: i64) -> Option<Note> {
        let facts = [
            ("queue", run.queue.clone()),
            ("action", run.action.as_str().to_owned()),
            ("state", run.state.as_str().to_owned()),
            ("moved", run.moved.to_string()),
            ("wanted", run.wanted.to_string()),
            ("by", run.by.clone()),
            ("summary", run.summary.clone()),
        ];
        let note = Note {
            event: Event::RunFinished,
            state: State::Happened,
            subject: run.run.clone(),
            since: run.started_at,
            at: second,
            facts: facts.into(),
        };
        self.rules.events.contains(&note.event).then_some(note)
    }

    fn redis(&mut self, reach: &Reach, now: Instant, second: i64) -> Option<Note> {
        let lost = match reach {
            _ if self.rules.redis_lost.is_zero() => None,
            Reach::Unknown => None,
            Reach::Up => Some(false),
            Reach::Down(_) => Some(true),
        };
        let patience = self.patience(self.rules.redis_lost);
        let change = self.redis.look(lost, patience, now)?;
        let (reason, advice) = match reach {
            Reach::Down(error) => (error.reason.as_str(), error.reason.advice()),
            Reach::Unknown | Reach::Up => ("", ""),
        };
        let facts = [("reason", reason.to_owned()), ("advice", advice.to_owned())];
        Some(note(Event::RedisLost, "", change, second, facts))
    }

    fn drain(&mut self, drain: &DrainStatus, now: Instant, second: i64, notes: &mut Vec<Note>) {
        let at_once = self.patience(Duration::ZERO);
        let shut_for = self.patience(self.rules.gate_shut);
        let limit = self.rules.poison_per_minute;
        let source = &drain.source;
        let lost = self.redis.is_told();
        let known = self.drains.entry(source.clone()).or_default();
        let looked = !drain.gate.is_empty();

        let shut = if shut_for.lasts.is_zero() {
            Look::Unknown
        } else {
            gate::found(drain, known.gate.is_told())
        };
        let gate = known.gate.look(shut, shut_for, now);
        let facts = [
            ("reason", drain.why.clone()),
            ("meaning", gate::meaning(drain).to_owned()),
        ];
        let gate = gate.map(|change| note(Event::GateShut, source, change, second, facts));

        let latched = looked.then_some(drain.systemic);
        let systemic = known.systemic.look(latched, at_once, now);
        let systemic = systemic.map(|change| note(Event::Systemic, source, change, second, []));

        for told in gate.into_iter().chain(systemic) {
            if told.state == State::Firing {
                known.begins(drain, told.since, lost);
            }
            notes.push(told);
        }

        let parked = known.parked.look(drain.dead, now);
        let many = (limit > 0).then_some(parked > limit);
        let change = known.poison.look(many, at_once, now);
        let facts = [
            ("parked", parked.to_string()),
            ("limit", limit.to_string()),
            ("total", drain.dead.to_string()),
        ];
        notes.extend(change.map(|change| note(Event::PoisonRate, source, change, second, facts)));

        notes.extend(self.finished(drain, second));
    }

    /// Whether what an outage had left is worked off: nothing is wrong any more, and a pass after it
    /// left next to nothing.
    fn finished(&mut self, drain: &DrainStatus, second: i64) -> Option<Note> {
        let known = self.drains.get_mut(&drain.source)?;
        let outage = known.outage.as_mut()?;
        let all = [&self.redis, &known.gate, &known.systemic];
        let holds = drain.gate == "shut" || all.iter().any(|condition| condition.holds());
        let through = outage.look(drain, holds);
        let told = all.iter().any(|condition| condition.is_told());
        if told || !through {
            return None;
        }
        known.outage.take()?.finished(drain, second)
    }

    fn list(&mut self, list: &DeadList, now: Instant, second: i64, notes: &mut Vec<Note>) {
        let at_once = self.patience(Duration::ZERO);
        let (most, oldest) = (self.rules.dead_list_size, self.rules.dead_list_age);
        let known = self.lists.entry(list.queue.clone()).or_default();
        let facts = |limit: String| {
            [
                ("list", list.list.clone()),
                ("depth", list.depth.to_string()),
                ("age", list.oldest.map_or("unknown".into(), spell)),
                ("limit", limit),
            ]
        };
        let long = (most > 0).then_some(list.depth > most);
        if let Some(change) = known.size.look(long, at_once, now) {
            let facts = facts(most.to_string());
            notes.push(note(
                Event::DeadListSize,
                &list.queue,
                change,
                second,
                facts,
            ));
        }
        let old = match list.oldest {
            _ if oldest.is_zero() => None,
            _ if list.depth == 0 => Some(false),
            // It does not tell, so that nobody knows.
            age => age.map(|age| age > oldest.as_secs()),
        };
        if let Some(change) = known.age.look(old, at_once, now) {
            let facts = facts(spell(oldest.as_secs()));
            notes.push(note(Event::DeadListAge, &list.queue, change, second, facts));
        }
    }

    fn patience(&self, lasts: Duration) -> Patience {
        Patience {
            lasts,
            calm: self.rules.calm,
        }
    }
}

fn note<const N: usize>(
    event: Event,
    subject: &str,
    change: Change,
    second: i64,
    facts: [(&'static str, String); N],
) -> Note {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(0);
    let (state, since, at) = match change {
        Change::Fires { lasted } => (State::Firing, second - seconds(lasted), second),
        Change::Ends { lasted, ago } => {
            let ended = second - seconds(ago);
            (State::Resolved, ended - seconds(lasted), ended)
        }
    };
    Note {
        event,
        state,
        subject: subject.to_owned(),
        since,
        at,
        facts: facts.into(),
    }
}

/// A time as people say it, in its two largest units.
#[must_use]
pub(super) fn spell(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size);
    let Some(first) = first else {
        return "0 s".to_owned();
    };
    let (size, unit) = units[first];
    let mut text = format!("{} {unit}", seconds / size);
    if let Some((next, unit)) = units.get(first + 1)
        && seconds % size >= *next
    {
        text.push_str(&format!(" {} {unit}", seconds % size / next));
    }
    text
}

#[cfg(test)]
mod tests;
