//! Runs: plans at work. A run lives in Redis, so that whoever is there goes on with it.
//!
//! It goes through its list from the old end, as far as the plan saw it. What stays is left where it
//! is, or brought round to the young end where going past it again and again would cost more.

mod pace;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::judge::{Task, Verdict, judge};
use super::mover::{BYTES, Chosen, Moved, Mover};
use super::plans::{Plan, json};
use super::queues::Queue;
use super::scan::{FIRST, Scan};
use super::store::{End, milliseconds};
use super::wire::{RunRequest, RunState, RunView, Who};
use super::{Error, Operator, now, random};
use crate::audit::{Entry, Kind, entry};
use crate::dlq::redis::Script;
use crate::drain::classify::Rules;
use crate::link::Reason;
use pace::{Pace, worth_rotating};

/// How long a run belongs to whom works at it without a sign of life.
const LEASE: Duration = Duration::from_secs(10);

/// How often it is written down how a run stands.
const NOTE: Duration = Duration::from_millis(250);

/// For so long it is known what became of a run, in seconds.
const KEPT: u64 = 30 * 86_400;

/// How often runs are looked for that nobody works at.
const LOOK: Duration = Duration::from_secs(2);

/// Conflicts in a row after which a run gives up.
const MAX_CONFLICTS: u32 = 50;

/// What is kept of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    view: RunView,
    force: bool,
}

/// What somebody needs to work at a run.
struct Work<'a> {
    operator: &'a Operator,
    queue: &'a Queue,
    /// What the lease says.
    token: String,
    record: Record,
    mover: Mover,
    /// Messages at the old end that stay.
    kept: u64,
    /// Entries that may be read at once.
    step: u64,
    /// How many entries it took lately to find one that is meant.
    each: u64,
    pace: Pace,
    noted: Instant,
    conflicts: u32,
}

/// Why the work at a run ends.
enum Ending {
    State(RunState, Option<String>),
    /// Somebody else has it now.
    Lost,
    /// We are to go; it stays for others.
    Leave,
}

impl Operator {
    /// Starts a run of a plan.
    ///
    /// # Errors
    /// [`Error`] says which; a plan that was run, has expired, or never was is not found.
    pub async fn start(&self, request: &RunRequest, who: &Who) -> Result<RunView, Error> {
        let unknown = || Error::not_found("plan", &request.token);
        let (name, plan_id) = request.token.rsplit_once('.').ok_or_else(unknown)?;
        let queue = self.named(name).map_err(|_| unknown())?;
        bounds("rate", request.rate, 1_000_000)?;
        bounds("seconds", request.seconds, 86_400)?;
        if plan_id.len() != 32 || !plan_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let key = queue.keys.plan(plan_id);
        let text: Option<String> = self.store.read(&key, redis::cmd("GET").arg(&key)).await?;
        let plan: Plan = text
            .and_then(|text| serde_json::from_str(&text).ok())
            .ok_or_else(unknown)?;
        if plan.action == super::wire::Action::Export {
            return Err(Error::NotHere("an export needs no run: it is read".into()));
        }
        let second = now();
        let mut view = RunView {
            run: format!("{}.{}", queue.name, random()),
            queue: queue.name.clone(),
            action: plan.action,
            filter: plan.filter,
            state: RunState::Running,
            wanted: plan.wanted,
            moved: 0,
            left: BTreeMap::new(),
            scanned: 0,
            to_scan: plan.to_scan,
            conflicts: 0,
            rate: request.rate,
            by: who.name.clone(),
            instance: String::new(),
            started_at: second,
            updated_at: second,
            until: request.seconds.map(|time| second + time.cast_signed()),
            depth_before: self.store.depth(&queue.lists.source).await?,
            depth_after: None,
            summary: String::new(),
        };
        view.summary = summary(&view, None);
        let record = Record {
            view,
            force: plan.force,
        };
        let view = &record.view;
        let keys = &queue.keys;
        let run_key = keys.run(id(&view.run));
        let all = [&key, &keys.active, &run_key, &keys.runs];
        let all: Vec<&String> = all.into_iter().chain(&keys.audit).collect();
        let mut command = START.command(&all);
        command.arg(&view.run).arg(json(&record)?).arg(KEPT);
        command.arg(self.audit.length);
        let filter = json(&view.filter)?;
        let wanted = view.wanted.to_string();
        let before = view.depth_before.to_string();
        let fields = [
            ("act", "run_started"),
            ("action", view.action.as_str()),
            ("run", &view.run),
            ("queue", &queue.name),
            ("list", &queue.lists.source),
            ("who", &who.name),
            ("from", &who.from),
            ("planned_by", &plan.by),
            ("filter", &filter),
            ("wanted", &wanted),
            ("depth_before", &before),
            ("instance", &self.audit.instance),
        ];
        for (name, value) in entry(Kind::Act, fields) {
            command.arg(name).arg(value);
        }
        let answer: Vec<String> = self.store.run(&START, &key, &command).await?;
        match &answer[..] {
            [word] if word == "started" => Ok(record.view),
            [word] if word == "no plan" => Err(unknown()),
            [_, active] => Err(Error::Conflict(format!(
                "run {active} is active on {name}: wait for its end, or cancel it; the plan can still be run"
            ))),
            _ => Err(unexpected()),
        }
    }

