//! What the guard needs of Redis: depths, rules, and moving the overflow of the ingest queue to the
//! alerter's dead letter list. Speaks Redis for the guard, and decides nothing.
//!
//! A move is a peek, the stamp, and one script. The stamp is not made in the script, because what
//! is a JSON object, and whether it has such a member already, is for a real parser to say. The
//! script is told the messages by their digests, so that alerters may take some of them meanwhile
//! (docs/adr/0008-guard.md).

use std::sync::LazyLock;

use redis::Value;

use super::redis::{Limits, Script, check_loadable, peeked};
use super::{Edit, Entry, Error};
use crate::link::cluster::slot;
use crate::link::{self, Link, LinkConfig, Links, Reason};

/// The lists that the guard looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedLists {
    /// Between alerter and forwarder; its depth is what matters.
    pub alert: String,
    /// Before the alerter; its oldest messages are moved out.
    pub ingest: String,
    /// The alerter's dead letters; they are moved there.
    pub dlq: String,
}

impl GuardedLists {
    /// Whether one script can move between them, were they in a cluster.
    #[must_use]
    pub fn share_a_slot(&self) -> bool {
        slot(&self.ingest) == slot(&self.dlq)
    }
}

/// A message that is to go, and what its stamp changes, in the order of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// As it lay in the ingest queue.
    pub entry: Entry,
    /// Empty leaves it as it is.
    pub edits: Vec<Edit>,
}

/// The guard's lines to Redis.
#[derive(Debug)]
pub struct Overflow {
    links: Links,
    lists: GuardedLists,
    /// Whether this server is known to know MULTI and EXEC.
    loadable: bool,
    /// Something may have been moved that too few replicas have.
    unreplicated: bool,
}

impl Overflow {
    /// Lines of its own, made at the first use.
    #[must_use]
    pub fn new(config: LinkConfig, lists: GuardedLists) -> Self {
        Self {
            // Whoever ran before us may have been killed before it waited.
            unreplicated: config.wait.is_some(),
            links: Links::new(config),
            lists,
            loadable: false,
        }
    }

    /// Messages in the alert queue and in the ingest queue.
    ///
    /// # Errors
    /// [`Error::Peek`].
    pub async fn depths(&mut self) -> Result<(u64, u64), Error> {
        let alert = self.depth(self.lists.alert.clone()).await?;
        let ingest = self.depth(self.lists.ingest.clone()).await?;
        Ok((alert, ingest))
    }

    async fn depth(&mut self, list: String) -> Result<u64, Error> {
        let mut command = redis::cmd("LLEN");
        command.arg(&list);
        let length = self.links.to(&list).call(&command).await;
        length.map_err(|source| peek_error(&list, source))
    }

    /// The texts at these keys; of one that is no string, what Redis says of it.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub async fn texts<const N: usize>(
        &mut self,
        keys: [&str; N],
    ) -> Result<[Option<String>; N], Error> {
        let mut texts = [const { None }; N];
        for (key, text) in keys.iter().zip(&mut texts) {
            let mut get = redis::cmd("GET");
            get.arg(key);
            *text = match self.links.to(key).call::<Option<Vec<u8>>>(&get).await {
                Ok(value) => value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                Err(error) if error.reason == Reason::WrongType => Some(error.to_string()),
                Err(source) => return Err(Error::Settings { source }),
            };
        }
        Ok(texts)
    }

    /// The oldest messages of the ingest queue, oldest first.
    ///
    /// # Errors
    /// [`Error::Peek`].
    pub async fn peek(&mut self, limits: Limits) -> Result<Vec<Entry>, Error> {
        let mut command = PEEK.command(&[&self.lists.ingest]);
        command.arg(0).arg(limits.entries).arg(limits.bytes).arg(1);
        let answer: Result<Vec<Value>, _> = PEEK.call(self.line(), &command).await;
        let peeked = answer.and_then(peeked);
        let entries = peeked.map(|peeked| peeked.entries);
        entries.map_err(|source| peek_error(&self.lists.ingest, source))
    }

    /// Moves what is still there of these messages, and leaves `keep` messages in the ingest queue.
    /// Returns how many were moved.
    ///
    /// # Errors
    /// [`Error::Replicate`]: what was moved before has too few replicas, nothing was moved now.
    /// [`Error::Commit`]: after a timeout or a broken connection messages may have been moved or
    /// not; each is in exactly one list all the same.
    pub async fn shed(&mut self, messages: &[Stamped], keep: u64) -> Result<u64, Error> {
        if !self.catch_up().await? {
            return Ok(0);
        }
        self.unreplicated = self.line().waits();
        let moved = self.move_out(messages, keep).await;
        moved.map_err(|source| Error::Commit {
            source_list: self.lists.ingest.clone(),
            source,
        })
    }

    async fn move_out(&mut self, messages: &[Stamped], keep: u64) -> Result<u64, link::Error> {
        if !self.loadable {
            check_loadable(self.line()).await?;
            self.loadable = true;
        }
        let mut command = SHED.command(&[&self.lists.ingest, &self.lists.dlq]);
        command.arg(keep);
        for Stamped { entry, edits } in messages {
            let digest = sha1_smol::Sha1::from(&entry.0).hexdigest();
            command.arg(digest).arg(edits.len());
            for edit in edits {
                command.arg(edit.range.start).arg(edit.range.end);
                command.arg(&edit.text);
            }
        }
        SHED.call(self.line(), &command).await
    }

    /// Makes sure before a move that the one before it is replicated, whoever made it and on
    /// whatever connection. False if it cannot tell, because there is nothing left to move.
    async fn catch_up(&mut self) -> Result<bool, Error> {
        if self.unreplicated {
            let touch = TOUCH.command(&[&self.lists.ingest]);
            let touched = TOUCH.call::<i64>(self.line(), &touch).await;
            let touched = touched.map_err(|source| Error::Replicate {
                source_list: self.lists.ingest.clone(),
                source,
            })?;
            if touched == 0 {
                return Ok(false);
            }
            self.replicated().await?;
        }
        Ok(true)
    }

    /// Waits until as many replicas as are asked for have what was moved.
    ///
    /// # Errors
    /// [`Error::Replicate`]; what was moved stands.
    pub async fn replicated(&mut self) -> Result<(), Error> {
        if !self.unreplicated {
            return Ok(());
        }
        let answer = self.line().replicated().await;
        self.unreplicated = answer.is_err();
        answer.map_err(|source| Error::Replicate {
            source_list: self.lists.ingest.clone(),
            source,
        })
    }

    fn line(&mut self) -> &mut Link {
        self.links.to(&self.lists.ingest)
    }
}

fn peek_error(list: &str, source: link::Error) -> Error {
    Error::Peek {
        source_list: list.to_owned(),
        source,
    }
}

static PEEK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("peek.lua")));
static TOUCH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("touch.lua")));
static SHED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("overflow.lua")));
