//! Waits for something to arrive in an idle queue.
//!
//! Redis tells of it: on a line of its own that speaks RESP3, with `CLIENT TRACKING` on, a look at the
//! length of the list has the server say once when the list changes after that. So a busy queue costs
//! one word for each look and not one for each message, other lists cost nothing, and nothing need be
//! set up at the server; keyspace notifications would need all three.
//!
//! Where the server does not know it or the user may not use it, and in case that it goes deaf, the
//! length is looked at now and then.

use std::time::Duration;

use redis::PushInfo;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use crate::link::{self, Link, LinkConfig, Reason};

/// How often the length is looked at while the server tells, in case that it does not.
const DISTRUST: Duration = Duration::from_secs(5);
/// How often where the server does not tell.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks lies so long, at least: the list may be changed by others who empty it again.
const BREATH: Duration = Duration::from_millis(50);

/// Rings when a list holds something.
#[derive(Debug)]
pub struct Bell {
    source: String,
    config: LinkConfig,
    link: Link,
    /// What the server says unasked; a word for each look at most.
    unasked: UnboundedReceiver<PushInfo>,
    way: Way,
}

/// How an arrival is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The server is to tell, and has not been asked on this line yet.
    ToAsk,
    /// The server tells, on the line of this number.
    Told(u64),
    /// Nobody tells.
    Looking,
}

impl Bell {
    /// A bell at this list, over a connection of its own that is made at the first use.
    #[must_use]
    pub fn new(config: LinkConfig, source: &str) -> Self {
        let (sender, unasked) = mpsc::unbounded_channel();
        Self {
            source: source.to_owned(),
            link: Link::new(config.clone(), source).hearing(sender),
            config,
            unasked,
            way: Way::ToAsk,
        }
    }

    /// Waits until the list holds something. Redis may be away meanwhile.
    pub async fn rings(&mut self) {
        loop {
            match self.look().await {
                Ok(0) => {}
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "arrivals cannot be seen"),
            }
            tokio::time::sleep(BREATH).await;
            if self.way == Way::Told(self.link.opened()) {
                // A word, the end of the line, or the end of trust.
                let _ = timeout(DISTRUST, self.unasked.recv()).await;
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn look(&mut self) -> Result<u64, link::Error> {
        // What was said before this look is seen by it.
        while self.unasked.try_recv().is_ok() {}
        self.ask().await?;
        let mut length = redis::cmd("LLEN");
        length.arg(&self.source);
        self.link.call(&length).await
    }

    /// Has the server tell, where it has not been asked on this line.
    async fn ask(&mut self) -> Result<(), link::Error> {
        if self.way == Way::Looking || self.way == Way::Told(self.link.opened()) {
            return Ok(());
        }
        self.way = Way::ToAsk;
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON");
        match self.link.call::<()>(&tracking).await {
            Ok(()) => {
                self.way = Way::Told(self.link.opened());
                Ok(())
            }
            Err(error) if matches!(error.reason, Reason::NoPermission | Reason::Other) => {
                tracing::info!(
                    list = self.source,
                    reason = %error.reason,
                    %error,
                    "redis does not tell of arrivals, so the queue is looked at once a second"
                );
                self.way = Way::Looking;
                self.link = Link::new(self.config.clone(), &self.source);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
