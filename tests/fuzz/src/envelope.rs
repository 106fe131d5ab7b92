//! A message, from its bytes to what arrives, against a second opinion: the members as
//! `serde_json` lists them.

use mutt_remediation::dlq::envelope::{Envelope, Fields, Malformed};
use mutt_remediation::dlq::{Disposition, Entry, Reason, Transfer};
use mutt_remediation::drain::classify::{Rules, classify};
use mutt_remediation::drain::plan::{conserves, plan};
use serde_json::value::RawValue;

const NOWS: [i64; 4] = [1_790_000_000, 0, 99_999_999_999, i64::MAX];

/// The first byte chooses rules and clock, the rest is the message.
pub fn check(data: &[u8]) {
    let Some((choice, message)) = data.split_first() else {
        return;
    };
    let rules = Rules {
        max_poison_retries: u64::from(choice & 3),
        stamp: choice & 4 == 0,
        required_fields: match choice & 8 {
            0 => vec![],
            _ => vec!["hostname".to_owned(), "é\"".to_owned()],
        },
        fields: Fields::alerter(),
        traced: choice & 64 > 0,
    };
    let now = NOWS[usize::from(choice >> 4 & 3)];

    let members = Members::read(message);
    let envelope = Envelope::read(message, &rules.fields);
    let disposition = match &members {
        None => {
            assert_eq!(envelope.err(), Some(Malformed::NotAnObject));
            Disposition::Dead(Reason::Malformed)
        }
        Some(members) => expected(members, &envelope, &rules),
    };
    let entry = Entry(message.to_vec());
    assert_eq!(classify(&entry, &rules).disposition, disposition);

    let entries = vec![entry.clone(), Entry(b"{}".to_vec()), entry];
    let plan = plan(entries.clone(), &rules, now);
    assert!(conserves(&entries, &plan));
    let transfer = &plan.transfers[0];
    assert_eq!(*transfer, plan.transfers[2], "the same bytes, another plan");
    assert_eq!(transfer.disposition, disposition);
    let arriving = transfer.arriving();
    assert_eq!(arriving.len(), transfer.size());
    match members {
        Some(members) if rules.stamp && disposition != Disposition::Dead(Reason::Malformed) => {
            only_the_stamp_changes(transfer, &members, now);
        }
        _ => assert_eq!(arriving, message, "it moves byte for byte"),
    }
}

/// What is to become of an object.
fn expected(
    members: &Members<'_>,
    envelope: &Result<Envelope<'_>, Malformed>,
    rules: &Rules,
) -> Disposition {
    let names = ["_moog_retry_count", "_remediation_count", "_retry_count"];
    let counts = names.map(|name| members.count(name));
    let Ok(envelope) = envelope else {
        assert!(
            counts.contains(&None),
            "all counters of {members:?} are counts"
        );
        return Disposition::Dead(Reason::Malformed);
    };
    let [Some(moog), Some(ours), Some(_)] = counts else {
        panic!("one of {members:?} is no count");
    };
    assert_eq!(envelope.remediation_count(), ours);
    assert_eq!(envelope.retries(), ours.max(moog));
    // A whole JSON value, where one can be made, agrees about the last of several.
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(members.text) {
        for (name, count) in names.iter().zip([moog, ours]) {
            match value.get(name).map(serde_json::Value::as_u64) {
                Some(Some(number)) => assert_eq!(number, count, "{name}"),
                Some(None) => assert_eq!(count, u64::MAX, "{name} is larger than any"),
                None => assert_eq!(count, 0, "{name}"),
            }
        }
    }
    for (name, _) in &members.all {
        assert!(envelope.has(name), "{name:?}");
    }
    if let Some(id) = envelope.correlation_id() {
        assert!(id.chars().count() <= 128 && !id.chars().any(char::is_control));
    }
    if let Some(since) = envelope.since() {
        assert!(members.has("_remediation_at") || members.has("timestamp"));
        assert!(since.abs() < 1_000_000_000_000, "{since} is no time");
    }
    if ours.max(moog) >= rules.max_poison_retries {
        Disposition::Dead(Reason::RetriesExhausted)
    } else if rules.required_fields.iter().all(|name| members.has(name)) {
        Disposition::Replay
    } else {
        Disposition::Dead(Reason::Incomplete)
    }
}

