//! A condition that has to last before it is told, and to be over for a while before its end is.
//! Pure.
//!
//! Before it is told each look that finds it over begins it anew, so that what comes and goes is not
//! told as what lasts; once told it is over only after a calm time, so that its end is not either.
//!
//! Times are of the monotonic clock, so that a clock that is set neither begins nor ends anything.

use std::time::{Duration, Instant};

/// How long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For so long it must last before it is told.
    pub lasts: Duration,
    /// For so long what was told must be over; what is over for less has not ended.
    pub calm: Duration,
}

/// What one look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nobody knows, and nothing changes.
    Unknown,
    /// It holds.
    Holds,
    /// It does not hold now, but the same may go on: over only after the calm time, told or not.
    Pauses,
    /// It is over.
    Over,
}

impl From<Option<bool>> for Look {
    fn from(holds: Option<bool>) -> Self {
        match holds {
            None => Self::Unknown,
            Some(true) => Self::Holds,
            Some(false) => Self::Over,
        }
    }
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has lasted for so long.
    Fires {
        /// Until now.
        lasted: Duration,
    },
    /// It has ended.
    Ends {
        /// From its beginning to its end.
        lasted: Duration,
        /// It ended so long ago.
        ago: Duration,
    },
}

/// What is known of a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition(Option<Known>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    began: Instant,
    over_since: Option<Instant>,
    told: bool,
}

