//! `top`: a live view of queues, gates and acts.

use std::collections::{BTreeMap, VecDeque};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::screen::{Screen, answer, put_json, size};
use super::table::{Column, Table, cut};
use super::{Outcome, audit, clean, say, spell, status};
use crate::operate::wire::{AuditEntry, AuditRequest, QueueView, Status};
use crate::shutdown::Signals;

/// Entries of the audit that are read at each look, and those that are shown.
const READ: u64 = 50;
const SHOWN: usize = 8;

/// Another screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

#[derive(Args, Clone, Debug)]
pub(crate) struct TopArgs {
    /// From one look to the next, such as 2s
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = spell::duration)]
    interval: u64,
}

pub(super) async fn run(desk: &Desk, screen: Screen, args: TopArgs) -> anyhow::Result<Outcome> {
    let mut view = View::default();
    if screen.json || !std::io::stdout().is_terminal() {
        view.look(desk).await;
        let well = view.now.as_ref().is_some_and(|now| now.redis == "up");
        match &view.now {
            Some(now) if screen.json => put_json(now)?,
            _ => answer(&(view.shown(screen).join("\n") + "\n"))?,
        }
        return Ok(if well { Outcome::Done } else { Outcome::Failed });
    }
    let signals = Signals::catch().context("cannot catch signals")?;
    let ended = CancellationToken::new();
    let _restored_at_the_end = Alternate::enter();
    let looking = async {
        let mut next = interval(Duration::from_secs(args.interval.max(1)));
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            next.tick().await;
            view.look(desk).await;
            draw(&view.shown(Screen::new(false)));
        }
    };
    tokio::select! {
        () = looking => {}
        () = signals.watch(ended.clone()) => {}
        () = ended.cancelled() => {}
    }
    Ok(Outcome::Done)
}

/// The other screen of the terminal, for as long as this lives.
struct Alternate;

impl Alternate {
    fn enter() -> Self {
        say(&mut std::io::stdout(), ENTER);
        Self
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        say(&mut std::io::stdout(), LEAVE);
    }
}

