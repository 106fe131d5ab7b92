//! What a crowd, a mountain of dead letters and messages that bounce cost the drain, side by side
//! with a drain that nothing disturbs, in the same run. Prints ratios; nothing fails because a
//! machine is slow, but a message that is lost or doubled and a request that is refused do.
//!
//! `make overload`, or `cargo bench --bench overload -- --rounds 5 --messages 200000 --million
//! 1000000 --bounces 100000 --scrapers 20 --idle 1000`.

#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "it measures real time, in a program of its own"
)]

mod clients;
mod process;
#[expect(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the other benchmarks use the rest; percentiles; it talks to people"
)]
mod support;

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::time::sleep;

use clients::{Crowd, Running};
use process::{cpu_seconds, descriptors, resident_kib};
use support::daemon::Daemon;
use support::redis::{DEAD, Redis, SOURCE, TARGET};
use support::wait::until;
use support::{Latency, argument, message, say};

const BATCH: &str = "500";
const SWITCH: &str = "remediation_enabled";
const REPLAYS: usize = 3;

#[tokio::main]
async fn main() {
    let rounds = argument("--rounds").unwrap_or(5);
    let messages = argument("--messages").unwrap_or(200_000);
    let million = argument("--million").unwrap_or(1_000_000);
    let bounces = argument("--bounces").unwrap_or(100_000);
    let scrapers = argument("--scrapers").unwrap_or(20);
    let idle = argument("--idle").unwrap_or(1_000);
    descriptors(2 * idle + 500);

    say(&format!(
        "messages of {} bytes in batches of {BATCH}, {rounds} rounds; the crowd is {scrapers} \
         scrapers, each every 100 ms, and {idle} idle connections on each listener\n",
        message(0).len()
    ));
    // Without a log on disk: its writer would disturb the figures and is no business of ours.
    let redis = Redis::start();
    let none = Crowd::default();
    let scraped = Crowd { scrapers, idle: 0 };
    let beset = Crowd { scrapers: 0, idle };
    let crowd = Crowd { scrapers, idle };
    let mut drains = [
        Row::new(format!("{messages} letters, undisturbed"), messages, none),
        Row::new(format!("  with {scrapers} scrapers"), messages, scraped),
        Row::new(format!("  with {idle} idle connections"), messages, beset),
        Row::new(format!("{million} letters"), million, none),
        Row::new(format!("{million} letters amid the crowd"), million, crowd),
    ];
    let mut bouncing = [
        Row::new(format!("{bounces} letters and new ones"), bounces, none),
        Row::new(format!("{bounces} letters that bounce"), bounces, none),
        Row::new("  amid the crowd".to_owned(), bounces, crowd),
    ];
    for round in 0..rounds {
        for row in &mut drains {
            // The large ones take their time, so that half as many must do.
            if row.letters == messages || round % 2 == 0 {
                row.runs.push(drain(&redis, row.letters, row.crowd).await);
            }
        }
        for (number, row) in bouncing.iter_mut().enumerate() {
            if round % 2 == 0 {
                let run = bounce(&redis, row.letters, number == 0, row.crowd).await;
                row.runs.push(run);
            }
        }
    }
    tell(&drains);
    tell(&bouncing);
    say("\nnothing was lost, doubled or refused");
}

/// What is measured, and how it went.
struct Row {
    name: String,
    letters: usize,
    crowd: Crowd,
    runs: Vec<Run>,
}

impl Row {
    fn new(name: String, letters: usize, crowd: Crowd) -> Self {
        Self {
            name,
            letters,
            crowd,
            runs: Vec::new(),
        }
    }

    /// The least of its runs that something says: the one that others disturbed least.
    fn least(&self, of: impl Fn(&Run) -> f64) -> f64 {
        self.runs.iter().map(of).fold(f64::INFINITY, f64::min)
    }

    fn most(&self, of: impl Fn(&Run) -> f64) -> f64 {
        self.runs.iter().map(of).fold(0.0, f64::max)
    }

