//! What can be changed while running, and how the values in Redis override the environment's.
//!
//! Pure: texts in, settings and refusals out. The loop that reads Redis is `settings::watch`.

pub mod watch;

use std::borrow::Cow;
use std::time::Duration;

use crate::config::value::{Flag, PaceName, Ratio, Value, Whole};
use crate::drain::pace::PaceRules;
use crate::slo::knobs::{Knob, Knobs};

/// Depth above which the adaptive pace does not lift the target, unless it is told otherwise.
const ADAPTIVE_DEPTH: u64 = 1_000;

/// The settings of the drain loops, and of the objectives.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// False pauses: nothing is drained.
    pub enabled: bool,
    /// From the start of one pass to the start of the next.
    pub interval: Duration,
    /// Messages in one batch, at most.
    pub batch_size: u64,
    /// Batches in one pass, at most; 0 = until the queue is empty.
    pub batches_per_cycle: u64,
    /// Pause between two batches of a pass.
    pub batch_pause: Duration,
    /// A message that failed this often is parked.
    pub max_poison_retries: u64,
    /// Whether the pace is learnt from what becomes of the replays.
    pub adaptive: bool,
    /// Whether replays are stamped, without which the pace cannot be learnt. No key changes it.
    pub stamped: bool,
    /// Messages in the first batch after a gate has opened.
    pub canary_size: u64,
    /// How long replays may take to come back.
    pub observe: Duration,
    /// The share of replays that may come back.
    pub max_bounce_ratio: f64,
    /// Depth above which the target is not lifted; 0 = no limit, `None` = what the pace says.
    pub target_max_depth: Option<u64>,
    /// Replays a second, at most; 0 = no limit.
    pub max_per_second: u64,
    /// Whether parking stops when too many of a batch have used up their retries.
    pub poison_guard: bool,
    /// How many are too many.
    pub poison_max_ratio: f64,
    /// The service level objectives.
    pub slo: Knobs,
}

impl Settings {
    /// What counts for the pace.
    #[must_use]
    pub fn pace(&self) -> PaceRules {
        let by_pace = if self.adaptive { ADAPTIVE_DEPTH } else { 0 };
        PaceRules {
            adaptive: self.adaptive,
            batch_size: self.batch_size,
            canary_size: self.canary_size.min(self.batch_size),
            observe: self.observe,
            retry_after: self.interval,
            max_bounce_ratio: self.max_bounce_ratio,
            target_max_depth: self.target_max_depth.unwrap_or(by_pace),
            max_per_second: self.max_per_second,
        }
    }
}

/// Seconds between two passes.
pub type Interval = Whole<1, 604_800>;
/// Messages in a batch.
pub type BatchSize = Whole<1, 10_000>;
/// Batches in a pass.
pub type BatchesPerCycle = Whole<0, 1_000_000>;
/// Milliseconds between batches.
pub type BatchPause = Whole<0, 60_000>;
/// Failures that make a message poison.
pub type MaxPoisonRetries = Whole<0, 1_000_000>;

/// Messages in a canary.
pub type CanarySize = Whole<1, 10_000>;
/// Seconds that replays may take to come back.
pub type Observe = Whole<1, 3_600>;
/// Depth of the target.
pub type TargetMaxDepth = Whole<0, 1_000_000_000>;
/// Replays a second.
pub type MaxPerSecond = Whole<0, 1_000_000>;

/// One dynamic key: its name below `mutt:config:`, and how a text changes the settings.
enum Key {
    /// Of the drain.
    Drain(&'static DrainKey),
    /// Of the objectives, which may have names of their own.
    Slo(Knob),
}

impl Key {
    /// All keys, in the order that texts are read and taken in.
    fn all(base: &Settings) -> impl Iterator<Item = Self> {
        let slo = base.slo.all().into_iter().map(Self::Slo);
        KEYS.iter().map(Self::Drain).chain(slo)
    }

