//! The verdict on one entry. Pure: bytes and rules in, disposition out.

use crate::dlq::envelope::{Envelope, Fields};
use crate::dlq::{Disposition, Entry, Reason};
use crate::trace::parent::TRACEPARENT;

/// What decides between replay and parking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A message that failed this often is parked; 0 parks everything.
    pub max_poison_retries: u64,
    /// False moves every message byte for byte.
    pub stamp: bool,
    /// Top-level fields without which the alerter discards a message; such a message is parked.
    pub required_fields: Vec<String>,
    /// The counters of the source.
    pub fields: Fields,
    /// Whether it matters which traces messages belong to.
    pub traced: bool,
}

impl Rules {
    /// Those of the alerter's dead letters by default.
    #[must_use]
    pub fn alerter() -> Self {
        Self {
            max_poison_retries: 3,
            stamp: true,
            required_fields: vec![],
            fields: Fields::alerter(),
            traced: false,
        }
    }
}

/// The verdict, and the message as it was read where it could be.
#[derive(Debug)]
pub struct Classified<'a> {
    /// What is to happen to it.
    pub disposition: Disposition,
    /// The readable message; `None` where it is malformed.
    pub envelope: Option<Envelope<'a>>,
}

/// Decides what is to happen to an entry.
#[must_use]
pub fn classify<'a>(entry: &'a Entry, rules: &'a Rules) -> Classified<'a> {
    let also: &[&str] = if rules.traced { &[TRACEPARENT] } else { &[] };
    let Ok(envelope) = Envelope::read_with(&entry.0, &rules.fields, also) else {
        return Classified {
            disposition: Disposition::Dead(Reason::Malformed),
            envelope: None,
        };
    };
    let disposition = if envelope.retries() >= rules.max_poison_retries {
        Disposition::Dead(Reason::RetriesExhausted)
    } else if rules.required_fields.iter().all(|name| envelope.has(name)) {
        Disposition::Replay
    } else {
        Disposition::Dead(Reason::Incomplete)
    };
    Classified {
        disposition,
        envelope: Some(envelope),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bytes: &[u8]) -> Disposition {
        classify(&Entry(bytes.to_vec()), &Rules::alerter()).disposition
    }

    #[test]
    fn the_larger_of_both_counts_decides() {
        let exhausted = Disposition::Dead(Reason::RetriesExhausted);
        assert_eq!(verdict(br#"{"_moog_retry_count":2}"#), Disposition::Replay);
        assert_eq!(verdict(br#"{"_moog_retry_count":3}"#), exhausted);
        assert_eq!(verdict(br#"{"_remediation_count":3}"#), exhausted);
        assert_eq!(
            verdict(br#"{"_remediation_count":1,"_moog_retry_count":7}"#),
            exhausted
        );
        assert_eq!(
            verdict(br#"{"_moog_retry_count":99999999999999999999999}"#),
            exhausted
        );
    }

    #[test]
    fn the_alerters_own_count_never_parks_a_message() {
        assert_eq!(verdict(br#"{"_retry_count":400}"#), Disposition::Replay);
    }

    #[test]
    fn the_forwarders_own_count_never_parks_its_dead_letters() {
        let rules = Rules {
            fields: Fields::moog(),
            ..Rules::alerter()
        };
        let verdict = |bytes: &[u8]| classify(&Entry(bytes.to_vec()), &rules).disposition;
        assert_eq!(
            verdict(br#"{"_moog_retry_count":6,"_retry_count":"x"}"#),
            Disposition::Replay
        );
        assert_eq!(
            verdict(br#"{"_moog_retry_count":6,"_remediation_count":3}"#),
            Disposition::Dead(Reason::RetriesExhausted)
        );
        assert_eq!(
            verdict(br#"{"_moog_retry_count":"6"}"#),
            Disposition::Dead(Reason::Malformed),
            "it is reset, so it must be a count"
        );
    }

    #[test]
    fn a_counter_of_any_name_counts() {
        let rules = Rules {
            fields: Fields {
                poison: vec!["tries".into()],
                reset: vec![],
            },
            ..Rules::alerter()
        };
        let verdict = |bytes: &[u8]| classify(&Entry(bytes.to_vec()), &rules).disposition;
        assert_eq!(verdict(br#"{"tries":2}"#), Disposition::Replay);
        assert_eq!(
            verdict(br#"{"tries":3}"#),
            Disposition::Dead(Reason::RetriesExhausted)
        );
        assert_eq!(
            verdict(br#"{"tries":"3"}"#),
            Disposition::Dead(Reason::Malformed)
        );
    }

    #[test]
    fn what_is_no_object_or_miscounts_is_malformed() {
        for bytes in [
            &b""[..],
            b"text",
            b"[1,2]",
            b"null",
            b"17",
            b"\"s\"",
            b"{",
            b"{}{}",
            b"{} x",
            b"\xff\xfe",
            b"{\"a\":\"\xff\"}",
            b"{'a':1}",
            br#"{"_moog_retry_count":"3"}"#,
            br#"{"_moog_retry_count":1.0}"#,
            br#"{"_moog_retry_count":-1}"#,
            br#"{"_moog_retry_count":null}"#,
            br#"{"_moog_retry_count":true}"#,
            br#"{"_moog_retry_count":1e2}"#,
            br#"{"_remediation_count":[1]}"#,
            br#"{"_retry_count":"x"}"#,
        ] {
            assert_eq!(
                verdict(bytes),
                Disposition::Dead(Reason::Malformed),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn a_counter_inside_something_else_does_not_count() {
        assert_eq!(
            verdict(br#"{"a":{"_moog_retry_count":9},"b":"\"_remediation_count\":9"}"#),
            Disposition::Replay
        );
    }

    #[test]
    fn of_two_counters_the_last_one_counts() {
        assert_eq!(
            verdict(br#"{"_moog_retry_count":9,"_moog_retry_count":1}"#),
            Disposition::Replay
        );
        assert_eq!(
            verdict(br#"{"_moog_retry_count":"x","_moog_retry\u005fcount":1}"#),
            Disposition::Replay
        );
    }

    #[test]
    fn nesting_a_million_deep_is_read_without_recursion() {
        let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
        assert_eq!(verdict(&deep), Disposition::Dead(Reason::Malformed));
        let wrapped = [&b"{\"a\":"[..], &deep, b"}"].concat();
        assert_eq!(verdict(&wrapped), Disposition::Replay);
    }

    #[test]
    fn a_limit_of_zero_parks_everything() {
        let rules = Rules {
            max_poison_retries: 0,
            ..Rules::alerter()
        };
        assert_eq!(
            classify(&Entry(b"{}".to_vec()), &rules).disposition,
            Disposition::Dead(Reason::RetriesExhausted)
        );
    }

    #[test]
    fn a_message_that_the_alerter_would_discard_is_parked_where_the_fields_are_named() {
        let rules = Rules {
            required_fields: vec!["hostname".into(), "message".into()],
            ..Rules::alerter()
        };
        let verdict = |bytes: &[u8]| classify(&Entry(bytes.to_vec()), &rules).disposition;
        assert_eq!(
            verdict(br#"{"hostname":"a","messages":"b"}"#),
            Disposition::Dead(Reason::Incomplete)
        );
        assert_eq!(
            verdict(br#"{"message":"","hostname":null}"#),
            Disposition::Replay
        );
    }
}
