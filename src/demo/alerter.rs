//! A stand-in for the alerter: takes work from the right of the ingest queue, handles most of it,
//! and dead-letters as the real one does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::letters::{ALWAYS_FAILS, NEEDS_DATABASE};
use super::{SOURCE, TARGET};

/// Where the alerter holds what it is at work on.
pub const PROCESSING: &str = "mutt:processing:alerter:demo";
/// It dead-letters unseen what it finds above this.
const MAX_RETRIES: u64 = 3;

/// The alerter's books.
#[derive(Debug)]
pub struct Alerter {
    /// So many more attempts will find the database away.
    outage: AtomicUsize,
    books: Mutex<Books>,
}

/// What the alerter did.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Messages handled, as they arrived.
    pub handled: Vec<Vec<u8>>,
    /// Messages thrown away because they are not JSON or lack a field; lost, that is.
    pub discarded: u64,
    /// Messages dead-lettered again.
    pub bounced: u64,
}

enum Verdict {
    Handled,
    Discarded,
    Bounced(Vec<u8>),
}

impl Alerter {
    /// An alerter whose database is away for this many attempts.
    #[must_use]
    pub fn new(outage: usize) -> Self {
        Self {
            outage: outage.into(),
            books: Mutex::default(),
        }
    }

    /// Its database is away for this many attempts from now on.
    pub fn fail(&self, attempts: usize) {
        self.outage.store(attempts, Ordering::Relaxed);
    }

    /// Empties the books, which nobody reads any more.
    pub fn forget(&self) {
        *self.books() = Books::default();
    }

    /// Number of messages handled so far.
    #[must_use]
    pub fn handled(&self) -> usize {
        self.books().handled.len()
    }

    /// A copy of the books.
    #[must_use]
    pub fn audit(&self) -> Books {
        self.books().clone()
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until cancelled.
    ///
    /// # Errors
    /// When Redis fails.
    pub async fn work(
        &self,
        mut redis: MultiplexedConnection,
        cancel: CancellationToken,
    ) -> redis::RedisResult<()> {
        while !cancel.is_cancelled() {
            let taken: Option<Vec<u8>> = redis::cmd("LMOVE")
                .arg(&[TARGET, PROCESSING, "RIGHT", "LEFT"])
                .query_async(&mut redis)
                .await?;
            let Some(message) = taken else {
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            let mut done = redis::pipe();
            done.atomic().lrem(PROCESSING, 1, &message).ignore();
            match self.handle(&message) {
                Verdict::Handled => self.books().handled.push(message),
                Verdict::Discarded => self.books().discarded += 1,
                Verdict::Bounced(letter) => {
                    self.books().bounced += 1;
                    done.lpush(SOURCE, letter).ignore();
                }
            }
            let () = done.query_async(&mut redis).await?;
        }
        Ok(())
    }

    fn handle(&self, message: &[u8]) -> Verdict {
        let Ok(Value::Object(event)) = serde_json::from_slice(message) else {
            return Verdict::Discarded;
        };
        let required = ["hostname", "timestamp", "message"];
        if !required.iter().all(|name| event.contains_key(*name)) {
            return Verdict::Discarded;
        }
        let retries = event
            .get("_retry_count")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let text = event["message"].as_str().unwrap_or_default();
        if retries > MAX_RETRIES
            || text == ALWAYS_FAILS
            || (text == NEEDS_DATABASE && self.database_is_away())
        {
            return Verdict::Bounced(failed(message));
        }
        Verdict::Handled
    }

    fn database_is_away(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.outage
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}

/// The letter as the alerter dead-letters it: tried in vain until its count is above the limit.
fn failed(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(message);
    text.replacen(r#""_retry_count":0"#, r#""_retry_count":4"#, 1)
        .into_bytes()
}
