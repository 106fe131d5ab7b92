//! What has arrived in the source since one last looked: replays that came back. Reads only.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use super::envelope::{Envelope, Fields, REMEDIATION_AT};
use super::redis::Script;
use crate::link::{self, Link, LinkConfig};

/// Entries that are read first; each further piece is four times as long.
const FIRST: u64 = 16;
/// Entries of a piece, at most.
const PIECE: u64 = 64;
/// Bytes of entries after which a piece ends: Redis does nothing else meanwhile.
const PIECE_BYTES: u64 = 256 * 1024;
/// Entries that are read at one look, at most. More than that are as bad as that many.
const MOST: u64 = 1_000;
/// Bytes of entries after which a look ends.
const MOST_BYTES: u64 = 4 * 1024 * 1024;
/// An entry up to this size is read whole; of a longer one its stamp is looked for, in bytes.
const WHOLE: u64 = 16 * 1024;
/// The youngest entries by which the next look knows where it has got to, at most.
const MARKS: usize = 8;

/// Watches the left end of the source over a line of its own.
#[derive(Debug)]
pub struct Arrivals {
    link: Link,
    source: String,
    fields: Fields,
    /// What lay at the left end when it was last looked at.
    known: Option<Known>,
}

/// Replays that have arrived in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameBack {
    /// When each was replayed, in Unix seconds.
    pub replayed: Vec<i64>,
    /// Whether these are all: false where there was more than one looks at, or a stamp could not be
    /// read.
    pub complete: bool,
}

impl Default for CameBack {
    /// Nothing came back.
    fn default() -> Self {
        Self {
            replayed: vec![],
            complete: true,
        }
    }
}

/// The left end of the source at one moment.
#[derive(Debug)]
struct Known {
    /// Digests of the youngest entries, the youngest first.
    marks: Vec<u64>,
    depth: u64,
}

/// Length in bytes, the entry or its ends, and what follows the names of its stamp if it is long.
type Arrived = (u64, Vec<u8>, Vec<u8>, Vec<u8>);

/// What the stamp of an entry says.
enum Stamp {
    /// It was never replayed.
    None,
    /// It was replayed in this second.
    At(i64),
    /// It may have been replayed.
    Unreadable,
}

impl Arrivals {
    /// A line that has not connected yet.
    #[must_use]
    pub fn new(redis: LinkConfig, source: &str, fields: Fields) -> Self {
        Self {
            link: Link::new(redis, source),
            source: source.to_owned(),
            fields,
            known: None,
        }
    }

    /// Which replays have arrived since the last look. The first look only takes note of what lies
    /// there. A look reads at most 1,000 entries and hardly more than 4 MiB, in pieces of 256 KiB;
    /// a larger entry is a piece of its own.
    ///
    /// # Errors
    /// The connection, or the source's refusal; the next look tells of these entries too.
    pub async fn replays_that_came_back(&mut self) -> Result<CameBack, link::Error> {
        let mut count = FIRST;
        let (mut depth, mut piece) = self.piece(0, u64::MAX, count, PIECE_BYTES).await?;
        let now = Known {
            marks: piece.iter().take(MARKS).map(digest).collect(),
            depth,
        };
        let Some(known) = &self.known else {
            self.known = Some(now);
            return Ok(CameBack::default());
        };
        let mut run = Run::new(known, depth);
        let mut stamps = vec![];
        let mut bytes = 0;
        let mut from = 0;
        let (new, all) = loop {
            for arrived in &piece {
                bytes += arrived.0;
                stamps.push(self.stamp(arrived));
                run.digests.push(digest(arrived));
            }
            from += piece.len() as u64;
            let is_whole = from >= depth || piece.is_empty();
            if let Some(new) = run.known_from(is_whole) {
                break (new, true);
            }
            if stamps.len() as u64 >= MOST || bytes >= MOST_BYTES {
                break (run.best.unwrap_or(stamps.len()), false);
            }
            count = (count * 4).min(PIECE).min(MOST - stamps.len() as u64);
            let budget = PIECE_BYTES.min(MOST_BYTES - bytes);
            let before = depth;
            (depth, piece) = self.piece(from, before, count, budget).await?;
            from += depth.saturating_sub(before);
        };
        let mut came_back = CameBack {
            replayed: vec![],
            complete: all,
        };
        for stamp in stamps.into_iter().take(new) {
            match stamp {
                Stamp::None => {}
                Stamp::At(second) => came_back.replayed.push(second),
                Stamp::Unreadable => came_back.complete = false,
            }
        }
        self.known = Some(now);
        Ok(came_back)
    }

