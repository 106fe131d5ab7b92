//! Keeps the dead lists within bounds, if an operator sets some: what is too old or too many goes,
//! the oldest first. What goes is archived before, where an archive is set; and it is counted and
//! written down in any case.
//!
//! A message goes off a dead list by the drain's own verified move.

pub mod archive;
pub mod due;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::audit::digest;
use crate::dlq::redis::Lists;
use crate::dlq::{self, Disposition, Edit, Entry, Proviso, Transfer};
use crate::metrics::RetainMetrics;
use crate::operate::mover::{self, Chosen, Moved, Mover};
use crate::operate::queues::Queue;
use crate::operate::{Error, Operator};
use archive::Archive;
use due::{Due, Limits, Why, due};

/// How often a dead list is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Messages that go at once.
const BATCH: u64 = 100;

/// Bytes of a message whose age is shown, at most, where nothing is evicted.
const SHOWN: u64 = 64 * 1024;

/// Pause between two batches, so that others get their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// What keeps the dead lists within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainConfig {
    /// The bounds.
    pub limits: Limits,
    /// Where to put what goes; nowhere, and it is gone.
    pub archive: Option<Archive>,
}

/// A dead list, as it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadList {
    /// What it is called.
    pub queue: String,
    /// Its key in Redis.
    pub list: String,
    /// Messages in it.
    pub depth: u64,
    /// For how many seconds the oldest message has lain there, if it tells.
    pub oldest: Option<u64>,
}

/// Where it is shown how the dead lists stand.
#[derive(Debug)]
pub struct DeadLists(watch::Sender<Vec<DeadList>>);

impl DeadLists {
    /// None was looked at yet.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Vec<DeadList>>) {
        let (sender, receiver) = watch::channel(vec![]);
        (Self(sender), receiver)
    }

    fn show(&self, list: DeadList) {
        self.0.send_modify(|lists| {
            lists.retain(|known| known.queue != list.queue);
            lists.push(list);
        });
    }
}

/// The oldest messages of each dead list that lie in the archive already: while they cannot be
/// evicted, they are not written there again and again.
#[derive(Debug, Default)]
struct Archived(BTreeMap<String, Vec<String>>);

impl Archived {
    /// How many of the oldest messages need not be written.
    fn fresh(&self, list: &str, oldest: &[Vec<u8>]) -> usize {
        let known = self.0.get(list).map_or(&[][..], Vec::as_slice);
        let pairs = known.iter().zip(oldest);
        pairs
            .take_while(|(known, bytes)| **known == digest(bytes))
            .count()
    }

    /// All of these lie there.
    fn written(&mut self, list: &str, oldest: &[Vec<u8>]) {
        let digests = oldest.iter().map(|bytes| digest(bytes)).collect();
        self.0.insert(list.to_owned(), digests);
    }

    /// So many of the oldest are gone.
    fn evicted(&mut self, list: &str, count: usize) {
        if let Some(known) = self.0.get_mut(list) {
            known.drain(..count.min(known.len()));
        }
    }
}