/// Draws over what was there, so that nothing flickers.
fn draw(lines: &[String]) {
    let (_, rows) = size();
    let mut text = "\x1b[H".to_owned();
    for (number, line) in lines.iter().take(rows).enumerate() {
        if number > 0 {
            text.push_str("\r\n");
        }
        text.push_str(line);
        text.push_str("\x1b[K");
    }
    text.push_str("\x1b[J");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// What was seen at the last two looks.
#[derive(Default)]
struct View {
    before: Option<Status>,
    now: Option<Status>,
    /// The last acts, newest first.
    acts: VecDeque<AuditEntry>,
    problem: Option<String>,
}

impl View {
    async fn look(&mut self, desk: &Desk) {
        self.problem = None;
        match desk.status().await {
            Ok(status) => {
                if let Some(last) = self.now.replace(status)
                    && last.redis == "up"
                {
                    self.before = Some(last);
                }
            }
            Err(refusal) => {
                self.problem = Some(refusal.text);
                return;
            }
        }
        let request = AuditRequest {
            limit: Some(READ),
            ..AuditRequest::default()
        };
        match desk.audit(&request).await {
            Ok(page) => self.remember(page.entries),
            Err(refusal) => self.problem = Some(refusal.text),
        }
    }

    /// Keeps the last acts, which the many batches of drains and runs would push out of view.
    fn remember(&mut self, entries: Vec<AuditEntry>) {
        let known: Vec<String> = self.acts.iter().map(|entry| entry.id.clone()).collect();
        let new = entries.into_iter().filter(|entry| !is_batch(entry));
        let new: Vec<AuditEntry> = new.filter(|entry| !known.contains(&entry.id)).collect();
        for entry in new.into_iter().rev() {
            self.acts.push_front(entry);
        }
        self.acts.truncate(SHOWN);
    }

    fn shown(&self, screen: Screen) -> Vec<String> {
        let mut lines = vec![];
        let width = screen.width.unwrap_or(usize::MAX);
        if let Some(now) = &self.now {
            let at = spell::instant(now.now.saturating_mul(1_000));
            lines.push(format!("{}  {at}", status::head(now, screen)));
            lines.push(String::new());
            add(&mut lines, &queues(now, self.before.as_ref()), screen);
            if !now.drains.is_empty() {
                add(&mut lines, &status::drains(&now.drains, now.now), screen);
            }
        }
        if let Some(problem) = &self.problem {
            lines.push(screen.red(&cut(&clean::line(problem), width)));
            lines.push(String::new());
        }
        let acts: Vec<AuditEntry> = self.acts.iter().cloned().collect();
        if !acts.is_empty() {
            add(&mut lines, &audit::table(&acts), screen);
        }
        lines.pop();
        lines
    }
}

/// Whether it tells of one batch among many.
fn is_batch(entry: &AuditEntry) -> bool {
    let of_run = entry.fields.get("act").is_some_and(|act| act == "run");
    entry.kind == "commit" || of_run
}

fn add(lines: &mut Vec<String>, table: &Table, screen: Screen) {
    lines.extend(screen.table(table).lines().map(str::to_owned));
    lines.push(String::new());
}

/// The queues with how fast they grow or shrink.
fn queues(now: &Status, before: Option<&Status>) -> Table {
    let mut table = Table::new(&[
        Column::Left("queue"),
        Column::Right("depth"),
        Column::Right("a second"),
        Column::Right("oldest"),
        Column::Right("empty in"),
        Column::Left("paused"),
        Column::Left("run"),
    ]);
    let earlier: BTreeMap<&str, u64> = before
        .iter()
        .flat_map(|status| &status.queues)
        .map(|view| (view.queue.as_str(), view.depth))
        .collect();
    for view in &now.queues {
        let seconds = before.map_or(0, |before| now.now - before.now);
        let rate = earlier
            .get(view.queue.as_str())
            .and_then(|depth| rate(*depth, view.depth, seconds));
        table.row([
            view.queue.clone(),
            spell::count(view.depth),
            rate.map_or_else(String::new, |rate| format!("{rate:+.1}")),
            spell::ago(view.oldest_since, now.now),
            rate.and_then(|rate| empty_in(view, rate))
                .unwrap_or_default(),
            status::paused(view, now.now),
            view.run.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// Messages a second that a queue grows by.
fn rate(before: u64, now: u64, seconds: i64) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "for people, who read three digits of it"
    )]
    let rate = (seconds > 0).then(|| (now as f64 - before as f64) / seconds as f64);
    rate.map(|rate| if rate == 0.0 { 0.0 } else { rate })
}

/// When a queue is empty at this rate.
fn empty_in(view: &QueueView, rate: f64) -> Option<String> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of seconds, for people"
    )]
    (rate < 0.0 && view.depth > 0).then(|| spell::seconds((view.depth as f64 / -rate) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(now: i64, depth: u64) -> Status {
        Status {
            instance: "a\x1b[2J".into(),
            version: "1".into(),
            now,
            redis: "up".into(),
            drains: vec![],
            queues: vec![QueueView {
                queue: "alerter".into(),
                list: "mutt:dlq:alerter".into(),
                role: "source".into(),
                source: "alerter".into(),
                target: "t".into(),
                depth,
                oldest_since: None,
                paused: None,
                run: None,
            }],
        }
    }

    #[test]
    fn rates_come_from_two_looks() {
        let lines = queues(&status(104, 1_000), Some(&status(100, 3_000))).lines(None);
        assert_eq!(lines[1], "alerter  1,000    -500.0                2s");
        let lines = queues(&status(104, 3_000), Some(&status(100, 1_000))).lines(None);
        assert!(lines[1].contains("+500.0"), "{lines:?}");
        let lines = queues(&status(104, 3_000), None).lines(None);
        assert_eq!(lines[1], "alerter  3,000");
        assert_eq!(rate(1, 2, 0), None, "two looks in one second");
    }

    #[test]
    fn the_view_steers_nothing_and_outlives_a_daemon_that_went() {
        let mut view = View {
            now: Some(status(100, 1)),
            problem: Some("gone\x1b[31m".into()),
            ..View::default()
        };
        view.remember(vec![]);
        let text = view.shown(Screen::new(false)).join("\n");
        assert!(
            text.contains("a␛[2J") && text.contains("gone␛[31m"),
            "{text}"
        );
        assert!(text.contains("alerter"), "{text}");
    }

    #[test]
    fn acts_stay_in_view_while_the_drain_is_busy() {
        let entry = |id: &str, kind: &str| AuditEntry {
            id: id.into(),
            at_ms: 0,
            kind: kind.into(),
            digests: vec![],
            fields: BTreeMap::new(),
            messages: vec![],
        };
        let mut view = View::default();
        view.remember(vec![entry("2-0", "act"), entry("1-0", "gate")]);
        view.remember(vec![entry("3-0", "commit"), entry("2-0", "act")]);
        view.remember(vec![entry("5-0", "parked"), entry("4-0", "commit")]);
        let mut batch = entry("6-0", "act");
        batch.fields.insert("act".into(), "run".into());
        view.remember(vec![batch]);
        let ids: Vec<&str> = view.acts.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["5-0", "2-0", "1-0"]);
    }
}
