//! What is written down of each act: who moved what, where to, and why. Never what a message says.
//!
//! The entries lie in a stream of Redis that forgets its oldest ones. Those of a move are written by
//! the step that moves, so that there is no act without its entry.

pub mod read;
pub mod tell;

use std::fmt;

use serde::Serialize;

use crate::dlq::envelope::{Envelope, Fields};
use crate::dlq::{Disposition, Transfer};
use crate::link::LinkConfig;
use crate::link::cluster::beside;

/// The stream on a single server.
pub const KEY: &str = "mutt:remediation:audit";

/// Parked messages that one entry tells of, so that entries stay small.
const MESSAGES: usize = 16;

/// Messages that went nowhere of which one entry tells, and digits of the digest of each: what cannot be
/// undone is to be known for each, and no entry is to be large.
const GONE: usize = 256;
const BRIEF: usize = 16;

/// What kind of thing an entry tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A batch was moved.
    Commit,
    /// Messages were sent to the dead list.
    Parked,
    /// An operator did something.
    Act,
    /// A gate opened or shut.
    Gate,
    /// A dynamic setting was refused.
    Refused,
}

impl Kind {
    /// Every kind, for filters.
    pub const ALL: [Self; 5] = [
        Self::Commit,
        Self::Parked,
        Self::Act,
        Self::Gate,
        Self::Refused,
    ];

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name used in entries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Parked => "parked",
            Self::Act => "act",
            Self::Gate => "gate",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry: names and values.
pub type Entry = Vec<(String, String)>;

/// An entry of this kind.
#[must_use]
pub fn entry<N: Into<String>, V: Into<String>>(
    kind: Kind,
    fields: impl IntoIterator<Item = (N, V)>,
) -> Entry {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()));
    std::iter::once(("kind".to_owned(), kind.to_string()))
        .chain(fields)
        .collect()
}

/// How the audit is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Entries that are kept, about; 0 keeps no audit.
    pub length: u64,
    /// Who we are.
    pub instance: String,
}

/// The stream that what happens to a list is written to: in a cluster one in the list's slot.
/// `None` where the list's name leaves no room for another key in its slot.
#[must_use]
pub fn key(redis: &LinkConfig, list: &str) -> Option<String> {
    if redis.cluster.is_empty() {
        return Some(KEY.to_owned());
    }
    beside(list, "audit")
}

/// What the moves off one list write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// The stream.
    pub key: String,
    /// Entries that are kept, about.
    pub length: u64,
    /// What every entry says: for the drain who moved, for an act also which and for whom.
    pub kind: Kind,
    /// The fields that go with it.
    pub about: Entry,
    /// The counters of the messages, to read their correlation ids.
    pub fields: Fields,
    /// Whether each message is told of, not only what is parked.
    pub each: bool,
}

impl Trail {
    /// The trail of a source's drain; `None` where no audit is kept.
    #[must_use]
    pub fn of_drain(
        redis: &LinkConfig,
        audit: &AuditConfig,
        (name, list): (&str, &str),
        fields: &Fields,
    ) -> Option<Self> {
        if audit.length == 0 {
            return None;
        }
        let about = [
            ("source", name),
            ("list", list),
            ("instance", &audit.instance),
        ];
        Some(Self {
            key: key(redis, list)?,
            length: audit.length,
            kind: Kind::Commit,
            about: about
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            fields: fields.clone(),
            each: false,
        })
    }

    /// What is to be written of a batch: its counts, and each message that is told of.
    #[must_use]
    pub fn entries(&self, transfers: &[Transfer]) -> Vec<Entry> {
        let mut first = entry(self.kind, self.about.clone());
        first.extend(counts(
            transfers.iter().map(|transfer| transfer.disposition),
        ));
        if !self.each {
            let gone = |transfer: &&Transfer| transfer.disposition == Disposition::Purge;
            let gone = transfers.iter().filter(gone);
            first.extend(digests(gone.map(|transfer| digest(&transfer.entry.0))));
        }
        let told: Vec<&Transfer> = transfers
            .iter()
            .filter(|transfer| self.each || matches!(transfer.disposition, Disposition::Dead(_)))
            .collect();
        let mut parts = told.chunks(MESSAGES).map(|part| {
            let messages: Vec<Told> = part.iter().map(|transfer| self.told(transfer)).collect();
            let text = serde_json::to_string(&messages).unwrap_or_default();
            ("messages".to_owned(), text)
        });
        if self.each {
            first.extend(parts.next());
        }
        let kind = if self.each { self.kind } else { Kind::Parked };
        let about = || self.about.iter().cloned();
        let mut entries = vec![first];
        entries.extend(parts.map(|part| entry(kind, about().chain([part]))));
        entries
    }

