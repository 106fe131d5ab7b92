//! One round: workers, producers, a consumer and an operator at one place, the schedule's faults,
//! then quiet, then the count.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use redis::RedisResult;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::{Found, Ledger, List, Verdict, numbers};
use super::letters::Letter;
use super::lines::Line;
use super::operators::{how_many, operate, told};
use super::others::{self, consume, dead_letter, produce};
use super::place::{Lists, Place, Servers};
use super::schedule::{Action, Schedule, Side};
use super::station::Station;
use super::wrong::Way;
use crate::support::until;

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
    within(HANG, schedule, way, servers).await
}

/// No round takes so long, however slow the machine.
const HANG: Duration = Duration::from_secs(300);

async fn within(limit: Duration, schedule: &Schedule, way: Way, servers: &mut Servers) -> Outcome {
    let doing = Mutex::new("being prepared".to_owned());
    let round = tokio::time::timeout(limit, play(schedule, way, servers, &doing));
    let ended = AssertUnwindSafe(round).catch_unwind().await;
    let doing = doing.into_inner().expect("not poisoned");
    match ended {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => panic!("{way:?} hangs while {doing}; {}", schedule.replay()),
        // Several rounds may be played at once, and the panic itself does not say which one it was.
        Err(panic) => {
            eprintln!("{way:?} fails while {doing}; {}", schedule.replay());
            resume_unwind(panic)
        }
    }
}

#[tokio::test]
async fn a_round_that_hangs_says_how_to_play_it_again() {
    let schedule = Schedule::of(7, Place::One, Duration::from_secs(2));
    let mut servers = Servers::start(Place::One, true).await;
    let limit = Duration::from_millis(300);
    let round = within(limit, &schedule, Way::Verified, &mut servers);
    let ended = AssertUnwindSafe(round).catch_unwind().await;
    let panic = ended.err().expect("its faults alone take longer");
    let said = panic.downcast::<String>().expect("a message");
    let command = "CHAOS_PLACE=one CHAOS_SEED=7 CHAOS_ROUNDS=10 make chaos";
    assert!(said.contains("hangs") && said.contains(command), "{said}");
}

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
    others.end().await;
    now("draining the rest".into());
    round.drain_the_rest().await;
    now("counting".into());
    round.count(schedule).await
}

struct Round<'a> {
    way: Way,
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

impl<'a> Round<'a> {
    async fn prepare(schedule: &Schedule, way: Way, servers: &'a mut Servers) -> Self {
        let access = servers.access();
        let mut round = Self {
            way,
            line: others::Line::new(access.clone()),
            lists: access.lists,
            servers,
            stations: vec![],
            ledger: Arc::new(Mutex::new(Ledger::new(schedule.is_lenient()))),
            raids: 0,
            first_date: jiff::Timestamp::now().as_second(),
            moved_meanwhile: 0,
            events: String::new(),
        };
        let mut rng = Rng::with_seed(schedule.seed);
        let [draw, _] = schedule.drawing();
        let letters: Vec<Letter> = (0..schedule.backlog).map(|id| draw(&mut rng, id)).collect();
        for part in letters.chunks(500) {
            dead_letter(&mut round.line, part, &round.ledger).await;
        }
        // From here on no failover undoes one of these.
        round.servers.replicated(round.lists.source).await;
        // Drawn apart, so that the schedules stay what they are.
        let mut ceilings = Rng::with_seed(schedule.seed.rotate_left(17));
        for pace in &schedule.workers {
            // Where the target is full, pushes are taken back in the middle of a transaction.
            let ceiling = ceilings.bool().then(|| ceilings.u32(10..300));
            let servers = &*round.servers;
            let station = Station::prepare(way, *pace, servers, schedule.waiting, ceiling);
            let mut station = station.await;
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
            let [_, draw] = schedule.drawing();
            let work = produce(
                line,
                rng.fork(),
                draw,
                numbers.clone(),
                self.ledger.clone(),
                stop.clone(),
            );
            tasks.spawn(work);
        }
        if self.way == Way::Daemon {
            // Drawn apart, so that the schedules stay what they are.
            let mut operators = Rng::with_seed(schedule.seed.rotate_left(29));
            for _ in 0..how_many(&mut operators) {
                let variables = self.servers.variables(|port| port);
                tasks.spawn(operate(variables, operators.fork(), stop.clone()));
            }
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
            Action::Kill(worker) => self.stations[worker].kill(),
            Action::Start(worker) => self.stations[worker].start(),
            Action::Freeze(worker) => self.stations[worker].signal("-STOP"),
            Action::Thaw(worker) => self.stations[worker].signal("-CONT"),
            Action::Line(worker, None, line) => self.stations[worker].disturb(None, line),
            Action::Line(worker, Some(side), line) => {
                if let Some(index) = self.holder(side, &["PING"]).await {
                    let port = self.servers.all()[index].port();
                    self.stations[worker].disturb(Some(port), line);
                }
            }
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
            for line in Line::END {
                station.disturb(None, line);
            }
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
            station.finish().await;
        }
        // Else no fault of a line has reached anybody.
        let mut used = self.stations.iter().map(Station::used);
        let reached = used.any(|used| used.is_none_or(|lines| lines > 0));
        assert!(reached, "no worker went through its proxies");
    }

