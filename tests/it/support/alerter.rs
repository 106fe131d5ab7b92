//! A stand-in for the alerter that tries so many messages a second, and does with what fails what
//! the real one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, interval};

/// KEYS: work, dead letters. ARGV: messages to try at most, whether all of them fail.
/// Returns how many were tried and how many were handled, and of the latter the greatest count of
/// replays.
const TRY: &str = r#"
local tried, handled, most = 0, 0, 0
for i = 1, tonumber(ARGV[1]) do
  local message = redis.call('RPOP', KEYS[1])
  if not message then break end
  tried = tried + 1
  local failures = tonumber(message:match('"_retry_count": ?(%d+)') or 0)
  if failures > 3 then
    redis.call('LPUSH', KEYS[2], message)
  elseif ARGV[2] == '1' or message:find('always fails', 1, true) then
    local raised = message:gsub('"_retry_count": ?%d+', '"_retry_count":' .. failures + 1)
    redis.call('LPUSH', KEYS[1], raised)
  else
    handled = handled + 1
    most = math.max(most, tonumber(message:match('"_remediation_count":(%d+)') or 0))
  end
end
return { tried, handled, most }
"#;

/// What an alerter does, and has done.
#[derive(Debug, Default)]
pub struct Alerter {
    /// Whether its database is away.
    pub failing: AtomicBool,
    /// It ends when this is set.
    pub stop: AtomicBool,
    handled: AtomicU64,
    most: AtomicU64,
}

impl Alerter {
    pub fn new(failing: bool) -> Arc<Self> {
        let alerter = Self::default();
        alerter.failing.store(failing, Ordering::SeqCst);
        Arc::new(alerter)
    }

    /// Messages that it has handled.
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::SeqCst)
    }

    /// The greatest number of replays that a message took.
    pub fn most_replays(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }

    /// Tries so many messages a second until it is stopped.
    pub async fn work(
        self: Arc<Self>,
        mut redis: MultiplexedConnection,
        [work, dead_letters]: [String; 2],
        per_second: u64,
    ) {
        let began = Instant::now();
        let mut ticks = interval(Duration::from_millis(10));
        // What it could have tried so far; an idle time is not made up for.
        let mut tried = 0;
        while !self.stop.load(Ordering::SeqCst) {
            ticks.tick().await;
            let could = per_second * u64::try_from(began.elapsed().as_millis()).expect("short");
            let owed = (could / 1_000).saturating_sub(tried);
            let failing = u8::from(self.failing.load(Ordering::SeqCst));
            let (_, handled, most): (u64, u64, u64) = redis::cmd("EVAL")
                .arg(TRY)
                .arg(2)
                .arg(&[&work, &dead_letters])
                .arg(&[owed, failing.into()])
                .query_async(&mut redis)
                .await
                .expect("redis answers");
            tried += owed;
            self.handled.fetch_add(handled, Ordering::SeqCst);
            self.most.fetch_max(most, Ordering::SeqCst);
        }
    }
}
