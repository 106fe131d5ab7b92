//! A file of one's own, in the [OpenSLO](https://openslo.com) format, version 1. Pure: the text is
//! given.
//!
//! What can be computed is taken as it is meant; what cannot, and whatever is not known, is refused
//! with its line. What is left aside without a word is what does not change what is computed: alerts,
//! labels, and how a source of data is reached.

mod names;
mod place;
mod promql;
mod sli;
mod slo;
mod target;
mod yaml;

use std::collections::{BTreeMap, HashMap};

use self::place::{Map, Place, Problems, shown};
use self::slo::{Known, MAX_OBJECTIVES};
use self::yaml::{Node, Value};
use super::objective::Objective;

/// More than this is no file that somebody wrote.
pub const MAX_BYTES: usize = 1 << 20;

const VERSION: &str = "openslo/v1";

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Slo,
    Sli,
    DataSource,
    /// They say who wants to know, which is said elsewhere here.
    Aside(&'static str),
}

const KINDS: [(&str, Kind); 7] = [
    ("SLO", Kind::Slo),
    ("SLI", Kind::Sli),
    ("DataSource", Kind::DataSource),
    ("Service", Kind::Aside("Service")),
    ("AlertPolicy", Kind::Aside("AlertPolicy")),
    ("AlertCondition", Kind::Aside("AlertCondition")),
    (
        "AlertNotificationTarget",
        Kind::Aside("AlertNotificationTarget"),
    ),
];

/// The objectives of a file. `taken` are names that others have.
///
/// # Errors
/// Everything that is wrong with it, each with its line; of what is no YAML the first.
pub fn read(text: &str, taken: &[&str]) -> Result<Vec<Objective>, Vec<String>> {
    if text.len() > MAX_BYTES {
        return Err(vec![format!(
            "{} bytes, expected {MAX_BYTES} at most",
            text.len()
        )]);
    }
    let nodes = yaml::documents(text).map_err(|problem| vec![problem])?;
    let titles: Vec<_> = (1..).zip(&nodes).map(|(n, node)| title(n, node)).collect();
    let problems = Problems::default();
    let documents: Vec<_> = nodes
        .iter()
        .zip(&titles)
        .filter_map(|(node, title)| Document::read(&Place::root(&problems, title, node)))
        .collect();
    unique(&documents);
    let known = known(&documents);
    let slos = documents.iter().filter(|one| one.kind == Kind::Slo);
    let found = slos.filter_map(|slo| slo::read(&slo.metadata, &slo.spec, &known));
    let mut objectives: Vec<Objective> = vec![];
    for (place, objective) in found.flatten() {
        let name = &objective.name;
        if taken.contains(&name.as_str()) || objectives.iter().any(|one| one.name == *name) {
            place.refuse(format!("{name} is the name of another objective"));
        } else if objectives.len() == MAX_OBJECTIVES {
            place.refuse(format!("more than {MAX_OBJECTIVES} objectives"));
            break;
        } else {
            objectives.push(objective);
        }
    }
    if objectives.is_empty() && problems.is_empty() {
        problems.add(1, "no SLO is in it".into());
    }
    match problems.into_sentences() {
        none if none.is_empty() => Ok(objectives),
        problems => Err(problems),
    }
}

/// What every document has.
struct Document<'a> {
    kind: Kind,
    name: Place<'a>,
    metadata: Map<'a>,
    spec: Place<'a>,
}

impl<'a> Document<'a> {
    fn read(root: &Place<'a>) -> Option<Self> {
        let map = root.map(&["apiVersion", "kind", "metadata", "spec"])?;
        // Another version has other fields, and each of them would be wrong.
        map.need("apiVersion")?.one_of(&[(VERSION, ())])?;
        let kind = map.need("kind")?.one_of(&KINDS)?;
        let metadata = names::metadata(&map.need("metadata")?)?;
        let name = metadata.need("name")?;
        name.text()?;
        Some(Self {
            kind,
            name,
            metadata,
            spec: map.need("spec")?,
        })
    }
}

/// What a document is called in what is said of it.
fn title(number: usize, node: &Node) -> String {
    let scalar = |node: &Node| match &node.value {
        Value::Scalar { text, .. } => Some(shown(text)),
        _ => None,
    };
    let kind = node.get("kind").and_then(scalar);
    let name = node
        .get("metadata")
        .and_then(|metadata| metadata.get("name"));
    match (kind, name.and_then(scalar)) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        _ => format!("document {number}"),
    }
}

/// Notes names that two of a kind have.
fn unique(documents: &[Document<'_>]) {
    let mut seen = HashMap::new();
    for Document { kind, name, .. } in documents {
        if let Some(text) = name.scalar()
            && let Some(line) = seen.insert((*kind, text), name.line())
        {
            name.refuse(format!("{text} has been described in line {line}"));
        }
    }
}

fn known<'a>(documents: &[Document<'a>]) -> Known<'a> {
    let named = |kind: Kind| {
        let of_kind = documents
            .iter()
            .filter(move |document| document.kind == kind);
        of_kind.filter_map(|document| Some((document.name.scalar()?, &document.spec)))
    };
    let prometheus = |spec: &Place<'_>| {
        let map = spec.map(&["description", "type", "connectionDetails"]);
        let kind = map.and_then(|map| map.need("type"));
        kind.is_none_or(|kind| sli::is_prometheus(&kind))
    };
    let sources: BTreeMap<_, _> = named(Kind::DataSource)
        .map(|(name, spec)| (name, prometheus(spec)))
        .collect();
    let slis = named(Kind::Sli).map(|(name, spec)| (name, sli::read(spec, &sources)));
    Known {
        slis: slis.collect(),
        sources,
    }
}

#[cfg(test)]
mod tests;
