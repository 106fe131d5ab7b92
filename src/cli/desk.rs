//! Where a command is carried out: through the API of a daemon, or straight on Redis. The commands
//! do not see the difference.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use super::remote::Remote;
use crate::operate::Operator;
use crate::operate::wire::{
    ActOutcome, ActRequest, AuditPage, AuditRequest, Detail, EditOutcome, EditRequest, Filter,
    ImportOutcome, Line, Original, Page, PageRequest, PauseRequest, PlanRequest, PlanView,
    QueueDetail, QueueView, RunRequest, RunState, RunView, SettingRequest, SettingView, Status,
    Who,
};
use crate::slo::view::SloReport;
use crate::slo::{self, SloConfig};

/// How often it is asked how a run stands.
const LOOK: Duration = Duration::from_millis(300);
/// For so long a run is followed without an answer: a daemon may be started again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that are read at once for an export.
const PIECE: u64 = 500;

/// Somebody who can carry out commands.
#[derive(Debug)]
pub(crate) enum Desk {
    /// The API of a daemon.
    Remote(Remote),
    /// This process, on Redis itself.
    Here {
        /// The operator's core.
        operator: Box<Operator>,
        /// Who asks.
        who: Who,
        /// Whether daemons of this environment look at dynamic settings.
        dynamic: bool,
        /// Whom to ask for the objectives.
        slo: Box<SloConfig>,
    },
}

impl Desk {
    /// How things stand.
    pub(crate) async fn status(&self) -> Result<Status, Refusal> {
        match self {
            Self::Remote(api) => api.get(&["status"], &[]).await,
            Self::Here { operator, .. } => Ok(operator.status().await),
        }
    }

    /// How the objectives stand: as the daemon knows, or as Prometheus answers now.
    pub(crate) async fn slo(&self) -> Result<SloReport, Refusal> {
        match self {
            Self::Remote(api) => api.get(&["slo"], &[]).await,
            Self::Here { operator, slo, .. } => {
                let knobs = operator.in_force().slo;
                Ok(SloReport::of(&slo::once(slo, &knobs, false).await))
            }
        }
    }

    /// All queues.
    pub(crate) async fn queues(&self) -> Result<Vec<QueueView>, Refusal> {
        match self {
            Self::Remote(api) => api.get(&["queues"], &[]).await,
            Self::Here { operator, .. } => Ok(operator.queues().await?),
        }
    }

    /// One queue, with what is in it.
    pub(crate) async fn queue(
        &self,
        queue: &str,
        scan: Option<u64>,
    ) -> Result<QueueDetail, Refusal> {
        match self {
            Self::Remote(api) => {
                let query = number("scan", scan);
                api.get(&["queues", queue], query.as_slice()).await
            }
            Self::Here { operator, .. } => Ok(operator.queue(queue, scan).await?),
        }
    }

