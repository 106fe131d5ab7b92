//! The operator's side: look into the queues, plan, move what is meant, and say who did it.
//!
//! Beside the drain, and on the same verified move: what is meant is brought to the old end of its
//! list (`bring`), where a peek and a commit take it. Reading is bounded, and says how much it has
//! seen. The API and the command line both speak to [`Operator`].

pub mod error;
pub mod wire;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
pub use error::Error;
use wire::{
    ActOutcome, ActRequest, AuditPage, AuditRequest, Detail, EditOutcome, EditRequest, Filter,
    ImportOutcome, Line, Original, Page, PageRequest, PauseRequest, PlanRequest, PlanView,
    QueueDetail, QueueView, RunRequest, RunView, SettingRequest, SettingView, Status, Who,
};

/// Everything that an operator can ask for. Cheap to clone; all clones share the lines to Redis.
#[derive(Clone, Debug)]
pub struct Operator {}

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
        let _ = config;
        todo!()
    }

    /// How things stand. It answers also while Redis is away.
    pub async fn status(&self) -> Status {
        todo!()
    }

    /// All queues.
    pub async fn queues(&self) -> Result<Vec<QueueView>, Error> {
        todo!()
    }

    /// One queue, with what is in it; looks at so many messages at most.
    pub async fn queue(&self, queue: &str, scan: Option<u64>) -> Result<QueueDetail, Error> {
        let _ = (queue, scan);
        todo!()
    }

    /// Some messages.
    pub async fn messages(
        &self,
        queue: &str,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page, Error> {
        let _ = (queue, filter, page);
        todo!()
    }

    /// One message, by its digest or the beginning of it (at least 8 digits).
    pub async fn message(
        &self,
        queue: &str,
        digest: &str,
        at: Option<u64>,
    ) -> Result<Detail, Error> {
        let _ = (queue, digest, at);
        todo!()
    }

    /// Some messages whole.
    pub async fn export(
        &self,
        queue: &str,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<ExportPage, Error> {
        let _ = (queue, filter, page);
        todo!()
    }

    /// Pushes messages to the young end of a queue.
    pub async fn import(
        &self,
        queue: &str,
        lines: Vec<Line>,
        who: &Who,
    ) -> Result<ImportOutcome, Error> {
        let _ = (queue, lines, who);
        todo!()
    }

    /// Acts on some messages at once.
    pub async fn act(
        &self,
        queue: &str,
        request: &ActRequest,
        who: &Who,
    ) -> Result<ActOutcome, Error> {
        let _ = (queue, request, who);
        todo!()
    }

    /// Changes a message and replays it.
    pub async fn edit(
        &self,
        queue: &str,
        digest: &str,
        request: &EditRequest,
        who: &Who,
    ) -> Result<EditOutcome, Error> {
        let _ = (queue, digest, request, who);
        todo!()
    }

    /// The bytes that an edit has replaced.
    pub async fn original(&self, queue: &str, original: &str) -> Result<Original, Error> {
        let _ = (queue, original);
        todo!()
    }

    /// Counts what an action would do.
    pub async fn plan(
        &self,
        queue: &str,
        request: &PlanRequest,
        who: &Who,
    ) -> Result<PlanView, Error> {
        let _ = (queue, request, who);
        todo!()
    }

    /// Starts a run of a plan.
    pub async fn start(&self, request: &RunRequest, who: &Who) -> Result<RunView, Error> {
        let _ = (request, who);
        todo!()
    }

    /// A run.
    pub async fn run(&self, run: &str) -> Result<RunView, Error> {
        let _ = run;
        todo!()
    }

    /// The last runs of all queues, newest first.
    pub async fn runs(&self) -> Result<Vec<RunView>, Error> {
        todo!()
    }

    /// Ends a run after the batch in flight.
    pub async fn cancel(&self, run: &str, who: &Who) -> Result<RunView, Error> {
        let _ = (run, who);
        todo!()
    }

    /// Works at a run, if nobody else does, until it ends; `seen` hears of its progress. Where no
    /// daemon runs the command line does its own work.
    pub async fn work_at(
        &self,
        run: &str,
        mut seen: impl FnMut(&RunView) + Send,
        cancel: &CancellationToken,
    ) -> Result<RunView, Error> {
        let _ = (run, &mut seen, cancel);
        todo!()
    }

    /// Looks for runs that nobody works at, and works at them, until cancelled.
    pub async fn work(self, cancel: CancellationToken) {
        let _ = cancel;
        todo!()
    }

    /// Pauses a source's drain.
    pub async fn pause(
        &self,
        queue: &str,
        request: &PauseRequest,
        who: &Who,
    ) -> Result<QueueView, Error> {
        let _ = (queue, request, who);
        todo!()
    }

    /// Ends a pause.
    pub async fn resume(&self, queue: &str, who: &Who) -> Result<QueueView, Error> {
        let _ = (queue, who);
        todo!()
    }

    /// All dynamic settings.
    pub async fn settings(&self) -> Result<Vec<SettingView>, Error> {
        todo!()
    }

    /// Sets a dynamic setting.
    pub async fn set(
        &self,
        key: &str,
        request: &SettingRequest,
        who: &Who,
    ) -> Result<SettingView, Error> {
        let _ = (key, request, who);
        todo!()
    }

    /// Has a dynamic setting fall back.
    pub async fn unset(&self, key: &str, who: &Who) -> Result<SettingView, Error> {
        let _ = (key, who);
        todo!()
    }

    /// What was done.
    pub async fn audit(&self, request: &AuditRequest) -> Result<AuditPage, Error> {
        let _ = request;
        todo!()
    }
}