    fn find(key: &str, base: &Settings) -> Option<Self> {
        Self::all(base).find(|known| known.name() == key)
    }

    fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Drain(key) => key.name.into(),
            Self::Slo(knob) => knob.name.clone().into(),
        }
    }

    fn apply(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        match self {
            Self::Drain(key) => (key.apply)(settings, text),
            Self::Slo(knob) => knob.apply(&mut settings.slo, text),
        }
    }

    fn show(&self, settings: &Settings) -> String {
        match self {
            Self::Drain(key) => (key.show)(settings),
            Self::Slo(knob) => knob.show(&settings.slo),
        }
    }
}

struct DrainKey {
    name: &'static str,
    apply: fn(&mut Settings, &str) -> Result<(), String>,
    /// The text that would set it as it is.
    show: fn(&Settings) -> String,
}

static KEYS: [DrainKey; 14] = [
    DrainKey {
        name: "remediation_enabled",
        show: |settings| settings.enabled.to_string(),
        apply: |settings, text| set(text, |Flag(on)| settings.enabled = on),
    },
    DrainKey {
        name: "remediation_interval",
        show: |settings| settings.interval.as_secs().to_string(),
        apply: |settings, text| {
            set::<Interval>(text, |value| {
                settings.interval = Duration::from_secs(value.0);
            })
        },
    },
    DrainKey {
        name: "remediation_batch_size",
        show: |settings| settings.batch_size.to_string(),
        apply: |settings, text| set::<BatchSize>(text, |value| settings.batch_size = value.0),
    },
    DrainKey {
        name: "max_poison_retries",
        show: |settings| settings.max_poison_retries.to_string(),
        apply: |settings, text| {
            set::<MaxPoisonRetries>(text, |value| settings.max_poison_retries = value.0)
        },
    },
    DrainKey {
        name: "remediation_batches_per_cycle",
        show: |settings| settings.batches_per_cycle.to_string(),
        apply: |settings, text| {
            set::<BatchesPerCycle>(text, |value| settings.batches_per_cycle = value.0)
        },
    },
    DrainKey {
        name: "remediation_batch_pause_ms",
        show: |settings| settings.batch_pause.as_millis().to_string(),
        apply: |settings, text| {
            set::<BatchPause>(text, |value| {
                settings.batch_pause = Duration::from_millis(value.0);
            })
        },
    },
    DrainKey {
        name: "replay_pace",
        show: |settings| {
            if settings.adaptive {
                "adaptive"
            } else {
                "fixed"
            }
            .into()
        },
        apply: |settings, text| {
            if PaceName::parse(text.trim()) == Some(PaceName::Adaptive) && !settings.stamped {
                return Err("fixed: adaptive needs REPLAY_STAMP=true".into());
            }
            set(text, |pace: PaceName| {
                settings.adaptive = pace == PaceName::Adaptive;
            })
        },
    },
    DrainKey {
        name: "replay_canary_size",
        show: |settings| settings.canary_size.to_string(),
        apply: |settings, text| set::<CanarySize>(text, |value| settings.canary_size = value.0),
    },
    DrainKey {
        name: "replay_observe_seconds",
        show: |settings| settings.observe.as_secs().to_string(),
        apply: |settings, text| {
            set::<Observe>(text, |value| {
                settings.observe = Duration::from_secs(value.0);
            })
        },
    },
    DrainKey {
        name: "replay_max_bounce_ratio",
        show: |settings| settings.max_bounce_ratio.to_string(),
        apply: |settings, text| set(text, |Ratio(ratio)| settings.max_bounce_ratio = ratio),
    },
    DrainKey {
        name: "replay_target_max_depth",
        show: |settings| settings.pace().target_max_depth.to_string(),
        apply: |settings, text| {
            set::<TargetMaxDepth>(text, |value| settings.target_max_depth = Some(value.0))
        },
    },
    DrainKey {
        name: "replay_max_per_second",
        show: |settings| settings.max_per_second.to_string(),
        apply: |settings, text| {
            set::<MaxPerSecond>(text, |value| settings.max_per_second = value.0)
        },
    },
    DrainKey {
        name: "poison_guard_enabled",
        show: |settings| settings.poison_guard.to_string(),
        apply: |settings, text| set(text, |Flag(on)| settings.poison_guard = on),
    },
    DrainKey {
        name: "poison_max_ratio",
        show: |settings| settings.poison_max_ratio.to_string(),
        apply: |settings, text| set(text, |Ratio(ratio)| settings.poison_max_ratio = ratio),
    },
];

