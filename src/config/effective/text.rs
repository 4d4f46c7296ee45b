//! Values as they may be shown: text with a variable of the environment, and all that [`Tell`] does
//! not open, is left out.

use ron::from_str;

use super::{EffectiveValue, HIDDEN};
use crate::config::keys::Tell;
use crate::config::source_text::{SourceText, Span};
use crate::config::tree::{Item, Node, Shape};
use crate::config::variables::{expand, names};

/// Says values of a text.
#[derive(Clone, Copy)]
pub(super) struct Saying<'t> {
    pub(super) sources: &'t SourceText,
}

/// A value as it may be shown.
pub(super) struct ToldValue {
    pub(super) value: EffectiveValue,
    pub(super) is_redacted: bool,
    pub(super) variables: Vec<String>,
}

/// The same, as text in the making.
pub(super) struct ToldText {
    pub(super) text: String,
    is_redacted: bool,
    variables: Vec<String>,
}

// === impl ToldValue ===

impl ToldValue {
    pub(super) fn of(value: EffectiveValue) -> Self {
        Self { value, is_redacted: false, variables: Vec::new() }
    }

    pub(super) fn told(text: impl Into<Box<str>>) -> Self {
        Self::of(EffectiveValue::Written(text.into()))
    }

    /// Without all of it, into which these variables were filled.
    pub(super) fn redacted(self, variables: Vec<String>) -> Self {
        Self { is_redacted: true, variables, ..self }
    }
}

// === impl ToldText ===

impl ToldText {
    fn told(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_redacted: false, variables: Vec::new() }
    }

    fn hidden(variables: Vec<String>) -> Self {
        Self { text: HIDDEN.to_owned(), is_redacted: true, variables }
    }

    pub(super) fn said(self) -> ToldValue {
        let Self { text, is_redacted, variables } = self;
        ToldValue { is_redacted, variables, ..ToldValue::told(text) }
    }

    fn push(&mut self, before: &str, part: Self) {
        self.text.push_str(before);
        self.text.push_str(&part.text);
        self.is_redacted |= part.is_redacted;
        self.variables.extend(part.variables);
    }
}

// === impl Saying ===

