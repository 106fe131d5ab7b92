//! The listeners: `/health` and `/ready` on one port, `/metrics` on another. Reads what the loops
//! publish, never their insides.
//!
//! A probe must get through whatever else knocks: a connection that sends nothing is closed after a
//! while, and when there are too many, the oldest gives way to the newest.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::background::Pulse;
use crate::metrics::Metrics;
use crate::survey::Reach;

/// Longest wait for the head of a request, the first as well as the next on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one listener at a time.
const MAX_CONNECTIONS: usize = 256;
/// How long open requests may take when the listener closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A port that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on port {port} ({variable})")]
pub struct BindError {
    port: u16,
    variable: &'static str,
    source: io::Error,
}

/// Binds a port on every address; 0 takes any free one.
///
/// # Errors
/// Names the port and the variable that sets it.
pub async fn bind(port: u16, variable: &'static str) -> Result<TcpListener, BindError> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = match TcpListener::bind(both).await {
        // A machine without IPv6 knows no such address.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        result => result,
    };
    listener.map_err(|source| BindError {
        port,
        variable,
        source,
    })
}

/// What the health listener tells.
#[derive(Clone, Debug)]
pub struct HealthState {
    /// Whether the drain loop turns.
    pub pulse: Pulse,
    /// Whether Redis can be reached.
    pub reach: watch::Receiver<Reach>,
    /// Cancelled when the process is about to end.
    pub shutdown: CancellationToken,
}

/// `/health` and `/ready`.
pub fn health_routes(state: HealthState) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(state)
}

/// `/metrics`.
pub fn metrics_routes(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .with_state(metrics)
}

async fn health(State(state): State<HealthState>) -> Response {
    match state.pulse.overdue() {
        None => "OK".into_response(),
        Some(late) => {
            let text = format!("the drain loop is stuck, overdue by {} s\n", late.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn ready(State(state): State<HealthState>) -> Response {
    let unready = match &*state.reach.borrow() {
        _ if state.shutdown.is_cancelled() => "shutting down\n".to_owned(),
        Reach::Up => return "OK".into_response(),
        Reach::Unknown => "starting\n".to_owned(),
        Reach::Down(error) => format!("redis cannot be reached: {}: {error}\n", error.reason),
    };
    (StatusCode::SERVICE_UNAVAILABLE, unready).into_response()
}

async fn render(State(metrics): State<Metrics>) -> Response {
    match metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Serves a listener until cancelled, then lets open requests end for a moment.
pub async fn serve(listener: TcpListener, routes: Router, shutdown: CancellationToken) {
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.add(stream, routes.clone(), shutdown.clone()),
                Err(error) => {
                    // Out of descriptors, most likely: some must close before another can open.
                    tracing::debug!(%error, "connection not accepted");
                    connections.drop_oldest();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.tasks.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while connections.tasks.join_next().await.is_some() {} };
    // Who is still reading or writing after that is cut off with the rest of the tasks.
    let _ = timeout(CLOSE_TIMEOUT, all).await;
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, stream: TcpStream, routes: Router, shutdown: CancellationToken) {
        if self.by_age.len() >= MAX_CONNECTIONS {
            self.by_age.retain(|task| !task.is_finished());
        }
        if self.by_age.len() >= MAX_CONNECTIONS {
            self.drop_oldest();
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "connections are owned by this set"
        )]
        let task = self.tasks.spawn(connection(stream, routes, shutdown));
        self.by_age.push_back(task);
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.by_age.pop_front() {
            oldest.abort();
        }
    }
}

async fn connection(stream: TcpStream, routes: Router, shutdown: CancellationToken) {
    let service = TowerToHyperService::new(routes);
    let mut served = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}