fn set<T: Value>(text: &str, store: impl FnOnce(T)) -> Result<(), String> {
    T::parse(text.trim()).map(store).ok_or_else(T::expected)
}

/// The names of the dynamic keys, without their prefix.
pub fn keys(base: &Settings) -> impl Iterator<Item = Cow<'static, str>> {
    Key::all(base).map(|key| key.name())
}

/// A dynamic key with its prefix.
#[must_use]
pub fn full_key(key: &str) -> String {
    format!("mutt:config:{key}")
}

/// Whether a text can be the value of a key.
///
/// # Errors
/// What was expected.
pub fn check(key: &str, text: &str, base: &Settings) -> Result<(), String> {
    let Some(key) = Key::find(key, base) else {
        return Err("one of the dynamic keys".into());
    };
    key.apply(&mut base.clone(), text)
}

/// What a value of a key must be.
#[must_use]
pub fn expected(key: &str, base: &Settings) -> String {
    // No value is empty.
    check(key, "", base).err().unwrap_or_default()
}

/// The text that counts for a key unless Redis holds another one.
#[must_use]
pub fn shown(key: &str, base: &Settings) -> String {
    Key::find(key, base).map_or_else(String::new, |key| key.show(base))
}

/// What differs between two states of the same settings: `key: before -> after`, separated by commas.
#[must_use]
pub fn differences(before: &Settings, after: &Settings) -> String {
    let each = Key::all(before).filter_map(|key| {
        if let Key::Slo(knob) = &key
            && knob.follows(&before.slo)
            && knob.follows(&after.slo)
        {
            // It is as what is set of all.
            return None;
        }
        let (was, is) = (key.show(before), key.show(after));
        (was != is).then(|| format!("{}: {was} -> {is}", key.name()))
    });
    each.collect::<Vec<_>>().join(", ")
}

/// A value that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key, without its prefix.
    pub key: Cow<'static, str>,
    /// The text that was found.
    pub text: String,
    /// What would have been right.
    pub expected: String,
}

/// The environment's settings under what was found in Redis, with a memory of the last good texts.
#[derive(Clone, Debug)]
pub struct Overlay {
    base: Settings,
    /// What is remembered of each key, in the order of [`keys`].
    memory: Vec<Memory>,
}

/// What is remembered of a key.
#[derive(Clone, Debug, Default)]
struct Memory {
    /// The last good text.
    good: Option<String>,
    /// The last refused text, so that it is refused once and not every few seconds.
    refused: Option<String>,
}

impl Overlay {
    /// Nothing overrides `base` yet.
    #[must_use]
    pub fn new(base: Settings) -> Self {
        Self {
            memory: vec![Memory::default(); keys(&base).count()],
            base,
        }
    }

    /// The settings that nothing in Redis overrides.
    #[must_use]
    pub fn base(&self) -> &Settings {
        &self.base
    }

