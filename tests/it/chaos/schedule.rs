//! What goes wrong when: a pure function of the seed.

use std::time::Duration;

use fastrand::Rng;

use super::letters::Letter;
use super::lines::Line;
use super::place::Place;
use crate::support::First;

/// One round.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub place: Place,
    pub workers: Vec<Pace>,
    /// The workers are told to wait for a replica.
    pub waiting: bool,
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

/// Draws the letter of a number.
pub type Drawing = fn(&mut Rng, usize) -> Letter;

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
    /// A worker's line to the server of a list, or all of its lines.
    Line(usize, Option<Side>, Line),
    Operator(Raid),
    /// Waits until all servers are there and in agreement, as a careful operator does before the
    /// next change: a cluster with one replica each is not made for two faults at once.
    Mend,
    KillRedis(Side),
    /// An orderly end.
    StopRedis(Side),
    /// Starts those that are down.
    StartRedis,
    /// The server of a list stands still, and goes on.
    FreezeRedis(Side),
    ThawRedis,
    /// What the server of a list writes from now on, no replica gets.
    CutReplicasOff(Side),
    /// Orderly, by `CLUSTER FAILOVER` or `SENTINEL FAILOVER`.
    FailOver(Side),
    /// The slot of a list moves to another node. Which node is told first that it moves, and which
    /// that it has moved.
    MoveSlot(Side, First, First),
    FlushScripts,
    /// From now on the server of a list takes no writes that need memory.
    NoMemory(Side),
    Memory,
    /// For so many milliseconds, writes only or everything.
    Pause(Side, u64, &'static str),
    KillClients(Side),
    /// Takes a right from the daemons' user, or gives it back.
    Rights(&'static str),
}

/// The list that a server is chosen by. On one server it makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
    Dead,
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

/// Further ones, of a move in two steps: its trim runs as a whole or not at all.
const RIGHTS_APART: [[&str; 2]; 6] = [
    ["-wait", "+wait"],
    ["-role", "+role"],
    ["-hget", "+hget"],
    ["-hset", "+hset"],
    ["-ltrim", "+ltrim"],
    ["-set", "+set"],
];

impl Schedule {
    /// The round of this seed at this place, with faults for so long.
    pub fn of(seed: u64, place: Place, length: Duration) -> Self {
        let mut rng = Rng::with_seed(seed);
        let workers: Vec<Pace> = (0..rng.usize(1..=3)).map(|_| pace(&mut rng)).collect();
        let persistent = rng.u32(0..100) < 60;
        let mut schedule = Self {
            seed,
            place,
            persistent,
            producers: rng.usize(1..=2),
            backlog: rng.usize(1_500..4_000),
            bounces: *rng.choice(&[0, 5, 30]).expect("some"),
            actions: vec![],
            workers,
            waiting: false,
        };
        let length = u64::try_from(length.as_millis()).expect("short");
        if place == Place::One {
            schedule.disturb_one(&mut rng, length);
        } else {
            schedule.disturb_several(&mut rng, length);
        }
        schedule.actions.sort_by_key(|(at, _)| *at);
        schedule
    }

    /// Whether an operator takes messages from the source.
    pub fn raided(&self) -> bool {
        let mut actions = self.actions.iter();
        actions.any(|(_, action)| matches!(action, Action::Operator(_)))
    }

    /// Whether a server may be replaced by another one that lacks what it has done last.
    pub fn may_undo(&self) -> bool {
        let mut actions = self.actions.iter();
        actions.any(|(_, action)| match action {
            Action::KillRedis(_) | Action::StopRedis(_) | Action::FreezeRedis(_) => {
                self.place != Place::One
            }
            // In a cluster the replica waits until it has everything.
            Action::FailOver(_) => self.place == Place::Sentinel,
            _ => false,
        })
    }

    /// How the letters are drawn that lie in the source at first, and those of the producers.
    ///
    /// In a move of two steps a message may be there once too often, where the source has forgotten
    /// its push, or an operator has taken it. No other one with the same bytes may be lost
    /// meanwhile, so such a round has twins at most among those whose pushes nobody forgets.
    pub fn drawing(&self) -> [Drawing; 2] {
        match (self.is_lenient(), self.raided()) {
            (false, _) => [Letter::draw, Letter::draw],
            (true, false) => [Letter::draw, Letter::draw_alone],
            (true, true) => [Letter::draw_alone, Letter::draw_alone],
        }
    }

    /// Whether the count allows for messages that are there once too often.
    pub fn is_lenient(&self) -> bool {
        self.place == Place::Spread && (self.raided() || self.may_undo())
    }

    /// The command that plays it again.
    pub fn replay(&self) -> String {
        let Self { seed, place, .. } = self;
        format!("to replay: CHAOS_PLACE={place} CHAOS_SEED={seed} CHAOS_ROUNDS=10 make chaos")
    }

    fn disturb_one(&mut self, rng: &mut Rng, length: u64) {
        let mut at = 150;
        while at < length {
            self.draw(rng, at);
            at += rng.u64(5..200);
        }
    }

    /// Faults of several servers, one at a time, and between them those of the workers and lines.
    fn disturb_several(&mut self, rng: &mut Rng, length: u64) {
        self.waiting = rng.bool();
        // A batch takes longer here.
        self.backlog /= 4;
        // Half the rounds of a move in two steps are without, so that nothing has to be allowed
        // for what was taken between push and trim.
        let raids = self.place != Place::Spread || rng.bool();
        // Each takes a failover, or may take one, of some seconds.
        let mut heavy = rng.u32(1..=2);
        let (mut at, mut servers_free) = (150, 300);
        while at < length {
            let blow = rng.u32(0..100);
            if at >= servers_free && blow < 35 {
                servers_free = at + 200 + self.draw_server(rng, at, &mut heavy);
                // One that was there waits for up to a second after a fault, a new one does not.
                let worker = rng.usize(0..self.workers.len());
                self.add(at + rng.u64(0..30), Action::Kill(worker));
                self.add(at + rng.u64(30..60), Action::Start(worker));
            } else {
                self.draw_other(rng, at, raids);
            }
            at += rng.u64(5..200);
        }
    }

    fn add(&mut self, at: u64, action: Action) {
        self.actions.push((Duration::from_millis(at), action));
    }

    /// Adds a fault of a server, and returns after how many milliseconds it ends.
    fn draw_server(&mut self, rng: &mut Rng, at: u64, heavy: &mut u32) -> u64 {
        let side = side(rng);
        self.add(at, Action::Mend);
        let light = if *heavy == 0 { 55 } else { 0 };
        match rng.u32(light..100) {
            0..38 => {
                *heavy -= 1;
                // Without a replica at hand only who waits for one is safe.
                let cut_off = self.waiting && rng.bool();
                let killed = if cut_off { rng.u64(20..300) } else { 0 };
                if cut_off {
                    self.add(at, Action::CutReplicasOff(side));
                }
                let end = [
                    Action::KillRedis(side),
                    Action::KillRedis(side),
                    Action::StopRedis(side),
                ];
                self.add(at + killed, *rng.choice(&end).expect("some"));
                // Back before it is missed, or after another one has taken over.
                let back = if rng.bool() {
                    rng.u64(1..150)
                } else {
                    rng.u64(1_500..2_500)
                };
                self.add(at + killed + back, Action::StartRedis);
                killed + back
            }
            38..55 => {
                *heavy -= 1;
                // One that is replaced while it stands still does for a moment as if it were not.
                let longest = if self.waiting { 10 } else { 6 };
                let still = 5 << rng.u32(0..longest);
                self.add(at, Action::FreezeRedis(side));
                self.add(at + still, Action::ThawRedis);
                still
            }
            55..75 if self.place == Place::Sentinel && *heavy == 0 => 0,
            55..75 => {
                if self.place == Place::Sentinel {
                    *heavy -= 1;
                }
                self.add(at, Action::FailOver(side));
                0
            }
            _ if self.place == Place::Sentinel => 0,
            _ => {
                let both = [First::Giver, First::Taker];
                let [begin, end] = [0, 1].map(|_| *rng.choice(&both).expect("some"));
                self.add(at, Action::MoveSlot(side, begin, end));
                0
            }
        }
    }

    /// Adds a fault of a worker, of an operator or of the lines.
    fn draw_other(&mut self, rng: &mut Rng, at: u64, raids: bool) {
        let worker = rng.usize(0..self.workers.len());
        let side = side(rng);
        match rng.u32(0..150) {
            100.. if self.workers[worker].proxied => {
                // What ends a fault ends it everywhere.
                let mut to = rng.bool().then_some(side);
                for (after, line) in Line::draw(rng) {
                    self.add(at + after, Action::Line(worker, to.take(), line));
                }
            }
            30..36 => {
                self.add(at, Action::Freeze(worker));
                let still = 5 << rng.u32(0..9);
                self.add(at + still, Action::Thaw(worker));
            }
            36..66 if raids => self.add(at, Action::Operator(raid(rng))),
            0..66 | 100.. => {
                self.add(at, Action::Kill(worker));
                self.add(at + rng.u64(0..60), Action::Start(worker));
            }
            66..71 => self.add(at, Action::FlushScripts),
            71..79 => {
                self.add(at, Action::NoMemory(side));
                self.add(at + rng.u64(20..300), Action::Memory);
            }
            79..86 => {
                let what = *rng.choice(&["ALL", "WRITE"]).expect("some");
                self.add(at, Action::Pause(side, 5 << rng.u32(0..8), what));
            }
            86..93 => self.add(at, Action::KillClients(side)),
            93..100 => {
                let apart: &[[&str; 2]] = match self.place {
                    Place::Spread => &RIGHTS_APART,
                    _ => &[],
                };
                let rights = [&RIGHTS, apart].concat();
                let [take, give] = *rng.choice(&rights).expect("some");
                self.add(at, Action::Rights(take));
                self.add(at + rng.u64(20..700), Action::Rights(give));
            }
        }
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
                for (after, line) in Line::draw(rng) {
                    add(after, Action::Line(worker, None, line));
                }
            }
            29..72 => add(0, Action::Operator(raid(rng))),
            72..77 if self.persistent => {
                let end = [
                    Action::KillRedis(Side::Source),
                    Action::KillRedis(Side::Source),
                    Action::StopRedis(Side::Source),
                ];
                add(0, *rng.choice(&end).expect("some"));
                add(rng.u64(1..150), Action::StartRedis);
            }
            72..80 => add(0, Action::FlushScripts),
            80..84 => {
                add(0, Action::NoMemory(Side::Source));
                add(rng.u64(20..300), Action::Memory);
            }
            84..88 => {
                let what = *rng.choice(&["ALL", "WRITE"]).expect("some");
                add(0, Action::Pause(Side::Source, 5 << rng.u32(0..9), what));
            }
            88..93 => add(0, Action::KillClients(Side::Source)),
            _ => {
                let [take, give] = *rng.choice(&RIGHTS).expect("some");
                add(0, Action::Rights(take));
                add(rng.u64(20..700), Action::Rights(give));
            }
        }
    }
}

fn side(rng: &mut Rng) -> Side {
    *rng.choice(&[Side::Source, Side::Target, Side::Dead])
        .expect("some")
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
    for place in Place::ALL {
        let of = |seed| format!("{:?}", Schedule::of(seed, place, Duration::from_secs(3)));
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }
}