impl Condition {
    /// Whether it was told, and its end was not.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.0.is_some_and(|known| known.told)
    }

    /// Whether it was told, and held when it was last known.
    #[must_use]
    pub fn holds(&self) -> bool {
        let known = self.0.filter(|known| known.told);
        known.is_some_and(|known| known.over_since.is_none())
    }

    /// Takes note of what is found now.
    pub fn look(
        &mut self,
        found: impl Into<Look>,
        patience: Patience,
        now: Instant,
    ) -> Option<Change> {
        match found.into() {
            Look::Unknown => None,
            Look::Holds => self.goes_on(patience.lasts, now),
            Look::Over if !self.is_told() => {
                self.0 = None;
                None
            }
            Look::Pauses | Look::Over => self.rests(patience.calm, now),
        }
    }

    fn goes_on(&mut self, lasts: Duration, now: Instant) -> Option<Change> {
        let known = self.0.get_or_insert(Known {
            began: now,
            over_since: None,
            told: false,
        });
        known.over_since = None;
        let lasted = now - known.began;
        if known.told || lasted < lasts {
            return None;
        }
        known.told = true;
        Some(Change::Fires { lasted })
    }

    fn rests(&mut self, calm: Duration, now: Instant) -> Option<Change> {
        let known = self.0.as_mut()?;
        let over_since = *known.over_since.get_or_insert(now);
        let ago = now - over_since;
        if ago < calm {
            return None;
        }
        let ended = Change::Ends {
            lasted: over_since - known.began,
            ago,
        };
        let told = known.told;
        self.0 = None;
        told.then_some(ended)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moment() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    const PATIENCE: Patience = Patience {
        lasts: Duration::from_secs(30),
        calm: Duration::from_secs(10),
    };

    /// Looks once a second.
    fn changes(looks: &[Look]) -> Vec<(u64, Change)> {
        let start = moment();
        let mut condition = Condition::default();
        let mut found = vec![];
        for (second, holds) in (0..).zip(looks) {
            let now = start + Duration::from_secs(second);
            let change = condition.look(*holds, PATIENCE, now);
            found.extend(change.map(|change| (second, change)));
        }
        found
    }

    fn series(parts: &[(Look, usize)]) -> Vec<Look> {
        parts
            .iter()
            .flat_map(|(found, count)| vec![*found; *count])
            .collect()
    }

    const YES: Look = Look::Holds;
    const NO: Look = Look::Over;
    const PAUSE: Look = Look::Pauses;
    const UNKNOWN: Look = Look::Unknown;

    #[test]
    fn what_lasts_is_told_once_and_so_is_its_end() {
        let found = changes(&series(&[(NO, 5), (YES, 60), (NO, 30)]));
        let seconds = Duration::from_secs;
        assert_eq!(
            found,
            [
                (
                    35,
                    Change::Fires {
                        lasted: seconds(30)
                    }
                ),
                (
                    75,
                    Change::Ends {
                        lasted: seconds(60),
                        ago: seconds(10)
                    }
                ),
            ]
        );
    }

    #[test]
    fn what_is_short_is_not_told_nor_what_comes_and_goes() {
        assert!(changes(&series(&[(YES, 29), (NO, 60)])).is_empty());
        let flapping: Vec<_> = (0..20).flat_map(|_| [(YES, 3), (NO, 3)]).collect();
        assert!(changes(&series(&flapping)).is_empty());
        let one_gap = changes(&series(&[(YES, 29), (NO, 1), (YES, 40)]));
        let seconds = Duration::from_secs;
        assert_eq!(
            one_gap,
            [(
                60,
                Change::Fires {
                    lasted: seconds(30)
                }
            )]
        );
    }

    #[test]
    fn what_was_told_does_not_end_by_a_short_interruption() {
        let flapping: Vec<_> = (0..20).flat_map(|_| [(YES, 3), (NO, 9)]).collect();
        let found = changes(&series(&[&[(YES, 31)], &flapping[..]].concat()));
        assert_eq!(found.len(), 1, "it is told once: {found:?}");
        assert!(matches!(found[0].1, Change::Fires { .. }));
    }

    #[test]
    fn a_pause_interrupts_nothing_unless_it_is_as_long_as_the_calm_time() {
        let trials: Vec<_> = (0..10).flat_map(|_| [(YES, 3), (PAUSE, 9)]).collect();
        let found = changes(&series(&trials));
        assert_eq!(found.len(), 1, "{found:?}");
        let long: Vec<_> = (0..10).flat_map(|_| [(YES, 20), (PAUSE, 11)]).collect();
        assert!(changes(&series(&long)).is_empty());
        let ended = changes(&series(&[(YES, 31), (PAUSE, 11)]));
        assert!(matches!(ended[1].1, Change::Ends { .. }), "{ended:?}");
    }

    #[test]
    fn what_nobody_knows_changes_nothing() {
        assert!(changes(&series(&[(UNKNOWN, 100)])).is_empty());
        let found = changes(&series(&[(YES, 31), (UNKNOWN, 100), (NO, 11)]));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn it_holds_while_it_is_told_and_not_in_its_calm_time() {
        let (start, second) = (moment(), Duration::from_secs(1));
        let mut condition = Condition::default();
        condition.look(YES, PATIENCE, start);
        assert!(!condition.holds(), "it is not told yet");
        condition.look(YES, PATIENCE, start + 30 * second);
        assert!(condition.holds());
        condition.look(NO, PATIENCE, start + 31 * second);
        assert!(condition.is_told() && !condition.holds());
    }

    proptest! {
        #[test]
        fn beginnings_and_ends_take_turns(looks in prop::collection::vec(
            prop_oneof![
                1 => Just(UNKNOWN), 6 => Just(PAUSE), 60 => Just(YES), 2 => Just(NO)
            ], 0..400
        )) {
            let mut firing = false;
            for (at, change) in changes(&looks) {
                match change {
                    Change::Fires { lasted } => {
                        prop_assert!(!firing && lasted >= PATIENCE.lasts);
                        let began = usize::try_from(at - lasted.as_secs()).expect("an index");
                        let at = usize::try_from(at).expect("an index");
                        let whole = !looks[began..=at].contains(&NO);
                        prop_assert!(whole, "it was never over meanwhile");
                    }
                    Change::Ends { ago, .. } => {
                        prop_assert!(firing && ago >= PATIENCE.calm);
                    }
                }
                firing = !firing;
            }
        }
    }
}
