//! Which messages are meant. Pure.

use super::letter::Letter;
use super::wire::{FieldText, Filter};

impl Filter {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The members that it asks for.
    #[must_use]
    pub fn members(&self) -> Vec<&str> {
        let texts = self.field.iter().chain(&self.contains);
        texts.map(|text| text.name.as_str()).collect()
    }

    /// Whether the bytes alone say that a message is not meant, which spares reading it.
    #[must_use]
    pub fn rules_out(&self, bytes: &[u8]) -> bool {
        let lacks = |text: &str| !contains(bytes, text.as_bytes());
        if self.text.as_deref().is_some_and(lacks) {
            return true;
        }
        // Unescaped, a value stands in the bytes as it is. A backslash may hide it.
        let fields = self.field.iter().map(|field| field.value.as_str());
        let mut wanted = fields.chain(self.host.as_deref());
        wanted.any(|text| lacks(text) && !bytes.contains(&b'\\'))
    }

    /// Whether a message is meant, at this time in Unix seconds. It must have been read with
    /// [`members`](Self::members).
    #[must_use]
    pub fn matches(&self, letter: &Letter<'_>, now: i64) -> bool {
        let age = || {
            letter
                .since()
                .map(|since| (now - since).max(0).cast_unsigned())
        };
        self.reason
            .as_deref()
            .is_none_or(|reason| reason == letter.reason())
            && self
                .min_age
                .is_none_or(|least| age().is_some_and(|age| age >= least))
            && self
                .max_age
                .is_none_or(|most| age().is_some_and(|age| age <= most))
            && self
                .host
                .as_deref()
                .is_none_or(|host| letter.text("hostname").is_some_and(|text| text == host))
            && self.field.iter().all(|field| is(letter, field))
            && self.contains.iter().all(|field| has(letter, field))
            && self
                .text
                .as_deref()
                .is_none_or(|text| contains(letter.bytes(), text.as_bytes()))
    }
}

fn is(letter: &Letter<'_>, FieldText { name, value }: &FieldText) -> bool {
    letter.raw(name) == Some(value) || letter.text(name).is_some_and(|text| text == *value)
}

fn has(letter: &Letter<'_>, FieldText { name, value }: &FieldText) -> bool {
    letter
        .text(name)
        .is_some_and(|text| text.to_lowercase().contains(&value.to_lowercase()))
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::queues::Role;
    use super::*;
    use crate::drain::classify::Rules;

    const NOW: i64 = 1_700_000_100;

    fn matches(filter: &Filter, text: &str) -> bool {
        let rules = Rules::alerter();
        let letter = Letter::read(text.as_bytes(), Role::Source, &rules, &filter.members());
        let matches = filter.matches(&letter, NOW);
        assert!(
            !(matches && filter.rules_out(text.as_bytes())),
            "a message that matches was ruled out by its bytes: {text}"
        );
        matches
    }

    fn text(name: &str, value: &str) -> Vec<FieldText> {
        vec![FieldText {
            name: name.into(),
            value: value.into(),
        }]
    }

    #[test]
    fn an_empty_filter_means_all() {
        assert!(Filter::default().is_empty());
        for message in ["", "[1]", "{}", "\u{fffd}"] {
            assert!(matches(&Filter::default(), message));
        }
    }

    #[test]
    fn the_reason_is_why_it_lies_there() {
        let of = |reason: &str| Filter {
            reason: Some(reason.into()),
            ..Filter::default()
        };
        for (message, reason) in [
            ("[1]", "malformed"),
            (r#"{"_moog_retry_count":"x"}"#, "malformed"),
            (r#"{"_moog_retry_count":3}"#, "retries_exhausted"),
            (r#"{"shedding_reason":"queue_depth_exceeded:1>0"}"#, "shed"),
            (r#"{"_retry_count":4}"#, "failed"),
        ] {
            assert!(matches(&of(reason), message), "{message}");
            assert!(!matches(&of("other"), message), "{message}");
        }
    }

    #[test]
    fn ages_count_from_the_last_replay_or_the_timestamp() {
        let between = |min_age, max_age| Filter {
            min_age,
            max_age,
            ..Filter::default()
        };
        let message = r#"{"timestamp":1700000000}"#;
        assert!(matches(&between(Some(100), Some(100)), message));
        assert!(!matches(&between(Some(101), None), message));
        assert!(!matches(&between(None, Some(99)), message));
        assert!(!matches(&between(Some(0), None), "{}"), "of unknown age");
    }

    #[test]
    fn fields_are_equal_or_contain_and_the_last_of_two_counts() {
        let host = Filter {
            host: Some("sw1".into()),
            ..Filter::default()
        };
        assert!(matches(&host, r#"{"hostname":"sw1"}"#));
        assert!(matches(&host, r#"{"hostname":"s\u0077\u0031"}"#));
        assert!(!matches(&host, r#"{"hostname":"sw1","hostname":"sw2"}"#));
        assert!(!matches(&host, r#"{"a":{"hostname":"sw1"}}"#));
        let field = |name: &str, value: &str| Filter {
            field: text(name, value),
            ..Filter::default()
        };
        assert!(matches(&field("n", "1.10"), r#"{"n":1.10}"#));
        assert!(!matches(&field("n", "1.1"), r#"{"n":1.10}"#));
        assert!(matches(&field("n", "\"x\""), r#"{"n":"x"}"#));
        assert!(matches(&field("n", "null"), r#"{"n":null}"#));
        assert!(matches(&field("n", ""), r#"{"n":""}"#));
        let contains = Filter {
            contains: text("message", "LINK"),
            ..Filter::default()
        };
        assert!(matches(&contains, r#"{"message":"the link is down"}"#));
        assert!(!matches(&contains, r#"{"messages":"the link is down"}"#));
    }

    #[test]
    fn a_text_is_looked_for_in_the_bytes() {
        let filter = Filter {
            text: Some("\"a\":1".into()),
            ..Filter::default()
        };
        assert!(matches(&filter, r#"[{"a":1}]"#));
        assert!(!matches(&filter, r#"{"a": 1}"#));
    }
}
