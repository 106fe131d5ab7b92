//! The operator's API: the pages below `/api/v1`, on a listener of their own, over the core in
//! `operate`. It knows who asks and what is bounded, never how a message moves.
//!
//! A request passes, from the outside in: `limits::dress`, which makes every failure a problem and
//! counts; `access::guard`, which knows who asks and refuses who may not, before anything else is
//! looked at; `limits::bound`, which gives it a place and a time, and has acts done to their end; and
//! its page.

pub(super) mod access;
pub(super) mod acts;
mod document;
pub(super) mod export;
mod failures;
pub(super) mod limits;
mod look;
pub(super) mod problem;
pub(super) mod take;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Serialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use access::{Access, Keys};
pub use problem::Problem;

use super::CLOSE_TIMEOUT;
use crate::metrics::ApiMetrics;
use crate::operate::Operator;
use crate::operate::wire::Who;
use crate::slo::Slos;
use crate::slo::known::Known;
use failures::Failures;

/// Where all pages are.
const BASE: &str = "/api/v1";

/// How to serve the API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Its port; 0 = any.
    pub port: u16,
    /// Where it listens; every address if missing.
    pub address: Option<IpAddr>,
    /// The key for everything.
    pub key: Option<SecretString>,
    /// The key for looking.
    pub read_key: Option<SecretString>,
    /// Whether somebody has set any of this: if not, a port that is taken is no reason not to start.
    pub wanted: bool,
}

impl ApiConfig {
    /// How it is found out who asks: by a key if there is one. Without any, it listens to the
    /// loopback alone.
    #[must_use]
    pub fn access(&self) -> Access {
        if self.key.is_none() && self.read_key.is_none() {
            return Access::Loopback;
        }
        Access::Keys(Keys::new(self.key.as_ref(), self.read_key.as_ref()))
    }
}

/// What the pages share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    operator: Operator,
    slos: Slos,
    access: Access,
    metrics: Option<ApiMetrics>,
    failures: Mutex<Failures>,
    places: limits::Places,
    /// What is being done, whoever waits for it.
    acts: TaskTracker,
    document: OnceLock<Bytes>,
}

impl ApiState {
    /// For a listener.
    #[must_use]
    pub fn new(operator: Operator, slos: Slos, access: Access, metrics: ApiMetrics) -> Self {
        Self::with(operator, slos, access, Some(metrics))
    }

    /// For the command line, which asks in its own process: nobody is asked for a key.
    #[must_use]
    pub fn in_process(operator: Operator, slos: Slos, who: Who) -> Self {
        Self::with(operator, slos, Access::Known(who), None)
    }

    fn with(operator: Operator, slos: Slos, access: Access, metrics: Option<ApiMetrics>) -> Self {
        Self(Arc::new(Shared {
            operator,
            slos,
            access,
            metrics,
            failures: Mutex::default(),
            places: limits::Places::default(),
            acts: TaskTracker::new(),
            document: OnceLock::new(),
        }))
    }

    /// What it speaks to.
    pub(super) fn operator(&self) -> &Operator {
        &self.0.operator
    }

    /// What is known of the objectives.
    pub(super) fn slos(&self) -> Arc<Known> {
        self.0.slos.borrow().clone()
    }

    /// How it is found out who asks.
    pub(super) fn access(&self) -> &Access {
        &self.0.access
    }

    /// What counts requests, where there is a listener.
    pub(super) fn metrics(&self) -> Option<&ApiMetrics> {
        self.0.metrics.as_ref()
    }

    /// From this moment on acts have as long to end as the listener's connections have: those whose
    /// client has gone would not be waited for with its connection.
    pub async fn acts_ended(&self, closing: CancellationToken) {
        closing.cancelled().await;
        self.0.acts.close();
        if timeout(CLOSE_TIMEOUT, self.0.acts.wait()).await.is_err() {
            tracing::warn!("an operator's act did not end in time; the audit tells what it did");
        }
    }
}

/// All pages, guarded.
pub fn routes(api: ApiState) -> Router {
    let pages = OpenApiRouter::new()
        .routes(routes!(look::status))
        .routes(routes!(look::queues))
        .routes(routes!(look::queue))
        .routes(routes!(look::messages))
        .routes(routes!(look::message))
        .routes(routes!(acts::edit))
        .routes(routes!(look::original))
        .routes(routes!(acts::act))
        .routes(routes!(export::export))
        .routes(routes!(acts::import))
        .routes(routes!(acts::plan))
        .routes(routes!(acts::pause, acts::resume))
        .routes(routes!(look::runs, acts::start))
        .routes(routes!(look::run))
        .routes(routes!(acts::cancel))
        .routes(routes!(look::settings))
        .routes(routes!(acts::set, acts::unset))
        .routes(routes!(look::audit))
        .routes(routes!(look::slo))
        .routes(routes!(document::openapi));
    let all = OpenApiRouter::with_openapi(document::empty()).nest(BASE, pages);
    let (router, document) = all.split_for_parts();
    if let Some(metrics) = &api.0.metrics {
        for (path, item) in &document.paths.paths {
            let methods = [
                ("GET", &item.get),
                ("PUT", &item.put),
                ("POST", &item.post),
                ("DELETE", &item.delete),
            ];
            for (method, _) in methods.iter().filter(|(_, known)| known.is_some()) {
                metrics.page(method, path);
            }
        }
    }
    // The document consists of texts, so that it can always be written.
    let text = serde_json::to_vec(&document).unwrap_or_default();
    let _ = api.0.document.set(text.into());
    router
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(from_fn_with_state(api.clone(), limits::bound))
        .layer(from_fn_with_state(api.clone(), access::guard))
        .layer(from_fn_with_state(api.clone(), limits::dress))
        .with_state(api)
}

/// What a page answers.
type Answer<T> = Result<Reply<T>, Problem>;

/// A value in JSON.
struct Reply<T>(StatusCode, T);

impl<T> Reply<T> {
    #[expect(clippy::unnecessary_wraps, reason = "it is what every page ends with")]
    fn ok(value: T) -> Answer<T> {
        Ok(Self(StatusCode::OK, value))
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.1) {
            Ok(text) => {
                let kind = [(header::CONTENT_TYPE, "application/json")];
                (self.0, kind, text).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
