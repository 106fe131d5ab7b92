//! A week of a worker's life in minutes: two workers, five sources, and all that happens to them.
//!
//! The bench judges what the workers used, a test of `it` only that no message was lost.

mod crowd;
pub mod judge;
mod ledger;
mod log;
mod operators;
mod pipeline;
pub mod plot;
pub mod sample;
mod settings;
mod sinks;
mod trouble;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::prometheus::Prometheus;
use crate::support::redis::Redis;
use crate::support::wait::until;
use crate::support::webhook::{Manner, Webhook};
use pipeline::Pipeline;
use worker::Worker;

pub use judge::Verdict;
pub use ledger::Accounts;
pub use sample::Sample;

/// A source, the list that its replays go to, and where it parks.
pub const SOURCES: [(&str, &str, &str, &str); 5] = [
    (
        "alerter",
        "mutt:dlq:alerter",
        "mutt:ingest_queue",
        "mutt:dlq:dead",
    ),
    ("moog", "mutt:dlq:moog", "mutt:alert_queue", "mutt:dlq:dead"),
    ("snmp", "mutt:dlq:snmp", "mutt:snmp", "mutt:dlq:dead:snmp"),
    (
        "syslog",
        "mutt:dlq:syslog",
        "mutt:syslog",
        "mutt:dlq:dead:syslog",
    ),
    ("web", "mutt:dlq:web", "mutt:web", "mutt:dlq:dead:web"),
];
pub const ARCHIVE: &str = "soak:archive";

/// Of each round the last part is calm: nobody is connected, and Redis is up.
pub const ROUND: Duration = Duration::from_secs(15);
const BUSY: Duration = Duration::from_secs(11);

/// What has happened, and when, in seconds since the beginning.
#[derive(Clone, Debug)]
pub struct Mark {
    pub at: f64,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    RedisTerminated,
    RedisKilled,
    PrometheusKilled,
    Probe,
    Breaker,
    Setting,
    Rotation,
    Request,
    Connection,
    Act,
}

/// The time, and what has happened in it.
#[derive(Clone)]
pub struct Clock {
    began: Instant,
    length: Duration,
    marks: Arc<Mutex<Vec<Mark>>>,
}

impl Clock {
    fn new(length: Duration) -> Self {
        Self {
            began: Instant::now(),
            length,
            marks: Arc::default(),
        }
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn over(&self) -> bool {
        self.began.elapsed() >= self.length
    }

    /// Whether this is the calm part of a round.
    pub fn calm(&self) -> bool {
        let into = self.began.elapsed().as_millis() % ROUND.as_millis();
        into >= BUSY.as_millis()
    }

    pub fn mark(&self, what: What) {
        let at = self.seconds();
        self.marks().push(Mark { at, what });
    }

    pub fn marks(&self) -> std::sync::MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a week was.
pub struct Outcome {
    pub samples: Vec<(&'static str, Vec<Sample>)>,
    pub marks: Vec<Mark>,
    pub accounts: Accounts,
    /// What the sinks were sent: notifications and batches of spans.
    pub told: (u64, u64),
    /// Probes that came.
    pub probes: usize,
}

impl Outcome {
    pub fn count(&self, what: What) -> usize {
        self.marks.iter().filter(|mark| mark.what == what).count()
    }

    pub fn judged(&self) -> Vec<Verdict> {
        let all = self.samples.iter();
        all.flat_map(|(name, samples)| judge::of(name, samples))
            .collect()
    }
}

/// Lives so long, then lets everything settle, and counts.
pub async fn live(length: Duration) -> Outcome {
    // With everysec a write may be put off, and confirmed before.
    let log = ["--appendonly", "yes", "--appendfsync", "always"];
    let redis = Redis::with(&log);
    let port = redis.port();
    let moogsoft = Webhook::start(Manner::Status(200)).await;
    let sinks = sinks::Sinks::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let ports = [worker::Ports::free(), worker::Ports::free()];
    let jobs: Vec<(&str, u16)> = vec![
        ("mutt", sinks.port()),
        ("copied", ports[0].metrics),
        ("piped", ports[1].metrics),
    ];
    let prometheus = Prometheus::start(&jobs, &[]).await;

    let around = worker::Around {
        redis: port,
        moogsoft: moogsoft.url(),
        prometheus: prometheus.url(),
        sinks: sinks.url(),
    };
    let copied = log::Copied::create(dir.path());
    let (first, second) = (
        Worker::start("copied", ports[0], &around, Some(&copied), dir.path()),
        Worker::start("piped", ports[1], &around, None, dir.path()),
    );
    let mut workers = [first, second];
    let piped = log::Piped::of(&mut workers[1], dir.path());
    for worker in &workers {
        worker.until_ready().await;
    }

    let clock = Clock::new(length);
    let pipeline = Pipeline::new(port);
    let samples: Vec<Arc<Mutex<Vec<Sample>>>> = workers.iter().map(|_| Arc::default()).collect();
    let mut watching = JoinSet::new();
    for (worker, samples) in workers.iter().zip(&samples) {
        watching.spawn(sample::watch(worker.seen(), clock.clone(), samples.clone()));
    }
    let mut working = JoinSet::new();
    working.spawn(pipeline.clone().work());
    let mut life = JoinSet::new();
    for worker in &workers {
        life.spawn(crowd::come_and_go(worker.seen(), clock.clone()));
        life.spawn(operators::act(worker.seen(), clock.clone()));
    }
    life.spawn(settings::change(port, clock.clone()));
    life.spawn(trouble::breaker(port, clock.clone()));
    life.spawn(sinks.clone().falter(clock.clone()));
    let (redis, prometheus, moogsoft, ()) = tokio::join!(
        trouble::redis(redis, clock.clone()),
        trouble::prometheus(prometheus, clock.clone()),
        trouble::moogsoft(moogsoft, clock.clone()),
        log::rotate(&copied, &piped, clock.clone()),
    );
    while let Some(ended) = life.join_next().await {
        ended.expect("it ends by itself");
    }

    // Everything is well again, and what is left goes its way.
    trouble::mend(&redis, &workers.each_ref().map(Worker::seen)).await;
    pipeline.only_take();
    until("all sources and targets are empty", || async {
        let lists = SOURCES.iter().flat_map(|source| [source.1, source.2]);
        let mut left = 0;
        for list in lists {
            left += redis.len(list).await;
        }
        left == 0
    })
    .await;
    pipeline.stop();
    while working.join_next().await.is_some() {}
    while let Some(ended) = watching.join_next().await {
        ended.expect("it ends by itself");
    }
    let running = workers.iter_mut().all(Worker::is_running);
    assert!(running, "a worker has ended");
    drop(prometheus);
    let accounts = ledger::count(&redis).await;
    for worker in &mut workers {
        worker.end().await;
    }

    let taken = |samples: &Arc<Mutex<Vec<Sample>>>| {
        let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *samples)
    };
    let names = ["copied", "piped"];
    let marks = clock.marks().clone();
    Outcome {
        samples: names.into_iter().zip(samples.iter().map(taken)).collect(),
        marks,
        accounts,
        told: sinks.counts(),
        probes: moogsoft.requests().len(),
    }
}
