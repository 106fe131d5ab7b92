//! `export` and `import`: messages as lines of JSON.

use std::fs::File;
use std::io::{BufReader, IsTerminal as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::desk::Desk;
use super::options::FilterArgs;
use super::refusal::{Kind, Refusal};
use super::screen::{
    Consent, Interrupt, Screen, answer, confirm, json_line, put, put_json, remark,
};
use super::{Outcome, clean, is_interactive, spell};
use crate::audit::digest;
use crate::operate::wire::{Filter, ImportOutcome, Line};

/// Messages of one request, at most, and bytes of their lines, about.
const LINES: usize = 1_000;
const BYTES: usize = 6 * 1024 * 1024;

/// The last line of a whole export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) end: Counted,
}

/// What it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) lines: u64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArgs {
    /// Queue, such as alerter or dead
    queue: String,
    /// File to write, which is there only once it is whole; without it, or with -, standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ImportArgs {
    /// Queue, such as alerter or dead
    queue: String,
    /// File to read; without it, or with -, standard input
    file: Option<PathBuf>,
    /// Leave out so many lines at the beginning, such as those that an import has said it did
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    skip: u64,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn export(
    desk: &Desk,
    screen: Screen,
    args: ExportArgs,
) -> anyhow::Result<Outcome> {
    let filter = Filter::from(args.filter);
    let Some(to) = args.to.filter(|to| to != Path::new("-")) else {
        let lines = desk.export(&args.queue, &filter, |line| put(&json_line(line)?));
        let lines = lines.await?;
        put(&json_line(&ending(lines))?)?;
        return Ok(Outcome::Done);
    };
    // An export that broke off leaves nothing that looks like one.
    let dir = match to.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let bad = |why: String| Refusal::new(Kind::Refused, format!("{}: {why}", to.display()));
    let file = tempfile::NamedTempFile::new_in(dir).map_err(|error| bad(error.to_string()))?;
    let mut out = std::io::BufWriter::new(file);
    let bar = bar();
    let exporting = desk.export(&args.queue, &filter, |line| {
        bar.inc(1);
        out.write_all(json_line(line)?.as_bytes())?;
        Ok(())
    });
    // Killed, it would leave an unfinished file behind.
    let lines = tokio::select! {
        lines = exporting => lines,
        interrupted = Interrupt::wait() => Err(interrupted.into()),
    };
    bar.finish_and_clear();
    let lines = lines?;
    out.write_all(json_line(&ending(lines))?.as_bytes())?;
    let file = out.into_inner().map_err(|error| bad(error.to_string()))?;
    file.as_file().sync_all()?;
    file.persist(&to)
        .map_err(|error| bad(error.error.to_string()))?;
    if screen.json {
        put_json(&ending(lines))?;
    } else {
        let path = to.display().to_string();
        let count = spell::of(lines, "message");
        answer(&format!("{count} written to {}\n", clean::line(&path)))?;
    }
    Ok(Outcome::Done)
}

