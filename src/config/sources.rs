//! What is drained, and where to.

use crate::dlq::envelope::Fields;
use crate::dlq::redis::Lists;
use crate::settings::Settings;

/// One dead letter list, and what becomes of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Its name in metrics and logs.
    pub name: String,
    /// Where it lies, where replays go and where poison ends.
    pub lists: Lists,
    /// The counters of its messages.
    pub fields: Fields,
    /// Fields without which a message is not replayed.
    pub required_fields: Vec<String>,
    /// Whether a full alert queue keeps its replays back.
    pub backpressure: bool,
    /// Messages in a batch, at most, if that is not what holds for all.
    pub batch_size: Option<u64>,
    /// Batches in a pass, at most, if that is not what holds for all.
    pub batches_per_cycle: Option<u64>,
    /// Failures that make a message poison, if that is not what holds for all.
    pub max_poison_retries: Option<u64>,
}

impl SourceConfig {
    /// The settings of all under those of this source.
    #[must_use]
    pub fn settings(&self, of_all: &Settings) -> Settings {
        let mut settings = of_all.clone();
        let own = [
            (self.batch_size, &mut settings.batch_size),
            (self.batches_per_cycle, &mut settings.batches_per_cycle),
            (self.max_poison_retries, &mut settings.max_poison_retries),
        ];
        for (own, of_all) in own {
            *of_all = own.unwrap_or(*of_all);
        }
        settings
    }
}
