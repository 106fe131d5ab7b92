//! What goes wrong when: a pure function of the seed.

use std::time::Duration;

use fastrand::Rng;

/// One round.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub workers: Vec<Pace>,
    /// Redis writes its log at every command, and may be killed.
    pub persistent: bool,
    pub producers: usize,
    /// Letters that lie in the source at the beginning.
    pub backlog: usize,
    /// Of a hundred messages the consumer hands back so many.
    pub bounces: u32,
    /// Sorted by time, counted from the beginning.
    pub actions: Vec<(Duration, Action)>,
}

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Behind a proxy, where its line can be disturbed.
    pub proxied: bool,
    pub batch: usize,
    pub pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Signal 9.
    Kill(usize),
    Start(usize),
    /// SIGSTOP and SIGCONT.
    Freeze(usize),
    Thaw(usize),
    Line(usize, Line),
    Operator(Raid),
    KillRedis,
    /// An orderly end.
    StopRedis,
    StartRedis,
    FlushScripts,
    /// From now on Redis takes no writes that need memory.
    NoMemory,
    Memory,
    /// For so many milliseconds, writes only or everything.
    Pause(u64, &'static str),
    KillClients,
    /// Takes a right from the daemons' user, or gives it back.
    Rights(&'static str),
}

/// What becomes of a worker's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    CutAfterRequest(i64),
    CutAfterReply(i64),
    BlackHole,
    Refuse,
    Accept,
    /// Bytes a second; 0 ends it.
    Slow(usize),
    /// Milliseconds that everything is held back for; 0 ends it. What a worker has sent arrives
    /// even if the worker is gone by then.
    Late(u64),
}

/// What an operator does to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raid {
    Pop(usize),
    /// The one behind so many older ones.
    Remove(usize),
    /// So many of the old end, or of the young one.
    TrimOld(usize),
    TrimYoung(usize),
    Delete,
    Rename,
}

/// Rights that may go at any moment without a message being doubled. EVAL, LTRIM and the keys are
/// not among them: `points.rs` shows what happens where they go between a commit and its EXEC.
const RIGHTS: [[&str; 2]; 8] = [
    ["-watch", "+watch"],
    ["-multi", "+multi"],
    ["-exec", "+exec"],
    ["-evalsha", "+evalsha"],
    ["-lpush", "+lpush"],
    ["-lrange", "+lrange"],
    ["-discard", "+discard"],
    ["off", "on"],
];

impl Schedule {
    /// The round of this seed, with faults for so long.
    pub fn of(seed: u64, length: Duration) -> Self {
        let mut rng = Rng::with_seed(seed);
        let workers: Vec<Pace> = (0..rng.usize(1..=3)).map(|_| pace(&mut rng)).collect();
        let persistent = rng.u32(0..100) < 60;
        let mut schedule = Self {
            seed,
            persistent,
            producers: rng.usize(1..=2),
            backlog: rng.usize(1_500..4_000),
            bounces: *rng.choice(&[0, 5, 30]).expect("some"),
            actions: vec![],
            workers,
        };
        let length = u64::try_from(length.as_millis()).expect("short");
        let mut at = 150;
        while at < length {
            schedule.draw(&mut rng, at);
            at += rng.u64(5..200);
        }
        schedule.actions.sort_by_key(|(at, _)| *at);
        schedule
    }

    /// Adds a fault, and its end if it has one.
    fn draw(&mut self, rng: &mut Rng, at: u64) {
        let worker = rng.usize(0..self.workers.len());
        let mut add = |after: u64, action| {
            self.actions
                .push((Duration::from_millis(at + after), action));
        };
        match rng.u32(0..100) {
            // A worker that starts works at once; one that has met a fault waits for up to a
            // second. So there are many kills.
            0..26 => {
                add(0, Action::Kill(worker));
                add(rng.u64(0..60), Action::Start(worker));
            }
            26..29 => {
                add(0, Action::Freeze(worker));
                add(5 << rng.u32(0..9), Action::Thaw(worker));
            }
            29..58 if self.workers[worker].proxied => {
                let mut line = |after, line| add(after, Action::Line(worker, line));
                // Mostly within a batch, and now and then within a giant.
                let bytes = 1 << rng.u32(1..20);
                let bytes = rng.i64(0..bytes);
                match rng.u32(0..10) {
                    0..3 => line(0, Line::CutAfterRequest(bytes)),
                    3..6 => line(0, Line::CutAfterReply(bytes)),
                    6 => line(0, Line::BlackHole),
                    7 => {
                        line(0, Line::Refuse);
                        line(rng.u64(10..300), Line::Accept);
                    }
                    8 => {
                        line(0, Line::Slow(rng.usize(5_000..500_000)));
                        line(rng.u64(50..600), Line::Slow(0));
                    }
                    _ => {
                        line(0, Line::Late(1 << rng.u32(0..11)));
                        line(rng.u64(50..600), Line::Late(0));
                    }
                }
            }
            29..72 => add(0, Action::Operator(raid(rng))),
            72..77 if self.persistent => {
                let end = [Action::KillRedis, Action::KillRedis, Action::StopRedis];
                add(0, *rng.choice(&end).expect("some"));
                add(rng.u64(1..150), Action::StartRedis);
            }
            72..80 => add(0, Action::FlushScripts),
            80..84 => {
                add(0, Action::NoMemory);
                add(rng.u64(20..300), Action::Memory);
            }
            84..88 => {
                let what = *rng.choice(&["ALL", "WRITE"]).expect("some");
                add(0, Action::Pause(5 << rng.u32(0..9), what));
            }
            88..93 => add(0, Action::KillClients),
            _ => {
                let [take, give] = *rng.choice(&RIGHTS).expect("some");
                add(0, Action::Rights(take));
                add(rng.u64(20..700), Action::Rights(give));
            }
        }
    }
}

/// Mostly within a batch, seldom between two: some thousand messages a second.
fn pace(rng: &mut Rng) -> Pace {
    let (batch, pause) = *rng
        .choice(&[(2, 0), (5, 0), (10, 2), (40, 15), (200, 80)])
        .expect("some");
    Pace {
        proxied: rng.u32(0..4) > 0,
        batch,
        pause: Duration::from_millis(pause),
    }
}

fn raid(rng: &mut Rng) -> Raid {
    match rng.u32(0..60) {
        0..15 => Raid::Pop(rng.usize(1..20)),
        // Mostly where a batch is, whose ends are looked at twice, but not its middle.
        15..30 => Raid::Remove(rng.usize(0..30)),
        30..35 => Raid::Remove(rng.usize(0..3_000)),
        35..50 => Raid::TrimOld(rng.usize(1..60)),
        50..58 => Raid::TrimYoung(rng.usize(1..60)),
        58 => Raid::Delete,
        _ => Raid::Rename,
    }
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    let of = |seed| format!("{:?}", Schedule::of(seed, Duration::from_secs(3)));
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}
