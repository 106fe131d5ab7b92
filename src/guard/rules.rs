//! The rules that operators set for all alerters in Redis, and that the guard keeps as well.
//!
//! Pure: texts in, rules and refusals out.

use std::time::Duration;

use super::level::Thresholds;
use crate::config::value::{Value, Whole};
use crate::settings::Refused;

/// The keys, in the order in which [`Reader::read`] takes their texts.
pub const KEYS: [&str; 4] = [
    "mutt:config:alerter_queue_warn_threshold",
    "mutt:config:alerter_queue_shed_threshold",
    "mutt:config:alerter_shed_mode",
    "mutt:config:alerter_defer_sleep_ms",
];

/// What to do above the shed threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The overflow goes to the alerter's dead letters.
    Dlq,
    /// The replays wait.
    Defer,
}

impl Mode {
    /// Every mode, for closed metric label sets.
    pub const ALL: [Self; 2] = [Self::Dlq, Self::Defer];

    /// `dlq` or `defer`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dlq => "dlq",
            Self::Defer => "defer",
        }
    }
}

impl Value for Mode {
    fn expected() -> String {
        "dlq or defer".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let is = |mode: &Self| text.eq_ignore_ascii_case(mode.as_str());
        Self::ALL.into_iter().find(is)
    }
}

/// The rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// When to warn, and when to shed.
    pub thresholds: Thresholds,
    /// How to shed.
    pub mode: Mode,
    /// How long replays wait.
    pub defer: Duration,
}

impl Default for Rules {
    /// MUTT's own.
    fn default() -> Self {
        Self {
            thresholds: Thresholds {
                warn: 1_000,
                shed: 2_000,
            },
            mode: Mode::Dlq,
            defer: Duration::from_millis(250),
        }
    }
}

/// Messages in a queue.
type Depth = Whole<1, 1_000_000_000>;
/// Milliseconds that replays wait.
type DeferSleep = Whole<1, 60_000>;

/// Reads the rules, and remembers what it has refused, so that it is refused once.
#[derive(Debug, Default)]
pub struct Reader {
    refused: [Option<String>; KEYS.len()],
}

impl Reader {
    /// The rules in these texts, one for each of [`KEYS`]; a missing or bad one gives the default.
    /// Returns also what was refused since the last call.
    pub fn read(&mut self, texts: &[Option<String>; KEYS.len()]) -> (Rules, Vec<Refused>) {
        let mut rules = Rules::default();
        let set = [
            take(texts[0].as_ref(), |depth: Depth| {
                rules.thresholds.warn = depth.0;
            }),
            take(texts[1].as_ref(), |depth: Depth| {
                rules.thresholds.shed = depth.0;
            }),
            take(texts[2].as_ref(), |mode| rules.mode = mode),
            take(texts[3].as_ref(), |sleep: DeferSleep| {
                rules.defer = Duration::from_millis(sleep.0);
            }),
        ];
        let mut news = Vec::new();
        for ((taken, key), refused) in set.into_iter().zip(KEYS).zip(&mut self.refused) {
            let Err((text, expected)) = taken else {
                *refused = None;
                continue;
            };
            if refused.as_ref() != Some(&text) {
                *refused = Some(text.clone());
                news.push(Refused {
                    key: key.into(),
                    text,
                    expected,
                });
            }
        }
        (rules, news)
    }
}

fn take<T: Value>(text: Option<&String>, store: impl FnOnce(T)) -> Result<(), (String, String)> {
    let Some(text) = text else {
        return Ok(());
    };
    let value = T::parse(text.trim()).ok_or_else(|| (text.clone(), T::expected()))?;
    store(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: [&str; 4]) -> [Option<String>; 4] {
        texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    #[test]
    fn what_is_set_counts_and_the_rest_is_as_in_mutt() {
        let mut reader = Reader::default();
        assert_eq!(
            reader.read(&texts(["", "", "", ""])),
            (Rules::default(), vec![])
        );
        let (rules, refused) = reader.read(&texts(["5", " 7 ", "DEFER", "9"]));
        assert_eq!(refused, []);
        let expected = Rules {
            thresholds: Thresholds { warn: 5, shed: 7 },
            mode: Mode::Defer,
            defer: Duration::from_millis(9),
        };
        assert_eq!(rules, expected);
    }

    #[test]
    fn a_bad_text_gives_the_default_and_is_refused_once() {
        let mut reader = Reader::default();
        for bad in [
            ["0", "7", "dlq", "9"],
            ["-1", "7", "dlq", "9"],
            ["many", "7", "dlq", "9"],
            ["1.5", "7", "dlq", "9"],
        ] {
            let (rules, refused) = reader.read(&texts(bad));
            assert_eq!(
                rules.thresholds,
                Thresholds {
                    warn: 1_000,
                    shed: 7
                }
            );
            assert_eq!(refused.len(), 1, "{bad:?}");
            assert_eq!(refused[0].key, KEYS[0]);
            assert_eq!(reader.read(&texts(bad)).1, []);
        }
        let (rules, refused) = reader.read(&texts(["1", "x", "drop", "60001"]));
        assert_eq!(
            (rules.mode, rules.defer),
            (Mode::Dlq, Rules::default().defer)
        );
        let expected: Vec<&str> = refused.iter().map(|one| &one.expected[..]).collect();
        assert_eq!(
            expected,
            [
                "a whole number from 1 to 1000000000",
                "dlq or defer",
                "a whole number from 1 to 60000"
            ]
        );
        reader.read(&texts(["", "", "", ""]));
        assert_eq!(reader.read(&texts(["", "x", "", ""])).1.len(), 1, "anew");
    }
}
