//! Looks into the queues: pages, one message, counts, exports.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::letter::{Letter, disposition};
use super::many;
use super::plans::check;
use super::queues::{Queue, Role};
use super::runs::bounds;
use super::scan::{Cursor, Scan};
use super::search::Found;
use super::store::End;
use super::wire::{
    AuditRequest, Detail, Filter, Line, Message, Named, Page, PageRequest, QueueDetail, QueueView,
    Status,
};
use super::{Error, ExportPage, Operator, now};
use crate::audit::digest;
use crate::dlq::Entry;

/// Messages on a page, unless another number is asked for.
const LIMIT: u64 = 50;
/// Messages that are looked at for one answer, unless another number is asked for.
const SCAN: u64 = 20_000;
/// Messages that may be looked at for one answer.
const MOST: u64 = 1_000_000;
/// One answer takes so long at most; what was seen by then is the answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a message that is shown whole, at most.
const LARGEST: usize = 16 * 1024 * 1024;
/// Bytes of a message with line breaks and indents, at most, about.
const PRETTY: usize = 4 * 1024 * 1024;
/// Bytes of a page of an export, about.
const EXPORT_BYTES: usize = 4 * 1024 * 1024;

impl Operator {
    /// How things stand. It answers also while Redis is away.
    pub async fn status(&self) -> Status {
        let queues = self.queues().await;
        Status {
            instance: self.audit.instance.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            now: now(),
            redis: queues
                .as_ref()
                .map_or_else(ToString::to_string, |_| "up".into()),
            drains: self
                .drains
                .iter()
                .map(|drain| drain.borrow().clone())
                .collect(),
            queues: queues.unwrap_or_default(),
        }
    }

