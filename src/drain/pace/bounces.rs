//! What was replayed when, and what of it came back.
//!
//! Replays are counted by the second in their stamp, a *cohort*. A message that has come back while
//! most of its cohort did not is a *suspect*; when it is replayed again it is not counted.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::{PaceRules, View, share};

/// Replays older than this tell nothing about the pipeline of today, in seconds.
const STALE: i64 = 300;
/// At this share of bounces it is no question of the size anymore.
pub(super) const MOST: f64 = 0.5;
/// Good times longer ago that are remembered.
const TIMES: usize = 32;
/// Seconds with replays that are remembered.
const SECONDS: usize = 600;
/// So many of them are judged together.
const TOGETHER: usize = 5;
/// Replays this close to each other met the same pipeline, in seconds.
const BESIDE: i64 = 5;

/// The memory of replays; at most some twenty kilobytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounces {
    /// Replays up to this second have been judged.
    judged: i64,
    /// What was replayed and came back, oldest first.
    cohorts: VecDeque<Cohort>,
    /// From when to when replays went well before the cohorts, in Unix seconds, oldest first.
    good: VecDeque<RangeInclusive<i64>>,
    /// Whether the cohort before the cohorts went well.
    was_good: bool,
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

impl Cohort {
    fn of(second: i64) -> Self {
        Self {
            second,
            replayed: 0,
            bounced: 0,
            suspects: 0,
            away: 0,
            looked_at: false,
            doubtful: false,
        }
    }
}

impl Bounces {
    /// Nothing was replayed. Replays before this second are no business of ours.
    pub(super) fn new(second: i64) -> Self {
        Self {
            judged: second - 1,
            cohorts: VecDeque::new(),
            good: VecDeque::new(),
            was_good: false,
        }
    }

    /// The second of the last replays.
    pub(super) fn latest(&self) -> Option<i64> {
        self.cohorts.back().map(|cohort| cohort.second)
    }

    /// Replays in the last whole second, if there were any.
    pub(super) fn flow(&self, second: i64) -> u64 {
        let mut all = self.cohorts.iter().rev();
        let whole = all.find(|cohort| cohort.second < second);
        let recent = whole.filter(|cohort| cohort.second + 2 > second);
        recent.map_or(0, |cohort| cohort.replayed + cohort.suspects)
    }

    /// The share of recent replays that came back, judged or not; `None` where nothing was replayed
    /// lately.
    pub(super) fn ratio(&self, second: i64) -> Option<f64> {
        let latest = self.latest()?;
        let (bounced, replayed) = sum(self.cohorts.iter().rev().take(TOGETHER));
        (second - latest < STALE).then(|| share(bounced, replayed.max(1)).min(1.0))
    }

    /// What was replayed up to this second is judged: what is on its way still may come back, and
    /// says nothing about what comes next.
    pub(super) fn judged(&mut self, second: i64) {
        self.judged = second;
    }

    /// Takes note of replays, and of those that had been replayed before, in which second that was.
    /// Returns how many of them are suspects.
    pub(super) fn replayed(&mut self, second: i64, replayed: u64, before: &[i64]) -> u64 {
        let trusted = self.is_trusted();
        let suspects = before.iter().filter(|at| trusted && self.is_suspect(**at));
        let suspects = suspects.count() as u64;
        let place = self
            .cohorts
            .partition_point(|cohort| cohort.second < second);
        let known = self.cohorts.get(place);
        if known.is_none_or(|cohort| cohort.second > second) {
            self.cohorts.insert(place, Cohort::of(second));
        }
        let cohort = &mut self.cohorts[place];
        cohort.replayed += replayed - suspects;
        cohort.suspects += suspects;
        cohort.away += suspects;
        self.remember_no_more_than(SECONDS);
        suspects
    }

    /// The share that came back of the replays of this second and of the seconds before it, as far
    /// as they are to be judged still.
    fn ratio_until(&self, second: i64) -> f64 {
        let judged = |cohort: &&Cohort| cohort.second > self.judged && cohort.second <= second;
        let (bounced, replayed) = sum(self.cohorts.iter().rev().filter(judged).take(TOGETHER));
        share(bounced, replayed.max(1)).min(1.0)
    }

    /// Counts what came back. Returns the share of the replays that came back with it.
    pub(super) fn came_back(&mut self, view: &View, rules: &PaceRules) -> f64 {
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

    /// Whether what was replayed in that second, came back and is due again has failed on its own:
    /// most of what was replayed with it did not come back, nor did most of what was replayed last.
    pub(super) fn failed_alone(&self, second: i64) -> bool {
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
}

/// How many replays came back, and how many there were.
fn sum<'a>(cohorts: impl Iterator<Item = &'a Cohort>) -> (u64, u64) {
    cohorts.fold((0, 0), |(bounced, replayed), cohort| {
        (bounced + cohort.bounced, replayed + cohort.replayed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_small() {
        let mut bounces = Bounces::new(0);
        // Good and bad times by turns, so that there are as many of them as can be.
        for second in 0..5_000 {
            bounces.replayed(second, 10, &[]);
            let cohort = bounces.cohorts.back_mut().expect("it was just added");
            cohort.looked_at = true;
            cohort.bounced = if (second / 20) % 2 == 0 { 10 } else { 0 };
        }
        assert!(bounces.cohorts.len() <= SECONDS);
        assert!(bounces.good.len() <= TIMES);
        assert!(!bounces.good.is_empty());
    }
}
