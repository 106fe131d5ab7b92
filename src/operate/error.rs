//! What can be answered to an operator instead of what was asked for.

use crate::link;

/// Why something was not done. Whatever it says, nothing was moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such queue, message, plan or run.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// `queue`, `message`, `plan`, `run`, `setting` or `original`.
        what: &'static str,
        /// What it was called by.
        name: String,
    },
    /// A value cannot be used.
    #[error("{name}: {value:?} cannot be used: expected {expected}")]
    Invalid {
        /// The parameter or member.
        name: &'static str,
        /// Its value, shortened.
        value: String,
        /// What would have been right.
        expected: String,
    },
    /// It cannot be done to this queue.
    #[error("{0}")]
    NotHere(String),
    /// Somebody else is at work there.
    #[error("{0}")]
    Conflict(String),
    /// Redis could not do its part. After a timeout or a broken connection what was asked for may
    /// have happened all the same; the audit tells.
    #[error("redis could not do its part: {0}")]
    Redis(#[source] link::Error),
}

impl From<link::Error> for Error {
    fn from(error: link::Error) -> Self {
        Self::Redis(error)
    }
}

impl Error {
    /// A value that cannot be used.
    #[must_use]
    pub fn invalid(name: &'static str, value: &str, expected: impl Into<String>) -> Self {
        Self::Invalid {
            name,
            value: value.chars().take(80).collect(),
            expected: expected.into(),
        }
    }

    /// Something that is not there.
    #[must_use]
    pub fn not_found(what: &'static str, name: &str) -> Self {
        Self::NotFound {
            what,
            name: name.chars().take(80).collect(),
        }
    }
}
