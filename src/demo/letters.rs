//! Dead letters of every kind that happens for real, each with a mark by which it is found again.

use std::fmt::Write as _;

/// One dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Unique text within the bytes; empty for the empty message.
    pub mark: String,
    /// What lies in the list.
    pub bytes: Vec<u8>,
    /// Which kind it is.
    pub kind: &'static Kind,
}

impl Letter {
    /// Whether the alerter fails on it while its database is away.
    #[must_use]
    pub fn needs_database(&self) -> bool {
        self.kind.name == KINDS[0].name
    }
}

/// What is to become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The alerter handles it, now or once its database is back.
    Handled,
    /// It ends in the dead list because it failed too often.
    Exhausted,
    /// It ends in the dead list, bytes unchanged.
    Malformed,
    /// It ends in the dead list because the alerter would discard it.
    Incomplete,
}

/// A kind of dead letter.
#[derive(Debug)]
pub struct Kind {
    /// For people.
    pub name: &'static str,
    /// How many of a hundred letters are of this kind.
    pub share: u32,
    /// What is to become of it.
    pub fate: Fate,
    /// The members that make it this kind, or the whole text around the mark `@`.
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Members added to a sound event.
    Event(&'static str),
    /// The whole message; `@` stands for the mark.
    Raw(&'static [u8]),
}

const fn kind(name: &'static str, share: u32, fate: Fate, body: Body) -> Kind {
    Kind {
        name,
        share,
        fate,
        body,
    }
}

/// The text in an event's message that makes the stand-in alerter fail on it for ever.
pub const ALWAYS_FAILS: &str = "always fails";
/// The text that makes it fail while its database is away.
pub const NEEDS_DATABASE: &str = "needs the database";

/// All kinds.
pub static KINDS: [Kind; 18] = [
    kind(
        "database was away",
        40,
        Fate::Handled,
        Body::Event(r#""_retry_count":4,"message":"needs the database""#),
    ),
    kind(
        "shed under load",
        20,
        Fate::Handled,
        Body::Event(r#""shedding_reason":"queue_depth_exceeded:2500>2000","message":"link down""#),
    ),
    kind(
        "failed a few times",
        10,
        Fate::Handled,
        Body::Event(r#""_retry_count":4,"_moog_retry_count":2,"message":"fan failed""#),
    ),
    kind(
        "odd but sound JSON",
        6,
        Fate::Handled,
        Body::Event(
            "\"big\":123456789012345678901234567890,\"f\":1.10,\"e\":1E5,\"u\":\"\\u00e9\u{e9}\",\"n\":{\"_remediation_count\":9},\"s\":\"\\\"_retry_count\\\":4\",\"_retry_count\":4,\"_retry_count\":5,\"message\":\"\u{1F525}\"",
        ),
    ),
    kind(
        "always fails",
        6,
        Fate::Exhausted,
        Body::Event(r#""_retry_count":4,"message":"always fails""#),
    ),
    kind(
        "forwarder gave up",
        4,
        Fate::Exhausted,
        Body::Event(r#""_moog_retry_count":6,"message":"x""#),
    ),
    kind(
        "huge counter",
        1,
        Fate::Exhausted,
        Body::Event(r#""_moog_retry_count":99999999999999999999,"message":"x""#),
    ),
    kind(
        "lacks a field",
        2,
        Fate::Incomplete,
        Body::Raw(br#"{"hostname":"sw-9","id":"@","message":"no timestamp"}"#),
    ),
    kind(
        "no JSON",
        2,
        Fate::Malformed,
        Body::Raw(b"<134>Oct 11 22:14:15 sw-1 link @ down"),
    ),
    kind("JSON array", 1, Fate::Malformed, Body::Raw(br#"[1,"@"]"#)),
    kind("JSON null or number", 1, Fate::Malformed, Body::Raw(b"17@")),
    kind(
        "cut off",
        1,
        Fate::Malformed,
        Body::Raw(br#"{"hostname":"sw-1","message":"@"#),
    ),
    kind(
        "invalid UTF-8",
        1,
        Fate::Malformed,
        Body::Raw(b"{\"message\":\"\xff\xfe @\"}"),
    ),
    kind(
        "counter as text",
        1,
        Fate::Malformed,
        Body::Event(r#""_moog_retry_count":"2","message":"x""#),
    ),
    kind(
        "fractional counter",
        1,
        Fate::Malformed,
        Body::Event(r#""_moog_retry_count":1.5,"message":"x""#),
    ),
    kind(
        "negative counter",
        1,
        Fate::Malformed,
        Body::Event(r#""_remediation_count":-1,"message":"x""#),
    ),
    kind("empty", 1, Fate::Malformed, Body::Raw(b"")),
    kind(
        "trailing newline",
        1,
        Fate::Handled,
        Body::Event("\"message\":\"newline\"\n"),
    ),
];

/// Makes about `count` letters, all kinds in their shares, well mixed.
#[must_use]
pub fn make(count: u32) -> Vec<Letter> {
    let shares: Vec<&'static Kind> = KINDS
        .iter()
        .flat_map(|kind| std::iter::repeat_n(kind, kind.share as usize))
        .collect();
    (0..count)
        .map(|number| {
            // 37 and the number of shares have no common factor: each round of shares meets all.
            let kind = shares[(number as usize * 37) % shares.len()];
            letter(kind, number)
        })
        .collect()
}

fn letter(kind: &'static Kind, number: u32) -> Letter {
    let mark = format!("letter-{number:06}");
    let bytes = match kind.body {
        Body::Event(members) => {
            let mut text = String::new();
            let _ = write!(
                text,
                r#"{{"timestamp":"2026-11-20T10:00:{:02}Z","hostname":"sw-{number:05}.example.net","_correlation_id":"{mark}",{members}}}"#,
                number % 60
            );
            text.into_bytes()
        }
        Body::Raw(raw) => raw
            .split(|byte| *byte == b'@')
            .collect::<Vec<_>>()
            .join(mark.as_bytes()),
    };
    let mark = if bytes.is_empty() {
        String::new()
    } else {
        mark
    };
    Letter { mark, bytes, kind }
}

/// The mark in a message, wherever it stands.
#[must_use]
pub fn mark_of(bytes: &[u8]) -> &[u8] {
    const WIDTH: usize = "letter-000000".len();
    let start = bytes.windows(7).position(|window| window == b"letter-");
    start
        .and_then(|start| bytes.get(start..start + WIDTH))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dlq::Disposition;
    use crate::dlq::{Entry, Reason};
    use crate::drain::classify::{Rules, classify};

    #[test]
    fn a_round_of_letters_holds_every_kind_in_its_share() {
        assert_eq!(KINDS.iter().map(|kind| kind.share).sum::<u32>(), 100);
        let letters = make(100);
        for kind in &KINDS {
            let of_kind = letters
                .iter()
                .filter(|letter| letter.kind.name == kind.name);
            assert_eq!(of_kind.count(), kind.share as usize, "{}", kind.name);
        }
        let marks: HashSet<&str> = letters.iter().map(|letter| &*letter.mark).collect();
        assert_eq!(marks.len(), 100);
        assert!(
            letters
                .iter()
                .all(|letter| mark_of(&letter.bytes) == letter.mark.as_bytes())
        );
    }

    #[test]
    fn each_kind_meets_its_fate() {
        let rules = Rules {
            required_fields: ["hostname", "timestamp", "message"]
                .map(str::to_owned)
                .to_vec(),
            ..Rules::alerter()
        };
        for letter in make(100) {
            let verdict = classify(&Entry(letter.bytes.clone()), &rules).disposition;
            let expected = match letter.kind.fate {
                Fate::Handled => Disposition::Replay,
                // What always fails is found out by trying.
                Fate::Exhausted if letter.kind.name == ALWAYS_FAILS => Disposition::Replay,
                Fate::Exhausted => Disposition::Dead(Reason::RetriesExhausted),
                Fate::Malformed => Disposition::Dead(Reason::Malformed),
                Fate::Incomplete => Disposition::Dead(Reason::Incomplete),
            };
            assert_eq!(verdict, expected, "{}", letter.kind.name);
        }
    }
}
