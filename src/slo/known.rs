//! What is known of the objectives at a moment: the last answers, and how old they are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::evidence::{Count, Evidence};
use super::judge::{Judgement, State, judge};
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
    /// When these were asked for.
    pub charted: Option<Instant>,
}

/// An answer of Prometheus.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it came.
    pub at: Instant,
    /// What it says.
    pub judgement: Judgement,
    /// What that is judged by; `None` where the answer could not be read.
    pub evidence: Option<Evidence>,
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
        }
    }

    /// Takes over the objectives. What was counted of one stays, and is judged by what is set of it now.
    pub fn follow(&mut self, objectives: Vec<Objective>) {
        let mut before = std::mem::take(&mut self.entries);
        let entry = |objective: Objective| {
            let same = |one: &Entry| {
                let was = &one.objective;
                was.name == objective.name && was.indicator == objective.indicator
            };
            match before.iter().position(same) {
                Some(index) => before.swap_remove(index).following(objective),
                None => Entry::new(objective),
            }
        };
        self.entries = objectives.into_iter().map(entry).collect();
    }

    /// Whether its answer is older than a round should take.
    #[must_use]
    pub fn is_due(&self, entry: &Entry) -> bool {
        let age = entry.last.as_ref().map(|last| last.at.elapsed());
        age.is_some_and(|age| age * 3 > self.stale_after)
    }

    /// What counts of an objective now.
    #[must_use]
    pub fn now(&self, entry: &Entry) -> Now {
        let why = || match (&entry.failed, &self.prometheus) {
            (Some(why), _) | (None, Reach::Away { why, .. }) => why.clone(),
            (None, Reach::Off) => "PROMETHEUS_URL is not set".into(),
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

    /// Whether the forwarder's budget is known to burn critically, or the first question for it is still
    /// out: where that is wanted, replays then wait. What is not known holds nothing else, or an outage of
    /// Prometheus would be one of the drain.
    #[must_use]
    pub fn burns(&self) -> bool {
        let forwarder = |entry: &&Entry| entry.objective.name == objective::FORWARDER;
        let entry = self.entries.iter().find(forwarder);
        let critical = |entry: &Entry| self.now(entry).judgement.state == State::Critical;
        let first = |entry: &Entry| entry.last.is_none() && entry.failed.is_none();
        let asks = self.prometheus != Reach::Off;
        entry.is_some_and(|entry| critical(entry) || (asks && first(entry)))
    }
}

impl Entry {
    fn new(objective: Objective) -> Self {
        Self {
            objective,
            last: None,
            failed: None,
            steps: Arc::default(),
            charted: None,
        }
    }

    /// The same under other settings.
    fn following(mut self, objective: Objective) -> Self {
        if self.objective == objective {
            return self;
        }
        if self.objective.period != objective.period {
            (self.steps, self.charted) = (Arc::default(), None);
        }
        if let Some(Answer {
            judgement,
            evidence: Some(evidence),
            ..
        }) = &mut self.last
        {
            // What was not asked for is not missing; until it is, the judgement of before stands.
            let windows = objective.windows();
            if windows
                .iter()
                .all(|window| evidence.counts.contains_key(window))
            {
                *judgement = judge(&objective, evidence);
            }
        }
        self.objective = objective;
        self
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::super::built_in::built_in;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn known(state: State) -> Known {
        let mut known = Known::nothing(Reach::Up, SECOND * 10, SECOND * 60);
        known.follow(built_in());
        for entry in &mut known.entries {
            let mut judgement = Judgement::unknown("because");
            judgement.state = state;
            judgement.availability = Some(0.5);
            entry.last = Some(Answer {
                at: Instant::now(),
                judgement,
                evidence: None,
            });
        }
        known
    }

    fn first(known: &Known) -> Now {
        known.now(&known.entries[0])
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_grows_stale_and_then_says_nothing() {
        let mut known = known(State::Ok);
        assert_eq!(first(&known).judgement.message, "because");
        assert!(!first(&known).stale);

        known.entries[0].failed = Some("Prometheus is away: refused".into());
        advance(SECOND * 20).await;
        let now = first(&known);
        assert!(now.stale);
        assert_eq!(now.judgement.state, State::Ok);
        assert_eq!(now.judgement.availability, Some(0.5));
        let message = "as of 20 s ago, since then Prometheus is away: refused: because";
        assert_eq!(now.judgement.message, message);

        advance(SECOND * 41).await;
        let now = first(&known);
        assert!(now.stale);
        assert_eq!(now.judgement.state, State::Unknown);
        assert_eq!(now.judgement.availability, None);
        assert!(now.judgement.message.contains("refused"), "{now:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_does_not_keep_an_answer_fresh() {
        let known = known(State::Ok);
        advance(SECOND * 31).await;
        assert!(first(&known).stale);
        advance(SECOND * 30).await;
        assert_eq!(first(&known).judgement.state, State::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_budget_that_is_known_to_burn_holds_replays() {
        for state in State::ALL {
            let known = known(state);
            assert_eq!(known.burns(), state == State::Critical, "{state}");
        }
        let mut known = known(State::Critical);
        advance(SECOND * 61).await;
        assert!(!known.burns(), "what it was is not known to be so still");
        for entry in &mut known.entries {
            entry.last = None;
        }
        assert!(known.burns(), "the answer is on its way");
        known.prometheus = Reach::Off;
        assert!(!known.burns(), "nobody is asked");
        known.prometheus = Reach::NotAsked;
        for entry in &mut known.entries {
            entry.failed = Some("no answer".into());
        }
        assert!(!known.burns(), "there was none");
        let mut known = self::known(State::Critical);
        known
            .entries
            .retain(|entry| entry.objective.name != objective::FORWARDER);
        assert!(!known.burns(), "another's budget");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_counted_is_judged_anew_when_something_is_set() {
        let mut known = known(State::Ok);
        let counts = |objective: &Objective| {
            let each = objective.windows().into_iter();
            each.map(|window| (window, Count::of_bad(20.0, 1_000.0)))
                .collect()
        };
        for entry in &mut known.entries {
            let last = entry.last.as_mut().expect("an answer");
            last.evidence = Some(Evidence {
                counts: counts(&entry.objective),
                quantile: None,
            });
        }
        let mut objectives = built_in();
        objectives.swap(0, 1);
        objectives[1].target = 0.96;
        known.follow(objectives);
        assert_eq!(known.entries.len(), built_in().len());
        assert!(known.entries.iter().all(|entry| entry.last.is_some()));
        let left = known.now(&known.entries[1]).judgement.budget_left;
        assert!(
            left.is_some_and(|left| (left - 0.5).abs() < 1e-9),
            "{left:?}"
        );
        let untouched = known.now(&known.entries[2]).judgement;
        assert_eq!(untouched.message, "because");
    }

    #[test]
    fn a_budget_goes_down_step_by_step() {
        let mut entry = Entry::new(built_in().swap_remove(0));
        entry.objective.target = 0.9;
        entry.steps = [(100, 5.0), (200, 0.0), (300, 20.0)]
            .map(|(at, bad)| (at, Count::of_bad(bad, 100.0)))
            .into();
        let left: Vec<_> = entry.burn_down();
        let texts: Vec<_> = left
            .iter()
            .map(|(at, left)| format!("{at} {left:.3}"))
            .collect();
        assert_eq!(texts, ["100 0.833", "200 0.833", "300 0.167"]);
        entry.steps = Arc::default();
        assert_eq!(entry.burn_down(), []);
    }
}
