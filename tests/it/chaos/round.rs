//! One round: workers, producers, a consumer and an operator at one place, the schedule's faults,
//! then quiet, then the count.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use redis::RedisResult;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::{Found, Ledger, List, Verdict};
use super::letters::Letter;
use super::others::{self, consume, dead_letter, produce};
use super::place::{Access, Directory, Lists, Place, Servers};
use super::schedule::{Action, Line, Pace, Schedule, Side};
use super::wrong::{self, Way};
use crate::support::{Daemon, Proxy, until};

/// What came out of a round.
pub struct Outcome {
    pub verdict: Verdict,
    /// How many were found where.
    pub counts: String,
    /// What was done when, for people.
    pub events: String,
}

/// Runs a round with workers of this kind, on servers that have just been started or cleared.
///
/// # Panics
/// When it hangs, with what is needed to play it again.
pub async fn run(schedule: &Schedule, way: Way, servers: &mut Servers) -> Outcome {
    let doing = Mutex::new("being prepared".to_owned());
    match tokio::time::timeout(HANG, play(schedule, way, servers, &doing)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let Schedule { seed, place, .. } = schedule;
            let doing = doing.into_inner().expect("not poisoned");
            panic!(
                "a round with {way:?} hangs while {doing}; to replay: CHAOS_PLACE={place} CHAOS_SEED={seed} CHAOS_ROUNDS=10 make chaos"
            )
        }
    }
}

/// No round takes so long, however slow the machine.
const HANG: Duration = Duration::from_secs(300);

async fn play(
    schedule: &Schedule,
    way: Way,
    servers: &mut Servers,
    doing: &Mutex<String>,
) -> Outcome {
    let now = |what: String| *doing.lock().expect("not poisoned") = what;
    let mut round = Round::prepare(schedule, way, servers).await;
    let others = round.others(schedule);
    let mut began = Instant::now();
    for (at, action) in &schedule.actions {
        tokio::time::sleep_until(began + *at).await;
        let _ = writeln!(
            round.events,
            "{:>6} ms {action:?}",
            began.elapsed().as_millis()
        );
        now(format!("{action:?}"));
        round.act(*action).await;
        // What holds the operator up, such as a pause, must not bring the rest closer together.
        began = began.max(Instant::now() - *at);
    }
    now("calming down".into());
    round.calm_down().await;
    now("the others end".into());
    let seen = others.end().await;
    now("draining the rest".into());
    round.drain_the_rest().await;
    now("counting".into());
    round.count(seen, schedule).await
}

const CEILING: &str = "REPLAY_TARGET_MAX_DEPTH";

struct Round<'a> {
    servers: &'a mut Servers,
    lists: Lists,
    /// The operator's.
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
    /// What leads a daemon to the servers, and how it is to work.
    variables: Vec<(&'static str, String)>,
    access: Access,
    proxy: Proxy,
    worker: Option<Worker>,
}

enum Worker {
    Daemon(Daemon),
    Task(JoinSet<()>, Arc<AtomicBool>),
}

