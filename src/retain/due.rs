//! Which messages of a dead list are to go. Pure.

use crate::dlq::envelope::{Envelope, Fields};

/// The bounds of a dead list; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Messages.
    pub count: u64,
    /// Seconds in the list.
    pub age: u64,
}

/// Why messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There are too many.
    Count,
    /// They are too old.
    Age,
}

impl Why {
    /// Both reasons, for closed metric label sets.
    pub const ALL: [Self; 2] = [Self::Count, Self::Age];

    /// The name used in metrics and in the audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Age => "age",
        }
    }
}

/// How many of the oldest are to go now, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// At least one.
    pub count: u64,
    /// Why.
    pub why: Why,
}

/// For how many seconds entries have lain in a dead list; `None` where one does not tell. Where it was
/// not stamped it counts from when the message has been around.
#[must_use]
pub fn ages(entries: &[Vec<u8>], fields: &Fields, now: i64) -> Vec<Option<u64>> {
    let age = |bytes: &Vec<u8>| {
        let envelope = Envelope::read(bytes, fields).ok()?;
        let since = envelope.dead_at().or_else(|| envelope.since())?;
        Some((now - since).max(0).cast_unsigned())
    };
    entries.iter().map(age).collect()
}

/// What is due, given the ages of the oldest entries, the oldest first.
///
/// What does not tell its age has lain there at least as long as any younger one: it goes with the
/// next that does tell and is too old.
#[must_use]
pub fn due(ages: &[Option<u64>], depth: u64, limits: &Limits) -> Option<Due> {
    let excess = match limits.count {
        0 => 0,
        most => depth.saturating_sub(most).min(ages.len() as u64),
    };
    if excess > 0 {
        return Some(Due {
            count: excess,
            why: Why::Count,
        });
    }
    if limits.age == 0 {
        return None;
    }
    let too_old = |age: &&Option<u64>| age.is_none_or(|age| age > limits.age);
    let front: Vec<_> = ages.iter().take_while(too_old).collect();
    let count = front.iter().rposition(|age| age.is_some())? as u64 + 1;
    Some(Due {
        count,
        why: Why::Age,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(count: u64, age: u64) -> Limits {
        Limits { count, age }
    }

    fn gone(ages: &[Option<u64>], depth: u64, limits: Limits) -> Option<(u64, Why)> {
        due(ages, depth, &limits).map(|due| (due.count, due.why))
    }

    #[test]
    fn without_bounds_nothing_goes() {
        assert_eq!(gone(&[Some(u64::MAX)], 1_000_000, limits(0, 0)), None);
    }

    #[test]
    fn as_many_go_as_are_too_many() {
        let ages = [None; 100];
        assert_eq!(gone(&ages, 100, limits(100, 0)), None);
        assert_eq!(gone(&ages, 103, limits(100, 0)), Some((3, Why::Count)));
        assert_eq!(gone(&ages, 9_000, limits(100, 0)), Some((100, Why::Count)));
        assert_eq!(gone(&[], 0, limits(1, 1)), None);
    }

    #[test]
    fn the_oldest_go_up_to_the_first_that_is_young_enough() {
        let ages = [Some(30), Some(20), Some(10), Some(30)];
        assert_eq!(gone(&ages, 4, limits(0, 15)), Some((2, Why::Age)));
        assert_eq!(gone(&ages, 4, limits(0, 30)), None);
    }

    #[test]
    fn what_does_not_tell_its_age_goes_with_a_younger_one_that_is_too_old() {
        let ages = [None, Some(20), None, Some(5)];
        assert_eq!(gone(&ages, 4, limits(0, 15)), Some((2, Why::Age)));
        assert_eq!(gone(&[None, None], 2, limits(0, 15)), None);
    }

    #[test]
    fn an_age_counts_from_the_parking() {
        let entries = [
            br#"{"_remediation_dead_at":90,"timestamp":10}"#.to_vec(),
            br#"{"timestamp":10}"#.to_vec(),
            b"[]".to_vec(),
            br#"{"_remediation_dead_at":200}"#.to_vec(),
        ];
        assert_eq!(
            ages(&entries, &Fields::alerter(), 100),
            [Some(10), Some(90), None, Some(0)]
        );
    }
}
