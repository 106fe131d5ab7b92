//! The sources: the alerter's, the forwarder's, and those that an operator names.

use super::super::sections::ListVars;
use super::super::sources::SourceConfig;
use super::super::value::{Flag, Names, Text, Value};
use super::Reader;
use crate::dlq::envelope::{Fields, REMEDIATION_AT, REMEDIATION_COUNT};
use crate::dlq::redis::Lists;
use crate::settings::{BatchSize, BatchesPerCycle, MaxPoisonRetries};

/// What follows `SOURCE_<NAME>_`.
const PARTS: [&str; 10] = [
    "DLQ",
    "TARGET",
    "DEAD",
    "POISON_FIELDS",
    "RESET_FIELDS",
    "REQUIRED_FIELDS",
    "BACKPRESSURE",
    "BATCH_SIZE",
    "BATCHES_PER_CYCLE",
    "MAX_POISON_RETRIES",
];

/// Lists that are no source of ours, or not always.
pub(in super::super) struct Others {
    pub(in super::super) alert_queue: String,
    pub(in super::super) moog_dlq: String,
}

impl Reader {
    /// All sources, the alerter's first.
    pub(in super::super) fn sources(
        &mut self,
        vars: ListVars,
        required_fields: Vec<String>,
    ) -> (Vec<SourceConfig>, Others) {
        let dead = self.take("DEAD_LETTER_QUEUE", vars.dead_letter_queue).0;
        let others = Others {
            alert_queue: self.take("ALERT_QUEUE_NAME", vars.alert_queue_name).0,
            moog_dlq: self.take("MOOG_DLQ_NAME", vars.moog_dlq_name).0,
        };
        let alerter = Lists {
            source: self.take("ALERTER_DLQ_NAME", vars.alerter_dlq_name).0,
            target: self.take("INGEST_QUEUE_NAME", vars.ingest_queue_name).0,
            dead: dead.clone(),
        };
        let mut sources = vec![source("alerter", alerter, Fields::alerter())];
        sources[0].required_fields = required_fields;
        let moog = self.take("REMEDIATION_MOOG_ENABLED", vars.remediation_moog_enabled);
        if moog.0 {
            let lists = Lists {
                source: others.moog_dlq.clone(),
                target: others.alert_queue.clone(),
                dead: dead.clone(),
            };
            sources.push(source("moog", lists, Fields::moog()));
        }
        let names = self.optional("REMEDIATION_SOURCES", vars.remediation_sources);
        let names = names.map_or_else(Vec::new, |names| names.0);
        for name in &names {
            let mut own = self.source(name, &dead);
            if let Some(own) = &mut own {
                // Elsewhere replays never reach the alert queue, as far as we know.
                let feeds = [&sources[0].lists.target, &others.alert_queue];
                let by_target = feeds.contains(&&own.lists.target);
                let said = self.part(&name.to_ascii_uppercase(), "BACKPRESSURE");
                own.backpressure = said.map_or(by_target, |Flag(on)| on);
            }
            sources.extend(own);
        }
        self.variables_of_nobody(&names);
        self.lists_that_differ(&sources);
        self.no_work_queue(&sources, &others.alert_queue);
        (sources, others)
    }

    fn source(&mut self, name: &str, dead: &str) -> Option<SourceConfig> {
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let taken = ["alerter", "moog"].contains(&name);
        if taken || !name.bytes().all(sound) || name.len() > 40 {
            self.problems.push(format!(
                "REMEDIATION_SOURCES: {name:?} is not a name of lower case letters, digits and underscores, other than alerter and moog"
            ));
            return None;
        }
        let upper = name.to_ascii_uppercase();
        let mut needed = |part: &str| {
            let text = self.part::<Text>(&upper, part);
            if text.is_none() && !self.of_sources.contains_key(&variable(&upper, part)) {
                self.problems.push(format!(
                    "{} is not set: expected a list for the source {name}",
                    variable(&upper, part)
                ));
            }
            text.map(|text| text.0)
        };
        let (list, target) = (needed("DLQ"), needed("TARGET"));
        let dead = self
            .part(&upper, "DEAD")
            .map_or(dead.to_owned(), |Text(dead)| dead);
        let mut names = |part| {
            self.part(&upper, part)
                .map_or_else(Vec::new, |Names(names)| names)
        };
        let mut poison = names("POISON_FIELDS");
        let (mut reset, required_fields) = (names("RESET_FIELDS"), names("REQUIRED_FIELDS"));
        // Without our own count what always fails would be replayed for ever.
        if !poison.iter().any(|field| field == REMEDIATION_COUNT) {
            poison.push(REMEDIATION_COUNT.into());
        }
        reset.sort_unstable();
        reset.dedup();
        for ours in [REMEDIATION_COUNT, REMEDIATION_AT] {
            if reset.iter().any(|field| field == ours) {
                self.problems.push(format!(
                    "{}: {ours:?} is not a field that can be reset: expected a count of somebody else's",
                    variable(&upper, "RESET_FIELDS")
                ));
            }
        }
        let batch_size = self.part::<BatchSize>(&upper, "BATCH_SIZE");
        let batches = self.part::<BatchesPerCycle>(&upper, "BATCHES_PER_CYCLE");
        let retries = self.part::<MaxPoisonRetries>(&upper, "MAX_POISON_RETRIES");
        let lists = Lists {
            source: list?,
            target: target?,
            dead,
        };
        Some(SourceConfig {
            required_fields,
            batch_size: batch_size.map(|size| size.0),
            batches_per_cycle: batches.map(|batches| batches.0),
            max_poison_retries: retries.map(|retries| retries.0),
            ..source(name, lists, Fields { poison, reset })
        })
    }

