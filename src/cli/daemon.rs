//! The daemon, and what its environment says.

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::{Outcome, chain, configuration, on_runtime, say};
use crate::app::App;
use crate::config::variables;
use crate::shutdown::Signals;
use crate::telemetry;

pub(super) fn run() -> anyhow::Result<Outcome> {
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
            api = app.api_address().map(tracing::field::display),
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

pub(super) fn check_config() -> Outcome {
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

pub(super) fn help_on_variables() -> String {
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
