//! A note beside the source that parking has stopped, and since when, so that a restart does not
//! forget it. One key, which is there only while it holds.

use std::time::Duration;

use redis::Cmd;
use tokio::time::Instant;

use crate::link::cluster::beside;
use crate::link::{self, Link, LinkConfig, Reason};

/// After a failure it is not tried again for so long.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The note of one source, over a line of its own.
#[derive(Debug)]
pub struct Latch {
    link: Link,
    /// `None` where no other key is sure to be in the source's slot.
    key: Option<String>,
    /// What the key holds, as far as known.
    noted: Noted,
    /// When it could not be kept.
    failed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    Unread,
    Known(Option<i64>),
}

impl Latch {
    /// A line that has not connected yet.
    #[must_use]
    pub fn new(redis: LinkConfig, source: &str) -> Self {
        Self {
            link: Link::new(redis, source),
            key: beside(source, &format!("systemic:{source}")),
            noted: Noted::Unread,
            failed: None,
        }
    }

    /// Since when, in Unix seconds, parking has stopped, as somebody before us has noted; `None`
    /// after the first answer, and where nothing is noted or it is not ours to read.
    ///
    /// # Errors
    /// The connection; the next call asks again.
    pub async fn first_read(&mut self) -> Result<Option<i64>, link::Error> {
        let (Noted::Unread, Some(key)) = (self.noted, &self.key) else {
            return Ok(None);
        };
        let answer = self.link.call(redis::cmd("GET").arg(key)).await;
        // It is hardly ever needed again.
        self.link.close();
        let text: Option<Vec<u8>> = match answer {
            Ok(text) => text,
            Err(error) if matches!(error.reason, Reason::NoPermission | Reason::WrongType) => {
                self.cannot(&error);
                None
            }
            Err(error) => return Err(error),
        };
        let since = text.and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
        self.noted = Noted::Known(since);
        Ok(since)
    }

    /// Notes since when parking has stopped, or that it goes on. Whether that succeeds changes
    /// nothing for the drain; what fails is tried again at a later call.
    pub async fn keep(&mut self, since: Option<i64>) {
        let Some(key) = &self.key else { return };
        let failed = self.failed.is_some_and(|at| at.elapsed() < TRY_AGAIN);
        if failed || self.noted == Noted::Known(since) {
            return;
        }
        let command: Cmd = match since {
            Some(since) => Cmd::set(key, since),
            None => Cmd::del(key),
        };
        let answer = self.link.call::<redis::Value>(&command).await;
        self.link.close();
        match answer {
            Ok(_) => self.noted = Noted::Known(since),
            Err(error) => self.cannot(&error),
        }
    }

    fn cannot(&mut self, error: &link::Error) {
        if self.failed.replace(Instant::now()).is_none() {
            tracing::warn!(
                key = self.key,
                %error,
                "whether parking has stopped cannot be noted in redis, so a restart may forget it"
            );
        }
    }
}
