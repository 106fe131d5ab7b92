//! What has arrived in the source since one last looked: replays that came back. Reads only.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use super::envelope::{Envelope, Fields};
use super::redis::Script;
use crate::link::{self, Link, LinkConfig};

/// Entries that are read first; each further piece is four times as long.
const FIRST: u64 = 16;
/// Entries that are read at one look, at most. More than that are as bad as that many.
const MOST: u64 = 1_000;
/// Bytes of an entry that are looked at.
const BYTES: u64 = 16 * 1024;

/// Watches the left end of the source over a line of its own.
#[derive(Debug)]
pub struct Arrivals {
    link: Link,
    source: String,
    fields: Fields,
    /// What lay at the left end when it was last looked at.
    newest: Newest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newest {
    NotLooked,
    Nothing,
    /// An entry with this digest.
    Entry(u64),
}

impl Arrivals {
    /// A line that has not connected yet.
    #[must_use]
    pub fn new(redis: LinkConfig, source: &str, fields: Fields) -> Self {
        Self {
            link: Link::new(redis, source),
            source: source.to_owned(),
            fields,
            newest: Newest::NotLooked,
        }
    }

    /// When those of the entries that have arrived since the last look were replayed, in Unix
    /// seconds. The first look only takes note of what lies there.
    ///
    /// # Errors
    /// The connection, or the source's refusal; the next look tells of these entries too.
    pub async fn replays_that_came_back(&mut self) -> Result<Vec<i64>, link::Error> {
        let first_look = self.newest == Newest::NotLooked;
        let mut newest = None;
        let mut replayed = vec![];
        let mut from = 0;
        let mut count = if first_look { 1 } else { FIRST };
        'pieces: loop {
            let mut command = ARRIVALS.command(&[&self.source]);
            command.arg(from).arg(count).arg(BYTES);
            let piece: Vec<Vec<u8>> = ARRIVALS.call(&mut self.link, &command).await?;
            for entry in &piece {
                let digest = digest(entry);
                newest.get_or_insert(Newest::Entry(digest));
                if first_look || self.newest == Newest::Entry(digest) {
                    break 'pieces;
                }
                let envelope = Envelope::read(entry, &self.fields).ok();
                let envelope = envelope.filter(|envelope| envelope.remediation_count() > 0);
                replayed.extend(envelope.and_then(|envelope| envelope.replayed_at()));
            }
            from += count;
            if (piece.len() as u64) < count || from >= MOST {
                break;
            }
            count = (count * 4).min(MOST - from);
        }
        self.newest = newest.unwrap_or(Newest::Nothing);
        Ok(replayed)
    }
}

fn digest(entry: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.hash(&mut hasher);
    hasher.finish()
}

static ARRIVALS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("arrivals.lua")));
