//! How long the queue will take at the present settings. Pure.

use std::time::Duration;

use crate::settings::Settings;

/// From here on the estimate is worth a warning.
const LONG: Duration = Duration::from_secs(86_400);

/// Time until a queue of this depth is empty if nothing arrives and every pass moves all it may;
/// `None` while remediation is switched off. What a batch itself takes is left out.
#[must_use]
pub fn time_to_drain(depth: u64, settings: &Settings) -> Option<Duration> {
    if !settings.enabled {
        return None;
    }
    let batches = depth.div_ceil(settings.batch_size);
    let per_pass = match batches_per_pass(settings) {
        0 => batches.max(1),
        limit => limit,
    };
    let pauses = |batches: u64| {
        settings
            .batch_pause
            .saturating_mul(clamped(batches.saturating_sub(1)))
    };
    let full_passes = batches.saturating_sub(1) / per_pass;
    let last = batches - full_passes * per_pass;
    let period = settings.interval.max(pauses(per_pass));
    Some(
        period
            .saturating_mul(clamped(full_passes))
            .saturating_add(pauses(last)),
    )
}

/// What to tell the operator of a queue that will take longer than a day.
#[must_use]
pub fn warning(depth: u64, time: Duration, settings: &Settings) -> Option<String> {
    (time > LONG).then(|| {
        let pace = match batches_per_pass(settings) {
            0 => format!(
                "{} per {} ms",
                settings.batch_size,
                settings.batch_pause.as_millis()
            ),
            limit => {
                let per_pass = limit.saturating_mul(settings.batch_size);
                format!("{per_pass} per {} s", settings.interval.as_secs())
            }
        };
        let days = time.as_secs() / LONG.as_secs();
        let unit = if days == 1 { "day" } else { "days" };
        let advice = if settings.adaptive {
            "REMEDIATION_BATCH_SIZE"
        } else {
            "REMEDIATION_BATCHES_PER_CYCLE"
        };
        format!("{depth} messages at {pace}: {days} {unit}; see {advice}")
    })
}

/// Batches in a pass, at most; 0 = no limit. The adaptive pace has none.
fn batches_per_pass(settings: &Settings) -> u64 {
    if settings.adaptive {
        0
    } else {
        settings.batches_per_cycle
    }
}

fn clamped(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(batch_size: u64, batches_per_cycle: u64) -> Settings {
        Settings {
            enabled: true,
            interval: Duration::from_secs(300),
            batch_size,
            batches_per_cycle,
            batch_pause: Duration::from_millis(100),
            ..crate::config::Config::load([]).expect("valid").settings
        }
    }

    #[test]
    fn the_default_settings_take_34_days_for_100000_messages() {
        let settings = settings(10, 1);
        let time = time_to_drain(100_000, &settings).expect("enabled");
        assert_eq!(time, Duration::from_secs(9_999 * 300));
        assert_eq!(
            warning(100_000, time, &settings).expect("long"),
            "100000 messages at 10 per 300 s: 34 days; see REMEDIATION_BATCHES_PER_CYCLE"
        );
    }

    #[test]
    fn batch_after_batch_takes_only_the_pauses() {
        let settings = settings(500, 0);
        let time = time_to_drain(100_000, &settings).expect("enabled");
        assert_eq!(time, Duration::from_millis(199 * 100));
        assert_eq!(warning(100_000, time, &settings), None);
    }

    #[test]
    fn the_adaptive_pace_goes_on_batch_after_batch_whatever_a_cycle_is_allowed() {
        let adaptive = Settings {
            adaptive: true,
            ..settings(10, 1)
        };
        let time = time_to_drain(100_000, &adaptive).expect("enabled");
        assert_eq!(time, Duration::from_millis(9_999 * 100));
        let slow = Settings {
            batch_pause: Duration::from_secs(60),
            ..adaptive
        };
        let time = time_to_drain(100_000, &slow).expect("enabled");
        assert_eq!(
            warning(100_000, time, &slow).expect("long"),
            "100000 messages at 10 per 60000 ms: 6 days; see REMEDIATION_BATCH_SIZE"
        );
    }

    #[test]
    fn what_one_pass_moves_takes_no_interval() {
        assert_eq!(time_to_drain(0, &settings(10, 1)), Some(Duration::ZERO));
        assert_eq!(time_to_drain(10, &settings(10, 1)), Some(Duration::ZERO));
        assert_eq!(
            time_to_drain(11, &settings(10, 1)),
            Some(Duration::from_secs(300))
        );
        assert_eq!(
            time_to_drain(30, &settings(10, 3)),
            Some(Duration::from_millis(200))
        );
    }

    #[test]
    fn the_last_pass_pauses_only_between_its_own_batches() {
        let time = |depth| time_to_drain(depth, &settings(10, 3)).expect("enabled");
        assert_eq!(time(40), Duration::from_secs(300));
        assert_eq!(time(50), Duration::from_millis(300_100));
    }

    #[test]
    fn more_than_a_day_is_long() {
        let day = Duration::from_secs(86_400);
        assert_eq!(warning(5, day, &settings(10, 1)), None);
        let longer = warning(5, day + Duration::from_secs(1), &settings(10, 1));
        let longer = longer.expect("long");
        assert!(longer.contains(": 1 day; "), "{longer}");
        let pauses = warning(5, day * 2, &settings(7, 0)).expect("long");
        assert!(pauses.contains("at 7 per 100 ms: 2 days; "), "{pauses}");
    }

    #[test]
    fn a_switched_off_drain_never_ends() {
        let off = Settings {
            enabled: false,
            ..settings(10, 1)
        };
        assert_eq!(time_to_drain(5, &off), None);
        assert!(time_to_drain(u64::MAX, &settings(1, 1)).is_some());
    }
}