    /// Some messages.
    pub(crate) async fn messages(
        &self,
        queue: &str,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page, Refusal> {
        match self {
            Self::Remote(api) => {
                let mut query = asked(filter);
                query.extend(number("limit", page.limit));
                query.extend(number("scan", page.scan));
                query.extend(text("cursor", page.cursor.as_ref()));
                if page.newest_first {
                    query.push(("newest_first", "true".to_owned()));
                }
                api.get(&["queues", queue, "messages"], &query).await
            }
            Self::Here { operator, .. } => Ok(operator.messages(queue, filter, page).await?),
        }
    }

    /// One message.
    pub(crate) async fn message(
        &self,
        queue: &str,
        digest: &str,
        at: Option<u64>,
    ) -> Result<Detail, Refusal> {
        match self {
            Self::Remote(api) => {
                let query = number("at", at);
                let path = ["queues", queue, "messages", digest];
                api.get(&path, query.as_slice()).await
            }
            Self::Here { operator, .. } => Ok(operator.message(queue, digest, at).await?),
        }
    }

    /// Hands over all messages that are meant, whole and oldest first, and counts them.
    pub(crate) async fn export(
        &self,
        queue: &str,
        filter: &Filter,
        mut each: impl FnMut(&Line) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let operator = match self {
            Self::Remote(api) => {
                let path = ["queues", queue, "export"];
                return api.lines(&path, &asked(filter), each).await;
            }
            Self::Here { operator, .. } => operator,
        };
        let mut count = 0;
        let mut page = PageRequest {
            limit: Some(PIECE),
            ..PageRequest::default()
        };
        loop {
            let part = operator.export(queue, filter, &page).await;
            let part = part.map_err(Refusal::from)?;
            count += part.lines.len() as u64;
            part.lines.iter().try_for_each(&mut each)?;
            if part.next.is_none() {
                return Ok(count);
            }
            page.cursor = part.next;
        }
    }

    /// Pushes messages to the young end of a queue.
    pub(crate) async fn import(
        &self,
        queue: &str,
        lines: Vec<Line>,
    ) -> Result<ImportOutcome, Refusal> {
        match self {
            Self::Remote(api) => api.push(&["queues", queue, "import"], &lines).await,
            Self::Here { operator, who, .. } => Ok(operator.import(queue, lines, who).await?),
        }
    }

    /// Acts on some messages at once.
    pub(crate) async fn act(
        &self,
        queue: &str,
        request: &ActRequest,
    ) -> Result<ActOutcome, Refusal> {
        match self {
            Self::Remote(api) => api.post(&["queues", queue, "acts"], request).await,
            Self::Here { operator, who, .. } => Ok(operator.act(queue, request, who).await?),
        }
    }

    /// Changes a message and replays it.
    pub(crate) async fn edit(
        &self,
        queue: &str,
        digest: &str,
        request: &EditRequest,
    ) -> Result<EditOutcome, Refusal> {
        match self {
            Self::Remote(api) => {
                let path = ["queues", queue, "messages", digest, "edit"];
                api.post(&path, request).await
            }
            Self::Here { operator, who, .. } => {
                Ok(operator.edit(queue, digest, request, who).await?)
            }
        }
    }

    /// The bytes that an edit has replaced.
    pub(crate) async fn original(&self, queue: &str, original: &str) -> Result<Original, Refusal> {
        match self {
            Self::Remote(api) => {
                api.get(&["queues", queue, "originals", original], &[])
                    .await
            }
            Self::Here { operator, .. } => Ok(operator.original(queue, original).await?),
        }
    }

    /// Counts what an action would do.
    pub(crate) async fn plan(
        &self,
        queue: &str,
        request: &PlanRequest,
    ) -> Result<PlanView, Refusal> {
        match self {
            Self::Remote(api) => api.post(&["queues", queue, "plans"], request).await,
            Self::Here { operator, who, .. } => Ok(operator.plan(queue, request, who).await?),
        }
    }

    /// Starts a run of a plan.
    pub(crate) async fn start(&self, request: &RunRequest) -> Result<RunView, Refusal> {
        match self {
            Self::Remote(api) => api.post(&["runs"], request).await,
            Self::Here { operator, who, .. } => Ok(operator.start(request, who).await?),
        }
    }

    /// The last runs.
    pub(crate) async fn runs(&self) -> Result<Vec<RunView>, Refusal> {
        match self {
            Self::Remote(api) => api.get(&["runs"], &[]).await,
            Self::Here { operator, .. } => Ok(operator.runs().await?),
        }
    }

    /// A run.
    pub(crate) async fn run(&self, run: &str) -> Result<RunView, Refusal> {
        match self {
            Self::Remote(api) => api.get(&["runs", run], &[]).await,
            Self::Here { operator, .. } => Ok(operator.run(run).await?),
        }
    }

    /// Asks a run to end after the batch in flight.
    pub(crate) async fn cancel(&self, run: &str) -> Result<RunView, Refusal> {
        match self {
            Self::Remote(api) => api.ask(&["runs", run, "cancel"]).await,
            Self::Here { operator, who, .. } => Ok(operator.cancel(run, who).await?),
        }
    }

    /// Follows a run until it ends or we are to leave; straight on Redis it also works at it, if
    /// nobody else does. A moment without an answer is waited out: the run lives in Redis.
    pub(crate) async fn follow(
        &self,
        run: &str,
        mut seen: impl FnMut(&RunView) + Send,
        leave: &CancellationToken,
    ) -> Result<RunView, Refusal> {
        let mut answered = Instant::now();
        loop {
            let view = match self {
                Self::Remote(_) => self.run(run).await,
                Self::Here { operator, .. } => operator
                    .work_at(run, &mut seen, leave)
                    .await
                    .map_err(Refusal::from),
            };
            match view {
                Ok(view) => {
                    seen(&view);
                    if view.state != RunState::Running || leave.is_cancelled() {
                        return Ok(view);
                    }
                    answered = Instant::now();
                }
                Err(refusal) if !refusal.may_pass() || answered.elapsed() > PATIENCE => {
                    return Err(refusal);
                }
                Err(_) => {}
            }
            tokio::select! {
                () = leave.cancelled() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Pauses a source's drain.
    pub(crate) async fn pause(
        &self,
        queue: &str,
        request: &PauseRequest,
    ) -> Result<QueueView, Refusal> {
        match self {
            Self::Remote(api) => api.put(&["queues", queue, "pause"], request).await,
            Self::Here { operator, who, .. } => Ok(operator.pause(queue, request, who).await?),
        }
    }

    /// Ends a pause.
    pub(crate) async fn resume(&self, queue: &str) -> Result<QueueView, Refusal> {
        match self {
            Self::Remote(api) => api.delete(&["queues", queue, "pause"]).await,
            Self::Here { operator, who, .. } => Ok(operator.resume(queue, who).await?),
        }
    }

    /// All dynamic settings.
    pub(crate) async fn settings(&self) -> Result<Vec<SettingView>, Refusal> {
        match self {
            Self::Remote(api) => api.get(&["settings"], &[]).await,
            Self::Here { operator, .. } => Ok(operator.settings().await?),
        }
    }

    /// Sets a dynamic setting.
    pub(crate) async fn set(
        &self,
        key: &str,
        request: &SettingRequest,
    ) -> Result<SettingView, Refusal> {
        match self {
            Self::Remote(api) => api.put(&["settings", key], request).await,
            Self::Here { operator, who, .. } => Ok(operator.set(key, request, who).await?),
        }
    }

    /// Has a dynamic setting fall back.
    pub(crate) async fn unset(&self, key: &str) -> Result<SettingView, Refusal> {
        match self {
            Self::Remote(api) => api.delete(&["settings", key]).await,
            Self::Here { operator, who, .. } => Ok(operator.unset(key, who).await?),
        }
    }

    /// What was done.
    pub(crate) async fn audit(&self, request: &AuditRequest) -> Result<AuditPage, Refusal> {
        match self {
            Self::Remote(api) => {
                let mut query: Vec<_> = number("limit", request.limit).into_iter().collect();
                query.extend(text("before", request.before.as_ref()));
                query.extend(text("kind", request.kind.as_ref()));
                query.extend(text("who", request.who.as_ref()));
                query.extend(text("digest", request.digest.as_ref()));
                query.extend(text("correlation_id", request.correlation_id.as_ref()));
                api.get(&["audit"], &query).await
            }
            Self::Here { operator, .. } => Ok(operator.audit(request).await?),
        }
    }
}

type Pair = (&'static str, String);

fn number(name: &'static str, value: Option<u64>) -> Option<Pair> {
    value.map(|value| (name, value.to_string()))
}

fn text(name: &'static str, value: Option<&String>) -> Option<Pair> {
    value.map(|value| (name, value.clone()))
}

/// A filter as the parameters of a query.
fn asked(filter: &Filter) -> Vec<Pair> {
    let mut query = vec![];
    query.extend(text("reason", filter.reason.as_ref()));
    query.extend(number("min_age", filter.min_age));
    query.extend(number("max_age", filter.max_age));
    query.extend(text("host", filter.host.as_ref()));
    let fields = filter.field.iter();
    query.extend(fields.map(|field| ("field", format!("{}={}", field.name, field.value))));
    let fields = filter.contains.iter();
    query.extend(fields.map(|field| ("contains", format!("{}~{}", field.name, field.value))));
    query.extend(text("text", filter.text.as_ref()));
    query
}
