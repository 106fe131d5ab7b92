//! Runs: plans at work. A run lives in Redis, so that whoever is there goes on with it.
//!
//! It goes through its list from the old end, as far as the plan saw it. What stays is left where it
//! is, or brought round to the young end where going past it again and again would cost more.

mod pace;
pub(super) mod way;
mod work;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::plans::{Plan, json};
use super::queues::Queue;
use super::store::{DEED, milliseconds};
use super::wire::{RunRequest, RunState, RunView, Who};
use super::{Error, Operator, now, random};
use crate::audit::{Kind, entry};
use crate::dlq::redis::Script;
use crate::link::Reason;
use way::Way;
use work::Work;

/// How long a run belongs to whom works at it without a sign of life.
const LEASE: Duration = Duration::from_secs(10);

/// How often it is written down how a run stands.
const NOTE: Duration = Duration::from_millis(250);

/// For so long it is known what became of a run, in seconds.
const KEPT: u64 = 30 * 86_400;

/// How often runs are looked for that nobody works at.
const LOOK: Duration = Duration::from_secs(2);

/// What is kept of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    view: RunView,
    force: bool,
    way: Way,
}

impl Operator {
    /// Starts a run of a plan.
    ///
    /// # Errors
    /// [`Error`] says which; a plan that was run, has expired, or never was is not found, and one
    /// that is not what it is believed to be is a conflict.
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
        as_believed(&plan, request)?;
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
            trouble: None,
            summary: String::new(),
        };
        view.summary = summary(&view, None);
        let record = Record {
            view,
            force: plan.force,
            way: Way::of(plan.marks, plan.to_scan),
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

    /// The queue that a plan's token names, if there is one.
    #[must_use]
    pub fn planned_on(&self, token: &str) -> Option<&str> {
        let (name, _) = token.rsplit_once('.')?;
        self.named(name).ok().map(|queue| queue.name.as_str())
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
        let record = match self.record(queue, run).await {
            Err(Error::NotFound { .. }) if self.forget(queue, run, &who.name, true).await? => {
                return Err(Error::NotHere(format!(
                    "what run {run} was to do is not known any more; it holds its queue no longer"
                )));
            }
            record => record?,
        };
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
        let kept = KEPT.to_string();
        // As long as the run itself: it may be long until somebody works at it again.
        let words = [who.name.as_str(), "EX", &kept];
        let wish = (key.as_str(), "SET", &words[..]);
        self.deed(&DEED, queue, wish, &entry(Kind::Act, fields))
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
            let time = milliseconds(LEASE);
            let take = [token.as_str(), "NX", "PX", &time];
            let lease = &queue.keys.lease;
            let ours: Option<String> = self.store.jot(lease, "SET", &take).await?;
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

    /// Looks for runs that nobody works at, and works at them, until cancelled. A run may take hours,
    /// so that none waits for that of another queue.
    pub async fn work(self, cancel: CancellationToken) {
        let each = self.queues.iter().map(|queue| self.work_on(queue, &cancel));
        futures_util::future::join_all(each).await;
    }

    async fn work_on(&self, queue: &Queue, cancel: &CancellationToken) {
        let mut failing = false;
        while !cancel.is_cancelled() {
            let worked = match self.active(queue).await {
                Ok(None) => Ok(()),
                Ok(Some(run)) => self.work_at_active(queue, &run, cancel).await,
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
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn work_at_active(
        &self,
        queue: &Queue,
        run: &str,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let worked = self.work_at(run, |_| {}, cancel).await;
        if matches!(worked, Err(Error::NotFound { .. }))
            && self.forget(queue, run, &self.audit.instance, false).await?
        {
            tracing::warn!(
                run,
                queue = queue.name,
                "nothing is known of the run of an operator any more; it holds its queue no longer"
            );
            return Ok(());
        }
        let view = worked?;
        if view.state == RunState::Running {
            tracing::info!(
                run = view.run,
                moved = view.moved,
                "run of an operator left to others"
            );
            return Ok(());
        }
        tracing::info!(
            run = view.run,
            state = view.state.as_str(),
            moved = view.moved,
            "run of an operator ended: {}",
            view.summary
        );
        // Others may have seen its end too; who has brought it there tells of it.
        if view.state != RunState::Running && view.instance == self.audit.instance {
            self.tell_ended(view);
        }
        Ok(())
    }

    /// Frees a queue from a run of which nothing is known any more, as after a month in which nobody
    /// worked at it, or where `unreadable` from one that cannot be read. Returns whether it did.
    async fn forget(
        &self,
        queue: &Queue,
        run: &str,
        who: &str,
        unreadable: bool,
    ) -> Result<bool, Error> {
        let keys = &queue.keys;
        let run_key = keys.run(id(run));
        let all = [&keys.active, &run_key, &keys.lease];
        let all: Vec<&String> = all.into_iter().chain(&keys.audit).collect();
        let mut command = FORGET.command(&all);
        command.arg(run).arg(u8::from(unreadable));
        command.arg(self.audit.length);
        let fields = [
            ("act", "run_ended"),
            ("run", run),
            ("queue", &queue.name),
            ("list", &queue.lists.source),
            ("who", who),
            ("state", RunState::Failed.as_str()),
            ("outcome", "what it was to do is not known any more"),
            ("instance", &self.audit.instance),
        ];
        for (name, value) in entry(Kind::Act, fields) {
            command.arg(name).arg(value);
        }
        let freed: i64 = self.store.run(&FORGET, &keys.active, &command).await?;
        Ok(freed == 1)
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
    } else if let Some(trouble) = &view.trouble {
        text.push_str("; it stood still: ");
        text.push_str(trouble);
    }
    text
}

/// A token does not tell what its plan does, so that whoever runs it may say what he believes.
fn as_believed(plan: &Plan, request: &RunRequest) -> Result<(), Error> {
    let action = request.action.is_none_or(|action| action == plan.action);
    if action && request.would_move.is_none_or(|count| count == plan.wanted) {
        return Ok(());
    }
    let (action, wanted) = (plan.action.as_str(), plan.wanted);
    let whole = if wanted == 1 { "message" } else { "messages" };
    Err(Error::Conflict(format!(
        "this plan is to {action} {wanted} {whole}, and not what the request says it is: nothing was run, and the plan can still be run"
    )))
}

/// The part of a run's name behind the queue.
fn id(run: &str) -> &str {
    run.rsplit_once('.').map_or(run, |(_, id)| id)
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

static START: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("runs/start.lua")));
static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("runs/forget.lua")));
