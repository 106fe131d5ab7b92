//! Peek and commit on Redis lists. Speaks Redis for the drain, and decides nothing.

use std::borrow::Cow;
use std::io::Write as _;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisWrite, ToRedisArgs, Value};
use tokio::time::Instant;

use super::reach::Reach;
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

impl Lists {
    /// In the order that the scripts expect.
    fn keys(&self) -> [&String; 3] {
        [&self.source, &self.target, &self.dead]
    }
}

impl ToRedisArgs for Transfer {
    /// The bytes that arrive at the destination.
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        for piece in self.pieces() {
            argument.write_all(piece).expect("memory takes all bytes");
        }
    }
}

/// The dead letter queue on a Redis server.
#[derive(Debug)]
pub struct Queue {
    link: Link,
    lists: Lists,
    /// What the last peek has left the connection in.
    line: Line,
    /// When a transaction was last refused.
    refused: Option<Instant>,
    reach: Reach,
    /// Something may have been moved that too few replicas have.
    unreplicated: bool,
}

/// How long a list is, and a piece of its end.
type First = (u64, Vec<Vec<u8>>);

/// What a connection is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Free,
    Watching,
    InTransaction,
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
        let link = Link::new(config);
        Self {
            // Whoever ran before us may have been killed before it waited.
            unreplicated: link.waits(),
            link,
            lists,
            line: Line::Free,
            refused: None,
            reach: Reach::default(),
        }
    }

    /// Reads the oldest entries, oldest first, and has Redis watch the source from before that.
    /// Hands them over piece by piece, while the next piece is on its way, and returns how many
    /// entries the source held.
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn peek(
        &mut self,
        limits: Limits,
        mut each: impl FnMut(Vec<Entry>),
    ) -> Result<u64, Error> {
        match self.read_pieces(limits, &mut each).await {
            Ok(depth) => Ok(depth),
            Err(error) if error.reason == Reason::WrongType => {
                // Redis does not say what the key holds; the script does.
                let said = self.look(0).await.err();
                Err(said.unwrap_or_else(|| self.peek_error(error)))
            }
            Err(error) => Err(self.peek_error(error)),
        }
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
        self.unreplicated = self.link.waits();
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

    /// Makes sure before a batch that the one before it is replicated; nothing to move needs no
    /// replicas.
    ///
    /// # Errors
    /// [`Error::Peek`] or [`Error::Replicate`]; nothing was changed.
    pub async fn catch_up(&mut self) -> Result<(), Error> {
        if !self.unreplicated || self.look(0).await?.depth == 0 {
            return Ok(());
        }
        self.replicated().await
    }

    /// Waits until as many replicas as are asked for have what was moved.
    ///
    /// # Errors
    /// [`Error::Replicate`]; what was moved stands.
    pub async fn replicated(&mut self) -> Result<(), Error> {
        if !self.unreplicated {
            return Ok(());
        }
        self.leave_transaction().await;
        let answer = self.link.replicated().await;
        self.unreplicated = answer.is_err();
        answer.map_err(|source| Error::Replicate {
            source_list: self.lists.source.clone(),
            source,
        })
    }

    async fn read_pieces(
        &mut self,
        limits: Limits,
        each: &mut impl FnMut(Vec<Entry>),
    ) -> Result<u64, link::Error> {
        let (depth, first) = self.first_piece(limits).await?;
        let mut piece = Piece::cut(first, limits.bytes, true);
        let mut taken = piece.entries.len() as u64;
        loop {
            let left = limits.entries.min(depth).saturating_sub(taken);
            if piece.full || left == 0 {
                break;
            }
            let ask = self.reach.ask(left, piece.bytes_left);
            let range = self.range(taken, ask);
            // The planning of a piece hides the way of the next one.
            let next = self.link.call::<Vec<Vec<u8>>>(&range);
            let (next, ()) = tokio::join!(next, hand_over(each, piece.entries));
            let next = next?;
            self.saw(&next);
            piece = Piece::cut(next, piece.bytes_left, false);
            taken += piece.entries.len() as u64;
            if piece.entries.is_empty() {
                break;
            }
        }
        if taken > 0 {
            let (begun, ()) = tokio::join!(self.begin(), hand_over(each, piece.entries));
            begun?;
        }
        Ok(depth)
    }

    /// Watches, and reads the length and the first piece; unwatched where Redis refuses that.
    async fn first_piece(&mut self, limits: Limits) -> Result<First, link::Error> {
        self.leave_transaction().await;
        let ask = self.reach.ask(limits.entries, limits.bytes);
        let range = self.range(0, ask);
        let mut length = redis::cmd("LLEN");
        length.arg(&self.lists.source);
        let mut plain = Pipeline::with_capacity(2);
        plain.add_command(length).add_command(range);
        let watching = self.refused.is_none_or(|at| at.elapsed() >= REFUSED_FOR);
        let watched = if watching {
            let mut watched = Pipeline::with_capacity(3);
            watched.cmd("WATCH").arg(&self.lists.source).ignore();
            for command in plain.cmd_iter() {
                watched.add_command(command.clone());
            }
            self.line = Line::Watching;
            Some(self.link.call_all::<First>(&watched).await)
        } else {
            None
        };
        let answer = match watched {
            Some(Ok(answer)) => answer,
            Some(Err(error)) if error.reason == Reason::Timeout => return Err(error),
            refusal => {
                // The line had gone stale, or WATCH was refused: a new line without it tells.
                // Reading once more does no harm.
                self.give_line_up();
                let answer = self.link.call_all(&plain).await?;
                if matches!(refusal, Some(Err(error)) if error.is_answer()) {
                    self.refused = Some(Instant::now());
                }
                answer
            }
        };
        self.saw(&answer.1);
        Ok(answer)
    }

    /// Opens the transaction in which the commit is to run, if the source is watched. That MULTI
    /// has been answered before the commit is sent matters: where it is refused, the commit would
    /// run at once and unwatched.
    async fn begin(&mut self) -> Result<(), link::Error> {
        if self.line != Line::Watching {
            return Ok(());
        }
        match self.link.call::<()>(&redis::cmd("MULTI")).await {
            Ok(()) => {
                self.line = Line::InTransaction;
                return Ok(());
            }
            Err(error) if !error.is_answer() => return Err(error),
            Err(error) if error.detail.contains("unknown command 'MULTI'") => {
                // Redis writes what a script did into its AOF between MULTI and EXEC.
                let detail = "MULTI is renamed on this server, so it could not load its AOF after a script that writes twice";
                return Err(link::Error::new(Reason::Unsupported, detail));
            }
            Err(_) => {}
        }
        self.give_line_up();
        self.refused = Some(Instant::now());
        Ok(())
    }

    /// `count` entries from the right end, behind the `taken` that are known, youngest first.
    fn range(&self, taken: u64, count: u64) -> Cmd {
        let mut command = redis::cmd("LRANGE");
        command.arg(&self.lists.source);
        command
            .arg(format!("-{}", taken + count))
            .arg(format!("-{}", taken + 1));
        command
    }

    fn saw(&mut self, piece: &[Vec<u8>]) {
        self.reach
            .saw(piece.iter().rev().map(|entry| entry.len() as u64));
    }

    /// Within a transaction every command would only be queued, and what is watched no longer
    /// matters would have a later commit refused.
    async fn leave_transaction(&mut self) {
        let leave = match std::mem::take(&mut self.line) {
            Line::Free => return,
            Line::Watching => "UNWATCH",
            Line::InTransaction => "DISCARD",
        };
        if let Err(error) = self.link.call::<()>(&redis::cmd(leave)).await {
            // A new line is in no transaction.
            tracing::debug!(%error, "transaction not left");
            self.link.close();
        }
    }

    fn give_line_up(&mut self) {
        self.line = Line::Free;
        self.link.close();
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
        if self.line != Line::InTransaction {
            return Ok(None);
        }
        self.line = Line::Free;
        let size = transfers.iter().map(Transfer::size).sum();
        let mut pipeline = Pipeline::with_capacity(4);
        let mut counts = [0; 2];
        let lists = [(&self.lists.target, true), (&self.lists.dead, false)];
        for ((list, replay), count) in lists.into_iter().zip(&mut counts) {
            let mut push = Cmd::with_capacity(transfers.len() + 2, size);
            push.arg("LPUSH").arg(list);
            for transfer in transfers {
                if (transfer.disposition == Disposition::Replay) == replay {
                    push.arg(transfer);
                    *count += 1;
                }
            }
            if *count > 0 {
                pipeline.add_command(push).ignore();
                pipeline.add_command(no_trim(list)).ignore();
            }
        }
        pipeline.add_command(no_trim(&self.lists.source)).ignore();
        let mut settle = redis::cmd("EVAL");
        settle.arg(SETTLE).arg(3).arg(&self.lists.keys()[..]);
        settle
            .arg(&counts)
            .arg(&oldest.entry.0)
            .arg(&youngest.entry.0);
        pipeline.add_command(settle).ignore();
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
        self.give_line_up();
        self.refused = Some(Instant::now());
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
        let flag = |transfer: &Transfer| match transfer.disposition {
            Disposition::Replay => b'r',
            Disposition::Dead(_) => b'd',
        };
        let flags: Vec<u8> = transfers.iter().map(flag).collect();
        let mut command = COMMIT.command(&self.lists.keys());
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

/// Trims nothing. Redis refuses it, and with it the whole transaction, to a user who may not trim;
/// within the script it would be too late to find that out.
fn no_trim(list: &str) -> Cmd {
    let mut command = redis::cmd("LTRIM");
    command.arg(list).arg(0).arg(-1);
    command
}

fn entry_and_body(transfer: &Transfer) -> [Cow<'_, [u8]>; 2] {
    let body = if transfer.edits.is_empty() {
        Cow::default()
    } else {
        transfer.arriving()
    };
    [Cow::Borrowed(&transfer.entry.0), body]
}

/// A part of what is peeked, oldest first.
struct Piece {
    entries: Vec<Entry>,
    /// Bytes that more entries may have.
    bytes_left: u64,
    /// There was an entry that did not fit any more.
    full: bool,
}

impl Piece {
    /// What fits of an answer, which is youngest first. The very first entry always does.
    fn cut(answer: Vec<Vec<u8>>, bytes: u64, first: bool) -> Self {
        let mut piece = Self {
            entries: Vec::with_capacity(answer.len()),
            bytes_left: bytes,
            full: false,
        };
        for entry in answer.into_iter().rev() {
            let size = entry.len() as u64;
            let alone = first && piece.entries.is_empty();
            piece.full |= size > piece.bytes_left;
            if piece.full && !alone {
                break;
            }
            piece.bytes_left = piece.bytes_left.saturating_sub(size);
            piece.entries.push(Entry(entry));
        }
        piece
    }
}

/// Hands entries over when what was asked for beside them is on its way.
async fn hand_over(each: &mut impl FnMut(Vec<Entry>), entries: Vec<Entry>) {
    tokio::task::yield_now().await;
    each(entries);
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

static OLDEST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("oldest.lua")));
/// Sent whole, so that its absence cannot break a transaction in the middle.
const SETTLE: &str = include_str!("settle.lua");
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
