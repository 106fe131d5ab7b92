//! Peek and commit on Redis lists. Speaks Redis for the drain, and decides nothing.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use super::{Committed, Disposition, Entry, Error, Peeked, Transfer};
use crate::link::{self, Link, LinkConfig, Reason};

/// From this size on an entry travels once: it is compared by its digest and changed by the script.
const LARGE: usize = 1024 * 1024;

/// For so long a refused transaction is not asked for again.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The three lists of a drain: where dead letters lie, where they go back to, where poison ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    /// Dead letters arrive here on the left.
    pub source: String,
    /// Replays are pushed to the left of this list.
    pub target: String,
    /// Poison is pushed to the left of this list.
    pub dead: String,
}

/// The dead letter queue on a Redis server.
#[derive(Debug)]
pub struct Queue {
    link: Link,
    lists: Lists,
    /// Whether the connection is in the transaction that the last peek opened.
    in_transaction: bool,
    /// When the peek's transaction was last refused.
    refused: Option<Instant>,
}

/// How much to peek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries, at most.
    pub entries: u64,
    /// Bytes, at most; a larger first entry comes alone.
    pub bytes: u64,
}

impl Queue {
    /// A queue over a connection of its own, made at the first use.
    #[must_use]
    pub fn new(config: LinkConfig, lists: Lists) -> Self {
        Self {
            link: Link::new(config),
            lists,
            in_transaction: false,
            refused: None,
        }
    }

    /// Reads the oldest entries, and has Redis watch the source from before they are read.
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn peek(&mut self, limits: Limits) -> Result<Peeked, Error> {
        self.leave_transaction().await;
        let answer = match self.refused {
            Some(at) if at.elapsed() < REFUSED_FOR => self.peek_plainly(limits).await,
            _ => self.peek_in_transaction(limits).await,
        };
        let answer = answer.and_then(peeked);
        answer.map_err(|source| self.peek_error(source))
    }

    /// Depth of the source, and its oldest entry unless that is larger than `max_bytes`.
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn look(&mut self, max_bytes: u64) -> Result<Peeked, Error> {
        self.leave_transaction().await;
        let mut command = OLDEST.command(&[&self.lists.source]);
        command.arg(max_bytes);
        let answer = self.run(&OLDEST, &command).await.and_then(peeked);
        answer.map_err(|source| self.peek_error(source))
    }

    /// Moves all of the transfers, which must be the oldest entries of the source, or none.
    ///
    /// While nothing has touched the source since the peek, Redis need not compare the entries;
    /// otherwise (new dead letters on the left are enough) it does.
    ///
    /// # Errors
    /// [`Error::Commit`]. After a timeout or a broken connection the batch may have been moved or
    /// not; each message is in exactly one list all the same, and the next peek shows which.
    pub async fn commit(&mut self, transfers: &[Transfer]) -> Result<Committed, Error> {
        let answer = match transfers {
            [one] if one.entry.0.len() > LARGE => self.commit_by_digest(one).await,
            _ => match self.commit_watched(transfers).await.transpose() {
                Some(answer) => answer,
                None => self.commit_comparing(transfers).await,
            },
        };

        answer
            .and_then(|answer| committed(&answer))
            .map_err(|source| self.commit_error(source))
    }

    fn peek_command(&self, limits: Limits) -> Cmd {
        let mut command = PEEK.command(&[&self.lists.source]);
        command.arg(limits.entries).arg(limits.bytes);
        command
    }

    async fn peek_plainly(&mut self, limits: Limits) -> Result<Vec<Value>, link::Error> {
        self.run(&PEEK, &self.peek_command(limits)).await
    }

    /// A peek that opens a transaction, or else a plain one.
    async fn peek_in_transaction(&mut self, limits: Limits) -> Result<Vec<Value>, link::Error> {
        let error = match self.peek_and_begin(limits).await {
            Ok(answer) => {
                self.in_transaction = true;
                return Ok(answer);
            }
            Err(error) if error.reason == Reason::Timeout => return Err(error),
            Err(error) => error,
        };
        self.link.close();
        if error.detail.contains("unknown command 'MULTI'") {
            // Redis writes what a script did into its AOF between MULTI and EXEC.
            let detail = "MULTI is renamed on this server, so it could not load its AOF after a script that writes twice";
            return Err(link::Error::new(Reason::Unsupported, detail));
        }
        // The line had gone stale, the script was not known, or a command was refused: a new line
        // and the plain script tell. Reading once more does no harm.
        let passing = error.reason == Reason::NoScript || !error.is_answer();
        self.refused = (!passing).then(Instant::now);
        self.peek_plainly(limits).await
    }

    /// Watches, reads, and opens the transaction in which the commit is to run. That MULTI has been
    /// answered before the commit is sent matters: where it is refused, the commit would run at
    /// once and unwatched.
    async fn peek_and_begin(&mut self, limits: Limits) -> Result<Vec<Value>, link::Error> {
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.cmd("WATCH").arg(&self.lists.source).ignore();
        pipeline.add_command(self.peek_command(limits));
        pipeline.cmd("MULTI").ignore();
        let (answer,) = self.link.call_all(&pipeline).await?;
        Ok(answer)
    }

    /// Within a transaction every command would only be queued.
    async fn leave_transaction(&mut self) {
        if std::mem::take(&mut self.in_transaction)
            && let Err(error) = self.link.call::<()>(&redis::cmd("DISCARD")).await
        {
            // A new line is in no transaction.
            tracing::debug!(%error, "transaction not discarded");
            self.link.close();
        }
    }