impl<'a> Round<'a> {
    async fn prepare(schedule: &Schedule, way: Way, servers: &'a mut Servers) -> Self {
        let access = servers.access();
        let mut round = Self {
            line: others::Line::new(access.clone()),
            lists: access.lists,
            servers,
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
        // Drawn apart, so that the schedules stay what they are.
        let mut ceilings = Rng::with_seed(schedule.seed.rotate_left(17));
        for pace in &schedule.workers {
            let direct = round.servers.all()[0].port();
            let proxy = Proxy::before(direct).await;
            let port = if pace.proxied { proxy.port() } else { direct };
            let mut access = access.clone();
            if let Directory::One(one) = &mut access.directory {
                *one = port;
            }
            let mut variables = round.servers.variables(port);
            variables.extend([
                ("REDIS_TIMEOUT", "1".to_owned()),
                ("REMEDIATION_BATCHES_PER_CYCLE", "0".to_owned()),
                ("REMEDIATION_BATCH_SIZE", pace.batch.to_string()),
                (
                    "REMEDIATION_BATCH_PAUSE_MS",
                    pace.pause.as_millis().to_string(),
                ),
            ]);
            // Where the target is full, pushes are taken back in the middle of a transaction.
            if ceilings.bool() {
                variables.push((CEILING, ceilings.u32(10..300).to_string()));
            }
            if schedule.waiting {
                variables.push(("REDIS_WAIT_REPLICAS", "1".to_owned()));
                variables.push(("REDIS_WAIT_TIMEOUT_MS", "300".to_owned()));
            }
            let mut station = Station {
                way,
                pace: *pace,
                variables,
                access,
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
            let line = others::Line::new(self.servers.access());
            let work = produce(
                line,
                rng.fork(),
                numbers.clone(),
                self.ledger.clone(),
                stop.clone(),
            );
            tasks.spawn(async {
                work.await;
                0
            });
        }
        let line = others::Line::new(self.servers.access());
        let ledger = self.ledger.clone();
        tasks.spawn(consume(
            line,
            rng.fork(),
            schedule.bounces,
            ledger,
            stop.clone(),
        ));
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
                let raid = others::raid(self.lists, raid, self.raids);
                let answer: RedisResult<redis::Value> = self.line.call(&raid).await;
                self.note(answer);
            }
            Action::Mend => self.servers.mend().await,
            Action::KillRedis(side) => {
                if let Some(index) = self.holder(side, &["PING"]).await {
                    self.servers.all_mut()[index].kill();
                }
            }
            Action::StopRedis(side) => {
                if let Some(index) = self.holder(side, &["PING"]).await {
                    let servers = self.servers.all_mut();
                    let line = &mut others::Line::to(&servers[index]);
                    // It ends without an answer.
                    let _: RedisResult<redis::Value> = line.call(&command(&["SHUTDOWN"])).await;
                    servers[index].kill();
                }
            }
            Action::StartRedis => {
                for redis in self.servers.all_mut() {
                    if !redis.is_up() {
                        redis.up();
                    }
                }
            }
            Action::FreezeRedis(side) => {
                if let Some(index) = self.holder(side, &["PING"]).await {
                    self.servers.all()[index].signal("-STOP");
                }
            }
            Action::ThawRedis => {
                for redis in self.servers.all() {
                    if redis.is_up() {
                        redis.signal("-CONT");
                    }
                }
            }
            Action::CutReplicasOff(side) => {
                if let Some(index) = self.holder(side, &["PING"]).await {
                    let port = self.servers.all()[index].port();
                    self.servers.cut_replicas_off(port).await;
                }
            }
            Action::FailOver(side) => self.servers.fail_over(self.lists.of(side)).await,
            Action::MoveSlot(side, begin, end) => {
                let list = self.lists.of(side);
                self.servers.move_slot(list, begin, end).await;
            }
            Action::FlushScripts => self.everywhere(&["SCRIPT", "FLUSH"]).await,
            Action::NoMemory(side) => {
                self.holder(side, &["CONFIG", "SET", "maxmemory", "1"])
                    .await;
            }
            Action::Memory => self.everywhere(&["CONFIG", "SET", "maxmemory", "0"]).await,
            Action::Pause(side, millis, what) => {
                self.holder(side, &["CLIENT", "PAUSE", &millis.to_string(), what])
                    .await;
            }
            Action::KillClients(side) => {
                self.holder(side, &["CLIENT", "KILL", "TYPE", "normal"])
                    .await;
            }
            Action::Rights(right) => self.everywhere(&["ACL", "SETUSER", "worker", right]).await,
        }
    }

    /// Sends a command to the server that has this list, and returns which one it is, unless it is
    /// away.
    async fn holder(&mut self, side: Side, words: &[&str]) -> Option<usize> {
        let list = self.lists.of(side);
        let told = self.line.tell(list, &command(words)).await;
        let port = self.note(told)?;
        let mut servers = self.servers.all().iter();
        servers.position(|server| server.port() == port)
    }

