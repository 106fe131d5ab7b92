//! How much may be sent back now, learnt from what became of the last batch.
//!
//! Pure: what is remembered and what is seen in, a decision and what is remembered from now on out.
//! The clock is part of what is seen. `docs/pace.md` shows in plots what comes of it.
//!
//! The adaptive pace is a slow start. After the gate has opened a *canary* goes, a few messages. The
//! next batch waits for the evidence: the target went down again, and in the observation time no or
//! few replays came back. Then the size doubles, until it is the batch size and batches *cruise*,
//! one after the other as the target goes down. Too many bounces halve the size; at the canary's
//! size they shut the gate for a pause that grows with each trial that fails.
//!
//! A message that has come back while most of those replayed with it did not is a *suspect*: it
//! says something about itself. When it comes back again, that is not counted.

pub mod again;
mod bounces;
mod evidence;
mod limits;

use std::time::Duration;

use super::gate::{Gate, Shut};
use bounces::{Bounces, MOST};
use evidence::{Ebb, Round};
use limits::within_limits;

/// The first pause after a failed trial; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so long without a replay nothing is known of the pipeline anymore.
const FORGET: Duration = Duration::from_secs(60);

/// The settings that count here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaceRules {
    /// Whether to learn; otherwise only limits are kept.
    pub adaptive: bool,
    /// Messages in a batch, at most.
    pub batch_size: u64,
    /// Messages in the first batch after the gate has opened.
    pub canary_size: u64,
    /// How long replays may take to come back.
    pub observe: Duration,
    /// On trial no message is replayed again so soon.
    pub retry_after: Duration,
    /// The share of replays that may come back.
    pub max_bounce_ratio: f64,
    /// Depth above which the target is not lifted; 0 = no limit.
    pub target_max_depth: u64,
    /// Replays a second, at most; 0 = no limit.
    pub max_per_second: u64,
}

/// The pipeline at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Time since a fixed moment.
    pub now: Duration,
    /// The same in Unix seconds, as in stamps.
    pub second: i64,
    /// What shuts the gate from outside, if anything does; the queue ahead is looked at here.
    pub shut: Option<Shut>,
    /// The forwarder's circuit breaker is half open.
    pub half_open: bool,
    /// Messages in the replay target.
    pub target_depth: u64,
    /// Messages in the queue in front of the forwarder.
    pub alert_depth: u64,
    /// The depth of that queue from which on the alerter warns.
    pub alert_warn: u64,
    /// The replay target is that queue.
    pub target_is_alert_queue: bool,
    /// What came back was looked for now; otherwise it was just before.
    pub is_new: bool,
    /// Nothing that arrived in the source has gone unseen.
    pub all_seen: bool,
    /// When those messages were replayed that have arrived in the source since the last view.
    pub came_back: Vec<i64>,
}

/// What to do now, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The state to show.
    pub gate: Gate,
    /// What to do.
    pub act: Act,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Move so many messages, at most.
    Go(u64),
    /// Look again, at this time if it is known.
    Wait(Waiting, Option<Duration>),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// For the gate to open.
    Gate,
    /// To learn what becomes of the last batch.
    Evidence,
    /// For room in the queues ahead.
    Room,
    /// For the rate to allow more.
    Rate,
}

impl Waiting {
    /// All that can be waited for, for closed metric label sets.
    pub const ALL: [Self; 4] = [Self::Gate, Self::Evidence, Self::Room, Self::Rate];

    /// The name used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Evidence => "evidence",
            Self::Room => "room",
            Self::Rate => "rate",
        }
    }
}

/// What is remembered between two decisions; at most some twenty kilobytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Messages in the next batch, at most.
    size: u64,
    /// The batch whose evidence is not in yet.
    round: Option<Round>,
    /// No round has been good since the gate opened.
    on_trial: bool,
    /// Failed trials in a row.
    failed: u32,
    /// After a failed trial: when the next one is due.
    paused_until: Option<Duration>,
    /// What was replayed and came back.
    bounces: Bounces,
    /// When the last replay was.
    last: Option<Duration>,
    /// From when on the rate allows a batch.
    free_at: Duration,
    /// Depth of the target that others keep it at, as far as seen.
    level: u64,
    /// What has been seen of the target since it was above its level.
    above: Option<Ebb>,
}

impl Memory {
    /// Nothing is known yet. Replays before this second are no business of ours.
    #[must_use]
    pub fn new(second: i64) -> Self {
        Self {
            size: 0,
            round: None,
            on_trial: true,
            failed: 0,
            paused_until: None,
            bounces: Bounces::new(second),
            last: None,
            free_at: Duration::ZERO,
            level: 0,
            above: None,
        }
    }

    /// Messages in the next batch, at most, as far as learnt.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When the next trial is due, after one that failed.
    #[must_use]
    pub fn next_trial(&self) -> Option<Duration> {
        self.paused_until
    }

    /// The share of recent replays that came back; `None` where nothing was replayed lately.
    #[must_use]
    pub fn bounce_ratio(&self, second: i64) -> Option<f64> {
        self.bounces.ratio(second)
    }

    /// Whether what was replayed in that second, came back and is due again has failed on its own:
    /// most of what was replayed with it did not come back, nor did most of what was replayed last.
    #[must_use]
    pub fn failed_alone(&self, second: i64) -> bool {
        self.bounces.failed_alone(second)
    }

