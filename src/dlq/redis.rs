//! Peek and commit on Redis lists. Speaks Redis for the drain, and decides nothing.

use redis::{Cmd, Value};

use super::{Committed, Disposition, Entry, Error, Peeked, Transfer};
use crate::link::{self, Link, LinkConfig, Reason};

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
    peek: Script,
    commit: Script,
}

impl Queue {
    /// A queue over a connection of its own, made at the first use.
    #[must_use]
    pub fn new(config: LinkConfig, lists: Lists) -> Self {
        Self {
            link: Link::new(config),
            lists,
            peek: Script::new(include_str!("peek.lua")),
            commit: Script::new(include_str!("commit.lua")),
        }
    }

    /// Reads the oldest entries: at most `max_entries`, and beyond the first only as many as fit
    /// into `max_bytes`.
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn peek(&mut self, max_entries: u64, max_bytes: u64) -> Result<Peeked, Error> {
        let call = self.peek.call(&[&self.lists.source], |command| {
            command.arg(max_entries).arg(max_bytes);
        });
        let answer = call.on(&mut self.link).await.and_then(peeked);
        answer.map_err(|source| Error::Peek {
            source_list: self.lists.source.clone(),
            source,
        })
    }

    /// Moves all of the transfers, which must be the oldest entries of the source, or none.
    ///
    /// # Errors
    /// [`Error::Commit`]. After a timeout or a broken connection the batch may have been moved or
    /// not; each message is in exactly one list all the same, and the next peek shows which.
    pub async fn commit(&mut self, transfers: &[Transfer<'_>]) -> Result<Committed, Error> {
        let Lists {
            source,
            target,
            dead,
        } = &self.lists;
        let call = self.commit.call(&[source, target, dead], |command| {
            for transfer in transfers {
                let flag = match transfer.disposition {
                    Disposition::Replay => "r",
                    Disposition::Dead(_) => "d",
                };
                command
                    .arg(&transfer.entry.0)
                    .arg(transfer.body.as_deref().unwrap_or_default())
                    .arg(flag);
            }
        });
        let answer = call.on(&mut self.link).await.and_then(committed);
        answer.map_err(|error| Error::Commit {
            source_list: source.clone(),
            source: error,
        })
    }
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

fn committed(answer: Vec<Value>) -> Result<Committed, link::Error> {
    match answer[..] {
        [Value::Int(-1)] => Ok(Committed::Conflict),
        [Value::Int(replayed), Value::Int(dead)] => Ok(Committed::Moved {
            replayed: u64::try_from(replayed).map_err(|_| unexpected("commit"))?,
            dead: u64::try_from(dead).map_err(|_| unexpected("commit"))?,
        }),
        _ => Err(unexpected("commit")),
    }
}

fn unexpected(script: &str) -> link::Error {
    link::Error::new(Reason::Other, format!("unexpected answer of the {script} script"))
}

/// A script, called by its digest, sent whole only when the server does not know it.
#[derive(Debug)]
struct Script {
    source: &'static str,
    digest: String,
}

/// One call of a script, with keys and arguments.
struct Call<'a> {
    script: &'a Script,
    by_digest: Cmd,
}

impl Script {
    fn new(source: &'static str) -> Self {
        let digest = redis::Script::new(source).get_hash().to_owned();
        Self { source, digest }
    }

    fn call(&self, keys: &[&String], arguments: impl FnOnce(&mut Cmd)) -> Call<'_> {
        let mut by_digest = redis::cmd("EVALSHA");
        by_digest.arg(&self.digest).arg(keys.len()).arg(keys);
        arguments(&mut by_digest);
        Call {
            script: self,
            by_digest,
        }
    }
}

impl Call<'_> {
    /// Runs the script. A server that does not know it has not run it, so that loading it and
    /// calling again is no repetition.
    async fn on(&self, link: &mut Link) -> Result<Vec<Value>, link::Error> {
        match link.call(&self.by_digest).await {
            Err(error) if error.reason == Reason::NoScript => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(self.script.source);
                let () = link.call(&load).await?;
                link.call(&self.by_digest).await
            }
            answer => answer,
        }
    }
}
