//! Whether notifications get through, without anything having happened.

use clap::{Args, Subcommand};

use super::{Outcome, clean, configuration, say};
use crate::notify::event::Event;
use crate::notify::outbox::Batch;
use crate::notify::sample::samples;
use crate::notify::senders;

#[derive(Args)]
pub(super) struct NotifyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send one of each event to each receiver of `NOTIFY_URLS`, marked as a test; exit code 1 if one could not be told
    Test(TestArgs),
}

#[derive(Args)]
struct TestArgs {
    /// Only this event; may be repeated
    #[arg(long, value_name = "EVENT", value_parser = event)]
    event: Vec<Event>,
}

pub(super) async fn run(args: NotifyArgs) -> anyhow::Result<Outcome> {
    let Command::Test(args) = args.command;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = match configuration() {
        Ok(config) => config,
        Err(outcome) => return Ok(outcome),
    };
    let Some(mut notify) = config.notify else {
        let text = "mutt-remediation: NOTIFY_URLS is not set: there is nobody to tell\n";
        say(&mut std::io::stderr(), text);
        return Ok(Outcome::Misconfigured);
    };
    notify.teller.test = true;
    let mut notes = samples(super::now());
    if !args.event.is_empty() {
        notes.retain(|note| args.event.contains(&note.event));
    }
    let batch = Batch {
        number: 1,
        notes,
        held_back: 0,
        missed: 0,
    };
    let id = format!("test-{:016x}", fastrand::u64(..));
    let senders = senders(&notify)?;
    let sending = senders.iter().map(|sender| sender.send(&batch, &id));
    let sent = futures_util::future::join_all(sending).await;
    let mut outcome = Outcome::Done;
    let mut text = String::new();
    for (sender, sent) in senders.iter().zip(sent) {
        let receiver = sender.receiver();
        match sent {
            Ok(()) => text.push_str(&format!("ok      {receiver}\n")),
            Err(failure) => {
                outcome = Outcome::Failed;
                let failure = clean::line(&failure.to_string());
                text.push_str(&format!("failed  {receiver}: {failure}\n"));
            }
        }
    }
    say(&mut std::io::stdout(), &text);
    Ok(outcome)
}

fn event(text: &str) -> Result<Event, String> {
    let names = Event::ALL.map(Event::as_str).join(", ");
    Event::named(text).ok_or_else(|| format!("expected one of {names}"))
}
