//! Counts every message after the demo: where it is, how often, and whether it was altered.

use std::collections::HashMap;
use std::fmt;

use redis::aio::MultiplexedConnection;
use serde_json::value::RawValue;

use super::alerter::{Alerter, PROCESSING};
use super::letters::{Fate, Letter, mark_of};
use super::{DEAD, SOURCE, TARGET};
use crate::dlq::Reason;

/// The result of the count.
pub(super) struct Tally {
    letters: usize,
    handled: usize,
    bounced: u64,
    replays: u64,
    parked: [(Reason, usize); 3],
    unsettled: usize,
    lost: usize,
    doubled: usize,
    altered: usize,
    wrong: usize,
}

impl Tally {
    /// Reads all lists and the alerter's books.
    pub(super) async fn take(
        redis: &mut MultiplexedConnection,
        letters: &[Letter],
        alerter: &Alerter,
    ) -> redis::RedisResult<Self> {
        let books = alerter.audit();
        let dead = list(redis, DEAD).await?;
        let mut unsettled = Vec::new();
        for name in [SOURCE, TARGET, PROCESSING] {
            unsettled.extend(list(redis, name).await?);
        }
        let mut found: HashMap<&[u8], Vec<(&[u8], Place)>> = HashMap::new();
        let places = [
            (&books.handled, Place::Handled),
            (&dead, Place::Dead),
            (&unsettled, Place::Unsettled),
        ];
        for (messages, place) in places {
            for message in messages {
                found
                    .entry(mark_of(message))
                    .or_default()
                    .push((message, place));
            }
        }
        let mut tally = Self {
            letters: letters.len(),
            handled: books.handled.len(),
            bounced: books.bounced,
            replays: books.handled.len() as u64 + books.bounced,
            parked: Reason::OF_DRAIN.map(|reason| (reason, 0)),
            unsettled: unsettled.len(),
            lost: 0,
            doubled: 0,
            altered: 0,
            wrong: 0,
        };
        let mut expected: HashMap<&[u8], Vec<&Letter>> = HashMap::new();
        for letter in letters {
            expected
                .entry(letter.mark.as_bytes())
                .or_default()
                .push(letter);
        }
        for (mark, letters) in expected {
            let places = found.get(mark).map_or(&[][..], |places| places);
            tally.lost += letters.len().saturating_sub(places.len());
            tally.doubled += places.len().saturating_sub(letters.len());
            for (bytes, place) in places {
                tally.judge(letters[0], bytes, *place);
            }
        }
        Ok(tally)
    }

    /// Whether nothing was lost, doubled, altered or put into the wrong list.
    pub(super) fn is_sound(&self) -> bool {
        self.lost + self.doubled + self.altered + self.wrong + self.unsettled == 0
    }

    fn judge(&mut self, letter: &Letter, bytes: &[u8], place: Place) {
        let reason = match letter.kind.fate {
            Fate::Handled => None,
            Fate::Exhausted => Some(Reason::RetriesExhausted),
            Fate::Malformed => Some(Reason::Malformed),
            Fate::Incomplete => Some(Reason::Incomplete),
        };
        match (reason, place) {
            (None, Place::Handled) => {}
            (Some(reason), Place::Dead) => {
                let row = self.parked.iter_mut().find(|(known, _)| *known == reason);
                if let Some((_, count)) = row {
                    *count += 1;
                }
            }
            _ => self.wrong += 1,
        }
        let same = match reason {
            Some(Reason::Malformed) => letter.bytes == bytes,
            _ => members(&letter.bytes) == members(bytes),
        };
        self.altered += usize::from(!same);
    }
}

#[derive(Clone, Copy)]
enum Place {
    Handled,
    Dead,
    Unsettled,
}

async fn list(redis: &mut MultiplexedConnection, name: &str) -> redis::RedisResult<Vec<Vec<u8>>> {
    redis::cmd("LRANGE")
        .arg(name)
        .arg(0)
        .arg(-1)
        .query_async(redis)
        .await
}

/// The members beyond the stamp, each value as it is spelt.
fn members(bytes: &[u8]) -> Option<HashMap<String, String>> {
    let all: HashMap<String, Box<RawValue>> = serde_json::from_slice(bytes).ok()?;
    let kept = all
        .into_iter()
        .filter(|(name, _)| name != "_retry_count" && !name.starts_with("_remediation_"));
    Some(
        kept.map(|(name, value)| (name, value.get().to_owned()))
            .collect(),
    )
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row =
            |name: &str, count: u64, note: &str| writeln!(f, "{name:<28}{count:>8}  {note}");
        row("dead letters", self.letters as u64, "")?;
        row("replays", self.replays, "a letter may take several")?;
        row(
            "  came back",
            self.bounced,
            "the alerter failed on them again",
        )?;
        row("handled", self.handled as u64, "by the alerter, in the end")?;
        for (reason, count) in self.parked {
            row(
                &format!("parked: {}", reason.as_str()),
                count as u64,
                "in mutt:dlq:dead",
            )?;
        }
        row("not settled", self.unsettled as u64, "")?;
        row("lost", self.lost as u64, "")?;
        row("doubled", self.doubled as u64, "")?;
        row("altered beyond the stamp", self.altered as u64, "")?;
        row("in the wrong list", self.wrong as u64, "")
    }
}
