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

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::gate::{Gate, Shut};
use super::plan::Again;

/// The first pause after a failed trial; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so long without a replay nothing is known of the pipeline anymore.
const FORGET: Duration = Duration::from_secs(60);
/// Replays older than this tell nothing about the pipeline of today, in seconds.
const STALE: i64 = 300;
/// At this share of bounces it is no question of the size anymore.
const MOST: f64 = 0.5;
/// A rate is cut into slices of this length.
const SLICE: f64 = 0.1;
/// When a target that is worked on stays above its level for so many observation times, others
/// keep it there.
const PATIENCE: u32 = 4;
/// So soon after a batch half of one is not worth the effort.
const SOON: Duration = Duration::from_millis(20);
/// Batches that may lie in the target beyond its level, so that it does not run dry; or what goes
/// through in this part of a second, where that is more.
const AHEAD: u64 = 2;
const AHEAD_PART: u64 = 10;
/// Good times longer ago that are remembered.
const TIMES: usize = 32;
/// In a queue of few messages that all fail one waits so many times as long before its last replay.
const LAST_REPLAY: i64 = 3;
/// Seconds with replays that are remembered.
const SECONDS: usize = 600;
/// So many of them are judged together.
const TOGETHER: usize = 5;
/// Replays this close to each other met the same pipeline, in seconds.
const BESIDE: i64 = 5;

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
    /// Replays up to this second have been judged.
    judged: i64,
    /// What was replayed and came back, oldest first.
    cohorts: VecDeque<Cohort>,
    /// When the last replay was.
    last: Option<Duration>,
    /// From when on the rate allows a batch.
    free_at: Duration,
    /// Depth of the target that others keep it at, as far as seen.
    level: u64,
    /// What has been seen of the target since it was above its level.
    above: Option<Ebb>,
    /// From when to when replays went well before the cohorts, in Unix seconds, oldest first.
    good: VecDeque<RangeInclusive<i64>>,
    /// Whether the cohort before the cohorts went well.
    was_good: bool,
}

/// A batch on its way through the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    /// Depth of the target before it.
    before: u64,
    /// The target counts as having gone down when it is no deeper than this, or as deep as before
    /// for a while,
    low: u64,
    /// or when so many have been seen to leave it: all that lay there, and the batch.
    through: u64,
    /// What has been seen of the target since.
    ebb: Ebb,
    /// Since when the target has gone down.
    settled: Option<Duration>,
    /// It is no batch, but a pause after one.
    pause: bool,
}

/// How a target goes down, while others fill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ebb {
    began: Duration,
    depth: u64,
    least: u64,
    /// Messages that have left it, at least: the sum of all that it went down by.
    gone: u64,
}

impl Ebb {
    fn new(now: Duration, depth: u64) -> Self {
        Self {
            began: now,
            depth,
            least: depth,
            gone: 0,
        }
    }

    fn see(&mut self, depth: u64) {
        self.gone += self.depth.saturating_sub(depth);
        self.least = self.least.min(depth);
        self.depth = depth;
    }
}