pub(super) async fn import(
    desk: &Desk,
    screen: Screen,
    args: ImportArgs,
) -> anyhow::Result<Outcome> {
    let mut file = opened(args.file.as_deref())?;
    let checked = check(BufReader::new(&file))?;
    if !checked.whole {
        remark("the last line of an export is missing: it may not be whole");
    }
    let lines = checked.lines.saturating_sub(args.skip);
    if lines == 0 {
        return Err(Refusal::usage("there are no messages in it").into());
    }
    let queue = clean::line(&args.queue);
    let count = spell::of(lines, "message");
    let question = format!("Push {count} to the young end of {queue}?");
    confirm(&question, Consent::Yes, args.yes).await?;
    file.rewind()?;
    let mut parts = Parts::new(BufReader::new(&file), args.skip);
    let (mut imported, mut depth_after) = (0, 0);
    let bar = bar();
    let mut interrupt = Interrupt::catch()?;
    while let Some(part) = parts.next()? {
        let outcome = if interrupt.pressed() {
            Err(Refusal::new(Kind::Interrupted, "interrupted"))
        } else {
            interrupt
                .through(Box::pin(desk.import(&args.queue, part)))
                .await
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(refusal) if imported == 0 => return Err(refusal.into()),
            Err(refusal) => {
                bar.finish_and_clear();
                remark(&clean::line(&refusal.text));
                let done = args.skip + imported;
                remark(&format!(
                    "{imported} of {lines} were imported; look whether more arrived, and go on with --skip {done}"
                ));
                if screen.json {
                    put_json(&ImportOutcome {
                        imported,
                        depth_after,
                    })?;
                }
                return Ok(match refusal.kind {
                    Kind::Interrupted => Outcome::Killed,
                    _ => Outcome::Partly,
                });
            }
        };
        imported += outcome.imported;
        depth_after = outcome.depth_after;
        bar.set_position(imported);
    }
    bar.finish_and_clear();
    if screen.json {
        put_json(&ImportOutcome {
            imported,
            depth_after,
        })?;
    } else {
        let count = spell::of(imported, "message");
        let after = spell::count(depth_after);
        answer(&format!("{count} imported; {queue} has {after} now\n"))?;
    }
    Ok(Outcome::Done)
}

fn ending(lines: u64) -> End {
    End {
        end: Counted { lines },
    }
}

fn bar() -> ProgressBar {
    if is_interactive() && !std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    if is_interactive() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    }
}

/// The lines, where they can be read twice: once to check them all, once to push them.
fn opened(file: Option<&Path>) -> anyhow::Result<File> {
    let bad = |path: &Path, error| Refusal::usage(format!("{}: {error}", path.display()));
    let mut from: Box<dyn std::io::Read> = match file {
        Some(path) if path != Path::new("-") => {
            let opened = File::open(path).map_err(|error| bad(path, error))?;
            if opened.metadata()?.is_file() {
                return Ok(opened);
            }
            Box::new(opened)
        }
        _ => Box::new(std::io::stdin().lock()),
    };
    // A pipe can be read once only.
    let mut spool = tempfile::tempfile().context("cannot make a file for the lines")?;
    std::io::copy(&mut from, &mut spool).context("cannot read the lines")?;
    spool.rewind()?;
    Ok(spool)
}

/// What a file of lines turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checked {
    lines: u64,
    /// Whether its last line says that these are all.
    whole: bool,
}

/// Reads all lines before anything is pushed.
fn check(mut from: impl std::io::BufRead) -> anyhow::Result<Checked> {
    let mut checked = Checked {
        lines: 0,
        whole: false,
    };
    let mut text = String::new();
    for number in 1_u64.. {
        let bad =
            |why: String| Refusal::usage(format!("line {number}: {why}; nothing was imported"));
        text.clear();
        let read = from.read_line(&mut text);
        if read.map_err(|error| bad(error.to_string()))? == 0 {
            break;
        }
        match parsed(&text).map_err(bad)? {
            None => {}
            Some(_) if checked.whole => {
                return Err(bad("there is more behind the last line of an export".into()).into());
            }
            Some(Parsed::End(lines)) if lines != checked.lines => {
                let found = checked.lines;
                let why = format!("the export had {lines} messages, here are {found}");
                return Err(bad(why).into());
            }
            Some(Parsed::End(_)) => checked.whole = true,
            Some(Parsed::Line(_)) => checked.lines += 1,
        }
    }
    Ok(checked)
}

enum Parsed {
    Line(Line),
    End(u64),
}

/// One line; nothing where it is blank.
fn parsed(text: &str) -> Result<Option<Parsed>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    if let Ok(end) = serde_json::from_str::<End>(text) {
        return Ok(Some(Parsed::End(end.end.lines)));
    }
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let bytes = match (&line.body, &line.base64) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(text)) => STANDARD.decode(text).map_err(|error| error.to_string())?,
        _ => return Err("expected either body or base64".to_owned()),
    };
    match &line.digest {
        Some(wanted) if *wanted != digest(&bytes) => Err("its bytes do not have its digest".into()),
        _ => Ok(Some(Parsed::Line(line))),
    }
}

