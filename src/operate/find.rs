//! Finds messages by their digests: near where each was seen last, and the others in one go through
//! the queue.

use super::look::Budget;
use super::queues::Queue;
use super::scan::Scan;
use super::search::{Found, Search, WHOLE, hexadecimal};
use super::store::End;
use super::{Error, Operator};

/// Messages that are looked at in search of others.
const SEARCH: u64 = 100_000;

/// Places before the one where a message was seen that are searched first.
const NEAR: u64 = 500;

/// Places in a list, at most.
const LONGEST: u64 = 1_000_000_000;

/// A message that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its digest or the beginning of it, as [`hexadecimal`] spells it.
    pub(super) digest: String,
    /// So many copies of it.
    pub(super) times: usize,
    /// Where it was seen last.
    pub(super) at: Option<u64>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Of each that was wanted, in their order.
    pub(super) found: Vec<Option<Found>>,
    /// Messages that were looked at.
    pub(super) scanned: u64,
    /// Messages in the queue, where not all of them were looked at and some were not found.
    pub(super) short_of: Option<u64>,
}

impl Operator {
    /// Looks for messages, as far as one answer goes.
    ///
    /// # Errors
    /// [`Error`] says which, also where others may be meant as well.
    pub(super) async fn look_for(&self, queue: &Queue, wanted: &[Wanted]) -> Result<Looked, Error> {
        let list = &queue.lists.source;
        let mut looked = Looked::default();
        for wanted in wanted {
            let enough = |found: &Found| found.at.len() >= wanted.times;
            let near = self.near(list, wanted, &mut looked.scanned).await?;
            looked.found.push(near.filter(enough));
        }
        let missing = |(_, found): &(usize, &Option<Found>)| found.is_none();
        let rest = looked.found.iter().enumerate().filter(missing);
        let rest: Vec<usize> = rest.map(|(index, _)| index).collect();
        if rest.is_empty() {
            return Ok(looked);
        }
        let times: Vec<usize> = rest.iter().map(|index| wanted[*index].times).collect();
        let mut search = Search::new(rest.iter().map(|index| &wanted[*index].digest));
        let mut way = Scan::new(&self.store, list, End::Oldest, 0);
        let mut budget = Budget::new(Some(SEARCH));
        let ended = walk(&mut way, &mut budget, &mut search, &times).await?;
        looked.scanned += budget.spent;
        for (index, found) in rest.into_iter().zip(search.found()?) {
            let alone = ended || wanted[index].digest.len() == WHOLE;
            if found.is_none() && !ended {
                looked.short_of = Some(way.depth());
            }
            looked.found[index] = found.map(|found| Found { alone, ..found });
        }
        Ok(looked)
    }

    /// Looks where a message was seen last, and a little before: older ones may have gone since.
    async fn near(
        &self,
        list: &str,
        wanted: &Wanted,
        scanned: &mut u64,
    ) -> Result<Option<Found>, Error> {
        // No list is longer.
        let Some(at) = wanted.at.filter(|at| *at <= LONGEST) else {
            return Ok(None);
        };
        let from = at.saturating_sub(NEAR);
        // Mostly it lies there still, and the others need not be read.
        for (from, count) in [(at, 1), (from, at - from)] {
            let mut way = Scan::new(&self.store, list, End::Oldest, from);
            let mut budget = Budget::new(Some(count));
            let mut search = Search::new([&wanted.digest]);
            walk(&mut way, &mut budget, &mut search, &[usize::MAX]).await?;
            *scanned += budget.spent;
            if let Some(found) = search.found()?.into_iter().flatten().next() {
                return Ok(Some(Found {
                    alone: true,
                    ..found
                }));
            }
        }
        Ok(None)
    }

    /// Looks for one message, and returns it with its bytes and how many were looked at.
    ///
    /// # Errors
    /// [`Error`] says which; [`Error::NotFound`] also where it was not among those looked at.
    pub(super) async fn find(
        &self,
        queue: &Queue,
        digest: &str,
        at: Option<u64>,
    ) -> Result<(Found, Vec<u8>, u64), Error> {
        let wanted = Wanted {
            digest: hexadecimal(digest)?,
            // However many there are.
            times: usize::MAX,
            at,
        };
        let mut scanned = 0;
        let mut found = self
            .near(&queue.lists.source, &wanted, &mut scanned)
            .await?;
        if found.is_none() {
            let anywhere = Wanted { at: None, ..wanted };
            let mut looked = self
                .look_for(queue, std::slice::from_ref(&anywhere))
                .await?;
            scanned += looked.scanned;
            found = looked.found.pop().flatten();
            if let (None, Some(depth)) = (&found, looked.short_of) {
                let (wanted, searched) = (anywhere.digest, looked.scanned);
                return Err(Error::NotFound {
                    what: "message",
                    name: format!(
                        "{wanted} among the oldest {searched} of {depth}; say where it was seen (at), or look for it with a filter"
                    ),
                });
            }
        }
        let mut found = found.ok_or_else(|| Error::not_found("message", digest))?;
        // One alone is held however large it is.
        let bytes = found.bytes.take().unwrap_or_default();
        Ok((found, bytes, scanned))
    }
}

/// Goes on until so many copies of each were found or the budget is spent, and says whether that was
/// to the end of the list.
async fn walk(
    way: &mut Scan<'_>,
    budget: &mut Budget,
    search: &mut Search,
    times: &[usize],
) -> Result<bool, Error> {
    while let Some(most) = budget.left() {
        if search.has_all(times) {
            return Ok(false);
        }
        let Some(step) = way.next(most).await? else {
            return Ok(true);
        };
        budget.spend(step.entries.len());
        search.look(&step.entries, step.at);
    }
    Ok(budget.spent >= way.depth())
}
