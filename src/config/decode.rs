//! Turns the tree of a file into values, and collects their mistakes.

mod fields;
mod values;
mod words;

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use ron::error::Position;
use ron::extensions::Extensions;
use serde::de::DeserializeOwned;

pub(super) use fields::Fields;
pub(crate) use values::Values;
pub(crate) use words::similar;
use words::{listed, quoted};

use super::keys::{KeyKind, Tell};
use super::report::{Mistake, Span};
use super::source_text::SourceText;
use super::tree::{Item, Node, Shape, parse};
use super::variables::expand;

/// A value that can be read from a file.
pub(super) trait Decode: Clone + PartialEq + Send + Sync + 'static {
    /// A phrase with an example, to follow "expected".
    const WHAT: &'static str;
    /// Whether `None` is one of its values. Otherwise it is as if the key were left out.
    const TAKES_NONE: bool = false;
    /// How far it is shown to those who may not read the file.
    const TELL: Tell = Tell::Nothing;
    /// All that, for the tables of keys.
    const KIND: KeyKind =
        KeyKind { what: Self::WHAT, tell: Self::TELL, takes_none: Self::TAKES_NONE };

    /// Reads it. `None` when that is impossible and the reason is reported.
    /// Call [`Cx::decode`] instead, which accepts `Some(…)` too.
    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self>;
}

/// A value and its place. Equality ignores the place.
#[derive(Debug, Clone)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// An entry of a map: its key, if it makes sense, and its value, which is yet to be read.
pub(super) type MapEntry<'n, K> = (Option<Spanned<K>>, &'n Node);

/// A mistake in a scalar of the right type.
#[derive(Debug)]
pub(super) struct Flaw {
    title: String,
    help: Option<String>,
}

/// The files that are read, and the mistakes found so far.
#[derive(Debug)]
pub(super) struct Cx<'t> {
    pub(super) sources: &'t SourceText,
    pub(super) mistakes: Vec<Mistake>,
    /// Usable values that look wrong.
    pub(super) warnings: Vec<Mistake>,
}

// === impl Flaw ===

impl Flaw {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, ": {help}"))
    }
}

// === impl Cx ===

impl<'t> Cx<'t> {
    /// Mistakes in `defaults` are found by each service, and reported once.
    pub(super) fn report(&mut self, mistake: Mistake) {
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    pub(super) fn source(&self, span: &Span) -> &'t str {
        &self.sources.text()[span.clone()]
    }

    /// A path in a file, from that file's directory on.
    pub(super) fn path(&self, name: &str, place: &Span) -> PathBuf {
        self.sources.file_at(place).dir.join(name)
    }

    /// Reads a value, out of `Some( )` if it is wrapped.
    pub(super) fn decode<T: Decode>(&mut self, node: &Node) -> Option<T> {
        T::decode(node.unwrapped(self.sources.text()), self)
    }

    /// Reads a value, which may be `None` like one that is left out.
    pub(super) fn optional<T: Decode>(&mut self, node: &Node) -> Option<T> {
        if self.is_left_out::<T>(node) { None } else { self.decode(node) }
    }

    /// Whether this is how a file says that a key has no value.
    fn is_left_out<T: Decode>(&self, node: &Node) -> bool {
        let is_none = matches!(node.shape, Shape::Name) && self.source(&node.span) == "None";
        !T::TAKES_NONE && is_none
    }

    /// Reports a value of the wrong type.
    pub(super) fn expected<T>(&mut self, node: &Node, what: &str) -> Option<T> {
        let text = self.source(&node.span);
        // Free text may be a secret, and titles have more readers than the file.
        let may_be_secret = what == String::WHAT;
        let found = match &node.shape {
            Shape::Bad => return None,
            Shape::Atom if text.contains('"') => "text".to_owned(),
            Shape::Atom if may_be_secret => "a number".to_owned(),
            Shape::Name if may_be_secret => "a word".to_owned(),
            Shape::Struct { name: Some(_), .. } if may_be_secret => "a word and `( )`".to_owned(),
            Shape::Atom => format!("the number {text}"),
            Shape::Name => format!("the word `{text}`"),
            Shape::Struct { name: Some(name), .. } => format!("`{}( )`", self.source(name)),
            Shape::Struct { .. } => "a struct `( )`".to_owned(),
            Shape::List(_) => "a list `[ ]`".to_owned(),
            Shape::Map(_) => "a map `{ }`".to_owned(),
        };
        // Only the start of long values is underlined.
        let span = match &node.shape {
            Shape::Atom | Shape::Name => node.span.clone(),
            Shape::Struct { name: Some(name), .. } => name.clone(),
            _ => node.span.start..node.span.start + 1,
        };
        let mistake = Mistake::new(&span, format!("expected {what}, found {found}"));
        let unquoted =
            matches!(node.shape, Shape::Atom) && !text.contains('"') && what.contains('"');
        self.report(match unquoted {
            true => mistake.help("it is text: write it in quotes, as in the example"),
            false => mistake,
        });
        None
    }

