//! Reads a message's own counters, and writes the stamp, without touching any other byte.
//!
//! Pure and total: any bytes at all give an [`Envelope`] or [`Malformed`]. A general JSON value
//! would re-spell numbers and reorder keys, so the members are looked at as raw text and the stamp
//! is spliced into the original bytes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Edit;

/// Failed attempts of the alerter; reset on replay, or the alerter dead-letters unseen.
pub const RETRY_COUNT: &str = "_retry_count";
/// Failed deliveries of the forwarder.
pub const MOOG_RETRY_COUNT: &str = "_moog_retry_count";
/// Replays by this worker so far.
pub const REMEDIATION_COUNT: &str = "_remediation_count";
/// Unix seconds of the last replay.
pub const REMEDIATION_AT: &str = "_remediation_at";
/// Why the message was parked.
pub const REMEDIATION_REASON: &str = "_remediation_reason";
/// Unix seconds of the parking.
pub const REMEDIATION_DEAD_AT: &str = "_remediation_dead_at";
/// Why the message was shed under load; it has never been tried.
pub const SHEDDING_REASON: &str = "shedding_reason";

/// The counters that matter to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The largest of these tells how often a message has failed.
    pub poison: Vec<String>,
    /// These become 0 on replay where they are present.
    pub reset: Vec<String>,
}

impl Fields {
    /// Those of the alerter's dead letters.
    #[must_use]
    pub fn alerter() -> Self {
        Self {
            poison: vec![MOOG_RETRY_COUNT.into(), REMEDIATION_COUNT.into()],
            reset: vec![RETRY_COUNT.into()],
        }
    }

    /// Those of the forwarder's dead letters, whose own count is above its limit by construction.
    #[must_use]
    pub fn moog() -> Self {
        Self {
            poison: vec![REMEDIATION_COUNT.into()],
            reset: vec![MOOG_RETRY_COUNT.into()],
        }
    }

    fn counters(&self) -> impl Iterator<Item = &String> {
        self.poison.iter().chain(&self.reset)
    }
}

/// A message that is a JSON object with sound counters.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    members: Members<'a>,
    fields: &'a Fields,
    retries: u64,
    remediation_count: u64,
}

/// The bytes are no JSON object, or a counter is no non-negative integer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, not an object, or not UTF-8.
    #[error("not a JSON object")]
    NotAnObject,
    /// The counter of this name is a string, a float, negative or otherwise no count.
    #[error("{0} is not a non-negative integer")]
    BadCounter(String),
}

impl<'a> Envelope<'a> {
    /// Reads a message of a source with these counters.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it; the bytes are never changed.
    pub fn read(bytes: &'a [u8], fields: &'a Fields) -> Result<Self, Malformed> {
        Self::read_with(bytes, fields, &[])
    }

