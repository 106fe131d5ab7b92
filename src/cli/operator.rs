//! What operators can ask for.

use clap::Subcommand;

use super::act::{self, ActArgs};
use super::audit::{self, AuditArgs};
use super::beside::{self, ConfigArgs, PauseArgs, ResumeArgs, RunsArgs};
use super::edit::{self, EditArgs};
use super::list::{self, ListArgs};
use super::options::{Nothing, With};
use super::plan::{self, PlanArgs};
use super::show::{self, ShowArgs};
use super::top::{self, TopArgs};
use super::transfer::{self, ExportArgs, ImportArgs};
use super::{Outcome, slo, status};
use crate::operate::wire::Action;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// How things stand: queues, gates, pauses, the last passes
    Status(With<Nothing>),
    /// How the service level objectives stand; exit code 0 if all are ok
    Slo(With<Nothing>),
    /// List the queues, or the messages of one
    Ls(With<ListArgs>),
    /// Show a message with its history, or count what is in a queue
    Show(With<ShowArgs>),
    /// Count what an action would do, and print what runs it
    Plan(With<PlanArgs>),
    /// Send messages back to work
    Replay(With<ActArgs>),
    /// Move messages from a dead letter list to its dead list
    Bury(With<ActArgs>),
    /// Move messages from a dead list back to the dead letter list, for the worker to bring back
    Restore(With<ActArgs>),
    /// Throw messages away, for good
    Purge(With<ActArgs>),
    /// Change a message in VISUAL or EDITOR, see the difference, and replay it
    Edit(With<EditArgs>),
    /// Write messages as lines of JSON
    Export(With<ExportArgs>),
    /// Push messages that were exported
    Import(With<ImportArgs>),
    /// Pause the drain of a source
    Pause(With<PauseArgs>),
    /// End a pause
    Resume(With<ResumeArgs>),
    /// List dynamic settings, get, set or unset one
    Config(With<ConfigArgs>),
    /// Who did what, newest first
    Audit(With<AuditArgs>),
    /// List the last runs, show, cancel or follow one
    Runs(With<RunsArgs>),
    /// Watch queues, gates and acts; without a terminal one look
    Top(With<TopArgs>),
}

pub(super) async fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Status(with) => {
            let (desk, screen, Nothing {}) = with.open().await?;
            status::run(&desk, screen).await
        }
        Command::Slo(with) => {
            let (desk, screen, Nothing {}) = with.open().await?;
            slo::run(&desk, screen).await
        }
        Command::Ls(with) => {
            let (desk, screen, args) = with.open().await?;
            list::run(&desk, screen, args).await
        }
        Command::Show(with) => {
            let (desk, screen, args) = with.open().await?;
            show::run(&desk, screen, args).await
        }
        Command::Plan(with) => {
            let (desk, screen, args) = with.open().await?;
            plan::run(&desk, screen, args).await
        }
        Command::Replay(with) => acting(Action::Replay, with).await,
        Command::Bury(with) => acting(Action::Bury, with).await,
        Command::Restore(with) => acting(Action::Restore, with).await,
        Command::Purge(with) => acting(Action::Purge, with).await,
        Command::Edit(with) => {
            let (desk, screen, args) = with.open().await?;
            edit::run(&desk, screen, args).await
        }
        Command::Export(with) => {
            let (desk, screen, args) = with.open().await?;
            transfer::export(&desk, screen, args).await
        }
        Command::Import(with) => {
            let (desk, screen, args) = with.open().await?;
            transfer::import(&desk, screen, args).await
        }
        Command::Pause(with) => {
            let (desk, screen, args) = with.open().await?;
            beside::pause(&desk, screen, args).await
        }
        Command::Resume(with) => {
            let (desk, screen, args) = with.open().await?;
            beside::resume(&desk, screen, args).await
        }
        Command::Config(with) => {
            let (desk, screen, args) = with.open().await?;
            beside::config(&desk, screen, args).await
        }
        Command::Audit(with) => {
            let (desk, screen, args) = with.open().await?;
            audit::run(&desk, screen, args).await
        }
        Command::Runs(with) => {
            let (desk, screen, args) = with.open().await?;
            beside::runs(&desk, screen, args).await
        }
        Command::Top(with) => {
            let (desk, screen, args) = with.open().await?;
            top::run(&desk, screen, args).await
        }
    }
}

async fn acting(action: Action, with: With<ActArgs>) -> anyhow::Result<Outcome> {
    let (desk, screen, args) = with.open().await?;
    act::act(&desk, screen, action, args).await
}
