//! Peek and commit where source, target and dead list lie in different slots of a Redis Cluster, so
//! that no script can see all of them.
//!
//! A commit is then a push and a trim, and what makes them one is a number. The source's slot holds
//! the number of the batch that is to be taken off it next. The push writes the same number into
//! the destination's slot, with what the batch was, and refuses a number that it has seen. The trim
//! lifts the number at the source. Whoever finds a record of the source's present number finds a
//! batch that was pushed and not trimmed, and finishes that very batch before anything else,
//! whoever began it.
//!
//! The target's record comes first, also for a batch without replays: it decides between workers
//! who want to push different batches under the same number.
//!
//! What differs from one slot: between push and trim a message is in two lists. Nobody is told so,
//! but a person who takes it off the source in these milliseconds has taken one that is replayed.

mod trim;

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Value};
use serde::{Deserialize, Serialize};

use super::redis::{Limits, Lists, Queue as OneSlot, Script, check_loadable};
use super::{
    Committed, Disposition, Edit, Entry, Error, Peeked, Place as To, Proviso, Reason as Why,
    Transfer,
};
use crate::audit::{self, Kind, Trail};
use crate::link::cluster::{beside, slot};
use crate::link::{self, Link, LinkConfig, Reason, Wait};

/// Hexadecimal digits of an entry's SHA-1 that are kept.
const DIGITS: usize = 32;

/// Before each batch whose number is a multiple of this, a replica of the source has to confirm what
/// was taken off it, whoever begins the batch: so the replica lags behind by so many batches at
/// most, however many workers there are. Well below the number of records that are kept.
const UNCONFIRMED: u64 = 16;

/// How long a replica may take to confirm a push before the trim is put off.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the lists lie so that one script can move between them.
#[must_use]
pub fn is_spread(lists: &Lists) -> bool {
    let source = slot(&lists.source);
    [&lists.target, &lists.dead]
        .iter()
        .any(|list| slot(list) != source)
}

/// The dead letter queue in a cluster, its lists in several slots.
#[derive(Debug)]
pub struct Queue {
    /// Reads the source, unwatched.
    reader: OneSlot,
    lists: Lists,
    /// What is written down of a commit, if anything.
    trail: Option<Trail>,
    /// What must hold for a commit to be begun.
    proviso: Proviso,
    source: Place,
    target: Place,
    dead: Place,
    /// The source's sequence before the last peek.
    number: String,
    /// A replica of the source has confirmed what it holds since we began, and since its sequence
    /// was last lifted by more than one.
    confirmed: bool,
    /// Whether the servers are known to know MULTI and EXEC.
    loadable: bool,
    /// Whether replicas are demanded, or only waited for where there are some.
    demanded: bool,
}

/// A list, and what is known of batches beside it.
#[derive(Debug)]
struct Place {
    link: Link,
    list: String,
    /// Of a destination its records of batches, of the source its sequence.
    records: String,
    /// The connection on which its node was seen with a replica; after a failover there may be none.
    with_replicas: u64,
    /// A replica was waited for in vain while none was connected.
    deserted: bool,
}

/// How a push ended.
enum Pushed {
    Done,
    Known(String),
    Old(String),
    Full,
}

/// What a record at the target says of a batch.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    /// The letter of each entry's disposition, oldest first.
    flags: String,
    /// [`DIGITS`] of each entry.
    digests: String,
    /// What the stamp changes of each entry that goes to the dead list.
    edits: Vec<Vec<Change>>,
    /// In whose name it was begun, for the audit; nothing where none is kept, or an earlier version has
    /// begun it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<By>,
}

/// What the audit says of who moves, whoever ends it.
#[derive(Debug, Deserialize, Serialize)]
struct By {
    kind: String,
    about: audit::Entry,
}

/// First byte that goes, first that stays, text between.
#[derive(Debug, Deserialize, Serialize)]
struct Change(usize, usize, String);

