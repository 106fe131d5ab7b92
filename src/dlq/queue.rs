//! The dead letter queue, wherever its lists lie.

use std::time::Duration;

use super::redis::{Limits, Lists, Queue as OneSlot};
use super::spread::{self, NoRoom};
use super::{Committed, Disposition, Entry, Error, Peeked, Proviso, Transfer};
use crate::audit::Trail;
use crate::link::LinkConfig;
use crate::link::cluster::slot;

/// The dead letter queue, on one server, in one slot of a cluster or spread over several.
#[derive(Debug)]
pub enum Queue {
    /// One script sees all three lists.
    Together(Box<OneSlot>),
    /// A commit takes two steps.
    Spread(Box<spread::Queue>),
}

impl Queue {
    /// A queue over connections of its own, made at the first use.
    ///
    /// # Errors
    /// [`NoRoom`], in a cluster whose slots the lists' names do not leave open.
    pub fn new(config: LinkConfig, lists: Lists) -> Result<Self, NoRoom> {
        if !config.cluster.is_empty() && spread::is_spread(&lists) {
            let queue = spread::Queue::new(config, lists)?;
            return Ok(Self::Spread(Box::new(queue)));
        }
        Ok(Self::Together(Box::new(OneSlot::new(config, lists))))
    }

    /// Has each commit written down; one that cannot be is not made.
    #[must_use]
    pub fn with_trail(self, trail: Option<Trail>) -> Self {
        match self {
            Self::Together(queue) => Self::Together(Box::new(queue.with_trail(trail))),
            Self::Spread(queue) => Self::Spread(Box::new(queue.with_trail(trail))),
        }
    }

    /// Has each commit made only while this holds; otherwise it is a conflict.
    #[must_use]
    pub fn with_proviso(self, proviso: Proviso) -> Self {
        match self {
            Self::Together(queue) => Self::Together(Box::new(queue.with_proviso(proviso))),
            Self::Spread(queue) => Self::Spread(Box::new(queue.with_proviso(proviso))),
        }
    }

    /// Has the next commits written down in another way.
    pub fn retell(&mut self, trail: Option<Trail>) {
        match self {
            Self::Together(queue) => queue.retell(trail),
            Self::Spread(queue) => queue.retell(trail),
        }
    }

    /// In which way messages move in a cluster, and why; for the log.
    #[must_use]
    pub fn way(config: &LinkConfig, lists: &Lists) -> Option<String> {
        if config.cluster.is_empty() {
            return None;
        }
        let Lists {
            source,
            target,
            dead,
        } = lists;
        let slots = [source, target, dead].map(|list| format!("{list} in slot {}", slot(list)));
        Some(if spread::is_spread(lists) {
            format!(
                "a batch moves in two steps, a push and a trim, because the lists lie in several slots: {}; a common hash tag, like {{mutt}}:dlq:alerter, would make it one",
                slots.join(", ")
            )
        } else {
            format!(
                "a batch moves in one step, because the lists lie in one slot: {}",
                slots.join(", ")
            )
        })
    }

    /// Finishes a batch that somebody began and did not end, if there is one; must come before each
    /// peek. Returns what has become of its messages.
    ///
    /// # Errors
    /// [`Error::Commit`]; the next call goes on from where this one ended.
    pub async fn finish(&mut self) -> Result<Vec<Disposition>, Error> {
        match self {
            Self::Together(_) => Ok(vec![]),
            Self::Spread(queue) => queue.finish().await,
        }
    }

    /// Makes sure before a batch that the one before it is replicated.
    ///
    /// # Errors
    /// [`Error::Peek`] or [`Error::Replicate`]; nothing was changed.
    pub async fn catch_up(&mut self) -> Result<(), Error> {
        match self {
            Self::Together(queue) => queue.catch_up().await,
            // It waits between push and trim, and needs no more.
            Self::Spread(_) => Ok(()),
        }
    }

    /// Waits until as many replicas as are asked for have what was moved.
    ///
    /// # Errors
    /// [`Error::Replicate`]; what was moved stands.
    pub async fn replicated(&mut self) -> Result<(), Error> {
        match self {
            Self::Together(queue) => queue.replicated().await,
            Self::Spread(_) => Ok(()),
        }
    }

    /// Reads the oldest entries, oldest first, hands them over piece by piece, and returns how many
    /// the source held.
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn peek(
        &mut self,
        limits: Limits,
        each: impl FnMut(Vec<Entry>),
    ) -> Result<u64, Error> {
        match self {
            Self::Together(queue) => queue.peek(limits, each).await,
            Self::Spread(queue) => queue.peek(limits, each).await,
        }
    }

    /// Depth of the source, and its oldest entry unless that is larger than `max_bytes`.
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn look(&mut self, max_bytes: u64) -> Result<Peeked, Error> {
        match self {
            Self::Together(queue) => queue.look(max_bytes).await,
            Self::Spread(queue) => queue.look(max_bytes).await,
        }
    }

    /// Moves all of the transfers, which must be what was peeked last, or none.
    ///
    /// # Errors
    /// [`Error::Commit`]. The outcome is unknown then; the next [`finish`](Self::finish) and peek
    /// show it.
    pub async fn commit(&mut self, transfers: &[Transfer]) -> Result<Committed, Error> {
        self.commit_below(transfers, 0).await
    }

    /// For how long the last commit kept the server from other clients, by the server's clock; `None`
    /// where it does not tell, and where a commit takes two steps.
    #[must_use]
    pub fn busy(&self) -> Option<Duration> {
        match self {
            Self::Together(queue) => queue.busy(),
            Self::Spread(_) => None,
        }
    }

    /// Whether [`busy`](Self::busy) is to be expected of the next commit.
    #[must_use]
    pub fn tells_time(&self) -> bool {
        match self {
            Self::Together(queue) => queue.tells_time(),
            Self::Spread(_) => false,
        }
    }

    /// As [`commit`](Self::commit), unless that would lift the target above this depth; 0 is no
    /// limit.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_below(
        &mut self,
        transfers: &[Transfer],
        ceiling: u64,
    ) -> Result<Committed, Error> {
        match self {
            Self::Together(queue) => queue.commit(transfers, ceiling).await,
            Self::Spread(queue) => queue.commit(transfers, ceiling).await,
        }
    }
}
