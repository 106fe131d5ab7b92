//! JSON that people have edited, as it is sent. Pure.

use serde_json::value::RawValue;

/// An edited text without the blanks between its members, its numbers spelt as they were.
///
/// # Errors
/// Says why it is no JSON object.
pub fn compact(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    let sound = serde_json::from_str::<&RawValue>(trimmed);
    sound.map_err(|error| format!("this is not JSON: {error}"))?;
    if !trimmed.starts_with('{') {
        return Err("this is not a JSON object".to_owned());
    }
    let mut out = String::with_capacity(trimmed.len());
    let (mut within, mut escaped) = (false, false);
    for character in trimmed.chars() {
        if within {
            within = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            within = character == '"';
        }
        out.push(character);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_text_becomes_one_line_and_keeps_its_spelling() {
        let text = "{\n  \"a b\": [1.10, 1E5,\n 12345678901234567890123],\n  \"c\": \"x \\\" y \\\\\"\n}\n";
        assert_eq!(
            compact(text).expect("JSON"),
            r#"{"a b":[1.10,1E5,12345678901234567890123],"c":"x \" y \\"}"#
        );
    }

    #[test]
    fn only_an_object_may_be_sent() {
        for text in ["", "[1]", "17", "{\"a\":}", "{} {}"] {
            assert!(compact(text).is_err(), "{text}");
        }
    }
}