impl Queue {
    /// A queue over connections of its own, made at the first use.
    ///
    /// # Errors
    /// Names a list whose name leaves no room for another key in its slot.
    pub fn new(mut config: LinkConfig, lists: Lists) -> Result<Self, NoRoom> {
        let demanded = config.wait.is_some();
        config.wait.get_or_insert(Wait {
            replicas: 1,
            timeout: PATIENCE.min(config.timeout / 2),
        });
        let room = |list: &str, name: &str| {
            // Several queues may share a destination.
            let name = format!("{name}:{}", lists.source);
            beside(list, &name).ok_or_else(|| NoRoom {
                list: list.to_owned(),
            })
        };
        let place = |list: &str, name: &str| {
            Ok(Place {
                link: Link::new(config.clone(), list),
                list: list.to_owned(),
                records: room(list, name)?,
                with_replicas: 0,
                deserted: false,
            })
        };
        Ok(Self {
            target: place(&lists.target, "replayed")?,
            dead: place(&lists.dead, "parked")?,
            source: place(&lists.source, "sequence")?,
            reader: OneSlot::unwatched(config, lists.clone()),
            lists,
            trail: None,
            proviso: Proviso::default(),
            number: String::new(),
            demanded,
            confirmed: false,
            loadable: false,
        })
    }

    /// Has each commit written down.
    #[must_use]
    pub fn with_trail(mut self, trail: Option<Trail>) -> Self {
        self.trail = trail;
        self
    }

    /// Has each commit begun only while this holds; otherwise it is a conflict.
    #[must_use]
    pub fn with_proviso(mut self, proviso: Proviso) -> Self {
        self.proviso = proviso;
        self
    }

    /// Has the next commits written down in another way.
    pub fn retell(&mut self, trail: Option<Trail>) {
        self.trail = trail;
    }

    /// The source, its sequence, and the audit if one is kept.
    fn keys(&self) -> Vec<&String> {
        let audit = self.trail.iter().map(|trail| &trail.key);
        [&self.lists.source, &self.source.records]
            .into_iter()
            .chain(audit)
            .collect()
    }

    /// Finishes what somebody began, if there is something, notes where the sequence stands, and
    /// returns what has become of the messages.
    ///
    /// # Errors
    /// [`Error::Commit`]; the next call goes on from where this one ended.
    pub async fn finish(&mut self) -> Result<Vec<Disposition>, Error> {
        let finished = self.finish_begun().await;
        finished.map_err(|source| self.commit_error(source))
    }

    /// Reads the oldest entries, as [`OneSlot::peek`] does, unwatched.
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn peek(
        &mut self,
        limits: Limits,
        each: impl FnMut(Vec<Entry>),
    ) -> Result<u64, Error> {
        self.reader.peek(limits, each).await
    }

    /// As [`OneSlot::look`].
    ///
    /// # Errors
    /// [`Error::Peek`]; nothing was changed.
    pub async fn look(&mut self, max_bytes: u64) -> Result<Peeked, Error> {
        self.reader.look(max_bytes).await
    }

    /// Moves all of the transfers, which must be what was peeked after the last
    /// [`finish`](Self::finish), or none.
    ///
    /// # Errors
    /// [`Error::Commit`]. The batch may have been moved, not moved, or begun; the next
    /// [`finish`](Self::finish) shows which.
    pub async fn commit(
        &mut self,
        transfers: &[Transfer],
        ceiling: u64,
    ) -> Result<Committed, Error> {
        let committed = self.push_and_trim(transfers, ceiling).await;
        committed.map_err(|source| self.commit_error(source))
    }

