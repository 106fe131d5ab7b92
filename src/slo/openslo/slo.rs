//! An SLO: what is good enough, over what time.

use std::collections::BTreeMap;

use super::super::objective::{CRITICAL, Indicator, Lull, MIN_EVENTS, Objective, PERIOD, WARNING};
use super::super::window::{LADDER, Window};
use super::names::{self, ANNOTATIONS};
use super::place::{Map, Place};
use super::sli::{self, Sli, Sources};
use super::target::{Budgeting, Target, duration};

/// Objectives of one SLO, or of a whole file.
pub(super) const MAX_OBJECTIVES: usize = 100;
/// Characters of a description, as the specification has it.
const MAX_DESCRIPTION: usize = 1_050;
/// The shortest stretch that must have enough moments in it, see [`Objective::pairs`].
const SHORTEST_LONG: Window = LADDER[1];

/// What a file has beside its SLOs.
pub(super) struct Known<'a> {
    /// Indicators by name; those that are wrong have been noted.
    pub(super) slis: BTreeMap<&'a str, Option<Sli>>,
    pub(super) sources: Sources<'a>,
}

/// The objectives of an SLO, with the place of each; those that are wrong are noted.
pub(super) fn read<'a>(
    metadata: &Map<'a>,
    spec: &Place<'a>,
    known: &Known<'_>,
) -> Option<Vec<(Place<'a>, Objective)>> {
    let map = spec.map(&[
        "description",
        "service",
        "indicator",
        "indicatorRef",
        "timeWindow",
        "budgetingMethod",
        "objectives",
        "alertPolicies",
    ])?;
    let name = metadata.get("name").and_then(|name| names::of(&name));
    let component = match map.get("service") {
        Some(service) => names::of(&service),
        None => name.clone(),
    };
    let annotations = annotations(metadata);
    let sli = indicator(&map, known);
    let period = match map.get("timeWindow") {
        Some(windows) => period(&windows),
        None => Some(PERIOD),
    };
    let budgeting = match map.get("budgetingMethod") {
        Some(method) => budgeting(&method),
        None => Some(Budgeting::Occurrences),
    };
    let description = description(metadata, &map);
    let objectives = map.need("objectives")?;
    let places = objectives.list()?;
    if places.is_empty() || places.len() > MAX_OBJECTIVES {
        objectives.refuse(format!(
            "{} objectives, expected 1 to {MAX_OBJECTIVES}",
            places.len()
        ));
        return None;
    }
    let several = places.len() > 1;
    let mut found = vec![];
    for (number, place) in (1..).zip(places) {
        // Each is looked at, also where the SLO itself is wrong.
        let one = Target::read(&place, sli.as_ref(), budgeting);
        let (Some(one), Some(name), Some(component), Some(period)) =
            (one, &name, &component, period)
        else {
            continue;
        };
        let name = if several {
            format!("{name}_{number}")
        } else {
            name.clone()
        };
        let subject = description.as_deref().unwrap_or(&name);
        let description = match one.title {
            Some(title) if several => format!("{subject}: {}", one_line(&title)),
            _ => subject.to_owned(),
        };
        let objective = Objective {
            name,
            component: component.clone(),
            description,
            min_events: annotations
                .min_events
                .unwrap_or_else(|| few(&one.indicator)),
            lull: if annotations.sparse {
                Lull::Any
            } else {
                Lull::Minutes
            },
            indicator: one.indicator,
            target: one.target,
            period,
            warning: WARNING,
            critical: CRITICAL,
        };
        found.push((place, objective));
    }
    Some(found)
}

/// How many events are needed unless the file says so. Moments come at their own pace, and even the
/// shortest stretch must be able to have enough of them.
fn few(indicator: &Indicator) -> u64 {
    match indicator {
        Indicator::Moments { every, .. } => {
            MIN_EVENTS.min(SHORTEST_LONG.as_secs() / every.as_secs())
        }
        _ => MIN_EVENTS,
    }
}

fn indicator(map: &Map<'_>, known: &Known<'_>) -> Option<Sli> {
    match (map.get("indicator"), map.get("indicatorRef")) {
        (Some(inline), None) => {
            let inline = inline.map(&["metadata", "spec"])?;
            if let Some(metadata) = inline.get("metadata") {
                names::metadata(&metadata);
            }
            sli::read(&inline.need("spec")?, &known.sources)
        }
        (None, Some(reference)) => {
            let found = known.slis.get(reference.text()?);
            let found = reference.noted(found, "the name of an SLI in this file");
            found.cloned().flatten()
        }
        (None, None) => {
            map.place.refuse("indicator or indicatorRef is missing");
            None
        }
        (Some(_), Some(reference)) => {
            reference.refuse("either indicator or indicatorRef, not both");
            None
        }
    }
}

fn budgeting(method: &Place<'_>) -> Option<Budgeting> {
    if method.scalar() == Some("RatioTimeslices") {
        method.refuse("RatioTimeslices is not supported; expected Occurrences or Timeslices");
        return None;
    }
    method.one_of(&[
        ("Occurrences", Budgeting::Occurrences),
        ("Timeslices", Budgeting::Timeslices),
    ])
}

fn period(windows: &Place<'_>) -> Option<Window> {
    let list = windows.list()?;
    let [window] = list.as_slice() else {
        windows.refuse(format!("{} time windows, expected one", list.len()));
        return None;
    };
    let map = window.map(&["duration", "isRolling", "calendar"])?;
    map.refuse(
        &["calendar"],
        "a window by the calendar is not supported; expected one that is rolling",
    );
    if let Some(rolling) = map.get("isRolling")
        && rolling.flag() == Some(false)
    {
        rolling.refuse("false, expected true: a window by the calendar is not supported");
    }
    let duration_place = map.need("duration")?;
    let what = "whole hours, from 1h to 90d, such as 24h, 30d or 4w";
    match duration(duration_place.scalar().unwrap_or_default()) {
        Ok(seconds) => {
            let fits = seconds.is_multiple_of(3_600) && (3_600..=90 * 86_400).contains(&seconds);
            duration_place.noted(fits.then(|| Window::seconds(seconds)), what)
        }
        Err(Some(unit)) => {
            duration_place.expected(format!("{what}: {unit} has no fixed length"));
            None
        }
        Err(None) => {
            duration_place.expected(what);
            None
        }
    }
}

fn description(metadata: &Map<'_>, map: &Map<'_>) -> Option<String> {
    if let Some(place) = map.get("description") {
        let text = one_line(place.text()?);
        if text.chars().count() > MAX_DESCRIPTION {
            place.refuse(format!("longer than {MAX_DESCRIPTION} characters"));
        }
        return Some(text);
    }
    metadata.get("displayName")?.text().map(one_line)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Annotations {
    min_events: Option<u64>,
    sparse: bool,
}

/// What OpenSLO has no field for. Values of annotations are text, with quotes or without.
fn annotations(metadata: &Map<'_>) -> Annotations {
    let mut found = Annotations::default();
    let Some(map) = metadata.get("annotations").and_then(|map| map.any_map()) else {
        return found;
    };
    let [min_events, sparse] = ANNOTATIONS;
    if let Some(place) = map.get(min_events) {
        let number = place.scalar().and_then(|text| text.parse().ok());
        let number = number.filter(|number| (1..=1_000_000_000).contains(number));
        found.min_events = place.noted(number, "a whole number from 1 to 1000000000");
    }
    if let Some(place) = map.get(sparse) {
        let flag = place.scalar().and_then(|text| text.parse().ok());
        found.sparse = place.noted(flag, "true or false").unwrap_or_default();
    }
    found
}
