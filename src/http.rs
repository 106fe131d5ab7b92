//! The listeners: `/health` and `/ready` on one port, `/metrics` on another. Reads what the loops
//! publish, never their insides.
//!
//! A probe must get through whatever else knocks, and the drain must not wait for the crowd:
//! `connections` holds many and closes those that nobody misses, and many scrapes share one
//! rendering.

pub mod api;
mod connections;
pub mod console;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::background::Pulse;
use crate::metrics::Metrics;
use crate::survey::Reach;

use connections::Connections;
pub use connections::Limits;

/// Connections that the system keeps until they are accepted; what comes on top must knock again a
/// second later. As many as Linux allows by default.
const BACKLOG: u32 = 4_096;
/// A rendering of the metrics is handed out for so long, which bounds what any number of scrapers
/// costs. No scraper can tell it from a slower network.
const FRESH: Duration = Duration::from_millis(50);
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

/// Binds a port on every address; 0 takes any free one. The listener belongs to the runtime in
/// whose context this is called.
///
/// # Errors
/// Names the port and the variable that sets it.
pub fn bind(port: u16, variable: &'static str) -> Result<TcpListener, BindError> {
    let listener = match listen((Ipv6Addr::UNSPECIFIED, port).into()) {
        // A machine without IPv6 knows no such address.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            listen((Ipv4Addr::UNSPECIFIED, port).into())
        }
        result => result,
    };
    listener.map_err(|source| BindError {
        port,
        variable,
        source,
    })
}

/// Binds a port at one address; 0 takes any free one.
///
/// # Errors
/// Names the port and the variable that sets it.
pub fn bind_at(
    address: IpAddr,
    port: u16,
    variable: &'static str,
) -> Result<TcpListener, BindError> {
    listen((address, port).into()).map_err(|source| BindError {
        port,
        variable,
        source,
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Or a restart would find the port taken by the connections of its predecessor.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What the health listener tells.
#[derive(Clone, Debug)]
pub struct HealthState {
    /// Whether the drain loops turn.
    pub pulses: Vec<Pulse>,
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
        .with_state(Arc::new(Page::new(metrics)))
}

async fn health(State(state): State<HealthState>) -> Response {
    match state.pulses.iter().filter_map(Pulse::overdue).max() {
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

async fn render(State(page): State<Arc<Page>>) -> Response {
    page.metrics.were_scraped();
    match page.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The metrics as they were rendered last.
struct Page {
    metrics: Metrics,
    rendered: Mutex<Option<(Instant, Bytes)>>,
}

impl Page {
    fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            rendered: Mutex::new(None),
        }
    }

    /// The metrics as text, at most [`FRESH`] old.
    fn text(&self) -> prometheus::Result<Bytes> {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, text)) = &*rendered
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let text = Bytes::from(self.metrics.render()?);
        *rendered = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

/// Serves a listener until cancelled, then lets open requests end for a moment.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let mut connections = Connections::new(limits);
    loop {
        let room = connections.room();
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = sleep_until(room.unwrap_or_else(Instant::now)), if room.is_some() => {}
            accepted = listener.accept(), if room.is_none() => match accepted {
                Ok((stream, peer)) => {
                    connections.add(stream, peer, routes.clone(), shutdown.clone());
                }
                Err(error) => {
                    // Out of descriptors, most likely: one must close before another can open. Linux
                    // says so even where nobody knocks, so that no one may go who might yet ask.
                    tracing::debug!(%error, "connection not accepted");
                    connections.drop_idle();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            () = connections.one_ended() => {}
        }
    }
    drop(listener);
    // Who is still reading or writing after that is cut off with the rest of the tasks.
    let _ = timeout(CLOSE_TIMEOUT, connections.all_ended()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn scrapes_within_a_moment_share_one_rendering() {
        let metrics = Metrics::new().expect("metrics");
        let page = Page::new(metrics.clone());
        let first = page.text().expect("rendered");
        metrics.drain.of("alerter").pass_began();
        tokio::time::advance(FRESH / 2).await;
        assert_eq!(page.text().expect("rendered"), first);
        tokio::time::advance(FRESH / 2).await;
        let later = page.text().expect("rendered");
        let later = str::from_utf8(&later).expect("text");
        assert!(
            later.contains("\nmutt_remediation_loops_total 1\n"),
            "{later}"
        );
    }
}
