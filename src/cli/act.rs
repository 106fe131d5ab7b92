//! `plan`, `replay`, `bury`, `restore`, `purge`: on messages by id, or on all that a filter means.

use std::collections::BTreeMap;

use clap::Args;

use super::desk::Desk;
use super::options::named;
use super::plan::{Meant, described};
use super::refusal::{Kind, Refusal};
use super::screen::{Consent, Interrupt, Screen, answer, confirm, put_json, remark};
use super::{Outcome, clean, follow, list, now, spell, ticket::Ticket};
use crate::operate::wire::{
    ActOutcome, ActRequest, Action, Filter, Message, Named, PlanView, RunRequest,
};

/// Messages of one request, at most.
const AT_ONCE: usize = 100;

#[derive(Args, Clone, Debug)]
pub(crate) struct ActArgs {
    /// Queue, such as alerter or dead
    #[arg(required_unless_present = "plan")]
    queue: Option<String>,
    /// Messages, by 8 or more digits of their ids, and @PLACE where they lie deep; without any the options below say which
    #[arg(value_name = "ID[@PLACE]", value_parser = named)]
    messages: Vec<Named>,
    #[command(flatten)]
    meant: Meant,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Run this plan, as `plan` has printed it
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["queue", "messages", "all", "limit", "force"])]
    plan: Option<String>,
    /// Messages a second, at most
    #[arg(long, value_name = "MESSAGES", conflicts_with = "messages")]
    rate: Option<u64>,
    /// Stop after so long, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = spell::duration, conflicts_with = "messages")]
    time: Option<u64>,
}

pub(super) async fn act(
    desk: &Desk,
    screen: Screen,
    action: Action,
    args: ActArgs,
) -> anyhow::Result<Outcome> {
    if let Some(plan) = &args.plan {
        return ticket(desk, screen, action, &args, plan).await;
    }
    let queue = args.queue.clone().unwrap_or_default();
    if !args.messages.is_empty() {
        return those(desk, screen, action, &queue, args).await;
    }
    let request = args.meant.request(action)?;
    let plan = desk.plan(&queue, &request).await?;
    remark(described(&plan, screen.aside()).trim_end());
    if plan.would_move == 0 {
        return nothing(&plan, screen);
    }
    let count = spell::of(plan.would_move, "message");
    let question = question(action, &count, &queue);
    confirm(&question, consent(action, plan.would_move), args.yes).await?;
    start(desk, screen, Ticket::of(&plan), &args).await
}

/// Runs a plan that was made before.
async fn ticket(
    desk: &Desk,
    screen: Screen,
    action: Action,
    args: &ActArgs,
    plan: &str,
) -> anyhow::Result<Outcome> {
    if !Filter::from(args.meant.filter.clone()).is_empty() {
        let text = "--plan: which messages are meant was said when it was made";
        return Err(Refusal::usage(text).into());
    }
    let ticket: Ticket = plan.parse().map_err(|text: String| Refusal::usage(text))?;
    if ticket.action != action {
        let (planned, asked) = (ticket.action.as_str(), action.as_str());
        let text = format!("--plan: this plan is to {planned}, not to {asked}");
        return Err(Refusal::usage(text).into());
    }
    let count = spell::of(ticket.count, "message");
    let question = question(action, &count, ticket.queue());
    confirm(&question, consent(action, ticket.count), args.yes).await?;
    start(desk, screen, ticket, args).await
}

async fn start(
    desk: &Desk,
    screen: Screen,
    ticket: Ticket,
    args: &ActArgs,
) -> anyhow::Result<Outcome> {
    // What was agreed to, whatever the token may mean.
    let request = RunRequest {
        token: ticket.token,
        action: Some(ticket.action),
        would_move: Some(ticket.count),
        rate: args.rate,
        seconds: args.time,
    };
    let run = desk.start(&request).await?;
    follow::follow(desk, screen, &run.run).await
}

