//! `plan`: what an action would do, counted before anything moves; and which messages are meant.

use clap::Args;

use super::desk::Desk;
use super::options::{FilterArgs, shown};
use super::refusal::Refusal;
use super::screen::{Screen, answer, put_json};
use super::{Outcome, clean, list, now, spell, ticket::Ticket};
use crate::operate::wire::{Action, Filter, PlanRequest, PlanView};

#[derive(Args, Clone, Debug)]
pub(crate) struct PlanArgs {
    /// Queue, such as alerter or dead
    queue: String,
    /// replay, bury, restore, purge or export
    #[arg(value_parser = action)]
    action: Action,
    #[command(flatten)]
    meant: Meant,
}

/// Which messages are meant, where they are not named one by one.
#[derive(Args, Clone, Debug)]
pub(crate) struct Meant {
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// All messages: needed where nothing else says which
    #[arg(long, help_heading = "Which messages")]
    pub(super) all: bool,
    /// So many of them, at most, the oldest first
    #[arg(long, value_name = "MESSAGES", help_heading = "Which messages")]
    pub(super) limit: Option<u64>,
    /// Also those that the alerter would discard
    #[arg(long)]
    pub(super) force: bool,
}

pub(super) async fn run(desk: &Desk, screen: Screen, args: PlanArgs) -> anyhow::Result<Outcome> {
    let request = args.meant.request(args.action)?;
    let mut plan = desk.plan(&args.queue, &request).await?;
    let ticket = Ticket::of(&plan);
    if screen.json {
        plan.token = ticket.to_string();
        put_json(&plan)?;
        return Ok(Outcome::Done);
    }
    let mut text = described(&plan, screen);
    if plan.action != Action::Export {
        let left = (plan.expires_at - now()).max(0).cast_unsigned();
        text.push_str(&format!(
            "\nfor {} this runs it:\n  mutt-remediation {} --plan {}\n",
            spell::seconds(left),
            plan.action.as_str(),
            clean::line(&ticket.to_string()),
        ));
    }
    answer(&text)?;
    Ok(Outcome::Done)
}

impl Meant {
    /// The request for a plan; all messages of a queue are meant only where that is said.
    pub(super) fn request(&self, action: Action) -> Result<PlanRequest, Refusal> {
        let filter = Filter::from(self.filter.clone());
        if filter.is_empty() && !self.all {
            let text = "which messages? Name ids, or say which by --reason and the like, or --all";
            return Err(Refusal::usage(text));
        }
        if !filter.is_empty() && self.all {
            let text = "--all means every message: leave it out, or what narrows it down";
            return Err(Refusal::usage(text));
        }
        Ok(PlanRequest {
            action,
            filter,
            limit: self.limit,
            force: self.force,
        })
    }
}

/// What a plan would do, for people.
pub(super) fn described(plan: &PlanView, screen: Screen) -> String {
    let mut text = String::new();
    if !plan.sample.is_empty() {
        text = screen.table(&list::table(&plan.sample, now()));
        let more = plan.would_move - (plan.sample.len() as u64).min(plan.would_move);
        if more > 0 {
            text.push_str(&format!("and {} more\n", spell::count(more)));
        }
        text.push('\n');
    }
    let action = plan.action.as_str();
    let queue = clean::line(&plan.queue);
    let meant = clean::line(&shown(&plan.filter));
    let matched = spell::of(plan.matched, "message");
    text.push_str(&format!("{action} {queue} {meant}: {matched} found"));
    text.push_str(&format!(" of {}\n", spell::count(plan.depth)));
    let to = plan.to.as_deref().map(clean::line);
    let to = to.map_or_else(String::new, |to| format!(" to {to}"));
    let word = match plan.action {
        Action::Purge => "would be thrown away",
        Action::Export => "would be read",
        _ => "would be moved",
    };
    let count = spell::count(plan.would_move);
    text.push_str(&format!("  {count} {word}{to}\n"));
    for (why, count) in &plan.would_leave {
        let (count, why) = (spell::count(*count), clean::line(why));
        text.push_str(&format!("  {count} would stay: {why}\n"));
    }
    if !plan.complete {
        let scanned = spell::count(plan.scanned);
        text.push_str(&format!(
            "  only the oldest {scanned} were looked at, a run looks no further\n"
        ));
    }
    text
}

fn action(text: &str) -> Result<Action, String> {
    let known = Action::ALL.into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| "expected replay, bury, restore, purge or export".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_filter_needs_all() {
        let meant = |all, reason: Option<&str>| Meant {
            filter: FilterArgs::of_reason(reason),
            all,
            limit: None,
            force: false,
        };
        assert!(meant(false, None).request(Action::Purge).is_err());
        assert!(meant(true, Some("shed")).request(Action::Purge).is_err());
        assert!(meant(true, None).request(Action::Purge).is_ok());
        assert!(meant(false, Some("shed")).request(Action::Purge).is_ok());
    }
}