    async fn push_and_trim(
        &mut self,
        transfers: &[Transfer],
        ceiling: u64,
    ) -> Result<Committed, link::Error> {
        let number = self.number.clone();
        let record = Record::of(transfers, self.trail.as_ref());
        let text = serde_json::to_string(&record)
            .map_err(|error| link::Error::new(Reason::Other, error.to_string()))?;
        let lease = self.proviso.lease.iter().map(|lease| &lease.key);
        let keys: Vec<&String> = self.keys().into_iter().chain(lease).collect();
        let mut check = CHECK.command(&keys);
        check.arg(&number).arg(&record.digests);
        check.arg(self.proviso.keep).arg(self.proviso.says());
        let same: i64 = CHECK.call(&mut self.source.link, &check).await?;
        if same == 0 {
            return Ok(Committed::Conflict);
        }
        let replays = transfers
            .iter()
            .filter(|transfer| transfer.disposition.place() == Some(To::Target));
        let script = record.script();
        let pushed = self.target.push(script, (&number, &text), ceiling, replays);
        match pushed.await? {
            Pushed::Done => {}
            // The first push decides, so nothing was written.
            Pushed::Full => return Ok(Committed::Full),
            // Somebody else's batch; it is finished before the next peek.
            Pushed::Known(_) => return Ok(Committed::Conflict),
            Pushed::Old(newest) => {
                self.skip(&number, &newest).await?;
                return Ok(Committed::Conflict);
            }
        }
        let parked = |transfer: &&Transfer| transfer.disposition.place() == Some(To::Third);
        let dead: Vec<&Transfer> = transfers.iter().filter(parked).collect();
        let told = self.told(transfers);
        if !self.park_and_trim(&number, &record, &dead, told).await? {
            return Ok(Committed::Conflict);
        }
        Ok(Committed::Moved {
            replayed: record.count(To::Target),
            dead: record.count(To::Third),
        })
    }

    async fn finish_begun(&mut self) -> Result<Vec<Disposition>, link::Error> {
        if !self.loadable {
            for place in [&mut self.source, &mut self.target, &mut self.dead] {
                check_loadable(&mut place.link).await?;
            }
            self.loadable = true;
        }
        let mut moved = vec![];
        loop {
            let number = self.begin().await?;
            let mut get = redis::cmd("HGET");
            get.arg(&self.target.records).arg(&number);
            let Some(text) = self.target.link.call::<Option<String>>(&get).await? else {
                self.number = number;
                return Ok(moved);
            };
            let record = self.target.read(&text)?;
            if self.complete(&number, &record).await? {
                let messages = record.flags.len();
                tracing::warn!(
                    batch = number,
                    messages,
                    "finished a batch that had been begun"
                );
                moved.extend(record.flags.chars().filter_map(disposition));
            }
        }
    }

    /// The number of the next batch.
    async fn begin(&mut self) -> Result<String, link::Error> {
        // A source that goes back further than the records reach would have them moved again.
        let always = self.demanded || !self.confirmed;
        let mut command = BEGIN.command(&[&self.source.records]);
        command.arg(u8::from(always)).arg(UNCONFIRMED);
        let answer = BEGIN
            .call::<Vec<Value>>(&mut self.source.link, &command)
            .await?;
        match &answer[..] {
            [Value::BulkString(number), Value::Int(written)] => {
                if *written == 1 {
                    replicated(&mut self.source, self.demanded).await?;
                    self.confirmed = true;
                }
                Ok(String::from_utf8_lossy(number).into_owned())
            }
            _ => Err(unexpected("begin")),
        }
    }

    /// Finishes a batch from its record; false if somebody else was faster, or the record is gone.
    async fn complete(&mut self, number: &str, record: &Record) -> Result<bool, link::Error> {
        let mut command = CONFIRM.command(&[&self.target.records]);
        command.arg(number);
        let confirmed: i64 = CONFIRM.call(&mut self.target.link, &command).await?;
        if confirmed == 0 {
            return Ok(false);
        }
        let dead = if record.edits.is_empty() {
            vec![]
        } else {
            self.dead_of(record).await?
        };
        let dead: Vec<&Transfer> = dead.iter().collect();
        let told = self.told_of(record);
        self.park_and_trim(number, record, &dead, told).await
    }

    /// What the audit is to be told of a batch.
    fn told(&self, transfers: &[Transfer]) -> Vec<String> {
        let trail = self.trail.as_ref();
        trail.map_or_else(Vec::new, |trail| {
            audit::arguments(&trail.entries(transfers))
        })
    }

