//! A search for the one message that a digest, or the beginning of one, means. Pure.

use std::collections::BTreeSet;

use super::Error;
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
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    /// Its places, counted from the oldest.
    pub(super) at: Vec<u64>,
    pub(super) scanned: u64,
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

/// What was found so far.
pub(super) struct Search<'a> {
    wanted: &'a str,
    first: Option<Found>,
    /// The digests of others that begin alike: none is meant rather than another.
    others: BTreeSet<String>,
}

impl<'a> Search<'a> {
    /// For a digest or the beginning of one, as [`hexadecimal`] spells it.
    pub(super) fn new(wanted: &'a str) -> Self {
        Self {
            wanted,
            first: None,
            others: BTreeSet::new(),
        }
    }

    /// Looks at some messages, the first of which lies in this place.
    pub(super) fn look(&mut self, entries: &[Vec<u8>], at: u64) {
        for (bytes, at) in entries.iter().zip(at..) {
            let digest = digest(bytes);
            if !digest.starts_with(self.wanted) {
                continue;
            }
            match &mut self.first {
                None => {
                    self.first = Some(Found {
                        bytes: bytes.clone(),
                        at: vec![at],
                        scanned: 0,
                        alone: false,
                    });
                }
                Some(first) if first.bytes == *bytes => first.at.push(at),
                Some(_) => {
                    self.others.insert(digest);
                }
            }
        }
    }

    /// What was found, if it is one message or copies of it.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is several.
    pub(super) fn found(self) -> Result<Option<Found>, Error> {
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
        let of_a = digest(b"a");
        let mut search = Search::new(&of_a);
        search.look(&entries, 10);
        let found = search.found().expect("one").expect("it is there");
        assert_eq!((found.bytes, found.at), (b"a".to_vec(), vec![10, 12]));
        // Every digest begins with nothing.
        let mut search = Search::new("");
        search.look(&entries, 0);
        let several = search.found().expect_err("three of them").to_string();
        assert!(several.starts_with("3 messages "), "{several}");
        assert!(Search::new("").found().expect("none").is_none());
    }
}