    /// Sends a command to each server; one that is frozen or away misses it.
    async fn everywhere(&mut self, words: &[&str]) {
        for index in 0..self.servers.all().len() {
            let mut access = self.servers.access();
            access.directory = access.directory.only(self.servers.all()[index].port());
            let line = &mut others::Line::new(access);
            let answer: RedisResult<redis::Value> = line.call(&command(words)).await;
            self.note(answer);
        }
    }

    /// What goes wrong with a fault is part of the fault: Redis may be away or out of memory.
    fn note<T>(&mut self, answer: RedisResult<T>) -> Option<T> {
        if let Err(error) = &answer {
            let _ = writeln!(self.events, "          {error}");
        }
        answer.ok()
    }

    /// Ends every fault.
    async fn calm_down(&mut self) {
        self.servers.mend().await;
        for station in &mut self.stations {
            station.signal("-CONT");
            for line in [Line::Accept, Line::Slow(0), Line::Late(0)] {
                station.disturb(line);
            }
            station.disturb(Line::CutAfterRequest(-1));
            station.disturb(Line::CutAfterReply(-1));
            station.lift_ceiling().await;
            station.start();
        }
        for list in [self.lists.target, self.lists.consumed, self.lists.dead] {
            self.moved_meanwhile += self.servers.len(list).await;
        }
    }

    /// Lets the workers empty the source, and then finish what they are at.
    async fn drain_the_rest(&mut self) {
        let source = self.lists.source;
        until("the source is empty", || async {
            self.servers.len(source).await == 0
        })
        .await;
        for station in &mut self.stations {
            if let Some(worker) = station.worker.take() {
                worker.finish().await;
            }
        }
    }

    async fn count(self, seen: usize, schedule: &Schedule) -> Outcome {
        let mut found = Found {
            dates: Some(self.first_date..=jiff::Timestamp::now().as_second()),
            taken_twice: schedule.place == Place::Spread && schedule.raided(),
            ..Found::default()
        };
        let lists = [
            (List::Source, self.lists.source),
            (List::Target, self.lists.target),
            (List::Dead, self.lists.dead),
            (List::Consumed, self.lists.consumed),
        ];
        let mut came_back = seen;
        for (list, name) in lists {
            let messages = self.servers.list(name).await;
            if list == List::Consumed {
                came_back = seen.saturating_sub(messages.len());
            }
            found.lists.push((list, messages));
        }
        let taken = self.lists.taken;
        let holder = self.servers.at(taken).await;
        let taken: Vec<String> = holder.command(&["KEYS", &format!("{taken}*")]).await;
        for list in taken {
            found
                .lists
                .push((List::Taken, self.servers.list(&list).await));
        }
        let ledger = self.ledger.lock().expect("not poisoned");
        let mut counts = String::new();
        for (list, messages) in &found.lists {
            let _ = write!(counts, " {list:?} {}", messages.len());
        }
        let _ = write!(
            counts,
            "; {} moved among faults, {came_back} consumed twice",
            self.moved_meanwhile
        );
        Outcome {
            verdict: ledger.judge(&found),
            events: self.events,
            counts,
        }
    }
}

fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

/// Producers and the consumer, who returns how many messages it has seen.
struct Others {
    tasks: JoinSet<usize>,
    stop: Arc<AtomicBool>,
}

impl Others {
    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut seen = 0;
        while let Some(ended) = self.tasks.join_next().await {
            seen += ended.expect("it does not panic");
        }
        seen
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

    /// From now on nobody takes work from the target, so that it must be allowed to fill.
    async fn lift_ceiling(&mut self) {
        let limited = self.variables.iter().any(|(name, _)| *name == CEILING);
        if limited && let Some(worker) = self.worker.take() {
            worker.finish().await;
        }
        self.variables.retain(|(name, _)| *name != CEILING);
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
