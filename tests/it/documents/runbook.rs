//! The runbook knows every alert and every complaint of the log, and the glossary every word that
//! the program uses.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mutt_remediation::audit;
use mutt_remediation::dlq::{Disposition, Reason};
use mutt_remediation::drain::gate::{Gate, Shut};
use mutt_remediation::drain::report::Ended;
use mutt_remediation::link;
use mutt_remediation::notify::event::Event;
use mutt_remediation::operate::wire::{Action, RunState};
use mutt_remediation::slo::judge::State;

use super::commands::spans;
use crate::docs::sources;

/// Where a line is what another part has to say: `gate shut: ...`, `objective`, and what is put
/// together elsewhere, of which the page has the beginnings.
const PUT_TOGETHER: [&str; 7] = [
    "{error}",
    "{news}",
    "{warning}",
    "{what}",
    "gate {gate}",
    "objective",
    "the guard cannot do its work: {error}",
];

fn page(name: &str) -> String {
    fs::read_to_string(Path::new("docs").join(name)).expect("it exists")
}

/// What stands in back quotes in the tables below a heading.
fn named(page: &str, heading: &str) -> BTreeSet<String> {
    let (_, rest) = page
        .split_once(&format!("\n## {heading}\n"))
        .expect(heading);
    let section = rest.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let first = rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next());
    first.flat_map(spans).collect()
}

#[test]
fn every_alert_has_its_section() {
    let page = page("troubleshooting.md");
    let mut alerts = BTreeSet::new();
    for file in ["slo-alerts.yml", "worker-alerts.yml"] {
        let rules = fs::read_to_string(Path::new("docs/prometheus").join(file)).expect("it exists");
        let mut alert = String::new();
        for line in rules.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("- alert: ") {
                name.clone_into(&mut alert);
                alerts.insert(name.to_owned());
            } else if let Some(link) = line.strip_prefix("runbook_url: ") {
                let (file, anchor) = link.trim_matches('\'').split_once('#').expect(link);
                assert_eq!(file, "docs/troubleshooting.md");
                let row = page.lines().find(|row| row.contains(&format!("`{alert}`")));
                assert!(
                    row.is_some_and(|row| row.contains(&format!("(#{anchor})"))),
                    "{alert}"
                );
            }
        }
    }
    assert_eq!(named(&page, "By alert"), alerts);
}

#[test]
fn every_notification_has_its_section() {
    let events = Event::ALL.map(|event| event.as_str().to_owned());
    let mut rows = named(&page("troubleshooting.md"), "By notification");
    // What else stands in back quotes there is a command.
    rows.retain(|row| !row.contains(' '));
    assert_eq!(rows, BTreeSet::from(events));
}

#[test]
fn every_complaint_of_the_log_has_its_row() {
    let lines = named(&page("troubleshooting.md"), "By line of the log");
    let mut told = BTreeSet::new();
    for file in sources(Path::new("src")) {
        let text = fs::read_to_string(&file).expect("it can be read");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        told.extend(complaints(code));
    }
    assert!(told.len() > 50, "{told:?}");
    for line in &told {
        let known = lines.contains(line) || PUT_TOGETHER.contains(&line.as_str());
        assert!(known, "the runbook does not know the line {line:?}");
    }
    for line in PUT_TOGETHER {
        assert!(told.contains(line), "{line}");
    }
    // Nor is there a row for what nobody says any more.
    let code: Vec<String> = sources(Path::new("src"))
        .iter()
        .map(|file| {
            fs::read_to_string(file)
                .expect("it can be read")
                .replace("\\\n", "")
        })
        .collect();
    for line in &lines {
        let begins = line
            .trim_start_matches("... ")
            .split(" ...")
            .next()
            .unwrap_or_default();
        let begins = begins.trim_end_matches("...").trim();
        // `gate shut: ` is put together of two words.
        let said = code.iter().any(|text| text.contains(begins)) || begins == "gate shut:";
        assert!(said, "nobody says {line:?}");
    }
}

/// The sentences of `warn!` and `error!`, and of what hands them on.
fn complaints(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for call in ["warn!(", "error!(", "self.tell("] {
        for (at, _) in code.match_indices(call) {
            if code[..at].ends_with('_') || code[..at].ends_with('.') && call != "self.tell(" {
                continue;
            }
            let literals = literals(&code[at + call.len()..]);
            // The fields come first, and the sentence last; of two sentences either may be said.
            match call {
                "self.tell(" => found.extend(literals),
                _ => found.extend(literals.last().cloned()),
            }
        }
    }
    found
}

/// The texts between here and the end of the call.
fn literals(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut depth = 1;
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => break,
            ')' => depth -= 1,
            '"' => {
                let mut text = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => text.extend(chars.next().filter(|c| *c == '"')),
                        c => text.push(c),
                    }
                }
                all.push(text);
            }
            _ => {}
        }
    }
    all
}

#[test]
fn the_glossary_has_every_word_of_the_program() {
    let page = page("glossary.md");
    let known: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with("- "))
        .filter_map(|line| line.split(": ").next())
        .flat_map(|line| {
            let bold = line.split("**").skip(1).step_by(2).map(str::to_owned);
            let quoted: Vec<String> = spans(line).collect();
            bold.chain(quoted).collect::<Vec<_>>()
        })
        .collect();
    let mut words: BTreeSet<&str> = BTreeSet::new();
    words.extend(Shut::ALL.map(Shut::as_str));
    words.extend(Gate::STATES);
    words.extend(Reason::ALL.map(Reason::as_str));
    words.extend(Disposition::ALL.map(Disposition::as_str));
    words.extend(Ended::OUTCOMES);
    words.extend(Action::ALL.map(Action::as_str));
    words.extend(RunState::ALL.map(RunState::as_str));
    words.extend(State::ALL.map(State::as_str));
    words.extend(audit::Kind::ALL.map(audit::Kind::as_str));
    for word in words {
        assert!(known.contains(word), "{word}");
    }
    // Those are in the runbook, with what to do about them.
    let runbook = self::page("troubleshooting.md");
    for reason in link::Reason::ALL {
        assert!(
            runbook.contains(&format!("| `{}` |", reason.as_str())),
            "{reason:?}"
        );
    }
}
