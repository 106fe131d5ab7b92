//! What operators may set of the objectives, by environment and while running. Pure.

use crate::config::value::{Value, Whole};

use super::objective::{self, Objective};
use super::window::Window;

/// The settings of the objectives.
#[derive(Clone, Debug, PartialEq)]
pub struct Knobs {
    /// Whether anybody is asked for them; else there is nothing to change while running.
    pub asked: bool,
    /// The objectives before anything was set of them.
    pub base: Vec<Objective>,
    /// Those whose period and rates are their own, because a file gives them.
    pub own_period: Vec<String>,
    /// Of `ingestor_availability`.
    pub ingest_target: Option<f64>,
    /// Of `forwarder_availability`.
    pub forward_target: Option<f64>,
    /// Of all that have no period of their own.
    pub hours: u64,
    /// Of all.
    pub warning: f64,
    /// Of all.
    pub critical: f64,
    /// Of single ones, in the order of `base`.
    pub single: Vec<Single>,
    /// Whether replays are held while the forwarder's budget burns critically.
    pub gate: bool,
}

/// What is set of a single objective, where it differs from the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Single {
    /// Its period.
    pub hours: Option<u64>,
    /// Its burn rate of a warning.
    pub warning: Option<f64>,
    /// Its burn rate that is critical.
    pub critical: Option<f64>,
}

/// A share between none and all, none of both included.
#[derive(Clone, Copy, Debug)]
pub struct Target(pub f64);

impl Value for Target {
    fn expected() -> String {
        "a share above 0 and below 1, such as 0.999".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let target: f64 = text.parse().ok()?;
        // Closer to all than this the budget is so small that nothing can be told of it.
        (target > 0.0 && target <= 0.999_999_9).then_some(Self(target))
    }
}

/// How many times as fast as it may be the budget is spent.
#[derive(Clone, Copy, Debug)]
pub struct BurnRate(pub f64);

impl Value for BurnRate {
    fn expected() -> String {
        "a burn rate from 1 to 1000, such as 14.4".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let rate: f64 = text.parse().ok()?;
        (1.0..=1_000.0).contains(&rate).then_some(Self(rate))
    }
}

/// Hours of a period: 90 days at most.
pub type Hours = Whole<1, 2_160>;

impl Knobs {
    /// Nothing is set of these objectives.
    #[must_use]
    pub fn new(base: Vec<Objective>, own_period: Vec<String>) -> Self {
        Self {
            asked: false,
            single: vec![Single::default(); base.len()],
            base,
            own_period,
            ingest_target: None,
            forward_target: None,
            hours: objective::PERIOD.as_hours(),
            warning: objective::WARNING,
            critical: objective::CRITICAL,
            gate: false,
        }
    }

    /// The objectives as they are set.
    #[must_use]
    pub fn objectives(&self) -> Vec<Objective> {
        let each = self.base.iter().zip(&self.single);
        each.map(|(base, single)| self.set(base, single)).collect()
    }

    fn set(&self, base: &Objective, single: &Single) -> Objective {
        let target = match base.name.as_str() {
            objective::INGESTOR => self.ingest_target,
            objective::FORWARDER => self.forward_target,
            _ => None,
        };
        let own = self.own_period.contains(&base.name);
        let period = if own {
            base.period
        } else {
            Window::hours(self.hours)
        };
        Objective {
            target: target.unwrap_or(base.target),
            period: single.hours.map_or(period, Window::hours),
            warning: single.warning.unwrap_or(self.warning),
            critical: single.critical.unwrap_or(self.critical),
            ..base.clone()
        }
    }

    /// All that can be changed while running.
    #[must_use]
    pub fn all(&self) -> Vec<Knob> {
        if self.asked { self.every() } else { vec![] }
    }