    /// So many entries have been taken from the other end of the source.
    pub fn taken(&mut self, count: u64) {
        if let Some(known) = &mut self.known {
            known.depth = known.depth.saturating_sub(count);
        }
    }

    /// Depth of the source, and its entries from this position on, as of when the depth was
    /// `counted`; at least one, if there is one.
    async fn piece(
        &mut self,
        from: u64,
        counted: u64,
        count: u64,
        bytes: u64,
    ) -> Result<(u64, Vec<Arrived>), link::Error> {
        let mut command = ARRIVALS.command(&[&self.source]);
        command.arg(from).arg(counted).arg(count).arg(bytes);
        command.arg(WHOLE);
        ARRIVALS.call(&mut self.link, &command).await
    }

    fn stamp(&self, (length, bytes, at, count): &Arrived) -> Stamp {
        if *length > WHOLE {
            return stamp_of_long(at, count);
        }
        let Ok(envelope) = Envelope::read(bytes, &self.fields) else {
            // Somebody may have spoilt it since.
            let text = String::from_utf8_lossy(bytes);
            return if text.contains(REMEDIATION_AT) {
                Stamp::Unreadable
            } else {
                Stamp::None
            };
        };
        match envelope.replayed_at() {
            _ if envelope.remediation_count() == 0 => Stamp::None,
            Some(second) => Stamp::At(second),
            None => Stamp::Unreadable,
        }
    }
}

/// From what follows the names. Where a name is mentioned more than once the last one counts, even
/// if it lies deeper.
fn stamp_of_long(at: &[u8], count: &[u8]) -> Stamp {
    if at.is_empty() || count.is_empty() {
        return Stamp::None;
    }
    match (number(at), number(count)) {
        (_, Some(0)) => Stamp::None,
        (Some(second), Some(_)) => Stamp::At(second),
        _ => Stamp::Unreadable,
    }
}

/// The digits behind a colon.
fn number(text: &[u8]) -> Option<i64> {
    let value = text
        .trim_ascii_start()
        .strip_prefix(b":")?
        .trim_ascii_start();
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    std::str::from_utf8(&value[..digits]).ok()?.parse().ok()
}

/// What one has read of the left end, compared with what was known of it.
struct Run {
    marks: Vec<u64>,
    /// So many entries are new at least, by the depth.
    least: usize,
    digests: Vec<u64>,
    /// Up to here it was compared.
    next: usize,
    /// How many are new if no more are.
    best: Option<usize>,
}

impl Run {
    fn new(known: &Known, depth: u64) -> Self {
        let least = depth.saturating_sub(known.depth);
        Self {
            marks: known.marks.clone(),
            least: usize::try_from(least).unwrap_or(usize::MAX),
            digests: vec![],
            next: 0,
            best: None,
        }
    }

    /// From which entry on all were known; `None` if that has not been read yet. Bounces may be
    /// equal to each other byte for byte, so that the marks alone do not tell.
    fn known_from(&mut self, is_whole: bool) -> Option<usize> {
        let marks = self.marks.as_slice();
        let needed = if is_whole { 0 } else { marks.len().max(1) };
        while self.next + needed <= self.digests.len() {
            let rest = &self.digests[self.next..];
            let is_known = !marks.is_empty() && rest.starts_with(marks);
            // Of what was known the older part may have been taken away.
            if is_known || (is_whole && marks.starts_with(rest)) {
                self.best = Some(self.next);
            }
            if self.best.is_some() && self.next >= self.least {
                return self.best;
            }
            self.next += 1;
        }
        if is_whole { self.best } else { None }
    }
}

fn digest(arrived: &Arrived) -> u64 {
    let mut hasher = DefaultHasher::new();
    arrived.hash(&mut hasher);
    hasher.finish()
}

static ARRIVALS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("arrivals.lua")));