    /// All queues.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn queues(&self) -> Result<Vec<QueueView>, Error> {
        let mut views = vec![];
        for queue in self.queues.iter() {
            views.push(self.view(queue).await?);
        }
        Ok(views)
    }

    pub(super) async fn view(&self, queue: &Queue) -> Result<QueueView, Error> {
        let oldest = self
            .store
            .stretch(&queue.lists.source, End::Oldest, 0, 1)
            .await?;
        let rules = self.rules(queue);
        let letter = |bytes| Letter::read(bytes, queue.role, &rules, &[]).since();
        Ok(QueueView {
            queue: queue.name.clone(),
            list: queue.lists.source.clone(),
            role: queue.role.as_str().into(),
            source: queue.source.name.clone(),
            target: queue.lists.target.clone(),
            depth: oldest.depth,
            oldest_since: oldest.entries.first().and_then(|bytes| letter(bytes)),
            paused: match queue.role {
                Role::Source => self.paused(queue).await?,
                Role::Dead => None,
            },
            run: self.active(queue).await?,
        })
    }

    /// One queue, with what is in it; looks at so many messages at most.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn queue(&self, queue: &str, scan: Option<u64>) -> Result<QueueDetail, Error> {
        let queue = self.named(queue)?;
        bounds("scan", scan, MOST)?;
        let mut budget = Budget::new(scan);
        let rules = self.rules(queue);
        let second = now();
        let mut detail = QueueDetail {
            queue: self.view(queue).await?,
            by_reason: BTreeMap::new(),
            by_age: BTreeMap::new(),
            scanned: 0,
            complete: false,
        };
        let mut way = Scan::new(&self.store, &queue.lists.source, End::Oldest, 0);
        while let Some(most) = budget.left() {
            let Some(step) = way.next(most).await? else {
                detail.complete = true;
                break;
            };
            budget.spend(step.entries.len());
            for bytes in &step.entries {
                let letter = Letter::read(bytes, queue.role, &rules, &[]);
                let reason = letter.reason().to_owned();
                *detail.by_reason.entry(reason).or_default() += 1;
                let age = letter.since().map(|since| second - since);
                *detail.by_age.entry(age_class(age).into()).or_default() += 1;
            }
        }
        detail.scanned = budget.spent;
        detail.complete |= detail.scanned >= way.depth();
        Ok(detail)
    }

    /// Some messages.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn messages(
        &self,
        queue: &str,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page, Error> {
        let queue = self.named(queue)?;
        let rules = self.rules(queue);
        let mut messages: Vec<Message> = vec![];
        let limit = page.limit.unwrap_or(LIMIT);
        let view = |bytes: &[u8], at, depth: u64, end| {
            let at = match end {
                End::Oldest => at,
                End::Newest => depth.saturating_sub(at + 1),
            };
            messages.push(Letter::read(bytes, queue.role, &rules, &[]).message(at));
            messages.len() as u64 >= limit
        };
        let walked = self.walk(queue, filter, page, view).await?;
        Ok(Page {
            queue: queue.name.clone(),
            depth: walked.depth,
            messages,
            scanned: walked.scanned,
            next: walked.next,
            steady: walked.steady,
        })
    }

    /// Some messages whole.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn export(
        &self,
        queue: &str,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<ExportPage, Error> {
        let queue = self.named(queue)?;
        let mut lines: Vec<Line> = vec![];
        let limit = page.limit.unwrap_or(LIMIT);
        let mut bytes = 0;
        let view = |entry: &[u8], _, _, _| {
            bytes += entry.len();
            lines.push(line(entry));
            lines.len() as u64 >= limit || bytes >= EXPORT_BYTES
        };
        let walked = self.walk(queue, filter, page, view).await?;
        if !walked.steady {
            let why = "others have changed the queue so much that nobody knows where the last page ended: export it again";
            return Err(Error::Conflict(why.into()));
        }
        Ok(ExportPage {
            lines,
            next: walked.next,
        })
    }

    /// Goes through a queue and hands over what is meant, with its place and the depth, until `each`
    /// has had enough.
    async fn walk(
        &self,
        queue: &Queue,
        filter: &Filter,
        page: &PageRequest,
        mut each: impl FnMut(&[u8], u64, u64, End) -> bool,
    ) -> Result<Walked, Error> {
        check(filter)?;
        bounds("limit", page.limit, 500)?;
        bounds("scan", page.scan, MOST)?;
        let end = if page.newest_first {
            End::Newest
        } else {
            End::Oldest
        };
        let cursor = page.cursor.as_deref().map(Cursor::read).transpose()?;
        let list = &queue.lists.source;
        let (mut way, steady) = match &cursor {
            None => (Scan::new(&self.store, list, end, 0), true),
            Some(cursor) if cursor.end != end => {
                let expected = "a page of the same order";
                return Err(Error::invalid("cursor", &cursor.text(), expected));
            }
            Some(cursor) => Scan::resume(&self.store, list, cursor).await?,
        };
        let rules = self.rules(queue);
        let second = now();
        let mut budget = Budget::new(page.scan);
        while let Some(most) = budget.left() {
            let Some(step) = way.next(most).await? else {
                return Ok(Walked::new(&way, &budget, None, steady));
            };
            for (bytes, at) in step.entries.iter().zip(step.at..) {
                budget.spend(1);
                let meant = !filter.rules_out(bytes)
                    && filter.matches(
                        &Letter::read(bytes, queue.role, &rules, &filter.members()),
                        second,
                    );
                let enough = meant && each(bytes, at, way.depth(), end);
                let at_its_end = at + 1 == step.at + step.entries.len() as u64;
                if enough || (at_its_end && budget.left().is_none()) {
                    let next = (at + 1 < way.depth()).then(|| Cursor {
                        end,
                        at: at + 1,
                        last: digest(bytes),
                    });
                    return Ok(Walked::new(&way, &budget, next, steady));
                }
            }
        }
        Ok(Walked::new(&way, &budget, None, steady))
    }

    /// One message, by its digest or the beginning of it.
    ///
    /// # Errors
    /// [`Error`] says which; [`Error::NotFound`] also where it was not among those looked at.
    pub async fn message(
        &self,
        queue: &str,
        digest: &str,
        at: Option<u64>,
    ) -> Result<Detail, Error> {
        let mut detail = self.seen(queue, digest, at).await?;
        let request = AuditRequest {
            limit: Some(50),
            digest: Some(detail.message.digest.clone()),
            correlation_id: detail.message.correlation_id.clone(),
            ..AuditRequest::default()
        };
        let queue = self.named(queue)?;
        detail.history = self.audit_of(queue, &request, true).await?.entries;
        Ok(detail)
    }

    /// The same without its history.
    ///
    /// # Errors
    /// As of [`Self::message`].
    pub async fn seen(&self, queue: &str, digest: &str, at: Option<u64>) -> Result<Detail, Error> {
        let queue = self.named(queue)?;
        let (found, bytes, scanned) = self.find(queue, digest, at).await?;
        if bytes.len() > LARGEST {
            return Err(Error::NotHere(format!(
                "the message has {} bytes, more than the {LARGEST} that are shown: an export has them",
                bytes.len()
            )));
        }
        Ok(self.detail(queue, &found, bytes, scanned))
    }

    /// Some messages without their histories, each as often as it was found; those that were not are
    /// left out. One search for all.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn seen_all(&self, queue: &str, messages: &[Named]) -> Result<Vec<Detail>, Error> {
        let name = queue;
        let queue = self.named(name)?;
        let looked = self.look_for(queue, &many::wanted(messages)?).await?;
        let mut details = vec![];
        for mut found in looked.found.into_iter().flatten() {
            details.push(match found.bytes.take() {
                Some(bytes) => self.detail(queue, &found, bytes, looked.scanned),
                // The others were large enough together.
                None => {
                    let at = found.at.first().copied();
                    self.seen(name, &found.digest, at).await?
                }
            });
        }
        Ok(details)
    }

    fn detail(&self, queue: &Queue, found: &Found, bytes: Vec<u8>, scanned: u64) -> Detail {
        let rules = self.rules(queue);
        let place = found.at.first().copied().unwrap_or(0);
        let message = Letter::read(&bytes, queue.role, &rules, &[]).message(place);
        let entry = Entry(bytes);
        let Line { body, base64, .. } = line(&entry.0);
        Detail {
            queue: queue.name.clone(),
            copies: found.at.len() as u64,
            scanned,
            disposition: disposition(&entry, &rules).as_str().into(),
            pretty: body.as_deref().and_then(pretty),
            body: body.unwrap_or_else(|| String::from_utf8_lossy(&entry.0).into_owned()),
            base64,
            history: vec![],
            message,
        }
    }
}

