//! `status`: how things stand.

use super::desk::Desk;
use super::screen::{Screen, answer, put_json};
use super::table::{Column, Table};
use super::{Outcome, clean, spell};
use crate::operate::wire::{DrainStatus, QueueView, Status};

pub(super) async fn run(desk: &Desk, screen: Screen) -> anyhow::Result<Outcome> {
    let status = desk.status().await?;
    let well = status.redis == "up";
    if screen.json {
        put_json(&status)?;
    } else {
        answer(&shown(&status, screen))?;
    }
    Ok(if well { Outcome::Done } else { Outcome::Failed })
}

fn shown(status: &Status, screen: Screen) -> String {
    let mut text = head(status, screen) + "\n";
    if !status.queues.is_empty() {
        text.push_str(&format!(
            "\n{}",
            screen.table(&queues(&status.queues, status.now))
        ));
    }
    if !status.drains.is_empty() {
        text.push_str(&format!(
            "\n{}",
            screen.table(&drains(&status.drains, status.now))
        ));
    }
    text
}

/// Who answers, and whether Redis does.
pub(super) fn head(status: &Status, screen: Screen) -> String {
    let redis = clean::line(&status.redis);
    let redis = if redis == "up" {
        screen.green(&redis)
    } else {
        screen.red(&redis)
    };
    let instance = clean::line(&status.instance);
    let version = clean::line(&status.version);
    format!("{instance}, version {version}; redis: {redis}")
}

/// The queues as a table.
pub(super) fn queues(queues: &[QueueView], now: i64) -> Table {
    let mut table = Table::new(&[
        Column::Left("queue"),
        Column::Left("list"),
        Column::Right("depth"),
        Column::Right("oldest"),
        Column::Left("paused"),
        Column::Left("run"),
    ]);
    for view in queues {
        table.row([
            view.queue.clone(),
            view.list.clone(),
            spell::count(view.depth),
            spell::ago(view.oldest_since, now),
            paused(view, now),
            view.run.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// By whom, why, and for how long yet.
pub(super) fn paused(view: &QueueView, now: i64) -> String {
    view.paused.as_ref().map_or_else(String::new, |pause| {
        let by = if pause.by.is_empty() { "?" } else { &pause.by };
        let left = pause.until.map_or_else(String::new, |until| {
            let left = (until - now).max(0).cast_unsigned();
            format!(", {} left", spell::seconds(left))
        });
        format!("{} ({by}{left})", pause.reason)
    })
}

/// The drains as a table.
pub(super) fn drains(drains: &[DrainStatus], now: i64) -> Table {
    let mut table = Table::new(&[
        Column::Left("drain"),
        Column::Left("gate"),
        Column::Left("why"),
        Column::Left("pace"),
        Column::Right("batch"),
        Column::Right("bounced"),
        Column::Right("trial in"),
        Column::Left("last pass"),
    ]);
    for drain in drains {
        let last = drain.passes.first().map_or_else(String::new, |pass| {
            let ago = spell::ago(Some(pass.at), now);
            let (replayed, dead) = (spell::count(pass.replayed), spell::count(pass.dead));
            format!(
                "{} {ago} ago, {replayed} replayed, {dead} dead",
                pass.outcome
            )
        });
        let bounced = drain.bounce_ratio;
        table.row([
            drain.source.clone(),
            drain.gate.clone(),
            drain.why.clone(),
            drain.pace.clone(),
            spell::count(drain.batch_size),
            bounced.map_or_else(String::new, |ratio| format!("{:.0} %", ratio * 100.0)),
            drain.next_trial.map_or_else(String::new, spell::seconds),
            last,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::wire::PauseView;

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        let view = QueueView {
            queue: "alerter".into(),
            list: "mutt:\x1b[2J".into(),
            role: "source".into(),
            source: "alerter".into(),
            target: "t".into(),
            depth: 1_234,
            oldest_since: Some(40),
            paused: Some(PauseView {
                reason: "db\x07 down".into(),
                by: String::new(),
                since: 50,
                until: Some(160),
            }),
            run: None,
        };
        let lines = queues(&[view], 100).lines(None);
        assert_eq!(
            lines[1],
            "alerter  mutt:␛[2J  1,234   1m00s  db␇ down (?, 1m00s left)"
        );
    }
}
