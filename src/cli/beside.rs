//! `pause`, `resume`, `config`, `runs`: what lies beside the messages.

use clap::{Args, Subcommand};

use super::desk::Desk;
use super::screen::{Screen, answer, put_json, remark};
use super::table::{Column, Table};
use super::{Outcome, clean, follow, now, spell, status};
use crate::operate::wire::{PauseRequest, QueueView, RunView, SettingRequest, SettingView};

#[derive(Args, Clone, Debug)]
pub(crate) struct PauseArgs {
    /// Source, such as alerter
    queue: String,
    /// Why, for those who find it paused
    #[arg(long)]
    reason: String,
    /// For so long, such as 30m; without it until it is resumed
    #[arg(long = "for", value_name = "DURATION", value_parser = spell::duration)]
    time: Option<u64>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ResumeArgs {
    /// Source, such as alerter
    queue: String,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Option<ConfigCommand>,
}

#[derive(Subcommand, Clone, Debug)]
enum ConfigCommand {
    /// Show a setting
    Get {
        /// Its key, such as remediation_batch_size
        key: String,
    },
    /// Set a setting
    Set {
        /// Its key, such as remediation_batch_size
        key: String,
        /// Its value
        value: String,
        /// Only for so long, such as 1h
        #[arg(long = "for", value_name = "DURATION", value_parser = spell::duration)]
        time: Option<u64>,
    },
    /// Have a setting fall back to the environment's
    Unset {
        /// Its key, such as remediation_batch_size
        key: String,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
}

#[derive(Subcommand, Clone, Debug)]
enum RunsCommand {
    /// Show a run; the exit code is that of its end
    Show {
        /// Its id, as `runs` lists it
        run: String,
    },
    /// Ask a run to end after the batch in flight
    Cancel {
        /// Its id, as `runs` lists it
        run: String,
    },
    /// Follow a run to its end; on Redis itself also work at it, if nobody else does
    Follow {
        /// Its id, as `runs` lists it
        run: String,
    },
}

pub(super) async fn pause(desk: &Desk, screen: Screen, args: PauseArgs) -> anyhow::Result<Outcome> {
    let request = PauseRequest {
        reason: args.reason,
        seconds: args.time,
    };
    queue(&desk.pause(&args.queue, &request).await?, screen)
}

pub(super) async fn resume(
    desk: &Desk,
    screen: Screen,
    args: ResumeArgs,
) -> anyhow::Result<Outcome> {
    queue(&desk.resume(&args.queue).await?, screen)
}

fn queue(view: &QueueView, screen: Screen) -> anyhow::Result<Outcome> {
    if screen.json {
        put_json(view)?;
        return Ok(Outcome::Done);
    }
    let paused = clean::line(&status::paused(view, now()));
    let name = clean::line(&view.queue);
    answer(&if paused.is_empty() {
        format!("{name} is drained again\n")
    } else {
        format!("{name} is paused: {paused}\n")
    })?;
    Ok(Outcome::Done)
}

pub(super) async fn config(
    desk: &Desk,
    screen: Screen,
    args: ConfigArgs,
) -> anyhow::Result<Outcome> {
    let view = match args.command {
        None => {
            let views = desk.settings().await?;
            if screen.json {
                put_json(&views)?;
            } else {
                answer(&screen.table(&settings(&views)))?;
            }
            return Ok(Outcome::Done);
        }
        Some(ConfigCommand::Get { key }) => {
            let views = desk.settings().await?;
            let found = views.into_iter().find(|view| view.key == key);
            found.ok_or_else(|| super::refusal::Refusal::no("setting", &key))?
        }
        Some(ConfigCommand::Set { key, value, time }) => {
            let request = SettingRequest {
                value,
                seconds: time,
            };
            let view = desk.set(&key, &request).await?;
            if let Desk::Here { dynamic: false, .. } = desk {
                remark(
                    "DYNAMIC_CONFIG_ENABLED is false here: \
                     a daemon of this environment does not look at it",
                );
            }
            view
        }
        Some(ConfigCommand::Unset { key }) => desk.unset(&key).await?,
    };
    if screen.json {
        put_json(&view)?;
    } else {
        answer(&screen.table(&settings(std::slice::from_ref(&view))))?;
    }
    Ok(Outcome::Done)
}

fn settings(views: &[SettingView]) -> Table {
    let mut table = Table::new(&[
        Column::Left("key"),
        Column::Left("value"),
        Column::Left("without it"),
        Column::Left("expected"),
    ]);
    for view in views {
        let value = view.value.clone().unwrap_or_default();
        let refused = if view.valid { "" } else { " (refused)" };
        table.row([
            view.key.clone(),
            value + refused,
            view.default.clone(),
            view.expected.clone(),
        ]);
    }
    table
}

pub(super) async fn runs(desk: &Desk, screen: Screen, args: RunsArgs) -> anyhow::Result<Outcome> {
    match args.command {
        None => {
            let runs = desk.runs().await?;
            if screen.json {
                put_json(&runs)?;
            } else {
                answer(&screen.table(&table(&runs, now())))?;
            }
            Ok(Outcome::Done)
        }
        Some(RunsCommand::Show { run }) => {
            let view = desk.run(&run).await?;
            if screen.json {
                put_json(&view)?;
            } else {
                answer(&format!("{}\n", follow::told(&view)))?;
            }
            Ok(match view.state {
                crate::operate::wire::RunState::Running => Outcome::Done,
                _ => follow::outcome(&view),
            })
        }
        Some(RunsCommand::Cancel { run }) => {
            let view = desk.cancel(&run).await?;
            if screen.json {
                put_json(&view)?;
            } else {
                answer("asked it to end after the batch in flight\n")?;
            }
            Ok(Outcome::Done)
        }
        Some(RunsCommand::Follow { run }) => follow::follow(desk, screen, &run).await,
    }
}

fn table(runs: &[RunView], now: i64) -> Table {
    let mut table = Table::new(&[
        Column::Whole("run"),
        Column::Left("action"),
        Column::Left("state"),
        Column::Right("moved"),
        Column::Right("of"),
        Column::Right("ago"),
        Column::Left("by"),
        Column::Left("outcome"),
    ]);
    for run in runs {
        table.row([
            run.run.clone(),
            run.action.as_str().to_owned(),
            run.state.as_str().to_owned(),
            spell::count(run.moved),
            spell::count(run.wanted),
            spell::ago(Some(run.started_at), now),
            run.by.clone(),
            run.summary.clone(),
        ]);
    }
    table
}
