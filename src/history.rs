//! What the drains have done in the last hours, a point every ten seconds, for the console's charts.
//!
//! Read off the metrics and kept in memory, a bounded ring: a restart begins anew, and Prometheus
//! remembers what is older.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::{SourceMetrics, SurveyMetrics, Totals};

/// Time between two points.
const PERIOD: Duration = Duration::from_secs(10);
/// Points that are kept: six hours.
const KEPT: usize = 2_160;
/// Points of a chart, about.
const SHOWN: usize = 360;

/// A source that is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The list that it drains.
    pub list: String,
    /// What it counts.
    pub metrics: SourceMetrics,
}

/// The points. Cheap to clone; all clones see the same.
#[derive(Clone, Debug)]
pub struct History {
    sources: Arc<Vec<String>>,
    points: Arc<Mutex<VecDeque<Point>>>,
}

/// What was counted at one moment, for each source in turn.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    at: i64,
    sources: Vec<(Totals, Option<i64>)>,
}

/// A stretch of time as a chart shows it: one value a point, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Chart {
    /// When, in Unix seconds.
    pub at: Vec<i64>,
    /// The sources.
    pub sources: Vec<Line>,
}

/// One source in a chart. Rates are of the time since the point before, messages a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub source: String,
    /// Replays a second.
    pub replayed: Vec<f64>,
    /// Messages parked a second.
    pub parked: Vec<f64>,
    /// Replays that came back, a second.
    pub bounced: Vec<f64>,
    /// Messages in its list; missing where it could not be read.
    pub depth: Vec<Option<i64>>,
}

impl History {
    /// Nothing yet, of these sources.
    #[must_use]
    pub fn new(sources: Vec<String>) -> Self {
        Self {
            sources: Arc::new(sources),
            points: Arc::default(),
        }
    }

    /// Takes a point every ten seconds until cancelled, of the sources in their order.
    pub async fn run(
        self,
        watched: Vec<Watched>,
        survey: SurveyMetrics,
        cancel: CancellationToken,
    ) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let sources = watched.iter();
            let sources = sources.map(|one| (one.metrics.totals(), survey.depth_of(&one.list)));
            self.add(Point {
                at: jiff::Timestamp::now().as_second(),
                sources: sources.collect(),
            });
        }
    }

    fn add(&self, point: Point) {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        // After a clock was set back what lies ahead of it would be drawn as well.
        while points.back().is_some_and(|last| last.at >= point.at) {
            points.pop_back();
        }
        points.push_back(point);
        while points.len() > KEPT {
            points.pop_front();
        }
    }

    /// The last so many seconds.
    #[must_use]
    pub fn chart(&self, seconds: i64) -> Chart {
        let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(newest) = points.back().map(|point| point.at) else {
            return Chart::default();
        };
        let within = points.iter().filter(|point| point.at >= newest - seconds);
        let within: Vec<&Point> = within.collect();
        let step = within.len().div_ceil(SHOWN).max(1);
        // The newest is among them, so that steps are counted from it.
        let shown: Vec<&Point> = within.iter().rev().step_by(step).rev().copied().collect();
        let mut chart = Chart {
            at: shown.iter().skip(1).map(|point| point.at).collect(),
            sources: vec![],
        };
        for (index, source) in self.sources.iter().enumerate() {
            let mut line = Line {
                source: source.clone(),
                ..Line::default()
            };
            for pair in shown.windows(2) {
                let (before, after) = (&pair[0].sources[index].0, &pair[1].sources[index].0);
                let rate = |before: u64, after: u64| {
                    let time = (pair[1].at - pair[0].at).max(1);
                    #[expect(clippy::cast_precision_loss, reason = "a chart shows three digits")]
                    let rate = after.saturating_sub(before) as f64 / time as f64;
                    rate
                };
                line.replayed.push(rate(before.replayed, after.replayed));
                line.parked.push(rate(before.parked, after.parked));
                line.bounced.push(rate(before.bounced, after.bounced));
                line.depth.push(pair[1].sources[index].1);
            }
            chart.sources.push(line);
        }
        chart
    }

    /// What a source has done in the last so many seconds, and in how many of them it was seen.
    #[must_use]
    pub fn sums(&self, source: &str, seconds: i64) -> Option<(Totals, i64)> {
        let index = self.sources.iter().position(|known| known == source)?;
        let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = points.back()?;
        let oldest = points
            .iter()
            .find(|point| point.at >= newest.at - seconds)?;
        let (before, after) = (oldest.sources[index].0, newest.sources[index].0);
        let done = Totals {
            replayed: after.replayed.saturating_sub(before.replayed),
            parked: after.parked.saturating_sub(before.parked),
            bounced: after.bounced.saturating_sub(before.bounced),
        };
        Some((done, newest.at - oldest.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(at: i64, replayed: u64) -> Point {
        let totals = Totals {
            replayed,
            parked: replayed / 10,
            bounced: 0,
        };
        Point {
            at,
            sources: vec![(totals, Some(7))],
        }
    }

    fn filled(points: impl IntoIterator<Item = Point>) -> History {
        let history = History::new(vec!["alerter".into()]);
        for point in points {
            history.add(point);
        }
        history
    }

    #[test]
    fn a_rate_is_of_the_time_that_has_really_passed() {
        let history = filled([of(100, 0), of(110, 50), of(140, 350)]);
        let chart = history.chart(3_600);
        assert_eq!(chart.at, [110, 140]);
        assert_eq!(chart.sources[0].replayed, [5.0, 10.0]);
        assert_eq!(chart.sources[0].depth, [Some(7), Some(7)]);
        let (sums, time) = history.sums("alerter", 3_600).expect("sums");
        assert_eq!((sums.replayed, sums.parked, time), (350, 35, 40));
        assert_eq!(history.sums("nobody", 3_600), None);
    }

    #[test]
    fn what_is_kept_and_what_is_shown_is_bounded() {
        let history = filled((0..5_000).map(|n: u32| of(i64::from(n) * 10, u64::from(n))));
        let kept = history.points.lock().expect("points").len();
        assert_eq!(kept, KEPT);
        let chart = history.chart(i64::MAX / 2);
        assert!(chart.at.len() <= SHOWN + 1, "{}", chart.at.len());
        assert_eq!(chart.at.last(), Some(&49_990), "the newest is shown");
    }

    #[test]
    fn a_clock_set_back_leaves_nothing_ahead_of_it() {
        let history = filled([of(100, 1), of(200, 2), of(150, 3)]);
        assert_eq!(history.chart(3_600).at, [150]);
    }

    #[test]
    fn nothing_is_drawn_of_a_single_point() {
        assert_eq!(filled([]).chart(60), Chart::default());
        assert!(filled([of(1, 1)]).chart(60).at.is_empty());
    }
}