/// Acts on messages that were named.
async fn those(
    desk: &Desk,
    screen: Screen,
    action: Action,
    queue: &str,
    args: ActArgs,
) -> anyhow::Result<Outcome> {
    let filter = Filter::from(args.meant.filter);
    if !filter.is_empty() || args.meant.all || args.meant.limit.is_some() {
        let text = "either ids or options that say which messages, not both";
        return Err(Refusal::usage(text).into());
    }
    let mut outcome = ActOutcome {
        wanted: args.messages.len() as u64,
        moved: 0,
        missing: vec![],
        left: BTreeMap::new(),
        scanned: 0,
        complete: true,
        depth_before: 0,
        depth_after: 0,
        summary: String::new(),
    };
    let mut meant = vec![];
    let mut seen: Vec<Message> = vec![];
    for named in args.messages {
        // Nobody is asked: there is nothing to show.
        if args.yes {
            meant.push(named);
            continue;
        }
        match desk.message(queue, &named.digest, named.at).await {
            Ok(detail) => {
                let digest = detail.message.digest.clone();
                let at = Some(detail.message.at);
                meant.push(Named { digest, at });
                seen.push(detail.message);
            }
            Err(refusal) if refusal.kind == Kind::NotFound && !meant_queue(&refusal) => {
                remark(&clean::line(&refusal.text));
                outcome.missing.push(named.digest);
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
    if !seen.is_empty() {
        let aside = screen.aside();
        remark(aside.table(&list::table(&seen, now())).trim_end());
    }
    if !meant.is_empty() {
        let count = meant.len() as u64;
        let question = question(action, &spell::of(count, "message"), queue);
        confirm(&question, consent(action, count), args.yes).await?;
    }
    let mut interrupt = Interrupt::catch()?;
    let mut interrupted = false;
    for (number, part) in meant.chunks(AT_ONCE).enumerate() {
        interrupted = interrupt.pressed();
        if interrupted {
            break;
        }
        let request = ActRequest {
            action,
            messages: part.to_vec(),
            force: args.meant.force,
        };
        match interrupt.through(Box::pin(desk.act(queue, &request))).await {
            Ok(part) => add(&mut outcome, part, number == 0),
            Err(refusal) if number == 0 => return Err(refusal.into()),
            // What was moved before is worth telling.
            Err(refusal) => {
                remark(&clean::line(&refusal.text));
                interrupted = refusal.kind == Kind::Interrupted;
                break;
            }
        }
    }
    outcome.summary = outcome.sentence();
    let code = tell(&outcome, action, screen)?;
    Ok(if interrupted { Outcome::Killed } else { code })
}

/// Whether it is the queue that does not exist.
fn meant_queue(refusal: &Refusal) -> bool {
    refusal.text.starts_with("there is no queue")
}

fn add(whole: &mut ActOutcome, part: ActOutcome, first: bool) {
    whole.moved += part.moved;
    whole.missing.extend(part.missing);
    whole.scanned += part.scanned;
    whole.complete &= part.complete;
    for (why, count) in part.left {
        *whole.left.entry(why).or_default() += count;
    }
    if first {
        whole.depth_before = part.depth_before;
    }
    whole.depth_after = part.depth_after;
}

/// Where a plan says that nothing would move.
fn nothing(plan: &PlanView, screen: Screen) -> anyhow::Result<Outcome> {
    let mut outcome = ActOutcome {
        wanted: plan.matched,
        moved: 0,
        missing: vec![],
        left: plan.would_leave.clone(),
        scanned: 0,
        complete: true,
        depth_before: plan.depth,
        depth_after: plan.depth,
        summary: String::new(),
    };
    outcome.summary = outcome.sentence();
    tell(&outcome, plan.action, screen)
}

fn tell(outcome: &ActOutcome, action: Action, screen: Screen) -> anyhow::Result<Outcome> {
    if screen.json {
        put_json(outcome)?;
    } else {
        let summary = clean::line(&outcome.summary);
        answer(&format!("{}: {summary}\n", action.as_str()))?;
    }
    Ok(code(outcome))
}

/// The exit code that an act means.
fn code(outcome: &ActOutcome) -> Outcome {
    let ActOutcome { wanted, moved, .. } = *outcome;
    match moved {
        _ if moved == wanted => Outcome::Done,
        0 if outcome.missing.len() as u64 == wanted => Outcome::NotFound,
        0 => Outcome::Failed,
        _ => Outcome::Partly,
    }
}

fn question(action: Action, count: &str, queue: &str) -> String {
    let queue = clean::line(queue);
    match action {
        Action::Purge => format!("Throw away {count} of {queue} for good?"),
        other => format!("{} {count} of {queue}?", capital(other.as_str())),
    }
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn consent(action: Action, count: u64) -> Consent {
    match action {
        Action::Purge => Consent::Text(count.to_string()),
        _ => Consent::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_whether_all_some_or_nothing_was_moved() {
        for (wanted, moved, missing, code_) in [
            (2, 2, 0, 0),
            (2, 0, 2, 4),
            (2, 0, 1, 1),
            (2, 1, 1, 3),
            (40, 0, 0, 1),
            (0, 0, 0, 0),
        ] {
            let outcome = ActOutcome {
                wanted,
                moved,
                missing: vec!["x".into(); missing],
                left: BTreeMap::new(),
                scanned: 0,
                complete: true,
                depth_before: 0,
                depth_after: 0,
                summary: String::new(),
            };
            assert_eq!(code(&outcome).code(), code_, "{moved} of {wanted}");
        }
    }
}
