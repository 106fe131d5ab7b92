//! `edit`: change a message in an editor, see the difference, and replay it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::Args;
use similar::{ChangeTag, TextDiff};

use super::desk::Desk;
use super::options::named;
use super::refusal::{Kind, Refusal};
use super::screen::{Consent, Interrupt, Screen, answer, ask, confirm, put_json, remark};
use super::{Outcome, clean};
use crate::operate::spelling::compact;
use crate::operate::wire::{EditRequest, Named};

#[derive(Args, Clone, Debug)]
pub(crate) struct EditArgs {
    /// Queue, such as alerter or dead
    queue: String,
    /// Message, by 8 or more digits of its id, and @PLACE where it lies deep
    #[arg(value_name = "ID[@PLACE]", value_parser = named)]
    message: Named,
    /// Take the new text from this file instead of an editor; - for standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(desk: &Desk, screen: Screen, args: EditArgs) -> anyhow::Result<Outcome> {
    let (queue, message) = (&args.queue, &args.message);
    let detail = desk.message(queue, &message.digest, message.at).await?;
    if detail.base64.is_some() {
        let text = "its bytes are no UTF-8: export it, change it, import it, and purge the old one";
        return Err(Refusal::new(Kind::Refused, text).into());
    }
    let old = detail.pretty.unwrap_or(detail.body);
    let new = match &args.from {
        Some(file) => read(file)?,
        None => edited(&old).await?,
    };
    let body = compact(&new).map_err(Refusal::usage)?;
    if compact(&old).is_ok_and(|old| old == body) {
        return Err(Refusal::new(Kind::Refused, "nothing was changed").into());
    }
    remark(difference(&old, &new, screen.aside()).trim_end());
    let question = "Replay it like this? The old bytes are kept.";
    confirm(question, Consent::Yes, args.yes).await?;
    let request = EditRequest {
        body,
        at: Some(detail.message.at),
    };
    let editing = Box::pin(desk.edit(queue, &detail.message.digest, &request));
    let outcome = Interrupt::catch()?.through(editing).await?;
    if screen.json {
        put_json(&outcome)?;
    } else {
        let summary = clean::line(&outcome.summary);
        let original = clean::line(&outcome.original);
        let queue = clean::line(queue);
        answer(&format!(
            "{summary}\nthe old bytes: mutt-remediation show {queue} --original {original}\n"
        ))?;
    }
    Ok(if outcome.moved {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| Refusal::usage(format!("{}: {error}", file.display())).into())
}

/// What the operator makes of it, as often as it takes until it is JSON.
async fn edited(old: &str) -> anyhow::Result<String> {
    // Only its owner may read it.
    let mut file = tempfile::Builder::new()
        .prefix("message-")
        .suffix(".json")
        .tempfile()
        .context("cannot make a file for the editor")?;
    file.write_all(old.as_bytes())?;
    file.write_all(b"\n")?;
    file.flush()?;
    loop {
        open(file.path())?;
        let text = std::fs::read_to_string(file.path()).context("cannot read what was edited")?;
        let Err(problem) = compact(&text) else {
            return Ok(text);
        };
        remark(&clean::line(&problem));
        let again = ask("Edit it again? [Y/n] ").await?;
        if !matches!(again.to_lowercase().as_str(), "" | "y" | "yes") {
            return Err(Refusal::new(Kind::Refused, "nothing was done").into());
        }
        if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            return Err(Refusal::usage(problem).into());
        }
    }
}

/// Opens the editor, which may come with options of its own.
fn open(file: &Path) -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR"));
    let editor = editor.ok_or_else(|| {
        Refusal::usage("which editor? Set VISUAL or EDITOR, or give the new text with --from")
    })?;
    // What is typed there is meant for it: it would go on alone, and its file would stay behind.
    let _caught = Interrupt::catch()?;
    let ended = Command::new("sh")
        .args(["-c", "trap : INT; eval \"$0 \\\"\\$1\\\"\""])
        .arg(&editor)
        .arg(file)
        .status()
        .context("cannot start the editor")?;
    if ended.success() {
        return Ok(());
    }
    let text = format!("the editor {} ended with {ended}", editor.display());
    Err(Refusal::new(Kind::Refused, text).into())
}

/// What was changed, for people.
fn difference(old: &str, new: &str, screen: Screen) -> String {
    let (old, new) = (old.trim().to_owned() + "\n", new.trim().to_owned() + "\n");
    let diff = TextDiff::from_lines(&old, &new);
    let mut text = String::new();
    for group in diff.grouped_ops(3) {
        if !text.is_empty() {
            text.push_str("  ...\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = clean::line(change.value().trim_end_matches('\n'));
            text.push_str(&match change.tag() {
                ChangeTag::Delete => screen.red(&format!("- {line}")),
                ChangeTag::Insert => screen.green(&format!("+ {line}")),
                ChangeTag::Equal => format!("  {line}"),
            });
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_shows_what_was_changed_and_steers_nothing() {
        let screen = Screen::new(false);
        let old = "{\n  \"a\": 1,\n  \"b\": \"\u{9b}2J\"\n}";
        let new = "{\n  \"a\": 2,\n  \"b\": \"\u{9b}2J\"\n}";
        assert_eq!(
            difference(old, new, screen),
            "  {\n-   \"a\": 1,\n+   \"a\": 2,\n    \"b\": \"<U+009B>2J\"\n  }\n"
        );
    }
}
