//! Moves messages that an operator means, wherever they lie in their list: brings them to its old
//! end, and lets the drain's own peek and commit take them from there.

use super::Error;
use super::queues::Queue;
use super::store::Store;
use crate::audit::{Trail, digest};
use crate::dlq::redis::Limits;
use crate::dlq::{self, Committed, Entry, Proviso, Transfer, queue};

/// Bytes in a batch, at most; a larger message travels alone.
pub(crate) const BYTES: u64 = 8 * 1024 * 1024;

/// What one script may take of Redis's time, in nanoseconds.
const SCRIPT: u64 = 1_000_000;

/// What it takes to get one place further in a list of messages of a kilobyte, in nanoseconds;
/// measured with `LINDEX` in the middle of a million.
pub(super) const PLACE: u64 = 1;

/// What it takes to bring a message to the old end besides, in nanoseconds, and for each of its
/// bytes, which are copied and digested; from what `make operate` has Redis do.
const BRING: u64 = 15_000;
const BYTE: u64 = 10;

/// A message that is meant, and where it lies, counted from the oldest.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its place.
    pub at: u64,
    /// What becomes of it.
    pub transfer: Transfer,
}

/// How a move ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// All of them were moved.
    All,
    /// Others were at work there; nothing was moved.
    Conflict,
}

/// Moves off one list.
#[derive(Debug)]
pub struct Mover {
    store: Store,
    list: String,
    queue: queue::Queue,
}

impl Mover {
    /// A mover that has not connected yet.
    ///
    /// # Errors
    /// [`Error::NotHere`] in a cluster whose slots the lists' names do not leave open.
    pub fn new(store: &Store, queue: &Queue, trail: Option<Trail>) -> Result<Self, Error> {
        let mover = queue::Queue::new(store.config().clone(), queue.lists.clone())
            .map_err(|error| Error::NotHere(error.to_string()))?;
        Ok(Self {
            store: store.clone(),
            list: queue.lists.source.clone(),
            queue: mover.with_trail(trail),
        })
    }

    /// Moves only while this holds; otherwise it is a conflict.
    #[must_use]
    pub fn provided(self, proviso: Proviso) -> Self {
        Self {
            queue: self.queue.with_proviso(proviso),
            ..self
        }
    }

    /// Moves messages, given in rising order of their places: one, or no more than 8 MiB together.
    ///
    /// # Errors
    /// [`Error::Redis`]. After a timeout or a broken connection they may have been moved all the
    /// same; each is in exactly one list.
    pub async fn take(&mut self, chosen: &[Chosen]) -> Result<Moved, Error> {
        self.queue.finish().await.map_err(|error| failed(&error))?;
        self.queue
            .catch_up()
            .await
            .map_err(|error| failed(&error))?;
        let in_place = chosen.iter().zip(0..).all(|(chosen, at)| chosen.at == at);
        if !in_place {
            let depth = self.store.depth(&self.list).await?;
            let mut rest = chosen;
            let pieces = std::iter::from_fn(|| {
                let (piece, after) = rest.split_at(limit(rest, depth).min(rest.len()));
                rest = after;
                let named = |chosen: &Chosen| (chosen.at, digest(&chosen.transfer.entry.0));
                (!piece.is_empty()).then(|| piece.iter().map(named).collect())
            });
            if !self.store.bring(&self.list, pieces).await? {
                return Ok(Moved::Conflict);
            }
        }
        let limits = Limits {
            entries: chosen.len() as u64,
            bytes: BYTES,
        };
        let mut seen: Vec<Entry> = vec![];
        let peeked = self.queue.peek(limits, |entries| seen.extend(entries));
        peeked.await.map_err(|error| failed(&error))?;
        let same = |(seen, chosen): (&Entry, &Chosen)| *seen == chosen.transfer.entry;
        if seen.len() != chosen.len() || !seen.iter().zip(chosen).all(same) {
            return Ok(Moved::Conflict);
        }
        let transfers = chosen.iter().map(|chosen| chosen.transfer.clone());
        let transfers: Vec<Transfer> = transfers.collect();
        match self
            .queue
            .commit(&transfers)
            .await
            .map_err(|error| failed(&error))?
        {
            Committed::Moved { .. } => {
                self.queue
                    .replicated()
                    .await
                    .map_err(|error| failed(&error))?;
                Ok(Moved::All)
            }
            Committed::Conflict | Committed::Full => Ok(Moved::Conflict),
        }
    }

    /// Whether a move is a push and a trim, in a cluster whose slots the lists do not share.
    #[must_use]
    pub fn takes_two_steps(&self) -> bool {
        matches!(self.queue, queue::Queue::Spread(_))
    }

    /// Ends what somebody began in a cluster and did not end.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.queue
            .finish()
            .await
            .map(drop)
            .map_err(|error| failed(&error))
    }
}

/// How many of the first ones are brought to the old end with one script: each is sought twice, from
/// the nearer end.
fn limit(chosen: &[Chosen], depth: u64) -> usize {
    let mut left = SCRIPT;
    let fits = |chosen: &&Chosen| {
        let far = chosen.at.min(depth.saturating_sub(chosen.at));
        let bytes = chosen.transfer.entry.0.len() as u64;
        let cost = BRING + 2 * PLACE * far + BYTE * bytes;
        let fits = cost <= left;
        left = left.saturating_sub(cost);
        fits
    };
    chosen.iter().take_while(fits).count().max(1)
}

fn failed(error: &dlq::Error) -> Error {
    Error::Redis(error.link().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::Disposition;

    fn chosen(at: u64, bytes: usize) -> Chosen {
        let entry = Entry(vec![b'x'; bytes]);
        let transfer = Transfer {
            entry,
            edits: vec![],
            disposition: Disposition::Restore,
        };
        Chosen { at, transfer }
    }

    #[test]
    fn fewer_are_brought_at_once_from_further_away_and_of_large_ones() {
        let many = |at, bytes| vec![chosen(at, bytes); 200];
        let near = limit(&many(100, 1_000), 1_000_000);
        assert_eq!(near, 39);
        assert!(limit(&many(10_000, 1_000), 1_000_000) < near);
        assert_eq!(
            limit(&many(999_900, 1_000), 1_000_000),
            near,
            "by the other end"
        );
        assert_eq!(limit(&many(500_000, 1_000), 1_000_000), 1);
        assert_eq!(limit(&many(100, 1_000_000), 1_000_000), 1);
    }
}