    /// What a message costs against the base's run of the same round: the middle one, because a
    /// shared machine is slower in some rounds than in others.
    fn cost(&self, base: &Self) -> f64 {
        let every = base.runs.len().div_ceil(self.runs.len());
        let rounds = self.runs.iter().zip(base.runs.iter().step_by(every));
        let mut ratios: Vec<f64> = rounds.map(|(run, base)| run.cpu / base.cpu).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }
}

/// What one drain was like.
struct Run {
    /// Messages a second.
    rate: f64,
    /// The same for each tenth of the queue, the oldest first; none for what bounces.
    tenths: Vec<f64>,
    /// Milliseconds of the daemon's CPU for 1,000 messages, the crowd's share included.
    cpu: f64,
    memory: Memory,
    probes: Vec<Duration>,
    scrapes: Vec<Duration>,
    /// Idle connections that the daemon has closed.
    closed: usize,
}

/// A daemon at work, and what it had used before.
struct Watched {
    daemon: Daemon,
    crowd: Running,
    cpu: f64,
    memory: Memory,
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Default)]
struct Memory {
    /// Before the first message.
    start: u64,
    /// The most in the first tenth, or the first replay of what bounces.
    early: u64,
    /// The most of all.
    peak: u64,
}

impl Watched {
    /// A daemon that is up, with its crowd, and is switched on now.
    async fn start(redis: &Redis, interval: &str, crowd: Crowd) -> Self {
        let key = format!("mutt:config:{SWITCH}");
        let () = redis.command(&["SET", &key, "false"]).await;
        let daemon = Daemon::start(
            redis,
            &[
                ("DYNAMIC_CONFIG_ENABLED", "true"),
                ("REMEDIATION_INTERVAL", interval),
                ("REMEDIATION_BATCHES_PER_CYCLE", "0"),
                ("REMEDIATION_BATCH_SIZE", BATCH),
                // Where all that is left has failed too often, it would rather park nothing.
                ("POISON_GUARD_ENABLED", "false"),
            ],
        );
        daemon.until_logged("remediation is switched off").await;
        let (health, metrics) = (daemon.port("health").await, daemon.port("metrics").await);
        let crowd = clients::gather(crowd, health, metrics).await;
        let memory = Memory {
            start: resident_kib(daemon.id()),
            ..Memory::default()
        };
        crowd.seen.probes();
        crowd.seen.scrapes();
        let cpu = cpu_seconds(daemon.id());
        let () = redis.command(&["DEL", &key]).await;
        let publish = ["PUBLISH", "mutt:config:updates", SWITCH];
        let () = redis.command(&publish).await;
        Self {
            daemon,
            crowd,
            cpu,
            memory,
        }
    }

    fn note_memory(&mut self, early: bool) {
        let now = resident_kib(self.daemon.id());
        if early {
            self.memory.early = self.memory.early.max(now);
        }
        self.memory.peak = self.memory.peak.max(now);
    }

    /// What was seen while so many messages were moved.
    fn end(mut self, moves: usize, rate: f64, tenths: Vec<f64>) -> Run {
        self.note_memory(false);
        let cpu = cpu_seconds(self.daemon.id()) - self.cpu;
        let seen = &self.crowd.seen;
        let refused = seen.refused();
        assert!(refused.is_empty(), "requests were refused: {refused:?}");
        Run {
            rate,
            tenths,
            cpu: cpu * 1e6 / moves as f64,
            memory: self.memory,
            probes: seen.probes(),
            scrapes: seen.scrapes(),
            closed: seen.closed(),
        }
    }
}

