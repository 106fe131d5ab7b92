//! What is good enough: one of the objectives of an SLO.

use super::super::objective::{Indicator, Op};
use super::super::query;
use super::super::window::{LADDER, Window};
use super::place::{Map, Place};
use super::sli::Sli;

/// From one look at a value to the next, where events are occurrences.
const LOOK: Window = Window::minutes(1);
/// The shortest stretch that a burn is looked at over: it must have a moment in it.
const SHORTEST: Window = LADDER[0];

/// What spends the budget.
#[derive(Clone, Copy)]
pub(super) enum Budgeting {
    Occurrences,
    Timeslices,
}

/// One item of `objectives`.
pub(super) struct Target {
    /// For people.
    pub(super) title: Option<String>,
    /// The share that must be good.
    pub(super) target: f64,
    pub(super) indicator: Indicator,
}

impl Target {
    pub(super) fn read(
        place: &Place<'_>,
        sli: Option<&Sli>,
        budgeting: Option<Budgeting>,
    ) -> Option<Self> {
        let map = place.map(&[
            "displayName",
            "op",
            "value",
            "target",
            "targetPercent",
            "timeSliceTarget",
            "timeSliceWindow",
            "indicator",
            "indicatorRef",
            "compositeWeight",
        ])?;
        map.refuse(
            &["indicator", "indicatorRef", "compositeWeight"],
            "composite objectives are not supported; expected an SLO for each indicator",
        );
        let title = map.get("displayName").and_then(|title| title.text());
        let target = target(&map);
        let slice = match budgeting {
            Some(Budgeting::Timeslices) => Some(Slice::read(&map)),
            Some(Budgeting::Occurrences) => {
                map.refuse(
                    &["timeSliceTarget", "timeSliceWindow"],
                    "belongs to budgetingMethod: Timeslices",
                );
                None
            }
            None => None,
        };
        let indicator = match sli? {
            Sli::Ratio { part, total } => {
                map.refuse(&["op", "value"], "belongs to a thresholdMetric");
                let ratio = Indicator::Ratio {
                    part: part.clone(),
                    total: total.clone(),
                };
                match slice {
                    None => ratio,
                    Some(slice) => slice?.of_ratio(&ratio),
                }
            }
            Sli::Threshold { query } => {
                let op = map.need("op").and_then(|op| op.one_of(&OPS));
                let bound = map.need("value");
                let bound = bound.and_then(|bound| bound.number(|_| true, "a number"));
                let (query, op, (bound, _)) = (query.clone(), op?, bound?);
                match slice {
                    None => Indicator::Moments {
                        query,
                        op,
                        bound,
                        every: LOOK,
                    },
                    Some(slice) => slice?.of_value(query, op, bound),
                }
            }
        };
        budgeting?;
        Some(Self {
            title: title.map(str::to_owned),
            target: target?,
            indicator,
        })
    }
}

const OPS: [(&str, Op); 4] = [
    ("lt", Op::Lt),
    ("lte", Op::Lte),
    ("gt", Op::Gt),
    ("gte", Op::Gte),
];

/// When a slice of time is good: where so large a share of what is in it is.
struct Slice {
    every: Window,
    share: f64,
}

impl Slice {
    fn read(map: &Map<'_>) -> Option<Self> {
        let share = map.need("timeSliceTarget").and_then(|share| {
            share.number(
                |share| share > 0.0 && share <= 1.0,
                "a number above 0 and not above 1",
            )
        });
        let window = map.need("timeSliceWindow");
        let every = window.and_then(|window| {
            // A bare number is minutes.
            let text = window.scalar().unwrap_or_default();
            let seconds = text
                .parse()
                .ok()
                .and_then(|minutes: u64| minutes.checked_mul(60));
            let seconds = seconds.or_else(|| duration(text).ok());
            let fits = seconds.filter(|seconds| (60..=SHORTEST.as_secs()).contains(seconds));
            let every = fits.map(Window::seconds);
            window.noted(
                every,
                format!("1m to {SHORTEST}, the shortest stretch that a burn is looked at over"),
            )
        });
        Some(Self {
            every: every?,
            share: share?.0,
        })
    }

    fn of_ratio(self, ratio: &Indicator) -> Indicator {
        Indicator::Moments {
            query: format!("1 - {}", query::bad_share(ratio, self.every)),
            op: Op::Gte,
            bound: self.share,
            every: self.every,
        }
    }

    fn of_value(self, query: String, op: Op, bound: f64) -> Indicator {
        let every = self.every;
        // Within the shortest slice there is one look, so that any share of it is all of it.
        if every <= LOOK {
            return Indicator::Moments {
                query,
                op,
                bound,
                every,
            };
        }
        let op = op.as_str();
        Indicator::Moments {
            query: format!(
                "avg_over_time(((({query}) >= -Inf) {op} bool {bound})[{every}:{LOOK}])"
            ),
            op: Op::Gte,
            bound: self.share,
            every,
        }
    }
}

fn target(map: &Map<'_>) -> Option<f64> {
    let within = |most: f64| move |number: f64| number > 0.0 && number < most;
    match (map.get("target"), map.get("targetPercent")) {
        (Some(target), None) => {
            let found = target.number(within(1.0), "a number above 0 and below 1");
            found.map(|(number, _)| number)
        }
        (None, Some(percent)) => {
            let what = "a number above 0 and below 100";
            let (number, text) = percent.number(within(100.0), what)?;
            // 99.9 % is 0.999 and nothing beside it.
            let shifted = format!("{text}e-2").parse().unwrap_or(number / 100.0);
            let target = Some(shifted).filter(|target| within(1.0)(*target));
            percent.noted(target, what)
        }
        (None, None) => {
            map.place.refuse("target or targetPercent is missing");
            None
        }
        (Some(_), Some(percent)) => {
            percent.refuse("either target or targetPercent, not both");
            None
        }
    }
}

/// The duration shorthand of the specification, in seconds.
///
/// # Errors
/// What has no fixed length, if it is that.
pub(super) fn duration(text: &str) -> Result<u64, Option<&'static str>> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| None)?;
    let seconds = match &text[digits.len()..] {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "M" => return Err(Some("a month")),
        "Q" => return Err(Some("a quarter")),
        "Y" => return Err(Some("a year")),
        _ => return Err(None),
    };
    number.checked_mul(seconds).ok_or(None)
}