    /// What the audit is to be told of a batch that somebody else may have begun: in whose name, who has
    /// ended it, and the counts.
    fn told_of(&self, record: &Record) -> Vec<String> {
        let Some(trail) = &self.trail else {
            return vec![];
        };
        let begun = record.by.as_ref();
        let begun = begun.and_then(|by| Some((Kind::named(&by.kind)?, &by.about)));
        let (kind, about) = begun.unwrap_or((trail.kind, &trail.about));
        let instance = trail.about.iter().find(|(name, _)| name == "instance");
        let ended = instance.map(|(_, name)| ("finished_by".to_owned(), name.clone()));
        let counts = audit::counts(record.flags.chars().filter_map(disposition));
        let entries = record.flags.chars().zip(record.digests());
        let gone = entries.filter(|(flag, _)| disposition(*flag) == Some(Disposition::Purge));
        let gone = audit::digests(gone.map(|(_, digest)| digest.to_owned()));
        let about = about.iter().cloned().chain(ended);
        let about = about.chain(counts).chain(gone);
        audit::arguments(&[audit::entry(kind, about)])
    }

    /// The entries of a begun batch that go to the dead list, as far as they are still there.
    async fn dead_of(&mut self, record: &Record) -> Result<Vec<Transfer>, link::Error> {
        let mut range = redis::cmd("LRANGE");
        range.arg(&self.lists.source);
        range.arg(format!("-{}", record.flags.len())).arg(-1);
        let tail: Vec<Vec<u8>> = self.source.link.call(&range).await?;
        let mut tail: Vec<(String, Vec<u8>)> = tail
            .into_iter()
            .rev()
            .map(|bytes| (digest(&bytes), bytes))
            .collect();
        let mut edits = record.edits.iter();
        let mut dead = vec![];
        for (flag, wanted) in record.flags.chars().zip(record.digests()) {
            let found = tail.iter().position(|(digest, _)| digest == wanted);
            let found = found.map(|at| tail.remove(at).1);
            if let Some(disposition) = disposition(flag)
                && disposition.place() == Some(To::Third)
            {
                let edits = edits.next().map(Vec::as_slice).unwrap_or_default();
                dead.extend(found.map(|bytes| Transfer {
                    entry: Entry(bytes),
                    edits: edits.iter().map(Change::edit).collect(),
                    disposition,
                }));
            }
        }
        Ok(dead)
    }

    /// All that follows the push to the target; false if somebody else was faster.
    async fn park_and_trim(
        &mut self,
        number: &str,
        record: &Record,
        dead: &[&Transfer],
        told: Vec<String>,
    ) -> Result<bool, link::Error> {
        // Before anything is parked: a target that forgot the record would let another batch have
        // the number, and what was parked under it would be parked again.
        replicated(&mut self.target, self.demanded).await?;
        let mut parked = digests(dead.iter().copied());
        let mut beyond = None;
        if !record.edits.is_empty() {
            let dead = dead.iter().copied();
            let pushed = self.dead.push(&PUSH, (number, &parked), 0, dead);
            match pushed.await? {
                Pushed::Done => {}
                Pushed::Full => return Err(unexpected("push")),
                // What was pushed then is what may be trimmed now.
                Pushed::Known(pushed) => parked = pushed,
                // Not pushed, so it must not be trimmed either.
                Pushed::Old(newest) => {
                    parked = String::new();
                    beyond = Some(newest);
                }
            }
            replicated(&mut self.dead, self.demanded).await?;
        }

        let pushed = record.pushed(&parked);
        let (taken, missing) = self.take_off(number, &pushed, &told).await?;
        if missing > 0 {
            tracing::warn!(
                batch = number,
                missing,
                "messages were taken off the source while they were being moved; they have been moved all the same"
            );
        }
        if let Some(newest) = beyond {
            // The trim has lifted it by one.
            let next: u64 = number.parse().unwrap_or(0);
            self.skip(&(next + 1).to_string(), &newest).await?;
        }
        Ok(taken >= 0)
    }

