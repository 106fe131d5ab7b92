//! The work at one run, by whom holds its lease: look, move, write down how it stands.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::pace::{Pace, worth_rotating};
use super::way;
use super::{KEPT, LEASE, NOTE, Record, id, summary};
use crate::audit::{Entry, Kind, entry};
use crate::dlq::redis::Script;
use crate::dlq::{Lease, Proviso};
use crate::drain::classify::Rules;
use crate::link::Reason;
use crate::operate::beside::Counting;
use crate::operate::judge::{Task, Verdict, judge};
use crate::operate::mover::{BYTES, Chosen, Moved, Mover};
use crate::operate::plans::json;
use crate::operate::queues::Queue;
use crate::operate::scan::{FIRST, Scan, next_step};
use crate::operate::store::{End, Stretch, milliseconds};
use crate::operate::wire::{RunState, RunView};
use crate::operate::{Error, Operator, now};

/// Conflicts in a row after which a run gives up.
const MAX_CONFLICTS: u32 = 50;

/// Messages that are looked at before those of them that are meant are moved, at most.
const LOOKED_AT: u64 = 5_000;

/// What somebody needs to work at a run.
pub(super) struct Work<'a> {
    operator: &'a Operator,
    queue: &'a Queue,
    /// What the lease says.
    token: String,
    record: Record,
    mover: Mover,
    /// What had been moved when what stayed was looked at for the last time, if it was.
    swept: Option<u64>,
    /// Entries that may be read at once.
    step: u64,
    /// How many entries it took lately to find one that is meant.
    each: u64,
    pace: Pace,
    noted: Instant,
    conflicts: u32,
}

/// Why the work at a run ends.
pub(super) enum Ending {
    State(RunState, Option<String>),
    /// Somebody else has it now.
    Lost,
    /// We are to go; it stays for others.
    Leave,
}

/// What was found in some stretches of the list.
#[derive(Default)]
struct Found {
    /// What is to be moved.
    chosen: Vec<Chosen>,
    /// Bytes of it.
    bytes: u64,
    /// Why others stay.
    left: BTreeMap<&'static str, u64>,
    /// How many were looked at, without one that did not fit.
    looked_at: u64,
    /// Entries in the list, and how many of them may be read at once.
    depth: u64,
    step: u64,
}

impl Found {
    fn leave(&mut self, why: &'static str) {
        *self.left.entry(why).or_default() += 1;
    }

