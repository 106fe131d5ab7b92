//! A search for the messages that digests, or the beginnings of some, mean. Pure.

use std::collections::{BTreeSet, HashMap};

use super::Error;
use super::mover::BYTES;
use crate::audit::digest;

/// Digits of a digest that are enough to look for it.
const DIGITS: usize = 8;
/// Digits of a whole one.
pub(super) const WHOLE: usize = 40;

/// A digest or the beginning of one, as it is spelt here.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) fn hexadecimal(text: &str) -> Result<String, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits && (DIGITS..=WHOLE).contains(&text.len()) {
        return Ok(text.to_ascii_lowercase());
    }
    let expected = "8 to 40 hexadecimal digits of a message's SHA-1";
    Err(Error::invalid("digest", text, expected))
}

/// A message that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) digest: String,
    /// Left out where those found before are large enough together.
    pub(super) bytes: Option<Vec<u8>>,
    /// Its places, counted from the oldest.
    pub(super) at: Vec<u64>,
    /// Whether no other message can be meant: it lies where it was said to lie, or all others were
    /// looked at.
    pub(super) alone: bool,
}

impl Found {
    /// Nothing is done to a message while another may be meant that was not looked at.
    ///
    /// # Errors
    /// [`Error::Conflict`].
    pub(super) fn only(&self, wanted: &str) -> Result<(), Error> {
        if self.alone {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "whether {wanted} is the only message whose digest begins so is not known, for the queue is too long to look at all of it: give all 40 digits, or say where it was seen (at)"
        )))
    }
}

/// Looks for messages by their digests, all at once.
#[derive(Debug, Default)]
pub(super) struct Search {
    wanted: Vec<Sought>,
    /// Which of them begin with these [`DIGITS`].
    beginning: HashMap<String, Vec<usize>>,
    /// Bytes of what was found that are held.
    held: u64,
}

#[derive(Debug)]
struct Sought {
    /// A digest or the beginning of one.
    wanted: String,
    first: Option<Found>,
    /// The digests of others that begin alike: none is meant rather than another.
    others: BTreeSet<String>,
}

impl Search {
    /// For digests or the beginnings of some, as [`hexadecimal`] spells them.
    pub(super) fn new<'a>(wanted: impl IntoIterator<Item = &'a String>) -> Self {
        let mut search = Self::default();
        for wanted in wanted {
            let begins = wanted[..DIGITS].to_owned();
            let here = search.wanted.len();
            search.beginning.entry(begins).or_default().push(here);
            search.wanted.push(Sought {
                wanted: wanted.clone(),
                first: None,
                others: BTreeSet::new(),
            });
        }
        search
    }

    /// Looks at some messages, the first of which lies in this place.
    pub(super) fn look(&mut self, entries: &[Vec<u8>], at: u64) {
        for (bytes, at) in entries.iter().zip(at..) {
            self.saw(&digest(bytes), bytes, at);
        }
    }

    fn saw(&mut self, digest: &str, bytes: &[u8], at: u64) {
        let Some(alike) = self.beginning.get(&digest[..DIGITS]) else {
            return;
        };
        for sought in alike {
            let sought = &mut self.wanted[*sought];
            if !digest.starts_with(&sought.wanted) {
                continue;
            }
            match &mut sought.first {
                None => {
                    let size = bytes.len() as u64;
                    let fits = self.held == 0 || self.held + size <= BYTES;
                    self.held += if fits { size } else { 0 };
                    sought.first = Some(Found {
                        digest: digest.to_owned(),
                        bytes: fits.then(|| bytes.to_vec()),
                        at: vec![at],
                        alone: false,
                    });
                }
                Some(first) if first.digest == digest => first.at.push(at),
                Some(_) => {
                    sought.others.insert(digest.to_owned());
                }
            }
        }
    }

    /// Whether so many copies of each were found, and none can be another.
    pub(super) fn has_all(&self, times: &[usize]) -> bool {
        let mut each = self.wanted.iter().zip(times);
        each.all(|(sought, times)| {
            let found = sought.first.as_ref().map_or(0, |found| found.at.len());
            sought.wanted.len() == WHOLE && found >= *times
        })
    }

    /// What was found of each, if it is one message or copies of it.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is several.
    pub(super) fn found(self) -> Result<Vec<Option<Found>>, Error> {
        self.wanted.into_iter().map(Sought::found).collect()
    }
}

impl Sought {
    fn found(self) -> Result<Option<Found>, Error> {
        if self.others.is_empty() {
            return Ok(self.first);
        }
        let (count, wanted) = (self.others.len() + 1, self.wanted);
        Err(Error::Conflict(format!(
            "{count} messages have digests that begin with {wanted}: give more digits"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_8_to_40_hexadecimal_digits_of_any_case() {
        assert_eq!(hexadecimal("2A9B5d0a").as_deref(), Ok("2a9b5d0a"));
        assert!(hexadecimal(&"a".repeat(40)).is_ok());
        for bad in ["", "2a9b5d0", "2a9b5d0g", "2a9b5d0\u{e9}", &"a".repeat(41)] {
            assert!(hexadecimal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn copies_are_one_message_and_others_that_begin_alike_are_counted_once_each() {
        let entries: Vec<Vec<u8>> = ["a", "b", "a", "c", "b"].map(Into::into).into();
        let wanted = [digest(b"a"), digest(b"c")[..12].to_owned(), digest(b"x")];
        let mut search = Search::new(&wanted);
        search.look(&entries, 10);
        let found = search.found().expect("each is one");
        let places = |found: &Option<Found>| found.as_ref().map(|found| found.at.clone());
        let places: Vec<_> = found.iter().map(places).collect();
        assert_eq!(places, [Some(vec![10, 12]), Some(vec![13]), None]);
        assert_eq!(
            found[0].as_ref().and_then(|a| a.bytes.clone()),
            Some(b"a".to_vec())
        );

        let begins = ["0123456789".to_owned()];
        let mut search = Search::new(&begins);
        for (digest, at) in ["0123456789a", "0123456789b", "01234567", "0123456789b"]
            .iter()
            .zip(0..)
        {
            search.saw(digest, b"", at);
        }
        let several = search.found().expect_err("two of them").to_string();
        assert!(several.starts_with("2 messages "), "{several}");
    }

    #[test]
    fn a_search_has_all_once_it_has_as_many_copies_of_each_and_none_may_be_another() {
        let wanted = [digest(b"a"), digest(b"b")];
        let mut search = Search::new(&wanted);
        search.look(&[b"a".to_vec(), b"b".to_vec()], 0);
        assert!(search.has_all(&[1, 1]));
        assert!(!search.has_all(&[2, 1]));
        search.look(&[b"a".to_vec()], 2);
        assert!(search.has_all(&[2, 1]));
        let begins = [digest(b"a")[..20].to_owned()];
        let mut search = Search::new(&begins);
        search.look(&[b"a".to_vec()], 0);
        assert!(!search.has_all(&[1]), "others may begin so");
    }

    #[test]
    fn of_much_that_is_found_no_more_is_held_than_moves_at_once() {
        let entries: Vec<Vec<u8>> = (0..3).map(|i| vec![i; 3 * 1024 * 1024]).collect();
        let wanted: Vec<String> = entries.iter().map(|bytes| digest(bytes)).collect();
        let mut search = Search::new(&wanted);
        search.look(&entries, 0);
        let found = search.found().expect("each is one");
        let held = found.iter().flatten().map(|found| found.bytes.is_some());
        assert_eq!(held.collect::<Vec<_>>(), [true, true, false]);
    }
}