    /// Reads a scalar with `ron`, then checks its value.
    pub(super) fn scalar<R: DeserializeOwned, T>(
        &mut self,
        node: &Node,
        what: &str,
        check: impl FnOnce(R) -> Result<T, Flaw>,
    ) -> Option<T> {
        if !matches!(node.shape, Shape::Atom | Shape::Name) {
            return self.expected(node, what);
        }
        let text = match self.expanded(&node.span) {
            Ok(text) => text,
            Err(flaw) => {
                self.report_flaw(node, flaw);
                return None;
            }
        };
        let text = &*text;
        let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
        let flaw = match options.from_str::<R>(text) {
            Ok(raw) => match check(raw) {
                Ok(value) => return Some(value),
                Err(flaw) => flaw,
            },
            Err(error) => match error.code {
                ron::Error::InvalidEscape(why) => {
                    let end = offset(text, error.span.end).max(1);
                    let start = text[..end].rfind('\\').unwrap_or(end - 1);
                    let span = node.span.start + start..node.span.start + end;
                    let title = format!("bad escape in text: {}", why.to_lowercase());
                    self.report(
                        Mistake::new(&span, title).help("a backslash itself is written `\\\\`"),
                    );
                    return None;
                }
                ron::Error::IntegerOutOfBounds => Flaw::new(format!("{text} is out of range")),
                _ => return self.expected(node, what),
            },
        };
        self.report_flaw(node, flaw);
        None
    }

    fn report_flaw(&mut self, node: &Node, flaw: Flaw) {
        let mut mistake = Mistake::new(&node.span, flaw.title);
        if let Some(help) = flaw.help {
            mistake = mistake.help(help);
        }
        self.report(mistake);
    }

