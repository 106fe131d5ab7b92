//! Everyone who works on the lists beside the workers: producers, the consumer, the operator.
//! Whatever they take is put into a list of theirs in the same step, so that it can be counted.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::access::{Access, Directory};
use super::ledger::Ledger;
use super::letters::Letter;
use super::place::Lists;
use super::schedule::{Drawing, Raid};
use crate::support::Redis;

/// Redirections that a command follows. One that is redirected was not done.
const REDIRECTIONS: usize = 8;

/// Pushes from ARGV[2] on to KEYS[1], and notes in KEYS[2] that push ARGV[1] was made.
const PUSH: &str = "
local length = redis.call('LPUSH', KEYS[1], unpack(ARGV, 2))
redis.call('LPUSH', KEYS[2], ARGV[1])
return length";

/// Takes KEYS[1] from index ARGV[1] to ARGV[2], which must be one of its ends, to KEYS[2].
const TAKE: &str = "
local taken = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
for _, message in ipairs(taken) do redis.call('LPUSH', KEYS[2], message) end
if ARGV[1] == '0' and ARGV[2] == '-1' then redis.call('DEL', KEYS[1])
elseif ARGV[1] == '0' then redis.call('LTRIM', KEYS[1], ARGV[2] + 1, -1)
else redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1) end
return #taken";

/// Takes ARGV[1] from the old end of KEYS[1] to KEYS[2].
const POP: &str = "
local taken = redis.call('RPOP', KEYS[1], ARGV[1])
if not taken then return 0 end
redis.call('LPUSH', KEYS[2], unpack(taken))
return #taken";

/// Takes the message behind ARGV[1] older ones from KEYS[1] to KEYS[2], as LREM does: the first
/// with its bytes from the old end.
const REMOVE: &str = "
local message = redis.call('LINDEX', KEYS[1], -1 - ARGV[1])
if not message then return 0 end
redis.call('LPUSH', KEYS[2], message)
return redis.call('LREM', KEYS[1], -1, message)";

/// A connection that is made anew after each failure, to a server that comes and goes.
pub struct Line {
    access: Access,
    /// Of the server that is thought to be the right one.
    port: u16,
    connection: Option<MultiplexedConnection>,
}

impl Line {
    pub fn to(redis: &Redis) -> Self {
        Self::new(Access::to(redis))
    }

    pub fn new(access: Access) -> Self {
        Self {
            port: access.first(),
            access,
            connection: None,
        }
    }

    pub fn lists(&self) -> Lists {
        self.access.lists
    }

    /// Sends a command once to the server that takes it.
    pub async fn call<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> RedisResult<T> {
        let mut answer = self.once(command).await;
        for _ in 0..REDIRECTIONS {
            let Some(port) = answer.as_ref().err().and_then(moved) else {
                break;
            };
            self.port = port;
            self.connection = None;
            answer = self.once(command).await;
        }
        answer
    }

    /// Sends a command once to the server that has this list, and returns its port.
    pub async fn tell(&mut self, list: &str, command: &redis::Cmd) -> RedisResult<u16> {
        if !matches!(self.access.directory, Directory::One(_)) {
            let _: u64 = self.call(redis::cmd("LLEN").arg(list)).await?;
        }
        let _: Value = self.once(command).await?;
        Ok(self.port)
    }

    /// Whether all replicas have what this line has written. A line that was broken knows nothing.
    pub async fn confirmed(&mut self) -> bool {
        if self.access.replicas == 0 {
            return true;
        }
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.access.replicas).arg(500);
        let have: RedisResult<usize> = wait.query_async(connection).await;
        have.is_ok_and(|have| have >= self.access.replicas)
    }

    async fn once<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> RedisResult<T> {
        let connected = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        };
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                self.try_another();
                return Err(error);
            }
        };
        let answer = command.query_async(&mut connection).await;
        let lost = ["READONLY", "CLUSTERDOWN", "MASTERDOWN"];
        let code = answer.as_ref().err().map(|error| error.code());
        match code {
            None => self.connection = Some(connection),
            Some(Some(code)) if !lost.contains(&code) => self.connection = Some(connection),
            Some(_) => self.try_another(),
        }
        answer
    }

    /// Any node of a cluster may know better; sentinels are asked anyway.
    fn try_another(&mut self) {
        if let Directory::Cluster(ports) = &self.access.directory {
            let at = ports.iter().position(|port| *port == self.port);
            self.port = ports[at.map_or(0, |at| (at + 1) % ports.len())];
        }
    }

    async fn connect(&mut self) -> RedisResult<MultiplexedConnection> {
        let (port, connection) = self.access.connect(self.port, self.patience()).await?;
        self.port = port;
        Ok(connection)
    }

    /// One server is waited for; where there are several, one that stands still must not hold
    /// everybody up.
    fn patience(&self) -> Duration {
        match self.access.directory {
            Directory::One(_) => Duration::from_secs(20),
            _ => Duration::from_secs(1),
        }
    }
}

