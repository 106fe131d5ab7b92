//! `show`: one message with its history, the bytes that an edit replaced, or what is in a queue.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::desk::Desk;
use super::options::named;
use super::refusal::Refusal;
use super::screen::{Screen, answer, put_json};
use super::table::{Column, Table};
use super::{Outcome, audit, clean, now, spell, status};
use crate::operate::wire::{Detail, Named, QueueDetail};

#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArgs {
    /// Queue, such as alerter or dead
    queue: String,
    /// Message, by 8 or more digits of its id, and @PLACE where it lies deep; without one the messages of the queue are counted by reason and age
    #[arg(value_name = "ID[@PLACE]", value_parser = named)]
    message: Option<Named>,
    /// Write the bytes as they are; not to a terminal, which they may steer
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Write them to a terminal all the same
    #[arg(long, requires = "raw")]
    force: bool,
    /// Show the bytes that an edit has replaced, by the name that it gave them
    #[arg(long, value_name = "ORIGINAL", conflicts_with = "message")]
    original: Option<String>,
    /// Look at so many messages, at most, to count them
    #[arg(long, value_name = "MESSAGES", conflicts_with_all = ["message", "original"])]
    scan: Option<u64>,
}

pub(super) async fn run(desk: &Desk, screen: Screen, args: ShowArgs) -> anyhow::Result<Outcome> {
    let queue = &args.queue;
    if args.raw && !args.force && std::io::stdout().is_terminal() {
        let text =
            "raw bytes may steer the terminal: send them to a file or a pipe, or give --force";
        return Err(Refusal::usage(text).into());
    }
    if let Some(original) = &args.original {
        let original = desk.original(queue, original).await?;
        if args.raw {
            return raw(&original.body, original.base64.as_deref());
        }
        if screen.json {
            put_json(&original)?;
        } else {
            answer(&(clean::lines(&original.body) + "\n"))?;
        }
        return Ok(Outcome::Done);
    }
    let Some(message) = &args.message else {
        if args.raw {
            return Err(Refusal::usage("--raw: of which message?").into());
        }
        return counts(desk, screen, &args).await;
    };
    let detail = desk.message(queue, &message.digest, message.at).await?;
    if args.raw {
        return raw(&detail.body, detail.base64.as_deref());
    }
    if screen.json {
        put_json(&detail)?;
    } else {
        answer(&shown(&detail, screen))?;
    }
    Ok(Outcome::Done)
}

fn raw(body: &str, base64: Option<&str>) -> anyhow::Result<Outcome> {
    let bytes = match base64 {
        Some(text) => STANDARD.decode(text).context("the base64 cannot be read")?,
        None => body.as_bytes().to_vec(),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes)
        .and_then(|()| out.flush())
        .context("standard output cannot be written to")?;
    Ok(Outcome::Done)
}

fn shown(detail: &Detail, screen: Screen) -> String {
    let message = &detail.message;
    let second = now();
    let mut text = String::new();
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            let name = screen.bold(&format!("{name:<12}"));
            text.push_str(&format!("{name}{}\n", clean::line(&value)));
        }
    };
    fact("id", message.digest.clone());
    let copies = match detail.copies {
        0 | 1 => String::new(),
        copies => format!(", {copies} identical copies"),
    };
    fact(
        "queue",
        format!("{}, place {}{copies}", detail.queue, message.at),
    );
    fact("reason", message.reason.clone());
    fact(
        "now",
        format!("the worker would {} it", would(&detail.disposition)),
    );
    let number = |count: Option<u64>| count.map_or_else(String::new, spell::count);
    fact("retries", number(message.retries));
    fact("replays", number(message.replays));
    if let Some(since) = message.since {
        let at = spell::instant(since.saturating_mul(1_000));
        fact(
            "since",
            format!("{at}, {}", spell::ago(Some(since), second)),
        );
    }
    fact("host", message.host.clone().unwrap_or_default());
    fact("severity", message.severity.clone().unwrap_or_default());
    let id = message.correlation_id.clone();
    fact("correlation", id.unwrap_or_default());
    fact("bytes", spell::count(message.bytes));
    if detail.base64.is_some() {
        fact("body", "no UTF-8; --raw writes its bytes".to_owned());
    }
    if !detail.history.is_empty() {
        let history = screen.table(&audit::table(&detail.history));
        text.push_str(&format!("\n{history}"));
    }
    let body = detail.pretty.as_ref().unwrap_or(&detail.body);
    text.push_str(&format!("\n{}\n", clean::lines(body)));
    text
}

fn would(disposition: &str) -> &str {
    match disposition {
        "dead" => "park",
        other => other,
    }
}

async fn counts(desk: &Desk, screen: Screen, args: &ShowArgs) -> anyhow::Result<Outcome> {
    // A queue of a million takes seconds to count: a little more than one answer may take.
    let scan = args.scan.unwrap_or(1_000_000);
    let detail = desk.queue(&args.queue, Some(scan)).await?;
    if screen.json {
        put_json(&detail)?;
        return Ok(Outcome::Done);
    }
    let mut text = screen.table(&status::queues(std::slice::from_ref(&detail.queue), now()));
    text.push_str(&format!(
        "\n{}",
        screen.table(&counted("reason", &detail.by_reason))
    ));
    text.push_str(&format!("\n{}", screen.table(&by_age(&detail))));
    if !detail.complete {
        let scanned = spell::count(detail.scanned);
        text.push_str(&format!("\nonly the oldest {scanned} were looked at\n"));
    }
    answer(&text)?;
    Ok(Outcome::Done)
}

fn counted(what: &'static str, counts: &BTreeMap<String, u64>) -> Table {
    let mut table = Table::new(&[Column::Left(what), Column::Right("messages")]);
    for (name, count) in counts {
        table.row([name, &spell::count(*count)]);
    }
    table
}

fn by_age(detail: &QueueDetail) -> Table {
    let mut table = Table::new(&[Column::Left("around for"), Column::Right("messages")]);
    for class in ["1m", "10m", "1h", "6h", "1d", "7d", "older", "unknown"] {
        let Some(count) = detail.by_age.get(class) else {
            continue;
        };
        let name = match class {
            "older" | "unknown" => class.to_owned(),
            age => format!("up to {age}"),
        };
        table.row([name, spell::count(*count)]);
    }
    table
}
