//! Reads the audit, newest first, over several streams where a cluster needs them.

use std::collections::{BTreeMap, VecDeque};

use redis::Cmd;

use crate::operate::wire::{AuditEntry, AuditMessage, AuditRequest};

/// Entries that are read at once.
const PIECE: usize = 200;

/// Entries that are looked at for one answer, at most.
pub const MOST: u64 = 20_000;

/// What Redis answers to a range of a stream: ids, each with names and values.
pub type Range = Vec<(String, Vec<(String, String)>)>;

/// A stream that is being read, newest entries first.
#[derive(Debug)]
pub struct Stream {
    key: String,
    /// Entries older than this come next; `None` for the newest of all.
    before: Option<String>,
    read: VecDeque<AuditEntry>,
    ended: bool,
}

impl Stream {
    /// A stream of which entries before this id are to be read.
    #[must_use]
    pub fn new(key: &str, before: Option<&str>) -> Self {
        Self {
            key: key.to_owned(),
            before: before.map(str::to_owned),
            read: VecDeque::new(),
            ended: false,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What to ask Redis for, if anything.
    #[must_use]
    pub fn wants_more(&self) -> Option<Cmd> {
        if self.ended || !self.read.is_empty() {
            return None;
        }
        let mut range = redis::cmd("XREVRANGE");
        let from = self
            .before
            .as_ref()
            .map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        range.arg(&self.key).arg(from).arg("-");
        range.arg("COUNT").arg(PIECE);
        Some(range)
    }

    /// Whether there are no older entries than those that were read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes what Redis answered.
    pub fn take(&mut self, range: Range) {
        self.ended = range.len() < PIECE;
        if let Some((id, _)) = range.last() {
            self.before = Some(id.clone());
        }
        self.read.extend(range.into_iter().map(entry));
    }
}

/// The newest entry of all streams.
pub fn newest(streams: &mut [Stream]) -> Option<AuditEntry> {
    let newest = streams
        .iter_mut()
        .filter(|stream| !stream.read.is_empty())
        .max_by_key(|stream| stream.read.front().map(|entry| order(&entry.id)))?;
    newest.read.pop_front()
}

/// Whether a text is the id of an entry before which there can be others.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok();
    text.split_once('-')
        .is_some_and(|(time, sequence)| number(time) && number(sequence))
        && order(text) > (0, 0)
}

fn order(id: &str) -> (u64, u64) {
    let (time, sequence) = id.split_once('-').unwrap_or((id, "0"));
    (time.parse().unwrap_or(0), sequence.parse().unwrap_or(0))
}

fn entry((id, fields): (String, Vec<(String, String)>)) -> AuditEntry {
    let mut fields: BTreeMap<String, String> = fields.into_iter().collect();
    let messages = fields.remove("messages");
    let messages: Vec<AuditMessage> = messages
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let digests = fields.remove("digests").unwrap_or_default();
    AuditEntry {
        digests: digests
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect(),
        at_ms: order(&id).0.try_into().unwrap_or(i64::MAX),
        kind: fields.remove("kind").unwrap_or_default(),
        id,
        fields,
        messages,
    }
}

/// Which entries are wanted.
#[derive(Debug)]
pub struct Filter<'a> {
    request: &'a AuditRequest,
    either: bool,
}

impl<'a> Filter<'a> {
    /// All that is asked for must hold; with `either` a digest or a correlation id is enough.
    #[must_use]
    pub fn new(request: &'a AuditRequest, either: bool) -> Self {
        Self { request, either }
    }

    /// Whether an entry is wanted.
    #[must_use]
    pub fn matches(&self, entry: &AuditEntry) -> bool {
        let AuditRequest {
            kind,
            who,
            digest,
            correlation_id,
            ..
        } = self.request;
        let by = entry.fields.get("who");
        let of_message = match (digest, correlation_id) {
            (None, None) => true,
            (digest, id) => {
                let mut messages = entry.messages.iter();
                let (digest, id) = (digest.as_ref(), id.as_ref());
                messages.any(|message| self.is_about(message, digest, id))
                    || self.has_gone(&entry.digests, digest, id)
            }
        };
        kind.as_ref().is_none_or(|kind| *kind == entry.kind)
            && who.as_ref().is_none_or(|who| by == Some(who))
            && of_message
    }

