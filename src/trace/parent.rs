//! Which trace a message belongs to, as its `traceparent` says: the text that W3C Trace Context
//! defines for a header of HTTP. Pure, and total.

/// Traces that a batch names, at most.
pub const MOST: usize = 32;

/// The member of a message, and the header of HTTP.
pub const TRACEPARENT: &str = "traceparent";

/// A span of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace: u128,
    /// The span; never 0.
    pub span: u64,
    /// Of these the lowest says that it is told to a collector.
    pub flags: u8,
}

/// The spans that the messages of a batch come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parents {
    /// The first of them, at most [`MOST`].
    pub known: Vec<TraceParent>,
    /// How many more there are.
    pub more: usize,
}

impl Parents {
    /// Takes note of one more.
    pub fn add(&mut self, parent: TraceParent) {
        if self.known.len() < MOST {
            self.known.push(parent);
        } else {
            self.more += 1;
        }
    }

    /// Takes note of those that follow.
    pub fn append(&mut self, next: Self) {
        next.known.into_iter().for_each(|parent| self.add(parent));
        self.more += next.more;
    }
}

/// The span that a JSON value names, if it is a text that names one.
#[must_use]
pub fn of_json(raw: &str) -> Option<TraceParent> {
    let text: String = serde_json::from_str(raw).ok()?;
    read(&text)
}

/// The span that a `traceparent` names.
#[must_use]
pub fn read(text: &str) -> Option<TraceParent> {
    let (known, rest) = text.as_bytes().split_at_checked(55)?;
    let [version, trace, span, flags] = [(0, 2), (3, 35), (36, 52), (53, 55)]
        .map(|(from, to)| known.get(from..to).and_then(hexadecimal));
    let version = version?;
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    // A later version may say more, after another dash.
    let whole = rest.is_empty() || (version > 0 && rest[0] == b'-');
    let parent = TraceParent {
        trace: trace?,
        span: u64::try_from(span?).ok()?,
        flags: u8::try_from(flags?).ok()?,
    };
    let valid = version < 0xff && parent.trace > 0 && parent.span > 0;
    (dashes && whole && valid).then_some(parent)
}

/// Digits of the lower case only, which is what the standard asks for; no sign.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    let digit = |number: u128, digit: &u8| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    };
    digits.iter().try_fold(0, digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn what_the_standard_writes_is_read() {
        let parent = read(&format!("00-{TRACE}-{SPAN}-01")).expect("it is one");
        assert_eq!(format!("{:032x}", parent.trace), TRACE);
        assert_eq!(format!("{:016x}", parent.span), SPAN);
        assert_eq!(parent.flags, 1);
        let later = read(&format!("cc-{TRACE}-{SPAN}-00-what-comes-later"));
        assert_eq!(later, Some(TraceParent { flags: 0, ..parent }));
        let json = format!("\"00-{TRACE}-{SPAN}-\\u0030\\u0031\"");
        assert_eq!(of_json(&json), Some(parent), "however it is spelt");
    }

    #[test]
    fn what_is_none_names_nothing() {
        let (zero, none) = ("0".repeat(32), "0".repeat(16));
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zero}-{SPAN}-01"),
            format!("00-{TRACE}-{none}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-+{}-01", &SPAN[1..]),
            format!("00-{TRACE}-{SPAN}-0é"),
            format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
        for raw in ["17", "null", "{}", "[]", "\"\"", "\"00-1-2-3\""] {
            assert_eq!(of_json(raw), None, "{raw}");
        }
    }

    #[test]
    fn the_first_are_known_and_the_others_counted() {
        let parent = |span| TraceParent {
            trace: 1,
            span,
            flags: 0,
        };
        let mut all = Parents::default();
        for part in [0..20, 20..40, 40..50] {
            let mut next = Parents::default();
            part.for_each(|span| next.add(parent(span + 1)));
            all.append(next);
        }
        let known: Vec<u64> = all.known.iter().map(|parent| parent.span).collect();
        assert_eq!(known, (1..=32).collect::<Vec<_>>());
        assert_eq!(all.more, 18);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,70}") {
            let _ = (read(&text), of_json(&text));
        }

        #[test]
        fn what_is_written_is_read_again(trace in 1..=u128::MAX, span in 1..=u64::MAX, flags: u8) {
            let parent = TraceParent { trace, span, flags };
            let text = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            prop_assert_eq!(read(&text), Some(parent));
        }
    }
}
