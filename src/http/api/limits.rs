//! What bounds the API as a whole: how many requests at once, for how long, and what every answer
//! says to a browser that should not have asked. And what is not cut short by any of it: an act is
//! done to its end and told in the log, whoever still waits for its answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::ApiState;
use super::access::{self, Role};
use super::problem::{self, Problem};

/// Requests that are worked on at a time.
const AT_ONCE: usize = 16;
/// How long the answer to one may take to begin; the parts of an export as well.
pub(super) const TIME: Duration = Duration::from_secs(30);

/// Those among them of keys that may only read, so that whoever only looks, however slowly, leaves
/// room for who acts.
const OF_READERS: usize = 12;

/// The places for requests.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_readers: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            of_readers: Arc::new(Semaphore::new(OF_READERS)),
        }
    }
}

impl Places {
    /// A place, if there is one.
    fn take(&self, role: Role) -> Option<Place> {
        let wanted = match role {
            Role::Operator => vec![&self.all],
            Role::Reader => vec![&self.of_readers, &self.all],
        };
        let permits = wanted.into_iter().map(|of| of.clone().try_acquire_owned());
        let permits: Result<Vec<_>, _> = permits.collect();
        let held = Arc::new(permits.ok()?);
        Some(Place { _held: held })
    }
}

/// A place among the requests that are worked on; held until the last copy goes.
#[derive(Clone, Debug)]
pub(in crate::http) struct Place {
    _held: Arc<Vec<OwnedSemaphorePermit>>,
}

/// Takes a place, and gives the request its time.
pub(in crate::http) async fn bound(
    State(api): State<ApiState>,
    mut asked: Request,
    go: Next,
) -> Response {
    let role = asked.extensions().get().copied().unwrap_or(Role::Reader);
    let Some(place) = api.0.places.take(role) else {
        let detail = "too many requests are being worked on";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .after(1)
            .into_response();
    };
    // A page lets go of its request as soon as it has read it, so that this holds the place as well.
    asked.extensions_mut().insert(place.clone());
    let reads = access::only_reads(asked.method());
    let answering = go.run(asked);
    let answer = if reads {
        timeout(TIME, answering).await
    } else {
        timeout(TIME, to_its_end(&api, place.clone(), answering)).await
    };
    drop(place);
    answer.unwrap_or_else(|_| {
        let detail = "it took longer than 30 s; what was asked for may have happened all the same, the audit tells";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).into_response()
    })
}

/// Does an act apart from its connection: this may be dropped at any moment, the act is not.
async fn to_its_end(
    api: &ApiState,
    place: Place,
    act: impl Future<Output = Response> + Send + 'static,
) -> Response {
    let acting = api.0.acts.spawn(async move {
        let answer = act.await;
        drop(place);
        answer
    });
    acting.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an act has broken off");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// Makes every failure a problem, every answer safe for browsers, and counts.
pub(super) async fn dress(State(api): State<ApiState>, asked: Request, go: Next) -> Response {
    let method = asked.method().clone();
    let route = asked.extensions().get::<MatchedPath>().cloned();
    let mut response = problem::made_of(go.run(asked).await);
    if let Some(metrics) = &api.0.metrics {
        let route = route.as_ref().map(MatchedPath::as_str);
        metrics.answered(method.as_str(), route, response.status().as_u16());
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
