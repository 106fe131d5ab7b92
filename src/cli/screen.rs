//! Where answers go: a terminal for people, a pipe for programs; and questions to people.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::refusal::{Kind, Refusal};
use super::table::Table;
use super::{clean, say};

/// How to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// As JSON.
    pub(crate) json: bool,
    /// Columns of the terminal; without one nothing is cut.
    pub(crate) width: Option<usize>,
    colour: bool,
}

impl Screen {
    /// The screen that standard output is.
    pub(crate) fn new(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty())
            || std::env::var_os("TERM").is_some_and(|text| text == "dumb");
        Self {
            json,
            width: terminal.then(|| size().0),
            colour: terminal && !plain,
        }
    }

    /// For what comes before an answer, on standard error.
    pub(crate) fn aside(self) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            width: terminal.then(|| size().0),
            colour: self.colour && terminal,
            ..self
        }
    }

    /// A table as text.
    pub(crate) fn table(self, table: &Table) -> String {
        let mut text = String::new();
        for (number, line) in table.lines(self.width).iter().enumerate() {
            if number == 0 {
                text.push_str(&self.bold(line));
            } else {
                text.push_str(line);
            }
            text.push('\n');
        }
        text
    }

    /// What stands out.
    pub(crate) fn bold(self, text: &str) -> String {
        self.painted("1", text)
    }

    /// What is wrong, or goes away.
    pub(crate) fn red(self, text: &str) -> String {
        self.painted("31", text)
    }

    /// What is well, or comes.
    pub(crate) fn green(self, text: &str) -> String {
        self.painted("32", text)
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Answers people, with lines that have been cleaned. That they do not read to the end is no failure.
pub(crate) fn answer(text: &str) -> anyhow::Result<()> {
    written(text).or_else(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(unwritten(&error)),
    })
}

/// Columns and rows of the terminal.
pub(crate) fn size() -> (usize, usize) {
    // Where the answer goes into a pipe, what comes before it may be on a terminal.
    let stdout = console::Term::stdout().size_checked();
    let terminal = stdout.or_else(|| console::Term::stderr().size_checked());
    let (rows, columns) = terminal.unwrap_or((24, 80));
    (columns.max(20).into(), rows.max(5).into())
}

/// Writes for programs: what cannot be written is a failure.
pub(crate) fn put(text: &str) -> anyhow::Result<()> {
    written(text).map_err(|error| unwritten(&error))
}

fn written(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn unwritten(error: &std::io::Error) -> anyhow::Error {
    let text = format!("standard output cannot be written to: {error}");
    Refusal::new(Kind::Refused, text).into()
}

/// One JSON document for programs, safe on a terminal too.
pub(crate) fn put_json(value: &impl Serialize) -> anyhow::Result<()> {
    put(&(clean::json(&serde_json::to_string_pretty(value)?) + "\n"))
}

/// One line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(clean::json(&serde_json::to_string(value)?) + "\n")
}

/// Tells people something beside the answer.
pub(crate) fn remark(text: &str) {
    say(&mut std::io::stderr(), &format!("{text}\n"));
}

/// What an operator has to type.
#[derive(Clone, Debug)]
pub(crate) enum Consent {
    /// `y` or `yes`.
    Yes,
    /// This very text.
    Text(String),
}

/// Asks whether to go on. Given with `--yes`; nobody there is a reason to stop.
pub(crate) async fn confirm(question: &str, consent: Consent, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let text = format!("{question} There is no terminal to ask on: give --yes");
        return Err(Refusal::usage(text).into());
    }
    let hint = match &consent {
        Consent::Yes => "[y/N]".to_owned(),
        Consent::Text(text) => format!("Type {text} to go on:"),
    };
    let answer = ask(&format!("{question} {hint} ")).await?;
    let agreed = match &consent {
        Consent::Yes => matches!(answer.to_lowercase().as_str(), "y" | "yes"),
        Consent::Text(text) => answer == *text,
    };
    if agreed {
        return Ok(());
    }
    Err(Refusal::new(Kind::Refused, "nothing was done").into())
}

/// Ctrl-C while something is done step by step: the first ends it after the step in flight, the
/// second leaves that alone. From the moment this is made it does nothing else.
#[derive(Debug)]
pub(crate) struct Interrupt {
    signal: Signal,
    pressed: bool,
}

impl Interrupt {
    /// Begins to catch it.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let signal = signal(SignalKind::interrupt()).context("cannot catch signals")?;
        let pressed = false;
        Ok(Self { signal, pressed })
    }

    /// Whether it was pressed.
    pub(crate) fn pressed(&mut self) -> bool {
        self.pressed |= self.signal.recv().now_or_never().is_some();
        self.pressed
    }

    /// Does a step to its end, unless it is pressed for the second time meanwhile.
    pub(crate) async fn through<T>(
        &mut self,
        step: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let mut step = std::pin::pin!(step);
        loop {
            tokio::select! {
                done = step.as_mut() => return done,
                _ = self.signal.recv() => {}
            }
            if self.pressed {
                let text =
                    "interrupted: what was in flight may be done all the same, the audit tells";
                return Err(Refusal::new(Kind::Interrupted, text));
            }
            self.pressed = true;
            remark("it ends after what is in flight; a second signal leaves that alone");
        }
    }

    /// Waits until it is pressed.
    pub(crate) async fn wait() -> Refusal {
        let _ = tokio::signal::ctrl_c().await;
        Refusal::new(Kind::Interrupted, "interrupted")
    }
}

/// Asks on the terminal for a line.
pub(crate) async fn ask(question: &str) -> anyhow::Result<String> {
    // Before anybody can see the question: what is pressed at its sight must not be lost.
    let mut interrupt = Interrupt::catch()?;
    say(&mut std::io::stderr(), question);
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        line = read => Ok(line??.trim().to_owned()),
        _ = interrupt.signal.recv() => Err(Refusal::new(Kind::Interrupted, "interrupted").into()),
    }
}
