//! The rest of the pipeline: what is dead-lettered, and what takes the replays.
//!
//! Each beat is one script, so that it happened as a whole or not at all, and nothing has to be
//! known of a beat whose answer was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue};
use tokio::time::{MissedTickBehavior, interval};

use super::SOURCES;

/// How many messages there are.
pub const MADE: &str = "soak:made";
/// The numbers of those that were handled in the end.
pub const DONE: &str = "soak:done";

/// KEYS: sources and targets in turn. ARGV: messages to make for each source, messages to take
/// from each target, whether some of them fail, as a `1` each time.
/// One of twenty always fails, one of eight does so twice; one of 97 is no JSON, and one of 401 and
/// one of 4,001 are large.
const BEAT: &str = r#"
local function made(number)
  if number % 97 == 0 then return 'no object, but "n": ' .. number .. ' all the same' end
  local size = 400
  if number % 4001 == 0 then size = 1048576 elseif number % 401 == 0 then size = 65536 end
  local trace = ''
  if number % 3 == 0 then
    trace = string.format('"traceparent": "00-%032x-%016x-01", ', number, number)
  end
  return string.format(
    '{"hostname": "sw-%d.example.net", "timestamp": "2026-11-20T10:00:00Z", %s"message": "%s", "n": %d, "_retry_count": 4}',
    number % 50, trace, string.rep('x', size), number)
end
for i = 1, #KEYS, 2 do
  local source, target = KEYS[i], KEYS[i + 1]
  for _ = 1, tonumber(ARGV[1]) do
    redis.call('LPUSH', source, made(redis.call('INCR', 'soak:made')))
  end
  for _ = 1, tonumber(ARGV[2]) do
    local message = redis.call('RPOP', target)
    if not message then break end
    local number = tonumber(message:match('"n": ?(%d+)'))
    local replays = tonumber(message:match('"_remediation_count": ?(%d+)') or 0)
    if ARGV[3] == '1' and (number % 20 == 0 or (number % 8 == 0 and replays < 2)) then
      redis.call('LPUSH', source, (message:gsub('"_retry_count": ?%d+', '"_retry_count": 4')))
    else
      redis.call('RPUSH', 'soak:done', number)
    end
  end
end
"#;

/// A connection that is made anew after each failure.
pub struct Line {
    client: Client,
    kept: Option<MultiplexedConnection>,
}

impl Line {
    pub fn to(port: u16) -> Self {
        let client = Client::open(format!("redis://127.0.0.1:{port}")).expect("an address");
        Self { client, kept: None }
    }

    /// The answer; none where there was no good one, and then nobody knows what was done.
    pub async fn call<T: FromRedisValue>(&mut self, command: &Cmd) -> Option<T> {
        let mut line = if let Some(line) = self.kept.take() {
            line
        } else {
            let patient = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(Duration::from_secs(1)))
                .set_response_timeout(Some(Duration::from_secs(10)));
            let made = self
                .client
                .get_multiplexed_async_connection_with_config(&patient);
            made.await.ok()?
        };
        let answer = command.query_async(&mut line).await.ok()?;
        self.kept = Some(line);
        Some(answer)
    }
}

#[derive(Clone)]
pub struct Pipeline {
    port: u16,
    makes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Pipeline {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            makes: Arc::new(1.into()),
            stop: Arc::default(),
        }
    }

    /// Dead-letters nothing more, and handles whatever comes.
    pub fn only_take(&self) {
        self.makes.store(0, Ordering::Relaxed);
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Five messages a second for each source, or none while Redis is away.
    pub async fn work(self) {
        let mut line = Line::to(self.port);
        let mut beats = interval(Duration::from_millis(200));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.load(Ordering::Relaxed) {
            beats.tick().await;
            let makes = self.makes.load(Ordering::Relaxed);
            let mut beat = redis::cmd("EVAL");
            beat.arg(BEAT).arg(SOURCES.len() * 2);
            for (_, source, target, _) in SOURCES {
                beat.arg(source).arg(target);
            }
            // What is not made any more is not failed on either.
            beat.arg(makes).arg(200).arg(makes);
            let _ = line.call::<()>(&beat).await;
        }
    }
}
