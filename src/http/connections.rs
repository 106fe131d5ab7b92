//! The connections of one listener: how many there may be, and which give way.
//!
//! Idle ones are simply held, as long as there is room, and cost little: a connection gets its
//! buffers with its first byte. One that asks for nothing, or reads nothing, is closed after a
//! while; when there are too many, those that ask for nothing give way first.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Longest wait for the first byte of a connection.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the rest of a request's head, and for the next request on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a client to read anything more of its answers.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// What a head may have, and a buffer; hyper allows no less.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Connections of a listener, however many files may be open: some 20 KiB each at worst.
const MAX_CONNECTIONS: u64 = 2_048;
/// How many newcomers push out a silent one each second at most, which bounds what a crowd costs
/// that comes back as soon as it is closed.
const MAX_PUSHES_PER_SECOND: u32 = 3_840;

/// How many connections a listener holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections among them that have asked for nothing yet. The rest is for those that have, so
    /// that a crowd that only knocks cannot push them out.
    pub silent: usize,
}

impl Limits {
    /// For a process that may have so many files open, with up to three listeners: each gets a
    /// quarter, so that what talks to Redis and Moogsoft never goes without.
    pub fn within(open_files: u64) -> Self {
        let connections = (open_files / 4).min(MAX_CONNECTIONS);
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        Self {
            connections,
            silent: connections / 4 * 3,
        }
    }

    /// How long a newcomer may listen in silence before another may take its place.
    fn time_to_ask(self) -> Duration {
        let silent = u32::try_from(self.silent).unwrap_or(u32::MAX);
        Duration::from_secs(1) * silent / MAX_PUSHES_PER_SECOND
    }
}

impl Default for Limits {
    /// With the limit of open files that Linux starts a process with.
    fn default() -> Self {
        Self::within(1_024)
    }
}

pub(super) struct Connections {
    limits: Limits,
    tasks: JoinSet<()>,
    /// In the order in which they came.
    open: VecDeque<Open>,
    /// Requests so far.
    requests: Arc<AtomicU64>,
}

struct Open {
    id: Id,
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

/// Says, for an answer that goes on and on, that its client is still there: or a stream would be the
/// connection that has asked longest ago, and the first to give way.
#[derive(Clone)]
pub(super) struct StillThere {
    seen: Arc<Seen>,
    requests: Arc<AtomicU64>,
}

impl StillThere {
    pub(super) fn note(&self) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.seen.asked.store(number, Ordering::Relaxed);
    }
}

impl Open {
    fn asked(&self) -> u64 {
        self.seen.asked.load(Ordering::Relaxed)
    }
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            tasks: JoinSet::new(),
            open: VecDeque::new(),
            requests: Arc::default(),
        }
    }

    /// When there is room for another connection; `None` if there is now.
    pub(super) fn room(&mut self) -> Option<Instant> {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.forget(&ended);
        }
        if self.open.len() < self.limits.connections {
            return None;
        }
        let least = self.open.get(self.least_missed()?)?;
        if least.asked() > 0 {
            return None;
        }
        Some(self.time_is_up(least)).filter(|room| *room > Instant::now())
    }

    /// When a silent connection has had its time to ask.
    fn time_is_up(&self, open: &Open) -> Instant {
        let heard = open.seen.heard.get().copied();
        heard.unwrap_or_else(Instant::now) + self.limits.time_to_ask()
    }

    pub(super) fn add(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        routes: Router,
        shutdown: CancellationToken,
    ) {
        if self.open.len() >= self.limits.connections {
            self.drop_one();
        }
        let seen = Arc::new(Seen::default());
        let (noted, requests) = (seen.clone(), self.requests.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "connections are owned by this set"
        )]
        let task = self.tasks.spawn(async move {
            let _ = noted.heard.set(Instant::now());
            if speaks(&stream, &shutdown).await {
                Box::pin(converse((stream, peer), routes, noted, requests, shutdown)).await;
            }
        });
        let id = task.id();
        self.open.push_back(Open { id, task, seen });
    }

    /// Closes the oldest connection that has had its time to ask and did not.
    pub(super) fn drop_idle(&mut self) {
        let oldest = self.open.iter().position(|open| open.asked() == 0);
        if let Some(at) = oldest
            && self.time_is_up(&self.open[at]) <= Instant::now()
            && let Some(open) = self.open.remove(at)
        {
            open.task.abort();
        }
    }

    /// Closes the connection that is missed least.
    fn drop_one(&mut self) {
        if let Some(open) = self.least_missed().and_then(|at| self.open.remove(at)) {
            open.task.abort();
        }
    }

    /// Waits for a connection to end; for ever if there is none.
    pub(super) async fn one_ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.forget(&ended),
            None => std::future::pending().await,
        }
    }

    pub(super) async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn forget(&mut self, ended: &Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => *id,
            // It has left the list already.
            Err(error) if error.is_cancelled() => return,
            Err(error) => error.id(),
        };
        // Probes are among the youngest, and end soonest.
        if let Some(at) = self.open.iter().rposition(|open| open.id == id) {
            self.open.remove(at);
        }
    }

    fn least_missed(&self) -> Option<usize> {
        least_missed(self.open.iter().map(Open::asked), self.limits.silent)
    }
}

