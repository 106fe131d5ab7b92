//! What a drain does to other clients of the server, and what else may keep them waiting.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Keeps every core busy with nothing until it is dropped.
pub(super) struct Load {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn new() -> anyhow::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism()?.get();
        let threads = (0..cores).map(|_| {
            let ended = ended.clone();
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        let threads = threads.collect();
        Ok(Self { ended, threads })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// For how long batches kept the server from others, as the daemon tells it.
#[derive(Default)]
pub(super) struct Held(BTreeMap<String, f64>);

impl Held {
    /// Takes the counts of a daemon in.
    pub(super) fn add(&mut self, metrics: &str) {
        for line in metrics.lines() {
            let bucket = line.strip_prefix("mutt_remediation_stall_seconds_bucket{le=\"");
            let Some((bound, count)) = bucket.and_then(|line| line.split_once("\"} ")) else {
                continue;
            };
            *self.0.entry(bound.to_owned()).or_default() += count.parse().unwrap_or(0.0);
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |bound: &str| self.0.get(bound).copied().unwrap_or_default();
        let all = count("+Inf");
        if all == 0.0 {
            return f.write_str("not measured");
        }
        let share = |bound| 100.0 * count(bound) / all;
        let (one, two) = (share("0.001"), share("0.002"));
        write!(
            f,
            "{one:.1} % at most 1 ms, {two:.1} % at most 2 ms, of {all:.0} batches"
        )
    }
}
