//! The command line. Without a subcommand the binary is the daemon.

mod act;
mod audit;
mod beside;
mod container;
mod daemon;
mod desk;
mod edit;
mod follow;
mod list;
mod notify;
mod operator;
mod options;
mod plan;
mod refusal;
mod remote;
mod rules;
mod screen;
mod shell;
mod show;
mod slo;
mod status;
mod table;
mod ticket;
mod top;
mod transfer;

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Config, Problems};
use crate::demo;
use crate::link::Link;
use crate::{clean, spell};
use refusal::Refusal;

#[derive(Parser)]
#[command(
    name = "mutt-remediation",
    version,
    about = "Brings dead letters back to work when the pipeline can take them, and parks poison.",
    long_about = "Brings dead letters back to work when the pipeline can take them, and parks poison.\n\nWithout a command it runs as a daemon, set up by environment variables. The other commands are for operators; they ask the API of a daemon with --url, else Redis itself by the daemon's own variables."
)]
struct Arguments {
    /// Validate the environment, print the effective settings (secrets redacted) and exit
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Operator(Box<operator::Command>),
    /// Watch it work: a throw-away Redis, a stand-in Moogsoft and alerter, dead letters of every kind
    Demo(demo::DemoOptions),
    /// Ask a running daemon for its health; exit code 0 if it is well (for container health checks)
    Healthcheck {
        /// Address to ask; without it /health on HEALTH_PORT_REMEDIATION of this machine
        #[arg(long)]
        url: Option<url::Url>,
    },
    /// See whether notifications get through
    Notify(notify::NotifyArgs),
    /// Print rules for Prometheus: service level objectives, their alerts, and those of the worker
    Rules(rules::RulesArgs),
    /// Print what a shell needs to complete commands and options
    Completions(shell::CompletionsArgs),
    /// Print the manual page
    Man,
    /// Answer like Moogsoft's webhook, for docker-compose.yml
    #[command(hide = true)]
    StandInMoogsoft {
        /// Port to listen on
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
}

/// How a run of the program ended, for its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// It failed, found no healthy daemon, or moved nothing of what was asked for.
    Failed,
    /// The command line or the environment is wrong; every problem has been printed.
    Misconfigured,
    /// Some of what was asked for was moved, and some was not.
    Partly,
    /// There is no such queue, message, plan, run or setting.
    NotFound,
    /// A signal ended it.
    Killed,
}

impl Outcome {
    /// The exit code that scripts see.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Misconfigured => 2,
            Self::Partly => 3,
            Self::NotFound => 4,
            Self::Killed => 130,
        }
    }

    /// What an error means.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let refusal = error.downcast_ref::<Refusal>();
        refusal.map_or(Self::Failed, Refusal::outcome)
    }
}

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    failed, or moved nothing of what was asked for
  2    the command line, the environment or the key is wrong
  3    partly done: some of what was asked for was not moved
  4    there is no such queue, message, plan, run or setting
  130  ended by a signal";

/// Does what the command line asks for.
///
/// # Errors
/// What failed, for [`report`].
pub fn run() -> anyhow::Result<Outcome> {
    let matches = command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches)?;
    match arguments.command {
        _ if arguments.check_config => Ok(daemon::check_config()),
        None => daemon::run(),
        Some(Command::Operator(command)) => on_runtime(operator::run(*command)),
        Some(Command::Demo(options)) => on_runtime(demo::run(options)),
        Some(Command::Healthcheck { url }) => on_runtime(container::healthcheck(url)),
        Some(Command::Notify(arguments)) => on_runtime(notify::run(arguments)),
        Some(Command::Rules(arguments)) => rules::run(&arguments),
        Some(Command::Completions(arguments)) => shell::completions(&arguments, command()),
        Some(Command::Man) => shell::man(command()),
        Some(Command::StandInMoogsoft { port }) => on_runtime(container::stand_in_moogsoft(port)),
    }
}

fn command() -> clap::Command {
    let after = format!("{EXIT_CODES}\n\n{}", daemon::help_on_variables());
    Arguments::command()
        .after_help(EXIT_CODES)
        .after_long_help(after)
}

/// Prints an error and its causes to standard error.
pub fn report(error: &anyhow::Error) {
    let text = clean::lines(&format!("{error:#}"));
    say(
        &mut std::io::stderr(),
        &format!("mutt-remediation: {text}\n"),
    );
}

/// Runs to the end on one worker: it waits for Redis most of the time, a batch keeps it for
/// milliseconds, and a second one would cost more in hand-overs than it brings.
fn on_runtime<T>(program: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(program);
    // A name server that does not answer would otherwise hold up the end.
    runtime.shutdown_background();
    ended
}

/// The environment's configuration with its files looked at, or an exit code for a wrong one.
fn configuration() -> Result<Config, Outcome> {
    load().map_err(|problems| {
        say(
            &mut std::io::stderr(),
            &format!("mutt-remediation: {problems}\n"),
        );
        Outcome::Misconfigured
    })
}

/// The environment's configuration with its files looked at.
fn load() -> Result<Config, Problems> {
    let config = Config::load(std::env::vars_os())?;
    match Link::new(config.redis.clone(), "").check() {
        Ok(()) => Ok(config),
        Err(error) => Err(Problems(vec![error.to_string()])),
    }
}

/// An error with all of its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Writes for people. A reader that has gone away is no failure of ours.
pub(crate) fn say(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}

/// Whether a progress bar makes sense.
pub(crate) fn is_interactive() -> bool {
    std::io::stderr().is_terminal()
}

/// Shows an address in a browser, where there is a desktop and somebody at it.
pub(crate) fn open(address: &str) {
    let desktop = ["WAYLAND_DISPLAY", "DISPLAY"];
    let is_there = desktop.iter().any(|name| std::env::var_os(name).is_some());
    if !is_there || !std::io::stdout().is_terminal() {
        return;
    }
    let opened = std::process::Command::new("xdg-open")
        .arg(address)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    if let Err(error) = opened {
        tracing::debug!(%error, "no browser was opened");
    }
}

/// Unix seconds.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn exit_codes_are_those_of_the_help() {
        for outcome in [
            Outcome::Done,
            Outcome::Failed,
            Outcome::Misconfigured,
            Outcome::Partly,
            Outcome::NotFound,
            Outcome::Killed,
        ] {
            let line = format!("\n  {} ", outcome.code());
            assert!(EXIT_CODES.contains(&line), "{outcome:?}");
        }
        assert_eq!(Outcome::of(&anyhow::anyhow!("anything")), Outcome::Failed);
        let wrapped = anyhow::Error::from(Refusal::usage("x")).context("y");
        assert_eq!(Outcome::of(&wrapped), Outcome::Misconfigured);
    }

    #[test]
    fn errors_are_told_with_all_of_their_causes() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(chain(error.as_ref()), "outer: inner");
    }
}