async fn drain(redis: &Redis, letters: usize, crowd: Crowd) -> Run {
    let mut line = redis.connect().await;
    fill(redis, letters).await;
    let mut watched = Watched::start(redis, "300", crowd).await;
    let mut marks: Vec<(Instant, usize)> = Vec::new();
    let mut looks = 0;
    loop {
        let left = length(&mut line, SOURCE).await;
        // A mark at the first replay, and one at the end of each tenth.
        if left < letters && left <= letters - letters * marks.len() / 10 {
            marks.push((Instant::now(), left));
        }
        if left == 0 {
            break;
        }
        if looks % 25 == 0 {
            watched.note_memory(marks.len() < 2);
        }
        looks += 1;
        sleep(Duration::from_millis(2)).await;
    }
    let rate = between(marks[0], marks[marks.len() - 1]);
    let tenths = marks.windows(2).map(|two| between(two[0], two[1]));
    let run = watched.end(letters, rate, tenths.collect());
    each_once(&mut line, TARGET, letters).await;
    run
}

/// Hands back each replay as the alerter does when it fails, until all are parked. `as_new` hands
/// back a new message in place of each: the same work but for what bouncing adds to it.
async fn bounce(redis: &Redis, letters: usize, as_new: bool, crowd: Crowd) -> Run {
    let mut line = redis.connect().await;
    fill(redis, letters).await;
    let mut watched = Watched::start(redis, "1", crowd).await;
    let moves = letters * (REPLAYS + 1);
    let (mut replayed, mut parked) = (0, 0);
    let mut next = letters;
    while replayed + parked < moves {
        let taken: Option<Vec<Vec<u8>>> = cmd("RPOP")
            .arg(TARGET)
            .arg(500)
            .query_async(&mut line)
            .await
            .expect("it answers");
        let taken = taken.unwrap_or_default();
        replayed += taken.len();
        let mut back: Vec<Vec<u8>> = Vec::new();
        for replay in taken {
            // Both are made whichever is needed, so that they come back at the same pace: what
            // arrives between a peek and its commit makes that commit dearer.
            let pair = (failed(&replay), message(next).into_bytes());
            if !as_new {
                back.push(pair.0);
            } else if next < moves {
                back.push(pair.1);
                next += 1;
            }
        }
        if back.is_empty() {
            sleep(Duration::from_millis(2)).await;
        } else {
            let () = cmd("LPUSH")
                .arg(SOURCE)
                .arg(back)
                .query_async(&mut line)
                .await
                .expect("it answers");
        }
        parked = length(&mut line, DEAD).await;
        watched.note_memory(replayed < letters);
    }
    let daemon = &watched.daemon;
    let count = moves as f64;
    until("all of it is counted", || async {
        let sum = daemon.metric("mutt_remediation_replay_success_total").await;
        let dead = daemon
            .metric("mutt_remediation_poison_messages_total")
            .await;
        sum.zip(dead).map(|(sum, dead)| sum + dead) == Some(count)
    })
    .await;
    until("the pass has ended", || async {
        let begun = daemon.metric("mutt_remediation_loops_total").await;
        let ended = daemon
            .metric("mutt_remediation_loop_duration_seconds_count")
            .await;
        begun == ended
    })
    .await;
    let busy = daemon
        .metric("mutt_remediation_loop_duration_seconds_sum")
        .await;
    let rate = count / busy.expect("it is exposed");
    let run = watched.end(moves, rate, Vec::new());
    assert_eq!(length(&mut line, SOURCE).await, 0, "nothing is left");
    assert_eq!(length(&mut line, TARGET).await, 0, "nothing is left");
    if as_new {
        assert_eq!((replayed, parked), (moves, 0));
    } else {
        assert_eq!((replayed, parked), (letters * REPLAYS, letters));
        each_once(&mut line, DEAD, letters).await;
    }
    run
}

