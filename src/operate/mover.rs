//! Moves messages that an operator means, wherever they lie in their list: brings them to its old
//! end, and lets the drain's own peek and commit take them from there.

use super::Error;
use super::queues::Queue;
use super::store::Store;
use crate::audit::{Trail, digest};
use crate::dlq::redis::Limits;
use crate::dlq::{self, Committed, Entry, Transfer, queue};

/// Bytes in a batch, at most; a larger message travels alone.
const BYTES: u64 = 8 * 1024 * 1024;

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
    /// So many of the first ones were moved; not all, if they are large.
    Some(usize),
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

    /// Moves messages, given in rising order of their places.
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
            let named = |chosen: &Chosen| (chosen.at, digest(&chosen.transfer.entry.0));
            let named: Vec<_> = chosen.iter().map(named).collect();
            if !self.store.bring(&self.list, &named).await? {
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
        let count = seen.len().min(chosen.len());
        let same = |(seen, chosen): (&Entry, &Chosen)| *seen == chosen.transfer.entry;
        if count == 0 || !seen.iter().zip(chosen).all(same) {
            return Ok(Moved::Conflict);
        }
        let transfers = chosen[..count].iter().map(|chosen| chosen.transfer.clone());
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
                Ok(Moved::Some(count))
            }
            Committed::Conflict | Committed::Full => Ok(Moved::Conflict),
        }
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

fn failed(error: &dlq::Error) -> Error {
    Error::Redis(error.link().clone())
}
