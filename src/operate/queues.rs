//! The lists that an operator can look into, what they are called, and the keys beside them.

use crate::audit::{self, AuditConfig};
use crate::config::sources::SourceConfig;
use crate::dlq::redis::Lists;
use crate::link::LinkConfig;
use crate::link::cluster::beside;

use super::Error;

/// What a list is to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dead letters that are drained.
    Source,
    /// Where poison ends.
    Dead,
}

impl Role {
    /// The name used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Dead => "dead",
        }
    }
}

/// A list that an operator can look into.
#[derive(Clone, Debug)]
pub struct Queue {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The source whose rules hold for it.
    pub source: SourceConfig,
    /// Several sources park in it, so that nobody can tell which of them a message is from.
    pub shared: bool,
    /// From here; replays to there; and between dead letter list and dead list.
    pub lists: Lists,
    /// The keys beside it.
    pub keys: Keys,
}

/// The keys beside a list, all in its slot.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The audit of what happens to it; `None` where none is kept.
    pub audit: Option<String>,
    /// Its drain is paused.
    pub pause: String,
    /// The run that is active on it.
    pub active: String,
    /// Who works at that run.
    pub lease: String,
    /// The ids of its last runs.
    pub runs: String,
    /// Bytes that edits have replaced.
    pub originals: String,
    prefix: String,
}

impl Keys {
    /// The keys beside this list; `None` where its name leaves no room in its slot.
    #[must_use]
    pub fn of(redis: &LinkConfig, audit: &AuditConfig, list: &str) -> Option<Self> {
        let prefix = if redis.cluster.is_empty() {
            format!("mutt:remediation:{list}")
        } else {
            beside(list, list)?
        };
        let key = |kind: &str| format!("{prefix}:{kind}");
        Some(Self {
            audit: (audit.length > 0)
                .then(|| audit::key(redis, list))
                .flatten(),
            pause: key("pause"),
            active: key("active"),
            lease: key("lease"),
            runs: key("runs"),
            originals: key("originals"),
            prefix,
        })
    }

    /// The key of a plan.
    #[must_use]
    pub fn plan(&self, id: &str) -> String {
        format!("{}:plan:{id}", self.prefix)
    }

    /// The key of a run.
    #[must_use]
    pub fn run(&self, id: &str) -> String {
        format!("{}:run:{id}", self.prefix)
    }

    /// The key that asks a run to end.
    #[must_use]
    pub fn cancel(&self, id: &str) -> String {
        format!("{}:cancel:{id}", self.prefix)
    }
}

/// All lists of these sources, each once: the sources in their order, then the dead lists.
#[must_use]
pub fn queues(redis: &LinkConfig, audit: &AuditConfig, sources: &[SourceConfig]) -> Vec<Queue> {
    let mut queues = vec![];
    for source in sources {
        queues.extend(
            Keys::of(redis, audit, &source.lists.source).map(|keys| Queue {
                name: source.name.clone(),
                role: Role::Source,
                source: source.clone(),
                shared: false,
                lists: source.lists.clone(),
                keys,
            }),
        );
    }
    for (index, source) in sources.iter().enumerate() {
        let Lists {
            source: list,
            target,
            dead,
        } = source.lists.clone();
        // The first source that parks in a list is whose rules hold for it.
        if sources[..index]
            .iter()
            .any(|other| other.lists.dead == dead)
        {
            continue;
        }
        let mut others = sources[index + 1..].iter();
        let shared = others.any(|other| other.lists.dead == dead);
        let name = if index == 0 {
            "dead".to_owned()
        } else {
            format!("{}.dead", source.name)
        };
        queues.extend(Keys::of(redis, audit, &dead).map(|keys| Queue {
            name,
            role: Role::Dead,
            source: source.clone(),
            shared,
            lists: Lists {
                source: dead,
                target,
                dead: list,
            },
            keys,
        }));
    }
    queues
}

/// The queue of this name.
///
/// # Errors
/// When there is none.
pub fn named<'a>(queues: &'a [Queue], name: &str) -> Result<&'a Queue, Error> {
    let found = queues.iter().find(|queue| queue.name == name);
    found.ok_or_else(|| Error::not_found("queue", name))
}
