//! Peek and commit on Redis lists. Speaks Redis for the drain, and decides nothing.

use std::borrow::Cow;
use std::io::Write as _;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, RedisWrite, ToRedisArgs, Value};
use tokio::time::Instant;

use super::calm::Calm;
use super::{Committed, Entry, Error, Peeked, Place, Proviso, Transfer};
use crate::audit::{self, Trail};
use crate::link::{self, Link, LinkConfig, Reason};

/// From this size on an entry travels once: it is compared by its digest and changed by the script.
const LARGE: usize = 1024 * 1024;

/// Entries that are measured at once, at most.
const PIECE: u64 = 64;

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

impl ToRedisArgs for Transfer {
    /// The bytes that arrive at the destination.
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        self.each_piece(|piece| argument.write_all(piece).expect("memory takes all bytes"));
    }
}

/// The dead letter queue on a Redis server.
#[derive(Debug)]
pub struct Queue {
    link: Link,
    lists: Lists,
    /// What is written down of a commit, if anything.
    trail: Option<Trail>,
    /// What must hold for a commit.
    proviso: Proviso,
    /// What the last peek has left the connection in.
    line: Line,
    /// When a transaction was last refused.
    refused: Option<Instant>,
    /// Whether the source is watched at all.
    watches: bool,
    /// Whether this server is known to know MULTI and EXEC.
    loadable: bool,
    calm: Calm,
    /// Something may have been moved that too few replicas have.
    unreplicated: bool,
    clock: Clock,
    /// For how long the last commit kept the server from others, where it told.
    busy: Option<Duration>,
}

/// What a connection is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Free,
    /// The connection of this number watches the source.
    Watching(u64),
    /// The connection of this number is in a transaction that watches the source.
    InTransaction(u64),
}

/// Whether the server tells what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// It has not been asked.
    ToAsk,
    Tells,
    /// It did not at this moment.
    Silent(Instant),
}

