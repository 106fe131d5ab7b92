//! What Redis says about the settings, reading after reading, against a model with a memory of its
//! own.

use std::time::Duration;

use mutt_remediation::settings::{Overlay, Settings, keys};
use mutt_remediation::slo::knobs::Knobs;

/// What a key's text may be.
#[derive(Clone, Copy)]
enum Kind {
    Flag,
    Pace,
    /// From the lowest to the highest number.
    Whole(u64, u64),
    Ratio,
}

use Kind::{Flag, Pace, Ratio, Whole};

/// Each key, in the order of `keys`, and what the environment says: a flag is 0 or 1, a ratio is its
/// bits.
const KEYS: [(&str, Kind, u64); 14] = [
    ("remediation_enabled", Flag, 1),
    ("remediation_interval", Whole(1, 604_800), 300),
    ("remediation_batch_size", Whole(1, 10_000), 10),
    ("max_poison_retries", Whole(0, 1_000_000), 3),
    ("remediation_batches_per_cycle", Whole(0, 1_000_000), 1),
    ("remediation_batch_pause_ms", Whole(0, 60_000), 100),
    ("replay_pace", Pace, 0),
    ("replay_canary_size", Whole(1, 10_000), 10),
    ("replay_observe_seconds", Whole(1, 3_600), 2),
    ("replay_max_bounce_ratio", Ratio, f64::to_bits(0.1)),
    ("replay_target_max_depth", Whole(0, 1_000_000_000), 77),
    ("replay_max_per_second", Whole(0, 1_000_000), 0),
    ("poison_guard_enabled", Flag, 1),
    ("poison_max_ratio", Ratio, f64::to_bits(0.5)),
];

/// Each line is one reading: texts of the keys in their order, separated by `|`, `-` for a key that
/// is missing, as are those that the line does not come to.
pub fn check(data: &[u8]) {
    for stamped in [true, false] {
        check_where(data, stamped);
    }
}

/// Without stamps the adaptive pace is refused.
fn check_where(data: &[u8], stamped: bool) {
    let base = KEYS.map(|(.., value)| value);
    assert!(keys(&settings(base, stamped)).eq(KEYS.map(|(name, ..)| name)));
    let text = String::from_utf8_lossy(data);
    let mut overlay = Overlay::new(settings(base, stamped));
    let mut good: [Option<u64>; 14] = [None; 14];
    let mut refused: [Option<String>; 14] = Default::default();
    for line in text.split('\n').take(16) {
        let text = |part: &str| (part != "-").then(|| part.to_owned());
        let mut found: Vec<Option<String>> = line.split('|').map(text).collect();
        found.truncate(14);

        let mut news = Vec::new();
        for (index, (name, kind, _)) in KEYS.into_iter().enumerate() {
            match found.get(index).cloned().flatten() {
                None => (good[index], refused[index]) = (None, None),
                Some(text) => match number(&text, kind, stamped) {
                    Some(number) => (good[index], refused[index]) = (Some(number), None),
                    None => {
                        if refused[index].as_ref() != Some(&text) {
                            news.push((name.into(), text.clone()));
                        }
                        refused[index] = Some(text);
                    }
                },
            }
        }
        let (taken, told) = overlay.take(&found);
        let now = std::array::from_fn(|index| good[index].unwrap_or(base[index]));
        assert_eq!(taken, settings(now, stamped), "{line:?}");
        assert!(told.iter().all(|refused| !refused.expected.is_empty()));
        let told: Vec<_> = told.into_iter().map(|r| (r.key, r.text)).collect();
        assert_eq!(told, news, "{line:?}");
    }
}

fn settings(numbers: [u64; 14], stamped: bool) -> Settings {
    let ratio = |index: usize| f64::from_bits(numbers[index]);
    Settings {
        enabled: numbers[0] == 1,
        interval: Duration::from_secs(numbers[1]),
        batch_size: numbers[2],
        max_poison_retries: numbers[3],
        batches_per_cycle: numbers[4],
        batch_pause: Duration::from_millis(numbers[5]),
        adaptive: numbers[6] == 1,
        stamped,
        canary_size: numbers[7],
        observe: Duration::from_secs(numbers[8]),
        max_bounce_ratio: ratio(9),
        target_max_depth: Some(numbers[10]),
        max_per_second: numbers[11],
        poison_guard: numbers[12] == 1,
        poison_max_ratio: ratio(13),
        // Those of the objectives are looked at where Prometheus is asked, and by tests of their own.
        slo: Knobs::new(vec![], vec![]),
    }
}

fn number(text: &str, kind: Kind, stamped: bool) -> Option<u64> {
    let text = text.trim();
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    let (low, high) = match kind {
        Flag if is(&["true", "1", "yes", "on"]) => return Some(1),
        Flag if is(&["false", "0", "no", "off"]) => return Some(0),
        Pace if is(&["adaptive"]) => return stamped.then_some(1),
        Pace if is(&["fixed"]) => return Some(0),
        Flag | Pace => return None,
        Ratio => {
            let ratio: f64 = text.parse().ok()?;
            return (0.0..=1.0).contains(&ratio).then(|| ratio.to_bits());
        }
        Whole(low, high) => (low, high),
    };
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    if significant.len() > 10 {
        return None;
    }
    let number = significant
        .bytes()
        .fold(0, |sum, byte| sum * 10 + u64::from(byte - b'0'));
    (low..=high).contains(&number).then_some(number)
}