    fn told(&self, transfer: &Transfer) -> Told {
        let envelope = Envelope::read(&transfer.entry.0, &self.fields).ok();
        let arriving = transfer.arriving();
        let after = (transfer.disposition.place().is_some() && !transfer.edits.is_empty())
            .then(|| digest(&arriving));
        Told {
            disposition: transfer.disposition.as_str(),
            reason: transfer.disposition.reason(),
            retries: envelope.as_ref().map(Envelope::retries),
            digest: digest(&transfer.entry.0),
            after,
            correlation_id: envelope.and_then(|envelope| envelope.correlation_id()),
        }
    }
}

/// What an entry says of how many messages went where.
pub(crate) fn counts(all: impl Iterator<Item = Disposition>) -> Entry {
    let names = ["replayed", "dead", "restored", "purged"];
    let mut counts = [0_u64; 4];
    for disposition in all {
        counts[match disposition {
            Disposition::Replay => 0,
            Disposition::Dead(_) => 1,
            Disposition::Restore => 2,
            Disposition::Purge => 3,
        }] += 1;
    }
    let counted = names
        .into_iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0);
    counted
        .map(|(name, count)| (name.to_owned(), count.to_string()))
        .collect()
}

/// What an entry says of which messages went nowhere, by their digests.
pub(crate) fn digests(gone: impl Iterator<Item = String>) -> Option<(String, String)> {
    let brief = gone.take(GONE).map(|mut digest| {
        digest.truncate(BRIEF);
        digest
    });
    let text = brief.collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then(|| ("digests".to_owned(), text))
}

/// What an entry tells of one message.
#[derive(Serialize)]
struct Told {
    disposition: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    /// How often it had failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u64>,
    digest: String,
    /// The digest of what arrived, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
}

/// What a message is called by: the SHA-1 of its bytes in hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    sha1_smol::Sha1::from(bytes).hexdigest()
}

/// The arguments with which a script writes entries: of each how many names and values, and these.
#[must_use]
pub fn arguments(entries: &[Entry]) -> Vec<String> {
    let mut arguments = vec![];
    for entry in entries {
        arguments.push((entry.len() * 2).to_string());
        for (name, value) in entry {
            arguments.extend([name.clone(), value.clone()]);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::{self, Reason};

    fn trail() -> Trail {
        Trail {
            key: KEY.into(),
            length: 10,
            kind: Kind::Commit,
            about: vec![("source".into(), "alerter".into())],
            fields: Fields::alerter(),
            each: false,
        }
    }

    fn transfer(text: &str, disposition: Disposition) -> Transfer {
        Transfer {
            entry: dlq::Entry(text.as_bytes().to_vec()),
            edits: vec![],
            disposition,
        }
    }

    #[test]
    fn a_batch_is_told_by_its_counts_and_what_is_parked_by_digest_and_reason() {
        let dead = Disposition::Dead(Reason::RetriesExhausted);
        let poison = r#"{"secret":"payload","_moog_retry_count":7,"_correlation_id":"c\u001b-1"}"#;
        let told = trail().entries(&[
            transfer(r#"{"secret":"payload"}"#, Disposition::Replay),
            transfer(poison, dead),
        ]);
        let text: Vec<String> = told
            .iter()
            .map(|entry| {
                let fields = entry.iter().map(|(name, value)| format!("{name}={value}"));
                fields.collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(
            text,
            [
                "kind=commit source=alerter replayed=1 dead=1",
                &format!(
                    r#"kind=parked source=alerter messages=[{{"disposition":"dead","reason":"retries_exhausted","retries":7,"digest":"{}","correlation_id":"c-1"}}]"#,
                    digest(poison.as_bytes())
                )
            ]
        );
    }

    #[test]
    fn of_what_goes_nowhere_each_is_told_by_its_digest_up_to_a_bound() {
        let purged = |i: i32| transfer(&i.to_string(), Disposition::Purge);
        let told = trail().entries(&(0..300).map(purged).collect::<Vec<_>>());
        assert_eq!(told.len(), 1);
        let (name, text) = told[0].last().expect("some fields");
        assert_eq!(name, "digests");
        let briefs: Vec<&str> = text.split(' ').collect();
        assert_eq!((briefs.len(), briefs[1]), (GONE, &digest(b"1")[..BRIEF]));
        let each = Trail {
            each: true,
            ..trail()
        };
        let named = &each.entries(&[purged(1)])[0];
        assert_eq!(named.last().expect("some fields").0, "messages");
    }

    #[test]
    fn entries_stay_small_however_many_are_parked() {
        let dead = Disposition::Dead(Reason::Malformed);
        let transfers: Vec<_> = (0..33).map(|i| transfer(&i.to_string(), dead)).collect();
        let told = trail().entries(&transfers);
        assert_eq!(told.len(), 1 + 3);
        assert_eq!(arguments(&told)[0], "6");
    }
}