/// Where another node has it.
fn moved(error: &redis::RedisError) -> Option<u16> {
    let (address, _) = error.redirect_node()?;
    let named = error.code() == Some("MOVED");
    named.then_some(address.rsplit(':').next()?.parse().ok()?)
}

/// Whether Redis itself has refused it, so that it was not done.
fn said<T>(answer: &RedisResult<T>) -> bool {
    answer.as_ref().is_err_and(|error| error.code().is_some())
}

/// Dead-letters messages until it is told to stop. What got no answer is not pushed again: Redis
/// may have it.
pub async fn produce(
    mut line: Line,
    mut rng: Rng,
    draw: Drawing,
    numbers: Arc<AtomicUsize>,
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
) {
    // Where there are replicas, workers wait for them and move less in a round.
    let (many, few) = match line.access.replicas {
        0 => (150, 12),
        _ => (50, 6),
    };
    let mut depth = 0;
    while !stop.load(Ordering::SeqCst) {
        // What an operator takes at once is made up for, so that the workers have work.
        let most = if depth < 500 { many } else { few };
        let count = rng.usize(1..most);
        let first = numbers.fetch_add(count, Ordering::SeqCst);
        let mut letters: Vec<Letter> = (first..first + count)
            .map(|id| draw(&mut rng, id))
            .collect();
        if rng.u32(0..400) == 0 {
            letters = vec![Letter::giant(first)];
        }
        depth = dead_letter(&mut line, &letters, &ledger).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(1..25))).await;
    }
}

/// Returns how long the source is now; unknown counts as long.
pub async fn dead_letter(line: &mut Line, letters: &[Letter], ledger: &Mutex<Ledger>) -> u64 {
    let number = ledger.lock().expect("not poisoned").attempt(letters);
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| &letter.bytes[..]).collect();
    push(line, &bodies, number, ledger).await
}

async fn push(line: &mut Line, bodies: &[&[u8]], number: usize, ledger: &Mutex<Ledger>) -> u64 {
    let Lists { source, pushed, .. } = line.lists();
    let mut push = script(PUSH, &[source, pushed]);
    push.arg(number).arg(bodies);
    let answer: RedisResult<u64> = line.call(&push).await;
    if said(&answer) {
        ledger.lock().expect("not poisoned").refused(number);
    }
    answer.unwrap_or(u64::MAX)
}

/// Takes from the target like MUTT's alerter, and hands some of it back as it is, which makes
/// another message of it for the count.
pub async fn consume(
    mut line: Line,
    mut rng: Rng,
    bounces: u32,
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
) {
    let mut back = Line::new(line.access.clone());
    let Lists {
        target, consumed, ..
    } = line.lists();
    while !stop.load(Ordering::SeqCst) {
        let mut take = redis::cmd("LMOVE");
        take.arg(&[target, consumed, "RIGHT", "LEFT"]);
        let taken: RedisResult<Option<Vec<u8>>> = line.call(&take).await;
        if let Ok(Some(message)) = taken {
            let number = {
                let mut ledger = ledger.lock().expect("not poisoned");
                ledger.see(&message);
                let handed = rng.u32(0..100) < bounces;
                handed.then(|| ledger.hand_back(&message)).flatten()
            };
            if let Some(number) = number {
                push(&mut back, &[&message], number, &ledger).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(0..3))).await;
    }
}

/// What the operator does to the source.
pub fn raid(lists: Lists, raid: Raid, number: usize) -> redis::Cmd {
    let Lists { source, taken, .. } = lists;
    let take = |from: i64, to: i64| {
        let mut take = script(TAKE, &[source, taken]);
        take.arg(from).arg(to);
        take
    };
    let signed = |count| i64::try_from(count).expect("small");
    match raid {
        Raid::Pop(1) => {
            let mut pop = redis::cmd("LMOVE");
            pop.arg(&[source, taken, "RIGHT", "LEFT"]);
            pop
        }
        Raid::Pop(count) => {
            let mut pop = script(POP, &[source, taken]);
            pop.arg(count);
            pop
        }
        Raid::TrimOld(count) => take(-signed(count), -1),
        Raid::TrimYoung(count) => take(0, signed(count) - 1),
        Raid::Delete => take(0, -1),
        Raid::Remove(older) => {
            let mut remove = script(REMOVE, &[source, taken]);
            remove.arg(older);
            remove
        }
        Raid::Rename => {
            let mut rename = redis::cmd("RENAME");
            rename.arg(source).arg(format!("{taken}:{number}"));
            rename
        }
    }
}

pub fn script(text: &str, keys: &[&str]) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}
