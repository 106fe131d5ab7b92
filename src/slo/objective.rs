//! What is promised, as data: which events count, how many of them must be good, and over what time.

use super::judge::{Judgement, State};
use super::window::{Pair, Pairs, Window};

/// One service level objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Lower-case letters, digits and `_`, beginning with a letter; unique.
    pub name: String,
    /// What it is promised of: `ingestor`, `forwarder`, ..; like a name.
    pub component: String,
    /// For people.
    pub description: String,
    /// What is counted.
    pub indicator: Indicator,
    /// The share of events that must be good, above 0 and below 1.
    pub target: f64,
    /// The time that it holds over; it rolls on. Whole hours.
    pub period: Window,
    /// Burn rate above which it is a warning.
    pub warning: f64,
    /// Burn rate above which it is critical.
    pub critical: f64,
    /// With fewer events in the period nothing is said; with fewer in a stretch, and few bad ones among
    /// them, there is no burn in it.
    pub min_events: u64,
    /// How long it is nothing unusual that no event comes. Longer silence is `unknown`.
    pub lull: Lull,
}

/// A silence that is nothing unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lull {
    /// Shorter than the long stretch of the critical pair: 15 minutes of 24 h.
    Minutes,
    /// Shorter than the long stretch of the slow pair, and than 6 h.
    Hours,
    /// However long it is.
    Any,
}

impl Objective {
    /// The stretches that its burn is looked at over.
    #[must_use]
    pub fn pairs(&self) -> Pairs {
        // The rate is never above that of nothing but bad events; short of it there must be something.
        let most = (900.0 / (1.0 - self.target)).round() / 1_000.0;
        let pairs = Pairs::of(self.period, self.warning.min(most), self.critical.min(most));
        let slow = Pair {
            burn_rate: pairs.slow.burn_rate.min(most),
            ..pairs.slow
        };
        Pairs { slow, ..pairs }
    }

    /// Every stretch that has to be asked for, each once, the shortest first.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        let mut windows = self.pairs().windows();
        windows.extend([self.period, self.silence()]);
        windows.sort();
        windows.dedup();
        windows
    }

    /// From one point of its charts to the next: about a hundredth of the period, in whole minutes, and
    /// no less than what has two samples in it.
    #[must_use]
    pub fn step(&self) -> Window {
        Window::minutes((self.period.as_secs() / 96 / 60).max(5))
    }

    /// Silence for so long is `unknown`.
    #[must_use]
    pub fn silence(&self) -> Window {
        match self.lull {
            Lull::Minutes => self.pairs().critical.long,
            Lull::Hours => self.pairs().slow.long.min(Window::hours(6)),
            Lull::Any => self.period,
        }
    }

    /// Whether nothing is known of it because nothing happened, to which it is used.
    #[must_use]
    pub fn is_idle(&self, judgement: &Judgement) -> bool {
        let few = judgement
            .events
            .is_some_and(|events| events.round() < count(self.min_events));
        let none_bad = judgement.availability.is_none_or(|share| share >= 1.0);
        self.lull == Lull::Any && judgement.state == State::Unknown && few && none_bad
    }

    /// So many bad events in a stretch make a burn, however few events there are: a third of
    /// `min_events`, and one at least; 3 of 10. Of a latency none are enough, for those are estimated.
    #[must_use]
    pub fn min_bad(&self) -> u64 {
        match self.indicator {
            Indicator::Latency { .. } => u64::MAX,
            _ => (self.min_events / 3).max(1),
        }
    }

    /// The bound in seconds of a latency objective.
    #[must_use]
    pub fn target_seconds(&self) -> Option<f64> {
        match &self.indicator {
            Indicator::Latency { seconds, .. } => Some(*seconds),
            _ => None,
        }
    }
}

/// What is counted. Every series is a selector: a metric's name, and matchers in braces where needed.
#[derive(Clone, Debug, PartialEq)]
pub enum Indicator {
    /// Events, and which of them are good.
    Ratio {
        /// Counter of some of them.
        part: Part,
        /// Counter of them all.
        total: Series,
    },
    /// Events that took no longer than a bound. The target is the share of them, 0.99 for a p99.
    Latency {
        /// The buckets of a histogram in seconds.
        buckets: Series,
        /// The bound.
        seconds: f64,
    },
    /// Moments at which a value was within a bound.
    Moments {
        /// The value, as PromQL; each of its series counts.
        query: String,
        /// How it is compared.
        op: Op,
        /// What with.
        bound: f64,
        /// From one moment to the next.
        every: Window,
    },
}

/// Which part of the events is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those that are good.
    Good(Series),
    /// Those that are not.
    Bad(Series),
}

/// A counter, or the buckets of a histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Series {
    /// A selector, such as `http_requests_total{code="200"}`: its increase over a stretch is summed.
    Selector(String),
    /// PromQL with `{{.window}}` where the stretch belongs, which counts the events of that stretch.
    Template(String),
}

/// What stands in a template for the stretch.
pub const WINDOW: &str = "{{.window}}";

/// How a value is compared with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Below.
    Lt,
    /// At most.
    Lte,
    /// Above.
    Gt,
    /// At least.
    Gte,
}

impl Op {
    /// As PromQL has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lt => "<",
            Self::Lte => "<=",
            Self::Gt => ">",
            Self::Gte => ">=",
        }
    }
}

/// The period unless it is told otherwise.
pub const PERIOD: Window = Window::hours(24);
/// Burn rate of a warning unless it is told otherwise.
pub const WARNING: f64 = 6.0;
/// Burn rate that is critical unless it is told otherwise.
pub const CRITICAL: f64 = 14.4;
/// Events below which nothing is said, unless it is told otherwise.
pub const MIN_EVENTS: u64 = 10;

/// The objective whose budget holds replays, if one does.
pub const FORWARDER: &str = "forwarder_availability";
/// The objective that `slo_ingest_success_target` is of.
pub const INGESTOR: &str = "ingestor_availability";

fn count(number: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody wants more events than that"
    )]
    let number = number as f64;
    number
}
