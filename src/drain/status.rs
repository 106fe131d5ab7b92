//! How a drain stands, for whoever looks at it. Published by the loop; read, never asked for.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;

use super::gate::{Gate, Shut};
use super::report::Report;

/// Passes that are remembered.
const PASSES: usize = 20;

/// How the drain of a source stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrainStatus {
    /// The source.
    pub source: String,
    /// `open`, `probation` or `shut`; empty before the first look.
    pub gate: String,
    /// Why it is shut; empty while it is not.
    pub why: String,
    /// Since when the gate is like this, in Unix seconds.
    pub since: i64,
    /// Messages in a batch now, at most.
    pub batch_size: u64,
    /// `fixed` or `adaptive`.
    pub pace: String,
    /// The share of replays that came back lately.
    pub bounce_ratio: Option<f64>,
    /// Seconds until the next trial.
    pub next_trial: Option<u64>,
    /// Parking has stopped, because too many messages have used up their retries; whatever else may
    /// keep the gate shut.
    #[serde(default)]
    pub systemic: bool,
    /// Messages sent back to work since the process started.
    #[serde(default)]
    pub replayed: u64,
    /// Messages parked since the process started.
    #[serde(default)]
    pub dead: u64,
    /// How the last passes ended, newest first.
    pub passes: Vec<PassView>,
}

/// A pass that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PassView {
    /// When it ended, in Unix seconds.
    pub at: i64,
    /// `drained`, `empty`, `unhealthy` and so on, as the metrics call it.
    pub outcome: String,
    /// Messages sent back to work.
    pub replayed: u64,
    /// Messages parked.
    pub dead: u64,
    /// Messages left.
    pub depth: Option<u64>,
}

/// What is known of a gate at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its state.
    pub gate: Gate,
    /// Messages in a batch, at most.
    pub batch_size: u64,
    /// Whether the pace is learnt.
    pub adaptive: bool,
    /// The share of replays that came back lately.
    pub bounce_ratio: Option<f64>,
    /// Seconds until the next trial.
    pub next_trial: Option<u64>,
    /// Whether parking has stopped.
    pub systemic: bool,
}

/// Where a drain publishes how it stands.
#[derive(Debug)]
pub struct Board(watch::Sender<DrainStatus>);

impl Board {
    /// A board of a source, on which nothing stands yet.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self(watch::Sender::new(DrainStatus {
            source: source.to_owned(),
            ..DrainStatus::default()
        }))
    }

    /// For whoever wants to look.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<DrainStatus> {
        self.0.subscribe()
    }

    /// Shows the gate, at this time in Unix seconds.
    pub fn show(&self, seen: Seen, now: i64) {
        self.0.send_modify(|status| {
            let why = match seen.gate {
                Gate::Shut(why) => Shut::as_str(why),
                Gate::Open | Gate::Probation => "",
            };
            if status.gate != seen.gate.state() || status.why != why {
                seen.gate.state().clone_into(&mut status.gate);
                why.clone_into(&mut status.why);
                status.since = now;
            }
            status.batch_size = seen.batch_size;
            let pace = if seen.adaptive { "adaptive" } else { "fixed" };
            pace.clone_into(&mut status.pace);
            status.bounce_ratio = seen.bounce_ratio.filter(|ratio| ratio.is_finite());
            status.next_trial = seen.next_trial;
            status.systemic = seen.systemic;
        });
    }

    /// Counts messages that have left the source.
    pub fn moved(&self, replayed: u64, dead: u64) {
        self.0.send_modify(|status| {
            status.replayed += replayed;
            status.dead += dead;
        });
    }

    /// Adds a pass. One that found nothing replaces the one before it that found nothing either.
    pub fn passed(&self, report: &Report, now: i64) {
        let Some(outcome) = report.ended.outcome() else {
            return;
        };
        self.0.send_modify(|status| {
            let idle = report.moved() == 0;
            let same = |last: &PassView| last.outcome == outcome && last.replayed + last.dead == 0;
            if idle && status.passes.first().is_some_and(same) {
                status.passes.remove(0);
            }
            let pass = PassView {
                at: now,
                outcome: outcome.to_owned(),
                replayed: report.replayed,
                dead: report.dead,
                depth: report.depth,
            };
            status.passes.insert(0, pass);
            status.passes.truncate(PASSES);
        });
    }
}
