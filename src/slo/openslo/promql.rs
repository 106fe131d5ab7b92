//! Queries as they may stand in a file: a selector, a template, or an expression. Pure.
//!
//! PromQL is not parsed here. What is looked at is what would break the query that a piece is put
//! into, and what would count wrongly without anybody noticing.

use super::super::objective::{Series, WINDOW};

/// A longer query was made by a machine that went astray.
const MAX_BYTES: usize = 10_000;

/// What counts events.
const COUNTER: &str = r#"a counter such as http_requests_total{code="200"}, or PromQL with {{.window}} for the stretch such as sum(increase(http_requests_total[{{.window}}]))"#;

/// A counter, or a template.
///
/// # Errors
/// Why it is neither.
pub(super) fn series(query: &str) -> Result<Series, String> {
    let piece = Piece::of(query)?;
    if piece.windows > 0 {
        return Ok(Series::Template(piece.summed()));
    }
    selector(&piece.text)?;
    Ok(Series::Selector(piece.text))
}

/// PromQL whose value is looked at from moment to moment.
///
/// # Errors
/// Why it cannot be.
pub(super) fn value(query: &str) -> Result<String, String> {
    let piece = Piece::of(query)?;
    if piece.windows > 0 {
        return Err(format!(
            "{WINDOW} belongs to a ratioMetric: here a value is looked at from moment to moment"
        ));
    }
    Ok(piece.text)
}

/// PromQL on one line.
#[derive(Default)]
struct Piece {
    text: String,
    /// How often it has the stretch.
    windows: usize,
    /// Where its first bracket is closed.
    closed: Option<usize>,
}

impl Piece {
    fn of(query: &str) -> Result<Self, String> {
        if query.len() > MAX_BYTES {
            return Err(format!("longer than {MAX_BYTES} bytes"));
        }
        let mut piece = Self::default();
        let mut rest = query.trim();
        // Brackets that are open, each with the word before it.
        let mut open: Vec<(char, String)> = vec![];
        while let Some(c) = rest.chars().next() {
            let taken = match c {
                '"' | '\'' | '`' => quoted(rest)?,
                '#' => return Err("a comment would hide what comes after it".into()),
                _ if rest.starts_with("{{") => {
                    let end = rest.find("}}").ok_or("{{ without }}")?;
                    if rest[2..end].trim() != ".window" {
                        return Err(format!("only {WINDOW} is filled in"));
                    }
                    let range = matches!(open.last(), Some(('[', _)));
                    if !(range && piece.text.ends_with('[')) {
                        return Err(format!("{WINDOW} must be a range, as in [{WINDOW}]"));
                    }
                    if let [.., (_, call), _] = open.as_slice()
                        && matches!(call.as_str(), "rate" | "irate")
                    {
                        return Err(format!(
                            "{call}() says how many events there were a second, not how many: use increase()"
                        ));
                    }
                    piece.windows += 1;
                    piece.text.push_str(WINDOW);
                    rest = &rest[end + 2..];
                    continue;
                }
                _ if c.is_whitespace() => {
                    piece.text.push(' ');
                    rest = rest.trim_start();
                    continue;
                }
                '(' | '[' | '{' => {
                    open.push((c, last_word(&piece.text)));
                    1
                }
                ')' | ']' | '}' => {
                    let matching = matches!(
                        (open.pop(), c),
                        (Some(('(', _)), ')') | (Some(('[', _)), ']') | (Some(('{', _)), '}')
                    );
                    if !matching {
                        return Err(format!("{c} closes nothing"));
                    }
                    if open.is_empty() && piece.closed.is_none() {
                        piece.closed = Some(piece.text.len());
                    }
                    1
                }
                _ => c.len_utf8(),
            };
            piece.text.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        match open.pop() {
            Some((bracket, _)) => Err(format!("{bracket} is not closed")),
            None => Ok(piece),
        }
    }

    /// One number: where there are several series, labels would keep parts from being divided.
    fn summed(self) -> String {
        let text = self.text;
        if text.starts_with("sum(") && self.closed == Some(text.len() - 1) {
            text
        } else {
            format!("sum({text})")
        }
    }
}

fn last_word(text: &str) -> String {
    let text = text.trim_end();
    let start = text.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text[start.map_or(0, |at| {
        at + text[at..].chars().next().map_or(1, char::len_utf8)
    })..]
        .into()
}

/// A metric's name, and matchers where needed.
fn selector(text: &str) -> Result<(), String> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !name(c)).unwrap_or(text.len());
    let rest = text[end..].trim_start();
    if end == 0 || text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("expected {COUNTER}"));
    }
    if rest.starts_with(['(', '[']) || rest.starts_with("by") || rest.starts_with("without") {
        return Err(format!(
            "the increase of a counter is taken before it is summed, or resets would be missed: expected {COUNTER}"
        ));
    }
    if rest.is_empty() {
        return Ok(());
    }
    let inside = rest.strip_prefix('{');
    matchers(inside.ok_or_else(|| format!("expected {COUNTER}"))?)
}

/// What is inside the braces of a selector, with the last brace.
fn matchers(text: &str) -> Result<(), String> {
    let mut rest = text.trim_start();
    while !rest.starts_with('}') {
        let label = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = rest.split_at(rest.find(|c| !label(c)).unwrap_or(rest.len()));
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("expected a label such as code in the braces".into());
        }
        if name == "__name__" {
            return Err("the metric has a name already, without __name__".into());
        }
        let after = after.trim_start();
        let operator = ["=~", "!~", "!=", "="]
            .into_iter()
            .find(|operator| after.starts_with(operator));
        let operator = operator.ok_or(format!("expected =, !=, =~ or !~ after {name}"))?;
        let after = after[operator.len()..].trim_start();
        if !after.starts_with(['"', '\'', '`']) {
            return Err(format!("expected text in quotes after {name}{operator}"));
        }
        rest = after[quoted(after)?..].trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest.starts_with('}') => {}
            None => return Err(format!("expected , or }} after the value of {name}")),
        }
    }
    match rest[1..].trim() {
        "" => Ok(()),
        _ => Err(format!("expected {COUNTER}")),
    }
}

/// How long the text in quotes is that this begins with, the quotes included.
fn quoted(text: &str) -> Result<usize, String> {
    let mut chars = text.char_indices();
    let quote = chars.next().map_or('"', |(_, quote)| quote);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok(at + 1),
            '\n' if quote != '`' => break,
            '\\' if quote != '`' => match chars.next() {
                Some((_, escaped))
                    if escaped == quote || r"abfnrtv\01234567xuU".contains(escaped) => {}
                Some((_, escaped)) => {
                    return Err(format!(
                        r"\{escaped} is no escape of PromQL, expected \\{escaped}"
                    ));
                }
                None => break,
            },
            _ => {}
        }
    }
    Err(format!("{quote} is not closed"))
}
