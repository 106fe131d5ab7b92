//! What goes wrong around the workers, and how all is well again.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use redis::cmd;
use reqwest::Client;
use tokio::time::sleep;

use super::pipeline::Line;
use super::worker::Seen;
use super::{Clock, ROUND, SOURCES, What};
use crate::support::daemon::client;
use crate::support::prometheus::Prometheus;
use crate::support::redis::Redis;
use crate::support::wait::until;
use crate::support::webhook::{Manner, Webhook};

const BREAKER: &str = "mutt:circuit_breaker:moogsoft:state";

/// Redis ends once a round, in turn by itself and at once, stays away for up to three seconds, and
/// comes back on its data and its port.
pub async fn redis(mut redis: Redis, clock: Clock) -> Redis {
    for round in 0_u32.. {
        sleep(Duration::from_secs(3)).await;
        if clock.over() {
            break;
        }
        if round % 2 == 0 {
            clock.mark(What::RedisTerminated);
            redis.signal("-TERM");
            let port = redis.port();
            until("Redis has ended", || async {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
            })
            .await;
        } else {
            clock.mark(What::RedisKilled);
        }
        redis.kill();
        sleep(Duration::from_secs((round % 4).into())).await;
        redis.up();
        sleep_to_the_next_round(&clock).await;
    }
    redis
}

async fn sleep_to_the_next_round(clock: &Clock) {
    let into = clock.seconds() % ROUND.as_secs_f64();
    sleep(ROUND.saturating_sub(Duration::from_secs_f64(into))).await;
}

/// A Prometheus that is killed every other round, and is away for four seconds.
pub async fn prometheus(mut prometheus: Prometheus, clock: Clock) -> Prometheus {
    while !clock.over() {
        sleep_to_the_next_round(&clock).await;
        if clock.over() {
            break;
        }
        clock.mark(What::PrometheusKilled);
        prometheus.kill();
        sleep(Duration::from_secs(4)).await;
        prometheus.up().await;
        sleep_to_the_next_round(&clock).await;
    }
    prometheus
}

/// Moogsoft changes its mind all the time; the workers ask less often than that.
pub async fn moogsoft(moogsoft: Webhook, clock: Clock) -> Webhook {
    let manners = [
        Manner::Status(200),
        Manner::Status(503),
        Manner::Status(202),
        Manner::Hang,
        Manner::Status(200),
        Manner::Nonsense,
        Manner::Status(201),
        Manner::EndlessBody,
        Manner::Redirect,
    ];
    for manner in manners.into_iter().cycle() {
        if clock.over() {
            break;
        }
        moogsoft.behave(manner);
        clock.mark(What::Probe);
        sleep(Duration::from_millis(1_300)).await;
    }
    moogsoft.behave(Manner::Status(200));
    moogsoft
}

/// The forwarder's circuit breaker opens and closes.
pub async fn breaker(redis: u16, clock: Clock) {
    let mut line = Line::to(redis);
    for state in ["CLOSED", "OPEN", "HALF_OPEN"].into_iter().cycle() {
        if clock.over() {
            return;
        }
        if line
            .call::<()>(cmd("SET").arg(BREAKER).arg(state))
            .await
            .is_some()
        {
            clock.mark(What::Breaker);
        }
        sleep(Duration::from_millis(1_500)).await;
    }
}

/// No setting, no pause and no breaker is left.
pub async fn mend(redis: &Redis, workers: &[Seen; 2]) {
    let keys: Vec<String> = redis.command(&["KEYS", "mutt:config:*"]).await;
    for key in keys.iter().map(String::as_str).chain([BREAKER]) {
        redis.command::<()>(&["DEL", key]).await;
    }
    let guard = ["SET", "mutt:config:poison_guard_enabled", "false"];
    redis.command::<()>(&guard).await;
    let publish = ["PUBLISH", "mutt:config:updates", "remediation_enabled"];
    redis.command::<()>(&publish).await;
    let client = client();
    for (source, ..) in SOURCES {
        resume(&client, workers[0], source).await;
    }
}

async fn resume(client: &Client, worker: Seen, source: &str) {
    let url = format!(
        "http://127.0.0.1:{}/api/v1/queues/{source}/pause",
        worker.ports.api
    );
    until("the source is resumed", || async {
        let answer = client.delete(&url).send().await;
        answer.is_ok_and(|answer| answer.status().as_u16() < 500)
    })
    .await;
}
