//! How full the alert queue is, and how much of the ingest queue it has no room for.
//!
//! Pure. The *overflow* is what the alert queue would hold above the shed threshold if the alerters
//! took all that waits in the ingest queue. Only that is to be moved out; what still has room
//! stays. While the alert queue itself is above the threshold, nothing has room.

/// The depths of the alert queue that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// From this depth on there is a warning.
    pub warn: u64,
    /// Above this depth load is shed.
    pub shed: u64,
}

/// How many messages wait, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depths {
    /// Before the forwarder.
    pub alert: u64,
    /// Before the alerters.
    pub ingest: u64,
}

/// How full the alert queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It has room.
    #[default]
    Calm,
    /// It fills up.
    Warned,
    /// It is full, or has not been emptied enough since it was.
    Shedding,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The level from now on.
    pub level: Level,
    /// Messages of the ingest queue that the alert queue has no room for.
    pub overflow: u64,
    /// Messages that are to stay in the ingest queue.
    pub keep: u64,
    /// The depth that is more than the shed threshold, if there is an overflow: that of the alert
    /// queue, or below the threshold that of both queues together.
    pub blamed: u64,
}

/// What to do at these depths, after that level.
///
/// Shedding begins above the shed threshold and ends below the warn threshold (or below the shed
/// threshold, if that is the lower one). A warning ends below three quarters of its threshold.
#[must_use]
pub fn step(before: Level, depths: Depths, thresholds: Thresholds) -> Step {
    let level = level(before, depths.alert, thresholds);
    let keep = match level {
        Level::Shedding => thresholds.shed.saturating_sub(depths.alert),
        Level::Calm | Level::Warned => u64::MAX,
    };
    let keep = keep.min(depths.ingest);
    let both = depths.alert.saturating_add(depths.ingest);
    Step {
        level,
        overflow: depths.ingest - keep,
        keep,
        blamed: if depths.alert > thresholds.shed {
            depths.alert
        } else {
            both
        },
    }
}

fn level(before: Level, alert: u64, Thresholds { warn, shed }: Thresholds) -> Level {
    let still_full = before == Level::Shedding && alert >= warn.min(shed);
    let still_warned = before > Level::Calm && alert >= warn - warn / 4;
    if alert > shed || still_full {
        Level::Shedding
    } else if alert >= warn || still_warned {
        Level::Warned
    } else {
        Level::Calm
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: Thresholds = Thresholds {
        warn: 1_000,
        shed: 2_000,
    };

    fn at(before: Level, alert: u64, ingest: u64) -> Step {
        step(before, Depths { alert, ingest }, DEFAULT)
    }

    #[test]
    fn levels_rise_at_their_thresholds_and_fall_below_lower_ones() {
        use Level::{Calm, Shedding, Warned};
        for (before, alert, after) in [
            (Calm, 999, Calm),
            (Calm, 1_000, Warned),
            (Calm, 2_000, Warned),
            (Calm, 2_001, Shedding),
            (Warned, 2_000, Warned),
            (Warned, 750, Warned),
            (Warned, 749, Calm),
            (Shedding, 1_000, Shedding),
            (Shedding, 999, Warned),
            (Shedding, 749, Calm),
        ] {
            assert_eq!(at(before, alert, 5).level, after, "{before:?} {alert}");
        }
    }

    #[test]
    fn only_what_has_no_room_goes() {
        use Level::{Shedding, Warned};
        for (before, alert, ingest, overflow, blamed) in [
            (Warned, 2_500, 700, 700, 2_500),
            (Shedding, 2_000, 700, 700, 2_700),
            (Shedding, 1_500, 700, 200, 2_200),
            (Shedding, 1_500, 500, 0, 2_000),
            (Shedding, 1_500, 0, 0, 1_500),
            (Warned, 1_500, 9_000, 0, 10_500),
        ] {
            let step = at(before, alert, ingest);
            assert_eq!((step.overflow, step.blamed), (overflow, blamed), "{alert}");
        }
    }

    fn any_level() -> impl Strategy<Value = Level> {
        prop_oneof![
            Just(Level::Calm),
            Just(Level::Warned),
            Just(Level::Shedding)
        ]
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..20, 0u64..5_000, Just(u64::MAX), any::<u64>()]
    }

    fn thresholds() -> impl Strategy<Value = Thresholds> {
        (1u64..3_000, 1u64..3_000).prop_map(|(warn, shed)| Thresholds { warn, shed })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn no_more_goes_than_has_no_room_and_no_less(
            before in any_level(),
            alert in number(),
            ingest in number(),
            thresholds in thresholds(),
        ) {
            let step = step(before, Depths { alert, ingest }, thresholds);
            prop_assert_eq!(step.overflow.checked_add(step.keep), Some(ingest));
            if step.level != Level::Shedding {
                prop_assert_eq!(step.overflow, 0);
                prop_assert!(alert <= thresholds.shed);
            } else if step.overflow > 0 {
                // What stays fills the alert queue to its threshold, if it is not above it.
                prop_assert_eq!(alert + step.keep, alert.max(thresholds.shed));
                prop_assert!(step.blamed > thresholds.shed);
            } else if ingest > 0 {
                prop_assert!(alert + ingest <= thresholds.shed);
            }
        }

        #[test]
        fn between_the_thresholds_shedding_neither_begins_nor_ends(
            first in any_level(),
            depths in prop::collection::vec(0.0f64..=1.0, 1..40),
            thresholds in thresholds(),
        ) {
            let low = thresholds.warn.min(thresholds.shed);
            let mut level = first;
            for part in depths {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "small numbers"
                )]
                let alert = low + (part * (thresholds.shed - low) as f64) as u64;
                level = step(level, Depths { alert, ingest: 100 }, thresholds).level;
                prop_assert_eq!(level == Level::Shedding, first == Level::Shedding);
            }
        }

        #[test]
        fn an_empty_alert_queue_calms_any_level(before in any_level(), thresholds in thresholds()) {
            let step = step(before, Depths { alert: 0, ingest: 100 }, thresholds);
            prop_assert_eq!(step.level, Level::Calm);
        }
    }
}
