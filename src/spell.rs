//! Times and counts as people write them. Pure.

/// A duration such as `45`, `90s`, `10m`, `1h30m`, `2d` or `1w`, in seconds.
///
/// # Errors
/// What would have been right.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    let expected = || "expected a duration such as 45s, 10m, 1h30m, 2d or 1w".to_owned();
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse() {
        return Ok(seconds);
    }
    let mut total: u64 = 0;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(expected)?;
        let count: u64 = rest[..digits].parse().map_err(|_| expected())?;
        let seconds = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return Err(expected()),
        };
        // 30m1h is more likely a slip than a wish.
        if seconds >= last {
            return Err(expected());
        }
        last = seconds;
        total = count
            .checked_mul(seconds)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(expected)?;
        rest = &rest[digits + 1..];
    }
    if last == u64::MAX {
        return Err(expected());
    }
    Ok(total)
}

/// Seconds as one or two units.
#[must_use]
pub(crate) fn seconds(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// How long ago a Unix time was; empty where it is not known.
#[must_use]
pub(crate) fn ago(since: Option<i64>, now: i64) -> String {
    since.map_or_else(String::new, |since| {
        seconds((now - since).max(0).cast_unsigned())
    })
}

/// A Unix time in milliseconds, in UTC.
#[must_use]
pub(crate) fn instant(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| milliseconds.to_string(), |at| format!("{at:.0}"))
}

/// A number with its thousands apart.
#[must_use]
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things, such as `1 message` or `2 messages`.
#[must_use]
pub(crate) fn of(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_the_usual_units() {
        for (text, seconds) in [
            ("0", 0),
            ("45", 45),
            ("90s", 90),
            ("10m", 600),
            ("1h30m", 5_400),
            (" 2d ", 172_800),
            ("1w", 604_800),
            ("1d1h1m1s", 90_061),
        ] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "m",
            "-5m",
            "10 m",
            "1.5h",
            "10x",
            "30m1h",
            "1m1m",
            "10mé",
            "5é",
            "99999999999999999999",
            "999999999999999999w",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_have_at_most_two_units() {
        for (span, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m01s"),
            (3_600, "1h00m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(seconds(span), text);
        }
        assert_eq!(ago(Some(100), 160), "1m00s");
        assert_eq!(ago(Some(200), 160), "0s", "a clock ahead of ours");
        assert_eq!(ago(None, 160), "");
    }

    #[test]
    fn counts_and_times_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(of(1, "message"), "1 message");
        assert_eq!(of(0, "message"), "0 messages");
        assert_eq!(instant(1_700_000_000_123), "2023-11-14T22:13:20Z");
    }
}
