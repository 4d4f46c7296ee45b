//! Texts of others, to be shown: names, values, and what containers print may hold anything.

use serde_json::Value;

/// A text of which a terminal obeys nothing, in one line: whatever is no letter, sign or space is
/// escaped as Rust does it, also what turns the direction of writing.
pub(crate) fn legible(text: &str) -> String {
    let mut legible = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => legible.push(c),
            '\t' => legible.push(' '),
            c => legible.extend(c.escape_debug()),
        }
    }
    legible
}

/// The same for a report, whose lines stay lines.
pub(crate) fn legible_lines(text: &str) -> String {
    text.lines().map(legible).collect::<Vec<_>>().join("\n")
}

/// The same for all texts in a value, each in one line. Names of fields are left as they are.
pub(crate) fn legible_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(legible(&text)),
        Value::Array(items) => items.into_iter().map(legible_value).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, legible_value(value))).collect()
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_nothing_else() {
        let said = legible("\x1b[2J\u{9b}\u{202e}a\tb  \"é\" '\\d'\n");
        assert_eq!(said, "\\u{1b}[2J\\u{9b}\\u{202e}a b  \"é\" '\\d'\\n");
        assert_eq!(legible(&said), said, "what is legible stays as it is");
        assert_eq!(legible_lines("a\x1b\r\n b\n"), "a\\u{1b}\n b");
    }

    #[test]
    fn all_texts_of_a_value_are_in_one_line() {
        let told = json!({"a": ["b\nc", 1, null], "d": {"e": "\x1b", "f": true}});
        let legible = json!({"a": ["b\\nc", 1, null], "d": {"e": "\\u{1b}", "f": true}});
        assert_eq!(legible_value(told), legible);
    }
}
