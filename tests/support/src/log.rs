//! What the built program says when a connection ends.

use std::collections::BTreeMap;

/// The line that is logged when a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnEnd(BTreeMap<String, String>);

// === impl ConnEnd ===

impl ConnEnd {
    /// Reads it, if it is one.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        Some(Self(fields(line.split_once(" conn end ")?.1)))
    }

    /// The value of one of its fields, such as `daemon` or `end`.
    ///
    /// # Panics
    /// When it has no such field.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// Why the connection ended as it did; empty for a normal end.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.0.get("reason").map_or("", String::as_str)
    }
}

/// The fields in a line, `a=b c="d e"`, where quotes are escaped as in Rust.
pub(crate) fn fields(mut text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some((before, rest)) = text.split_once('=') {
        let name = before.rsplit(' ').next().unwrap_or(before);
        let (value, rest) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
            Some(quoted) => {
                let (mut value, mut escaped, mut end) = (String::new(), false, quoted.len());
                for (at, c) in quoted.char_indices() {
                    match c {
                        '\\' if !escaped => escaped = true,
                        '"' if !escaped => {
                            end = at + 1;
                            break;
                        }
                        c => {
                            escaped = false;
                            value.push(c);
                        }
                    }
                }
                (value, &quoted[end..])
            }
        };
        fields.insert(name.to_owned(), value);
        text = rest;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line = "2026-01-01T00:00:00Z  INFO conn end service=echo client=127.0.0.1:4711 \
                    daemon=- end=DL uses=- reason=\"it says \\\"no\\\": a=b\"";
        let end = ConnEnd::parse(line).unwrap();
        assert_eq!((end.field("client"), end.field("end")), ("127.0.0.1:4711", "DL"));
        assert_eq!(end.reason(), "it says \"no\": a=b");
        assert_eq!(ConnEnd::parse("  INFO listening service=echo"), None);
    }
}
