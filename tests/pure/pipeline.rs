//! A deterministic simulator of the pipeline: alerter, forwarder, live events, and somebody who
//! brings dead letters back. Shared by the tests of the pace and by the plots of docs/pace.md.
//!
//! Time moves in steps of ten milliseconds. A message that fails goes back to the left of the
//! target with its count raised, as the alerter does it, until the count is above three: then the
//! alerter dead-letters it when it reads it, untried.

mod worker;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use mutt_remediation::drain::gate::Gate;
use mutt_remediation::drain::pace::{Memory, PaceRules};
use mutt_remediation::drain::systemic::Systemic;

use worker::Pass;

/// Steps a second.
const STEPS: u64 = 100;
/// How often the worker looks while it waits, in steps.
const POLL: u64 = 10;
/// A message fails so often before the alerter gives it up.
const TRIES: u8 = 3;
/// Replays after which a message is parked.
const POISON: u8 = 3;
/// The Unix second at which a simulation begins.
const EPOCH: i64 = 1_790_000_000;

/// What the world does.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// For people.
    pub name: &'static str,
    /// Dead letters at the beginning.
    pub backlog: usize,
    /// The share of them that fails whenever it is tried.
    pub poison: f64,
    /// Events a second that come from the network.
    pub live: u64,
    /// Messages a second that the alerter tries.
    pub alerter: u64,
    /// Events a second that the forwarder delivers.
    pub forwarder: u64,
    /// Seconds in which the alerter's database is away: whatever is tried fails.
    pub outages: Vec<Range<f64>>,
    /// Seconds that the alerter takes after an outage to come back to its full speed.
    pub recovery: f64,
    /// Depths of the alert queue from which on the alerter warns and sheds.
    pub warn: usize,
    pub shed: usize,
    /// Seconds after which the simulation ends.
    pub horizon: u64,
}

impl Scenario {
    /// Twenty thousand letters, an alerter of 500 messages a second, and nothing wrong anymore.
    pub fn calm() -> Self {
        Self {
            name: "calm",
            backlog: 20_000,
            poison: 0.0,
            live: 0,
            alerter: 500,
            forwarder: 1_000,
            outages: vec![],
            recovery: 0.0,
            warn: 1_000,
            shed: 2_000,
            horizon: 600,
        }
    }
}

/// Who brings dead letters back.
#[derive(Clone, Copy, Debug)]
pub enum Replayer {
    /// So many every so many seconds, unchanged, as the Python worker does it.
    Python { batch: u64, interval: u64 },
    /// All that is there, counts reset, every so many seconds.
    AllAtOnce { interval: u64 },
    /// This project's worker: passes that begin an interval apart, batches that are a pause apart.
    Worker {
        rules: PaceRules,
        pause: Duration,
        interval: Duration,
    },
}

/// A message of the simulation.
#[derive(Clone, Copy, Debug)]
struct Message {
    /// Its number in the backlog; `None` for a live event.
    letter: Option<usize>,
    poison: bool,
    /// Failed attempts of the alerter.
    tries: u8,
    /// Replays, and the second of the last one.
    replays: u8,
    at: i64,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Seconds until all letters were delivered or parked, and until those were that do not fail
    /// whenever they are tried.
    pub settled: Option<f64>,
    pub good_settled: Option<f64>,
    /// Greatest depth of the target right after a replay.
    pub peak_target: usize,
    /// Greatest depth of the alert queue.
    pub peak_alerts: usize,
    /// Replays of letters, and how many of them while the database was away.
    pub replays: u64,
    pub replays_while_failing: u64,
    /// Letters that were shed after a replay.
    pub shed_again: u64,
    /// Replays of each letter.
    pub attempts: Vec<u32>,
    /// Letters delivered, and letters parked: those that always fail, and the others.
    pub delivered: usize,
    pub parked_poison: usize,
    pub parked_good: usize,
    /// Seconds from the opening of the gate until batches have their full size.
    pub ramp: Option<f64>,
    /// Two a second.
    pub series: Vec<Sample>,
}

/// The state at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub seconds: f64,
    pub dlq: usize,
    pub target: usize,
    pub size: u64,
    pub gate: Option<Gate>,
}

/// Runs a scenario to its end.
pub fn simulate(scenario: &Scenario, replayer: Replayer) -> Outcome {
    let mut world = World::new(scenario, replayer);
    let mut step = 0;
    while step < scenario.horizon * STEPS && world.outcome.settled.is_none() {
        world.step(step);
        step += 1;
    }
    world.outcome
}

