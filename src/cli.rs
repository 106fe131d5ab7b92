//! The command line. Without a subcommand the binary is the daemon.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::{Config, Problems, variables};
use crate::http::{self, Limits};
use crate::link::Link;
use crate::shutdown::Signals;
use crate::{demo, telemetry};

#[derive(Parser)]
#[command(
    name = "mutt-remediation",
    version,
    about = "Brings dead letters back to work when the pipeline can take them, and parks poison.",
    long_about = "Brings dead letters back to work when the pipeline can take them, and parks poison.\n\nWithout a command it runs as a daemon, set up by environment variables."
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
    /// Watch it work: a throw-away Redis, a stand-in Moogsoft and alerter, dead letters of every kind
    Demo(demo::DemoOptions),
    /// Ask a running daemon for its health; exit code 0 if it is well (for container health checks)
    Healthcheck {
        /// Address to ask; without it /health on HEALTH_PORT_REMEDIATION of this machine
        #[arg(long)]
        url: Option<url::Url>,
    },
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
    /// The health check found no healthy daemon.
    Unhealthy,
    /// The environment is wrong; every problem has been printed.
    Misconfigured,
    /// A second signal ended it at once.
    Killed,
}

/// Does what the command line asks for.
///
/// # Errors
/// What failed, for [`report`].
pub fn run() -> anyhow::Result<Outcome> {
    let matches = Arguments::command()
        .after_long_help(help_on_variables())
        .get_matches();
    let arguments = Arguments::from_arg_matches(&matches)?;
    match arguments.command {
        _ if arguments.check_config => Ok(check_config()),
        None => daemon(),
        Some(Command::Demo(options)) => on_runtime(demo::run(options)),
        Some(Command::Healthcheck { url }) => on_runtime(healthcheck(url)),
        Some(Command::StandInMoogsoft { port }) => on_runtime(stand_in_moogsoft(port)),
    }
}

/// Prints an error and its causes to standard error.
pub fn report(error: &anyhow::Error) {
    say(
        &mut std::io::stderr(),
        &format!("mutt-remediation: {error:#}\n"),
    );
}

fn daemon() -> anyhow::Result<Outcome> {
    let config = match configuration() {
        Ok(config) => config,
        Err(outcome) => return Ok(outcome),
    };
    let _flushed_at_the_end = telemetry::start(&config.telemetry);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    on_runtime(async {
        let signals = Signals::catch().context("cannot catch signals")?;
        let shutdown = CancellationToken::new();
        let instance = config.telemetry.instance.clone();
        let app = App::start(config).inspect_err(|error| {
            tracing::error!(error = chain(error), "cannot start");
        })?;
        tracing::info!(
            program = env!("CARGO_PKG_VERSION"),
            instance,
            health = %app.health_address(),
            metrics = %app.metrics_address(),
            "up"
        );
        tokio::select! {
            biased;
            ended = app.run(shutdown.clone()) => {
                ended.inspect_err(|error| tracing::error!(error = chain(error), "ended by a failure"))?;
                tracing::info!("bye");
                Ok(Outcome::Done)
            }
            () = signals.watch(shutdown) => Ok(Outcome::Killed),
        }
    })
}

fn check_config() -> Outcome {
    let config = match configuration() {
        Ok(config) => config,
        Err(outcome) => return outcome,
    };
    let mut text = String::new();
    for variable in &config.effective {
        let origin = if variable.from_environment {
            "environment"
        } else {
            "default"
        };
        text.push_str(&format!(
            "{}={}  # {origin}\n",
            variable.name, variable.shown
        ));
    }
    for warning in &config.warnings {
        text.push_str(&format!("# warning: {warning}\n"));
    }
    say(&mut std::io::stdout(), &text);
    Outcome::Done
}

fn help_on_variables() -> String {
    let mut text =
        "Environment variables (default in brackets; an empty value counts as unset):\n".to_owned();
    for group in variables::GROUPS {
        text.push_str(&format!("\n{}:\n", group.title));
        for variable in group.variables {
            let default = if variable.default.is_empty() {
                "not set"
            } else {
                variable.default
            };
            text.push_str(&format!(
                "  {} [{default}]\n      {}\n",
                variable.name, variable.meaning
            ));
        }
    }
    text
}

async fn healthcheck(url: Option<url::Url>) -> anyhow::Result<Outcome> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = match url {
        Some(url) => url,
        None => {
            // Docker knows no other code for this than that of a daemon that is not well.
            let Ok(config) = configuration() else {
                return Ok(Outcome::Unhealthy);
            };
            anyhow::ensure!(
                config.health_port != 0,
                "HEALTH_PORT_REMEDIATION is 0, so the port is not known: give --url"
            );
            format!("http://127.0.0.1:{}/health", config.health_port).parse()?
        }
    };
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(3))
        .no_proxy()
        .build()?;
    match client.get(url).send().await {
        Ok(answer) if answer.status().is_success() => Ok(Outcome::Done),
        Ok(answer) => {
            say(
                &mut std::io::stderr(),
                &format!("answered {}\n", answer.status()),
            );
            Ok(Outcome::Unhealthy)
        }
        Err(error) => {
            say(
                &mut std::io::stderr(),
                &format!("{}\n", chain(&error.without_url())),
            );
            Ok(Outcome::Unhealthy)
        }
    }
}

async fn stand_in_moogsoft(port: u16) -> anyhow::Result<Outcome> {
    let shutdown = CancellationToken::new();
    let signals = Signals::catch()?;
    let listener = http::bind(port, "--port")?;
    let moogsoft = demo::moogsoft::Moogsoft::healthy();
    tokio::select! {
        () = http::serve(listener, moogsoft.routes(), Limits::default(), shutdown.clone()) => {}
        () = signals.watch(shutdown) => {}
    }
    Ok(Outcome::Done)
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
    let problems = match Config::load(std::env::vars_os()) {
        Ok(config) => match Link::new(config.redis.clone(), "").check() {
            Ok(()) => return Ok(config),
            Err(error) => Problems(vec![error.to_string()]),
        },
        Err(problems) => problems,
    };
    say(
        &mut std::io::stderr(),
        &format!("mutt-remediation: {problems}\n"),
    );
    Err(Outcome::Misconfigured)
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
