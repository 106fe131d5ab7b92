//! The operator's console: pages for people, on the API's listener and over the same core.
//!
//! Every page is whole without a script and has an address that can be kept: a look is a GET, an
//! act a form that is sent back and answered with a redirect. The script only keeps numbers up to
//! date, draws charts and puts times into the reader's zone. Nothing comes from anywhere else.
//!
//! A request passes, from the outside in: `dress`, which makes a page of every failure; `door::guard`,
//! which knows who asks and where from; the API's `limits::bound`, which gives it a place and a time,
//! and has acts done to their end; `door::read`, which reads a form and sees that it came from a page
//! of this session; and its page.

mod assets;
mod audit;
mod dead;
mod door;
mod edit;
mod failure;
mod filter;
mod layout;
mod live;
mod message;
mod overview;
mod plan;
mod queue;
mod runs;
mod session;
mod settings;
mod sign;
mod slo;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::{get, post};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::ApiState;
use super::api::limits;
use super::api::problem::Problem;
use crate::health::Answered;
use crate::history::History;
use crate::metrics::Metrics;
use crate::operate::Operator;
use crate::operate::wire::Status;

/// Where all pages are.
pub(super) const BASE: &str = "/console";
/// A status is shown for so long, however many look at it.
const FRESH: Duration = Duration::from_secs(1);
/// Pages that are kept up to date at a time.
const STREAMS: usize = 64;
/// Those among them of sessions that may only look.
const OF_READERS: usize = 40;
/// Looks through whole queues at a time: they share one thread with everybody else.
const SCANS: usize = 2;

/// What the pages show besides what the API knows.
#[derive(Clone, Debug)]
pub struct Beside {
    /// What the drains have done.
    pub history: History,
    /// The last answer of Moogsoft; no sender is left where it is not probed.
    pub moogsoft: watch::Receiver<Option<Answered>>,
    /// Whether it is probed at all.
    pub probed: bool,
    /// When Prometheus was here.
    pub metrics: Metrics,
}

/// What the pages share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConsoleState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    api: ApiState,
    beside: Beside,
    /// What the forms are sealed with where nobody signs in.
    local: [u8; 32],
    streams: Arc<Semaphore>,
    of_readers: Arc<Semaphore>,
    scans: Semaphore,
    status: Mutex<Option<(Instant, Arc<Status>)>>,
    closing: CancellationToken,
}

impl ConsoleState {
    /// On the API's listener, until it closes.
    #[must_use]
    pub fn new(api: ApiState, beside: Beside, closing: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            api,
            beside,
            local: session::random(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            of_readers: Arc::new(Semaphore::new(OF_READERS)),
            scans: Semaphore::new(SCANS),
            status: Mutex::default(),
            closing,
        }))
    }

    fn operator(&self) -> &Operator {
        self.0.api.operator()
    }

    /// Waits for its turn to look through a whole queue.
    async fn scan(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.scans.acquire().await.ok()
    }

    /// How things stand, at most a second ago, however many look.
    async fn status(&self) -> Arc<Status> {
        let mut seen = self.0.status.lock().await;
        if let Some((at, status)) = &*seen
            && at.elapsed() < FRESH
        {
            return status.clone();
        }
        let status = Arc::new(self.operator().status().await);
        *seen = Some((Instant::now(), status.clone()));
        status
    }
}

/// All pages, guarded.
pub fn routes(console: ConsoleState) -> Router {
    let api = console.0.api.clone();
    if let Some(metrics) = api.metrics() {
        for method in ["GET", "POST"] {
            metrics.page(method, BASE);
        }
    }
    let behind_the_door = Router::new()
        .route("/console/", get(overview::page))
        .route("/console/history", get(overview::history))
        .route("/console/slo", get(slo::page))
        .route("/console/slo/history", get(slo::history))
        .route("/console/queues/{queue}", get(queue::page))
        .route("/console/queues/{queue}/counts", get(queue::counts))
        .route("/console/queues/{queue}/export", get(queue::export))
        .route("/console/queues/{queue}/pause", post(queue::pause))
        .route("/console/queues/{queue}/resume", post(queue::resume))
        .route("/console/queues/{queue}/plan", get(plan::page))
        .route("/console/queues/{queue}/review", get(plan::review))
        .route("/console/queues/{queue}/acts", post(plan::act))
        .route(
            "/console/queues/{queue}/messages/{digest}",
            get(message::page),
        )
        .route(
            "/console/queues/{queue}/messages/{digest}/edit",
            get(edit::page).post(edit::send),
        )
        .route(
            "/console/queues/{queue}/originals/{original}",
            get(message::original),
        )
        .route("/console/dead", get(dead::page))
        .route("/console/runs", get(runs::list).post(runs::start))
        .route("/console/runs/{run}", get(runs::page))
        .route("/console/runs/{run}/cancel", post(runs::cancel))
        .route("/console/audit", get(audit::page))
        .route(
            "/console/settings",
            get(settings::page).post(settings::change),
        )
        .layer(from_fn(door::read))
        .layer(from_fn_with_state(api, limits::bound))
        .layer(from_fn_with_state(console.clone(), door::guard));
    let streams = Router::new()
        .route("/console/live/overview", get(live::overview))
        .route("/console/live/slo", get(live::slo))
        .route("/console/live/queues/{queue}", get(live::queue))
        .route("/console/live/runs/{run}", get(live::run))
        .layer(from_fn_with_state(console.clone(), door::guard));
    let front = Router::new()
        .route("/", get(async || Redirect::to("/console/")))
        .route("/console", get(async || Redirect::to("/console/")))
        .route("/console/sign-in", get(sign::page).post(sign::sign_in))
        .route("/console/sign-out", post(sign::sign_out))
        .route("/console/{*rest}", get(failure::nothing));
    Router::new()
        .merge(behind_the_door)
        .merge(streams)
        .merge(front)
        .layer(from_fn_with_state(console.clone(), failure::dress))
        .route("/console/assets/{name}", get(assets::file))
        .with_state(console)
}

/// What a page answers.
type Answer<T> = Result<T, Problem>;