/// The replays of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cohort {
    second: i64,
    /// Replays, suspects left out.
    replayed: u64,
    /// How many of these came back.
    bounced: u64,
    /// Replays of suspects, and how many of these have not come back.
    suspects: u64,
    away: u64,
    /// It was looked at after the time that replays take to come back.
    looked_at: bool,
    /// Something arrived meanwhile that was not seen, so that its share tells nothing.
    doubtful: bool,
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
            judged: second - 1,
            cohorts: VecDeque::new(),
            last: None,
            free_at: Duration::ZERO,
            level: 0,
            above: None,
            good: VecDeque::new(),
            was_good: false,
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
        let latest = self.cohorts.back()?.second;
        (second - latest < STALE).then(|| self.ratio_until(latest))
    }

    /// The place of the first of these that may not be replayed again yet, with so many messages in
    /// the source: nothing is known of the pipeline, and it has just failed.
    ///
    /// A queue that is no longer than a canary would use up all of its replays within minutes. So
    /// after a failed trial its messages go one by one, an interval apart, and each waits for longer
    /// before its last replay.
    #[must_use]
    pub fn first_too_soon(
        &self,
        again: &[Again],
        depth: u64,
        second: i64,
        rules: &PaceRules,
    ) -> Option<usize> {
        if !(rules.adaptive && self.on_trial) {
            return None;
        }
        let pause = i64::try_from(rules.retry_after.as_secs()).unwrap_or(i64::MAX);
        let is_within = |at: i64, pause: i64| {
            let left = at.saturating_add(pause).saturating_sub(second);
            (1..=pause).contains(&left)
        };
        let latest = self.cohorts.back().map(|cohort| cohort.second);
        let sparing = self.failed > 0 && depth <= rules.canary_size;
        let mut replayed = again.iter().enumerate();
        let first = replayed.find(|(index, again)| {
            if !sparing {
                return is_within(again.at, pause);
            }
            let own = if again.last {
                pause.saturating_mul(LAST_REPLAY)
            } else {
                pause
            };
            *index > 0
                || is_within(again.at, own)
                || latest.is_some_and(|latest| is_within(latest, pause))
        });
        first.map(|(_, again)| again.place)
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
        let trusted = self.is_trusted();
        let suspects = before.iter().filter(|at| trusted && self.is_suspect(**at));
        let suspects = suspects.count() as u64;
        let place = self
            .cohorts
            .partition_point(|cohort| cohort.second < view.second);
        if self
            .cohorts
            .get(place)
            .is_none_or(|cohort| cohort.second > view.second)
        {
            let cohort = Cohort {
                second: view.second,
                replayed: 0,
                bounced: 0,
                suspects: 0,
                away: 0,
                looked_at: false,
                doubtful: false,
            };
            self.cohorts.insert(place, cohort);
        }
        let cohort = &mut self.cohorts[place];
        cohort.replayed += replayed - suspects;
        cohort.suspects += suspects;
        cohort.away += suspects;
        self.remember_no_more_than(SECONDS);
        self.above = None;
        self.last = Some(view.now);
        // Suspects alone tell nothing, so that there is nothing to wait for.
        let learns = rules.adaptive && (self.on_trial || self.size < rules.batch_size);
        if (learns || view.half_open) && replayed > suspects {
            self.round = Some(Round {
                before: view.target_depth,
                low: replayed / 2,
                through: view.target_depth + replayed,
                ebb: Ebb::new(view.now, view.target_depth + replayed),
                settled: None,
                pause: false,
            });
        }
        self
    }

    /// Whether what was replayed in that second, came back and is due again has failed on its own:
    /// most of what was replayed with it did not come back, nor did most of what was replayed last.
    #[must_use]
    pub fn failed_alone(&self, second: i64) -> bool {
        self.is_trusted() && self.is_suspect(second)
    }

    /// Whether the last replays that tell something went well.
    fn is_trusted(&self) -> bool {
        let known = |cohort: &Cohort| cohort.replayed > 0 && cohort.looked_at;
        let last = self.cohorts.iter().rposition(known);
        last.is_some_and(|index| self.went_well(index))
    }

    fn is_suspect(&self, second: i64) -> bool {
        match self
            .cohorts
            .binary_search_by_key(&second, |cohort| cohort.second)
        {
            Ok(index) => self.went_well(index),
            Err(_) => self.good.iter().any(|time| time.contains(&second)),
        }
    }

    /// Whether most replays of a cohort and of those beside it did not come back. One of suspects
    /// alone tells as much as those before it.
    fn went_well(&self, index: usize) -> bool {
        let told = self
            .cohorts
            .range(..=index)
            .rposition(|cohort| cohort.replayed > 0);
        let Some(index) = told else {
            return self.was_good;
        };
        if !self.cohorts[index].looked_at || self.cohorts[index].doubtful {
            return false;
        }
        let second = self.cohorts[index].second;
        let beside = |cohort: &&Cohort| (cohort.second - second).abs() <= BESIDE;
        let beside = self.cohorts.iter().filter(beside);
        let (bounced, replayed) = sum(beside);
        share(bounced, replayed) < MOST
    }

    /// Turns the oldest cohorts into times.
    fn remember_no_more_than(&mut self, count: usize) {
        while self.cohorts.len() > count {
            let well = self.went_well(0);
            let second = self.cohorts[0].second;
            match self.good.back_mut() {
                Some(time) if well && self.was_good => *time = *time.start()..=second,
                _ if well => self.good.push_back(second..=second),
                _ => {}
            }
            if self.good.len() > TIMES {
                self.good.pop_front();
            }
            self.was_good = well;
            self.cohorts.pop_front();
        }
    }

    /// The gate was shut, or has just opened: the next batch is a canary.
    fn begin_anew(&mut self, rules: &PaceRules) {
        self.size = (rules.canary_size >> self.failed.min(63)).max(1);
        self.size = self.size.min(rules.batch_size);
        self.round = None;
        self.on_trial = true;
    }

    /// The share that came back of the replays of this second and of the seconds before it, as far
    /// as they are to be judged still.
    fn ratio_until(&self, second: i64) -> f64 {
        let judged = |cohort: &&Cohort| cohort.second > self.judged && cohort.second <= second;
        let (bounced, replayed) = sum(self.cohorts.iter().rev().filter(judged).take(TOGETHER));
        share(bounced, replayed.max(1)).min(1.0)
    }

    /// Counts what came back. Returns the share of the replays that came back with it.
    fn count(&mut self, view: &View, rules: &PaceRules) -> f64 {
        let mut ratio: f64 = 0.0;
        if view.is_new {
            let time = i64::try_from(rules.observe.as_secs()).unwrap_or(i64::MAX / 2);
            for cohort in &mut self.cohorts {
                cohort.doubtful |= !view.all_seen && !cohort.looked_at;
                cohort.looked_at |= cohort.second + 2 * time <= view.second;
            }
        }
        for at in &view.came_back {
            let Ok(index) = self
                .cohorts
                .binary_search_by_key(at, |cohort| cohort.second)
            else {
                continue;
            };
            let cohort = &mut self.cohorts[index];
            if cohort.away > 0 {
                cohort.away -= 1;
                continue;
            }
            cohort.bounced += 1;
            if *at > self.judged {
                ratio = ratio.max(self.ratio_until(*at));
            }
        }
        ratio
    }

    /// Draws the conclusion from what came back.
    fn judge(&mut self, ratio: f64, view: &View, rules: &PaceRules) {
        if ratio <= rules.max_bounce_ratio {
            return;
        }
        // What is on its way still may come back, and says nothing about what comes next.
        self.judged = view.second;
        if self.size <= rules.canary_size {
            self.failed = self.failed.saturating_add(1);
            self.begin_anew(rules);
            self.paused_until = Some(view.now + pause(self.failed).max(rules.observe));
        } else {
            let half = if ratio < MOST { self.size / 2 } else { 0 };
            self.size = half.max(rules.canary_size);
            self.round = Some(Round {
                before: view.target_depth,
                low: self.size / 2,
                through: view.target_depth,
                ebb: Ebb::new(view.now, view.target_depth),
                settled: None,
                pause: true,
            });
        }
    }

    /// Whether the target has to go down first. A canary is too small to matter, and where others
    /// keep the target up although it is worked on, that is its level.
    fn is_above_level(&mut self, count: u64, view: &View, rules: &PaceRules) -> bool {
        let high = self.level.saturating_add(self.ahead(count, view));
        if self.on_trial || view.target_depth <= high {
            self.above = None;
            return false;
        }
        let above = self
            .above
            .get_or_insert(Ebb::new(view.now, view.target_depth));
        above.see(view.target_depth);
        let Ebb {
            began, least, gone, ..
        } = *above;
        let stays = view.now >= began + rules.observe * PATIENCE && gone >= count;
        if stays {
            self.level = least;
            self.above = None;
        }
        !stays
    }

    /// How many messages may lie in the target, so that it does not run dry.
    fn ahead(&self, count: u64, view: &View) -> u64 {
        let whole = self
            .cohorts
            .iter()
            .rev()
            .find(|cohort| cohort.second < view.second);
        let recent = whole.filter(|cohort| cohort.second + 2 > view.second);
        let flow = recent.map_or(0, |cohort| cohort.replayed + cohort.suspects);
        (AHEAD * count).max(flow / AHEAD_PART)
    }

    /// Whether the last batch is known to have gone well; if not, when that will be seen.
    fn evidence(&mut self, view: &View, rules: &PaceRules) -> Result<(), Option<Duration>> {
        let Some(round) = &mut self.round else {
            return Ok(());
        };
        round.ebb.see(view.target_depth);
        if round.settled.is_none() {
            let stands = view.now >= round.ebb.began + rules.observe * PATIENCE;
            let down = view.target_depth <= round.low
                || round.ebb.gone >= round.through
                || (stands && view.target_depth <= round.before);
            if !down {
                return Err(None);
            }
            round.settled = Some(view.now);
        }
        let good_at = round.settled.unwrap_or(view.now) + rules.observe;
        if view.now < good_at {
            return Err(Some(good_at));
        }
        let Round { ebb, pause, .. } = *round;
        self.round = None;
        self.level = ebb.least;
        // A mere pause tells nothing.
        if pause || view.half_open || !rules.adaptive {
            return Ok(());
        }
        self.size = if self.size < rules.canary_size {
            rules.canary_size
        } else {
            self.size.saturating_mul(2)
        };
        self.size = self.size.min(rules.batch_size);
        self.on_trial = false;
        self.failed = 0;
        Ok(())
    }
}

