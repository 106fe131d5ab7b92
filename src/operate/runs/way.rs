//! How far a run has come in its list, and how far it goes. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::audit::digest;

/// By so many of its youngest messages the end of a plan is known again.
pub(super) const MARKS: usize = 16;

/// Should these be gone, its end is taken to be at the last of some older ones: each of so many, and
/// so many of them.
const EACH: u64 = 64;
const OLDER: usize = 48;

/// A message by which the end of a plan is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::operate) struct Mark {
    /// Spares most digests.
    bytes: u64,
    digest: String,
}

impl Mark {
    /// The mark of a message.
    fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len() as u64,
            digest: digest(bytes),
        }
    }
}

/// Collects the marks of a plan while it looks at messages, the oldest first.
#[derive(Debug, Default)]
pub(in crate::operate) struct Marks {
    seen: u64,
    youngest: VecDeque<Vec<u8>>,
    older: VecDeque<Mark>,
}

impl Marks {
    /// It has looked at these.
    pub(in crate::operate) fn saw(&mut self, entries: impl Iterator<Item = Vec<u8>>) {
        for entry in entries {
            self.seen += 1;
            if self.seen.is_multiple_of(EACH) {
                self.older.push_back(Mark::of(&entry));
            }
            self.youngest.push_back(entry);
            if self.youngest.len() > MARKS {
                self.youngest.pop_front();
            }
        }
        let too_many = self.older.len().saturating_sub(OLDER);
        self.older.drain(..too_many);
    }

    /// The marks.
    pub(in crate::operate) fn all(self) -> Vec<Mark> {
        let youngest = self.youngest.iter().map(|entry| Mark::of(entry));
        youngest.chain(self.older).collect()
    }
}

/// How far a run has come. Places are counted from the oldest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Way {
    /// The youngest messages that the plan has looked at, and some older ones.
    marks: Vec<Mark>,
    /// The place behind the last message that the plan has looked at.
    pub(super) bound: u64,
    /// Messages at the old end that were looked at, and stay.
    pub(super) kept: u64,
    /// How many of these stay although they are meant, and why.
    left: BTreeMap<String, u64>,
}

impl Way {
    /// The way of a plan that has looked at so many messages.
    pub(super) fn of(marks: Vec<Mark>, bound: u64) -> Self {
        Self {
            marks,
            bound,
            ..Self::default()
        }
    }

    /// Messages that are still to be looked at.
    pub(super) fn ahead(&self) -> u64 {
        self.bound.saturating_sub(self.kept)
    }

    /// So many at most of them were looked at, so many of these were moved, and others left.
    pub(super) fn went(&mut self, looked_at: u64, moved: u64, left: BTreeMap<&'static str, u64>) {
        self.kept += looked_at.saturating_sub(moved);
        self.bound = self.bound.saturating_sub(moved);
        for (why, count) in left {
            *self.left.entry(why.to_owned()).or_default() += count;
        }
    }

    /// What was kept was brought round to the young end.
    pub(super) fn rotated(&mut self) {
        self.bound = self.bound.saturating_sub(self.kept);
        self.kept = 0;
        self.left.clear();
    }

    /// What was kept is to be looked at again. Returns how many that are, and why some were left.
    pub(super) fn again(&mut self) -> (u64, BTreeMap<String, u64>) {
        (
            std::mem::take(&mut self.kept),
            std::mem::take(&mut self.left),
        )
    }

    /// The place behind the youngest of these entries that the plan is known by, if there is one; the
    /// first lies at `at`. Where it is the youngest in the list, what the plan has looked at behind it
    /// is gone.
    pub(super) fn end_among(&self, entries: &[Vec<u8>], at: u64) -> Option<u64> {
        for (index, bytes) in entries.iter().enumerate().rev() {
            let size = bytes.len() as u64;
            if self.marks.iter().all(|mark| mark.bytes != size) {
                continue;
            }
            let mark = Mark::of(bytes);
            if self.marks.contains(&mark) {
                return Some(at + index as u64 + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    fn way(seen: &[&str], bound: u64) -> Way {
        let mut marks = Marks::default();
        marks.saw(entries(seen).into_iter());
        Way::of(marks.all(), bound)
    }

    #[test]
    fn the_end_of_a_plan_is_known_by_its_youngest_messages() {
        let way = way(&["b", "c", "d"], 4);
        let end = |texts: &[&str]| way.end_among(&entries(texts), 10);
        assert_eq!(end(&["a", "b", "c", "d", "e", "f"]), Some(14));
        assert_eq!(end(&["a", "b", "e"]), Some(12), "the others are gone");
        assert_eq!(end(&["d", "d", "e"]), Some(12), "the youngest copy");
        assert_eq!(end(&["e", "f"]), None);
    }

    #[test]
    fn a_plan_has_few_marks_however_long_it_is() {
        let mut marks = Marks::default();
        let numbered = |numbers: std::ops::Range<u32>| numbers.map(|i| i.to_string().into_bytes());
        marks.saw(numbered(0..60_000));
        marks.saw(numbered(60_000..100_000));
        let marks = marks.all();
        assert_eq!(marks.len(), MARKS + OLDER);
        for number in ["99999", "99984", "99967"] {
            assert!(marks.contains(&Mark::of(number.as_bytes())), "{number}");
        }
    }

    #[test]
    fn what_moves_or_is_brought_round_brings_the_end_nearer() {
        let mut way = way(&[], 100);
        way.went(30, 10, BTreeMap::from([("malformed", 2)]));
        assert_eq!((way.bound, way.kept, way.ahead()), (90, 20, 70));
        let mut other = way.clone();
        way.rotated();
        assert_eq!((way.bound, way.kept, way.ahead()), (70, 0, 70));
        assert_eq!(way.again(), (0, BTreeMap::new()));
        let left = BTreeMap::from([("malformed".to_owned(), 2)]);
        assert_eq!(other.again(), (20, left));
        assert_eq!(other.ahead(), 90);
    }
}
