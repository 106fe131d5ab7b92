//! From verdicts to transfers. Pure, and accounts for every entry that was peeked.

use super::classify::{Classified, Rules, classify};
use crate::dlq::{Disposition, Entry, Reason, Transfer};
use crate::trace::parent::{self, Parents, TRACEPARENT};

/// What a batch is to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One transfer for each peeked entry, in the same order: oldest first.
    pub transfers: Vec<Transfer>,
    /// When those that are replayed again were replayed last, in Unix seconds, oldest first.
    pub again: Vec<Again>,
    /// When those were replayed last that our own replays have used up, in Unix seconds.
    pub used_up: Vec<i64>,
    /// The traces that they belong to, where that matters.
    pub parents: Parents,
}

/// A message that is replayed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Its place in the batch; the oldest is 0.
    pub place: usize,
    /// When it was replayed last, in Unix seconds.
    pub at: i64,
    /// Should it come back once more, it is parked.
    pub last: bool,
}

impl Plan {
    /// Adds the plan of the entries that follow.
    pub fn append(&mut self, mut next: Self) {
        let before = self.transfers.len();
        next.again
            .iter_mut()
            .for_each(|again| again.place += before);
        self.transfers.append(&mut next.transfers);
        self.again.append(&mut next.again);
        self.used_up.append(&mut next.used_up);
        self.parents.append(next.parents);
    }

    /// Number of entries with this disposition.
    #[must_use]
    pub fn count(&self, disposition: Disposition) -> u64 {
        let same = |transfer: &&Transfer| transfer.disposition == disposition;
        self.transfers.iter().filter(same).count() as u64
    }
}

/// Plans a batch. `now` is in Unix seconds.
#[must_use]
pub fn plan(entries: Vec<Entry>, rules: &Rules, now: i64) -> Plan {
    let mut plan = Plan::default();
    for entry in entries {
        let Classified {
            disposition,
            envelope,
        } = classify(&entry, rules);
        let mut edits = vec![];
        if let Some(envelope) = &envelope {
            if rules.traced
                && let Some(parent) = envelope.raw(TRACEPARENT).and_then(parent::of_json)
            {
                plan.parents.add(parent);
            }
            let ours = envelope.remediation_count();
            let replayed_at = envelope.replayed_at().filter(|_| ours > 0);
            match disposition {
                Disposition::Replay => {
                    let place = plan.transfers.len();
                    let last = ours.saturating_add(1) >= rules.max_poison_retries;
                    let again = replayed_at.map(|at| Again { place, at, last });
                    plan.again.extend(again);
                }
                Disposition::Dead(Reason::RetriesExhausted) if ours >= rules.max_poison_retries => {
                    plan.used_up.extend(replayed_at);
                }
                Disposition::Dead(_) | Disposition::Restore | Disposition::Purge => {}
            }
            if rules.stamp {
                edits = match disposition {
                    Disposition::Replay => envelope.replay_stamp(now),
                    Disposition::Dead(reason) => envelope.dead_stamp(reason.as_str(), now),
                    Disposition::Restore | Disposition::Purge => vec![],
                };
            }
        }
        plan.transfers.push(Transfer {
            entry,
            edits,
            disposition,
        });
    }
    plan
}