/// What to do now. Never more than the limits allow, and in the adaptive pace never more than the
/// evidence does.
#[must_use]
pub fn decide(mut memory: Memory, view: &View, rules: &PaceRules) -> (Memory, Decision) {
    let full = view.alert_depth > view.alert_warn;
    let closed = view.shut.or(full.then_some(Shut::Backpressure));
    // The clock was set back: no stamp tells anymore which replay it belongs to.
    if memory
        .cohorts
        .back()
        .is_some_and(|last| last.second > view.second + 1)
    {
        memory = Memory {
            free_at: memory.free_at,
            ..Memory::new(view.second)
        };
    }
    let ratio = memory.count(view, rules);
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

/// As many messages as fit ahead and the rate allows.
fn within_limits(
    gate: Gate,
    mut count: u64,
    memory: &Memory,
    view: &View,
    rules: &PaceRules,
) -> Decision {
    if view.now < memory.free_at && rules.max_per_second > 0 {
        return wait(gate, Waiting::Rate, Some(memory.free_at));
    }
    if let Some(rate) = positive(rules.max_per_second) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number below the rate"
        )]
        let slice = (rate * SLICE).ceil() as u64;
        count = count.min(slice);
    }
    // A batch that is not worth the effort waits for more room.
    let ever = match rules.target_max_depth {
        0 => u64::MAX,
        depth => depth,
    };
    let ever = if rules.adaptive {
        ever.min(view.alert_warn)
    } else {
        ever
    };
    let is_soon = memory.last.is_some_and(|last| view.now < last + SOON);
    let least = if is_soon {
        rules.canary_size.max(count / 2)
    } else {
        rules.canary_size
    };
    let worthwhile = count.min(least).min(ever);
    let room = room(view, rules);
    if room < worthwhile.max(1) {
        return wait(gate, Waiting::Room, None);
    }
    Decision {
        gate,
        act: Act::Go(count.min(room)),
    }
}

/// How many messages the queues ahead may take.
fn room(view: &View, rules: &PaceRules) -> u64 {
    let target = match rules.target_max_depth {
        0 => u64::MAX,
        depth => depth.saturating_sub(view.target_depth),
    };
    if !rules.adaptive {
        return target;
    }
    // What lies in the target will be in the alert queue soon.
    let coming = if view.target_is_alert_queue {
        0
    } else {
        view.target_depth
    };
    let ahead = view.alert_depth.saturating_add(coming);
    target.min(view.alert_warn.max(1).saturating_sub(ahead))
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

/// How many replays came back, and how many there were.
fn sum<'a>(cohorts: impl Iterator<Item = &'a Cohort>) -> (u64, u64) {
    cohorts.fold((0, 0), |(bounced, replayed), cohort| {
        (bounced + cohort.bounced, replayed + cohort.replayed)
    })
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
