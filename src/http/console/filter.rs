//! The filter of a queue's page: a form whose fields are the API's parameters, with times as people
//! write them.

use maud::{Markup, html};

use super::Answer;
use crate::http::api::problem::Problem;
use crate::http::api::take::Pairs;
use crate::operate::wire::{FieldText, Filter};
use crate::spell;

/// Why a message may lie where it does.
pub(super) const REASONS: [&str; 6] = [
    "failed",
    "shed",
    "retries_exhausted",
    "malformed",
    "incomplete",
    "operator",
];

/// Takes a filter from a form.
pub(super) fn take(pairs: &mut Pairs) -> Answer<Filter> {
    Ok(Filter {
        reason: pairs.one("reason")?,
        min_age: time(pairs, "min_age")?,
        max_age: time(pairs, "max_age")?,
        host: pairs.one("host")?,
        field: parted(pairs, "field", '=')?,
        contains: parted(pairs, "contains", '~')?,
        text: pairs.one("text")?,
    })
}

fn time(pairs: &mut Pairs, name: &'static str) -> Answer<Option<u64>> {
    let Some(text) = pairs.one(name)? else {
        return Ok(None);
    };
    let seconds = spell::duration(&text);
    let expected = "a time such as 45s, 10m, 1h30m, 2d or 1w";
    let seconds = seconds.map_err(|_| Problem::bad(name, &text, expected))?;
    Ok(Some(seconds))
}

/// One a line, or several fields of the form.
fn parted(pairs: &mut Pairs, name: &'static str, sign: char) -> Answer<Vec<FieldText>> {
    let all = pairs.many(name);
    let lines = all.iter().flat_map(|text| text.lines()).map(str::trim);
    let each = lines.filter(|line| !line.is_empty()).map(|line| {
        let parts = line
            .split_once(sign)
            .filter(|(name, _)| !name.trim().is_empty());
        let expected = format!("name{sign}text");
        let (known, value) = parts.ok_or_else(|| Problem::bad(name, line, &expected))?;
        Ok(FieldText {
            name: known.trim().to_owned(),
            value: value.trim().to_owned(),
        })
    });
    each.collect()
}

/// The same filter as parameters of an address, each with a sign in front.
pub(super) fn query(filter: &Filter) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs(filter) {
        query.append_pair(name, &value);
    }
    query.finish()
}

/// The same as hidden fields of a form.
pub(super) fn hidden(filter: &Filter) -> Markup {
    html! {
        @for (name, value) in pairs(filter) {
            input type="hidden" name=(name) value=(value);
        }
    }
}

/// The same in words; nothing for a filter that matches all.
pub(super) fn words(filter: &Filter) -> String {
    let each = pairs(filter).into_iter().map(|(name, value)| match name {
        "reason" => format!("reason {value}"),
        "min_age" => format!("at least {value} old"),
        "max_age" => format!("at most {value} old"),
        "host" => format!("host {value}"),
        "text" => format!("text {value:?}"),
        _ => value,
    });
    each.collect::<Vec<_>>().join(", ")
}

fn pairs(filter: &Filter) -> Vec<(&'static str, String)> {
    let mut pairs = vec![];
    let mut add = |name, value: Option<String>| {
        if let Some(value) = value {
            pairs.push((name, value));
        }
    };
    add("reason", filter.reason.clone());
    add("min_age", filter.min_age.map(span));
    add("max_age", filter.max_age.map(span));
    add("host", filter.host.clone());
    for field in &filter.field {
        add("field", Some(format!("{}={}", field.name, field.value)));
    }
    for field in &filter.contains {
        add("contains", Some(format!("{}~{}", field.name, field.value)));
    }
    add("text", filter.text.clone());
    pairs
}

/// A time that is read back as it was: none of its units is dropped.
fn span(seconds: u64) -> String {
    let shown = spell::seconds(seconds);
    let same = spell::duration(&shown) == Ok(seconds);
    if same { shown } else { format!("{seconds}s") }
}

/// The fields to fill in.
pub(super) fn common(filter: &Filter) -> Markup {
    let known = filter.reason.as_deref().unwrap_or_default();
    html! {
        div .field {
            label for="f-reason" { "Reason" }
            select #f-reason name="reason" {
                option value="" { "any" }
                @for reason in REASONS {
                    option value=(reason) selected[reason == known] { (reason.replace('_', " ")) }
                }
                @if !known.is_empty() && !REASONS.contains(&known) {
                    option value=(known) selected { (known) }
                }
            }
        }
        div .field {
            label for="f-host" { "Host" }
            input #f-host name="host" value=[filter.host.as_deref()] maxlength="1000" spellcheck="false";
        }
        div .field {
            label for="f-text" { "Text" }
            input #f-text name="text" value=[filter.text.as_deref()] maxlength="1000" spellcheck="false"
                placeholder="to the letter, anywhere";
        }
        div .field.short {
            label for="f-min" { "At least so old" }
            input #f-min name="min_age" value=[filter.min_age.map(span)] placeholder="1h30m" spellcheck="false";
        }
        div .field.short {
            label for="f-max" { "At most" }
            input #f-max name="max_age" value=[filter.max_age.map(span)] placeholder="2d" spellcheck="false";
        }
    }
}

/// Those for members of a message, which fewer people need.
pub(super) fn members(filter: &Filter) -> Markup {
    let lines = |fields: &[FieldText], sign: char| {
        let each = fields
            .iter()
            .map(|field| format!("{}{sign}{}", field.name, field.value));
        each.collect::<Vec<_>>().join("\n")
    };
    html! {
        details .field open[!filter.field.is_empty() || !filter.contains.is_empty()] {
            summary { "Fields" }
            label for="f-field" { "Equal to: " code { "name=value" } ", one a line" }
            textarea #f-field name="field" rows="2" spellcheck="false" { (lines(&filter.field, '=')) }
            label for="f-contains" { "Containing: " code { "name~text" } ", one a line" }
            textarea #f-contains name="contains" rows="2" spellcheck="false" { (lines(&filter.contains, '~')) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_survives_the_way_through_an_address() {
        let field = |name: &str, value: &str| FieldText {
            name: name.into(),
            value: value.into(),
        };
        let filter = Filter {
            reason: Some("failed".into()),
            min_age: Some(3_661),
            max_age: Some(172_800),
            host: Some("a&b=c".into()),
            field: vec![field("x", "1=2"), field("y", "")],
            contains: vec![field("msg", "down~up")],
            text: Some("\"é".into()),
        };
        let mut pairs = Pairs::of_form(&query(&filter)).expect("pairs");
        assert_eq!(take(&mut pairs).expect("a filter"), filter);
        assert!(pairs.end().is_ok());
        assert!(
            words(&filter).contains("at most 2d00h old"),
            "{}",
            words(&filter)
        );
        assert_eq!(words(&Filter::default()), "");
    }

    #[test]
    fn what_is_no_filter_is_refused_by_name() {
        for bad in [
            "min_age=soon",
            "field=x",
            "contains=%3D",
            "reason=a&reason=b",
        ] {
            let mut pairs = Pairs::of_form(bad).expect("pairs");
            assert!(take(&mut pairs).is_err(), "{bad}");
        }
        let mut pairs = Pairs::of_form("reason=&min_age=&field=%0A").expect("pairs");
        assert_eq!(take(&mut pairs).expect("a filter"), Filter::default());
    }
}
