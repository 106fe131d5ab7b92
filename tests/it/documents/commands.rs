//! What is a command in a document: a block marked `sh` or `console`, and what stands in back quotes
//! and begins with a program.

use std::fs;
use std::path::Path;

/// A span that begins with one of these, and goes on, is a command.
const PROGRAMS: [&str; 20] = [
    ".ci/api",
    ".ci/check",
    ".ci/servers",
    ".ci/setup",
    "amtool",
    "apt",
    "cargo",
    "curl",
    "docker",
    "journalctl",
    "kubectl",
    "make",
    "mutt-remediation",
    "openssl",
    "promtool",
    "redis-cli",
    "source",
    "systemctl",
    "systemd-analyze",
    "target/release/mutt-remediation",
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// For a shell.
    Script,
    /// Lines with `$` in front are for a shell, the others are what it answers.
    Session,
    /// Nothing but variables in capitals: an environment for the worker.
    Settings,
    /// Questions for Prometheus, one a line.
    Queries,
}

pub(crate) struct Command {
    /// File and line.
    pub(crate) place: String,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Variables that the document has set by then, for all that follows.
    pub(crate) before: String,
}

impl Command {
    /// Whether it waits for a replay.
    pub(crate) fn goes_the_whole_way(&self) -> bool {
        self.text.contains("RPOP mutt:ingest_queue")
    }
}

/// Every file that tells a reader what to type, and its text.
pub(crate) fn documents() -> Vec<(String, String)> {
    let mut files = vec![
        ".env.template".into(),
        "CHANGELOG.md".into(),
        "Dockerfile".into(),
        "README.md".into(),
        "docker-compose.yml".into(),
    ];
    for folder in ["docs", "k8s"] {
        below(Path::new(folder), &mut files);
    }
    files.sort();
    let read = |file: String| {
        let text = fs::read_to_string(&file).expect("it can be read");
        (file, text)
    };
    files.into_iter().map(read).collect()
}

fn below(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            below(&path, files);
        } else if let Some("md" | "yml" | "yaml" | "env" | "example" | "service") = ending {
            files.push(path.to_str().expect("text").to_owned());
        }
    }
}

/// The commands of a document, in their order.
pub(crate) fn of(file: &str, text: &str) -> Vec<Command> {
    let markdown = Path::new(file)
        .extension()
        .is_some_and(|ending| ending == "md");
    let mut found = Vec::new();
    let mut before = String::new();
    let mut block: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        let line = if markdown {
            line
        } else {
            block = remarked(block, line, index, (file, &before), &mut found);
            if block.is_some() {
                continue;
            }
            line
        };
        let fence = line.trim_start().strip_prefix("```");
        match (&mut block, fence) {
            (Some(open), None) => open.text += &format!("{}\n", open.dedented(line)),
            (None, Some(language)) if markdown => block = Some(Block::new(line, language, index)),
            (Some(_), Some(_)) => {
                let whole = block.take().and_then(|block| block.command(file, &before));
                match whole {
                    // Variables of the document's own, for all that follows.
                    Some(command) if sets_only(&command.text, char::is_lowercase) => {
                        before += &command.text;
                    }
                    other => found.extend(other),
                }
            }
            (None, _) => {
                let spans = spans(line).filter(|span| is_command(span));
                found.extend(spans.map(|text| Command {
                    place: format!("{file}:{}", index + 1),
                    kind: Kind::Script,
                    text,
                    before: before.clone(),
                }));
            }
        }
    }
    found
}

struct Block {
    indent: usize,
    language: String,
    line: usize,
    text: String,
}

impl Block {
    fn new(fence: &str, language: &str, index: usize) -> Self {
        Self {
            indent: fence.len() - fence.trim_start().len(),
            language: language.trim().to_owned(),
            line: index + 2,
            text: String::new(),
        }
    }

    fn dedented<'a>(&self, line: &'a str) -> &'a str {
        line.get(self.indent..).unwrap_or_else(|| line.trim_start())
    }

    fn command(self, file: &str, before: &str) -> Option<Command> {
        let kind = match self.language.as_str() {
            "sh" if sets_only(&self.text, char::is_uppercase) => Kind::Settings,
            "sh" => Kind::Script,
            "console" => Kind::Session,
            "promql" => Kind::Queries,
            _ => return None,
        };
        Some(Command {
            place: format!("{file}:{}", self.line),
            kind,
            text: self.text,
            before: before.to_owned(),
        })
    }
}

/// In a file that is no Markdown a remark that is indented is a block.
fn remarked(
    block: Option<Block>,
    line: &str,
    index: usize,
    (file, before): (&str, &str),
    found: &mut Vec<Command>,
) -> Option<Block> {
    if let Some(text) = line.trim_start().strip_prefix("#   ") {
        let mut block = block.unwrap_or_else(|| Block::new("", "sh", index - 1));
        block.text += &format!("{text}\n");
        return Some(block);
    }
    // Such a block is a command only if it begins like one: settings that are left out look the same.
    let ended = block.and_then(|block| block.command(file, before));
    found.extend(
        ended.filter(|command| is_command(&command.text) || command.text.starts_with("export ")),
    );
    None
}

/// What stands in back quotes on a line.
pub(crate) fn spans(line: &str) -> impl Iterator<Item = String> {
    // In a table a bar is escaped.
    let unescaped = line.replace("\\|", "|");
    let parts: Vec<String> = unescaped.split('`').map(str::to_owned).collect();
    parts.into_iter().skip(1).step_by(2)
}

fn is_command(span: &str) -> bool {
    let mut words = span
        .split_whitespace()
        .skip_while(|word| is_setting(word, char::is_uppercase));
    let program = words.next();
    program.is_some_and(|word| PROGRAMS.contains(&word)) && words.next().is_some()
}

fn sets_only(text: &str, of: fn(char) -> bool) -> bool {
    let mut lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.all(|line| is_setting(line, of)) && !text.contains(" mutt-remediation")
}

/// Whether it begins with `name=`, the name's letters being of this case.
fn is_setting(word: &str, of: fn(char) -> bool) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let fits = |c: char| of(c) || c == '_' || c.is_ascii_digit();
        name.starts_with(of) && name.chars().all(fits)
    })
}