/// Looks after the dead lists of an operator until cancelled.
pub async fn run(
    config: RetainConfig,
    operator: Operator,
    metrics: RetainMetrics,
    lists: DeadLists,
    cancel: CancellationToken,
) {
    let mut failing = false;
    let mut archived = Archived::default();
    while !cancel.is_cancelled() {
        for queue in operator.dead_lists() {
            let seen = (&metrics, &lists);
            let cared = care(&config, &operator, queue, &mut archived, seen, &cancel);
            match cared.await {
                Ok(()) => failing = false,
                Err(error) => {
                    metrics.failed();
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            list = queue.lists.source,
                            %error,
                            "the dead list cannot be kept within its bounds, trying again; nothing is evicted"
                        );
                    }
                }
            }
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// Evicts what is due, batch after batch.
async fn care(
    config: &RetainConfig,
    operator: &Operator,
    queue: &Queue,
    archived: &mut Archived,
    (metrics, lists): (&RetainMetrics, &DeadLists),
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let store = operator.store();
    let mut evicted = 0;
    while !cancel.is_cancelled() {
        let tail = if config.limits == Limits::default() {
            // Only its age is shown.
            store.oldest_up_to(&queue.lists.source, SHOWN).await?
        } else {
            let most = dlq::redis::Limits {
                entries: BATCH,
                bytes: mover::BYTES,
            };
            store.oldest(&queue.lists.source, most).await?
        };
        let now = jiff::Timestamp::now().as_second();
        let ages = due::ages(&tail.entries, &queue.source.fields, now);
        let oldest = ages.first().copied();
        // One that is too large to be read tells nothing.
        metrics.oldest(&queue.name, oldest.or((tail.depth > 0).then_some(None)));
        lists.show(DeadList {
            queue: queue.name.clone(),
            list: queue.lists.source.clone(),
            depth: tail.depth,
            oldest: oldest.flatten(),
        });
        let Some(due) = due(&ages, tail.depth, &config.limits) else {
            break;
        };
        let count = evict(config, operator, queue, archived, &tail.entries, due).await?;
        metrics.evicted(&queue.name, due.why, count);
        evicted += count;
        tokio::select! {
            () = cancel.cancelled() => {}
            () = sleep(PAUSE) => {}
        }
    }
    if evicted > 0 {
        tracing::warn!(
            list = queue.lists.source,
            evicted,
            archived = config.archive.is_some(),
            "messages were evicted from the dead list, because it is above its bounds"
        );
    }
    Ok(())
}

/// Archives and evicts the oldest entries; returns how many have gone.
async fn evict(
    config: &RetainConfig,
    operator: &Operator,
    queue: &Queue,
    archived: &mut Archived,
    oldest: &[Vec<u8>],
    due: Due,
) -> Result<u64, Error> {
    let entries = &oldest[..usize::try_from(due.count).unwrap_or(0).min(oldest.len())];
    let store = operator.store();
    let about = [
        ("act", "evict"),
        ("why", due.why.as_str()),
        ("queue", &queue.name),
        ("list", &queue.lists.source),
        ("archive", &archive::shown(config.archive.as_ref())),
        ("instance", operator.instance()),
    ];
    let about = about.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let trail = operator.trail(queue, about.into(), false);
    // Another worker may be at it: of identical messages the younger ones would look like those that
    // are due, and fewer would stay than may.
    let proviso = Proviso {
        lease: None,
        keep: match due.why {
            Why::Count => config.limits.count,
            Why::Age => 0,
        },
    };
    let mut mover = Mover::new(store, queue, trail.clone())?.provided(proviso.clone());
    let disposition = match &config.archive {
        Some(Archive::Directory(directory)) => {
            let list = &queue.lists.source;
            let fresh = archived.fresh(list, entries);
            if fresh < entries.len() {
                archive::write(directory.clone(), list, &entries[fresh..]).await?;
            }
            archived.written(list, entries);
            Disposition::Purge
        }
        // A move of another kind would not see one in two steps that is under way, and take what has
        // been pushed already. So it is copied, and then goes by the same move as everything else.
        Some(Archive::List(list)) if mover.takes_two_steps() => {
            let dead = &queue.lists.source;
            let fresh = archived.fresh(dead, entries);
            if fresh < entries.len() {
                store.put(list, &entries[fresh..]).await?;
            }
            archived.written(dead, entries);
            Disposition::Purge
        }
        Some(Archive::List(list)) => {
            mover = Mover::new(store, &to_archive(queue, list), trail)?.provided(proviso);
            Disposition::Restore
        }
        None => Disposition::Purge,
    };
    let chosen = entries.iter().zip(0..).map(|(bytes, at)| Chosen {
        at,
        transfer: Transfer {
            entry: Entry(bytes.clone()),
            edits: Vec::<Edit>::new(),
            disposition,
        },
    });
    let chosen: Vec<Chosen> = chosen.collect();
    match mover.take(&chosen).await? {
        Moved::All => {
            archived.evicted(&queue.lists.source, chosen.len());
            Ok(chosen.len() as u64)
        }
        // Others are at work there: the next look decides.
        Moved::Conflict => Ok(0),
    }
}

fn to_archive(queue: &Queue, list: &str) -> Queue {
    Queue {
        lists: Lists {
            source: queue.lists.source.clone(),
            target: list.to_owned(),
            dead: list.to_owned(),
        },
        ..queue.clone()
    }
}
