//! `audit`: who did what.

use clap::Args;

use super::desk::Desk;
use super::list::short;
use super::screen::{Screen, answer, put_json};
use super::table::{Column, Table};
use super::{Outcome, clean, spell};
use crate::operate::wire::{AuditEntry, AuditRequest};

#[derive(Args, Clone, Debug)]
pub(crate) struct AuditArgs {
    /// Entries, at most; 1 to 500
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: u64,
    /// Go on where a list ended
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// Only commit, parked, act, gate or refused
    #[arg(long)]
    kind: Option<String>,
    /// Only what this operator did
    #[arg(long)]
    who: Option<String>,
    /// Only what concerns this message
    #[arg(long)]
    digest: Option<String>,
    /// Only what concerns this correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
}

pub(super) async fn run(desk: &Desk, screen: Screen, args: AuditArgs) -> anyhow::Result<Outcome> {
    let request = AuditRequest {
        limit: Some(args.limit),
        before: args.before,
        kind: args.kind,
        who: args.who,
        digest: args.digest,
        correlation_id: args.correlation_id,
    };
    let page = desk.audit(&request).await?;
    if screen.json {
        put_json(&page)?;
        return Ok(Outcome::Done);
    }
    let mut text = screen.table(&table(&page.entries));
    text.push_str(&spell::of(page.entries.len() as u64, "line"));
    if let Some(next) = &page.next {
        text.push_str(&format!("; older ones with --before {}", clean::line(next)));
    }
    answer(&(text + "\n"))?;
    Ok(Outcome::Done)
}

/// Entries as a table.
pub(super) fn table(entries: &[AuditEntry]) -> Table {
    let mut table = Table::new(&[
        Column::Left("when"),
        Column::Left("kind"),
        Column::Left("who"),
        Column::Left("what"),
    ]);
    for entry in entries {
        let field = |name: &str| entry.fields.get(name).cloned();
        let who = field("who").or_else(|| field("instance"));
        table.row([
            spell::instant(entry.at_ms),
            entry.kind.clone(),
            who.unwrap_or_default(),
            what(entry),
        ]);
    }
    table
}

/// What an entry tells of, the most telling first.
fn what(entry: &AuditEntry) -> String {
    let leading = [
        "act", "action", "source", "queue", "key", "value", "outcome", "state", "reason",
    ];
    // These stand in columns of their own, or say the same again.
    let hidden = ["who", "instance", "list", "kind"];
    let fields = &entry.fields;
    let mut parts: Vec<String> = leading
        .iter()
        .filter_map(|name| fields.get(*name).cloned())
        .filter(|value| !value.is_empty())
        .collect();
    let told = entry.messages.iter();
    parts.extend(told.map(|message| {
        let mut text = format!("{} {}", message.disposition, short(&message.digest));
        if !message.reason.is_empty() {
            text.push_str(&format!(" ({})", message.reason));
        }
        if let Some(after) = &message.after {
            text.push_str(&format!(" as {}", short(after)));
        }
        text
    }));
    if let Some(first) = entry.digests.first() {
        parts.push(match entry.digests.len() - 1 {
            0 => short(first).to_owned(),
            more => format!("{} and {more} more", short(first)),
        });
    }
    let others = fields
        .iter()
        .filter(|(name, _)| !leading.contains(&name.as_str()) && !hidden.contains(&name.as_str()));
    parts.extend(others.map(|(name, value)| format!("{name}={value}")));
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::wire::AuditMessage;

    #[test]
    fn an_entry_is_one_line_whatever_it_says() {
        let fields = [
            ("act", "replay"),
            ("who", "a\x1b[31m"),
            ("queue", "alerter"),
            ("run", "r\n1"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let entry = AuditEntry {
            id: "1-0".into(),
            at_ms: 1_700_000_000_000,
            kind: "act".into(),
            fields: fields.into(),
            digests: vec!["b".repeat(16); 3],
            messages: vec![AuditMessage {
                disposition: "replay".into(),
                digest: "a".repeat(40),
                ..AuditMessage::default()
            }],
        };
        assert_eq!(
            table(&[entry]).lines(None)[1],
            "2023-11-14T22:13:20Z  act   a␛[31m  replay alerter replay aaaaaaaaaaaa bbbbbbbbbbbb and 2 more run=r␊1"
        );
    }
}