/// Checked lines in parts that one request can carry.
struct Parts<R> {
    from: R,
    skip: u64,
    waiting: Option<(Line, usize)>,
}

impl<R: std::io::BufRead> Parts<R> {
    fn new(from: R, skip: u64) -> Self {
        Self {
            from,
            skip,
            waiting: None,
        }
    }

    fn next(&mut self) -> anyhow::Result<Option<Vec<Line>>> {
        let mut part = vec![];
        let mut bytes = 0;
        while part.len() < LINES {
            let Some((line, size)) = self.line()? else {
                break;
            };
            if !part.is_empty() && bytes + size > BYTES {
                self.waiting = Some((line, size));
                break;
            }
            bytes += size;
            part.push(line);
        }
        Ok((!part.is_empty()).then_some(part))
    }

    fn line(&mut self) -> anyhow::Result<Option<(Line, usize)>> {
        if self.waiting.is_some() {
            return Ok(self.waiting.take());
        }
        loop {
            let mut text = String::new();
            if self.from.read_line(&mut text)? == 0 {
                return Ok(None);
            }
            match parsed(&text).map_err(Refusal::usage)? {
                Some(Parsed::Line(_)) if self.skip > 0 => self.skip -= 1,
                Some(Parsed::Line(line)) => return Ok(Some((line, text.len()))),
                Some(Parsed::End(_)) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Checked, String> {
        check(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_export_is_recognised() {
        let text = "{\"body\":\"{}\"}\n\n{\"base64\":\"/w==\"}\n{\"end\":{\"lines\":2}}\n";
        let expected = Checked {
            lines: 2,
            whole: true,
        };
        assert_eq!(checked(text), Ok(expected));
        let cut = checked("{\"body\":\"{}\"}\n").expect("lines");
        assert!(!cut.whole);
    }

    #[test]
    fn nothing_is_imported_of_what_is_not_sound() {
        for (text, why) in [
            (
                "{\"body\":\"{}\"}\n{\"end\":{\"lines\":2}}\n",
                "had 2 messages",
            ),
            (
                "{\"body\":\"a\",\"base64\":\"YQ==\"}\n",
                "either body or base64",
            ),
            ("{}\n", "either body or base64"),
            ("{\"base64\":\"=\"}\n", "line 1"),
            ("{\"body\":\"a\",\"digest\":\"aa\"}\n", "digest"),
            ("nonsense\n", "line 1"),
            (
                "{\"end\":{\"lines\":0}}\n{\"body\":\"a\"}\n",
                "behind the last line",
            ),
        ] {
            let error = checked(text).expect_err(text);
            assert!(
                error.contains(why) && error.contains("nothing was imported"),
                "{error}"
            );
        }
    }

    #[test]
    fn lines_go_in_parts_and_those_that_were_done_are_left_out() {
        let lines: Vec<String> = (0..2_500).map(|i| format!(r#"{{"body":"{i}"}}"#)).collect();
        let text = lines.join("\n");
        let mut parts = Parts::new(text.as_bytes(), 400);
        let mut sizes = vec![];
        while let Some(part) = parts.next().expect("lines") {
            sizes.push((part.len(), part[0].body.clone().unwrap_or_default()));
        }
        let expected = [(1_000, "400"), (1_000, "1400"), (100, "2400")];
        assert_eq!(
            sizes,
            expected.map(|(size, first)| (size, first.to_owned()))
        );
    }

    #[test]
    fn a_large_line_does_not_overfill_a_part() {
        let large = format!("{{\"body\":\"{}\"}}\n", "x".repeat(BYTES - 100));
        let text = large.repeat(2);
        let mut parts = Parts::new(text.as_bytes(), 0);
        assert_eq!(parts.next().expect("lines").map(|part| part.len()), Some(1));
        assert_eq!(parts.next().expect("lines").map(|part| part.len()), Some(1));
        assert_eq!(parts.next().expect("lines"), None);
    }
}
