//! Why a command was not carried out, and the exit code that this means.

use super::Outcome;
use crate::operate;

/// What kind of reason it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line, the environment or the key is wrong.
    Usage,
    /// There is no such thing.
    NotFound,
    /// It is there and cannot be done.
    Refused,
    /// Something did not do its part; it may do it in a moment.
    Failed,
    /// The operator interrupted it.
    Interrupted,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refusal {
    /// Its kind.
    pub(crate) kind: Kind,
    /// For people.
    pub(crate) text: String,
}

impl Refusal {
    /// A reason of this kind.
    #[must_use]
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }

    /// Something that must be said differently.
    #[must_use]
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Kind::Usage, text)
    }

    /// Something that is not there, in the words of the core.
    pub(crate) fn no(what: &'static str, name: &str) -> Self {
        operate::Error::not_found(what, name).into()
    }

    /// Whether waiting may help.
    #[must_use]
    pub(crate) fn may_pass(&self) -> bool {
        self.kind == Kind::Failed
    }

    /// How the program ends for it.
    #[must_use]
    pub(crate) fn outcome(&self) -> Outcome {
        match self.kind {
            Kind::Usage => Outcome::Misconfigured,
            Kind::NotFound => Outcome::NotFound,
            Kind::Refused | Kind::Failed => Outcome::Failed,
            Kind::Interrupted => Outcome::Killed,
        }
    }
}

impl From<operate::Error> for Refusal {
    fn from(error: operate::Error) -> Self {
        let kind = match &error {
            operate::Error::NotFound { .. } => Kind::NotFound,
            operate::Error::Invalid { .. } => Kind::Usage,
            operate::Error::NotHere(_) | operate::Error::Conflict(_) => Kind::Refused,
            operate::Error::Redis(_) => Kind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_exit_code() {
        let invalid = operate::Error::invalid("rate", "0", "a number");
        for (error, code) in [
            (operate::Error::not_found("queue", "x"), 4),
            (invalid, 2),
            (operate::Error::NotHere("no".into()), 1),
            (operate::Error::Conflict("busy".into()), 1),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!(refusal.outcome().code(), code, "{refusal}");
        }
        let interrupted = Refusal::new(Kind::Interrupted, "interrupted");
        assert_eq!(interrupted.outcome().code(), 130);
    }
}
