//! What the benchmarks share: the servers and the daemon of the tests, the message, and the way to
//! tell what was found.

#[path = "../it/support/daemon.rs"]
pub mod daemon;
#[path = "../it/support/prometheus.rs"]
pub mod prometheus;
#[path = "../it/support/redis.rs"]
pub mod redis;
#[path = "../it/support/sentinel.rs"]
pub mod sentinel;
#[path = "../it/support/wait.rs"]
pub mod wait;
#[path = "../it/support/webhook.rs"]
pub mod webhook;

use std::fmt;
use std::time::Duration;

/// An event of about 0.9 KB, as the alerter dead-letters it.
pub fn message(number: usize) -> String {
    let mut body = String::new();
    let mut seed = number as u64 + 1;
    while body.len() < 720 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        body.push_str(&format!("{seed:016x} "));
    }
    format!(
        r#"{{"timestamp": "2026-11-20T10:00:00Z", "hostname": "sw-{number:06}.example.net", "_correlation_id": "{seed:032x}", "message": "{body}", "_retry_count": 4, "severity": 3}}"#
    )
}

/// Times that something took, in the order of their length.
pub struct Latency(Vec<Duration>);

impl Latency {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("not measured");
        }
        let at =
            |share: f64| self.0[((self.0.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let (middle, high, worst) = (at(0.5), at(0.99), at(1.0));
        write!(f, "p50 {middle:.2} ms, p99 {high:.2} ms, max {worst:.2} ms")
    }
}

/// The number after this name on the command line.
pub fn argument(name: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

pub fn rate(rate: f64) -> String {
    if rate > 0.0 {
        format!("{rate:.0} messages/s")
    } else {
        "not measured".into()
    }
}

pub fn say(line: &str) {
    println!("{line}");
}
