//! Names and `metadata`.

use super::place::{Map, Place};

/// Before the slash of the annotations that are read.
const PREFIX: &str = "mutt-remediation/";
/// How few events are enough to judge by, and whether silence is nothing unusual.
pub(super) const ANNOTATIONS: [&str; 2] =
    ["mutt-remediation/min-events", "mutt-remediation/sparse"];

/// What a setting of an objective ends in. A name that ends so would read as a setting.
const SETTINGS: [&str; 3] = ["_window_hours", "_burn_rate_warning", "_burn_rate_critical"];

/// Characters of a name, as the specification has it.
const MAX_NAME: usize = 63;

/// A name as this worker has them, in labels and settings: dashes become underscores.
pub(super) fn of(place: &Place<'_>) -> Option<String> {
    let text = place.text()?;
    let name = text.replace('-', "_");
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let sound = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(letters);
    if !sound {
        place.expected(format!(
            "lower-case letters, digits and dashes, beginning with a letter, {MAX_NAME} at most"
        ));
        return None;
    }
    if let Some(setting) = SETTINGS.iter().find(|setting| name.ends_with(**setting)) {
        place.refuse(format!(
            "{text} would read as a setting, for it ends in {setting}"
        ));
        return None;
    }
    Some(name)
}

/// The metadata of anything, with no keys but those that it can have.
pub(super) fn metadata<'a>(place: &Place<'a>) -> Option<Map<'a>> {
    let map = place.map(&["name", "displayName", "labels", "annotations"])?;
    if let Some(labels) = map.get("labels") {
        labels.any_map();
    }
    let annotations = map.get("annotations").and_then(|map| map.any_map());
    for annotation in annotations.iter().flat_map(Map::values) {
        if annotation.key().starts_with(PREFIX) && !ANNOTATIONS.contains(&annotation.key()) {
            annotation.unknown(&ANNOTATIONS);
        }
    }
    Some(map)
}