    /// As [`read`](Self::read), and keeps the values of these members as well.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(
        bytes: &'a [u8],
        fields: &'a Fields,
        also: &[&str],
    ) -> Result<Self, Malformed> {
        let members = Members::read(bytes, fields, also)?;
        for reset in &fields.reset {
            members.count(reset)?;
        }
        let mut retries = 0;
        for poison in &fields.poison {
            retries = retries.max(members.count(poison)?.unwrap_or(0));
        }
        Ok(Self {
            remediation_count: members.count(REMEDIATION_COUNT)?.unwrap_or(0),
            retries,
            fields,
            members,
        })
    }

    /// How often this message has failed: the largest of the counts that matter.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries
    }

    /// Unix seconds of the last replay, if there was one.
    #[must_use]
    pub fn replayed_at(&self) -> Option<i64> {
        unix_seconds(self.members.last(REMEDIATION_AT)?)
    }

    /// Replays by this worker so far.
    #[must_use]
    pub fn remediation_count(&self) -> u64 {
        self.remediation_count
    }

    /// Whether the top level has a member of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.names.iter().any(|known| known == name)
    }

    /// The value of a member that was to be kept, as it is spelt; of several the last.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.members.last(name)
    }

    /// `_correlation_id` for people, shortened and free of control characters; never a key.
    #[must_use]
    pub fn correlation_id(&self) -> Option<String> {
        let id: String = serde_json::from_str(self.members.last("_correlation_id")?).ok()?;
        Some(id.chars().filter(|c| !c.is_control()).take(128).collect())
    }

    /// Unix seconds since when this message has been around: the last replay, else its timestamp.
    #[must_use]
    pub fn since(&self) -> Option<i64> {
        let timestamp = || unix_seconds(self.members.last("timestamp")?);
        self.replayed_at().or_else(timestamp)
    }

    /// Unix seconds since when this message has been parked.
    #[must_use]
    pub fn dead_at(&self) -> Option<i64> {
        unix_seconds(self.members.last(REMEDIATION_DEAD_AT)?)
    }

    /// What turns the message into one that goes back to work: counted, dated, with the alerter's
    /// count reset. `now` is in Unix seconds.
    #[must_use]
    pub fn replay_stamp(&self, now: i64) -> Vec<Edit> {
        let count = self.remediation_count.saturating_add(1);
        let mut edits = self.members.set([
            (REMEDIATION_COUNT, count.to_string()),
            (REMEDIATION_AT, now.to_string()),
        ]);
        for reset in &self.fields.reset {
            edits.extend(self.members.replace(reset, "0"));
        }
        edits.sort_unstable_by_key(|edit| edit.range.start);
        edits
    }

    /// What gives a parked message another life: all counts that matter become 0.
    #[must_use]
    pub fn restore_stamp(&self) -> Vec<Edit> {
        let counters: BTreeSet<&String> = self.fields.counters().collect();
        let mut edits = vec![];
        for counter in counters {
            edits.extend(self.members.replace(counter, "0"));
        }
        edits.sort_unstable_by_key(|edit| edit.range.start);
        edits
    }

    /// What turns the message into one that is parked: why, and when, in Unix seconds.
    #[must_use]
    pub fn dead_stamp(&self, reason: &str, now: i64) -> Vec<Edit> {
        let mut edits = self.members.set([
            (REMEDIATION_REASON, format!("\"{reason}\"")),
            (REMEDIATION_DEAD_AT, now.to_string()),
        ]);
        edits.sort_unstable_by_key(|edit| edit.range.start);
        edits
    }
}

/// What says in a message that it was shed at this depth of the queue ahead, because of this limit;
/// nothing where the bytes are no JSON object. Its counters do not matter here.
#[must_use]
pub fn shed_stamp(bytes: &[u8], depth: u64, limit: u64) -> Vec<Edit> {
    let reason = format!("\"queue_depth_exceeded:{depth}>{limit}\"");
    let no_counters = Fields {
        poison: vec![],
        reset: vec![],
    };
    Members::read(bytes, &no_counters, &[]).map_or_else(
        |_| vec![],
        |members| members.set([(SHEDDING_REASON, reason)]),
    )
}

/// The names of the top level, and where the values that we know lie.
#[derive(Clone, Debug)]
struct Members<'a> {
    names: Vec<Cow<'a, str>>,
    known: Vec<Member<'a>>,
    /// Offset of the closing brace.
    close: usize,
}

#[derive(Clone, Debug)]
struct Member<'a> {
    /// Index of its name.
    name: usize,
    raw: &'a str,
    range: Range<usize>,
}

/// The members whose values are looked at, besides a source's counters; all others are only skipped
/// over.
const LOOKED_AT: [&str; 7] = [
    REMEDIATION_COUNT,
    REMEDIATION_AT,
    REMEDIATION_REASON,
    REMEDIATION_DEAD_AT,
    SHEDDING_REASON,
    "timestamp",
    "_correlation_id",
];

impl<'a> Members<'a> {
    /// The members of a JSON object, whatever their values.
    fn read(bytes: &'a [u8], fields: &Fields, also: &[&str]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::NotAnObject)?;
        let mut json = serde_json::Deserializer::from_str(text);
        let mut members = json
            .deserialize_map(MembersVisitor(fields, also))
            .map_err(|_| Malformed::NotAnObject)?;
        json.end().map_err(|_| Malformed::NotAnObject)?;
        members.locate(text);
        Ok(members)
    }

    /// Gives members their values: in place where they are present, else behind the last member.
    fn set<const N: usize>(&self, members: [(&str, String); N]) -> Vec<Edit> {
        let mut edits = Vec::with_capacity(4);
        let mut appended = String::with_capacity(64);
        for (name, value) in members {
            let before = edits.len();
            edits.extend(self.replace(name, &value));
            if edits.len() == before {
                if !self.names.is_empty() || !appended.is_empty() {
                    appended.push(',');
                }
                appended.extend(["\"", name, "\":", &value]);
            }
        }
        if !appended.is_empty() {
            edits.push(Edit {
                range: self.close..self.close,
                text: appended,
            });
        }
        edits
    }