/// Whether a connection says something in time. Until then it needs no buffers.
async fn speaks(stream: &TcpStream, shutdown: &CancellationToken) -> bool {
    let mut byte = [0];
    tokio::select! {
        biased;
        // Not `readable`, which may be wrong, and is wrong for a new connection.
        said = timeout(SILENCE_TIMEOUT, stream.peek(&mut byte)) => matches!(said, Ok(Ok(1..))),
        () = shutdown.cancelled() => false,
    }
}

async fn converse(
    (stream, peer): (TcpStream, SocketAddr),
    routes: Router,
    seen: Arc<Seen>,
    requests: Arc<AtomicU64>,
    shutdown: CancellationToken,
) {
    let routes = TowerToHyperService::new(routes);
    let there = StillThere { seen, requests };
    let service = service_fn(move |mut request: hyper::Request<_>| {
        there.note();
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(there.clone());
        routes.call(request)
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(UNREAD_TIMEOUT));
    let mut served = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
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
}

/// Of connections in the order in which they came, each with its last request, the one to close:
/// the oldest silent one where those are many, else the one whose last request is longest ago. Not
/// always a silent one: a probe is silent, too, until its request arrives.
fn least_missed(asked: impl Iterator<Item = u64>, many: usize) -> Option<usize> {
    let mut silent = 0;
    let mut oldest = None;
    let mut stalest: Option<(u64, usize)> = None;
    for (at, last) in asked.enumerate() {
        if last == 0 {
            silent += 1;
            oldest = oldest.or(Some(at));
        } else if stalest.is_none_or(|(least, _)| last < least) {
            stalest = Some((last, at));
        }
    }
    let stalest = stalest.map(|(_, at)| at);
    if silent < many {
        stalest.or(oldest)
    } else {
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_holds_a_quarter_of_the_open_files_at_most() {
        for (open_files, connections, silent) in [
            (1_048_576, 2_048, 1_536),
            (4_096, 1_024, 768),
            (1_024, 256, 192),
            (64, 16, 12),
            (u64::MAX, 2_048, 1_536),
        ] {
            let limits = Limits::within(open_files);
            assert_eq!((limits.connections, limits.silent), (connections, silent));
        }
    }

    #[test]
    fn the_more_are_held_the_longer_each_may_take_to_ask() {
        assert_eq!(Limits::within(1_024).time_to_ask().as_millis(), 50);
        assert_eq!(Limits::within(u64::MAX).time_to_ask().as_millis(), 400);
    }

    #[test]
    fn many_silent_connections_give_way_before_any_that_has_asked() {
        let asked = [3, 0, 1, 2].into_iter().chain([0; 10]);
        assert_eq!(least_missed(asked, 10), Some(1));
    }

    #[test]
    fn a_few_silent_ones_outlast_the_one_that_asked_longest_ago() {
        let asked = [3, 0, 1, 2].into_iter().chain([0; 8]);
        assert_eq!(least_missed(asked, 10), Some(2));
    }

    #[test]
    fn without_any_that_has_asked_the_oldest_gives_way() {
        assert_eq!(least_missed([0, 0].into_iter(), 10), Some(0));
        assert_eq!(least_missed(std::iter::empty(), 10), None);
    }
}
