//! Goes through a list from one of its ends, in steps that Redis does not notice, and finds its
//! place again when others have been at work on it.

use super::Error;
use super::store::{End, Store};

/// Bytes of a step that are aimed at.
const AIM: u64 = 512 * 1024;

/// Entries in the first step, and in any.
pub(super) const FIRST: u64 = 50;
const MOST: u64 = 1_000;

/// Entries before the cursor that are looked through for the place where the last page ended.
const LOOK_BACK: u64 = 1_000;

/// Where a page ended: a place, and what was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// From which end places are counted.
    pub end: End,
    /// The next place.
    pub at: u64,
    /// The digest of the entry before it.
    pub last: String,
}

impl Cursor {
    /// The text that stands for it: `o` or `n`, the place, and the digest.
    #[must_use]
    pub fn text(&self) -> String {
        let end = match self.end {
            End::Oldest => 'o',
            End::Newest => 'n',
        };
        format!("{end}{}-{}", self.at, self.last)
    }

    /// The cursor that a text stands for.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn read(text: &str) -> Result<Self, Error> {
        let cursor = || {
            let end = match text.chars().next()? {
                'o' => End::Oldest,
                'n' => End::Newest,
                _ => return None,
            };
            let (at, last) = text.get(1..)?.split_once('-')?;
            let sound = last.len() == 40 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
            Some(Self {
                end,
                at: at.parse().ok().filter(|at| *at <= 1_000_000_000)?,
                last: sound.then(|| last.to_owned())?,
            })
        };
        cursor().ok_or_else(|| Error::invalid("cursor", text, "the next of the page before"))
    }
}

/// A way through a list.
#[derive(Debug)]
pub struct Scan<'a> {
    store: &'a Store,
    list: &'a str,
    end: End,
    at: u64,
    step: u64,
    depth: u64,
}

/// A step of the way.
#[derive(Debug)]
pub struct Step {
    /// The place of the first entry.
    pub at: u64,
    /// The entries in their order.
    pub entries: Vec<Vec<u8>>,
}

impl<'a> Scan<'a> {
    /// A way from this place on, counted from that end.
    #[must_use]
    pub fn new(store: &'a Store, list: &'a str, end: End, at: u64) -> Self {
        Self {
            store,
            list,
            end,
            at,
            step: FIRST,
            depth: 0,
        }
    }

    /// Begins with a step of this many entries, as the last way ended.
    #[must_use]
    pub fn with_step(mut self, step: u64) -> Self {
        self.step = step.max(1);
        self
    }

    /// How many entries the next step takes.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// A way on from where a page ended, and whether that place was found again.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn resume(
        store: &'a Store,
        list: &'a str,
        cursor: &Cursor,
    ) -> Result<(Self, bool), Error> {
        let is_it = |entry: &[u8]| crate::audit::digest(entry) == cursor.last;
        let before = cursor.at.saturating_sub(1);
        let there = store.stretch(list, cursor.end, before, 1).await?;
        if there.entries.first().is_some_and(|entry| is_it(entry)) {
            return Ok((Self::new(store, list, cursor.end, cursor.at), true));
        }
        // Counted from the old end it comes closer when older ones go, and from the young end it
        // moves away when new ones come.
        let (from, count) = match cursor.end {
            End::Oldest => (before.saturating_sub(LOOK_BACK), before.min(LOOK_BACK)),
            End::Newest => (cursor.at, LOOK_BACK),
        };
        let mut near = Self::new(store, list, cursor.end, from);
        let mut left = count;
        while left > 0 {
            let Some(step) = near.next(left).await? else {
                break;
            };
            left -= step.entries.len() as u64;
            if let Some(found) = step.entries.iter().rposition(|entry| is_it(entry)) {
                let at = step.at + found as u64 + 1;
                return Ok((Self::new(store, list, cursor.end, at), true));
            }
        }
        Ok((Self::new(store, list, cursor.end, cursor.at), false))
    }

    /// Entries in the list when it was looked at last.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.depth
    }

    /// The next entries, at most so many; `None` at the end of the list.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn next(&mut self, most: u64) -> Result<Option<Step>, Error> {
        let count = self.step.min(most).max(1);
        let stretch = self
            .store
            .stretch(self.list, self.end, self.at, count)
            .await?;
        self.depth = stretch.depth;
        if stretch.entries.is_empty() {
            return Ok(None);
        }
        self.step = next_step(&stretch.entries, stretch.ahead);
        let at = self.at;
        self.at += stretch.entries.len() as u64;
        Ok(Some(Step {
            at,
            entries: stretch.entries,
        }))
    }

    /// Takes note that so many entries before this place are gone.
    pub fn gone(&mut self, count: u64) {
        self.at = self.at.saturating_sub(count);
    }
}

/// How many entries the next step takes: as many of the largest seen, here or `ahead`, as are aimed
/// at.
pub(super) fn next_step(entries: &[Vec<u8>], ahead: u64) -> u64 {
    let largest = entries.iter().map(Vec::len).max().unwrap_or(0) as u64;
    let largest = largest.max(ahead);
    let grown = (entries.len() as u64 * 4).max(FIRST);
    (AIM / largest.max(1)).clamp(1, MOST).min(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let cursor = Cursor {
            end: End::Newest,
            at: 17,
            last: "a".repeat(40),
        };
        assert_eq!(Cursor::read(&cursor.text()), Ok(cursor));
        for bad in [
            "",
            "o",
            "x1-",
            "o1",
            "o-1-a",
            "o1-zz",
            "ö1-",
            "o99999999999-a",
        ] {
            assert!(Cursor::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_step_does_not_run_into_large_entries_unawares() {
        assert_eq!(next_step(&vec![vec![0; 100]; 50], 5 * 1024 * 1024), 1);
    }

    #[test]
    fn steps_grow_while_entries_are_small_and_shrink_before_large_ones() {
        assert_eq!(next_step(&vec![vec![0; 100]; 50], 0), 200);
        assert_eq!(next_step(&vec![vec![0; 100]; 1_000], 0), 1_000);
        assert_eq!(next_step(&vec![vec![0; 100 * 1024]; 50], 0), 5);
        assert_eq!(next_step(&vec![vec![0; 50 * 1024 * 1024]; 1], 0), 1);
    }
}