    /// A value as it stands in the file; in text, the variables of the environment that it names
    /// are replaced.
    fn expanded(&self, span: &Span) -> Result<Cow<'t, str>, Flaw> {
        let text = self.source(span);
        // Non-text and malformed text are left to their decoder.
        let Some(named) = Some(text).filter(|text| text.contains("${")) else {
            return Ok(Cow::Borrowed(text));
        };
        let Ok(named) = ron::from_str::<String>(named) else { return Ok(Cow::Borrowed(text)) };
        let expanded = expand(&named, |name| env::var_os(name));
        let expanded = expanded.map_err(|flaw| Flaw::new(flaw.title).help(flaw.help))?;
        Ok(ron::to_string(&expanded).map_or(Cow::Borrowed(text), Cow::Owned))
    }

    /// The elements of a list.
    pub(super) fn list<T: Decode>(&mut self, node: &Node, what: &str) -> Option<Vec<Spanned<T>>> {
        let Shape::List(elements) = &node.shape else {
            return self.expected(node, what);
        };
        Some(elements.iter().filter_map(|element| self.decode(element)).collect())
    }

    /// The entries of a map whose keys are unique.
    pub(super) fn map<'n, K: Decode + Eq + Hash + Clone>(
        &mut self,
        node: &'n Node,
        what: &str,
    ) -> Option<Vec<MapEntry<'n, K>>> {
        let Shape::Map(entries) = &node.shape else {
            return self.expected(node, what);
        };
        let mut places: IndexMap<K, Span> = IndexMap::new();
        let mut read = Vec::new();
        for (key, value) in entries {
            let key = self.decode::<Spanned<K>>(key);
            if let Some(key) = &key {
                if let Some(first) = places.get(&key.value) {
                    self.repeated(&key.span, first);
                } else {
                    places.insert(key.value.clone(), key.span.clone());
                }
            }
            read.push((key, value));
        }
        Some(read)
    }

    /// The entries of a map whose keys are unique, without those that cannot be read.
    pub(super) fn pairs<K: Decode + Eq + Hash, V: Decode>(
        &mut self,
        node: &Node,
        what: &str,
    ) -> Option<Vec<(K, V)>> {
        let entries = self.map::<K>(node, what)?;
        let read = |(key, value): MapEntry<'_, K>| {
            let value = self.decode(value);
            Some((key?.value, value?))
        };
        Some(entries.into_iter().filter_map(read).collect())
    }

    /// Reports something that may be there once only.
    pub(super) fn repeated(&mut self, second: &Span, first: &Span) {
        let title = format!(
            "{} is there already, in {}",
            quoted(self.source(second)),
            self.sources.line(first, second)
        );
        self.report(Mistake::new(second, title).also(first, "the first"));
    }

    /// Which variant a value is. Its payload is yet to be read, with
    /// [`Cx::payload`] or [`Cx::fields`].
    pub(super) fn variant(&mut self, node: &Node, known: &[&'static str]) -> Option<&'static str> {
        let what = listed(known, "or");
        let span = match &node.shape {
            Shape::Name => &node.span,
            Shape::Struct { name: Some(name), .. } => name,
            Shape::Atom => {
                let bare = self.source(&node.span).trim_matches('"');
                if let Some(name) = known.iter().find(|name| name.eq_ignore_ascii_case(bare)) {
                    let title = format!("expected {what}, found text");
                    let help = format!("write it without quotes: `{name}`");
                    self.report(Mistake::new(&node.span, title).help(help));
                    return None;
                }
                return self.expected(node, &what);
            }
            _ => return self.expected(node, &what),
        };
        let found = self.source(span);
        let name = known.iter().find(|name| **name == found);
        if name.is_none() {
            let mistake = Mistake::new(span, format!("unknown variant `{found}`: expected {what}"));
            self.report(match similar(found, known) {
                Some(name) => mistake.help(format!("did you mean `{name}`?")),
                None => mistake,
            });
        }
        name.copied()
    }

    /// Which of several values without payload it is.
    pub(super) fn choice<T: Clone>(
        &mut self,
        node: &Node,
        known: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let name = self.variant(node, &names)?;
        if let Shape::Struct { .. } = node.shape {
            let title = format!("`{name}` takes nothing in brackets");
            self.report(Mistake::new(&node.span, title));
        }
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    /// The one value in a variant's brackets, as in `Banner("SSH-")`.
    pub(super) fn payload<T: Decode>(&mut self, node: &Node) -> Option<T> {
        if let Shape::Struct { items, .. } = &node.shape
            && let [Item { key: None, value }] = items.as_slice()
        {
            return self.decode(value);
        }
        if node.whole {
            let name = self.source(&node.span).split('(').next().unwrap_or_default();
            let title = format!("`{name}` takes one value in brackets, {}", T::WHAT);
            self.report(Mistake::new(&node.span, title));
        }
        None
    }
}

// === impl Spanned ===

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Decode> Decode for Spanned<T> {
    const WHAT: &'static str = T::WHAT;
    const TELL: Tell = T::TELL;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        Some(Self { value: T::decode(node, cx)?, span: node.span.clone() })
    }
}

/// Reads a default of the table of keys.
#[expect(clippy::expect_used, reason = "a test reads all that there are")]
pub(super) fn default_of<T: Decode>(text: &str) -> T {
    // A file is a struct; this is one with a single value.
    let sources = SourceText::new("", Path::new(""), &format!("({text})"));
    let mut cx = Cx { sources: &sources, mistakes: Vec::new(), warnings: Vec::new() };
    let node = parse(sources.text(), 0, &mut cx.mistakes);
    let value = match node.as_ref().map(|node| &node.shape) {
        Some(Shape::Struct { items, .. }) => items.first().and_then(|item| cx.decode(&item.value)),
        _ => None,
    };
    value.filter(|_| cx.mistakes.is_empty()).expect("a default that can be read")
}

/// Checks that a number is within bounds.
pub(super) fn within(value: i64, bounds: &RangeInclusive<i64>) -> Result<i64, Flaw> {
    if value < *bounds.start() {
        return Err(Flaw::new(format!("{value} is too small: at least {}", bounds.start())));
    }
    if value > *bounds.end() {
        return Err(Flaw::new(format!("{value} is too large: at most {}", bounds.end())));
    }
    Ok(value)
}

/// Where a position of `ron` is, in bytes. Its lines and columns count from 1.
fn offset(text: &str, position: Position) -> usize {
    let line: usize =
        text.split_inclusive('\n').take(position.line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[line.min(text.len())..];
    let column =
        rest.char_indices().nth(position.col.saturating_sub(1)).map_or(rest.len(), |(i, _)| i);
    line.min(text.len()) + column
}