/// A part of what is peeked, oldest first.
struct Piece {
    depth: u64,
    entries: Vec<Entry>,
    /// There was an entry that did not fit any more.
    full: bool,
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
        let link = Link::new(config, &lists.source);
        Self {
            // Whoever ran before us may have been killed before it waited.
            unreplicated: link.waits(),
            link,
            lists,
            trail: None,
            proviso: Proviso::default(),
            line: Line::Free,
            refused: None,
            watches: true,
            loadable: false,
            calm: Calm::default(),
            clock: Clock::ToAsk,
            busy: None,
        }
    }

    /// Has each commit written down; one that cannot be is not made.
    #[must_use]
    pub fn with_trail(mut self, trail: Option<Trail>) -> Self {
        self.trail = trail;
        self
    }

    /// Has each commit made only while this holds; otherwise it is a conflict.
    #[must_use]
    pub fn with_proviso(mut self, proviso: Proviso) -> Self {
        self.proviso = proviso;
        self
    }

    /// Has the next commits written down in another way.
    pub fn retell(&mut self, trail: Option<Trail>) {
        self.trail = trail;
    }

    /// A queue that is only read.
    #[must_use]
    pub fn unwatched(config: LinkConfig, lists: Lists) -> Self {
        Self {
            watches: false,
            ..Self::new(config, lists)
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
        let depth = self.read_pieces(limits, &mut each).await;
        depth.map_err(|source| self.peek_error(source))
    }

    /// Depth of the source, and its oldest entry unless that is larger than `max_bytes`.
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn look(&mut self, max_bytes: u64) -> Result<Peeked, Error> {
        self.leave_transaction().await;
        let mut command = OLDEST.command(&[&self.lists.source]);
        command.arg(max_bytes);
        let answer = OLDEST.call(&mut self.link, &command).await.and_then(peeked);
        answer.map_err(|source| self.peek_error(source))
    }

    /// Moves all of the transfers, which must be the oldest entries of the source, or none.
    ///
    /// While nothing has touched the source since the peek, Redis need not compare the entries;
    /// otherwise (new dead letters on the left are enough) it does. Nothing is moved if the target
    /// would be deeper than `ceiling` then; 0 is no limit.
    ///
    /// # Errors
    /// [`Error::Commit`]. After a timeout or a broken connection the batch may have been moved or
    /// not; each message is in exactly one list all the same, and the next peek shows which.
    pub async fn commit(
        &mut self,
        transfers: &[Transfer],
        ceiling: u64,
    ) -> Result<Committed, Error> {
        self.unreplicated = self.link.waits();
        self.busy = None;
        let answer = match transfers {
            [one] if one.entry.0.len() > LARGE => self.commit_by_digest(one, ceiling).await,
            _ => match self.commit_watched(transfers, ceiling).await.transpose() {
                Some(answer) => answer,
                None => self.commit_comparing(transfers, ceiling).await,
            },
        };

        if let Ok([_, _, Value::Int(micros)]) = answer.as_deref() {
            self.busy = u64::try_from(*micros).ok().map(Duration::from_micros);
        }
        answer
            .and_then(|answer| committed(&answer))
            .map_err(|source| self.commit_error(source))
    }

    /// For how long the last commit kept the server from other clients, by the server's clock; `None`
    /// where it does not tell.
    #[must_use]
    pub fn busy(&self) -> Option<Duration> {
        self.busy
    }

    /// Whether the server is not known to keep the time to itself.
    #[must_use]
    pub fn tells_time(&self) -> bool {
        !matches!(self.clock, Clock::Silent(_))
    }

    /// Asks whether the server tells the time: in a transaction it would be too late, for what is
    /// refused there has all of it refused.
    async fn ask_for_clock(&mut self) -> Result<(), link::Error> {
        let known = match self.clock {
            Clock::ToAsk => false,
            Clock::Tells => true,
            Clock::Silent(since) => since.elapsed() < REFUSED_FOR,
        };
        if known {
            return Ok(());
        }
        let answer = self.link.call::<Value>(&redis::cmd("TIME")).await;
        let error = match answer {
            Ok(answer) if micros(&answer).is_some() => {
                self.clock = Clock::Tells;
                return Ok(());
            }
            Ok(_) => unexpected("clock"),
            Err(error) if error.is_answer() => error,
            Err(error) if error.reason == Reason::Timeout => return Err(error),
            Err(error) => {
                // The line had gone stale; what comes next is sent on a new one.
                tracing::debug!(%error, "the time is not asked for now");
                return Ok(());
            }
        };
        if self.clock == Clock::ToAsk {
            tracing::info!(
                list = self.lists.source,
                reason = %error.reason,
                %error,
                "redis does not tell the time, so batches are as large as REMEDIATION_BATCH_SIZE says"
            );
        }
        self.clock = Clock::Silent(Instant::now());
        Ok(())
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
        self.leave_transaction().await;
        // What is to be waited for may have been written on another connection.
        let touch = TOUCH.command(&[&self.lists.source]);
        let touched = TOUCH.call::<i64>(&mut self.link, &touch).await;
        if touched.map_err(|source| self.replicate_error(source))? == 0 {
            // Somebody has emptied the list, and there is nothing that WAIT could be relied on for.
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
        answer.map_err(|source| self.replicate_error(source))
    }

    fn replicate_error(&self, source: link::Error) -> Error {
        Error::Replicate {
            source_list: self.lists.source.clone(),
            source,
        }
    }

    async fn read_pieces(
        &mut self,
        limits: Limits,
        each: &mut impl FnMut(Vec<Entry>),
    ) -> Result<u64, link::Error> {
        let mut piece = self.first_piece(limits).await?;
        let depth = piece.depth;
        let mut left = Limits {
            entries: limits.entries.min(depth),
            ..limits
        };
        let mut taken = 0;
        loop {
            let count = piece.entries.len() as u64;
            taken += count;
            left.entries -= count;
            left.bytes = left.bytes.saturating_sub(size_of(&piece.entries));
            let full = piece.full;
            // The planning of a piece hides the way of the next one.
            let planning = hand_over(each, piece.entries);
            if full || left.entries == 0 {
                let begun = if taken > 0 {
                    tokio::join!(self.begin(), planning).0
                } else {
                    Ok(())
                };
                return begun.map(|()| depth);
            }
            let (next, ()) = tokio::join!(self.next_piece(taken, left), planning);
            piece = next?;
        }
    }

    async fn next_piece(&mut self, known: u64, left: Limits) -> Result<Piece, link::Error> {
        let mut pipeline = Pipeline::with_capacity(6);
        self.add_piece(&mut pipeline, known, left);
        let answers = self.link.call_raw(&pipeline).await?;
        match self.piece(answers, known, left) {
            Err(error) if error.reason == Reason::NoScript => {
                let command = self.measured(known, left);
                let answer: Vec<Value> = PEEK.call(&mut self.link, &command).await?;
                self.piece(vec![Value::Array(answer)], known, left)
            }
            piece => piece,
        }
    }

    /// What reads a piece behind the `known` entries, and looks at some of the entries behind it.
    fn add_piece(&self, pipeline: &mut Pipeline, known: u64, left: Limits) {
        let source = &self.lists.source;
        let by_count = self.calm.piece(left.entries, left.bytes);
        let back = |position: u64| format!("-{}", known + position);
        if by_count == 0 {
            pipeline.add_command(self.measured(known, left));
        } else {
            pipeline.cmd("LLEN").arg(source);
            let range = pipeline.cmd("LRANGE").arg(source);
            range.arg(back(by_count)).arg(back(1));
        }
        let count = if by_count == 0 {
            left.entries.min(PIECE)
        } else {
            by_count
        };
        // The next batch may be as large as this one.
        for position in self.calm.samples(count, known + left.entries) {
            pipeline.cmd("LINDEX").arg(source).arg(back(position));
        }
    }

    /// A piece of at most what is left, each entry measured before it is handed over.
    fn measured(&self, known: u64, left: Limits) -> Cmd {
        let mut command = PEEK.command(&[&self.lists.source]);
        command
            .arg(known)
            .arg(left.entries.min(PIECE))
            .arg(left.bytes);
        // The oldest entry of all comes however large it is.
        command.arg(u8::from(known == 0));
        command
    }

    /// The piece in the answers to what [`add_piece`](Self::add_piece) has added.
    fn piece(
        &mut self,
        answers: Vec<Value>,
        known: u64,
        left: Limits,
    ) -> Result<Piece, link::Error> {
        let calm = std::mem::take(&mut self.calm);
        let by_count = calm.piece(left.entries, left.bytes);
        let mut answers = answers.into_iter().map(link::checked);
        let mut next = || answers.next().unwrap_or_else(|| Err(unexpected("peek")));
        let (asked, mut piece) = if by_count == 0 {
            (left.entries.min(PIECE), array(next()?).and_then(peeked)?)
        } else {
            let depth = next()?;
            (by_count, by_range(depth, array(next()?)?, known)?)
        };
        let samples: Vec<Option<u64>> = answers
            .map(|sample| match sample? {
                Value::BulkString(entry) => Ok(Some(entry.len() as u64)),
                _ => Ok(None),
            })
            .collect::<Result<_, link::Error>>()?;
        // Also what does not fit: it is the next one.
        let sizes: Vec<u64> = piece.entries.iter().map(size).collect();
        if by_count > 0 {
            cut(&mut piece.entries, left.bytes, usize::from(known == 0));
        }
        let there = asked.min(piece.depth.saturating_sub(known));
        let full = (piece.entries.len() as u64) < there;
        // What fails above has it forgotten.
        self.calm = calm;
        // Samples begin behind all that was asked for: where less has come, nobody has looked between.
        let gap = by_count == 0 && full;
        self.calm.saw(&sizes, if gap { &[] } else { &samples });
        Ok(Piece {
            full,
            depth: piece.depth,
            entries: piece.entries,
        })
    }

    /// Watches, rehearses the end of a commit, and reads the first piece; only the latter where
    /// Redis refuses the others.
    async fn first_piece(&mut self, limits: Limits) -> Result<Piece, link::Error> {
        self.leave_transaction().await;
        let allowed = self.refused.is_none_or(|at| at.elapsed() >= REFUSED_FOR);
        if self.watches {
            self.ask_for_clock().await?;
        }
        if self.watches && allowed {
            let mut watched = self.watch_and_read(limits).await;
            if matches!(&watched, Err(error) if error.reason == Reason::NoScript) {
                PEEK.load(&mut self.link).await?;
                watched = self.watch_and_read(limits).await;
            }
            match watched {
                Ok(piece) => return Ok(piece),
                Err(error) if error.reason == Reason::Timeout => return Err(error),
                Err(error) => {
                    // The line had gone stale, or a command was refused: a new line and the plain
                    // script tell. Reading once more does no harm.
                    self.give_line_up();
                    let passing = error.reason == Reason::NoScript || !error.is_answer();
                    self.refused = (!passing).then(Instant::now);
                    tracing::debug!(%error, "the source is not watched");
                }
            }
        }
        self.next_piece(0, limits).await
    }

    async fn watch_and_read(&mut self, limits: Limits) -> Result<Piece, link::Error> {
        let mut pipeline = Pipeline::with_capacity(8);
        pipeline.cmd("WATCH").arg(&self.lists.source);
        pipeline.add_command(self.settle_command(&[], [0, 0], 1));
        self.add_piece(&mut pipeline, 0, limits);
        let mut answers = self.link.call_raw(&pipeline).await?.into_iter();
        self.line = Line::Watching(self.link.opened());
        let mut next = || answers.next().ok_or_else(|| unexpected("peek"));
        link::checked(next()?)?;
        if link::checked(next()?)? != Value::Array(vec![Value::Int(0), Value::Int(0)]) {
            let detail = "a commit was rehearsed in vain";
            return Err(link::Error::new(Reason::NotRun, detail));
        }
        self.piece(answers.collect(), 0, limits)
    }

    /// Opens the transaction in which the commit is to run, if the source is watched. That MULTI
    /// has been answered before the commit is sent matters: where it is refused, the commit would
    /// run at once and unwatched.
    async fn begin(&mut self) -> Result<(), link::Error> {
        let Line::Watching(connection) = self.line else {
            return Ok(());
        };
        if connection != self.link.opened() {
            // The watch went with the connection that it was made on.
            self.give_line_up();
            return Ok(());
        }
        match self.link.call::<()>(&redis::cmd("MULTI")).await {
            Ok(()) => {
                self.line = Line::InTransaction(connection);
                return Ok(());
            }
            Err(error) if !error.is_answer() => return Err(error),
            Err(error) if error.detail.contains("unknown command 'MULTI'") => {
                return Err(renamed());
            }
            Err(_) => {}
        }
        self.give_line_up();
        self.refused = Some(Instant::now());
        Ok(())
    }

    /// Within a transaction every command would only be queued, and what is watched no longer
    /// matters would have a later commit refused.
    async fn leave_transaction(&mut self) {
        let leave = match std::mem::take(&mut self.line) {
            Line::Free => return,
            Line::Watching(_) => "UNWATCH",
            Line::InTransaction(_) => "DISCARD",
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
        ceiling: u64,
    ) -> Result<Option<Vec<Value>>, link::Error> {
        if transfers.is_empty() {
            return Ok(None);
        }
        // On another connection the pushes would run at once.
        let here = Line::InTransaction(self.link.opened());
        if std::mem::take(&mut self.line) != here {
            return Ok(None);
        }
        let size = transfers.iter().map(Transfer::size).sum();
        let clocked = self.clock == Clock::Tells;
        let mut pipeline = Pipeline::with_capacity(9);
        if clocked {
            pipeline.cmd("TIME");
        }
        let mut counts = [0; 2];
        let lists = [
            (&self.lists.target, Place::Target),
            (&self.lists.dead, Place::Third),
        ];
        for ((list, place), count) in lists.into_iter().zip(&mut counts) {
            let mut push = Cmd::with_capacity(transfers.len() + 2, size);
            push.arg("LPUSH").arg(list);
            for transfer in transfers {
                if transfer.disposition.place() == Some(place) {
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
        pipeline.add_command(self.settle_command(transfers, counts, ceiling));
        pipeline.cmd("EXEC");
        if clocked {
            pipeline.cmd("TIME");
        }
        let mut answers = self.link.call_raw(&pipeline).await?;
        // Within a transaction the time stands still from Redis 7.2 on.
        let ended = if clocked { answers.pop() } else { None };
        match answers.pop() {
            // The source was touched.
            Some(Value::Nil) => return Ok(None),
            Some(Value::Array(answers)) => match settled(answers, ended.as_ref()) {
                Some(Value::Array(answer)) if answer.first() != Some(&Value::Int(-1)) => {
                    self.loadable = true;
                    return Ok(Some(answer));
                }
                // The pushes were taken back.
                Some(Value::Array(why)) if why.get(1) == Some(&Value::BulkString(FULL.into())) => {
                    return Ok(Some(vec![Value::Int(-2)]));
                }
                Some(Value::Array(why)) => tracing::debug!(?why, "transaction undone"),
                end => {
                    // The script that trims or undoes did not run: never again in this way.
                    self.watches = false;
                    self.give_line_up();
                    let detail = format!("pushed, and not trimmed: {end:?}");
                    return Err(link::Error::new(Reason::HalfDone, detail));
                }
            },
            refused => tracing::debug!(?refused, "transaction refused"),
        }
        // Nothing was moved. Comparing is safe and tells; on a new line, because this one may be in
        // the transaction still. The right to ask for the time may be what has gone.
        self.clock = Clock::ToAsk;
        self.give_line_up();
        self.refused = Some(Instant::now());
        Ok(None)
    }

    fn settle_command(&self, transfers: &[Transfer], pushed: [usize; 2], ceiling: u64) -> Cmd {
        let ends = [transfers.first(), transfers.last()];
        let ends = ends.map(|end| end.map_or(&[][..], |end| &end.entry.0));
        let nowhere = transfers.len() - pushed[0] - pushed[1];
        let keys = self.keys();
        let mut command = redis::cmd("EVAL");
        command.arg(SETTLE).arg(keys.len()).arg(keys);
        command.arg(&pushed).arg(&ends[..]).arg(ceiling);
        command.arg(nowhere).arg(self.audit_length());
        command.arg(self.proviso.keep).arg(self.proviso.says());
        command.arg(self.told(transfers));
        command
    }

    /// In the order that the scripts expect.
    fn keys(&self) -> Vec<&String> {
        let Lists {
            source,
            target,
            dead,
        } = &self.lists;
        let audit = self.trail.iter().map(|trail| &trail.key);
        let lease = self.proviso.lease.iter().map(|lease| &lease.key);
        let lists = [source, target, dead].into_iter();
        lists.chain(audit).chain(lease).collect()
    }

    fn audit_length(&self) -> u64 {
        self.trail.as_ref().map_or(0, |trail| trail.length)
    }

    /// What the audit is to be told; nothing of nothing.
    fn told(&self, transfers: &[Transfer]) -> Vec<String> {
        let trail = self.trail.as_ref().filter(|_| !transfers.is_empty());
        trail.map_or_else(Vec::new, |trail| {
            audit::arguments(&trail.entries(transfers))
        })
    }

    async fn check_loadable(&mut self) -> Result<(), link::Error> {
        if !self.loadable {
            check_loadable(&mut self.link).await?;
            self.loadable = true;
        }
        Ok(())
    }

    async fn commit_comparing(
        &mut self,
        transfers: &[Transfer],
        ceiling: u64,
    ) -> Result<Vec<Value>, link::Error> {
        self.check_loadable().await?;
        let pairs = transfers.iter().flat_map(entry_and_body);
        let command = self.commit_command("compare", transfers, ceiling, pairs);
        let script = commit_script(transfers);
        let clocked = self.clock == Clock::Tells;
        script.call_timed(&mut self.link, command, clocked).await
    }

    /// The commit of one entry that is too large to be sent around once or twice more.
    async fn commit_by_digest(
        &mut self,
        transfer: &Transfer,
        ceiling: u64,
    ) -> Result<Vec<Value>, link::Error> {
        self.leave_transaction().await;
        self.check_loadable().await?;
        let digest = sha1_smol::Sha1::from(&transfer.entry.0).hexdigest();
        let edits = transfer.edits.iter().flat_map(|edit| {
            let Range { start, end } = edit.range;
            [start.to_string(), end.to_string(), edit.text.clone()]
        });
        let texts = std::iter::once(digest).chain(edits);
        let arguments = texts.map(|text| text.into_bytes().into());
        let transfers = std::slice::from_ref(transfer);
        let command = self.commit_command("digest", transfers, ceiling, arguments);
        let script = commit_script(transfers);
        // One message cannot be made fewer, so that nobody asks how long it takes.
        script.call_timed(&mut self.link, command, false).await
    }

    fn commit_command<'a>(
        &self,
        mode: &str,
        transfers: &[Transfer],
        ceiling: u64,
        arguments: impl Iterator<Item = Cow<'a, [u8]>>,
    ) -> Cmd {
        let flag = |transfer: &Transfer| match transfer.disposition.place() {
            Some(Place::Target) => b'r',
            Some(Place::Third) => b'd',
            None => b'p',
        };
        let flags: Vec<u8> = transfers.iter().map(flag).collect();
        let told = self.told(transfers);
        let mut command = commit_script(transfers).command(&self.keys());
        command.arg(mode).arg(flags).arg(ceiling);
        command.arg(self.audit_length());
        command.arg(self.proviso.keep).arg(self.proviso.says());
        command.arg(told.len()).arg(told);
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

/// What the script that settles has answered in a transaction, and behind it how many microseconds
/// passed from its beginning, of which its first answer tells, to this time.
fn settled(mut answers: Vec<Value>, ended: Option<&Value>) -> Option<Value> {
    let began = ended.and_then(|_| answers.first().and_then(micros));
    let mut settled = answers.pop();
    if let Some(Value::Array(answer)) = &mut settled
        && let (Some(ended), Some(began)) = (ended.and_then(micros), began)
    {
        answer.push(Value::Int(ended - began));
    }
    settled
}

/// The answer to TIME: seconds and microseconds.
fn micros(answer: &Value) -> Option<i64> {
    let (seconds, micros): (i64, i64) = redis::from_redis_value_ref(answer).ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
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

/// Makes sure that Redis could load its AOF again: it writes what a script did between MULTI and
/// EXEC, under their usual names.
pub(super) async fn check_loadable(link: &mut Link) -> Result<(), link::Error> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("MULTI");
    pipeline.cmd("EXEC");
    let unknown = |answer| {
        let refused = link::checked(answer).err();
        refused.is_some_and(|error| error.detail.contains("unknown command"))
    };
    if link.call_raw(&pipeline).await?.into_iter().any(unknown) {
        link.close();
        return Err(renamed());
    }
    Ok(())
}

fn renamed() -> link::Error {
    let detail = "MULTI or EXEC is renamed on this server, so it could not load its AOF after a script that writes twice";
    link::Error::new(Reason::Unsupported, detail)
}

fn array(answer: Value) -> Result<Vec<Value>, link::Error> {
    match answer {
        Value::Array(values) => Ok(values),
        _ => Err(unexpected("peek")),
    }
}

/// A piece that was read by its count, youngest first.
fn by_range(depth: Value, range: Vec<Value>, known: u64) -> Result<Peeked, link::Error> {
    let range = range.into_iter().rev();
    let mut piece = peeked(std::iter::once(depth).chain(range).collect())?;
    // An entry may have arrived between the two commands.
    let fresh = usize::try_from(piece.depth.saturating_sub(known)).unwrap_or(usize::MAX);
    piece.entries.truncate(fresh);
    Ok(piece)
}

/// Leaves what fits into so many bytes, and in any case so many entries.
fn cut(entries: &mut Vec<Entry>, most: u64, least: usize) {
    let mut bytes = 0;
    let fit = entries.iter().take_while(|entry| {
        bytes += size(entry);
        bytes <= most
    });
    let fit = fit.count().max(least);
    entries.truncate(fit);
}

fn size(entry: &Entry) -> u64 {
    entry.0.len() as u64
}

fn size_of(entries: &[Entry]) -> u64 {
    entries.iter().map(size).sum()
}

/// Hands entries over when what was asked for beside them is on its way.
async fn hand_over(each: &mut impl FnMut(Vec<Entry>), entries: Vec<Entry>) {
    tokio::task::yield_now().await;
    each(entries);
}

pub(crate) fn peeked(answer: Vec<Value>) -> Result<Peeked, link::Error> {
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
        [Value::Int(-2)] => Ok(Committed::Full),
        [Value::Int(replayed), Value::Int(dead)]
        | [Value::Int(replayed), Value::Int(dead), Value::Int(_)] => Ok(Committed::Moved {
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

pub(crate) static PEEK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("peek.lua")));
pub(crate) static BRING: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("bring.lua")));
static TOUCH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("touch.lua")));
pub(crate) static OLDEST: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("oldest.lua")));
/// Why it took the pushes back when the target would have become too deep.
const FULL: &[u8] = b"FULL";
/// Sent whole, so that its absence cannot break a transaction in the middle.
const SETTLE: &str = include_str!("settle.lua");
static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("commit.lua")));
/// For a batch of which all goes nowhere.
static REMOVE: LazyLock<Script> =
    LazyLock::new(|| Script::at_maxmemory(include_str!("commit.lua")));