    /// So many entries of the source, from this place on, counted from the oldest; the oldest last.
    async fn older(&mut self, from: u64, count: u64) -> Result<Vec<Vec<u8>>, link::Error> {
        let mut range = redis::cmd("LRANGE");
        range.arg(&self.lists.source);
        range.arg(format!("-{}", from + count));
        range.arg(format!("-{}", from + 1));
        self.source.link.call(&range).await
    }

    async fn skip(&mut self, number: &str, newest: &str) -> Result<(), link::Error> {
        let mut command = SKIP.command(&[&self.source.records]);
        command.arg(number).arg(newest);
        let lifted: i64 = SKIP.call(&mut self.source.link, &command).await?;
        if lifted == 1 {
            self.confirmed = false;
            tracing::warn!(
                from = number,
                to = newest,
                "the source has gone back further than the records of the target reach; messages that it brought back are moved again"
            );
        }
        Ok(())
    }

    fn commit_error(&self, source: link::Error) -> Error {
        let source_list = self.lists.source.clone();
        Error::Commit {
            source_list,
            source,
        }
    }
}

impl Place {
    fn read(&self, record: &str) -> Result<Record, link::Error> {
        serde_json::from_str(record).map_err(|_| {
            let detail = format!("{} is not a record of this worker", self.records);
            link::Error::new(Reason::Other, detail)
        })
    }

    async fn push<'a>(
        &mut self,
        script: &Script,
        (number, record): (&str, &str),
        ceiling: u64,
        transfers: impl Iterator<Item = &'a Transfer>,
    ) -> Result<Pushed, link::Error> {
        let mut command: Cmd = script.command(&[&self.list, &self.records]);
        command.arg(number).arg(record).arg(ceiling);
        for transfer in transfers {
            command.arg(transfer);
        }
        let answer: Vec<String> = script.call(&mut self.link, &command).await?;
        match &answer[..] {
            [word] if word == "pushed" => Ok(Pushed::Done),
            [word] if word == "full" => Ok(Pushed::Full),
            [word, record] if word == "known" => Ok(Pushed::Known(record.clone())),
            [word, newest] if word == "old" => Ok(Pushed::Old(newest.clone())),
            _ => Err(unexpected("push")),
        }
    }
}

impl Record {
    fn of(transfers: &[Transfer], trail: Option<&Trail>) -> Self {
        let flag = |transfer: &Transfer| letter(transfer.disposition);
        let dead = transfers
            .iter()
            .filter(|transfer| transfer.disposition.place() == Some(To::Third));
        Self {
            flags: transfers.iter().map(flag).collect(),
            digests: digests(transfers.iter()),
            edits: dead
                .map(|transfer| transfer.edits.iter().map(Change::of).collect())
                .collect(),
            by: trail.map(|trail| By {
                kind: trail.kind.to_string(),
                about: trail.about.clone(),
            }),
        }
    }

    /// What writes it down: where all of the batch goes nowhere, at `maxmemory` as well.
    fn script(&self) -> &'static Script {
        let pushes =
            |flag| disposition(flag).is_none_or(|disposition| disposition.place().is_some());
        if self.flags.chars().any(pushes) {
            &PUSH
        } else {
            &RECORD
        }
    }

    fn digests(&self) -> impl Iterator<Item = &str> {
        parts(&self.digests)
    }

    fn count(&self, place: To) -> u64 {
        let there = |flag: &char| disposition(*flag).and_then(Disposition::place) == Some(place);
        self.flags.chars().filter(there).count() as u64
    }

    /// The digests of what lies at its destination, or needs none: all replays, and what was parked. A dead
    /// letter that could not be found any more when it was to be parked is left where it is.
    fn pushed(&self, parked: &str) -> String {
        let mut parked: Vec<&str> = parts(parked).collect();
        let entries = self.flags.chars().zip(self.digests());
        let pushed = entries.filter(|(flag, digest)| {
            if disposition(*flag).and_then(Disposition::place) != Some(To::Third) {
                return true;
            }
            let found = parked.iter().position(|parked| parked == digest);
            found.map(|at| parked.remove(at)).is_some()
        });
        pushed.map(|(_, digest)| digest).collect()
    }
}

impl Change {
    fn of(edit: &Edit) -> Self {
        Self(edit.range.start, edit.range.end, edit.text.clone())
    }

