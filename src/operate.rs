//! The operator's side: look into the queues, plan, move what is meant, and say who did it.
//!
//! Beside the drain, and on the same verified move: what is meant is brought to the old end of its
//! list (`bring`), where a peek and a commit take it. Reading is bounded, and says how much it has
//! seen. The API and the command line both speak to [`Operator`].

mod acts;
mod beside;
pub mod error;
pub mod filter;
mod find;
pub mod judge;
pub mod letter;
mod look;
mod many;
pub mod mover;
mod plans;
pub mod queues;
mod runs;
pub mod scan;
mod search;
pub mod spelling;
pub mod store;
pub mod wire;

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use tokio::sync::{mpsc, watch};

use crate::audit::{self, AuditConfig, Entry, Kind, Trail};
use crate::config::Config;
use crate::dlq::redis::Script;
use crate::drain::classify::Rules;
use crate::link::cluster::slot;
use crate::settings::Settings;
pub use error::Error;
pub use look::line;
use queues::{Queue, Role};
use store::Store;
use wire::{Action, DrainStatus, Line, RunView};

/// Everything that an operator can ask for. Cheap to clone; all clones share the lines to Redis.
#[derive(Clone, Debug)]
pub struct Operator {
    store: Store,
    queues: Arc<Vec<Queue>>,
    audit: AuditConfig,
    /// The settings that Redis does not override.
    base: Arc<Settings>,
    /// The settings in force.
    settings: watch::Receiver<Settings>,
    stamp: bool,
    drains: Arc<Vec<watch::Receiver<DrainStatus>>>,
    /// Who hears of runs that have ended here.
    ended: Option<mpsc::Sender<RunView>>,
}

/// A part of an export: lines, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPage {
    /// The messages.
    pub lines: Vec<Line>,
    /// To go on with; `None` at the end.
    pub next: Option<String>,
}

impl Operator {
    /// An operator who has not connected yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let (_, settings) = watch::channel(config.settings.clone());
        Self {
            store: Store::new(config.redis.clone()),
            queues: Arc::new(queues::queues(
                &config.redis,
                &config.audit,
                &config.sources,
            )),
            audit: config.audit.clone(),
            base: Arc::new(config.settings.clone()),
            settings,
            stamp: config.stamp,
            drains: Arc::default(),
            ended: None,
        }
    }

    /// One beside running drains: it knows the settings in force, and how they stand.
    #[must_use]
    pub fn beside(
        mut self,
        settings: watch::Receiver<Settings>,
        drains: Vec<watch::Receiver<DrainStatus>>,
    ) -> Self {
        self.settings = settings;
        self.drains = Arc::new(drains);
        self
    }

    /// One who says which runs have ended in its hands. Whoever does not listen misses some.
    #[must_use]
    pub fn telling(mut self, ended: mpsc::Sender<RunView>) -> Self {
        self.ended = Some(ended);
        self
    }

    fn tell_ended(&self, run: RunView) {
        if let Some(ended) = &self.ended
            && ended.try_send(run).is_err()
        {
            tracing::debug!("nobody listens to the end of a run");
        }
    }

    /// The settings in force, as far as it knows.
    #[must_use]
    pub fn in_force(&self) -> Settings {
        self.settings.borrow().clone()
    }

    /// Its lines to Redis.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who we are.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.audit.instance
    }

    /// The dead lists.
    pub fn dead_lists(&self) -> impl Iterator<Item = &Queue> {
        let queues = self.queues.iter();
        queues.filter(|queue| queue.role == Role::Dead)
    }

    /// Whether a queue is a `source` or `dead`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn role(&self, queue: &str) -> Result<&'static str, Error> {
        Ok(self.named(queue)?.role.as_str())
    }

    fn named(&self, name: &str) -> Result<&Queue, Error> {
        queues::named(&self.queues, name)
    }

    /// The rules that hold for a queue now.
    fn rules(&self, queue: &Queue) -> Rules {
        let settings = queue.source.settings(&self.settings.borrow());
        Rules {
            max_poison_retries: settings.max_poison_retries,
            stamp: self.stamp,
            required_fields: queue.source.required_fields.clone(),
            fields: queue.source.fields.clone(),
            traced: false,
        }
    }

    /// What a move off a queue writes down.
    #[must_use]
    pub fn trail(&self, queue: &Queue, about: Entry, each: bool) -> Option<Trail> {
        Some(Trail {
            key: queue.keys.audit.clone()?,
            length: self.audit.length,
            kind: Kind::Act,
            about,
            fields: queue.source.fields.clone(),
            each,
        })
    }

    /// Does one thing to one key of a queue, and writes it down; by a script that says whether it needs
    /// memory.
    async fn deed(
        &self,
        script: &Script,
        queue: &Queue,
        (key, command, arguments): (&str, &str, &[impl redis::ToRedisArgs]),
        entry: &Entry,
    ) -> Result<redis::Value, Error> {
        let mut audit = queue.keys.audit.as_ref();
        if let Some(stream) = audit
            && !self.store.config().cluster.is_empty()
            && slot(stream) != slot(key)
        {
            // No script sees both, so that it is written down before it is done.
            self.note(queue, entry).await?;
            audit = None;
        }
        let owned = key.to_owned();
        let keys: Vec<&String> = std::iter::once(&owned).chain(audit).collect();
        let mut call = script.command(&keys);
        call.arg(command).arg(arguments.len()).arg(arguments);
        call.arg(self.audit.length);
        if audit.is_some() {
            call.arg(audit::arguments(std::slice::from_ref(entry)));
        }
        Ok(self.store.run(script, key, &call).await?)
    }

    /// Writes something down that was done otherwise, or changed nothing.
    async fn note(&self, queue: &Queue, entry: &Entry) -> Result<(), Error> {
        let Some(stream) = &queue.keys.audit else {
            return Ok(());
        };
        let length = self.audit.length.to_string();
        let mut words = vec!["MAXLEN", "~", &length, "*"];
        for (name, value) in entry {
            words.extend([name.as_str(), value]);
        }
        self.store.jot::<String>(stream, "XADD", &words).await?;
        Ok(())
    }
}

impl Queue {
    /// The list that an action moves to; nowhere for a purge or an export.
    #[must_use]
    pub fn destination(&self, action: Action) -> Option<&str> {
        match action {
            Action::Replay => Some(&self.lists.target),
            Action::Bury | Action::Restore => Some(&self.lists.dead),
            Action::Purge | Action::Export => None,
        }
    }
}

/// Unix seconds.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// 128 random bits in hexadecimal digits, which nobody can guess.
fn random() -> String {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the system has random numbers");
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Pushes what may be large.
static IMPORT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("operate/deed.lua")));
