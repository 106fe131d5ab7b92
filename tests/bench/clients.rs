//! The crowd at the listeners: scrapers, a probe, and connections that say nothing or half a word.
//!
//! They speak HTTP by hand, so that they cost the machine little beside what they ask for.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Time between two scrapes of one client.
const SCRAPE: Duration = Duration::from_millis(100);
/// Time between two probes of `/health`.
const PROBE: Duration = Duration::from_millis(20);
/// How long a connection that was closed stays away.
const AWAY: Duration = Duration::from_secs(1);
/// They come one after the other in this time, so that they are closed one after the other, too.
const ARRIVAL: Duration = Duration::from_secs(10);
/// An answer that takes longer counts as refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many of each there are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Crowd {
    /// Clients that scrape `/metrics` over a kept connection each.
    pub(crate) scrapers: usize,
    /// Connections on each listener, every other one with half a request line.
    pub(crate) idle: usize,
}

/// What the crowd has seen.
#[derive(Default)]
pub(crate) struct Seen {
    scrapes: Mutex<Vec<Duration>>,
    probes: Mutex<Vec<Duration>>,
    refused: Mutex<Vec<String>>,
    held: AtomicUsize,
    closed: AtomicUsize,
}

/// Gone when dropped.
pub(crate) struct Running {
    pub(crate) seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

impl Seen {
    pub(crate) fn scrapes(&self) -> Vec<Duration> {
        take(&self.scrapes)
    }

    pub(crate) fn probes(&self) -> Vec<Duration> {
        take(&self.probes)
    }

    /// Requests that were not answered, or wrongly.
    pub(crate) fn refused(&self) -> Vec<String> {
        take(&self.refused)
    }

    /// Idle connections that the daemon has closed.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }

    fn note(&self, times: &Mutex<Vec<Duration>>, began: Instant, result: io::Result<()>) {
        match result {
            Ok(()) => lock(times).push(began.elapsed()),
            Err(error) => lock(&self.refused).push(error.to_string()),
        }
    }
}

/// Starts the crowd, and waits until all of it has got in once.
pub(crate) async fn gather(crowd: Crowd, health: u16, metrics: u16) -> Running {
    let seen = Arc::new(Seen::default());
    let mut tasks = JoinSet::new();
    // First those that stay, as in life: what knocks later must not push them out.
    for _ in 0..crowd.scrapers {
        tasks.spawn(scrape(metrics, seen.clone()));
    }
    tasks.spawn(probe(health, seen.clone()));
    while lock(&seen.scrapes).len() < crowd.scrapers && lock(&seen.refused).is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    let mut ticks = interval(ARRIVAL / u32::try_from(crowd.idle.max(1)).expect("a few thousand"));
    for number in 0..crowd.idle {
        ticks.tick().await;
        let word: &[u8] = if number % 2 == 0 { b"" } else { b"GET /heal" };
        tasks.spawn(hold(health, word, seen.clone()));
        tasks.spawn(hold(metrics, word, seen.clone()));
    }
    while seen.held.load(Ordering::Relaxed) < 2 * crowd.idle && lock(&seen.refused).is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    Running {
        seen,
        _tasks: tasks,
    }
}

async fn scrape(port: u16, seen: Arc<Seen>) {
    let mut ticks = interval(SCRAPE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let result = ask(&mut kept, port, "/metrics", "mutt_remediation_loops_total").await;
        seen.note(&seen.scrapes, began, result);
    }
}

async fn probe(port: u16, seen: Arc<Seen>) {
    let mut ticks = interval(PROBE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let began = Instant::now();
        // A connection for each, as the kubelet does it.
        let result = ask(&mut None, port, "/health", "OK").await;
        seen.note(&seen.probes, began, result);
    }
}

/// Holds a connection, and comes back when it is closed.
async fn hold(port: u16, word: &[u8], seen: Arc<Seen>) {
    loop {
        match timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await {
            Ok(Ok(mut line)) => {
                seen.held.fetch_add(1, Ordering::Relaxed);
                let _ = line.write_all(word).await;
                let _ = line.read_to_end(&mut Vec::new()).await;
                seen.closed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(error)) => lock(&seen.refused).push(format!("to connect: {error}")),
            Err(_) => lock(&seen.refused).push("to connect: no answer".into()),
        }
        sleep(AWAY).await;
    }
}

async fn ask(
    kept: &mut Option<TcpStream>,
    port: u16,
    path: &str,
    expected: &str,
) -> io::Result<()> {
    let asking = async {
        let mut line = match kept.take() {
            Some(line) => line,
            None => TcpStream::connect(("127.0.0.1", port)).await?,
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        line.write_all(request.as_bytes()).await?;
        let answer = answer(&mut line).await?;
        if !answer.starts_with("HTTP/1.1 200 ") || !answer.contains(expected) {
            return Err(io::Error::other(format!("{path} answered {answer:?}")));
        }
        *kept = Some(line);
        Ok(())
    };
    let named = |error: io::Error| io::Error::other(format!("{path}: {error}"));
    match timeout(PATIENCE, asking).await {
        Ok(result) => result.map_err(named),
        Err(_) => Err(io::Error::other(format!("{path}: no answer in time"))),
    }
}

/// Head and body of an answer that tells its length.
async fn answer(line: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(16 * 1024);
    loop {
        if line.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines();
        let length = lines.find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok());
        if length.is_some_and(|length: usize| body.len() >= length) {
            return Ok(text.into_owned());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take<T>(mutex: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut *lock(mutex))
}