struct World<'a> {
    scenario: &'a Scenario,
    replayer: Replayer,
    dlq: VecDeque<Message>,
    target: VecDeque<Message>,
    alerts: VecDeque<Message>,
    /// Fractions of a message that the next step owes.
    owed: [f64; 3],
    /// Stamps of replays that arrived in the dead letter queue since the worker last looked.
    came_back: Vec<i64>,
    memory: Memory,
    systemic: Systemic,
    pass: Option<Pass>,
    gate: Option<Gate>,
    opened: Option<f64>,
    /// When the replayer acts next, in steps.
    due: u64,
    /// Letters that do not fail whenever they are tried.
    good: usize,
    outcome: Outcome,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, replayer: Replayer) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let letter = |letter| Message {
            letter: Some(letter),
            poison: random.f64() < scenario.poison,
            tries: TRIES + 1,
            replays: 0,
            at: 0,
        };
        // The first is the oldest and lies at the right end.
        let dlq: VecDeque<Message> = (0..scenario.backlog).map(letter).rev().collect();
        let good = dlq.iter().filter(|letter| !letter.poison).count();
        Self {
            scenario,
            replayer,
            dlq,
            target: VecDeque::new(),
            alerts: VecDeque::new(),
            owed: [0.0; 3],
            came_back: vec![],
            memory: Memory::new(EPOCH),
            systemic: Systemic::default(),
            pass: None,
            gate: None,
            opened: None,
            due: 0,
            good,
            outcome: Outcome {
                attempts: vec![0; scenario.backlog],
                ..Outcome::default()
            },
        }
    }

    fn step(&mut self, step: u64) {
        let seconds = as_f64(step) / as_f64(STEPS);
        self.events_arrive();
        if step >= self.due {
            self.due = step + self.replay(step, seconds).max(1);
        }
        self.alerter_works(seconds);
        self.forwarder_works();
        let Outcome {
            delivered,
            parked_good,
            parked_poison,
            ..
        } = self.outcome;
        if delivered + parked_good + parked_poison == self.scenario.backlog {
            self.outcome.settled = Some(seconds);
        }
        if delivered + parked_good == self.good {
            self.outcome.good_settled.get_or_insert(seconds);
        }
        self.outcome.peak_alerts = self.outcome.peak_alerts.max(self.alerts.len());
        if step.is_multiple_of(STEPS / 2) {
            self.outcome.series.push(Sample {
                seconds,
                dlq: self.dlq.len(),
                target: self.target.len(),
                size: self.memory.size(),
                gate: self.gate,
            });
        }
    }

    fn owed(&mut self, whom: usize, per_second: f64) -> usize {
        self.owed[whom] += per_second / as_f64(STEPS);
        let whole = self.owed[whom].floor();
        self.owed[whom] -= whole;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few messages"
        )]
        let whole = whole as usize;
        whole
    }

    fn events_arrive(&mut self) {
        for _ in 0..self.owed(0, as_f64(self.scenario.live)) {
            self.target.push_front(Message {
                letter: None,
                poison: false,
                tries: 0,
                replays: 0,
                at: 0,
            });
        }
    }

    fn failing(&self, seconds: f64) -> bool {
        let outages = &self.scenario.outages;
        outages.iter().any(|outage| outage.contains(&seconds))
    }

    /// Messages a second that the alerter tries at present.
    fn speed(&self, seconds: f64) -> f64 {
        let full = as_f64(self.scenario.alerter);
        let ends = self.scenario.outages.iter().map(|outage| outage.end);
        let since = ends.filter(|end| *end <= seconds).fold(f64::MIN, f64::max);
        if seconds - since < self.scenario.recovery {
            full * (0.05 + 0.95 * (seconds - since) / self.scenario.recovery)
        } else {
            full
        }
    }

    fn alerter_works(&mut self, seconds: f64) {
        let failing = self.failing(seconds);
        for _ in 0..self.owed(1, self.speed(seconds)) {
            let Some(mut message) = self.target.pop_back() else {
                break;
            };
            if message.tries > TRIES {
                self.dead_letter(message);
            } else if self.alerts.len() > self.scenario.shed {
                self.outcome.shed_again += u64::from(message.replays > 0);
                self.dead_letter(message);
            } else if failing || message.poison {
                message.tries += 1;
                self.target.push_front(message);
            } else {
                self.alerts.push_front(message);
            }
        }
    }

    fn dead_letter(&mut self, message: Message) {
        // Live events are left out of the count: the backlog is what is asked about.
        if message.letter.is_some() {
            if message.replays > 0 {
                self.came_back.push(message.at);
            }
            self.dlq.push_front(message);
        }
    }

    fn forwarder_works(&mut self) {
        for _ in 0..self.owed(2, as_f64(self.scenario.forwarder)) {
            let Some(message) = self.alerts.pop_back() else {
                break;
            };
            self.outcome.delivered += usize::from(message.letter.is_some());
        }
    }

    /// Lets the replayer act, and returns after how many steps it acts again.
    fn replay(&mut self, step: u64, seconds: f64) -> u64 {
        match self.replayer {
            Replayer::Python { batch, interval } => {
                self.send(batch, seconds, false);
                interval * STEPS
            }
            Replayer::AllAtOnce { interval } => {
                self.send(u64::MAX, seconds, true);
                interval * STEPS
            }
            Replayer::Worker {
                rules,
                pause,
                interval,
            } => {
                let wait = self.work(step, seconds, &rules, steps(interval));
                wait.unwrap_or(steps(pause))
            }
        }
    }

    /// Sends so many of the oldest letters back, or parks them; returns how many went back.
    fn send(&mut self, count: u64, seconds: f64, stamped: bool) -> u64 {
        let failing = self.failing(seconds);
        let mut replayed = 0;
        let count = count.min(self.dlq.len() as u64);
        for _ in 0..count {
            let Some(mut message) = self.dlq.pop_back() else {
                break;
            };
            if stamped && message.replays >= POISON {
                self.outcome.parked_poison += usize::from(message.poison);
                self.outcome.parked_good += usize::from(!message.poison);
                continue;
            }
            if stamped {
                message.tries = 0;
            }
            message.replays = message.replays.saturating_add(1);
            message.at = EPOCH + second(seconds);
            if let Some(letter) = message.letter {
                self.outcome.attempts[letter] = self.outcome.attempts[letter].saturating_add(1);
            }
            self.target.push_front(message);
            replayed += 1;
        }
        self.outcome.replays += replayed;
        if failing {
            self.outcome.replays_while_failing += replayed;
        }
        if replayed > 0 {
            self.outcome.peak_target = self.outcome.peak_target.max(self.target.len());
        }
        replayed
    }
}

fn steps(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("short") * STEPS / 1_000
}

#[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
fn second(seconds: f64) -> i64 {
    seconds as i64
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