    fn edit(&self) -> Edit {
        let Self(start, end, text) = self;
        Edit {
            range: *start..*end,
            text: text.clone(),
        }
    }
}

/// The letter of a disposition in a record.
fn letter(disposition: Disposition) -> char {
    match disposition {
        Disposition::Replay => 'r',
        Disposition::Dead(Why::RetriesExhausted) => 'x',
        Disposition::Dead(Why::Malformed) => 'm',
        Disposition::Dead(Why::Incomplete) => 'i',
        Disposition::Dead(Why::Operator) => 'o',
        Disposition::Restore => 's',
        Disposition::Purge => 'p',
    }
}

fn disposition(wanted: char) -> Option<Disposition> {
    let mut all = Disposition::ALL.into_iter();
    all.find(|disposition| letter(*disposition) == wanted)
}

/// The digests of a text that is nothing but digests.
fn parts(digests: &str) -> impl Iterator<Item = &str> {
    let starts = (0..digests.len()).step_by(DIGITS);
    starts.filter_map(|start| digests.get(start..start + DIGITS))
}

fn digests<'a>(transfers: impl Iterator<Item = &'a Transfer>) -> String {
    transfers
        .map(|transfer| digest(&transfer.entry.0))
        .collect()
}

fn digest(bytes: &[u8]) -> String {
    let mut digest = sha1_smol::Sha1::from(bytes).hexdigest();
    digest.truncate(DIGITS);
    digest
}

/// Waits until the replicas have what was written to a node: a failover could otherwise lose what
/// the source no longer has. Where none are demanded, one is enough, or none if none was
/// seen since we are connected. One that has gone is waited for once, because it may be back at
/// once, or be about to take over; if there is none the next time either, it goes on without.
async fn replicated(at: &mut Place, demanded: bool) -> Result<(), link::Error> {
    let role: Vec<Value> = at.link.call(&redis::cmd("ROLE")).await?;
    let (Some(Value::BulkString(role)), Some(last)) = (role.first(), role.get(2)) else {
        return Err(unexpected("role"));
    };
    if role != b"master" {
        // What it was given it will forget.
        at.link.close();
        let detail = format!("the node that holds {} is no primary any more", at.list);
        return Err(link::Error::new(Reason::ReadOnly, detail));
    }
    let alone = matches!(last, Value::Array(replicas) if replicas.is_empty());
    let opened = at.link.opened();
    if !alone {
        at.with_replicas = opened;
    } else if !demanded && at.deserted && at.with_replicas == opened {
        tracing::warn!(
            list = at.list,
            advice = "bring it back; until then a failover of this node may lose or repeat what is moved, and REDIS_WAIT_REPLICAS=1 would move nothing",
            "the node that holds the list has no replica any more, messages are moved without one"
        );
        at.with_replicas = 0;
    }
    if !demanded && at.with_replicas != opened {
        return Ok(());
    }
    let answer = at.link.replicated().await;
    let behind = |error: &link::Error| error.reason == Reason::ReplicasBehind;
    at.deserted = alone && answer.as_ref().is_err_and(behind);
    answer.map_err(|error| error.about(&format!("the node that holds {}", at.list)))
}

fn unexpected(script: &str) -> link::Error {
    link::Error::new(
        Reason::Other,
        format!("unexpected answer of the {script} script"),
    )
}

/// A list beside which no other key is sure to be in the same slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no other key can be put into the slot of {list:?}, because of its braces; expected a name without braces, or all three lists with one hash tag like {{mutt}}:dlq:alerter"
)]
pub struct NoRoom {
    /// The list's name.
    pub list: String,
}

static BEGIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("spread/begin.lua")));
static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("spread/push.lua")));
/// For a batch of which all goes nowhere.
static RECORD: LazyLock<Script> =
    LazyLock::new(|| Script::at_maxmemory(include_str!("spread/push.lua")));
static CONFIRM: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("spread/confirm.lua")));
static CHECK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("spread/check.lua")));
static SKIP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("spread/skip.lua")));
