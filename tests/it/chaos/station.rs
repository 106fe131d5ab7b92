//! Where a worker works, whether there is one at present or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::access::Access;
use super::lines::{Line, Lines};
use super::place::Servers;
use super::schedule::Pace;
use super::wrong::{self, Way};
use crate::support::Daemon;

const CEILING: &str = "REPLAY_TARGET_MAX_DEPTH";

pub struct Station {
    way: Way,
    pace: Pace,
    /// What leads a daemon to the servers, and how it is to work.
    variables: Vec<(&'static str, String)>,
    access: Access,
    /// None where it goes straight there.
    lines: Option<Lines>,
    worker: Option<Worker>,
}

enum Worker {
    Daemon(Daemon),
    Task(JoinSet<()>, Arc<AtomicBool>),
}

impl Station {
    /// A station with nobody at work. `ceiling`: how deep the target may be.
    pub async fn prepare(
        way: Way,
        pace: Pace,
        servers: &Servers,
        waiting: bool,
        ceiling: Option<u32>,
    ) -> Self {
        let mut access = servers.access();
        let lines = if pace.proxied {
            let lines = Lines::to(servers).await;
            access = lines.access(access);
            Some(lines)
        } else {
            None
        };
        let entry = |port| lines.as_ref().map_or(port, |lines| lines.entry(port));
        let mut variables = servers.variables(entry);
        variables.extend([
            ("REDIS_TIMEOUT", "1".to_owned()),
            ("REMEDIATION_BATCHES_PER_CYCLE", "0".to_owned()),
            ("REMEDIATION_BATCH_SIZE", pace.batch.to_string()),
            (
                "REMEDIATION_BATCH_PAUSE_MS",
                pace.pause.as_millis().to_string(),
            ),
        ]);
        variables.extend(ceiling.map(|depth| (CEILING, depth.to_string())));
        if waiting {
            variables.push(("REDIS_WAIT_REPLICAS", "1".to_owned()));
            variables.push(("REDIS_WAIT_TIMEOUT_MS", "300".to_owned()));
        }
        Self {
            way,
            pace,
            variables,
            access,
            lines,
            worker: None,
        }
    }

    /// Starts a worker, unless one is there.
    pub fn start(&mut self) {
        if self.worker.is_some() {
            return;
        }
        let Pace { batch, pause, .. } = self.pace;
        self.worker = Some(if self.way == Way::Daemon {
            let variables = self.variables.iter();
            let variables: Vec<(&str, &str)> = variables
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            Worker::Daemon(Daemon::start_alone(&variables))
        } else {
            let stop = Arc::new(AtomicBool::new(false));
            let mut tasks = JoinSet::new();
            let access = self.access.clone();
            tasks.spawn(wrong::drain(self.way, access, batch, pause, stop.clone()));
            Worker::Task(tasks, stop)
        });
    }

    /// Signal 9.
    pub fn kill(&mut self) {
        self.worker = None;
    }

    /// Ends the worker in order: no fault must fall into the count itself.
    pub async fn finish(&mut self) {
        match self.worker.take() {
            None => {}
            Some(Worker::Daemon(mut daemon)) => {
                assert!(daemon.is_running(), "no fault ends the daemon");
                // One that has just been started does not know what to do about a signal yet.
                daemon.until_logged("INFO up ").await;
                daemon.signal("-TERM");
                let status = daemon.ended().await;
                assert!(status.success(), "{status}");
            }
            Some(Worker::Task(mut tasks, stop)) => {
                stop.store(true, Ordering::SeqCst);
                while let Some(ended) = tasks.join_next().await {
                    ended.expect("it does not panic");
                }
            }
        }
    }

    /// From now on nobody takes work from the target, so that it must be allowed to fill.
    pub async fn lift_ceiling(&mut self) {
        if self.variables.iter().any(|(name, _)| *name == CEILING) {
            self.finish().await;
        }
        self.variables.retain(|(name, _)| *name != CEILING);
    }

    pub fn signal(&self, name: &str) {
        if let Some(Worker::Daemon(daemon)) = &self.worker {
            daemon.signal(name);
        }
    }

    /// Connections that were made through proxies; `None` where it goes straight there.
    pub fn used(&self) -> Option<usize> {
        self.lines.as_ref().map(Lines::used)
    }

    /// Does this to its line to the server on this port, or to all of its lines.
    pub fn disturb(&self, to: Option<u16>, line: Line) {
        if let Some(lines) = &self.lines {
            lines.disturb(to, line);
        }
    }
}
