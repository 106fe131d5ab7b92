//! What bounds the API as a whole: how many requests at once, for how long, and what every answer
//! says to a browser that should not have asked.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::ApiState;
use super::problem::{self, Problem};

/// Requests that are worked on at a time.
pub(super) const AT_ONCE: usize = 16;
/// How long the answer to one may take to begin; the parts of an export as well.
pub(super) const TIME: Duration = Duration::from_secs(30);

/// A place among the requests that are worked on; held until the last copy goes.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<OwnedSemaphorePermit>);

impl Place {
    /// What an answer holds that goes on after its head.
    pub(super) fn hold(&self) -> Arc<OwnedSemaphorePermit> {
        self.0.clone()
    }
}

/// Takes a place, and gives the request its time.
pub(super) async fn bound(State(api): State<ApiState>, mut asked: Request, go: Next) -> Response {
    let Ok(place) = api.0.places.clone().try_acquire_owned() else {
        let detail = "too many requests are being worked on";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .after(1)
            .into_response();
    };
    // A page lets go of its request as soon as it has read it, so that this holds the place as well.
    let place = Place(Arc::new(place));
    asked.extensions_mut().insert(place.clone());
    let answer = timeout(TIME, go.run(asked)).await;
    drop(place);
    answer.unwrap_or_else(|_| {
        let detail = "it took longer than 30 s; what was asked for may have happened all the same, the audit tells";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).into_response()
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
