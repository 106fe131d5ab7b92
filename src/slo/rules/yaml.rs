//! Rule files as YAML, with whatever objectives have in their texts.

use super::Window;

/// Rules that are evaluated together.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) interval: Window,
    pub(super) rules: Vec<Rule>,
}

pub(super) enum Rule {
    /// A series that is recorded.
    Record {
        name: String,
        expr: String,
        labels: Vec<(&'static str, String)>,
    },
    Alert(Alert),
}

pub(super) struct Alert {
    pub(super) name: &'static str,
    /// The reason, a line each.
    pub(super) why: Vec<String>,
    pub(super) expr: String,
    /// For how long it must hold.
    pub(super) wait: Option<Window>,
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) summary: String,
    pub(super) description: String,
    pub(super) runbook: String,
}

/// A whole file.
pub(super) fn text(head: &str, groups: &[Group]) -> String {
    let mut text = format!("# {head}\n");
    if groups.iter().all(|group| group.rules.is_empty()) {
        text.push_str("groups: []\n");
        return text;
    }
    text.push_str("groups:\n");
    for group in groups {
        text.push_str(&format!(
            "  - name: {}\n    interval: {}\n    rules:\n",
            group.name, group.interval
        ));
        for (number, rule) in group.rules.iter().enumerate() {
            if number > 0 && !matches!(rule, Rule::Record { .. }) {
                text.push('\n');
            }
            add(&mut text, rule);
        }
    }
    text
}

fn add(text: &mut String, rule: &Rule) {
    let mut line = |indent: usize, line: &str| {
        text.push_str(&" ".repeat(indent));
        text.push_str(line);
        text.push('\n');
    };
    match rule {
        Rule::Record { name, expr, labels } => {
            line(6, &format!("- record: {name}"));
            line(8, &format!("expr: {}", scalar(expr)));
            line(8, "labels:");
            for (name, value) in labels {
                line(10, &format!("{name}: {}", scalar(value)));
            }
        }
        Rule::Alert(alert) => {
            for why in &alert.why {
                line(6, &format!("# {why}"));
            }
            line(6, &format!("- alert: {}", alert.name));
            line(8, &format!("expr: {}", scalar(&alert.expr)));
            if let Some(wait) = alert.wait {
                line(8, &format!("for: {wait}"));
            }
            line(8, "labels:");
            for (name, value) in &alert.labels {
                line(10, &format!("{name}: {}", scalar(value)));
            }
            line(8, "annotations:");
            for (name, value) in [
                ("summary", &alert.summary),
                ("description", &alert.description),
                ("runbook_url", &alert.runbook),
            ] {
                line(10, &format!("{name}: {}", scalar(value)));
            }
        }
    }
}

/// A value below a rule, in the form that reads best and still means the same.
fn scalar(text: &str) -> String {
    let is_odd = |c: char| c.is_control() || "\u{2028}\u{2029}\u{feff}".contains(c);
    if !text.chars().any(is_odd) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let is_block = text.trim() == text && !text.chars().any(|c| c != '\n' && is_odd(c));
    if is_block {
        let lines = text.lines().map(|line| match line {
            "" => "\n".to_owned(),
            line => format!("\n          {line}"),
        });
        return format!("|-{}", lines.collect::<String>());
    }
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if is_odd(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// What others wrote, in an annotation: nothing in it is a template.
pub(super) fn plain(text: &str) -> String {
    text.replace("{{", r#"{{ "{{" }}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_form_where_it_can() {
        for (text, written) in [
            ("no", "'no'"),
            ("it's {a=\"b\"} # x: y", "'it''s {a=\"b\"} # x: y'"),
            (
                "a\n  and b\n\nc",
                "|-\n          a\n            and b\n\n          c",
            ),
            ("\ta", r#""\u0009a""#),
            (" a\n\"b\\", r#"" a\u000a\"b\\""#),
            ("\u{2028}", r#""\u2028""#),
        ] {
            assert_eq!(scalar(text), written, "{text:?}");
        }
    }

    #[test]
    fn what_others_wrote_is_no_template() {
        assert_eq!(plain("a {{ b }} {c}"), r#"a {{ "{{" }} b }} {c}"#);
        assert_eq!(plain("{{{"), r#"{{ "{{" }}{"#);
    }
}
