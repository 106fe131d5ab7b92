//! Keeps the settings in step with Redis: a message on the updates channel makes it look at once,
//! and it looks every few seconds anyway, because a subscription can go deaf without a sign.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use redis::aio::PubSub;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Overlay, Settings, keys};
use crate::link::{Error, Link, LinkConfig, Reason};
use crate::metrics::SettingsMetrics;

const PREFIX: &str = "mutt:config:";
const CHANNEL: &str = "mutt:config:updates";
/// A plain SET is to take effect within 5 s; this leaves two for a slow answer.
const PERIOD: Duration = Duration::from_secs(3);
/// Updates that come within this time of each other are one.
const GATHER: Duration = Duration::from_millis(50);
/// Longest wait for the subscriber's connection to answer.
const SUBSCRIBER_TIMEOUT: Duration = Duration::from_secs(2);

/// Follows the dynamic settings until cancelled.
pub async fn run(
    config: LinkConfig,
    settings: watch::Sender<Settings>,
    metrics: SettingsMetrics,
    settled: CancellationToken,
    cancel: CancellationToken,
) {
    let mut overlay = Overlay::new(settings.borrow().clone());
    let mut link = Link::new(config);
    let mut subscriber = None;
    let mut failing = false;
    while !cancel.is_cancelled() {
        if subscriber.is_none() {
            subscriber = subscribe(&mut link).await;
        }
        // Read after subscribing, so that no update falls between the two.
        match read(&mut link).await {
            Ok(texts) => {
                failing = false;
                publish(&mut overlay, &texts, &settings, &metrics);
                settled.cancel();
            }
            Err(error) => {
                tell(&error, failing);
                failing = true;
                // A user who may not read them will not wait for them either.
                if error.reason == Reason::NoPermission {
                    settled.cancel();
                }
            }
        }
        let alive = tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => answers(subscriber.as_mut()).await,
            alive = update(subscriber.as_mut()) => alive,
        };
        if !alive {
            subscriber = None;
        }
    }
}

fn tell(error: &Error, still_failing: bool) {
    if still_failing {
        tracing::debug!(%error, "dynamic settings still cannot be read");
    } else {
        tracing::warn!(reason = %error.reason, %error, advice = error.reason.advice(),
            "dynamic settings cannot be read, the last ones stay");
    }
}

fn publish(
    overlay: &mut Overlay,
    found: &[Option<String>],
    settings: &watch::Sender<Settings>,
    metrics: &SettingsMetrics,
) {
    let (now, refused) = overlay.take(found);
    for refused in refused {
        metrics.refused(refused.key);
        let shown: String = refused.text.chars().take(80).collect();
        tracing::warn!(
            key = refused.key,
            value = shown.escape_debug().to_string(),
            expected = refused.expected,
            "dynamic setting refused, the last good value stays"
        );
    }
    metrics.enabled(now.enabled);
    settings.send_if_modified(|current| {
        let changed = *current != now;
        if changed {
            tracing::info!(before = ?current, after = ?now, "settings changed");
            *current = now;
        }
        changed
    });
}

async fn read(link: &mut Link) -> Result<Vec<Option<String>>, Error> {
    let mut found = Vec::new();
    for key in keys() {
        // Bytes, because a value that is no text must be refused and not end the reading. The same
        // goes for a key that is no string.
        let mut get = redis::cmd("GET");
        get.arg(format!("{PREFIX}{key}"));
        found.push(match link.call::<Option<Vec<u8>>>(&get).await {
            Ok(value) => value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.reason == Reason::WrongType => Some(error.to_string()),
            Err(error) => return Err(error),
        });
    }
    Ok(found)
}

/// A subscriber, or none for now: the slow reading goes on without it.
async fn subscribe(link: &mut Link) -> Option<PubSub> {
    let mut subscriber = match link.subscriber().await {
        Ok(subscriber) => subscriber,
        Err(error) => {
            tracing::debug!(%error, "no subscription to setting updates");
            return None;
        }
    };
    let answer = timeout(SUBSCRIBER_TIMEOUT, subscriber.subscribe(CHANNEL)).await;
    matches!(answer, Ok(Ok(()))).then_some(subscriber)
}

/// Waits for an update; false when the subscription is lost. Without one it waits for ever.
async fn update(subscriber: Option<&mut PubSub>) -> bool {
    let Some(subscriber) = subscriber else {
        return std::future::pending().await;
    };
    let mut updates = subscriber.on_message();
    if updates.next().await.is_none() {
        return false;
    }
    // One look serves all updates that come close together.
    tokio::time::sleep(GATHER).await;
    while let Some(update) = updates.next().now_or_never() {
        if update.is_none() {
            return false;
        }
    }
    true
}

/// Whether the subscriber's connection still answers.
async fn answers(subscriber: Option<&mut PubSub>) -> bool {
    let Some(subscriber) = subscriber else {
        return false;
    };
    let ping = subscriber.ping::<redis::Value>();
    matches!(timeout(SUBSCRIBER_TIMEOUT, ping).await, Ok(Ok(_)))
}
