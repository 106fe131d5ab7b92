//! From text to a tree of nodes that know their lines. It knows nothing of OpenSLO.
//!
//! What could be made to cost much is bounded: depth, nodes, and aliases, which share what they stand
//! for instead of copying it.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};

/// Deeper than this is no description of an objective.
const MAX_DEPTH: usize = 64;
/// More would cost megabytes. A hundred objectives need some thousand.
const MAX_NODES: usize = 100_000;
/// Each key is compared with those before it.
const MAX_KEYS: usize = 1_000;

/// A scalar, a list or a map, and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
    /// How many levels are below it, also through aliases.
    height: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    /// As it is written where `plain`, otherwise what was in quotes or in a block.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    /// In the order of the file; no key is there twice.
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) node: Rc<Node>,
}

impl Node {
    /// What a key of a map has, if it is anything.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let found = entries.iter().find(|entry| entry.key == key)?;
        (!found.node.is_null()).then_some(&*found.node)
    }

    /// Nothing at all: `~`, `null`, or no text.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// The documents of a stream; empty ones are left out.
///
/// # Errors
/// The first thing that is no YAML, or more of it than is taken.
pub(super) fn documents(text: &str) -> Result<Vec<Rc<Node>>, String> {
    let mut options = options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut tree = Tree::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        tree.take(event, span)
            .map_err(|problem| format!("line {}: {problem}", span.start.line()))?;
    }
    Ok(tree.documents)
}

#[derive(Default)]
struct Tree {
    documents: Vec<Rc<Node>>,
    /// What is begun and not ended, the outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
}

struct Open {
    line: usize,
    anchor: usize,
    inside: Inside,
    height: usize,
}

enum Inside {
    List(Vec<Rc<Node>>),
    /// With the key whose value comes next.
    Map(Vec<Entry>, Option<(String, usize)>),
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                untagged(tag.as_deref())?;
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                };
                self.put(
                    anchor,
                    Node {
                        line,
                        value,
                        height: 0,
                    },
                )
            }
            Event::SequenceStart(_, anchor, tag) => {
                untagged(tag.as_deref())?;
                self.begin(line, anchor, Inside::List(vec![]))
            }
            Event::MappingStart(_, anchor, tag) => {
                untagged(tag.as_deref())?;
                self.begin(line, anchor, Inside::Map(vec![], None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let shared = self.anchors.get(&anchor).cloned();
                let node = shared.ok_or("an alias inside what it stands for")?;
                self.attach(line, node)
            }
            Event::DocumentEnd => {
                // A name holds within its document.
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, inside: Inside) -> Result<(), String> {
        self.open.push(Open {
            line,
            anchor,
            inside,
            height: 1,
        });
        shallow(self.open.len())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(Open {
            line,
            anchor,
            inside,
            height,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let value = match inside {
            Inside::List(nodes) => Value::List(nodes),
            Inside::Map(entries, _) => Value::Map(entries),
        };
        self.put(
            anchor,
            Node {
                line,
                value,
                height,
            },
        )
    }

    fn put(&mut self, anchor: usize, node: Node) -> Result<(), String> {
        let (line, node) = (node.line, Rc::new(node));
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(line, node)
    }

    fn attach(&mut self, line: usize, node: Rc<Node>) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        shallow(self.open.len() + node.height)?;
        if let Some(open) = self.open.last_mut() {
            open.height = open.height.max(node.height + 1);
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            None if node.is_null() => {}
            None => self.documents.push(node),
            Some(Inside::List(nodes)) => nodes.push(node),
            Some(Inside::Map(entries, next)) => match next.take() {
                Some((key, line)) => entries.push(Entry { key, line, node }),
                None => *next = Some((key(&node, entries)?, line)),
            },
        }
        Ok(())
    }
}

/// What is deep is also torn down in depth, so that aliases must not pile up depth either.
fn shallow(depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
    }
    Ok(())
}

fn key(node: &Node, entries: &[Entry]) -> Result<String, String> {
    if entries.len() >= MAX_KEYS {
        return Err(format!("more than {MAX_KEYS} keys in one map"));
    }
    let Value::Scalar { text, .. } = &node.value else {
        return Err("a key that is a list or a map".into());
    };
    match entries.iter().find(|entry| entry.key == *text) {
        Some(first) => Err(format!("{text}: already in line {}", first.line)),
        None => Ok(text.clone()),
    }
}

/// A tag could make anything of a value, and nothing here needs one.
fn untagged(tag: Option<&Tag>) -> Result<(), String> {
    match tag {
        None => Ok(()),
        Some(_) => Err("tags such as !!str are not taken".into()),
    }
}
