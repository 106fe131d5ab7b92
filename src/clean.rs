//! Text that others wrote, made safe to show: no escape sequence, no change of direction, nothing
//! that cannot be seen. Pure.

/// The innermost cause of an error, which names what went wrong.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// For one line of a terminal: what would steer it is shown as a sign instead.
#[must_use]
pub(crate) fn line(text: &str) -> String {
    text.chars().map(Shown::of).collect()
}

/// The same for several lines.
#[must_use]
pub(crate) fn lines(text: &str) -> String {
    let keeps = |character| match character {
        '\n' => Shown::As('\n'),
        other => Shown::of(other),
    };
    text.chars().map(keeps).collect()
}

/// The same for JSON text, which means the same afterwards: such characters can only stand within
/// strings, and are spelt as escapes there.
#[must_use]
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || !is_steering(character) {
            out.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

/// A cell of a table that a spreadsheet may read: none is taken for a formula, and none breaks its
/// line.
#[must_use]
pub(crate) fn csv(text: &str) -> String {
    let mut cell = line(text);
    // Spreadsheets skip blanks before the sign.
    let first = cell.trim_start().chars().next();
    if first
        .is_some_and(|first| "=+-@\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}\u{2409}\u{240d}".contains(first))
    {
        cell.insert(0, '\'');
    }
    if cell.contains([',', '"', ';', '\'']) {
        cell = format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell
}

/// Whether a character steers a terminal or the direction of text, or cannot be seen.
fn is_steering(character: char) -> bool {
    // Joiners are part of words and of emoji, and steer nothing.
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// What is shown in place of a character.
enum Shown {
    As(char),
    Code(char),
}

impl Shown {
    fn of(character: char) -> Self {
        match character {
            // Unicode has pictures of these.
            '\0'..='\u{1f}' => Self::As(picture(character as u32)),
            '\u{7f}' => Self::As('\u{2421}'),
            other if is_steering(other) => Self::Code(other),
            other => Self::As(other),
        }
    }
}

fn picture(code: u32) -> char {
    char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

impl FromIterator<Shown> for String {
    fn from_iter<I: IntoIterator<Item = Shown>>(all: I) -> Self {
        let mut text = Self::new();
        for shown in all {
            match shown {
                Shown::As(character) => text.push(character),
                Shown::Code(character) => {
                    text.push_str(&format!("<U+{:04X}>", character as u32));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts in which what steers is not rare.
    fn texts() -> impl Strategy<Value = String> {
        let character = prop_oneof![
            any::<char>(),
            (0_u32..0xa0).prop_map(|code| char::from_u32(code).unwrap_or('x')),
            (0x2000_u32..0x2070).prop_map(|code| char::from_u32(code).unwrap_or('x')),
            prop::sample::select(vec!['=', '+', '-', '@', '"', ',', ' ', '\t', '\u{feff}']),
        ];
        proptest::collection::vec(character, 0..40).prop_map(|all| all.into_iter().collect())
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in texts()) {
            prop_assert!(!line(&text).chars().any(is_steering));
            prop_assert!(!lines(&text).chars().any(|c| c != '\n' && is_steering(c)));
            prop_assert!(!csv(&text).chars().any(is_steering));
        }

        #[test]
        fn what_is_harmless_stays_as_it_is(text in texts()) {
            let harmless: String = text.chars().filter(|c| !is_steering(*c)).collect();
            prop_assert_eq!(line(&harmless), harmless.clone());
            prop_assert_eq!(json(&harmless), harmless);
        }

        #[test]
        fn cleaning_twice_changes_nothing_more(text in texts()) {
            let once = line(&text);
            prop_assert_eq!(line(&once), once);
        }

        #[test]
        fn json_means_the_same(text in texts()) {
            let spelt = serde_json::to_string(&text).expect("a text");
            let safe = json(&spelt);
            prop_assert!(!safe.chars().any(is_steering));
            let read: String = serde_json::from_str(&safe).expect("JSON");
            prop_assert_eq!(read, text);
        }

        #[test]
        fn no_cell_is_a_formula(text in texts()) {
            let cell = csv(&text);
            // What a spreadsheet reads.
            let quoted = cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let read = quoted.map_or(cell.clone(), |inner| inner.replace("\"\"", "\""));
            prop_assert!(!read.trim_start().starts_with(['=', '+', '-', '@']), "{:?}", cell);
            prop_assert!(quoted.is_some() || !cell.contains([',', '"']), "{:?}", cell);
            prop_assert!(!cell.contains(['\n', '\r', '\t']));
        }
    }

    #[test]
    fn escape_sequences_and_turned_text_are_shown_as_signs() {
        assert_eq!(line("a\x1b[2Jb\nc\x7f"), "a␛[2Jb␊c␡");
        assert_eq!(lines("a\x1b\nb"), "a␛\nb");
        assert_eq!(line("x\u{202e}y\u{9b}z"), "x<U+202E>y<U+009B>z");
        assert_eq!(line("sw1\u{3164}\u{115f}"), "sw1<U+3164><U+115F>");
        assert_eq!(json("\"\u{9b}\u{e0041}\""), r#""\u009b\udb40\udc41""#);
        assert_eq!(
            line("Zürich ☃ 日本 👩\u{200d}🚒"),
            "Zürich ☃ 日本 👩\u{200d}🚒"
        );
    }

    #[test]
    fn cells_are_quoted_where_it_matters() {
        assert_eq!(csv("sw1"), "sw1");
        assert_eq!(csv("=1+1"), "\"'=1+1\"");
        assert_eq!(csv(" \t@x"), "\"' ␉@x\"");
        assert_eq!(csv("a \"b\""), "\"a \"\"b\"\"\"");
    }
}