    /// Takes what was found, one text a key in the order of [`keys`], `None` for a missing key.
    ///
    /// A missing key falls back to the environment; of a bad one the last good text stays. Returns
    /// the settings now in force, and what was refused since the last call.
    pub fn take(&mut self, found: &[Option<String>]) -> (Settings, Vec<Refused>) {
        let mut settings = self.base.clone();
        let mut news = Vec::new();
        let keys = Key::all(&self.base).zip(&mut self.memory);
        for (index, (key, memory)) in keys.enumerate() {
            let Some(text) = found.get(index).cloned().flatten() else {
                *memory = Memory::default();
                continue;
            };
            match key.apply(&mut settings, &text) {
                Ok(()) => {
                    memory.good = Some(text);
                    memory.refused = None;
                }
                Err(expected) => {
                    if let Some(good) = &memory.good {
                        // It was taken before, so it is taken now.
                        let _ = key.apply(&mut settings, good);
                    }
                    if memory.refused.as_ref() != Some(&text) {
                        memory.refused = Some(text.clone());
                        news.push(Refused {
                            key: key.name(),
                            text,
                            expected,
                        });
                    }
                }
            }
        }
        (settings, news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Settings {
        crate::config::Config::load([]).expect("valid").settings
    }

    fn found(pairs: &[(&str, &str)]) -> Vec<Option<String>> {
        let text = |key: &str| pairs.iter().find(|(name, _)| *name == key);
        keys(&base())
            .map(|key| text(&key).map(|(_, text)| (*text).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_found_overrides_and_what_is_gone_falls_back() {
        let mut overlay = Overlay::new(base());
        let all = [
            ("remediation_enabled", "off"),
            ("remediation_interval", "5"),
            ("remediation_batch_size", "500"),
            ("max_poison_retries", "0"),
            ("remediation_batches_per_cycle", "0"),
            ("remediation_batch_pause_ms", " 7 "),
            ("replay_pace", "Adaptive"),
            ("replay_canary_size", "3"),
            ("replay_observe_seconds", "9"),
            ("replay_max_bounce_ratio", "0.25"),
            ("replay_target_max_depth", "77"),
            ("replay_max_per_second", "8"),
            ("poison_guard_enabled", "no"),
            ("poison_max_ratio", "1"),
        ];
        assert_eq!(all.len(), keys(&base()).count());
        let (settings, refused) = overlay.take(&found(&all));
        assert_eq!(refused, []);
        let expected = Settings {
            enabled: false,
            interval: Duration::from_secs(5),
            batch_size: 500,
            batches_per_cycle: 0,
            batch_pause: Duration::from_millis(7),
            max_poison_retries: 0,
            adaptive: true,
            stamped: true,
            canary_size: 3,
            observe: Duration::from_secs(9),
            max_bounce_ratio: 0.25,
            target_max_depth: Some(77),
            max_per_second: 8,
            poison_guard: false,
            poison_max_ratio: 1.0,
            slo: base().slo,
        };
        assert_eq!(settings, expected);
        assert_eq!(overlay.take(&found(&[])).0, base());
    }

    #[test]
    fn only_what_differs_is_told() {
        let mut after = base();
        assert_eq!(differences(&base(), &after), "");
        after.batch_size = 7;
        after.enabled = false;
        assert_eq!(
            differences(&base(), &after),
            "remediation_enabled: true -> false, remediation_batch_size: 10 -> 7"
        );
    }

    #[test]
    fn a_bad_value_is_refused_once_and_the_last_good_one_stays() {
        let mut overlay = Overlay::new(base());
        overlay.take(&found(&[("remediation_batch_size", "50")]));
        for bad in ["-1", "ten", "", "0", "99999999"] {
            let (settings, refused) = overlay.take(&found(&[("remediation_batch_size", bad)]));
            assert_eq!(settings.batch_size, 50, "{bad:?}");
            assert_eq!(refused.len(), 1, "{bad:?}");
            assert_eq!(refused[0].key, "remediation_batch_size");
            let again = overlay.take(&found(&[("remediation_batch_size", bad)]));
            assert_eq!((again.0.batch_size, again.1), (50, vec![]));
        }
        assert_eq!(overlay.take(&found(&[])).0.batch_size, 10);
        let (settings, refused) = overlay.take(&found(&[("remediation_batch_size", "x")]));
        assert_eq!((settings.batch_size, refused.len()), (10, 1));
    }
}