fn only_the_stamp_changes(transfer: &Transfer, before: &Members<'_>, now: i64) {
    let arriving = transfer.arriving();
    let after = Members::read(&arriving).expect("a stamped object is an object");
    let fields = Fields::alerter();
    let read = Envelope::read(&arriving, &fields).expect("its counters are counts");
    let ours = before.count("_remediation_count").expect("it is a count");
    let (set, reset): (Vec<(&str, String)>, &[&str]) = match transfer.disposition {
        Disposition::Replay => {
            assert_eq!(read.remediation_count(), ours.saturating_add(1));
            assert_eq!(after.count("_retry_count"), Some(0));
            if (0..100_000_000_000).contains(&now) {
                assert_eq!(read.since(), Some(now));
            }
            let count = ours.saturating_add(1).to_string();
            let set = vec![
                ("_remediation_count", count),
                ("_remediation_at", now.to_string()),
            ];
            (set, &["_retry_count"])
        }
        Disposition::Dead(reason) => {
            assert_eq!(read.remediation_count(), ours);
            let reason = format!("\"{}\"", reason.as_str());
            let set = vec![
                ("_remediation_reason", reason),
                ("_remediation_dead_at", now.to_string()),
            ];
            (set, &[])
        }
        other => panic!("the drain does not {other}"),
    };

    // Written anew, from the members of the second opinion: every copy gets the value in place, and
    // what is missing comes behind the last member.
    let mut wanted = Vec::new();
    let mut at = 0;
    let text = before.text;
    for (name, raw) in &before.all {
        let new = set
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .or(reset.contains(&name.as_str()).then_some("0"));
        if let Some(new) = new {
            let start = raw.as_ptr() as usize - text.as_ptr() as usize;
            wanted.extend_from_slice(&text.as_bytes()[at..start]);
            wanted.extend_from_slice(new.as_bytes());
            at = start + raw.len();
        }
    }
    let close = text.trim_end_matches([' ', '\t', '\r', '\n']).len() - 1;
    wanted.extend_from_slice(&text.as_bytes()[at..close]);
    let mut first = before.all.is_empty();
    for (name, value) in set.iter().filter(|(name, _)| !before.has(name)) {
        let comma = if first { "" } else { "," };
        first = false;
        wanted.extend_from_slice(format!("{comma}\"{name}\":{value}").as_bytes());
    }
    wanted.extend_from_slice(&text.as_bytes()[close..]);
    assert_eq!(
        String::from_utf8_lossy(&arriving),
        String::from_utf8_lossy(&wanted)
    );
}

/// The members of an object in their order, names decoded and values as they are written.
#[derive(Debug)]
struct Members<'a> {
    text: &'a str,
    all: Vec<(String, &'a str)>,
}

impl<'a> Members<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let List(all) = serde_json::from_str(text).ok()?;
        Some(Self { text, all })
    }

    fn has(&self, name: &str) -> bool {
        self.all.iter().any(|(known, _)| known == name)
    }

    /// The last one of this name as a count, 0 if there is none, `None` if it is no count.
    fn count(&self, name: &str) -> Option<u64> {
        let last = self.all.iter().rev().find(|(known, _)| known == name);
        let Some((_, raw)) = last else {
            return Some(0);
        };
        let digits = raw.chars().all(|c| c.is_ascii_digit());
        digits.then(|| raw.parse().unwrap_or(u64::MAX))
    }
}

struct List<'a>(Vec<(String, &'a str)>);

impl<'de> serde::Deserialize<'de> for List<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = List<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut all = vec![];
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    all.push((name, value.get()));
                }
                Ok(List(all))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
