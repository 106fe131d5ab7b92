//! One round: workers, producers, a consumer and an operator on one Redis, the schedule's faults,
//! then quiet, then the count.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use redis::RedisResult;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::{Found, Ledger, Place, Verdict};
use super::letters::Letter;
use super::others::{self, BOUNCES, CONSUMED, TAKEN, consume, dead_letter, produce};
use super::schedule::{Action, Line, Pace, Schedule};
use super::wrong::{self, Way};
use crate::support::{DEAD, Daemon, Proxy, Redis, SOURCE, TARGET, until};

/// What came out of a round.
pub struct Outcome {
    pub verdict: Verdict,
    /// How many were found where.
    pub counts: String,
    /// What was done when, for people.
    pub events: String,
}

/// Runs a round with workers of this kind.
pub async fn run(schedule: &Schedule, way: Way) -> Outcome {
    let mut round = Round::prepare(schedule, way).await;
    let others = round.others(schedule);
    let mut began = Instant::now();
    for (at, action) in &schedule.actions {
        tokio::time::sleep_until(began + *at).await;
        let _ = writeln!(
            round.events,
            "{:>6} ms {action:?}",
            began.elapsed().as_millis()
        );
        round.act(*action).await;
        // What holds the operator up, such as a pause, must not bring the rest closer together.
        began = began.max(Instant::now() - *at);
    }
    round.calm_down().await;
    others.end().await;
    round.drain_the_rest().await;
    round.count().await
}

struct Round {
    redis: Redis,
    redis_runs: bool,
    line: others::Line,
    stations: Vec<Station>,
    ledger: Arc<Mutex<Ledger>>,
    raids: usize,
    first_date: i64,
    /// Messages that were moved before the end of the faults.
    moved_meanwhile: usize,
    events: String,
}

/// Where a worker works, whether there is one at present or not.
struct Station {
    way: Way,
    pace: Pace,
    port: u16,
    proxy: Proxy,
    worker: Option<Worker>,
}

enum Worker {
    Daemon(Daemon),
    Task(JoinSet<()>, Arc<AtomicBool>),
}

impl Round {
    async fn prepare(schedule: &Schedule, way: Way) -> Self {
        let log = if schedule.persistent { "yes" } else { "no" };
        // fsync on every write: with less, Redis may forget what it has confirmed, and no worker
        // can do anything about it.
        let redis = Redis::with(&[
            "--appendonly",
            log,
            "--appendfsync",
            "always",
            "--user",
            "worker",
            "on",
            ">secret",
            "~*",
            "&*",
            "+@all",
        ]);
        let mut round = Self {
            line: others::Line::to(&redis),
            redis,
            redis_runs: true,
            stations: vec![],
            ledger: Arc::default(),
            raids: 0,
            first_date: jiff::Timestamp::now().as_second(),
            moved_meanwhile: 0,
            events: String::new(),
        };
        let mut rng = Rng::with_seed(schedule.seed);
        let letters: Vec<Letter> = (0..schedule.backlog)
            .map(|id| Letter::draw(&mut rng, id))
            .collect();
        for part in letters.chunks(500) {
            dead_letter(&mut round.line, part, &round.ledger).await;
        }
        for pace in &schedule.workers {
            let proxy = Proxy::before(round.redis.port()).await;
            let mut station = Station {
                way,
                pace: *pace,
                port: if pace.proxied {
                    proxy.port()
                } else {
                    round.redis.port()
                },
                proxy,
                worker: None,
            };
            station.start();
            round.stations.push(station);
        }
        round
    }