/// The replay as the alerter dead-letters it when it has failed on it.
fn failed(replay: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(replay).expect("it is text");
    let (before, after) = text
        .split_once(r#""_retry_count": 0"#)
        .expect("it was reset");
    format!(r#"{before}"_retry_count": 4{after}"#).into_bytes()
}

async fn fill(redis: &Redis, letters: usize) {
    let () = redis.command(&["FLUSHALL"]).await;
    for first in (0..letters).step_by(10_000) {
        let bodies: Vec<String> = (first..letters.min(first + 10_000)).map(message).collect();
        redis.dead_letter(&bodies).await;
    }
}

async fn length(line: &mut MultiplexedConnection, list: &str) -> usize {
    let length = cmd("LLEN").arg(list).query_async(line).await;
    length.expect("it answers")
}

/// Holds that a list has each of so many messages, and none twice.
async fn each_once(line: &mut MultiplexedConnection, list: &str, letters: usize) {
    let mut found = vec![false; letters];
    for first in (0..letters).step_by(10_000) {
        let part: Vec<Vec<u8>> = cmd("LRANGE")
            .arg(list)
            .arg(first)
            .arg(first + 9_999)
            .query_async(line)
            .await
            .expect("it answers");
        for message in part {
            let text = str::from_utf8(&message).expect("it is text");
            let number = text
                .split_once("\"sw-")
                .and_then(|(_, rest)| rest.split('.').next());
            let number: usize = number
                .and_then(|number| number.parse().ok())
                .expect("a number");
            assert!(!found[number], "message {number} is doubled");
            found[number] = true;
        }
    }
    assert_eq!(length(line, list).await, letters);
    assert!(found.iter().all(|found| *found), "a message is lost");
}

fn between(from: (Instant, usize), to: (Instant, usize)) -> f64 {
    (from.1 - to.1) as f64 / (to.0 - from.0).as_secs_f64()
}

/// A table; the first row is what the others are compared with.
fn tell(rows: &[Row]) {
    let base = &rows[0];
    let rate = base.most(|run| run.rate);
    say(&format!(
        "{:<34} {:>10} {:>6}  {:>11} {:>6}  CPU within a tenth",
        "best of its rounds", "messages/s", "ratio", "CPU ms/1000", "median"
    ));
    for row in rows {
        let (quick, used) = (row.most(|run| run.rate), row.least(|run| run.cpu));
        // The rate also tells how much of the machine was left to the daemon.
        let cost = row.cost(base);
        let near = if cost <= 1.1 { "yes" } else { "no" };
        say(&format!(
            "{:<34} {quick:>10.0} {:>6.2}  {used:>11.3} {cost:>6.2}  {near}",
            row.name,
            quick / rate,
        ));
    }
    for row in rows {
        say(&format!("{}:", row.name.trim()));
        if row.runs.iter().all(|run| run.tenths.len() == 10) {
            let tenth = |number: usize| row.most(|run| run.tenths[number]);
            let all = [tenth(0), tenth(4), tenth(9)];
            let ratio = all.map(|tenth| format!("{tenth:.0} ({:.2})", tenth / rate));
            say(&format!(
                "  first, middle and last tenth: {} messages/s",
                ratio.join(", ")
            ));
        }
        let growth = |run: &&Run| run.memory.peak - run.memory.early;
        let memory = row.runs.iter().max_by_key(growth).expect("a run").memory;
        say(&format!(
            "  resident memory: {:.1} MiB at the start, {:.1} early, {:.1} at its peak",
            memory.start as f64 / 1024.0,
            memory.early as f64 / 1024.0,
            memory.peak as f64 / 1024.0,
        ));
        let all = |times: fn(&Run) -> &Vec<Duration>| {
            let times = row.runs.iter().flat_map(times).copied();
            Latency::of(times.collect())
        };
        say(&format!("  /health: {}", all(|run| &run.probes)));
        if row.crowd.scrapers > 0 {
            say(&format!("  /metrics: {}", all(|run| &run.scrapes)));
        }
        if row.crowd.idle > 0 {
            let closed: usize = row.runs.iter().map(|run| run.closed).sum();
            let rounds = row.runs.len();
            say(&format!(
                "  idle connections closed: {} a round",
                closed / rounds
            ));
        }
    }
    say("");
}