    /// What the audit tells otherwise than it is. It lies where the lists lie, so that whatever
    /// undoes a move undoes its entry as well.
    async fn untold(&self, found: &Found) -> Vec<String> {
        let source = self.lists.source;
        let tag = source.split_inclusive('}').next();
        let tag = tag.filter(|tag| *tag != source);
        let tag = tag.map_or(String::new(), |tag| format!("{tag}:"));
        let key = format!("{tag}mutt:remediation:audit");
        let holder = self.servers.at(source).await;
        let entries: Vec<(String, Vec<String>)> = holder.command(&["XRANGE", &key, "-", "+"]).await;
        let there = |wanted: &[List]| {
            let lists = found.lists.iter().filter(|(list, _)| wanted.contains(list));
            lists.map(|(_, messages)| messages.len()).sum::<usize>()
        };
        let (replayed, dead) = told(&entries);
        let counts = [
            ("replayed", replayed, there(&[List::Target, List::Consumed])),
            ("parked", dead, there(&[List::Dead])),
        ];
        let wrong = counts.into_iter().filter(|(_, told, there)| told != there);
        wrong
            .map(|(what, told, there)| format!("{told} {what}, by the lists {there}"))
            .collect()
    }

    async fn count(self, schedule: &Schedule) -> Outcome {
        let Lists { taken, pushed, .. } = self.lists;
        let mut found = Found {
            pushed: numbers(&self.servers.list(pushed).await),
            dates: Some(self.first_date..=jiff::Timestamp::now().as_second()),
            apart: schedule.place == Place::Spread,
            raided: schedule.raided(),
            undone: schedule.may_undo(),
            ..Found::default()
        };
        let lists = [
            (List::Source, self.lists.source),
            (List::Target, self.lists.target),
            (List::Dead, self.lists.dead),
            (List::Consumed, self.lists.consumed),
        ];
        for (list, name) in lists {
            found.lists.push((list, self.servers.list(name).await));
        }
        let holder = self.servers.at(taken).await;
        let taken: Vec<String> = holder.command(&["KEYS", &format!("{taken}*")]).await;
        for list in taken {
            found
                .lists
                .push((List::Taken, self.servers.list(&list).await));
        }
        let mut verdict = self.ledger.lock().expect("not poisoned").judge(&found);
        if self.way == Way::Daemon && !found.apart {
            verdict.untold = self.untold(&found).await;
        }
        let mut counts = String::new();
        for (list, messages) in &found.lists {
            let _ = write!(counts, " {list:?} {}", messages.len());
        }
        let _ = write!(
            counts,
            "; {} moved among faults, {} consumed twice, {} once too often as allowed",
            self.moved_meanwhile, verdict.came_back, verdict.allowed
        );
        Outcome {
            verdict,
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
