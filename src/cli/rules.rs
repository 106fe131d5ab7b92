//! `rules`: what Prometheus has to record and to alert of.

use clap::{Args, ValueEnum};

use super::screen::put;
use super::{Outcome, configuration};
use crate::slo::objective::Objective;
use crate::slo::rules::File;

#[derive(Args, Clone, Debug)]
pub(crate) struct RulesArgs {
    /// Which of the files
    #[arg(value_enum)]
    file: File,
    /// What the links to the runbook begin with: the address of the directory docs, with a slash at the end
    #[arg(long, value_name = "ADDRESS", default_value = "docs/")]
    runbook_base: String,
}

impl ValueEnum for File {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::SloRecording => "what it records of the objectives",
            Self::SloAlerts => "when their error budgets burn; needs what is recorded",
            Self::WorkerAlerts => "when the worker itself has to be looked at",
        };
        Some(clap::builder::PossibleValue::new(self.as_str()).help(help))
    }
}

pub(super) fn run(args: &RulesArgs) -> anyhow::Result<Outcome> {
    let objectives = match objectives() {
        Ok(objectives) => objectives,
        Err(outcome) => return Ok(outcome),
    };
    put(&args.file.text(&objectives, &args.runbook_base))?;
    Ok(Outcome::Done)
}

/// What the environment has promised; what is set in Redis for a while is no matter for a file.
fn objectives() -> Result<Vec<Objective>, Outcome> {
    configuration().map(|config| config.settings.slo.objectives())
}
