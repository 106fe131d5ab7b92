//! Looks at Redis every few seconds, whatever the interval of the drain: whether it can be reached,
//! and how many messages each list holds. Reads only.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::background::Backoff;
use crate::link::{Error, LinkConfig, Links, Reason};
use crate::metrics::SurveyMetrics;

const PERIOD: Duration = Duration::from_secs(2);

/// The lists whose depths are shown.
#[derive(Clone, Debug)]
pub struct SurveyConfig {
    /// The line to Redis.
    pub redis: LinkConfig,
    /// Dead letter lists.
    pub dlqs: Vec<String>,
    /// Work queues.
    pub queues: Vec<String>,
}

/// Whether Redis can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Not known yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not, or not to us.
    Down(Error),
}

/// Surveys Redis until cancelled.
pub async fn run(
    config: SurveyConfig,
    reach: watch::Sender<Reach>,
    metrics: SurveyMetrics,
    cancel: CancellationToken,
) {
    let mut links = Links::new(config.redis.clone());
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(3));
    while !cancel.is_cancelled() {
        let seen = match look(&mut links, &config, &metrics).await {
            Ok(()) => Reach::Up,
            Err(error) => Reach::Down(error),
        };
        let wait = if seen == Reach::Up {
            backoff.reset();
            PERIOD
        } else {
            backoff.next_wait()
        };
        metrics.redis_up(seen == Reach::Up);
        tell(&reach.borrow(), &seen);
        reach.send_replace(seen);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn look(
    links: &mut Links,
    config: &SurveyConfig,
    metrics: &SurveyMetrics,
) -> Result<(), Error> {
    for name in &config.dlqs {
        if let Some(depth) = depth(links, name).await? {
            metrics.dlq_depth(name, depth);
        }
    }
    for name in &config.queues {
        if let Some(depth) = depth(links, name).await? {
            metrics.queue_depth(name, depth);
        }
    }
    Ok(())
}

/// The length of a list; `None` where the key is none, or not ours to read.
async fn depth(links: &mut Links, name: &str) -> Result<Option<i64>, Error> {
    match links.to(name).call(redis::cmd("LLEN").arg(name)).await {
        Ok(depth) => Ok(Some(depth)),
        Err(error) if matches!(error.reason, Reason::WrongType | Reason::NoPermission) => {
            tracing::debug!(list = name, %error, "depth cannot be read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn tell(before: &Reach, now: &Reach) {
    match (before, now) {
        (Reach::Unknown, Reach::Up) => tracing::info!("redis is reached"),
        (Reach::Down(_), Reach::Up) => tracing::warn!("redis is reached again"),
        (Reach::Unknown | Reach::Up, Reach::Down(error)) => tracing::warn!(
            reason = %error.reason,
            %error,
            advice = error.reason.advice(),
            "redis cannot be reached, trying again"
        ),
        (Reach::Down(old), Reach::Down(error)) if old.reason != error.reason => tracing::warn!(
            reason = %error.reason,
            %error,
            advice = error.reason.advice(),
            "redis still cannot be reached, for another reason"
        ),
        _ => {}
    }
}