    /// A run.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn run(&self, run: &str) -> Result<RunView, Error> {
        let queue = self.queue_of(run)?;
        Ok(self.record(queue, run).await?.view)
    }

    /// The last runs of all queues, newest first.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn runs(&self) -> Result<Vec<RunView>, Error> {
        let mut runs = vec![];
        for queue in self.queues.iter() {
            let key = &queue.keys.runs;
            let mut range = redis::cmd("LRANGE");
            range.arg(key).arg(0).arg(-1);
            let ids: Vec<String> = self.store.read(key, &range).await?;
            for id in ids {
                match self.record(queue, &id).await {
                    Ok(record) => runs.push(record.view),
                    // It has been too long.
                    Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        runs.sort_by_key(|run| std::cmp::Reverse(run.started_at));
        runs.truncate(50);
        Ok(runs)
    }

    /// Ends a run after the batch in flight.
    ///
    /// # Errors
    /// [`Error`] says which; a run that has ended cannot be cancelled.
    pub async fn cancel(&self, run: &str, who: &Who) -> Result<RunView, Error> {
        let queue = self.queue_of(run)?;
        let record = self.record(queue, run).await?;
        if record.view.state != RunState::Running {
            let state = record.view.state.as_str();
            return Err(Error::Conflict(format!(
                "run {run} has ended already: {state}"
            )));
        }
        let key = queue.keys.cancel(id(run));
        let fields = [
            ("act", "cancel"),
            ("run", run),
            ("queue", &queue.name),
            ("who", &who.name),
            ("from", &who.from),
            ("instance", &self.audit.instance),
        ];
        self.deed(
            queue,
            &key,
            ("SET", &[who.name.as_str(), "EX", "86400"]),
            &entry(Kind::Act, fields),
        )
        .await?;
        Ok(record.view)
    }

    /// Works at a run, if nobody else does, until it ends; `seen` hears of its progress.
    ///
    /// # Errors
    /// [`Error`] says which; the run stays for others then.
    pub async fn work_at(
        &self,
        run: &str,
        mut seen: impl FnMut(&RunView) + Send,
        cancel: &CancellationToken,
    ) -> Result<RunView, Error> {
        let queue = self.queue_of(run)?;
        loop {
            let record = self.record(queue, run).await?;
            seen(&record.view);
            if record.view.state != RunState::Running || cancel.is_cancelled() {
                return Ok(record.view);
            }
            let token = format!("{} {}", self.audit.instance, random());
            let mut take = redis::cmd("SET");
            take.arg(&queue.keys.lease).arg(&token).arg("NX");
            take.arg("PX").arg(milliseconds(LEASE));
            let ours: Option<String> = self.store.write(&queue.keys.lease, &take).await?;
            if ours.is_some() {
                let mut work = Work::new(self, queue, token, record)?;
                let ended = work.run(&mut seen, cancel).await;
                let view = work.end(ended).await?;
                seen(&view);
                return Ok(view);
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sleep(NOTE) => {}
            }
        }
    }

    /// Looks for runs that nobody works at, and works at them, until cancelled.
    pub async fn work(self, cancel: CancellationToken) {
        let mut failing = false;
        while !cancel.is_cancelled() {
            for queue in self.queues.iter() {
                let active = self.active(queue).await;
                let worked = match active {
                    Ok(None) => Ok(()),
                    Ok(Some(run)) => self.work_at(&run, |_| {}, &cancel).await.map(|view| {
                        tracing::info!(
                            run = view.run,
                            state = view.state.as_str(),
                            moved = view.moved,
                            "run of an operator ended: {}",
                            view.summary
                        );
                    }),
                    Err(error) => Err(error),
                };
                match worked {
                    Ok(()) => failing = false,
                    Err(error) if failing => tracing::debug!(%error, "run not worked at"),
                    Err(error) => {
                        failing = true;
                        tracing::warn!(
                            queue = queue.name,
                            %error,
                            "the operators' runs cannot be worked at, trying again"
                        );
                    }
                }
                if cancel.is_cancelled() {
                    return;
                }
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// The run that is active on a queue.
    pub(super) async fn active(&self, queue: &Queue) -> Result<Option<String>, Error> {
        let key = &queue.keys.active;
        Ok(self.store.read(key, redis::cmd("GET").arg(key)).await?)
    }

    fn queue_of(&self, run: &str) -> Result<&Queue, Error> {
        let unknown = || Error::not_found("run", run);
        let (name, id) = run.rsplit_once('.').ok_or_else(unknown)?;
        let sound = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !sound {
            return Err(unknown());
        }
        self.named(name).map_err(|_| unknown())
    }

    async fn record(&self, queue: &Queue, run: &str) -> Result<Record, Error> {
        let key = queue.keys.run(id(run));
        let text: Option<String> = self.store.read(&key, redis::cmd("GET").arg(&key)).await?;
        text.and_then(|text| serde_json::from_str(&text).ok())
            .ok_or_else(|| Error::not_found("run", run))
    }
}

impl<'a> Work<'a> {
    fn new(
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
        Ok(Self {
            mover: Mover::new(&operator.store, queue, trail)?,
            operator,
            queue,
            token,
            record,
            kept: 0,
            step: FIRST,
            each: 1,
            pace,
            noted: Instant::now(),
            conflicts: 0,
        })
    }

    async fn run(
        &mut self,
        seen: &mut (impl FnMut(&RunView) + Send),
        cancel: &CancellationToken,
    ) -> Result<Ending, Error> {
        // Whoever worked at it before may have begun a batch, in a cluster, and moved more than it
        // has written down.
        self.mover.finish().await?;
        self.recount().await?;
        let resumed = self.record.view.scanned > 0;
        if resumed {
            // What was brought round lies behind what was not looked at yet, what was left before.
            self.record.view.scanned = 0;
            self.record.view.left.clear();
            let depth = self.operator.store.depth(&self.queue.lists.source).await?;
            self.record.view.to_scan = depth;
        }
        if let Some(end) = self.note().await? {
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
            if view.scanned >= view.to_scan {
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
            if !self.step(&rules, allowed).await? {
                return Ok(Ending::State(RunState::Done, None));
            }
            if self.conflicts >= MAX_CONFLICTS {
                let why = "others changed the queue each time";
                return Ok(Ending::State(RunState::Failed, Some(why.into())));
            }
        }
    }

    /// Finds some messages that are meant and moves them; false at the end of the list.
    async fn step(&mut self, rules: &Rules, allowed: u64) -> Result<bool, Error> {
        let found = self.find(rules, allowed).await?;
        if found.looked_at == 0 {
            return Ok(false);
        }
        self.step = found.step;
        let moved = found.chosen.len() as u64;
        if moved > 0 && self.mover.take(&found.chosen).await? == Moved::Conflict {
            self.conflicts += 1;
            let view = &mut self.record.view;
            view.conflicts += 1;
            // Where anything lies now is not known: from the beginning.
            view.scanned = view.scanned.saturating_sub(self.kept);
            self.kept = 0;
            self.pace.pause_after_conflict().await;
            return Ok(true);
        }
        if moved > 0 {
            self.conflicts = 0;
        }
        self.each = found.looked_at / moved.max(1);
        let view = &mut self.record.view;
        view.moved += moved;
        view.scanned += found.looked_at;
        for (why, count) in found.left {
            *view.left.entry(why.to_owned()).or_default() += count;
        }
        self.pace.moved(moved);
        self.kept += found.looked_at - moved;
        if worth_rotating(self.kept, found.depth, moved, found.looked_at) {
            let list = &self.queue.lists.source;
            self.operator.store.rotate(list, self.kept).await?;
            self.kept = 0;
        }
        Ok(true)
    }

    /// Looks at messages until so many are found that are meant.
    async fn find(&self, rules: &Rules, allowed: u64) -> Result<Found, Error> {
        let list = &self.queue.lists.source;
        let view = &self.record.view;
        let task = Task {
            action: view.action,
            filter: &view.filter,
            role: self.queue.role,
            rules,
            force: self.record.force,
        };
        let to_scan = view.to_scan - view.scanned;
        let wanted = view.wanted.saturating_sub(view.moved);
        let second = now();
        let mut found = Found::default();
        let scan = Scan::new(&self.operator.store, list, End::Oldest, self.kept);
        let mut scan = scan.with_step(self.step);
        while found.looked_at < to_scan.min(LOOKED_AT) {
            let missing = allowed.saturating_sub(found.chosen.len() as u64);
            if missing == 0 {
                break;
            }
            // No more than is likely to be needed, because what is not has to be read again.
            let needed = missing.saturating_mul(self.each.max(1));
            let Some(step) = scan.next(needed.min(to_scan - found.looked_at)).await? else {
                break;
            };
            (found.depth, found.step) = (scan.depth(), scan.step());
            for (bytes, at) in step.entries.iter().zip(step.at..) {
                match judge(bytes, &task, second) {
                    Verdict::NotMeant => {}
                    Verdict::Leave(why) => found.leave(why),
                    Verdict::Move(_) if found.chosen.len() as u64 == wanted => {
                        found.leave("not in the plan");
                    }
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
        let view = &mut self.record.view;
        let counted = self.operator.moved_by(self.queue, &view.run).await?;
        view.moved = view.moved.max(counted);
        Ok(())
    }

    /// Ends the work at a run, for whatever reason.
    async fn end(mut self, ended: Result<Ending, Error>) -> Result<RunView, Error> {
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

/// Messages that are looked at before those of them that are meant are moved, at most.
const LOOKED_AT: u64 = 5_000;

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

/// What became of it, as a sentence.
fn summary(view: &RunView, why: Option<&str>) -> String {
    let RunView { moved, wanted, .. } = view;
    let mut text = format!("moved {moved} of {wanted}");
    let left: u64 = view.left.values().sum();
    if left > 0 {
        let whys = view
            .left
            .iter()
            .map(|(why, count)| format!("{count} {why}"));
        let whys: Vec<String> = whys.collect();
        text.push_str(&format!("; {left} left ({})", whys.join(", ")));
    }
    match view.state {
        RunState::Running => text.push_str(" so far"),
        RunState::Done if moved < wanted => {
            text.push_str("; the others were gone, or others had moved or changed them");
        }
        RunState::Done => {}
        RunState::Cancelled => text.push_str("; cancelled"),
        RunState::TimedOut => text.push_str("; its time was up"),
        RunState::Failed => text.push_str("; it could not go on"),
    }
    if let Some(why) = why {
        text.push_str(": ");
        text.push_str(why);
    }
    text
}

/// The part of a run's name behind the queue.
fn id(run: &str) -> &str {
    run.rsplit_once('.').map_or(run, |(_, id)| id)
}

/// Whether waiting may help.
fn passes(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::NoPermission | Reason::WrongType | Reason::Unsupported | Reason::HalfDone
    )
}

pub(super) fn bounds(name: &'static str, value: Option<u64>, most: u64) -> Result<(), Error> {
    match value {
        Some(value) if value == 0 || value > most => Err(Error::invalid(
            name,
            &value.to_string(),
            format!("a whole number from 1 to {most}"),
        )),
        _ => Ok(()),
    }
}

fn unexpected() -> Error {
    Error::Redis(crate::link::Error::new(
        Reason::Other,
        "unexpected answer of the start script",
    ))
}

static START: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("start.lua")));
static KEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("keep.lua")));
static END: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("end.lua")));
static LEAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("leave.lua")));
