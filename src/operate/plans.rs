//! Plans: what an action would do, counted before anything moves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::judge::{Task, Verdict, judge};
use super::letter::Letter;
use super::queues::{Queue, Role};
use super::runs::bounds;
use super::runs::way::{Mark, Marks};
use super::scan::Scan;
use super::store::{End, milliseconds};
use super::wire::{Action, Filter, PlanRequest, PlanView, Who};
use super::{Error, Operator, now, random};

/// For so long a plan can be run.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// A plan looks at a list for so long at most; what it has seen by then is the plan.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages of a plan, at most: more than any list has.
const LIMIT: u64 = 1_000_000_000;

/// Messages that a plan shows.
const SAMPLE: usize = 10;

/// What is kept of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) action: Action,
    pub(super) filter: Filter,
    pub(super) force: bool,
    /// Messages that it would move.
    pub(super) wanted: u64,
    /// Messages that a run is to look at.
    pub(super) to_scan: u64,
    /// The youngest of them, and some older ones.
    pub(super) marks: Vec<Mark>,
    pub(super) by: String,
}

impl Operator {
    /// Counts what an action would do.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn plan(
        &self,
        queue: &str,
        request: &PlanRequest,
        who: &Who,
    ) -> Result<PlanView, Error> {
        let queue = self.named(queue)?;
        let action = request.action;
        allowed(action, queue)?;
        check(&request.filter)?;
        bounds("limit", request.limit, LIMIT)?;
        let rules = self.rules(queue);
        let task = Task {
            action,
            filter: &request.filter,
            role: queue.role,
            shared: queue.shared,
            rules: &rules,
            force: request.force,
        };
        let limit = request.limit.unwrap_or(u64::MAX);
        let began = Instant::now();
        let second = now();
        let mut scan = Scan::new(&self.store, &queue.lists.source, End::Oldest, 0);
        let mut marks = Marks::default();
        let mut view = PlanView {
            token: String::new(),
            expires_at: second + GOOD_FOR.as_secs().cast_signed(),
            queue: queue.name.clone(),
            action,
            filter: request.filter.clone(),
            depth: 0,
            scanned: 0,
            complete: false,
            matched: 0,
            would_move: 0,
            would_leave: BTreeMap::new(),
            sample: vec![],
            to: queue.destination(action).map(str::to_owned),
        };
        while view.would_move < limit && began.elapsed() < PATIENCE {
            // What arrives meanwhile is not in the plan.
            let left = match view.scanned {
                0 => u64::MAX,
                scanned => view.depth.saturating_sub(scanned),
            };
            let step = if left == 0 {
                None
            } else {
                scan.next(left).await?
            };
            let Some(step) = step else {
                view.complete = true;
                break;
            };
            if view.scanned == 0 {
                view.depth = scan.depth();
            }
            let before = view.scanned;
            for (entry, at) in step.entries.iter().zip(step.at..) {
                if view.would_move == limit {
                    break;
                }
                view.scanned += 1;
                match judge(entry, &task, second) {
                    Verdict::NotMeant => continue,
                    Verdict::Leave(why) if action != Action::Export => {
                        *view.would_leave.entry(why.to_owned()).or_default() += 1;
                    }
                    Verdict::Leave(_) | Verdict::Move(_) => {
                        view.would_move += 1;
                        if view.sample.len() < SAMPLE {
                            let letter = Letter::read(entry, queue.role, &rules, &[]);
                            view.sample.push(letter.message(at));
                        }
                    }
                }
                view.matched += 1;
            }
            let seen = usize::try_from(view.scanned - before).unwrap_or(usize::MAX);
            marks.saw(step.entries.into_iter().take(seen));
        }
        view.complete |= view.would_move == limit || view.scanned == view.depth;
        let id = random();
        let plan = Plan {
            action,
            filter: view.filter.clone(),
            force: request.force,
            wanted: view.would_move,
            to_scan: view.scanned,
            marks: marks.all(),
            by: who.name.clone(),
        };
        let key = queue.keys.plan(&id);
        let (text, time) = (json(&plan)?, milliseconds(GOOD_FOR));
        let words = [text.as_str(), "PX", &time];
        self.store.jot::<String>(&key, "SET", &words).await?;
        view.token = format!("{}.{id}", queue.name);
        Ok(view)
    }
}

/// What is kept, as text.
pub(super) fn json(kept: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(kept).map_err(|error| Error::NotHere(error.to_string()))
}

/// Whether an action makes sense in a queue.
pub(super) fn allowed(action: Action, queue: &Queue) -> Result<(), Error> {
    let why = match (action, queue.role) {
        (Action::Bury, Role::Dead) => "its messages are buried already",
        (Action::Restore, Role::Source) => "only messages of a dead list can be restored",
        _ => return Ok(()),
    };
    let action = action.as_str();
    let name = &queue.name;
    Err(Error::NotHere(format!(
        "{action} is not possible in {name}: {why}"
    )))
}

/// Texts of a filter are bounded, and its ages go together.
pub(super) fn check(filter: &Filter) -> Result<(), Error> {
    let texts = [("host", &filter.host), ("text", &filter.text)];
    for (name, text) in texts {
        if let Some(text) = text
            && (text.is_empty() || text.len() > 1_000)
        {
            return Err(Error::invalid(name, text, "1 to 1,000 bytes"));
        }
    }
    for (name, fields) in [("field", &filter.field), ("contains", &filter.contains)] {
        if fields.len() > 20 {
            let count = fields.len().to_string();
            return Err(Error::invalid(name, &count, "at most 20 of them"));
        }
        let long = |text: &str| text.len() > 1_000;
        let bad = |field: &&super::wire::FieldText| {
            field.name.is_empty() || long(&field.name) || long(&field.value)
        };
        if let Some(field) = fields.iter().find(bad) {
            let text = format!("{}={}", field.name, field.value);
            return Err(Error::invalid(
                name,
                &text,
                "a name and a text of at most 1,000 bytes each",
            ));
        }
    }
    if let (Some(least), Some(most)) = (filter.min_age, filter.max_age)
        && least > most
    {
        let expected = format!("at most max_age, {most}");
        return Err(Error::invalid("min_age", &least.to_string(), expected));
    }
    Ok(())
}
