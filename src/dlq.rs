//! The vocabulary of dead letters: what is peeked, what is moved where, and how a commit ends.
//!
//! Nothing here knows Redis; `dlq::redis`, `dlq::spread` and `dlq::overflow` speak to it,
//! `dlq::envelope` reads a message.

pub mod ahead;
pub mod arrivals;
pub mod bell;
pub mod calm;
pub mod envelope;
pub mod latch;
pub mod overflow;
pub mod queue;
pub mod redis;
pub mod spread;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::link;

/// One message, byte for byte as it lay in the source list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry(pub Vec<u8>);

/// The oldest entries of a source, and how many it held at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Number of messages in the source list, those peeked included.
    pub depth: u64,
    /// The oldest messages, oldest first.
    pub entries: Vec<Entry>,
}

/// Why a message is not replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It failed as often as `MAX_POISON_RETRIES` allows.
    RetriesExhausted,
    /// It is no JSON object, or one of its counters is no non-negative integer.
    Malformed,
    /// It lacks a field of `REPLAY_REQUIRED_FIELDS`; the alerter would discard it.
    Incomplete,
    /// An operator buried it.
    Operator,
}

impl Reason {
    /// Every reason, for closed metric label sets.
    pub const ALL: [Self; 4] = [
        Self::RetriesExhausted,
        Self::Malformed,
        Self::Incomplete,
        Self::Operator,
    ];

    /// Those for which the drain parks a message.
    pub const OF_DRAIN: [Self; 3] = [Self::RetriesExhausted, Self::Malformed, Self::Incomplete];

    /// The name used in metrics, logs and stamped messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetriesExhausted => "retries_exhausted",
            Self::Malformed => "malformed",
            Self::Incomplete => "incomplete",
            Self::Operator => "operator",
        }
    }
}

/// The verdict on an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Back to work, to the left of the ingest queue.
    Replay,
    /// Parked, to the left of the dead list.
    Dead(Reason),
    /// Out of the dead list, to the left of the third list of a move, its dead letter list.
    Restore,
    /// Nowhere: an operator has it thrown away.
    Purge,
}

impl Disposition {
    /// Every disposition, for closed label sets.
    pub const ALL: [Self; 7] = [
        Self::Replay,
        Self::Dead(Reason::ALL[0]),
        Self::Dead(Reason::ALL[1]),
        Self::Dead(Reason::ALL[2]),
        Self::Dead(Reason::ALL[3]),
        Self::Restore,
        Self::Purge,
    ];

    /// Those that the drain decides upon, for its metrics.
    pub const OF_DRAIN: [Self; 4] = [
        Self::Replay,
        Self::Dead(Reason::OF_DRAIN[0]),
        Self::Dead(Reason::OF_DRAIN[1]),
        Self::Dead(Reason::OF_DRAIN[2]),
    ];

    /// `replay`, `dead`, `restore` or `purge`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Dead(_) => "dead",
            Self::Restore => "restore",
            Self::Purge => "purge",
        }
    }

    /// The list of a move that it leads to; `None` for what goes nowhere.
    #[must_use]
    pub fn place(self) -> Option<Place> {
        match self {
            Self::Replay => Some(Place::Target),
            Self::Dead(_) | Self::Restore => Some(Place::Third),
            Self::Purge => None,
        }
    }

    /// The reason's name; empty for what is not parked.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Dead(reason) => reason.as_str(),
            Self::Replay | Self::Restore | Self::Purge => "",
        }
    }
}

/// A destination of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where replays go.
    Target,
    /// The dead list, or the dead letter list of what is moved out of the dead list.
    Third,
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry on its way: what must still lie in the source, and what arrives at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The bytes that were peeked.
    pub entry: Entry,
    /// What the stamp changes, in the order of the bytes; empty leaves the entry as it is.
    pub edits: Vec<Edit>,
    /// Where to, and why.
    pub disposition: Disposition,
}

/// A change of an entry's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes that go; empty for an insertion.
    pub range: Range<usize>,
    /// The text that comes in their place.
    pub text: String,
}

impl Transfer {
    /// Hands over the bytes that arrive at the destination, in pieces: what stays, and what the stamp
    /// says.
    pub fn each_piece(&self, mut take: impl FnMut(&[u8])) {
        let mut from = 0;
        for Edit { range, text } in &self.edits {
            take(&self.entry.0[from..range.start]);
            take(text.as_bytes());
            from = range.end;
        }
        take(&self.entry.0[from..]);
    }

    /// How many bytes arrive at the destination.
    #[must_use]
    pub fn size(&self) -> usize {
        let mut size = 0;
        self.each_piece(|piece| size += piece.len());
        size
    }

    /// The bytes that arrive at the destination.
    #[must_use]
    pub fn arriving(&self) -> Cow<'_, [u8]> {
        if self.edits.is_empty() {
            return Cow::Borrowed(&self.entry.0);
        }
        let mut bytes = Vec::with_capacity(self.size());
        self.each_piece(|piece| bytes.extend_from_slice(piece));
        Cow::Owned(bytes)
    }
}

/// What must hold when a batch is moved, besides that it is what was peeked. The step that moves looks
/// at it; where it does not hold, that is a conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proviso {
    /// Under which it is done.
    pub lease: Option<Lease>,
    /// So many messages stay in the source at least.
    pub keep: u64,
}

/// A key in the source's slot that must say this, as long as what is done under it is ours to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The key.
    pub key: String,
    /// What it says while it is ours; not empty.
    pub says: String,
}

impl Proviso {
    /// What the lease must say; nothing where there is none.
    pub(crate) fn says(&self) -> &str {
        self.lease.as_ref().map_or("", |lease| &lease.says)
    }
}

/// How a commit ended. Either way every message is in exactly one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The whole batch was moved.
    Moved {
        /// Messages pushed to the replay target.
        replayed: u64,
        /// Messages pushed to the dead list.
        dead: u64,
    },
    /// The source's tail was no longer what had been peeked; nothing was written.
    Conflict,
    /// The target would have been lifted above its ceiling; nothing was written.
    Full,
}

/// A step at the queues that failed. After a failed commit the outcome is unknown to us, but not
/// to Redis: the next peek shows it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading the tail of the source.
    #[error("could not peek at {source_list}")]
    Peek {
        /// The list that was read.
        source_list: String,
        /// What Redis or the connection said.
        source: link::Error,
    },
    /// Looking at what lies ahead of a replay.
    #[error("could not look at what lies ahead of {target}")]
    Look {
        /// Where replays go.
        target: String,
        /// What Redis or the connection said.
        source: link::Error,
    },
    /// Knowing the settings that Redis holds.
    #[error("the settings in Redis are not known")]
    Settings {
        /// Why not.
        source: link::Error,
    },
    /// Replicating what was moved, which stands.
    #[error("too few replicas are known to have what was moved from {source_list}")]
    Replicate {
        /// The list that is drained.
        source_list: String,
        /// How many have it, or why that is not known.
        source: link::Error,
    },
    /// Moving a batch.
    #[error("could not commit a batch from {source_list}")]
    Commit {
        /// The list that was to be drained.
        source_list: String,
        /// What Redis or the connection said.
        source: link::Error,
    },
}

impl Error {
    /// The failure underneath, for its reason and advice.
    #[must_use]
    pub fn link(&self) -> &link::Error {
        match self {
            Self::Settings { source }
            | Self::Look { source, .. }
            | Self::Peek { source, .. }
            | Self::Replicate { source, .. }
            | Self::Commit { source, .. } => source,
        }
    }
}
