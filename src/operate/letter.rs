//! A message as people look at it: why it lies there, since when, and what it says. Pure.

use std::borrow::Cow;

use super::queues::Role;
use super::wire::Message;
use crate::audit::digest;
use crate::dlq::envelope::{Envelope, REMEDIATION_REASON, SHEDDING_REASON};
use crate::dlq::{Disposition, Entry};
use crate::drain::classify::{Rules, classify};

/// Characters of a text that are shown in a list.
const SUMMARY: usize = 160;

/// Characters of a short member that are shown in a list.
const SHORT: usize = 80;

/// A message that has been read, with what a filter wants to know of it.
#[derive(Debug)]
pub struct Letter<'a> {
    bytes: &'a [u8],
    envelope: Option<Envelope<'a>>,
    reason: Cow<'a, str>,
}

/// What is always looked at.
const LOOKED_AT: [&str; 3] = ["hostname", "message", "severity"];

impl<'a> Letter<'a> {
    /// Reads a message of a list of this role; `also` are further members that will be asked for.
    #[must_use]
    pub fn read(bytes: &'a [u8], role: Role, rules: &'a Rules, also: &[&str]) -> Self {
        let also: Vec<&str> = LOOKED_AT.iter().chain(also).copied().collect();
        let envelope = Envelope::read_with(bytes, &rules.fields, &also).ok();
        let reason = envelope
            .as_ref()
            .map_or(Cow::Borrowed("malformed"), |envelope| {
                reason(envelope, role, rules)
            });
        Self {
            bytes,
            envelope,
            reason,
        }
    }

    /// Why it lies there.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Unix seconds since when it has been around.
    #[must_use]
    pub fn since(&self) -> Option<i64> {
        self.envelope.as_ref()?.since()
    }

    /// The text of a member: decoded where it is a string, else as it is spelt.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let raw = self.envelope.as_ref()?.raw(name)?;
        if !raw.starts_with('"') {
            return Some(Cow::Borrowed(raw));
        }
        // Most strings need no decoding.
        let inner = &raw[1..raw.len() - 1];
        if !inner.contains('\\') {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str(raw).ok().map(Cow::Owned)
    }

    /// A member as it is spelt.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.envelope.as_ref()?.raw(name)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What a list shows of it.
    #[must_use]
    pub fn message(&self, at: u64) -> Message {
        let short = |name| self.text(name).map(|text| shortened(&text, SHORT));
        let summary = self.text("message").map_or_else(
            || {
                let beginning = &self.bytes[..self.bytes.len().min(SUMMARY * 4)];
                shortened(&String::from_utf8_lossy(beginning), SUMMARY)
            },
            |text| shortened(&text, SUMMARY),
        );
        let envelope = self.envelope.as_ref();
        Message {
            digest: digest(self.bytes),
            at,
            bytes: self.bytes.len() as u64,
            reason: self.reason.clone().into_owned(),
            retries: envelope.map(Envelope::retries),
            replays: envelope.map(Envelope::remediation_count),
            since: self.since(),
            host: short("hostname"),
            severity: short("severity"),
            summary,
            correlation_id: envelope.and_then(Envelope::correlation_id),
        }
    }
}

fn reason<'a>(envelope: &Envelope<'a>, role: Role, rules: &Rules) -> Cow<'a, str> {
    if role == Role::Dead
        && let Some(raw) = envelope.raw(REMEDIATION_REASON)
        && let Ok(stamped) = serde_json::from_str::<String>(raw)
    {
        return Cow::Owned(shortened(&stamped, SHORT));
    }
    if !rules.required_fields.iter().all(|name| envelope.has(name)) {
        return "incomplete".into();
    }
    if envelope.retries() >= rules.max_poison_retries {
        return "retries_exhausted".into();
    }
    if envelope.raw(SHEDDING_REASON).is_some() {
        return "shed".into();
    }
    "failed".into()
}

/// What the drain would do with it now.
#[must_use]
pub fn disposition(entry: &Entry, rules: &Rules) -> Disposition {
    classify(entry, rules).disposition
}

/// The beginning of a text, with a sign where it was cut.
#[must_use]
pub fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