/// Whether a plan is complete: every peeked entry has exactly one transfer, in the same order.
#[must_use]
pub fn conserves(entries: &[Entry], plan: &Plan) -> bool {
    entries.len() == plan.transfers.len()
        && entries
            .iter()
            .zip(&plan.transfers)
            .all(|(entry, transfer)| *entry == transfer.entry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dlq::envelope::{Envelope, Fields};

    const NOW: i64 = 1_790_000_000;

    fn rules(stamp: bool) -> Rules {
        Rules {
            stamp,
            ..Rules::alerter()
        }
    }

    fn arriving(bytes: &str) -> String {
        let entries = vec![Entry(bytes.as_bytes().to_vec())];
        let plan = plan(entries, &rules(true), NOW);
        String::from_utf8(plan.transfers[0].arriving().to_vec()).expect("stamps are text")
    }

    #[test]
    fn a_first_replay_appends_the_stamp_and_resets_the_alerters_count() {
        assert_eq!(
            arriving(r#"{"hostname":"a","_retry_count":4,"x":1.10}"#),
            r#"{"hostname":"a","_retry_count":0,"x":1.10,"_remediation_count":1,"_remediation_at":1790000000}"#
        );
        assert_eq!(
            arriving("{}"),
            r#"{"_remediation_count":1,"_remediation_at":1790000000}"#
        );
        assert_eq!(
            arriving("  { \"a\" : 1 }\n"),
            "  { \"a\" : 1 ,\"_remediation_count\":1,\"_remediation_at\":1790000000}\n"
        );
    }

    #[test]
    fn a_second_replay_changes_the_stamp_in_place() {
        assert_eq!(
            arriving(r#"{"_remediation_count":1,"a":"é\u00e9","_remediation_at":17}"#),
            r#"{"_remediation_count":2,"a":"é\u00e9","_remediation_at":1790000000}"#
        );
    }

    #[test]
    fn every_copy_of_a_doubled_counter_is_stamped() {
        assert_eq!(
            arriving(
                r#"{"_retry_count":9,"_remediation_count":7,"_remediation\u005fcount":1,"_retry_count":4,"_remediation_at":0}"#
            ),
            r#"{"_retry_count":0,"_remediation_count":2,"_remediation\u005fcount":2,"_retry_count":0,"_remediation_at":1790000000}"#
        );
    }

    #[test]
    fn numbers_nesting_and_strings_keep_their_spelling() {
        let inner = r#""big":123456789012345678901234567890,"f":1.10,"e":1E5,"n":{"_remediation_count":9,"_retry_count":5},"s":"\"_retry_count\":4,}""#;
        assert_eq!(
            arriving(&format!("{{{inner}}}")),
            format!(r#"{{{inner},"_remediation_count":1,"_remediation_at":{NOW}}}"#)
        );
    }

    #[test]
    fn a_parked_message_says_why_and_when() {
        assert_eq!(
            arriving(r#"{"_moog_retry_count":3}"#),
            r#"{"_moog_retry_count":3,"_remediation_reason":"retries_exhausted","_remediation_dead_at":1790000000}"#
        );
        assert_eq!(arriving("[1,2]"), "[1,2]");
    }

    fn planned(messages: &[&str]) -> Plan {
        let entry = |text: &&str| Entry(text.as_bytes().to_vec());
        plan(messages.iter().map(entry).collect(), &rules(true), NOW)
    }

    #[test]
    fn what_our_stamp_tells_of_the_last_replay_is_noted() {
        let again = planned(&[
            r#"{"_remediation_count":1,"_remediation_at":11}"#,
            r#"{"_remediation_at":12}"#,
            r#"{"_remediation_count":2,"_remediation_at":13}"#,
            r#"{"_remediation_count":3,"_remediation_at":14}"#,
            r#"{"_moog_retry_count":3,"_remediation_count":2,"_remediation_at":15}"#,
            "[]",
        ]);
        let noted = [(0, 11, false), (2, 13, true)];
        let noted = noted.map(|(place, at, last)| Again { place, at, last });
        assert_eq!(again.again, noted, "a date without a count is not ours");
        assert_eq!(again.used_up, [14], "the other one was used up by others");
        assert_eq!(again.count(Disposition::Replay), 3);
        assert_eq!(again.count(Disposition::Dead(Reason::RetriesExhausted)), 2);
        assert_eq!(again.count(Disposition::Dead(Reason::Malformed)), 1);
    }

    #[test]
    fn traces_of_messages_are_noted_where_they_matter_and_change_nothing() {
        let parent = |span: &str| format!(r#""00-0000000000000000000000000000000a-{span}-01""#);
        let twice = format!(
            r#"{{"traceparent":"x","traceparent":{}}}"#,
            parent("000000000000000b")
        );
        let poison = format!(
            r#"{{"_moog_retry_count":9,"traceparent":{}}}"#,
            parent("000000000000000c")
        );
        let nested = format!(
            r#"{{"a":{{"traceparent":{}}}}}"#,
            parent("000000000000000d")
        );
        let entry = |text: &str| Entry(text.as_bytes().to_vec());
        let entries = [&twice, &poison, &nested, r#"{"traceparent":17}"#].map(entry);
        let planned = |traced| {
            let rules = Rules {
                traced,
                ..rules(true)
            };
            plan(entries.to_vec(), &rules, NOW)
        };
        let (plain, traced) = (planned(false), planned(true));
        assert_eq!(plain.parents, Parents::default());
        let spans = traced.parents.known.iter().map(|parent| parent.span);
        assert_eq!(spans.collect::<Vec<_>>(), [0xb, 0xc], "the last one counts");
        assert_eq!(plain.transfers, traced.transfers);
    }

    #[test]
    fn a_plan_goes_on_with_the_next() {
        let first = [r#"{"_remediation_count":1,"_remediation_at":5}"#, "{}"];
        let next = [
            r#"{"_remediation_count":1,"_remediation_at":7}"#,
            r#"{"_remediation_count":3,"_remediation_at":9}"#,
        ];
        let all = planned(&[first, next].concat());
        let mut plan = planned(&first);
        plan.append(planned(&next));
        assert_eq!(plan, all);
        let mut empty = Plan::default();
        empty.append(all.clone());
        assert_eq!(empty, all);
    }

    #[test]
    fn a_plan_that_leaves_out_swaps_or_doubles_an_entry_does_not_conserve_them() {
        let entries = [Entry(b"{}".to_vec()), Entry(b"[]".to_vec())];
        let whole = planned(&["{}", "[]"]);
        assert!(conserves(&entries, &whole));
        for others in [
            &["{}"][..],
            &["[]", "{}"],
            &["{}", "{}"],
            &["{}", "[]", "[]"],
        ] {
            assert!(!conserves(&entries, &planned(others)), "{others:?}");
        }
    }

    /// Text that is JSON, nearly JSON, or meets the fields that we stamp in odd spellings.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let name = prop_oneof![
            Just(r#""_retry_count""#.to_owned()),
            Just(r#""_remediation_count""#.to_owned()),
            Just(r#""_remediation\u005fcount""#.to_owned()),
            Just(r#""_remediation_at""#.to_owned()),
            Just(r#""_remediation_reason""#.to_owned()),
            Just(r#""_moog_retry_count""#.to_owned()),
            "\"[a-zé ]{0,5}\"",
        ];
        let value = prop_oneof![
            Just("0".to_owned()),
            (0u64..6).prop_map(|n| n.to_string()),
            Just("123456789012345678901234567890".to_owned()),
            Just("1.10".to_owned()),
            Just("-1".to_owned()),
            Just("null".to_owned()),
            Just(r#""\u00e9é\ud800 \"}{""#.to_owned()),
            Just(r#"{"_remediation_count": 5, "b": [1, {}]}"#.to_owned()),
            Just("1e999".to_owned()),
        ];
        let member = (name, "[ \n]{0,2}", value).prop_map(|(n, s, v)| format!("{n}{s}:{s}{v}"));
        let object = (
            prop::collection::vec(member, 0..6),
            "[ \t\r\n]{0,2}",
            "[ \n]{0,2}",
        )
            .prop_map(|(members, before, after)| {
                format!("{before}{{{after}{}{after}}}{before}", members.join(",")).into_bytes()
            });
        prop_oneof![
            6 => object,
            2 => prop::collection::vec(any::<u8>(), 0..64),
            1 => "[\\[\\]{}\",:0-9a-z ]{0,24}".prop_map(String::into_bytes),
        ]
    }

    /// Takes the stamp out again, by a way of its own: member by member, as text.
    fn without_stamps(bytes: &[u8]) -> Vec<(String, String)> {
        let members: Members = serde_json::from_slice(bytes).expect("stamped output parses");
        members
            .0
            .into_iter()
            .filter(|(name, _)| !(name.starts_with("_remediation_") || name == "_retry_count"))
            .collect()
    }

    struct Members(Vec<(String, String)>);

    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct V;
            impl<'de> serde::de::Visitor<'de> for V {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Members, A::Error> {
                    let mut all = vec![];
                    while let Some(name) = map.next_key::<String>()? {
                        let value: Box<serde_json::value::RawValue> = map.next_value()?;
                        all.push((name, value.get().to_owned()));
                    }
                    Ok(Members(all))
                }
            }
            deserializer.deserialize_map(V)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn no_message_is_lost_doubled_or_altered_beyond_the_stamp(
            messages in prop::collection::vec(message(), 0..12),
            stamp: bool,
        ) {
            let fields = Fields::alerter();
            let entries: Vec<Entry> = messages.into_iter().map(Entry).collect();
            let plan = plan(entries.clone(), &rules(stamp), NOW);
            prop_assert!(conserves(&entries, &plan));
            for transfer in &plan.transfers {
                let before = &transfer.entry.0;
                let after = &*transfer.arriving();
                if !stamp || transfer.disposition == Disposition::Dead(Reason::Malformed) {
                    prop_assert_eq!(&before[..], after);
                    continue;
                }
                prop_assert_eq!(without_stamps(before), without_stamps(after));
                let read = Envelope::read(after, &fields).expect("stamped output is sound");
                let was = Envelope::read(before, &fields).expect("it was sound");
                match transfer.disposition {
                    Disposition::Replay => {
                        prop_assert_eq!(read.remediation_count(), was.remediation_count() + 1);
                        prop_assert_eq!(read.since(), Some(NOW));
                        prop_assert!(was.retries() < 3);
                    }
                    Disposition::Dead(_) => {
                        prop_assert_eq!(read.retries(), was.retries());
                        prop_assert!(read.has("_remediation_reason"));
                    }
                    other => prop_assert!(false, "the drain does not {other}"),
                }
            }
        }

        #[test]
        fn bytes_outside_the_stamp_are_kept_to_the_letter(
            head in "[ \n]{0,3}", inner in r#""a" ?: ?(1\.10|"é\\u00e9"|[0-9]{1,40}|\{ \})"#, tail in "[ \r\n\t]{0,3}",
        ) {
            let entry = Entry(format!("{head}{{{inner}}}{tail}").into_bytes());
            let plan = plan(vec![entry.clone()], &rules(true), NOW);
            let after = String::from_utf8(plan.transfers[0].arriving().to_vec()).expect("text");
            let stamp = format!(",\"_remediation_count\":1,\"_remediation_at\":{NOW}");
            let valid = serde_json::from_slice::<serde::de::IgnoredAny>(&entry.0).is_ok();
            let expected = if valid { format!("{head}{{{inner}{stamp}}}{tail}") } else { format!("{head}{{{inner}}}{tail}") };
            prop_assert_eq!(after, expected);
        }
    }
}
