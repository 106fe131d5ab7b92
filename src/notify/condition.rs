//! A condition that has to last before it is told, and to be over for a while before its end is.
//! Pure.
//!
//! Times are of the monotonic clock, so that a clock that is set neither begins nor ends anything.

use std::time::{Duration, Instant};

/// How long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For so long it must last before it is told.
    pub lasts: Duration,
    /// For so long it must be over; what is over for less has not ended.
    pub calm: Duration,
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

    /// Takes note of whether it holds now; `None` where nobody knows, and then nothing changes.
    pub fn look(
        &mut self,
        holds: Option<bool>,
        patience: Patience,
        now: Instant,
    ) -> Option<Change> {
        if holds? {
            let known = self.0.get_or_insert(Known {
                began: now,
                over_since: None,
                told: false,
            });
            known.over_since = None;
            let lasted = now - known.began;
            if known.told || lasted < patience.lasts {
                return None;
            }
            known.told = true;
            return Some(Change::Fires { lasted });
        }
        let known = self.0.as_mut()?;
        let over_since = *known.over_since.get_or_insert(now);
        let ago = now - over_since;
        if ago < patience.calm {
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
    fn changes(looks: &[Option<bool>]) -> Vec<(u64, Change)> {
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

    fn series(parts: &[(Option<bool>, usize)]) -> Vec<Option<bool>> {
        parts
            .iter()
            .flat_map(|(holds, count)| vec![*holds; *count])
            .collect()
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

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
    fn what_is_short_is_not_told_and_a_short_interruption_is_none() {
        assert!(changes(&series(&[(YES, 29), (NO, 60)])).is_empty());
        let flapping: Vec<_> = (0..20).flat_map(|_| [(YES, 3), (NO, 3)]).collect();
        let found = changes(&series(&flapping));
        assert_eq!(found.len(), 1, "it is told once: {found:?}");
        assert!(matches!(found[0].1, Change::Fires { .. }));
    }

    #[test]
    fn what_nobody_knows_changes_nothing() {
        assert!(changes(&series(&[(None, 100)])).is_empty());
        let found = changes(&series(&[(YES, 31), (None, 100), (NO, 11)]));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    proptest! {
        #[test]
        fn beginnings_and_ends_take_turns(looks in prop::collection::vec(
            prop_oneof![Just(None), Just(YES), Just(YES), Just(NO)], 0..400
        )) {
            let mut firing = false;
            for (_, change) in changes(&looks) {
                match change {
                    Change::Fires { lasted } => {
                        prop_assert!(!firing && lasted >= PATIENCE.lasts);
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