    /// Whether one more of this size may go with the others. A large one travels alone.
    fn takes(&mut self, bytes: usize, allowed: u64) -> bool {
        let bytes = self.bytes + bytes as u64;
        let fits = self.chosen.is_empty() || bytes <= BYTES;
        if !fits || self.chosen.len() as u64 >= allowed {
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(
        operator: &'a Operator,
        queue: &'a Queue,
        token: String,
        mut record: Record,
    ) -> Result<Self, Error> {
        let view = &mut record.view;
        view.instance.clone_from(&operator.audit.instance);
        let about = [
            ("act", "run"),
            ("action", view.action.as_str()),
            ("run", &view.run),
            ("queue", &queue.name),
            ("list", &queue.lists.source),
            ("who", &view.by),
            ("instance", &operator.audit.instance),
        ];
        let about = about.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let trail = operator.trail(queue, about.into(), false);
        let pace = Pace::new(view.rate);
        // Or a worker who slept until the run was another's would move more than is wanted.
        let lease = Lease {
            key: queue.keys.lease.clone(),
            says: token.clone(),
        };
        let proviso = Proviso {
            lease: Some(lease),
            keep: 0,
        };
        Ok(Self {
            mover: Mover::new(&operator.store, queue, trail)?.provided(proviso),
            operator,
            queue,
            token,
            record,
            swept: None,
            step: FIRST,
            each: 1,
            pace,
            noted: Instant::now(),
            conflicts: 0,
        })
    }

    pub(super) async fn run(
        &mut self,
        seen: &mut (impl FnMut(&RunView) + Send),
        cancel: &CancellationToken,
    ) -> Result<Ending, Error> {
        // Whoever worked at it before may have begun, or moved, more than it has written down.
        self.mover.finish().await?;
        self.recount().await?;
        self.begin_again();
        if let Some(end) = self.note().await? {
            return Ok(end);
        }
        if let Some(end) = self.find_end().await? {
            return Ok(end);
        }
        let rules = self.operator.rules(self.queue);
        loop {
            if cancel.is_cancelled() {
                return Ok(Ending::Leave);
            }
            if self.noted.elapsed() >= NOTE {
                if let Some(end) = self.note().await? {
                    return Ok(end);
                }
                seen(&self.record.view);
            }
            let view = &self.record.view;
            if view.until.is_some_and(|until| now() >= until) {
                return Ok(Ending::State(RunState::TimedOut, None));
            }
            if self.record.way.ahead() == 0 && !self.sweeps() {
                return Ok(Ending::State(RunState::Done, None));
            }
            let allowed = self.pace.allowed();
            if allowed == 0 {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = sleep(self.pace.until_next().min(NOTE)) => {}
                }
                continue;
            }
            if let Some(end) = self.step(&rules, allowed).await? {
                return Ok(end);
            }
            self.record.view.trouble = None;
            if self.conflicts >= MAX_CONFLICTS {
                let why = "others changed the queue each time";
                return Ok(Ending::State(RunState::Failed, Some(why.into())));
            }
        }
    }

    /// What was looked at and kept is looked at again.
    fn begin_again(&mut self) {
        let (kept, left) = self.record.way.again();
        let view = &mut self.record.view;
        view.scanned = view.scanned.saturating_sub(kept);
        for (why, count) in left {
            if let Some(all) = view.left.get_mut(&why) {
                *all = all.saturating_sub(count);
            }
        }
        view.left.retain(|_, count| *count > 0);
    }

    /// Whether what stayed is looked at once more: where fewer were moved than are wanted, others may
    /// have taken older ones, so that some were passed by.
    fn sweeps(&mut self) -> bool {
        let moved = self.record.view.moved;
        let kept = self.record.way.kept;
        if moved >= self.record.view.wanted || kept == 0 || self.swept == Some(moved) {
            return false;
        }
        self.swept = Some(moved);
        self.begin_again();
        self.show_way();
        true
    }

    /// Finds the end of the plan again: older messages may have gone since it was made, and what has
    /// come instead is not in it. Returns why to end, if so.
    async fn find_end(&mut self) -> Result<Option<Ending>, Error> {
        let list = &self.queue.lists.source;
        let depth = self.operator.store.depth(list).await?;
        let mut behind = self.record.way.bound.min(depth);
        let mut step = way::MARKS as u64;
        let mut end = None;
        while behind > 0 && end.is_none() {
            if self.noted.elapsed() >= NOTE
                && let Some(ending) = self.note().await?
            {
                return Ok(Some(ending));
            }
            let count = step.min(behind);
            let from = behind - count;
            let stretch = self.operator.store.stretch(list, End::Oldest, from, count);
            let Stretch { entries, ahead, .. } = stretch.await?;
            end = self.record.way.end_among(&entries, from);
            step = next_step(&entries, ahead);
            behind = from;
        }
        let way = &mut self.record.way;
        way.bound = way.bound.min(end.unwrap_or(0));
        self.show_way();
        Ok(None)
    }

    /// Has the view tell how far it is.
    fn show_way(&mut self) {
        let view = &mut self.record.view;
        view.to_scan = view.scanned + self.record.way.ahead();
    }

    /// Finds some messages that are meant and moves them.
    async fn step(&mut self, rules: &Rules, allowed: u64) -> Result<Option<Ending>, Error> {
        let last = self.record.way.ahead() <= LOOKED_AT;
        let found = self.find(rules, allowed).await?;
        if found.looked_at == 0 {
            // There are fewer than there were.
            self.record.way.bound = self.record.way.kept;
            self.show_way();
            return Ok(None);
        }
        self.step = found.step;
        if last && self.swept.is_none() {
            // Only now it is sure that what was found is in the plan: should older ones go from here
            // on, it is not where it was found.
            if let Some(end) = self.find_end().await? {
                return Ok(Some(end));
            }
            let way = &self.record.way;
            if way.kept + found.looked_at > way.bound {
                return Ok(None);
            }
        }
        // The move is made under the lease, and looking may have taken long.
        if self.noted.elapsed() >= NOTE
            && let Some(end) = self.note().await?
        {
            return Ok(Some(end));
        }
        let moved = found.chosen.len() as u64;
        if moved > 0 && self.mover.take(&found.chosen).await? == Moved::Conflict {
            self.conflicts += 1;
            self.record.view.conflicts += 1;
            // It may be that the run is ours no longer.
            if let Some(end) = self.note().await? {
                return Ok(Some(end));
            }
            return self.start_over().await;
        }
        if moved > 0 {
            self.conflicts = 0;
        }
        self.each = found.looked_at / moved.max(1);
        let view = &mut self.record.view;
        view.moved += moved;
        view.scanned += found.looked_at;
        for (why, count) in &found.left {
            *view.left.entry((*why).to_owned()).or_default() += count;
        }
        self.pace.moved(moved);
        let way = &mut self.record.way;
        way.went(found.looked_at, moved, found.left);
        if way.ahead() > 0 && worth_rotating(way.kept, found.depth, moved, found.looked_at) {
            let source = &self.queue.lists.source;
            if self.operator.store.rotate(source, way.kept).await? {
                self.record.way.rotated();
            }
        }
        Ok(None)
    }

    /// Looks at messages until so many are found that are meant.
    async fn find(&self, rules: &Rules, allowed: u64) -> Result<Found, Error> {
        let list = &self.queue.lists.source;
        let view = &self.record.view;
        let task = Task {
            action: view.action,
            filter: &view.filter,
            role: self.queue.role,
            shared: self.queue.shared,
            rules,
            force: self.record.force,
        };
        let ahead = self.record.way.ahead();
        let wanted = view.wanted.saturating_sub(view.moved);
        let second = now();
        let mut found = Found::default();
        let scan = Scan::new(
            &self.operator.store,
            list,
            End::Oldest,
            self.record.way.kept,
        );
        let mut scan = scan.with_step(self.step);
        while found.looked_at < ahead.min(LOOKED_AT) {
            let missing = allowed.saturating_sub(found.chosen.len() as u64);
            // Where Redis is slow, what was found is moved while the lease holds.
            let late = found.looked_at > 0 && self.noted.elapsed() >= LEASE / 2;
            if missing == 0 || late {
                break;
            }
            // No more than is likely to be needed, because what is not has to be read again.
            let needed = missing.saturating_mul(self.each.max(1));
            let Some(step) = scan.next(needed.min(ahead - found.looked_at)).await? else {
                break;
            };
            (found.depth, found.step) = (scan.depth(), scan.step());
            for (bytes, at) in step.entries.iter().zip(step.at..) {
                match judge(bytes, &task, second) {
                    Verdict::NotMeant => {}
                    Verdict::Leave(why) => found.leave(why),
                    // The plan has not counted it.
                    Verdict::Move(_) if found.chosen.len() as u64 == wanted => {}
                    Verdict::Move(transfer) => {
                        if !found.takes(bytes.len(), allowed) {
                            return Ok(found);
                        }
                        found.chosen.push(Chosen { at, transfer });
                    }
                }
                found.looked_at += 1;
            }
        }
        Ok(found)
    }

    /// Goes back to the old end, after others were at work there.
    async fn start_over(&mut self) -> Result<Option<Ending>, Error> {
        self.begin_again();
        self.show_way();
        self.pace.pause_after_conflict().await;
        // The run itself may have moved the end of the plan when it looks for the last time.
        match self.swept {
            None => self.find_end().await,
            Some(_) => Ok(None),
        }
    }

    /// Writes down how it stands. Returns why to end, if so.
    async fn note(&mut self) -> Result<Option<Ending>, Error> {
        self.noted = Instant::now();
        let view = &mut self.record.view;
        view.updated_at = now();
        view.summary = summary(view, None);
        let keys = &self.queue.keys;
        let run = id(&view.run);
        let (run_key, cancel_key) = (keys.run(run), keys.cancel(run));
        let mut command = KEEP.command(&[&keys.lease, &run_key, &cancel_key, &keys.active]);
        command.arg(&self.token).arg(milliseconds(LEASE));
        let name = view.run.clone();
        command.arg(json(&self.record)?).arg(KEPT).arg(name);
        let answer: i64 = self
            .operator
            .store
            .run(&KEEP, &keys.lease, &command)
            .await?;
        Ok(match answer {
            0 => None,
            1 => Some(Ending::State(RunState::Cancelled, None)),
            _ => Some(Ending::Lost),
        })
    }

    /// Counts what the audit says that this run has moved, which is also what was moved without an
    /// answer.
    async fn recount(&mut self) -> Result<(), Error> {
        let mut counting = Counting::of(self.queue);
        let run = self.record.view.run.clone();
        while !self.operator.count_on(&mut counting, &run).await? {
            // A long audit takes its time, and the lease is to hold. Why to end is asked later.
            if self.noted.elapsed() >= NOTE {
                let _ = self.note().await?;
            }
        }
        let view = &mut self.record.view;
        view.moved = view.moved.max(counting.moved);
        Ok(())
    }

    /// Ends the work at a run, for whatever reason.
    pub(super) async fn end(mut self, ended: Result<Ending, Error>) -> Result<RunView, Error> {
        let (state, why) = match ended {
            Ok(Ending::State(state, why)) => (state, why),
            Ok(Ending::Lost) => {
                let run = self.record.view.run.clone();
                return self.operator.run(&run).await;
            }
            Ok(Ending::Leave) => {
                let _ = self.note().await;
                self.give_up_lease().await;
                return Ok(self.record.view);
            }
            // For a time without Redis the run waits; what cannot be done at all ends it.
            Err(Error::Redis(error)) if passes(error.reason) => {
                self.record.view.trouble = Some(error.to_string());
                let _ = self.note().await;
                self.give_up_lease().await;
                return Err(Error::Redis(error));
            }
            Err(error) => (RunState::Failed, Some(error.to_string())),
        };
        // In a cluster a batch that was begun is ended, so that no message lies in two lists.
        self.mover.finish().await?;
        self.recount().await?;
        let operator = self.operator;
        let after = operator.store.depth(&self.queue.lists.source).await?;
        let view = &mut self.record.view;
        view.state = state;
        if state == RunState::Done {
            view.trouble = None;
        }
        view.updated_at = now();
        view.depth_after = Some(after);
        view.summary = summary(view, why.as_deref());
        let keys = &self.queue.keys;
        let run = id(&view.run);
        let (run_key, cancel_key) = (keys.run(run), keys.cancel(run));
        let all = [&keys.lease, &run_key, &cancel_key, &keys.active];
        let all: Vec<&String> = all.into_iter().chain(&keys.audit).collect();
        let mut command = END.command(&all);
        let fields = ended_entry(view, self.queue, &operator.audit.instance);
        let name = view.run.clone();
        command.arg(&self.token).arg(json(&self.record)?);
        command.arg(KEPT).arg(&name).arg(operator.audit.length);
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        let ended: i64 = operator.store.run(&END, &keys.lease, &command).await?;
        if ended == 0 {
            return operator.run(&name).await;
        }
        Ok(self.record.view)
    }

    async fn give_up_lease(&self) {
        let key = &self.queue.keys.lease;
        let mut command = LEAVE.command(&[key]);
        command.arg(&self.token);
        // If it fails, the lease ends by itself.
        let left = self.operator.store.run::<i64>(&LEAVE, key, &command).await;
        if let Err(error) = left {
            tracing::debug!(%error, "the lease of a run was not given back");
        }
    }
}

fn ended_entry(view: &RunView, queue: &Queue, instance: &str) -> Entry {
    let numbers = [
        ("wanted", view.wanted),
        ("moved", view.moved),
        ("scanned", view.scanned),
        ("conflicts", view.conflicts),
        ("depth_before", view.depth_before),
        ("depth_after", view.depth_after.unwrap_or(0)),
    ];
    let texts = [
        ("act", "run_ended"),
        ("action", view.action.as_str()),
        ("run", &view.run),
        ("queue", &queue.name),
        ("list", &queue.lists.source),
        ("who", &view.by),
        ("state", view.state.as_str()),
        ("outcome", &view.summary),
        ("instance", instance),
    ];
    let texts = texts.map(|(name, text)| (name, text.to_owned()));
    let numbers = numbers.map(|(name, number)| (name, number.to_string()));
    entry(Kind::Act, texts.into_iter().chain(numbers))
}

/// Whether waiting may help.
fn passes(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::NoPermission | Reason::WrongType | Reason::Unsupported | Reason::HalfDone
    )
}

static KEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("keep.lua")));
static END: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("end.lua")));
static LEAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("leave.lua")));
