//! `ls`: the queues, or the messages of one.

use clap::Args;
use indicatif::ProgressBar;

use super::desk::Desk;
use super::options::FilterArgs;
use super::refusal::Refusal;
use super::screen::{Screen, answer, json_line, put, put_json};
use super::table::{Column, Table};
use super::{Outcome, clean, is_interactive, now, spell, status};
use crate::operate::wire::{Filter, Message, Page, PageRequest};

/// Messages of one page, at most.
const PAGE: u64 = 500;

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Queue to look into, such as alerter or dead; without one the queues are listed
    queue: Option<String>,
    /// Messages to list, at most; 0 = all
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: u64,
    /// Begin with the youngest
    #[arg(long)]
    newest: bool,
    /// Go on where a list ended
    #[arg(long)]
    cursor: Option<String>,
    /// Look at so many messages, at most
    #[arg(long, value_name = "MESSAGES")]
    scan: Option<u64>,
    /// Only count them
    #[arg(long, conflicts_with_all = ["limit", "newest", "csv", "ndjson"])]
    count: bool,
    /// As lines for a spreadsheet
    #[arg(long, conflicts_with_all = ["json", "ndjson"])]
    csv: bool,
    /// As a JSON object on a line for each message, while they are found
    #[arg(long, conflicts_with = "json")]
    ndjson: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) async fn run(desk: &Desk, screen: Screen, args: ListArgs) -> anyhow::Result<Outcome> {
    let Some(queue) = args.queue.clone() else {
        return queues(desk, screen, args).await;
    };
    let limit = if args.limit == 0 || args.count {
        u64::MAX
    } else {
        args.limit
    };
    let mut way = Way {
        request: PageRequest {
            limit: None,
            cursor: args.cursor,
            newest_first: args.newest,
            scan: None,
        },
        desk,
        queue,
        filter: args.filter.into(),
        limit,
        scan: args.scan.unwrap_or(u64::MAX),
    };
    if args.count {
        return count(way, screen).await;
    }
    if args.ndjson {
        way.walk(|page| {
            let lines = page.messages.iter().map(json_line);
            put(&lines.collect::<anyhow::Result<String>>()?)
        })
        .await?;
        return Ok(Outcome::Done);
    }
    if args.csv {
        put(&(CSV.join(",") + "\n"))?;
        way.walk(|page| put(&page.messages.iter().map(csv).collect::<String>()))
            .await?;
        return Ok(Outcome::Done);
    }
    let mut messages = vec![];
    let mut page = way
        .walk(|page| {
            messages.append(&mut page.messages);
            Ok(())
        })
        .await?;
    page.messages = messages;
    if screen.json {
        put_json(&page)?;
        return Ok(Outcome::Done);
    }
    let mut text = String::new();
    if !page.messages.is_empty() {
        text = screen.table(&table(&page.messages, now()));
    }
    text.push_str(&foot(&page));
    answer(&text)?;
    Ok(Outcome::Done)
}

async fn queues(desk: &Desk, screen: Screen, args: ListArgs) -> anyhow::Result<Outcome> {
    let filter: Filter = args.filter.into();
    if !filter.is_empty() || args.csv || args.ndjson || args.count || args.cursor.is_some() {
        let text = "which queue? `ls` without options names them";
        return Err(Refusal::usage(text).into());
    }
    let queues = desk.queues().await?;
    if screen.json {
        put_json(&queues)?;
    } else {
        answer(&screen.table(&status::queues(&queues, now())))?;
    }
    Ok(Outcome::Done)
}

async fn count(mut way: Way<'_>, screen: Screen) -> anyhow::Result<Outcome> {
    let mut matched = 0;
    let bar = bar();
    let page = way
        .walk(|page| {
            matched += page.messages.len() as u64;
            bar.set_message(format!(
                "{} found among {}",
                spell::count(matched),
                spell::count(page.scanned)
            ));
            Ok(())
        })
        .await;
    bar.finish_and_clear();
    let page = page?;
    if screen.json {
        let complete = page.next.is_none();
        put_json(&serde_json::json!({
            "queue": page.queue,
            "depth": page.depth,
            "matched": matched,
            "scanned": page.scanned,
            "complete": complete,
        }))?;
    } else {
        let (scanned, depth) = (spell::count(page.scanned), spell::count(page.depth));
        let found = spell::of(matched, "message");
        answer(&format!("{found} (looked at {scanned} of {depth})\n"))?;
    }
    Ok(Outcome::Done)
}

