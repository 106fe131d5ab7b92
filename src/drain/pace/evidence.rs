//! Whether the last batch has gone through, and whether the target is worked on.

use std::time::Duration;

use super::{Memory, PaceRules, View};

/// When a target that is worked on stays above its level for so many observation times, others
/// keep it there.
const PATIENCE: u32 = 4;
/// Batches that may lie in the target beyond its level, so that it does not run dry; or what goes
/// through in this part of a second, where that is more.
const AHEAD: u64 = 2;
const AHEAD_PART: u64 = 10;

/// A batch on its way through the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// Depth of the target before it.
    before: u64,
    /// The target counts as having gone down when it is no deeper than this, or as deep as before
    /// for a while,
    low: u64,
    /// or when so many have been seen to leave it: all that lay there, and the batch.
    through: u64,
    /// What has been seen of the target since.
    ebb: Ebb,
    /// Since when the target has gone down.
    settled: Option<Duration>,
    /// It is no batch, but a pause after one.
    pause: bool,
}

/// How a target goes down, while others fill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ebb {
    began: Duration,
    depth: u64,
    least: u64,
    /// Messages that have left it, at least: the sum of all that it went down by.
    gone: u64,
}

impl Ebb {
    fn new(now: Duration, depth: u64) -> Self {
        Self {
            began: now,
            depth,
            least: depth,
            gone: 0,
        }
    }

    fn see(&mut self, depth: u64) {
        self.gone += self.depth.saturating_sub(depth);
        self.least = self.least.min(depth);
        self.depth = depth;
    }
}

impl Round {
    /// A batch of so many replays begins its way.
    pub(super) fn of(view: &View, replayed: u64) -> Self {
        Self {
            before: view.target_depth,
            low: replayed / 2,
            through: view.target_depth + replayed,
            ebb: Ebb::new(view.now, view.target_depth + replayed),
            settled: None,
            pause: false,
        }
    }

    /// What lies in the target is to go down until a batch of this size fits.
    pub(super) fn pause(view: &View, size: u64) -> Self {
        Self {
            before: view.target_depth,
            low: size / 2,
            through: view.target_depth,
            ebb: Ebb::new(view.now, view.target_depth),
            settled: None,
            pause: true,
        }
    }
}

impl Memory {
    /// Whether the target has to go down first. A canary is too small to matter, and where others
    /// keep the target up although it is worked on, that is its level.
    pub(super) fn is_above_level(&mut self, count: u64, view: &View, rules: &PaceRules) -> bool {
        let high = self.level.saturating_add(self.ahead(count, view));
        if self.on_trial || view.target_depth <= high {
            self.above = None;
            return false;
        }
        let above = self
            .above
            .get_or_insert(Ebb::new(view.now, view.target_depth));
        above.see(view.target_depth);
        let Ebb {
            began, least, gone, ..
        } = *above;
        let stays = view.now >= began + rules.observe * PATIENCE && gone >= count;
        if stays {
            self.level = least;
            self.above = None;
        }
        !stays
    }

    /// How many messages may lie in the target, so that it does not run dry.
    fn ahead(&self, count: u64, view: &View) -> u64 {
        let flow = self.bounces.flow(view.second);
        (AHEAD * count).max(flow / AHEAD_PART)
    }

    /// Whether the last batch is known to have gone well; if not, when that will be seen.
    pub(super) fn evidence(
        &mut self,
        view: &View,
        rules: &PaceRules,
    ) -> Result<(), Option<Duration>> {
        let Some(round) = &mut self.round else {
            return Ok(());
        };
        round.ebb.see(view.target_depth);
        if round.settled.is_none() {
            let stands = view.now >= round.ebb.began + rules.observe * PATIENCE;
            let down = view.target_depth <= round.low
                || round.ebb.gone >= round.through
                || (stands && view.target_depth <= round.before);
            if !down {
                return Err(None);
            }
            round.settled = Some(view.now);
        }
        let good_at = round.settled.unwrap_or(view.now) + rules.observe;
        if view.now < good_at {
            return Err(Some(good_at));
        }
        let Round { ebb, pause, .. } = *round;
        self.round = None;
        self.level = ebb.least;
        // A mere pause tells nothing.
        if pause || view.half_open || !rules.adaptive {
            return Ok(());
        }
        self.size = if self.size < rules.canary_size {
            rules.canary_size
        } else {
            self.size.saturating_mul(2)
        };
        self.size = self.size.min(rules.batch_size);
        self.on_trial = false;
        self.failed = 0;
        Ok(())
    }
}