    /// All that can be set.
    #[must_use]
    pub fn every(&self) -> Vec<Knob> {
        let mut all = vec![
            Knob::of_all("slo_ingest_success_target", What::IngestTarget),
            Knob::of_all("slo_forward_success_target", What::ForwardTarget),
            Knob::of_all("slo_window_hours", What::Hours),
            Knob::of_all("slo_burn_rate_warning", What::Warning),
            Knob::of_all("slo_burn_rate_critical", What::Critical),
            Knob::of_all("replay_slo_gate", What::Gate),
        ];
        for (index, objective) in self.base.iter().enumerate() {
            for what in [What::Hours, What::Warning, What::Critical] {
                all.push(Knob {
                    name: format!("slo_{}_{}", objective.name, what.suffix()),
                    what,
                    single: Some(index),
                });
            }
        }
        all
    }
}

/// One thing that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Its name as a dynamic key; in capitals that of its variable.
    pub name: String,
    what: What,
    /// Which objective it is of, if it is of one alone.
    single: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    IngestTarget,
    ForwardTarget,
    Hours,
    Warning,
    Critical,
    Gate,
}

impl What {
    fn suffix(self) -> &'static str {
        match self {
            Self::Warning => "burn_rate_warning",
            Self::Critical => "burn_rate_critical",
            _ => "window_hours",
        }
    }
}

impl Knob {
    fn of_all(name: &str, what: What) -> Self {
        Self {
            name: name.to_owned(),
            what,
            single: None,
        }
    }

    /// Whether it is of one objective alone.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.single.is_some()
    }

    /// Whether it is of one objective, and nothing is set of that.
    #[must_use]
    pub fn follows(&self, knobs: &Knobs) -> bool {
        let Some(single) = self.single.and_then(|index| knobs.single.get(index)) else {
            return false;
        };
        match self.what {
            What::Warning => single.warning.is_none(),
            What::Critical => single.critical.is_none(),
            _ => single.hours.is_none(),
        }
    }

    /// Sets it.
    ///
    /// # Errors
    /// What was expected.
    pub fn apply(&self, knobs: &mut Knobs, text: &str) -> Result<(), String> {
        let mut single = self.single.and_then(|index| knobs.single.get_mut(index));
        match self.what {
            What::IngestTarget => {
                let Target(target) = parsed(text)?;
                knobs.ingest_target = Some(target);
            }
            What::ForwardTarget => {
                let Target(target) = parsed(text)?;
                knobs.forward_target = Some(target);
            }
            What::Gate => {
                let crate::config::value::Flag(on) = parsed(text)?;
                knobs.gate = on;
            }
            What::Hours => {
                let hours = parsed::<Hours>(text)?.0;
                match &mut single {
                    Some(single) => single.hours = Some(hours),
                    None => knobs.hours = hours,
                }
            }
            What::Warning => {
                let BurnRate(rate) = parsed(text)?;
                match &mut single {
                    Some(single) => single.warning = Some(rate),
                    None => knobs.warning = rate,
                }
            }
            What::Critical => {
                let BurnRate(rate) = parsed(text)?;
                match &mut single {
                    Some(single) => single.critical = Some(rate),
                    None => knobs.critical = rate,
                }
            }
        }
        Ok(())
    }

    /// The text that would set it as it is.
    #[must_use]
    pub fn show(&self, knobs: &Knobs) -> String {
        let named = |name: &str| knobs.base.iter().find(|one| one.name == name);
        let target = |set: Option<f64>, name: &str| {
            let built_in = named(name).map_or(0.0, |one| one.target);
            set.unwrap_or(built_in).to_string()
        };
        let of = self.single.and_then(|index| {
            let base = knobs.base.get(index)?;
            Some(knobs.set(base, knobs.single.get(index)?))
        });
        match self.what {
            What::IngestTarget => target(knobs.ingest_target, objective::INGESTOR),
            What::ForwardTarget => target(knobs.forward_target, objective::FORWARDER),
            What::Gate => knobs.gate.to_string(),
            What::Hours => of
                .map_or(knobs.hours, |one| one.period.as_hours())
                .to_string(),
            What::Warning => of.map_or(knobs.warning, |one| one.warning).to_string(),
            What::Critical => of.map_or(knobs.critical, |one| one.critical).to_string(),
        }
    }
}

fn parsed<T: Value>(text: &str) -> Result<T, String> {
    T::parse(text.trim()).ok_or_else(T::expected)
}