/// Page after page of a queue.
struct Way<'a> {
    desk: &'a Desk,
    queue: String,
    filter: Filter,
    request: PageRequest,
    /// Messages that are wanted, at most.
    limit: u64,
    /// Messages that may be looked at.
    scan: u64,
}

impl Way<'_> {
    /// Hands over page after page until there are enough messages. What it returns is the last page
    /// without its messages, with all that was looked at.
    async fn walk(
        &mut self,
        mut each: impl FnMut(&mut Page) -> anyhow::Result<()>,
    ) -> anyhow::Result<Page> {
        let (mut found, mut scanned, mut steady) = (0, 0, true);
        loop {
            self.request.limit = Some((self.limit - found).min(PAGE));
            self.request.scan = Some((self.scan - scanned).clamp(1, 100_000));
            let page = self.desk.messages(&self.queue, &self.filter, &self.request);
            let mut page = page.await?;
            found += page.messages.len() as u64;
            scanned += page.scanned;
            steady &= page.steady;
            page.scanned = scanned;
            page.steady = steady;
            each(&mut page)?;
            page.messages.clear();
            if page.next.is_none() || found >= self.limit || scanned >= self.scan {
                return Ok(page);
            }
            self.request.cursor.clone_from(&page.next);
        }
    }
}

fn bar() -> ProgressBar {
    if is_interactive() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    }
}

/// What stands below a list.
fn foot(page: &Page) -> String {
    let (scanned, depth) = (spell::count(page.scanned), spell::count(page.depth));
    let found = spell::of(page.messages.len() as u64, "message");
    let mut text = format!("{found} (looked at {scanned} of {depth})");
    if let Some(next) = &page.next {
        text.push_str(&format!("; more with --cursor {}", clean::line(next)));
    }
    if !page.steady {
        text.push_str("; others were at work there, so some may be missing or shown twice");
    }
    text + "\n"
}

/// Messages as a table.
pub(super) fn table(messages: &[Message], now: i64) -> Table {
    let mut table = Table::new(&[
        Column::Whole("id"),
        Column::Right("at"),
        Column::Right("age"),
        Column::Left("reason"),
        Column::Right("retries"),
        Column::Right("replays"),
        Column::Left("host"),
        Column::Left("severity"),
        Column::Left("message"),
    ]);
    let number = |value: Option<u64>| value.map_or_else(String::new, spell::count);
    for message in messages {
        table.row([
            short(&message.digest).to_owned(),
            message.at.to_string(),
            spell::ago(message.since, now),
            message.reason.clone(),
            number(message.retries),
            number(message.replays),
            message.host.clone().unwrap_or_default(),
            message.severity.clone().unwrap_or_default(),
            message.summary.clone(),
        ]);
    }
    table
}

/// Enough of a digest for people.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

const CSV: [&str; 11] = [
    "digest",
    "at",
    "bytes",
    "reason",
    "retries",
    "replays",
    "since",
    "host",
    "severity",
    "correlation_id",
    "summary",
];

fn csv(message: &Message) -> String {
    let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let text = |value: &Option<String>| clean::csv(value.as_deref().unwrap_or(""));
    let since = message.since;
    let cells = [
        clean::csv(&message.digest),
        message.at.to_string(),
        message.bytes.to_string(),
        clean::csv(&message.reason),
        number(message.retries),
        number(message.replays),
        since.map_or_else(String::new, |since| {
            spell::instant(since.saturating_mul(1_000))
        }),
        text(&message.host),
        text(&message.severity),
        text(&message.correlation_id),
        clean::csv(&message.summary),
    ];
    cells.join(",") + "\n"
}