    /// Whether a message is among those of which an entry tells no more than how their digests begin.
    fn has_gone(&self, gone: &[String], digest: Option<&String>, id: Option<&String>) -> bool {
        let alike = |wanted: &String| {
            let begins = |brief: &String| brief.starts_with(wanted) || wanted.starts_with(brief);
            gone.iter().any(begins)
        };
        digest.is_some_and(alike) && (self.either || id.is_none())
    }

    fn is_about(
        &self,
        message: &AuditMessage,
        digest: Option<&String>,
        id: Option<&String>,
    ) -> bool {
        let digests = [Some(&message.digest), message.after.as_ref()];
        let begins = |wanted: &String| {
            let mut digests = digests.iter().flatten();
            digests.any(|digest| digest.starts_with(wanted.as_str()))
        };
        let same = |wanted: &String| message.correlation_id.as_ref() == Some(wanted);
        if self.either {
            digest.is_some_and(begins) || id.is_some_and(same)
        } else {
            digest.is_none_or(begins) && id.is_none_or(same)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(ids: &[&str]) -> Range {
        ids.iter().map(|id| ((*id).to_owned(), vec![])).collect()
    }

    #[test]
    fn several_streams_are_read_as_one_newest_first() {
        let mut streams = [Stream::new("a", None), Stream::new("b", None)];
        streams[0].take(range(&["9-0", "7-1"]));
        streams[1].take(range(&["10-0", "7-0"]));
        let ids = std::iter::from_fn(|| newest(&mut streams)).map(|entry| entry.id);
        assert_eq!(ids.collect::<Vec<_>>(), ["10-0", "9-0", "7-1", "7-0"]);
        assert!(streams.iter().all(|stream| stream.wants_more().is_none()));
    }

    #[test]
    fn a_message_is_found_by_either_of_its_digests() {
        let mut told = entry((
            "1-0".into(),
            vec![
                ("kind".into(), "act".into()),
                ("who".into(), "alice".into()),
                (
                    "messages".into(),
                    r#"[{"disposition":"replay","digest":"aa11","after":"bb22","correlation_id":"c"}]"#
                        .into(),
                ),
            ],
        ));
        let matches = |request: &AuditRequest, either, told: &AuditEntry| {
            Filter::new(request, either).matches(told)
        };
        let by = |digest: &str, id: Option<&str>| AuditRequest {
            digest: Some(digest.into()),
            correlation_id: id.map(Into::into),
            ..AuditRequest::default()
        };
        assert!(matches(&by("aa", None), false, &told));
        assert!(matches(&by("bb22", None), false, &told));
        assert!(!matches(&by("cc", None), false, &told));
        assert!(!matches(&by("cc", Some("c")), false, &told));
        assert!(matches(&by("cc", Some("c")), true, &told));
        told.messages.clear();
        assert!(!matches(&by("aa", None), false, &told));
        let who = AuditRequest {
            who: Some("bob".into()),
            ..AuditRequest::default()
        };
        assert!(!matches(&who, false, &told));
    }

    #[test]
    fn what_went_nowhere_is_found_by_how_its_digest_begins() {
        let digests = ("digests".into(), "0123456789abcdef fedcba9876543210".into());
        let told = entry(("1-0".into(), vec![digests]));
        assert!(told.fields.is_empty());
        assert_eq!(told.digests.len(), 2);
        let matches = |digest: &str, id: Option<&str>, either| {
            let request = AuditRequest {
                digest: Some(digest.into()),
                correlation_id: id.map(Into::into),
                ..AuditRequest::default()
            };
            Filter::new(&request, either).matches(&told)
        };
        assert!(matches("fedcba98", None, false));
        assert!(matches(
            &format!("0123456789abcdef{}", "0".repeat(24)),
            None,
            false
        ));
        assert!(!matches(
            &format!("0123456789abcde0{}", "0".repeat(24)),
            None,
            false
        ));
        assert!(
            !matches("fedcba98", Some("c"), false),
            "of that nothing is told"
        );
        assert!(matches("fedcba98", Some("c"), true));
    }

    #[test]
    fn an_id_is_two_numbers() {
        assert!(is_id("17-0"));
        for bad in [
            "",
            "17",
            "-",
            "0-0",
            "+1-0",
            "a-1",
            "1-",
            "99999999999999999999-0",
            "+",
        ] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
