//! Everyone who works on the lists beside the workers: producers, the consumer, the operator.
//! Whatever they take is put into a list of theirs in the same step, so that it can be counted.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};

use super::ledger::Ledger;
use super::letters::Letter;
use super::schedule::Raid;
use crate::support::{Redis, SOURCE, TARGET};

pub const CONSUMED: &str = "chaos:consumed";
pub const TAKEN: &str = "chaos:taken";
pub const BOUNCES: &str = "chaos:bounces";

/// Takes KEYS[1] from index ARGV[1] to ARGV[2], which must be one of its ends, to KEYS[2].
const TAKE: &str = "
local taken = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
for _, message in ipairs(taken) do redis.call('LPUSH', KEYS[2], message) end
if ARGV[1] == '0' and ARGV[2] == '-1' then redis.call('DEL', KEYS[1])
elseif ARGV[1] == '0' then redis.call('LTRIM', KEYS[1], ARGV[2] + 1, -1)
else redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1) end
return #taken";

/// Takes the message behind ARGV[1] older ones from KEYS[1] to KEYS[2], as LREM does: the first
/// with its bytes from the old end.
const REMOVE: &str = "
local message = redis.call('LINDEX', KEYS[1], -1 - ARGV[1])
if not message then return 0 end
redis.call('LPUSH', KEYS[2], message)
return redis.call('LREM', KEYS[1], -1, message)";

/// Hands the oldest message of KEYS[1] back to KEYS[2], and counts that in KEYS[3].
const BOUNCE: &str = "
local message = redis.call('LMOVE', KEYS[1], KEYS[2], 'RIGHT', 'LEFT')
if message then redis.call('INCR', KEYS[3]) end
return message and 1 or 0";

/// A connection that is made anew after each failure, to a server that comes and goes.
pub struct Line {
    port: u16,
    connection: Option<MultiplexedConnection>,
}

impl Line {
    pub fn to(redis: &Redis) -> Self {
        Self {
            port: redis.port(),
            connection: None,
        }
    }

    /// Sends a command once.
    pub async fn call<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> RedisResult<T> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = command.query_async(&mut connection).await;
        if answer.is_ok() || said(&answer) {
            self.connection = Some(connection);
        }
        answer
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let patient =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
        Client::open(format!("redis://127.0.0.1:{}", self.port))?
            .get_multiplexed_async_connection_with_config(&patient)
            .await
    }
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
    numbers: Arc<AtomicUsize>,
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
) {
    let mut depth = 0;
    while !stop.load(Ordering::SeqCst) {
        // What an operator takes at once is made up for, so that the workers have work.
        let most = if depth < 500 { 150 } else { 12 };
        let count = rng.usize(1..most);
        let first = numbers.fetch_add(count, Ordering::SeqCst);
        let mut letters: Vec<Letter> = (first..first + count)
            .map(|id| Letter::draw(&mut rng, id))
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
    ledger.lock().expect("not poisoned").attempt(letters);
    let mut push = redis::cmd("LPUSH");
    push.arg(SOURCE);
    for letter in letters {
        push.arg(&letter.bytes);
    }
    let answer: RedisResult<u64> = line.call(&push).await;
    let mut ledger = ledger.lock().expect("not poisoned");
    if answer.is_ok() {
        ledger.took(letters);
    } else if said(&answer) {
        ledger.refused(letters);
    }
    answer.unwrap_or(u64::MAX)
}

/// Takes from the target like MUTT's alerter, and hands some of it back as it is.
pub async fn consume(mut line: Line, mut rng: Rng, bounces: u32, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let command = if rng.u32(0..100) < bounces {
            script(BOUNCE, &[TARGET, SOURCE, BOUNCES])
        } else {
            let mut take = redis::cmd("LMOVE");
            take.arg(&[TARGET, CONSUMED, "RIGHT", "LEFT"]);
            take
        };
        let _: RedisResult<redis::Value> = line.call(&command).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(0..3))).await;
    }
}

/// What the operator does to the source.
pub fn raid(raid: Raid, number: usize) -> redis::Cmd {
    let take = |from: i64, to: i64| {
        let mut take = script(TAKE, &[SOURCE, TAKEN]);
        take.arg(from).arg(to);
        take
    };
    let signed = |count| i64::try_from(count).expect("small");
    match raid {
        Raid::Pop(1) => {
            let mut pop = redis::cmd("LMOVE");
            pop.arg(&[SOURCE, TAKEN, "RIGHT", "LEFT"]);
            pop
        }
        Raid::Pop(count) | Raid::TrimOld(count) => take(-signed(count), -1),
        Raid::TrimYoung(count) => take(0, signed(count) - 1),
        Raid::Delete => take(0, -1),
        Raid::Remove(older) => {
            let mut remove = script(REMOVE, &[SOURCE, TAKEN]);
            remove.arg(older);
            remove
        }
        Raid::Rename => {
            let mut rename = redis::cmd("RENAMENX");
            rename.arg(SOURCE).arg(format!("{TAKEN}:{number}"));
            rename
        }
    }
}

fn script(text: &str, keys: &[&str]) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}
