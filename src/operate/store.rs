//! Speaks Redis for the operator: reads lists in bounded steps, and keeps what is beside them.
//! Decides nothing, and moves nothing.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, ToRedisArgs, Value};

use crate::dlq::redis::{BRING, Limits, OLDEST, PEEK, Script, peeked};
use crate::link::{self, LinkConfig, Links, Reason};

/// Lines that are kept for the next request.
const SPARE: usize = 8;

/// From so many entries on some of those behind them are looked at as well.
const SAMPLED: u64 = 50;

/// Lines to Redis that requests take turns with.
#[derive(Clone, Debug)]
pub struct Store {
    config: LinkConfig,
    spare: Arc<Mutex<Vec<Links>>>,
}

/// What was read of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Entries in the list.
    pub depth: u64,
    /// The entries, in the order in which they were asked for.
    pub entries: Vec<Vec<u8>>,
    /// Bytes of the largest of a few entries behind these.
    pub ahead: u64,
}

/// From which end places are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The right one.
    Oldest,
    /// The left one.
    Newest,
}

impl Store {
    /// No line yet.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        Self {
            config,
            spare: Arc::default(),
        }
    }

    /// How to connect, for what needs lines of its own.
    #[must_use]
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    fn take(&self) -> Links {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let line = spare.pop();
        line.unwrap_or_else(|| Links::new(self.config.clone()))
    }

    fn give_back(&self, links: Links) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(links);
        }
    }

    /// Sends one command to where the key is. A line that has gone stale since the last request
    /// is made anew once: what only reads may be asked twice.
    pub(super) async fn read<T: FromRedisValue>(
        &self,
        key: &str,
        command: &Cmd,
    ) -> Result<T, link::Error> {
        let mut links = self.take();
        let mut answer = links.to(key).call(command).await;
        if answer.as_ref().is_err_and(is_stale) {
            answer = links.to(key).call(command).await;
        }
        self.give_back(links);
        answer
    }

    /// Sends one command that writes, once, over a line that has just answered.
    pub(super) async fn write<T: FromRedisValue>(
        &self,
        key: &str,
        command: &Cmd,
    ) -> Result<T, link::Error> {
        let mut links = self.awake(key).await?;
        let answer = links.to(key).call(command).await;
        self.give_back(links);
        answer
    }

    /// Sends one command that writes something small, once, also where Redis has reached `maxmemory`:
    /// whoever is to make room there must be able to say so.
    pub(super) async fn jot<T: FromRedisValue>(
        &self,
        key: &str,
        name: &str,
        arguments: &[impl ToRedisArgs],
    ) -> Result<T, link::Error> {
        let key = key.to_owned();
        let mut call = DEED.command(&[&key]);
        call.arg(name).arg(arguments.len()).arg(arguments).arg(0);
        self.run(&DEED, &key, &call).await
    }

    /// Runs a script, once, over a line that has just answered.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        command: &Cmd,
    ) -> Result<T, link::Error> {
        let mut links = self.awake(key).await?;
        let answer = script.call(links.to(key), command).await;
        self.give_back(links);
        answer
    }

    async fn awake(&self, key: &str) -> Result<Links, link::Error> {
        let mut links = self.take();
        let ping = redis::cmd("PING");
        let mut answer = links.to(key).call::<()>(&ping).await;
        if answer.as_ref().is_err_and(is_stale) {
            answer = links.to(key).call(&ping).await;
        }
        match answer {
            Err(error) if error.reason != Reason::NoPermission => Err(error),
            _ => Ok(links),
        }
    }

    /// The length of a list.
    ///
    /// # Errors
    /// The connection, or a key of another type.
    pub async fn depth(&self, list: &str) -> Result<u64, link::Error> {
        self.read(list, redis::cmd("LLEN").arg(list)).await
    }

    /// So many entries from this place on, counted from that end.
    ///
    /// # Errors
    /// As [`depth`](Self::depth).
    pub async fn stretch(
        &self,
        list: &str,
        end: End,
        from: u64,
        count: u64,
    ) -> Result<Stretch, link::Error> {
        let mut pipeline = Pipeline::with_capacity(5);
        pipeline.cmd("LLEN").arg(list);
        let range = pipeline.cmd("LRANGE").arg(list);
        let end_at = from + count;
        match end {
            End::Oldest => range
                .arg(format!("-{end_at}"))
                .arg(format!("-{}", from + 1)),
            End::Newest => range.arg(from).arg(end_at.saturating_sub(1)),
        };
        // So that a step sized by small entries does not run into large ones unawares.
        let further = [0, count, 3 * count];
        let further = further.iter().filter(|_| count >= SAMPLED);
        for place in further.map(|further| end_at + further) {
            let sample = pipeline.cmd("LINDEX").arg(list);
            match end {
                End::Oldest => sample.arg(format!("-{}", place + 1)),
                End::Newest => sample.arg(place),
            };
        }
        let mut links = self.take();
        let mut answer = links.to(list).call_all(&pipeline).await;
        if answer.as_ref().is_err_and(is_stale) {
            answer = links.to(list).call_all(&pipeline).await;
        }
        self.give_back(links);
        let answer: Vec<Value> = answer?;
        let mut answers = answer.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let depth: u64 = link::read(next())?;
        let mut entries: Vec<Vec<u8>> = link::read(next())?;
        let size = |sample| match sample {
            Value::BulkString(entry) => entry.len() as u64,
            _ => 0,
        };
        let ahead = answers.map(size).max().unwrap_or(0);
        if end == End::Oldest {
            // More may have been asked for than there are.
            let there = usize::try_from(depth.saturating_sub(from)).unwrap_or(usize::MAX);
            entries.reverse();
            entries.truncate(there);
        }
        Ok(Stretch {
            depth,
            entries,
            ahead,
        })
    }

    /// The oldest entries, oldest first: so many and so many bytes at most; a larger first one comes
    /// alone.
    ///
    /// # Errors
    /// As [`depth`](Self::depth).
    pub async fn oldest(
        &self,
        list: &str,
        Limits { entries, bytes }: Limits,
    ) -> Result<Stretch, link::Error> {
        let list = list.to_owned();
        let mut command = PEEK.command(&[&list]);
        command.arg(0).arg(entries).arg(bytes).arg(1);
        self.tail(&PEEK, &list, &command).await
    }

    /// The oldest entry, unless it is larger.
    ///
    /// # Errors
    /// As [`depth`](Self::depth).
    pub async fn oldest_up_to(&self, list: &str, bytes: u64) -> Result<Stretch, link::Error> {
        let list = list.to_owned();
        let mut command = OLDEST.command(&[&list]);
        command.arg(bytes);
        self.tail(&OLDEST, &list, &command).await
    }

    async fn tail(
        &self,
        script: &Script,
        list: &str,
        command: &Cmd,
    ) -> Result<Stretch, link::Error> {
        let peeked = peeked(self.run(script, list, command).await?)?;
        Ok(Stretch {
            depth: peeked.depth,
            entries: peeked.entries.into_iter().map(|entry| entry.0).collect(),
            ahead: 0,
        })
    }

    /// Pushes copies to the young end of a list.
    ///
    /// # Errors
    /// As [`depth`](Self::depth); they may have been pushed all the same.
    pub async fn put(&self, list: &str, entries: &[Vec<u8>]) -> Result<(), link::Error> {
        let mut push = redis::cmd("LPUSH");
        push.arg(list).arg(entries);
        self.write(list, &push).await
    }

    /// Moves so many of the oldest entries to the young end, one by one, in their order. False where
    /// Redis has no memory for it, and none was moved.
    ///
    /// # Errors
    /// As [`depth`](Self::depth); some may have been moved then, and none is lost.
    pub async fn rotate(&self, list: &str, count: u64) -> Result<bool, link::Error> {
        let mut links = self.awake(list).await?;
        let mut first = redis::cmd("LMOVE");
        first.arg(list).arg(list).arg("RIGHT").arg("LEFT");
        match links.to(list).call::<()>(&first).await {
            Err(error) if error.reason == Reason::OutOfMemory => {
                self.give_back(links);
                return Ok(false);
            }
            moved => moved?,
        }
        let mut left = count - 1;
        while left > 0 {
            let some = left.min(ROTATED);
            let mut pipeline = Pipeline::with_capacity(1);
            for _ in 0..some {
                let turn = pipeline.cmd("LMOVE").arg(list).arg(list);
                turn.arg("RIGHT").arg("LEFT").ignore();
            }
            links.to(list).call_all::<()>(&pipeline).await?;
            left -= some;
        }
        self.give_back(links);
        Ok(true)
    }

    /// Brings entries to the old end, a piece at a time, in rising order of their places; false if
    /// one is not where it was said to be.
    ///
    /// # Errors
    /// As [`depth`](Self::depth); nothing is lost.
    pub async fn bring(
        &self,
        list: &str,
        pieces: impl Iterator<Item = Vec<(u64, String)>>,
    ) -> Result<bool, link::Error> {
        let list = list.to_owned();
        let mut links = self.awake(&list).await?;
        let mut behind = 0;
        for piece in pieces {
            let mut command = BRING.command(&[&list]);
            command.arg(behind);
            for (at, digest) in &piece {
                command.arg(at).arg(digest);
            }
            let brought: i64 = BRING.call(links.to(&list), &command).await?;
            if brought == 0 {
                self.give_back(links);
                return Ok(false);
            }
            behind += piece.len();
        }
        self.give_back(links);
        Ok(true)
    }
}

/// The line may have gone stale since the last request.
fn is_stale(error: &link::Error) -> bool {
    !error.is_answer() && error.reason != Reason::Timeout
}

/// Entries that are moved to the young end with one pipeline. Each is a command of its own, so that
/// others get their turn in between.
const ROTATED: u64 = 500;

/// Milliseconds, for Redis.
#[must_use]
pub(super) fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

/// Does something small, at `maxmemory` as well.
pub(super) static DEED: LazyLock<Script> =
    LazyLock::new(|| Script::at_maxmemory(include_str!("deed.lua")));
