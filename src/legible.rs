//! Texts of others, to be shown: names, values, and what containers print may hold anything.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_nothing_else() {
        let said = legible("\x1b[2J\u{9b}\u{202e}a\tb  \"é\" '\\d'\n");
        assert_eq!(said, "\\u{1b}[2J\\u{9b}\\u{202e}a b  \"é\" '\\d'\\n");
    }
}
