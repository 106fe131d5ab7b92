//! What Redis says about the settings, reading after reading, against a model with a memory of its
//! own.

use std::time::Duration;

use mutt_remediation::settings::{Overlay, Settings, keys};

/// Lowest and highest number of each key, in the order of `keys`; the first one is a flag.
const BOUNDS: [(&str, u64, u64); 6] = [
    ("remediation_enabled", 0, 1),
    ("remediation_interval", 1, 604_800),
    ("remediation_batch_size", 1, 10_000),
    ("max_poison_retries", 0, 1_000_000),
    ("remediation_batches_per_cycle", 0, 1_000_000),
    ("remediation_batch_pause_ms", 0, 60_000),
];

/// What the environment says.
const BASE: [u64; 6] = [1, 300, 10, 3, 1, 100];

/// Each line is one reading: texts of the keys in their order, separated by `|`, `-` for a key that
/// is missing, as are those that the line does not come to.
pub fn check(data: &[u8]) {
    assert!(keys().eq(BOUNDS.map(|(name, ..)| name)));
    let text = String::from_utf8_lossy(data);
    let mut overlay = Overlay::new(settings(BASE));
    let mut good: [Option<u64>; 6] = [None; 6];
    let mut refused: [Option<String>; 6] = Default::default();
    for line in text.split('\n').take(16) {
        let text = |part: &str| (part != "-").then(|| part.to_owned());
        let mut found: Vec<Option<String>> = line.split('|').map(text).collect();
        found.truncate(6);

        let mut news = Vec::new();
        for (index, (name, low, high)) in BOUNDS.into_iter().enumerate() {
            match found.get(index).cloned().flatten() {
                None => (good[index], refused[index]) = (None, None),
                Some(text) => match number(&text, index == 0, low, high) {
                    Some(number) => (good[index], refused[index]) = (Some(number), None),
                    None => {
                        if refused[index].as_ref() != Some(&text) {
                            news.push((name, text.clone()));
                        }
                        refused[index] = Some(text);
                    }
                },
            }
        }
        let (taken, told) = overlay.take(&found);
        let now: [u64; 6] = std::array::from_fn(|index| good[index].unwrap_or(BASE[index]));
        assert_eq!(taken, settings(now), "{line:?}");
        assert!(told.iter().all(|refused| !refused.expected.is_empty()));
        let told: Vec<_> = told.into_iter().map(|r| (r.key, r.text)).collect();
        assert_eq!(told, news, "{line:?}");
    }
}

fn settings(numbers: [u64; 6]) -> Settings {
    let [enabled, interval, size, retries, batches, pause] = numbers;
    Settings {
        enabled: enabled == 1,
        interval: Duration::from_secs(interval),
        batch_size: size,
        batches_per_cycle: batches,
        batch_pause: Duration::from_millis(pause),
        max_poison_retries: retries,
    }
}

fn number(text: &str, flag: bool, low: u64, high: u64) -> Option<u64> {
    let text = text.trim();
    if flag {
        let is = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        return match () {
            () if is(["true", "1", "yes", "on"]) => Some(1),
            () if is(["false", "0", "no", "off"]) => Some(0),
            () => None,
        };
    }
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
