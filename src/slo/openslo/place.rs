//! Values with their place in the file. Whatever is wrong with one is noted, and reading goes on.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use super::yaml::{Entry, Node, Value};

/// Nobody reads more of them at once.
const MAX_PROBLEMS: usize = 100;
/// As much of a value as is shown.
const SHOWN: usize = 80;

/// What is wrong, by line.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<(usize, String)>>);

impl Problems {
    pub(super) fn add(&self, line: usize, text: String) {
        if !self.is_full() {
            self.0.borrow_mut().push((line, text));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn is_full(&self) -> bool {
        self.0.borrow().len() >= MAX_PROBLEMS
    }

    /// In the order of the file.
    pub(super) fn into_sentences(self) -> Vec<String> {
        let full = self.is_full();
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|(line, _)| *line);
        let sentence = |(line, text): (usize, String)| format!("line {line}: {text}");
        let mut sentences: Vec<_> = problems.into_iter().map(sentence).collect();
        if full {
            sentences.push("and perhaps more".into());
        }
        sentences
    }
}

/// A value, and where it is.
#[derive(Clone)]
pub(super) struct Place<'a> {
    problems: &'a Problems,
    /// Such as `SLO checkout`.
    document: &'a str,
    /// Such as `spec.objectives[0].target`.
    path: String,
    /// The last part of the path.
    key: &'a str,
    line: usize,
    node: &'a Node,
}

/// A map, and where it is.
pub(super) struct Map<'a> {
    pub(super) place: Place<'a>,
    entries: &'a [Entry],
}

impl<'a> Place<'a> {
    /// A whole document.
    pub(super) fn root(problems: &'a Problems, document: &'a str, node: &'a Node) -> Self {
        Self {
            problems,
            document,
            path: String::new(),
            key: "",
            line: node.line,
            node,
        }
    }

    /// The key that it is the value of.
    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    /// Where it begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Notes what is wrong with it.
    pub(super) fn refuse(&self, why: impl Display) {
        let Self { document, path, .. } = self;
        let separator = if path.is_empty() { "" } else { ": " };
        self.problems
            .add(self.line, format!("{document}{separator}{path}: {why}"));
    }

    /// Notes what it is, and what would have been right.
    pub(super) fn expected(&self, what: impl Display) {
        let value = match &self.node.value {
            Value::Scalar { text, plain } if *plain && !text.is_empty() => shown(text),
            Value::Scalar { text, .. } => format!("\"{}\"", shown(text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        };
        self.refuse(format!("{value}, expected {what}"));
    }

    /// What is written, in quotes or not; nothing of a list or a map, and nothing is noted.
    pub(super) fn scalar(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text.trim()),
            _ => None,
        }
    }

    /// What is written without quotes; nothing is noted.
    fn plain(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    /// Text, in quotes or not.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.scalar().filter(|text| !text.is_empty());
        self.noted(text, "text")
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.plain().and_then(|text| text.parse().ok());
        self.noted(flag, "true or false")
    }

    /// A number, and how it is written.
    pub(super) fn number(&self, fits: impl Fn(f64) -> bool, what: &str) -> Option<(f64, &'a str)> {
        let text = self.plain();
        let number = text.and_then(|text| Some((text.parse().ok()?, text)));
        let number = number.filter(|(number, _): &(f64, _)| number.is_finite() && fits(*number));
        self.noted(number, what)
    }

    /// One of these words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let found = words.iter().find(|(word, _)| self.scalar() == Some(word));
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.noted(found.map(|(_, value)| *value), listed(&names))
    }

    /// It, or a note of what was expected instead.
    pub(super) fn noted<T>(&self, value: Option<T>, what: impl Display) -> Option<T> {
        if value.is_none() {
            self.expected(what);
        }
        value
    }

    pub(super) fn list(&self) -> Option<Vec<Self>> {
        let Value::List(nodes) = &self.node.value else {
            self.expected("a list");
            return None;
        };
        let place = |(index, node): (usize, &'a Rc<Node>)| Self {
            path: format!("{}[{index}]", self.path),
            line: node.line,
            node,
            ..self.clone()
        };
        Some(nodes.iter().enumerate().map(place).collect())
    }

    /// A map with any keys.
    pub(super) fn any_map(&self) -> Option<Map<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.expected("a map");
            return None;
        };
        Some(Map {
            place: self.clone(),
            entries,
        })
    }

    /// A map with no other keys than these.
    pub(super) fn map(&self, known: &[&str]) -> Option<Map<'a>> {
        let map = self.any_map()?;
        for value in map.values().filter(|value| !known.contains(&value.key)) {
            value.unknown(known);
        }
        Some(map)
    }

    /// Notes that its key is none of these.
    pub(super) fn unknown(&self, known: &[&str]) {
        if self.problems.is_full() {
            return;
        }
        let distance = |name: &str| strsim::damerau_levenshtein(name, self.key);
        let near = known.iter().min_by_key(|name| distance(name));
        // What is long is near to nothing.
        let near =
            near.filter(|name| self.key.len() <= SHOWN && distance(name) <= 1 + name.len() / 3);
        match near {
            Some(near) => self.refuse(format!("not known; did you mean {near}?")),
            None => self.refuse(format!("not known; expected {}", listed(known))),
        }
    }
}

impl<'a> Map<'a> {
    /// Every value, those that are nothing included.
    pub(super) fn values(&self) -> impl Iterator<Item = Place<'a>> {
        self.entries.iter().map(|entry| self.value(entry))
    }

    /// The value of a key. What is nothing counts as not there.
    pub(super) fn get(&self, key: &str) -> Option<Place<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!entry.node.is_null()).then(|| self.value(entry))
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &str) -> Option<Place<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.place.refuse(format!("{key} is missing"));
        }
        value
    }

    /// Notes each of these that is there.
    pub(super) fn refuse(&self, keys: &[&str], why: &str) {
        for value in keys.iter().filter_map(|key| self.get(key)) {
            value.refuse(why);
        }
    }

    fn value(&self, entry: &'a Entry) -> Place<'a> {
        let parent = &self.place.path;
        let dot = if parent.is_empty() { "" } else { "." };
        Place {
            path: format!("{parent}{dot}{}", shown(&entry.key)),
            key: &entry.key,
            line: entry.line,
            node: &entry.node,
            ..self.place.clone()
        }
    }
}

/// On one line, and not too much of it.
pub(super) fn shown(text: &str) -> String {
    let mut line: String = text.chars().take(SHOWN).collect();
    if line.len() < text.len() {
        line.push_str("..");
    }
    line.escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

/// `a`, `a or b`, `a, b or c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}