struct Walked {
    depth: u64,
    scanned: u64,
    next: Option<String>,
    steady: bool,
}

impl Walked {
    fn new(way: &Scan<'_>, budget: &Budget, next: Option<Cursor>, steady: bool) -> Self {
        Self {
            depth: way.depth(),
            scanned: budget.spent,
            next: next.map(|cursor| cursor.text()),
            steady,
        }
    }
}

/// How much may be looked at for one answer.
pub(super) struct Budget {
    most: u64,
    pub(super) spent: u64,
    began: Instant,
}

impl Budget {
    pub(super) fn new(scan: Option<u64>) -> Self {
        Self {
            most: scan.unwrap_or(SCAN),
            spent: 0,
            began: Instant::now(),
        }
    }

    pub(super) fn left(&self) -> Option<u64> {
        let left = self.most.saturating_sub(self.spent);
        (left > 0 && self.began.elapsed() < PATIENCE).then_some(left)
    }

    pub(super) fn spend(&mut self, count: usize) {
        self.spent += count as u64;
    }
}

/// The class of an age in seconds.
fn age_class(age: Option<i64>) -> &'static str {
    let Some(age) = age else {
        return "unknown";
    };
    let classes = [
        (60, "1m"),
        (600, "10m"),
        (3_600, "1h"),
        (21_600, "6h"),
        (86_400, "1d"),
        (604_800, "7d"),
    ];
    let class = classes.into_iter().find(|(most, _)| age <= *most);
    class.map_or("older", |(_, name)| name)
}

/// A message as a line of an export.
#[must_use]
pub fn line(bytes: &[u8]) -> Line {
    let text = std::str::from_utf8(bytes).ok();
    Line {
        digest: Some(digest(bytes)),
        body: text.map(str::to_owned),
        base64: text.is_none().then(|| STANDARD.encode(bytes)),
    }
}

/// JSON with line breaks and indents; every value as it is spelt. Nothing for what is no JSON.
fn pretty(text: &str) -> Option<String> {
    serde_json::from_str::<&serde_json::value::RawValue>(text).ok()?;
    let mut out = String::with_capacity((text.len() * 2).min(PRETTY));
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut characters = text.trim().chars().peekable();
    while let Some(character) = characters.next() {
        // Indents would make much of little that is nested deeply.
        if out.len() > PRETTY {
            return None;
        }
        if in_string {
            out.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            '"' => {
                in_string = true;
                out.push(character);
            }
            '{' | '[' => {
                out.push(character);
                while characters.peek().is_some_and(char::is_ascii_whitespace) {
                    characters.next();
                }
                if let Some(close) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                    continue;
                }
                depth += 1;
                new_line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(character);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            character if character.is_ascii_whitespace() => {}
            character => out.push(character),
        }
    }
    Some(out)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    // What is nested deeply is not shifted for ever.
    out.extend(std::iter::repeat_n("  ", depth.min(40)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pretty_text_keeps_the_spelling_of_every_value() {
        assert_eq!(
            pretty(r#" {"a":1.10,"b":[1E5,{}, [ ]],"c":"x\"{,:\\"} "#).as_deref(),
            Some(
                "{\n  \"a\": 1.10,\n  \"b\": [\n    1E5,\n    {},\n    []\n  ],\n  \"c\": \"x\\\"{,:\\\\\"\n}"
            )
        );
        assert_eq!(pretty("{"), None);
        assert_eq!(pretty("17").as_deref(), Some("17"));
    }

    #[test]
    fn a_text_that_indents_would_blow_up_is_not_made_pretty() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(pretty(&nested(50)).is_some());
        assert_eq!(pretty(&nested(1_000_000)), None);
    }

    #[test]
    fn ages_are_sorted_into_classes() {
        assert_eq!(age_class(None), "unknown");
        assert_eq!(age_class(Some(-5)), "1m");
        assert_eq!(age_class(Some(60)), "1m");
        assert_eq!(age_class(Some(61)), "10m");
        assert_eq!(age_class(Some(604_801)), "older");
    }
}