    /// Takes note of a batch that was moved: so many replays, and of those that had been replayed
    /// before, in which second that was.
    #[must_use]
    pub fn moved(mut self, view: &View, replayed: u64, before: &[i64], rules: &PaceRules) -> Self {
        if replayed == 0 {
            return self;
        }
        if let Some(rate) = positive(rules.max_per_second) {
            let took = Duration::from_secs_f64(as_f64(replayed) / rate);
            self.free_at = self.free_at.max(view.now) + took;
        }
        let suspects = self.bounces.replayed(view.second, replayed, before);
        self.above = None;
        self.last = Some(view.now);
        // Suspects alone tell nothing, so that there is nothing to wait for.
        let learns = rules.adaptive && (self.on_trial || self.size < rules.batch_size);
        if (learns || view.half_open) && replayed > suspects {
            self.round = Some(Round::of(view, replayed));
        }
        self
    }

    /// The gate was shut, or has just opened: the next batch is a canary.
    fn begin_anew(&mut self, rules: &PaceRules) {
        self.size = (rules.canary_size >> self.failed.min(63)).max(1);
        self.size = self.size.min(rules.batch_size);
        self.round = None;
        self.on_trial = true;
    }

    /// Draws the conclusion from what came back.
    fn judge(&mut self, ratio: f64, view: &View, rules: &PaceRules) {
        if ratio <= rules.max_bounce_ratio {
            return;
        }
        self.bounces.judged(view.second);
        if self.size <= rules.canary_size {
            self.failed = self.failed.saturating_add(1);
            self.begin_anew(rules);
            self.paused_until = Some(view.now + pause(self.failed).max(rules.observe));
        } else {
            let half = if ratio < MOST { self.size / 2 } else { 0 };
            self.size = half.max(rules.canary_size);
            self.round = Some(Round::pause(view, self.size));
        }
    }
}

/// What to do now. Never more than the limits allow, and in the adaptive pace never more than the
/// evidence does.
#[must_use]
pub fn decide(mut memory: Memory, view: &View, rules: &PaceRules) -> (Memory, Decision) {
    let full = view.alert_depth > view.alert_warn;
    let closed = view.shut.or(full.then_some(Shut::Backpressure));
    // The clock was set back: no stamp tells anymore which replay it belongs to.
    let latest = memory.bounces.latest();
    if latest.is_some_and(|latest| latest > view.second + 1) {
        memory = Memory {
            free_at: memory.free_at,
            ..Memory::new(view.second)
        };
    }
    let ratio = memory.bounces.came_back(view, rules);
    if !rules.adaptive {
        // Should the pace become adaptive, it begins with a canary.
        (memory.size, memory.paused_until) = (0, None);
        if !view.half_open {
            memory.round = None;
        }
        let evidence = memory.evidence(view, rules);
        let decision = match (closed, evidence) {
            (Some(why), _) => shut(why, None),
            (None, Err(until)) => wait(Gate::Probation, Waiting::Evidence, until),
            (None, Ok(())) if view.half_open => {
                let count = rules.batch_size.min(rules.canary_size);
                within_limits(Gate::Probation, count, &memory, view, rules)
            }
            (None, Ok(())) => within_limits(Gate::Open, rules.batch_size, &memory, view, rules),
        };
        return (memory, decision);
    }
    let idle = memory.last.is_some_and(|last| last + FORGET < view.now);
    if memory.size == 0 || (idle && memory.round.is_none()) {
        memory.last = None;
        memory.begin_anew(rules);
    }
    memory.size = memory.size.min(rules.batch_size);
    memory.judge(ratio, view, rules);
    if let Some(why) = closed {
        memory.begin_anew(rules);
        return (memory, shut(why, None));
    }
    if let Some(until) = memory.paused_until {
        if view.now < until {
            return (memory, shut(Shut::Bounces, Some(until)));
        }
        memory.paused_until = None;
    }
    let evidence = memory.evidence(view, rules);
    let gate = if memory.on_trial || view.half_open {
        Gate::Probation
    } else {
        Gate::Open
    };
    let decision = match evidence {
        Ok(()) => {
            let trial = view.half_open.then_some(rules.canary_size);
            let count = memory.size.min(trial.unwrap_or(u64::MAX));
            if memory.is_above_level(count, view, rules) {
                wait(gate, Waiting::Room, None)
            } else {
                within_limits(gate, count, &memory, view, rules)
            }
        }
        Err(until) => wait(gate, Waiting::Evidence, until),
    };
    (memory, decision)
}

fn wait(gate: Gate, what: Waiting, until: Option<Duration>) -> Decision {
    Decision {
        gate,
        act: Act::Wait(what, until),
    }
}

fn shut(why: Shut, until: Option<Duration>) -> Decision {
    wait(Gate::Shut(why), Waiting::Gate, until)
}

/// The pause after so many failed trials in a row.
fn pause(failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(16);
    (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
}

fn positive(rate: u64) -> Option<f64> {
    (rate > 0).then(|| as_f64(rate))
}

fn share(part: u64, whole: u64) -> f64 {
    as_f64(part) / as_f64(whole)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of messages, where a billionth does not matter"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}
