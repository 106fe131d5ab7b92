//! Keeps the settings in step with Redis: a message on the updates channel makes it look at once,
//! and it looks every few seconds anyway, because a subscription can go deaf without a sign.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use redis::aio::PubSub;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Overlay, Settings, differences, full_key, keys};
use crate::audit::tell::Journal;
use crate::audit::{Kind, entry};
use crate::link::{Error, LinkConfig, Links, Reason};
use crate::metrics::SettingsMetrics;

/// A change is told here, with the key as payload.
pub const CHANNEL: &str = "mutt:config:updates";
/// A plain SET is to take effect within 5 s; this leaves two for a slow answer.
const PERIOD: Duration = Duration::from_secs(3);
/// Pause before a lost subscription is made again.
const RESUBSCRIBE: Duration = Duration::from_millis(500);
/// Updates that come within this time of each other are one.
const GATHER: Duration = Duration::from_millis(50);
/// Longest wait for the subscriber's connection to answer.
const SUBSCRIBER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is known of the settings in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// They are not followed, or our user may not read them: the environment's count.
    NotNeeded,
    /// They have not been read yet, or could not be read just now.
    Unread,
    /// They were read at this moment.
    Read(Instant),
}

/// For so long what was read counts as what Redis holds; they are read every three seconds.
const GOOD_FOR: Duration = Duration::from_secs(6);

impl Knowledge {
    /// Whether one may act upon the settings.
    #[must_use]
    pub fn is_good(&self) -> bool {
        match self {
            Self::NotNeeded => true,
            Self::Unread => false,
            Self::Read(at) => at.elapsed() < GOOD_FOR,
        }
    }
}

/// Follows the dynamic settings until cancelled; what is refused is told to the audit.
pub async fn run(
    config: LinkConfig,
    settings: watch::Sender<Settings>,
    metrics: SettingsMetrics,
    told: (Journal, Option<String>),
    knowledge: watch::Sender<Knowledge>,
    cancel: CancellationToken,
) {
    let mut overlay = Overlay::new(settings.borrow().clone());
    let mut links = Links::new(config);
    let mut subscriber = None;
    let mut failing = None;
    while !cancel.is_cancelled() {
        if subscriber.is_none() {
            subscriber = subscribe(&mut links).await;
        }
        // Read after subscribing, so that no update falls between the two.
        match read(&mut links, overlay.base()).await {
            Ok(texts) => {
                failing = None;
                publish(&mut overlay, &texts, &settings, &metrics, &told);
                knowledge.send_replace(Knowledge::Read(Instant::now()));
            }
            Err(error) => {
                tell(&error, failing);
                failing = Some(error.reason);
                // Who may not read them cannot wait for them either.
                let refused = matches!(error.reason, Reason::NoPermission | Reason::Other);
                knowledge.send_replace(if refused {
                    Knowledge::NotNeeded
                } else {
                    Knowledge::Unread
                });
            }
        }
        let alive = tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => answers(subscriber.as_mut()).await,
            alive = update(subscriber.as_mut()) => alive,
        };
        if !alive && !cancel.is_cancelled() {
            subscriber = None;
            // A line that dies at once must not be made anew at once.
            tokio::time::sleep(RESUBSCRIBE).await;
        }
    }
}

fn tell(error: &Error, before: Option<Reason>) {
    if before == Some(error.reason) {
        tracing::debug!(%error, "dynamic settings still cannot be read");
    } else if matches!(error.reason, Reason::NoPermission | Reason::Other) {
        tracing::warn!(reason = %error.reason, %error, advice = error.reason.advice(),
            "dynamic settings cannot be read, the last ones stay");
    } else {
        tracing::warn!(reason = %error.reason, %error, advice = error.reason.advice(),
            "dynamic settings cannot be read, nothing is drained until they are");
    }
}

fn publish(
    overlay: &mut Overlay,
    found: &[Option<String>],
    settings: &watch::Sender<Settings>,
    metrics: &SettingsMetrics,
    (journal, audit): &(Journal, Option<String>),
) {
    let (now, refused) = overlay.take(found);
    for refused in refused {
        metrics.refused(&refused.key);
        let shown: String = refused.text.chars().take(80).collect();
        let said = [
            ("key", refused.key.as_ref()),
            ("value", &shown),
            ("expected", &refused.expected),
        ];
        journal.tell(audit.as_ref(), entry(Kind::Refused, said));
        tracing::warn!(
            key = %refused.key,
            value = shown.escape_debug().to_string(),
            expected = refused.expected,
            "dynamic setting refused, the last good value stays"
        );
    }
    metrics.enabled(now.enabled);
    settings.send_if_modified(|current| {
        let changed = *current != now;
        if changed {
            let what = differences(current, &now);
            tracing::info!(what, "settings changed");
            *current = now;
        }
        changed
    });
}

/// What Redis holds, one text a key in the order of [`keys`].
pub(crate) async fn read(links: &mut Links, base: &Settings) -> Result<Vec<Option<String>>, Error> {
    let mut found = Vec::new();
    for key in keys(base) {
        // Bytes, because a value that is no text must be refused and not end the reading. The same
        // goes for a key that is no string.
        let mut get = redis::cmd("GET");
        let key = full_key(&key);
        get.arg(&key);
        found.push(match links.to(&key).call::<Option<Vec<u8>>>(&get).await {
            Ok(value) => value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.reason == Reason::WrongType => Some(error.to_string()),
            Err(error) => return Err(error),
        });
    }
    Ok(found)
}

/// A subscriber, or none for now: the slow reading goes on without it.
async fn subscribe(links: &mut Links) -> Option<PubSub> {
    let mut subscriber = match links.to(CHANNEL).subscriber().await {
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
