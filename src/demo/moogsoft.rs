//! A stand-in for Moogsoft's webhook.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::time::Instant;

/// Answers 503 until a moment, then 200.
#[derive(Clone, Debug)]
pub struct Moogsoft {
    up_at: Instant,
}

impl Moogsoft {
    /// Healthy from the start.
    #[must_use]
    pub fn healthy() -> Self {
        Self::down_for(Duration::ZERO)
    }

    /// Down at first, for this long.
    #[must_use]
    pub fn down_for(outage: Duration) -> Self {
        Self {
            up_at: Instant::now() + outage,
        }
    }

    /// `POST /webhook`, and `GET /health` for container health checks.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/webhook", post(answer))
            .route("/health", get(|| async { "OK" }))
            .with_state(self.clone())
    }
}

async fn answer(State(moogsoft): State<Moogsoft>) -> StatusCode {
    if Instant::now() < moogsoft.up_at {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}
