//! Writes down what no move does: gates that open or shut, settings that are refused.
//!
//! None of these waits for it. What Redis cannot take for a while is kept, up to a bound.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Entry;
use crate::background::Backoff;
use crate::link::{LinkConfig, Links};

/// Entries that wait, at most.
const WAITING: usize = 256;

/// Longest wait for the last ones when the process ends.
const LAST: Duration = Duration::from_millis(500);

/// Where to say what is to be written down.
#[derive(Clone, Debug)]
pub struct Journal(Option<mpsc::Sender<(String, Entry)>>);

/// Writes down what is said; see [`journal`].
#[derive(Debug)]
pub struct Scribe {
    said: mpsc::Receiver<(String, Entry)>,
    length: u64,
}

/// A journal and who writes it, for an audit of this length.
#[must_use]
pub fn journal(length: u64) -> (Journal, Scribe) {
    let (sender, said) = mpsc::channel(WAITING);
    let kept = length > 0;
    (Journal(kept.then_some(sender)), Scribe { said, length })
}

impl Journal {
    /// Says what is to be written to this stream.
    pub fn tell(&self, stream: Option<&String>, entry: Entry) {
        if let (Some(sender), Some(stream)) = (&self.0, stream)
            && sender.try_send((stream.clone(), entry)).is_err()
        {
            tracing::debug!("too much waits to be written to the audit, an entry was dropped");
        }
    }
}

impl Scribe {
    /// Writes until cancelled.
    pub async fn run(mut self, redis: LinkConfig, cancel: CancellationToken) {
        let mut links = Links::new(redis);
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut failing = false;
        loop {
            let said = tokio::select! {
                biased;
                said = self.said.recv() => said,
                () = cancel.cancelled() => return,
            };
            let Some((stream, entry)) = said else {
                // Nobody can say anything any more.
                return cancel.cancelled().await;
            };
            loop {
                let mut add = redis::cmd("XADD");
                add.arg(&stream).arg("MAXLEN").arg("~").arg(self.length);
                add.arg("*").arg(&entry);
                let written = links.to(&stream).call::<redis::Value>(&add);
                let written = if cancel.is_cancelled() {
                    let Ok(written) = timeout(LAST, written).await else {
                        return;
                    };
                    written
                } else {
                    written.await
                };
                match written {
                    Ok(_) => {
                        failing = false;
                        backoff.reset();
                        break;
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(key = stream, %error, advice = error.reason.advice(),
                                "the audit cannot be written, trying again");
                        }
                    }
                }
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = sleep(backoff.next_wait()) => {}
                }
            }
        }
    }
}
