//! What is known of the objectives at a moment: the last answers, and how old they are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::evidence::Count;
use super::judge::{Judgement, State};
use super::objective::{self, Objective};

/// What is known of all objectives.
#[derive(Clone, Debug)]
pub struct Known {
    /// How Prometheus was found last.
    pub prometheus: Reach,
    /// Each objective, in the order of the configuration.
    pub entries: Vec<Entry>,
    /// An answer that is older than this is marked as stale.
    pub stale_after: Duration,
    /// One that is older than this says nothing any more.
    pub unknown_after: Duration,
    /// Whether replays are held while the forwarder's budget burns critically.
    pub gate: bool,
}

/// Whether Prometheus answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `PROMETHEUS_URL` is not set.
    Off,
    /// It has not been asked yet.
    NotAsked,
    /// It answers.
    Up,
    /// It does not.
    Away {
        /// Why, for people.
        why: String,
        /// Since when, in Unix seconds.
        since: i64,
    },
}

/// An objective, and what is known of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The objective.
    pub objective: Objective,
    /// The last answer.
    pub last: Option<Answer>,
    /// Why there was no later one; `None` if there was.
    pub failed: Option<String>,
    /// Events by steps of the period, the oldest first, for charts: the end of a step in Unix
    /// seconds, and what was in it.
    pub steps: Arc<[(i64, Count)]>,
}

/// An answer of Prometheus.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it came.
    pub at: Instant,
    /// What it says.
    pub judgement: Judgement,
}

/// What counts of an objective at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Now {
    /// What is thought of it.
    pub judgement: Judgement,
    /// How old the answer is that says so.
    pub age: Option<Duration>,
    /// Whether it is of an earlier time, because there was no answer since.
    pub stale: bool,
}

impl Known {
    /// Nothing is known yet.
    #[must_use]
    pub fn nothing(prometheus: Reach, interval: Duration, unknown_after: Duration) -> Self {
        Self {
            prometheus,
            entries: vec![],
            stale_after: interval * 3,
            unknown_after,
            gate: false,
        }
    }

    /// Takes over the objectives; of those that are as they were what is known stays.
    pub fn follow(&mut self, objectives: Vec<Objective>) {
        let mut before = std::mem::take(&mut self.entries);
        let entry = |objective: Objective| {
            let same = before.iter().position(|one| one.objective == objective);
            same.map_or_else(|| Entry::new(objective), |index| before.swap_remove(index))
        };
        self.entries = objectives.into_iter().map(entry).collect();
    }

    /// What counts of an objective now.
    #[must_use]
    pub fn now(&self, entry: &Entry) -> Now {
        let why = || match (&entry.failed, &self.prometheus) {
            (Some(why), _) => why.clone(),
            (None, Reach::Off) => "PROMETHEUS_URL is not set".into(),
            (None, Reach::Away { why, .. }) => why.clone(),
            (None, _) => "Prometheus has not been asked yet".into(),
        };
        let Some(last) = &entry.last else {
            return Now {
                judgement: Judgement::unknown(why()),
                age: None,
                stale: false,
            };
        };
        let age = last.at.elapsed();
        if age > self.unknown_after {
            let seconds = age.as_secs();
            let message = match &entry.failed {
                Some(why) => format!("nothing new for {seconds} s: {why}"),
                None => format!("nothing new for {seconds} s"),
            };
            return Now {
                judgement: Judgement::unknown(message),
                age: Some(age),
                stale: true,
            };
        }
        let stale = entry.failed.is_some() || age > self.stale_after;
        let mut judgement = last.judgement.clone();
        if stale {
            let late = format!("as of {} s ago", age.as_secs());
            judgement.message = match &entry.failed {
                Some(why) => format!("{late}, since then {why}: {}", judgement.message),
                None => format!("{late}: {}", judgement.message),
            };
        }
        Now {
            judgement,
            age: Some(age),
            stale,
        }
    }

    /// Whether replays are to wait: the forwarder's budget is known to burn critically. What is not
    /// known holds nothing, or an outage of Prometheus would be one of the drain.
    #[must_use]
    pub fn holds(&self) -> bool {
        let forwarder = |entry: &&Entry| entry.objective.name == objective::FORWARDER;
        self.gate
            && self
                .entries
                .iter()
                .find(forwarder)
                .is_some_and(|entry| self.now(entry).judgement.state == State::Critical)
    }
}

impl Entry {
    fn new(objective: Objective) -> Self {
        Self {
            objective,
            last: None,
            failed: None,
            steps: Arc::default(),
        }
    }

    /// How the budget went down in the course of the period: the end of each step in Unix seconds,
    /// and the share of the budget that was left of the period's events.
    #[must_use]
    pub fn burn_down(&self) -> Vec<(i64, f64)> {
        let total: f64 = self.steps.iter().map(|(_, count)| count.total).sum();
        let budget = total * (1.0 - self.objective.target);
        let mut spent = 0.0;
        let each = self.steps.iter().map(|(at, count)| {
            spent += count.bad;
            (*at, 1.0 - spent / budget)
        });
        each.filter(|(_, left)| left.is_finite()).collect()
    }
}