    /// The commit within the transaction that the peek opened; `None` if there is none, or Redis
    /// refused it, for whatever reason.
    async fn commit_watched(
        &mut self,
        transfers: &[Transfer],
    ) -> Result<Option<Vec<Value>>, link::Error> {
        let (Some(oldest), Some(youngest)) = (transfers.first(), transfers.last()) else {
            return Ok(None);
        };
        if !std::mem::take(&mut self.in_transaction) {
            return Ok(None);
        }
        let ends = [oldest, youngest].map(|end| Cow::Borrowed(&end.entry.0[..]));
        let bodies = transfers.iter().map(Transfer::arriving);
        let command = self.commit_command("watched", transfers, ends.into_iter().chain(bodies));
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(command).ignore();
        pipeline.cmd("EXEC");
        match self.link.call_all(&pipeline).await {
            Ok((Value::Array(mut answers),)) => {
                if let Some(Value::Array(answer)) = answers.pop() {
                    return Ok(Some(answer));
                }
            }
            // The source was touched.
            Ok((Value::Nil,)) => return Ok(None),
            Err(error) if !error.is_answer() => return Err(error),
            _ => {}
        }
        // Whatever Redis refused, comparing is safe and tells; on a new line, because this one may
        // be in the transaction still.
        self.link.close();
        Ok(None)
    }

    async fn commit_comparing(
        &mut self,
        transfers: &[Transfer],
    ) -> Result<Vec<Value>, link::Error> {
        let pairs = transfers.iter().flat_map(entry_and_body);
        let command = self.commit_command("compare", transfers, pairs);
        self.run(&COMMIT, &command).await
    }

    /// The commit of one entry that is too large to be sent around once or twice more.
    async fn commit_by_digest(&mut self, transfer: &Transfer) -> Result<Vec<Value>, link::Error> {
        self.leave_transaction().await;
        let digest = sha1_smol::Sha1::from(&transfer.entry.0).hexdigest();
        let edits = transfer.edits.iter().flat_map(|edit| {
            let Range { start, end } = edit.range;
            [start.to_string(), end.to_string(), edit.text.clone()]
        });
        let texts = std::iter::once(digest).chain(edits);
        let arguments = texts.map(|text| text.into_bytes().into());
        let command = self.commit_command("digest", std::slice::from_ref(transfer), arguments);
        self.run(&COMMIT, &command).await
    }

    /// Calls a script. A server that does not know it has not run it, so that loading it and
    /// calling again is no repetition.
    async fn run(&mut self, script: &Script, command: &Cmd) -> Result<Vec<Value>, link::Error> {
        match self.link.call(command).await {
            Err(error) if error.reason == Reason::NoScript => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(script.source);
                let () = self.link.call(&load).await?;
                self.link.call(command).await
            }
            answer => answer,
        }
    }

    fn commit_command<'a>(
        &self,
        mode: &str,
        transfers: &[Transfer],
        arguments: impl Iterator<Item = Cow<'a, [u8]>>,
    ) -> Cmd {
        let Lists {
            source,
            target,
            dead,
        } = &self.lists;
        let flag = |transfer: &Transfer| match transfer.disposition {
            Disposition::Replay => b'r',
            Disposition::Dead(_) => b'd',
        };
        let flags: Vec<u8> = transfers.iter().map(flag).collect();
        let mut command = COMMIT.command(&[source, target, dead]);
        command.arg(mode).arg(flags);
        for argument in arguments {
            command.arg(&*argument);
        }
        command
    }

    fn peek_error(&self, source: link::Error) -> Error {
        let source_list = self.lists.source.clone();
        Error::Peek {
            source_list,
            source,
        }
    }

    fn commit_error(&self, source: link::Error) -> Error {
        let source_list = self.lists.source.clone();
        Error::Commit {
            source_list,
            source,
        }
    }
}

fn entry_and_body(transfer: &Transfer) -> [Cow<'_, [u8]>; 2] {
    let body = if transfer.edits.is_empty() {
        Cow::default()
    } else {
        transfer.arriving()
    };
    [Cow::Borrowed(&transfer.entry.0), body]
}

fn peeked(answer: Vec<Value>) -> Result<Peeked, link::Error> {
    let mut values = answer.into_iter();
    let Some(Value::Int(depth)) = values.next() else {
        return Err(unexpected("peek"));
    };
    let entries = values.map(|value| match value {
        Value::BulkString(bytes) => Ok(Entry(bytes)),
        _ => Err(unexpected("peek")),
    });
    Ok(Peeked {
        depth: u64::try_from(depth).map_err(|_| unexpected("peek"))?,
        entries: entries.collect::<Result<_, _>>()?,
    })
}

fn committed(answer: &[Value]) -> Result<Committed, link::Error> {
    match *answer {
        [Value::Int(-1)] => Ok(Committed::Conflict),
        [Value::Int(replayed), Value::Int(dead)] => Ok(Committed::Moved {
            replayed: u64::try_from(replayed).map_err(|_| unexpected("commit"))?,
            dead: u64::try_from(dead).map_err(|_| unexpected("commit"))?,
        }),
        _ => Err(unexpected("commit")),
    }
}

fn unexpected(script: &str) -> link::Error {
    link::Error::new(
        Reason::Other,
        format!("unexpected answer of the {script} script"),
    )
}

static PEEK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("peek.lua")));
static OLDEST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("oldest.lua")));
static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("commit.lua")));

/// A script, called by its digest, sent whole only when the server does not know it.
#[derive(Debug)]
struct Script {
    source: &'static str,
    digest: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        let digest = redis::Script::new(source).get_hash().to_owned();
        Self { source, digest }
    }

    fn command(&self, keys: &[&String]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.digest).arg(keys.len()).arg(keys);
        command
    }
}