    /// Turns the borrowed values into offsets: each is a part of `text`, so its address tells.
    fn locate(&mut self, text: &'a str) {
        let base = text.as_ptr() as usize;
        for member in &mut self.known {
            let start = member.raw.as_ptr() as usize - base;
            member.range = start..start + member.raw.len();
        }
        // After a whole object only white space can follow, so the last brace closes it.
        self.close = text.rfind('}').unwrap_or(text.len());
    }

    fn named(&self, name: &str) -> impl DoubleEndedIterator<Item = &Member<'a>> {
        let known = self.known.iter();
        known.filter(move |member| self.names[member.name] == name)
    }

    fn replace(&self, name: &str, value: &str) -> impl Iterator<Item = Edit> {
        self.named(name).map(|member| Edit {
            range: member.range.clone(),
            text: value.to_owned(),
        })
    }

    /// The value that counts when a name appears more than once: the last, as in Python.
    fn last(&self, name: &str) -> Option<&'a str> {
        self.named(name).next_back().map(|member| member.raw)
    }

    fn count(&self, name: &str) -> Result<Option<u64>, Malformed> {
        let Some(raw) = self.last(name) else {
            return Ok(None);
        };
        if !raw.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Malformed::BadCounter(name.to_owned()));
        }
        // Only digits: what does not fit is larger than any limit.
        Ok(Some(raw.parse().unwrap_or(u64::MAX)))
    }
}

struct MembersVisitor<'f>(&'f Fields, &'f [&'f str]);

impl<'de> Visitor<'de> for MembersVisitor<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members {
            names: Vec::with_capacity(16),
            known: Vec::with_capacity(LOOKED_AT.len()),
            close: 0,
        };
        // The key is compared decoded: "_retry\u005fcount" is the same member to every reader.
        while let Some(Key(key)) = map.next_key()? {
            if LOOKED_AT.contains(&&*key)
                || self.0.counters().any(|name| *name == key)
                || self.1.contains(&&*key)
            {
                members.known.push(Member {
                    name: members.names.len(),
                    raw: map.next_value::<&RawValue>()?.get(),
                    range: 0..0,
                });
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            members.names.push(key);
        }
        Ok(members)
    }
}

