//! Acts on messages that are named one by one: replay, bury, restore, purge, edit; and imports.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::judge::{Task, replaced};
use super::look::line;
use super::many::{Act, wanted};
use super::mover::{Chosen, Moved, Mover};
use super::plans::allowed;
use super::queues::Queue;
use super::wire::{
    ActOutcome, ActRequest, Action, EditOutcome, EditRequest, Filter, ImportOutcome, Line,
    Original, Who,
};
use super::{Error, IMPORT, Operator, now};
use crate::audit::{Kind, digest, entry};
use crate::dlq::envelope::Envelope;

/// Messages of one act, at most.
pub(super) const MOST: usize = 100;
/// Messages of one import, at most, and bytes of one of them.
const LINES: usize = 1_000;
const LINE_BYTES: usize = 8 * 1024 * 1024;
/// Tries of an edit while others are at work on the queue.
const TRIES: u32 = 5;
/// Bodies that are kept of edited messages, about.
const ORIGINALS: u64 = 1_000;

impl Operator {
    /// Acts on some messages at once.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn act(
        &self,
        queue: &str,
        request: &ActRequest,
        who: &Who,
    ) -> Result<ActOutcome, Error> {
        let queue = self.named(queue)?;
        let action = request.action;
        allowed(action, queue)?;
        if action == Action::Export {
            return Err(Error::NotHere("an export is read, not acted".into()));
        }
        let count = request.messages.len();
        if count == 0 || count > MOST {
            let expected = format!("1 to {MOST} messages");
            return Err(Error::invalid("messages", &count.to_string(), expected));
        }
        let rules = self.rules(queue);
        let nothing = Filter::default();
        let task = Task {
            action,
            filter: &nothing,
            role: queue.role,
            shared: queue.shared,
            rules: &rules,
            force: request.force,
        };
        // Whom each name means is known before anything moves: one that cannot be used moves nothing.
        let names = wanted(&request.messages)?;
        let looked = self.look_for(queue, &names).await?;
        let depth_before = self.store.depth(&queue.lists.source).await?;
        let mut outcome = ActOutcome {
            wanted: count as u64,
            moved: 0,
            missing: vec![],
            left: BTreeMap::new(),
            scanned: 0,
            complete: true,
            depth_before,
            depth_after: depth_before,
            summary: String::new(),
        };
        let (meant, before) = (count.to_string(), depth_before.to_string());
        let more = [("wanted", meant.as_str()), ("depth_before", &before)];
        let mover = self.mover(queue, action.as_str(), who, &more)?;
        let mut act = Act {
            operator: self,
            queue,
            task,
            mover,
        };
        if let Err(error) = act.carry_out(&names, looked, &mut outcome).await {
            if outcome.moved == 0 {
                return Err(error);
            }
            // What was moved before is worth telling; of the others nobody knows better.
            let told = outcome.missing.len() as u64 + outcome.left.values().sum::<u64>();
            let others = outcome.wanted - outcome.moved - told;
            outcome.left.insert(error.to_string(), others);
        }
        outcome.depth_after = match self.store.depth(&queue.lists.source).await {
            Ok(depth) => depth,
            Err(error) if outcome.moved == 0 => return Err(error.into()),
            Err(_) => depth_before.saturating_sub(outcome.moved),
        };
        outcome.summary = outcome.sentence();
        if outcome.moved < outcome.wanted {
            // The steps that move write down what they do; what was not done is worth a line as well.
            let after = outcome.depth_after.to_string();
            let fields = [
                ("act", action.as_str()),
                ("queue", &queue.name),
                ("list", &queue.lists.source),
                ("who", &who.name),
                ("from", &who.from),
                ("outcome", &outcome.summary),
                ("depth_before", &before),
                ("depth_after", &after),
                ("instance", &self.audit.instance),
            ];
            let noted = self.note(queue, &entry(Kind::Act, fields)).await;
            if outcome.moved == 0 {
                noted?;
            }
        }
        Ok(outcome)
    }

    /// Changes a message and replays it; its old bytes are kept.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn edit(
        &self,
        queue: &str,
        digest_: &str,
        request: &EditRequest,
        who: &Who,
    ) -> Result<EditOutcome, Error> {
        let queue = self.named(queue)?;
        let rules = self.rules(queue);
        let new = request.body.trim();
        let envelope = Envelope::read(new.as_bytes(), &rules.fields).map_err(|error| {
            Error::invalid("body", new, format!("a JSON object; it is {error}"))
        })?;
        let missing = |name: &&String| !envelope.has(name);
        if let Some(name) = rules.required_fields.iter().find(missing) {
            let expected = format!("a JSON object with the member {name}");
            return Err(Error::invalid("body", new, expected));
        }
        let (found, bytes, _) = self.find(queue, digest_, request.at).await?;
        found.only(digest_)?;
        let old = found.digest.clone();
        let transfer = replaced(&bytes, new, &rules, now());
        let after = digest(&transfer.arriving());
        let original = self.keep(queue, &old, &bytes).await?;
        let more = [("original", original.as_str()), ("after", &after)];
        let mut mover = self.mover(queue, "edit", who, &more)?;
        let mut at = found.at.first().copied().unwrap_or(0);
        let mut done = false;
        for _ in 0..TRIES {
            let transfer = transfer.clone();
            if mover.take(&[Chosen { at, transfer }]).await? == Moved::All {
                done = true;
                break;
            }
            match self.find(queue, &old, Some(at)).await {
                Err(Error::NotFound { .. }) => break,
                found => at = found?.0.at.first().copied().unwrap_or(0),
            }
        }
        let summary = if done {
            format!("replayed to {} as {after}", queue.lists.target)
        } else {
            "moved 0 of 1: it was gone, or others were at work there".into()
        };
        if !done {
            let fields = [
                ("act", "edit"),
                ("queue", &queue.name),
                ("who", &who.name),
                ("from", &who.from),
                ("original", &original),
                ("outcome", &summary),
                ("instance", &self.audit.instance),
            ];
            self.note(queue, &entry(Kind::Act, fields)).await?;
        }
        Ok(EditOutcome {
            moved: done,
            digest: old,
            after,
            original,
            summary,
        })
    }

    /// Keeps bytes that an edit is about to replace.
    async fn keep(&self, queue: &Queue, digest: &str, bytes: &[u8]) -> Result<String, Error> {
        let key = &queue.keys.originals;
        let mut add = redis::cmd("XADD");
        add.arg(key).arg("MAXLEN").arg("~").arg(ORIGINALS).arg("*");
        add.arg("digest").arg(digest).arg("body").arg(bytes);
        Ok(self.store.write(key, &add).await?)
    }

    /// The bytes that an edit has replaced.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn original(&self, queue: &str, original: &str) -> Result<Original, Error> {
        let queue = self.named(queue)?;
        let unknown = || Error::not_found("original", original);
        let sound = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        if original.is_empty() || original.len() > 42 || !original.bytes().all(sound) {
            return Err(unknown());
        }
        let key = &queue.keys.originals;
        let mut range = redis::cmd("XRANGE");
        range.arg(key).arg(original).arg(original);
        let found: Vec<Stored> = self.store.read(key, &range).await?;
        let fields = found.into_iter().next().ok_or_else(unknown)?.1;
        let body = fields.into_iter().find(|(name, _)| name == "body");
        let bytes = body.ok_or_else(unknown)?.1;
        let Line { body, base64, .. } = line(&bytes);
        Ok(Original {
            original: original.to_owned(),
            digest: digest(&bytes),
            body: body.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned()),
            base64,
        })
    }

    /// Pushes messages to the young end of a queue, all or none.
    ///
    /// # Errors
    /// [`Error`] says which.
    pub async fn import(
        &self,
        queue: &str,
        lines: Vec<Line>,
        who: &Who,
    ) -> Result<ImportOutcome, Error> {
        let queue = self.named(queue)?;
        if lines.is_empty() || lines.len() > LINES {
            let expected = format!("1 to {LINES} lines");
            return Err(Error::invalid("lines", &lines.len().to_string(), expected));
        }
        let bodies = lines.into_iter().zip(1..).map(bytes_of);
        let bodies: Vec<Vec<u8>> = bodies.collect::<Result<_, _>>()?;
        let count = bodies.len().to_string();
        let fields = [
            ("act", "import"),
            ("queue", queue.name.as_str()),
            ("list", &queue.lists.source),
            ("who", &who.name),
            ("from", &who.from),
            ("imported", &count),
            ("instance", &self.audit.instance),
        ];
        let list = &queue.lists.source;
        let push = (list.as_str(), "LPUSH", &bodies[..]);
        let told = entry(Kind::Act, fields);
        let depth = self.deed(&IMPORT, queue, push, &told).await?;
        let redis::Value::Int(depth) = depth else {
            return Err(Error::NotHere("unexpected answer to an import".into()));
        };
        Ok(ImportOutcome {
            imported: bodies.len() as u64,
            depth_after: depth.cast_unsigned(),
        })
    }

    /// A mover for an act, which says in the audit what it does with each message.
    fn mover(
        &self,
        queue: &Queue,
        act: &str,
        who: &Who,
        more: &[(&str, &str)],
    ) -> Result<Mover, Error> {
        let about = [
            ("act", act),
            ("queue", &queue.name),
            ("list", &queue.lists.source),
            ("who", &who.name),
            ("from", &who.from),
            ("instance", &self.audit.instance),
        ];
        let about = about.iter().chain(more);
        let about = about.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let trail = self.trail(queue, about.collect(), true);
        Mover::new(&self.store, queue, trail)
    }
}

/// An entry of a stream as Redis answers it: its id, and names with values.
type Stored = (String, Vec<(String, Vec<u8>)>);

fn bytes_of((line, number): (Line, u64)) -> Result<Vec<u8>, Error> {
    let bad = |expected: &str| {
        let expected = format!("{expected}; nothing was imported");
        Error::invalid("lines", &format!("line {number}"), expected)
    };
    let bytes = match (line.body, line.base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => STANDARD
            .decode(text)
            .map_err(|_| bad("base64 that can be decoded"))?,
        _ => return Err(bad("either body or base64")),
    };
    if bytes.len() > LINE_BYTES {
        return Err(bad("at most 8 MiB"));
    }
    if line.digest.is_some_and(|wanted| wanted != digest(&bytes)) {
        return Err(bad("bytes that have its digest"));
    }
    Ok(bytes)
}
