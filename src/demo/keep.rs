//! The demo kept running: dead letters keep coming, the alerter's database and Moogsoft fail now and
//! then, and the console shows what the daemon makes of it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::{MissedTickBehavior, interval};

use super::alerter::Alerter;
use super::letters::{self, Letter};
use super::{deliver, say};

/// Time between two deliveries.
const PERIOD: Duration = Duration::from_millis(500);
/// Letters of one delivery.
const LETTERS: usize = 8;
/// Deliveries until the alerter's database fails again, for so many attempts.
const FAILS_EVERY: usize = 120;
const ATTEMPTS: usize = 150;
/// Different letters; their marks are used again after that.
const DIFFERENT: u32 = 10_000;

/// Delivers letters for as long as Redis takes them.
pub(super) async fn on(
    redis: &mut MultiplexedConnection,
    alerter: &Alerter,
    console: &str,
) -> anyhow::Result<()> {
    say(&format!(
        "\nconsole {console}\n\
         16 dead letters a second from now on; the alerter's database fails once a minute.\n\
         Ctrl-C ends it.\n"
    ));
    let letters = letters::make(DIFFERENT);
    let mut rounds = letters.chunks(LETTERS).cycle();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1_usize.. {
        ticks.tick().await;
        let round: Vec<Letter> = rounds.next().unwrap_or_default().to_vec();
        deliver(redis, &round).await?;
        if number.is_multiple_of(FAILS_EVERY) {
            alerter.fail(ATTEMPTS);
        }
        alerter.forget();
    }
    Ok(())
}
