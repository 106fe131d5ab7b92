//! An outage that was told, and what has become of the queue since. Pure.

use super::super::event::{Event, Note, State};
use crate::drain::status::{DrainStatus, PassView};

/// So few messages are next to nothing, if they are no more than a tenth: new ones come all the time.
const FEW: u64 = 10;

/// An outage that was told.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    /// In Unix seconds.
    since: i64,
    /// The newest pass while it held: what this left says nothing of the outage. Passes are told
    /// apart and not dated, for a clock may be set meanwhile.
    before: Option<PassView>,
    /// The most messages that lay there.
    highest: u64,
    replayed: u64,
    dead: u64,
}

impl Outage {
    /// One that began then and is told now.
    pub(super) fn new(drain: &DrainStatus, since: i64) -> Self {
        Self {
            since,
            before: drain.passes.first().cloned(),
            highest: 0,
            replayed: drain.replayed,
            dead: drain.dead,
        }
    }

    /// Something that belongs to it began then.
    pub(super) fn reaches_back_to(&mut self, since: i64) {
        self.since = self.since.min(since);
    }

    /// Whether a pass after it got through and left next to nothing; `holds` while it has not ended.
    pub(super) fn look(&mut self, drain: &DrainStatus, holds: bool) -> bool {
        let newest = drain.passes.first();
        let depth = newest.and_then(|pass| pass.depth);
        self.highest = self.highest.max(depth.unwrap_or(0));
        if holds {
            self.before = newest.cloned();
            return false;
        }
        let after = newest.filter(|pass| self.before.as_ref() != Some(*pass));
        let through = after.is_some_and(|pass| matches!(&*pass.outcome, "drained" | "empty"));
        let little = (self.highest / 100).max((self.highest / 10).min(FEW));
        through && depth.is_some_and(|depth| depth <= little)
    }

    /// That it is worked off; nothing where nothing was moved.
    pub(super) fn finished(self, drain: &DrainStatus, second: i64) -> Option<Note> {
        let left = drain.passes.first()?.depth?;
        let replayed = drain.replayed.saturating_sub(self.replayed);
        let dead = drain.dead.saturating_sub(self.dead);
        let facts = [
            ("replayed", replayed.to_string()),
            ("dead", dead.to_string()),
            ("left", left.to_string()),
        ];
        let note = Note {
            event: Event::DrainFinished,
            state: State::Happened,
            subject: drain.source.clone(),
            since: self.since,
            at: second,
            facts: facts.into(),
        };
        (replayed + dead > 0).then_some(note)
    }
}
