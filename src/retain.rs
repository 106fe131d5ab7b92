//! Keeps the dead lists within bounds, if an operator sets some: what is too old or too many goes,
//! the oldest first. What goes is archived before, where an archive is set; and it is counted and
//! written down in any case.
//!
//! A message goes off a dead list by the drain's own verified move.

pub mod archive;
pub mod due;

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::dlq::redis::Lists;
use crate::dlq::{Disposition, Edit, Entry, Transfer};
use crate::metrics::RetainMetrics;
use crate::operate::mover::{self, Chosen, Moved, Mover};
use crate::operate::queues::Queue;
use crate::operate::store::End;
use crate::operate::{Error, Operator};
use archive::Archive;
use due::{Due, Limits, due};

/// How often a dead list is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Messages that go at once.
const BATCH: u64 = 100;

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

/// Looks after the dead lists of an operator until cancelled.
pub async fn run(
    config: RetainConfig,
    operator: Operator,
    metrics: RetainMetrics,
    cancel: CancellationToken,
) {
    let mut failing = false;
    while !cancel.is_cancelled() {
        for queue in operator.dead_lists() {
            match care(&config, &operator, queue, &metrics, &cancel).await {
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
    metrics: &RetainMetrics,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let store = operator.store();
    let mut evicted = 0;
    while !cancel.is_cancelled() {
        let tail = store.stretch(&queue.lists.source, End::Oldest, 0, BATCH);
        let tail = tail.await?;
        let now = jiff::Timestamp::now().as_second();
        let ages = due::ages(&tail.entries, &queue.source.fields, now);
        metrics.oldest(&queue.name, ages.first().copied());
        let Some(due) = due(&ages, tail.depth, &config.limits) else {
            break;
        };
        let count = evict(config, operator, queue, &tail.entries, due).await?;
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
    oldest: &[Vec<u8>],
    due: Due,
) -> Result<u64, Error> {
    let due_ones = oldest.iter().take(usize::try_from(due.count).unwrap_or(0));
    let entries = &oldest[..mover::together(due_ones.map(Vec::len))];
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
    let mut mover = Mover::new(store, queue, trail.clone())?;
    let disposition = match &config.archive {
        Some(Archive::Directory(directory)) => {
            archive::write(directory.clone(), &queue.lists.source, entries).await?;
            Disposition::Purge
        }
        Some(Archive::List(list)) => {
            // What an operator began in a cluster is ended first, for it is about the same messages.
            mover.finish().await?;
            mover = Mover::new(store, &to_archive(queue, list), trail)?;
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
        Moved::All => Ok(chosen.len() as u64),
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