impl<'t> Saying<'t> {
    pub(super) fn source(self, span: &Span) -> &'t str {
        &self.sources.text()[span.clone()]
    }

    /// A value, as far as it may be told.
    pub(super) fn text(self, node: &Node, tell: Tell) -> ToldText {
        let node = node.unwrapped(self.sources.text());
        match (&node.shape, tell) {
            (Shape::Atom, _) => self.atom(&node.span, tell),
            _ if node.is_empty() => ToldText::told(self.brackets(node).concat()),
            (Shape::Bad, _) | (_, Tell::Nothing | Tell::Names | Tell::Keys(_) | Tell::Each(_)) => {
                ToldText::hidden(self.variables(node))
            }
            (Shape::Name, _) => ToldText::told(self.source(&node.span)),
            _ => self.nested(node, tell),
        }
    }

    /// The brackets of a value, with the word before the first.
    fn brackets(self, node: &Node) -> [&'t str; 3] {
        match &node.shape {
            Shape::Struct { name, .. } => {
                [name.as_ref().map_or("", |name| self.source(name)), "(", ")"]
            }
            Shape::List(_) => ["", "[", "]"],
            Shape::Map(_) => ["", "{", "}"],
            _ => [""; 3],
        }
    }

    fn nested(self, node: &Node, tell: Tell) -> ToldText {
        let [word, open, close] = self.brackets(node);
        let mut all = ToldText::told(format!("{word}{open}"));
        for (at, (before, part)) in self.parts(node).into_iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            all.push(&format!("{comma}{before}"), self.text(part, tell));
        }
        all.text.push_str(close);
        all
    }

    /// The parts in the brackets of a value, each with its field name or map key.
    fn parts<'n>(self, node: &'n Node) -> Vec<(String, &'n Node)> {
        let field = |item: &'n Item| {
            let name = item.key.as_ref().map(|key| key.name(self.sources.text()));
            (name.map_or_else(String::new, |name| format!("{name}: ")), &item.value)
        };
        match &node.shape {
            Shape::Struct { items, .. } => items.iter().map(field).collect(),
            Shape::List(elements) => elements.iter().map(|node| (String::new(), node)).collect(),
            Shape::Map(entries) => {
                let key = |key: &Node| self.text(key, Tell::Whole).text;
                entries.iter().map(|(name, node)| (format!("{}: ", key(name)), node)).collect()
            }
            Shape::Atom | Shape::Name | Shape::Bad => Vec::new(),
        }
    }

    /// A number or a text.
    fn atom(self, span: &Span, tell: Tell) -> ToldText {
        let source = self.source(span);
        let variables = filled_in(source);
        // Numbers are no secrets, whatever they stand for; all else is in quotes.
        let is_number = !source.contains(['"', '\'']);
        match tell {
            Tell::Nothing if is_number => ToldText::told(source),
            Tell::Nothing | Tell::Names | Tell::Keys(_) | Tell::Each(_) => {
                ToldText::hidden(variables)
            }
            _ if !variables.is_empty() => {
                let text = format!("<from {}>", variables.join(", "));
                ToldText { text, is_redacted: true, variables }
            }
            Tell::Whole => ToldText::told(source),
            Tell::Path => text(source).map_or_else(
                || ToldText::hidden(Vec::new()),
                |path| {
                    let path = self.sources.file_at(span).dir.join(path);
                    ToldText::told(format!("{path:?}"))
                },
            ),
            Tell::Url => {
                let url = text(source).map(|url| without_credentials(&url));
                let (url, is_redacted) = url.unwrap_or_else(|| (HIDDEN.to_owned(), true));
                ToldText { text: format!("{url:?}"), is_redacted, variables }
            }
        }
    }

    /// The variables that were filled into a value.
    pub(super) fn variables(self, node: &Node) -> Vec<String> {
        match &node.shape {
            Shape::Atom => filled_in(self.source(&node.span)),
            _ => {
                let parts = self.parts(node).into_iter();
                parts.flat_map(|(_, part)| self.variables(part)).collect()
            }
        }
    }
}

/// The variables that are filled into what stands in a file.
fn filled_in(source: &str) -> Vec<String> {
    if !source.contains("${") {
        return Vec::new();
    }
    from_str::<String>(source).map_or_else(|_| Vec::new(), |text| names(&text))
}

/// A text without variables, as it is read.
fn text(source: &str) -> Option<String> {
    expand(&from_str::<String>(source).ok()?, |_| None).ok()
}

/// A url without user, password and query; whether anything was left out.
fn without_credentials(url: &str) -> (String, bool) {
    let (place, query) = match url.split_once(['?', '#']) {
        Some((place, _)) => (place, format!("?{HIDDEN}")),
        None => (url, String::new()),
    };
    let scheme = place.find("://").map_or(0, |at| at + 3);
    // A password may hold a slash.
    let (user, host) = match place[scheme..].rsplit_once('@') {
        Some((_, host)) => (format!("{HIDDEN}@"), host),
        None => (String::new(), &place[scheme..]),
    };
    let is_redacted = !user.is_empty() || !query.is_empty();
    (format!("{}{user}{host}{query}", &place[..scheme]), is_redacted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_neither_user_nor_query_is_told() {
        for (url, told) in [
            ("tcp://192.0.2.7:2375", "tcp://192.0.2.7:2375"),
            ("https://user:hunter2@host:1/x", "https://<hidden>@host:1/x"),
            ("https://user:hunt/er@2@host", "https://<hidden>@host"),
            ("https://host/x?token=hunter2", "https://host/x?<hidden>"),
            ("https://u@host/#hunter2@x?y", "https://<hidden>@host/?<hidden>"),
            ("hunter2@host", "<hidden>@host"),
        ] {
            assert_eq!(without_credentials(url), (told.to_owned(), told != url));
        }
    }
}
