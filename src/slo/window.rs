//! Stretches of time as PromQL names them, and which of them a burn is looked at over.

use std::fmt;
use std::time::Duration;

/// A stretch of time in whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(u64);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Every stretch that a burn is looked at over, the shortest first. The rules record these.
pub const LADDER: [Window; 8] = [
    Window::minutes(5),
    Window::minutes(15),
    Window::minutes(30),
    Window::hours(1),
    Window::hours(2),
    Window::hours(6),
    Window::hours(24),
    Window::hours(72),
];

impl Window {
    /// So many seconds; none counts as one.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(if seconds == 0 { 1 } else { seconds })
    }

    /// So many minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes * MINUTE)
    }

    /// So many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self::seconds(hours * HOUR)
    }

    /// In seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// In hours, what is left over cut off.
    #[must_use]
    pub const fn as_hours(self) -> u64 {
        self.0 / HOUR
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// The shortest step of the ladder that is at least this and at least `least`; the longest one
    /// if none is.
    fn rung(wanted: f64, least: Self) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "the ladder ends at three days")]
        let fits = |rung: &&Self| rung.0 as f64 >= wanted && **rung >= least;
        *LADDER
            .iter()
            .find(fits)
            .unwrap_or(&LADDER[LADDER.len() - 1])
    }
}

/// As PromQL has it, in the largest unit that leaves nothing over: `90m`, `6h`, `30d`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")] {
            if self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}s", self.0)
    }
}

/// How much a burn must exceed, and over which two stretches, before it counts.
///
/// The long one says that it matters, the short one that it has not ended.
/// <https://sre.google/workbook/alerting-on-slos/>, "Multiwindow, Multi-Burn-Rate Alerts".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// How many times as fast as the budget allows.
    pub burn_rate: f64,
    /// The stretch that a share of the budget was spent in.
    pub long: Window,
    /// A twelfth of it.
    pub short: Window,
}

/// The three pairs of one objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pairs {
    /// Two hundredths of the budget at the critical rate.
    pub critical: Pair,
    /// Five hundredths at the rate of a warning.
    pub warning: Pair,
    /// A tenth at the rate that spends it all within the period: a leak, also for a warning.
    pub slow: Pair,
}

impl Pairs {
    /// The pairs of a period. Of 30 days and the rates 14.4, 6 and 1 these are the workbook's: 1 h and
    /// 5 min, 6 h and 30 min, 3 d and 6 h. What would be shorter than Prometheus can tell is lengthened.
    #[must_use]
    pub fn of(period: Window, warning: f64, critical: f64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "periods are some months at most"
        )]
        let period = period.0 as f64;
        let pair = |burn_rate: f64, share: f64| {
            let long = Window::rung(period * share / burn_rate, LADDER[1]);
            #[expect(clippy::cast_precision_loss, reason = "the ladder ends at three days")]
            let short = Window::rung(long.0 as f64 / 12.0, LADDER[0]);
            Pair {
                burn_rate,
                long,
                short,
            }
        };
        Self {
            critical: pair(critical, 0.02),
            warning: pair(warning, 0.05),
            slow: pair(1.0, 0.1),
        }
    }

    /// The worst one first.
    #[must_use]
    pub fn all(&self) -> [Pair; 3] {
        [self.critical, self.warning, self.slow]
    }

    /// All stretches, each once, the shortest first.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        let mut windows: Vec<_> = self
            .all()
            .iter()
            .flat_map(|pair| [pair.short, pair.long])
            .collect();
        windows.sort();
        windows.dedup();
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_as_promql_writes_them() {
        let texts = [
            (Window::minutes(5), "5m"),
            (Window::minutes(90), "90m"),
            (Window::hours(24), "1d"),
            (Window::hours(36), "36h"),
            (Window::hours(720), "30d"),
            (Window::seconds(61), "61s"),
            (Window::seconds(0), "1s"),
        ];
        for (window, text) in texts {
            assert_eq!(window.to_string(), text);
        }
    }

    #[test]
    fn the_pairs_of_a_month_are_those_of_the_workbook() {
        let pairs = Pairs::of(Window::hours(720), 6.0, 14.4);
        let texts = pairs
            .all()
            .map(|pair| format!("{} {} {}", pair.burn_rate, pair.long, pair.short));
        assert_eq!(texts, ["14.4 1h 5m", "6 6h 30m", "1 3d 6h"]);
    }

    #[test]
    fn those_of_a_day_are_as_long_as_prometheus_can_tell() {
        let pairs = Pairs::of(Window::hours(24), 6.0, 14.4);
        let texts = pairs
            .all()
            .map(|pair| format!("{} {} {}", pair.burn_rate, pair.long, pair.short));
        assert_eq!(texts, ["14.4 15m 5m", "6 15m 5m", "1 6h 30m"]);
        assert_eq!(pairs.windows().len(), 4);
    }
}