    /// The value of one variable of a source; `None` if it is not set, or bad, after noting the
    /// problem.
    fn part<T: Value>(&mut self, source: &str, part: &str) -> Option<T> {
        let name = variable(source, part);
        let text = self
            .of_sources
            .get(&name)
            .filter(|text| !text.trim().is_empty())?;
        let value = T::parse(text.trim());
        if value.is_none() {
            let shown: String = text.chars().take(80).collect();
            self.problems
                .push(format!("{name}: {shown:?} is not {}", T::expected()));
        }
        value
    }

    fn variables_of_nobody(&mut self, names: &[String]) {
        let known: Vec<String> = names
            .iter()
            .flat_map(|name| PARTS.map(|part| variable(&name.to_ascii_uppercase(), part)))
            .collect();
        for name in self.of_sources.keys().filter(|name| !known.contains(name)) {
            let nearest = known
                .iter()
                .min_by_key(|known| strsim::damerau_levenshtein(known, name));
            // Others may have such variables too, so only near misses and our own spelling are
            // ours to speak of.
            if let Some(nearest) = nearest
                && strsim::damerau_levenshtein(nearest, name) <= 6
            {
                self.warnings.push(format!(
                    "{name} is not known and has no effect: did you mean {nearest}?"
                ));
            } else if let Some(source) = source_of(name) {
                self.warnings.push(format!(
                    "{name} has no effect: REMEDIATION_SOURCES does not name {source}"
                ));
            }
        }
        self.of_sources.retain(|name, _| known.contains(name));
    }

    /// The alert queue is work, also where nothing is replayed to it. The ingest queue is a target.
    fn no_work_queue(&mut self, sources: &[SourceConfig], alert_queue: &str) {
        for SourceConfig { name, lists, .. } in sources {
            for (part, list) in [("DLQ", &lists.source), ("DEAD", &lists.dead)] {
                if list == alert_queue {
                    self.both(&named(name, part), "ALERT_QUEUE_NAME", list);
                }
            }
        }
    }

    /// Notes, once, that two variables name the same list and must not.
    fn both(&mut self, one: &str, other: &str, list: &str) {
        let problem = format!("{one} and {other} are both {list:?}: expected two different lists");
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// No list is drained twice, none is drained into itself or out of a dead list, and nothing is
    /// replayed into a dead list.
    fn lists_that_differ(&mut self, sources: &[SourceConfig]) {
        for (index, one) in sources.iter().enumerate() {
            if one.lists.target == one.lists.dead {
                let (target, dead) = (named(&one.name, "TARGET"), named(&one.name, "DEAD"));
                self.both(&target, &dead, &one.lists.dead);
            }
            for (other_index, other) in sources.iter().enumerate() {
                let theirs = &other.lists.dead;
                if *theirs == one.lists.target && *theirs != one.lists.dead {
                    self.both(
                        &named(&one.name, "TARGET"),
                        &named(&other.name, "DEAD"),
                        theirs,
                    );
                }
                let parts = [
                    ("DLQ", &other.lists.source),
                    ("TARGET", &other.lists.target),
                    ("DEAD", &other.lists.dead),
                ];
                for (part, list) in parts {
                    let itself = part == "DLQ" && other_index <= index;
                    if *list == one.lists.source && !itself {
                        self.both(&named(&one.name, "DLQ"), &named(&other.name, part), list);
                    }
                }
            }
        }
    }
}

fn source(name: &str, lists: Lists, fields: Fields) -> SourceConfig {
    SourceConfig {
        name: name.to_owned(),
        lists,
        fields,
        required_fields: vec![],
        backpressure: true,
        batch_size: None,
        batches_per_cycle: None,
        max_poison_retries: None,
    }
}

/// The source that a variable would be of, if it is spelt as one.
fn source_of(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("SOURCE_")?;
    let mut parts = PARTS.iter();
    let name = parts.find_map(|part| rest.strip_suffix(part)?.strip_suffix('_'))?;
    let sound = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(sound)).then(|| name.to_ascii_lowercase())
}

fn variable(source: &str, part: &str) -> String {
    format!("SOURCE_{source}_{part}")
}

/// The variable that sets a list.
pub(super) fn named(source: &str, part: &str) -> String {
    match (source, part) {
        ("alerter", "DLQ") => "ALERTER_DLQ_NAME".into(),
        ("alerter", "TARGET") => "INGEST_QUEUE_NAME".into(),
        ("moog", "DLQ") => "MOOG_DLQ_NAME".into(),
        ("moog", "TARGET") => "ALERT_QUEUE_NAME".into(),
        ("alerter" | "moog", _) => "DEAD_LETTER_QUEUE".into(),
        (own, part) => variable(&own.to_ascii_uppercase(), part),
    }
}