/// The script that moves these while nothing is watched.
fn commit_script(transfers: &[Transfer]) -> &'static Script {
    let pushes = |transfer: &Transfer| transfer.disposition.place().is_some();
    if transfers.iter().any(pushes) {
        &COMMIT
    } else {
        &REMOVE
    }
}

/// A script, called by its digest, sent whole only when the server does not know it.
#[derive(Debug)]
pub(crate) struct Script {
    source: Cow<'static, str>,
    digest: String,
}

impl Script {
    pub(crate) fn new(source: impl Into<Cow<'static, str>>) -> Self {
        let source = source.into();
        let digest = redis::Script::new(&source).get_hash().to_owned();
        Self { source, digest }
    }

    /// The same script, for what is to be done on a server that has reached `maxmemory` as well.
    pub(crate) fn at_maxmemory(source: &str) -> Self {
        Self::new(source.replacen("#!lua\n", "#!lua flags=allow-oom\n", 1))
    }

    pub(crate) fn command(&self, keys: &[&String]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.digest).arg(keys.len()).arg(keys);
        command
    }

    async fn load(&self, link: &mut Link) -> Result<(), link::Error> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&*self.source);
        link.call(&load).await
    }

    /// Calls the script as below. Where it ends its answer with the time, in microseconds, that is
    /// made the time that has passed since.
    async fn call_timed(
        &self,
        link: &mut Link,
        command: Cmd,
        clocked: bool,
    ) -> Result<Vec<Value>, link::Error> {
        if !clocked {
            let answer: Vec<Value> = self.call(link, &command).await?;
            return Ok(answer.into_iter().take(2).collect());
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(command);
        pipeline.cmd("TIME");
        let mut answers = link.call_raw(&pipeline).await?;
        if let Some(Err(error)) = answers.first().cloned().map(link::checked)
            && error.reason == Reason::NoScript
        {
            self.load(link).await?;
            answers = link.call_raw(&pipeline).await?;
        }
        let ended = answers.pop().as_ref().and_then(micros);
        let answer = answers.pop().ok_or_else(|| unexpected("commit"))?;
        let mut answer: Vec<Value> = link::read(answer)?;
        if let [_, _, Value::Int(began)] = answer[..] {
            answer.truncate(2);
            answer.extend(ended.map(|ended| Value::Int(ended - began)));
        }
        Ok(answer)
    }

    /// Calls the script. A server that does not know it has not run it, so that loading it and
    /// calling again is no repetition.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        link: &mut Link,
        command: &Cmd,
    ) -> Result<T, link::Error> {
        match link.call(command).await {
            Err(error) if error.reason == Reason::NoScript => {
                self.load(link).await?;
                link.call(command).await
            }
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const GIANT: usize = 200_000;

    /// A queue that has read many small entries, and a piece of it that is of these sizes, oldest
    /// first, with small ones behind.
    fn read(sizes: &[usize], bytes: u64) -> (Queue, Piece) {
        let config = Config::load(std::iter::empty()).expect("no settings are good settings");
        let lists = Lists {
            source: "source".into(),
            target: "target".into(),
            dead: "dead".into(),
        };
        let mut queue = Queue::new(config.redis, lists);
        queue.calm.saw(&[900; 1_000], &[Some(900); 8]);
        let entries = sizes.len() as u64;
        let limits = Limits { entries, bytes };
        let youngest_first = sizes.iter().rev();
        let range = youngest_first.map(|size| Value::BulkString(vec![b'x'; *size]));
        let depth = Value::Int(entries.cast_signed());
        let mut answers = vec![depth, Value::Array(range.collect())];
        answers.extend((0..8).map(|_| Value::BulkString(vec![b'x'; 900])));
        let piece = queue.piece(answers, 0, limits);
        (queue, piece.expect("a piece"))
    }

    #[test]
    fn what_is_read_by_count_and_does_not_fit_has_all_measured_again() {
        let (queue, piece) = read(&[900, 900, GIANT, GIANT, 900], 100_000);
        assert_eq!((piece.entries.len(), piece.full), (2, true));
        assert_eq!(queue.calm.piece(500, u64::MAX), 0);
    }

    #[test]
    fn a_giant_that_is_the_oldest_comes_alone() {
        let (_, piece) = read(&[GIANT, 900], 100_000);
        assert_eq!((size_of(&piece.entries), piece.full), (200_000, true));
    }
}