    fn others(&self, schedule: &Schedule) -> Others {
        let mut tasks = JoinSet::new();
        let stop = Arc::new(AtomicBool::new(false));
        let numbers = Arc::new(AtomicUsize::new(schedule.backlog));
        let mut rng = Rng::with_seed(!schedule.seed);
        for _ in 0..schedule.producers {
            tasks.spawn(produce(
                others::Line::to(&self.redis),
                rng.fork(),
                numbers.clone(),
                self.ledger.clone(),
                stop.clone(),
            ));
        }
        let line = others::Line::to(&self.redis);
        tasks.spawn(consume(line, rng.fork(), schedule.bounces, stop.clone()));
        Others { tasks, stop }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Kill(worker) => self.stations[worker].worker = None,
            Action::Start(worker) => self.stations[worker].start(),
            Action::Freeze(worker) => self.stations[worker].signal("-STOP"),
            Action::Thaw(worker) => self.stations[worker].signal("-CONT"),
            Action::Line(worker, line) => self.stations[worker].disturb(line),
            Action::Operator(raid) => {
                self.raids += 1;
                self.ask(&others::raid(raid, self.raids)).await;
            }
            Action::KillRedis => {
                self.redis.kill();
                self.redis_runs = false;
            }
            Action::StopRedis => {
                self.command(&["SHUTDOWN"]).await;
                self.redis.kill();
                self.redis_runs = false;
            }
            Action::StartRedis => {
                if !self.redis_runs {
                    self.redis.up();
                    self.redis_runs = true;
                    self.line = others::Line::to(&self.redis);
                }
            }
            Action::FlushScripts => self.command(&["SCRIPT", "FLUSH"]).await,
            Action::NoMemory => self.command(&["CONFIG", "SET", "maxmemory", "1"]).await,
            Action::Memory => self.command(&["CONFIG", "SET", "maxmemory", "0"]).await,
            Action::Pause(millis, what) => {
                self.command(&["CLIENT", "PAUSE", &millis.to_string(), what])
                    .await;
            }
            Action::KillClients => self.command(&["CLIENT", "KILL", "TYPE", "normal"]).await,
            Action::Rights(right) => self.command(&["ACL", "SETUSER", "worker", right]).await,
        }
    }

    async fn command(&mut self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.ask(&command).await;
    }

    /// What goes wrong with a fault is part of the fault: Redis may be away or out of memory.
    async fn ask(&mut self, command: &redis::Cmd) {
        if self.redis_runs {
            let answer: RedisResult<redis::Value> = self.line.call(command).await;
            if let Err(error) = answer {
                let _ = writeln!(self.events, "          {error}");
            }
        }
    }

    /// Ends every fault.
    async fn calm_down(&mut self) {
        self.act(Action::StartRedis).await;
        for words in [
            &["CLIENT", "UNPAUSE"][..],
            &["CONFIG", "SET", "maxmemory", "0"],
            &["ACL", "SETUSER", "worker", "on", "+@all"],
        ] {
            let () = self.redis.command(words).await;
        }
        for station in &mut self.stations {
            station.signal("-CONT");
            for line in [Line::Accept, Line::Slow(0), Line::Late(0)] {
                station.disturb(line);
            }
            station.disturb(Line::CutAfterRequest(-1));
            station.disturb(Line::CutAfterReply(-1));
            station.start();
        }
        for list in [TARGET, CONSUMED, DEAD] {
            self.moved_meanwhile += self.redis.len(list).await;
        }
    }

    /// Lets the workers empty the source, and then finish what they are at.
    async fn drain_the_rest(&mut self) {
        until("the source is empty", || async {
            self.redis.len(SOURCE).await == 0
        })
        .await;
        for station in &mut self.stations {
            if let Some(worker) = station.worker.take() {
                worker.finish().await;
            }
        }
    }

    async fn count(self) -> Outcome {
        let mut found = Found {
            dates: Some(self.first_date..=jiff::Timestamp::now().as_second()),
            ..Found::default()
        };
        let lists = [
            (Place::Source, SOURCE),
            (Place::Target, TARGET),
            (Place::Dead, DEAD),
            (Place::Consumed, CONSUMED),
        ];
        for (place, list) in lists {
            found.lists.push((place, self.redis.list(list).await));
        }
        let taken: Vec<String> = self.redis.command(&["KEYS", &format!("{TAKEN}*")]).await;
        for list in taken {
            found
                .lists
                .push((Place::Taken, self.redis.list(&list).await));
        }
        let bounces: Option<u64> = self.redis.command(&["GET", BOUNCES]).await;
        found.bounces = bounces.unwrap_or(0);
        let ledger = self.ledger.lock().expect("not poisoned");
        let mut counts = String::new();
        for (place, list) in &found.lists {
            let _ = write!(counts, " {place:?} {}", list.len());
        }
        let _ = write!(
            counts,
            "; {} moved among faults, {} handed back",
            self.moved_meanwhile, found.bounces
        );
        Outcome {
            verdict: ledger.judge(&found),
            events: self.events,
            counts,
        }
    }
}

/// Producers and the consumer.
struct Others {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

impl Others {
    async fn end(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("it does not panic");
        }
    }
}

impl Station {
    /// Starts a worker, unless one is there.
    fn start(&mut self) {
        if self.worker.is_some() {
            return;
        }
        let Pace { batch, pause, .. } = self.pace;
        self.worker = Some(if self.way == Way::Daemon {
            let port = self.port.to_string();
            Worker::Daemon(Daemon::start_alone(&[
                ("REDIS_HOST", "127.0.0.1"),
                ("REDIS_PORT", &port),
                ("REDIS_USERNAME", "worker"),
                ("REDIS_PASSWORD", "secret"),
                ("REDIS_TIMEOUT", "1"),
                ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
                ("REMEDIATION_BATCH_SIZE", &batch.to_string()),
                ("REMEDIATION_BATCH_PAUSE_MS", &pause.as_millis().to_string()),
            ]))
        } else {
            let stop = Arc::new(AtomicBool::new(false));
            let mut tasks = JoinSet::new();
            tasks.spawn(wrong::drain(
                self.way,
                self.port,
                batch,
                pause,
                stop.clone(),
            ));
            Worker::Task(tasks, stop)
        });
    }

    fn signal(&self, name: &str) {
        if let Some(Worker::Daemon(daemon)) = &self.worker {
            daemon.signal(name);
        }
    }

    fn disturb(&self, line: Line) {
        match line {
            Line::CutAfterRequest(bytes) => self.proxy.cut_after_request_bytes(bytes),
            Line::CutAfterReply(bytes) => self.proxy.cut_after_reply_bytes(bytes),
            Line::BlackHole => self.proxy.black_hole_existing(),
            Line::Refuse => self.proxy.refuse(),
            Line::Accept => self.proxy.accept(),
            Line::Slow(rate) => self.proxy.limit_bytes_per_second(rate),
            Line::Late(millis) => self.proxy.hold_back(Duration::from_millis(millis)),
        }
    }
}

impl Worker {
    /// Ends it in order: no fault must fall into the count itself.
    async fn finish(self) {
        match self {
            Self::Daemon(mut daemon) => {
                assert!(daemon.is_running(), "no fault ends the daemon");
                daemon.signal("-TERM");
                let status = daemon.ended().await;
                assert!(status.success(), "{status}");
            }
            Self::Task(mut tasks, stop) => {
                stop.store(true, Ordering::SeqCst);
                while let Some(ended) = tasks.join_next().await {
                    ended.expect("it does not panic");
                }
            }
        }
    }
}