/// A key that borrows from the input unless it is written with escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Unix seconds from a number, a numeric string or an RFC 3339 text; `None` for anything else.
fn unix_seconds(raw: &str) -> Option<i64> {
    let text: String = serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned());
    if let Ok(seconds) = text.parse::<f64>() {
        // 1e11 s is the year 5138; larger numbers are in milliseconds or nonsense.
        #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
        return (0.0..1e11).contains(&seconds).then_some(seconds as i64);
    }
    let instant: Result<jiff::Timestamp, _> = text.parse();
    instant.ok().map(jiff::Timestamp::as_second).or_else(|| {
        // Python's isoformat() leaves the zone out; MUTT's clocks run in UTC.
        let naive: jiff::civil::DateTime = text.parse().ok()?;
        let zoned = naive.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp().as_second())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::dlq::{Disposition, Entry, Transfer};

    fn shed(bytes: &[u8]) -> Vec<u8> {
        let transfer = Transfer {
            entry: Entry(bytes.to_vec()),
            edits: shed_stamp(bytes, 2_500, 2_000),
            disposition: Disposition::Replay,
        };
        transfer.arriving().into_owned()
    }

    /// A member's name as it is spelt, whether it is the reason's, and a value.
    fn member() -> impl Strategy<Value = (&'static str, bool, &'static str)> {
        let name = prop_oneof![
            Just(("\"a\"", false)),
            Just(("\"_retry_count\"", false)),
            Just(("\"shedding_reason \"", false)),
            Just(("\"shedding_reason\"", true)),
            Just((r#""shedding\u005freason""#, true)),
        ];
        let value = prop_oneof![
            Just("-1.10"),
            Just("null"),
            Just(r#""}{\"shedding_reason\":\\""#),
            Just(r#"{"shedding_reason": [1, {}]}"#),
            Just("123456789012345678901234567890"),
        ];
        (name, value).prop_map(|((name, ours), value)| (name, ours, value))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

        #[test]
        fn the_reason_is_set_once_or_in_place_and_no_other_byte_changes(
            members in prop::collection::vec(member(), 0..5),
            space in "[ \t\r\n]{0,2}",
        ) {
            const REASON: &str = r#""queue_depth_exceeded:2500>2000""#;
            let text = |stamped: bool| {
                let mut texts: Vec<String> = members
                    .iter()
                    .map(|(name, ours, value)| {
                        let value = if stamped && *ours { REASON } else { value };
                        format!("{space}{name}{space}:{space}{value}")
                    })
                    .collect();
                let there = members.iter().any(|(_, ours, _)| *ours);
                if stamped && !there {
                    texts.push(format!("\"shedding_reason\":{REASON}"));
                }
                format!("{space}{{{}}}{space}", texts.join(","))
            };
            let after = String::from_utf8(shed(text(false).as_bytes())).expect("text");
            prop_assert_eq!(after, text(true));
        }

        #[test]
        fn what_is_no_object_stays_as_it_is(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                "[\\[\\]{}\",:0-9a-z ]{0,24}".prop_map(String::into_bytes),
            ],
        ) {
            let object = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&bytes);
            prop_assert_eq!(shed(&bytes) == bytes, object.is_err());
        }
    }

    #[test]
    fn a_shed_message_says_at_which_depth_and_limit_whatever_its_counters() {
        assert_eq!(
            shed(br#"{"_retry_count":"x"}"#),
            br#"{"_retry_count":"x","shedding_reason":"queue_depth_exceeded:2500>2000"}"#
        );
    }

    static FIELDS: LazyLock<Fields> = LazyLock::new(Fields::alerter);

    fn read(text: &str) -> Envelope<'_> {
        Envelope::read(text.as_bytes(), &FIELDS).expect("an object")
    }

    #[test]
    fn a_correlation_id_is_text_without_control_characters_and_not_too_long() {
        let id = |text| read(text).correlation_id();
        assert_eq!(id(r#"{"_correlation_id":"a-1"}"#).as_deref(), Some("a-1"));
        assert_eq!(
            id(r#"{"_correlation_id":"a\u0007\nb"}"#).as_deref(),
            Some("ab")
        );
        assert_eq!(id(r#"{"_correlation_id":7}"#), None);
        assert_eq!(id("{}"), None);
        let long = format!(r#"{{"_correlation_id":"{}"}}"#, "é".repeat(129));
        assert_eq!(id(&long), Some("é".repeat(128)));
    }

    #[test]
    fn a_message_has_been_around_since_its_last_replay_or_its_timestamp() {
        let since = |text| read(text).since();
        for (text, seconds) in [
            (r#"{"timestamp":1700000000}"#, Some(1_700_000_000)),
            (r#"{"timestamp":"1700000000.9"}"#, Some(1_700_000_000)),
            (
                r#"{"timestamp":"2023-11-14T22:13:20Z"}"#,
                Some(1_700_000_000),
            ),
            (
                r#"{"timestamp":"2023-11-14T23:13:20+01:00"}"#,
                Some(1_700_000_000),
            ),
            (
                r#"{"timestamp":"2023-11-14T22:13:20.5"}"#,
                Some(1_700_000_000),
            ),
            (r#"{"timestamp":1,"_remediation_at":2}"#, Some(2)),
            (r#"{"timestamp":1,"_remediation_at":"x"}"#, Some(1)),
            (r#"{"timestamp":99999999999}"#, Some(99_999_999_999)),
            (r#"{"timestamp":100000000000}"#, None),
            (r#"{"timestamp":-1}"#, None),
            (r#"{"timestamp":"yesterday"}"#, None),
            ("{}", None),
        ] {
            assert_eq!(since(text), seconds, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_message_is_told() {
        let wrong = |text: &str| {
            let read = Envelope::read(text.as_bytes(), &FIELDS);
            read.map(drop).expect_err(text)
        };
        assert_eq!(wrong("[]").to_string(), "not a JSON object");
        assert_eq!(
            wrong(r#"{"_remediation_count":-1}"#).to_string(),
            "_remediation_count is not a non-negative integer"
        );
    }
}
