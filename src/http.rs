//! The listeners: `/health` and `/ready` on one port, `/metrics` on another. Reads what the loops
//! publish, never their insides.
//!
//! A probe must get through whatever else knocks, and the drain must not wait for the crowd: a
//! connection that sends nothing, or reads nothing, is closed after a while, when there are too many
//! those that ask for nothing give way first, and many scrapes share one rendering.

pub mod api;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::background::Pulse;
use crate::metrics::Metrics;
use crate::survey::Reach;

/// Longest wait for the head of a request, the first as well as the next on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a client to read anything more of its answers.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that the system keeps until they are accepted; what comes on top must knock again a
/// second later. As many as Linux allows by default.
const BACKLOG: u32 = 4_096;
/// Connections of one listener at a time.
const MAX_CONNECTIONS: usize = 256;
/// Connections among them that have asked for nothing yet. The rest is for those that have, so that
/// a crowd that only knocks cannot push them out.
const MAX_SILENT: usize = 192;
/// How long a newcomer may listen in silence before another may take its place. So no crowd gets in
/// faster than a few thousand a second, which also bounds what it costs.
const TIME_TO_ASK: Duration = Duration::from_millis(50);
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
pub async fn serve(listener: TcpListener, routes: Router, shutdown: CancellationToken) {
    let mut connections = Connections::default();
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
                    // Out of descriptors, most likely: some must close before another can open.
                    tracing::debug!(%error, "connection not accepted");
                    connections.drop_one();
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
    /// In the order in which they came.
    open: VecDeque<Open>,
    /// Requests so far.
    requests: Arc<AtomicU64>,
}

struct Open {
    task: AbortHandle,
    seen: Arc<Seen>,
}

/// What a connection has done so far.
#[derive(Default)]
struct Seen {
    /// Since when it is listened to: not yet while its task waits for its first turn.
    heard: OnceLock<Instant>,
    /// Which request of its listener was its last one; 0 while it has made none.
    asked: AtomicU64,
}

impl Open {
    fn asked(&self) -> u64 {
        self.seen.asked.load(Ordering::Relaxed)
    }
}

impl Connections {
    /// When there is room for another connection; `None` if there is now.
    fn room(&mut self) -> Option<Instant> {
        if self.open.len() < MAX_CONNECTIONS {
            return None;
        }
        self.open.retain(|open| !open.task.is_finished());
        if self.open.len() < MAX_CONNECTIONS {
            return None;
        }
        let least = self.open.get(self.least_missed()?)?;
        if least.asked() > 0 {
            return None;
        }
        let now = Instant::now();
        let room = *least.seen.heard.get().unwrap_or(&now) + TIME_TO_ASK;
        Some(room).filter(|room| *room > now)
    }

    fn add(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        routes: Router,
        shutdown: CancellationToken,
    ) {
        if self.open.len() >= MAX_CONNECTIONS {
            self.drop_one();
        }
        let seen = Arc::new(Seen::default());
        let (heard, noted, requests) = (seen.clone(), seen.clone(), self.requests.clone());
        let routes = TowerToHyperService::new(routes);
        let service = service_fn(move |mut request: hyper::Request<_>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
            noted.asked.store(number, Ordering::Relaxed);
            routes.call(request)
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "connections are owned by this set"
        )]
        let task = self.tasks.spawn(async move {
            let _ = heard.heard.set(Instant::now());
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(UNREAD_TIMEOUT));
            let mut served = std::pin::pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .max_buf_size(16 * 1024)
                    .serve_connection(TokioIo::new(Box::pin(stream)), service)
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
        });
        self.open.push_back(Open { task, seen });
    }

    /// Closes the connection that is missed least.
    fn drop_one(&mut self) {
        if let Some(open) = self.least_missed().and_then(|at| self.open.remove(at)) {
            open.task.abort();
        }
    }

    fn least_missed(&self) -> Option<usize> {
        least_missed(self.open.iter().map(Open::asked))
    }
}

/// Of connections in the order in which they came, each with its last request, the one to close:
/// the oldest silent one where those are many, else the one whose last request is longest ago. Not
/// always a silent one: a probe is silent, too, until its request arrives.
fn least_missed(asked: impl Iterator<Item = u64>) -> Option<usize> {
    let (silent, served): (Vec<_>, Vec<_>) = asked.enumerate().partition(|(_, last)| *last == 0);
    let stalest = served.iter().min_by_key(|(_, last)| *last);
    let chosen = if silent.len() < MAX_SILENT {
        stalest.or(silent.first())
    } else {
        silent.first()
    };
    chosen.map(|(at, _)| *at)
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

    #[test]
    fn many_silent_connections_give_way_before_any_that_has_asked() {
        let asked = [3, 0, 1, 2].into_iter().chain([0; MAX_SILENT]);
        assert_eq!(least_missed(asked), Some(1));
    }

    #[test]
    fn a_few_silent_ones_outlast_the_one_that_asked_longest_ago() {
        let asked = [3, 0, 1, 2].into_iter().chain([0; MAX_SILENT - 2]);
        assert_eq!(least_missed(asked), Some(2));
    }

    #[test]
    fn without_any_that_has_asked_the_oldest_gives_way() {
        assert_eq!(least_missed([0, 0].into_iter()), Some(0));
        assert_eq!(least_missed(std::iter::empty()), None);
    }
}
