//! The fields of a struct: asked for by name, with the rest reported.

use indexmap::IndexMap;

use super::{Cx, Decode, listed, similar};
use crate::config::report::{Mistake, Span};
use crate::config::tree::{Item, Node, Shape};

/// The fields of one struct, see [`Cx::fields`].
pub(in crate::config) struct Fields<'c, 't, 'n> {
    pub(in crate::config) cx: &'c mut Cx<'t>,
    given: IndexMap<&'t str, &'n Item>,
    known: Vec<&'static str>,
    /// Of these, the ones that have no effect yet.
    later: Vec<&'static str>,
    /// Required, and not given: name and what it takes.
    missing: Vec<(&'static str, &'static str)>,
}

/// So many settings can be told in a line.
const FEW: usize = 8;

// === impl Cx ===

impl<'t> Cx<'t> {
    /// Reads a struct: `read` asks for its fields; then those nobody asked for
    /// and those that are missing are reported. `of` names the struct to people.
    pub(in crate::config) fn fields<'n, T>(
        &mut self,
        node: &'n Node,
        of: &str,
        read: impl FnOnce(&mut Fields<'_, 't, 'n>) -> T,
    ) -> Option<T> {
        let Shape::Struct { name, .. } = &node.shape else {
            return self.expected_fields(node, of, read);
        };
        if let Some(name) = name {
            let title = format!("{of} has no name before its bracket");
            let help = format!("leave out `{}`", self.source(name));
            self.report(Mistake::new(name, title).help(help));
        }
        self.variant_fields(node, of, read)
    }

    /// Reports that something is no struct, and says what could be in it.
    fn expected_fields<'n, T>(
        &mut self,
        node: &'n Node,
        of: &str,
        read: impl FnOnce(&mut Fields<'_, 't, 'n>) -> T,
    ) -> Option<T> {
        let before = self.mistakes.len();
        self.expected::<T>(node, &format!("{of} in `( )`"));
        let (after, warnings) = (self.mistakes.len(), self.warnings.len());
        let mut fields = Fields::new(self);
        read(&mut fields);
        let known = fields.shown();
        // What is found in nothing is nobody's mistake.
        self.mistakes.truncate(after);
        self.warnings.truncate(warnings);
        if after > before && known.len() <= FEW {
            let mistake = self.mistakes.pop()?;
            self.report(
                mistake
                    .help(format!("its settings go into the bracket: {}", listed(&known, "and"))),
            );
        }
        None
    }

    /// Reads the fields of a variant, which may be written without brackets
    /// when it has none, as [`Cx::fields`] reads those of a struct.
    pub(in crate::config) fn variant_fields<'n, T>(
        &mut self,
        node: &'n Node,
        of: &str,
        read: impl FnOnce(&mut Fields<'_, 't, 'n>) -> T,
    ) -> Option<T> {
        self.led_fields(node, of, &[], read)
    }

    /// The same, where the first values may stand without their names, in this order: as in
    /// `Log("ready", times: 2)`.
    pub(in crate::config) fn led_fields<'n, T>(
        &mut self,
        node: &'n Node,
        of: &str,
        unnamed: &[&'static str],
        read: impl FnOnce(&mut Fields<'_, 't, 'n>) -> T,
    ) -> Option<T> {
        let (items, open): (&[Item], &Span) = match &node.shape {
            Shape::Struct { items, open, .. } => (items, open),
            _ => (&[], &node.span),
        };
        let mut fields = Fields::new(self);
        let named = items.iter().position(|item| item.key.is_some()).unwrap_or(items.len());
        let led = named.min(unnamed.len());
        fields.given.extend(unnamed.iter().copied().zip(&items[..led]));
        for item in &items[led..] {
            fields.add(item, of, node.whole);
        }
        let value = read(&mut fields);
        fields.finish(open, of, node.whole);
        Some(value)
    }
}

// === impl Fields ===

impl<'c, 't> Fields<'c, 't, '_> {
    fn new(cx: &'c mut Cx<'t>) -> Self {
        let (known, later) = (Vec::new(), Vec::new());
        Self { cx, given: IndexMap::new(), known, later, missing: Vec::new() }
    }
}

impl<'t, 'n> Fields<'_, 't, 'n> {
    fn add(&mut self, item: &'n Item, of: &str, whole: bool) {
        let Some(key) = &item.key else {
            // In a file that was cut off the name may be all there is.
            if item.value.whole && whole {
                let title = format!("the name of a setting of {of} is missing before this");
                self.cx.report(Mistake::new(&item.value.span, title).help("write `name: value`"));
            }
            return;
        };
        let written = self.cx.source(&key.span);
        let name = written.trim_matches('"').trim_start_matches("r#");
        if key.quoted {
            let title = format!("names of settings are written without quotes: `{name}`");
            self.cx.report(Mistake::new(&key.span, title));
        }
        if let Some(Item { key: first, value }) = self.given.get(name) {
            let first = first.as_ref().map_or(&value.span, |first| &first.span);
            self.cx.repeated(&key.span, first);
            return;
        }
        self.given.insert(name, item);
    }

    /// The value of a field as it stands in the file.
    pub(in crate::config) fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        self.given.get(name).map(|item| &item.value)
    }

    /// Whether a field is there at all.
    pub(in crate::config) fn given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// A field that may be left out, or be `None`.
    pub(in crate::config) fn optional<T: Decode>(&mut self, name: &'static str) -> Option<T> {
        let node = self.node(name)?;
        if matches!(node.shape, Shape::Name) && self.cx.source(&node.span) == "None" {
            return None;
        }
        self.cx.decode(node)
    }

    /// A field that may be left out.
    pub(in crate::config) fn or<T: Decode>(&mut self, name: &'static str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    /// A field that has to be there.
    pub(in crate::config) fn required<T: Decode>(&mut self, name: &'static str) -> Option<T> {
        let Some(node) = self.node(name) else {
            self.missing.push((name, T::WHAT));
            return None;
        };
        self.cx.decode(node)
    }

    /// A field that has a name and no effect yet.
    pub(in crate::config) fn not_yet(&mut self, name: &'static str, help: &str) {
        self.later.push(name);
        self.known.push(name);
        if let Some(Item { key: Some(key), .. }) = self.given.get(name) {
            self.cx.not_yet(&key.span, &format!("`{name}`"), help);
        }
    }

    /// What can be set in this version.
    fn shown(&self) -> Vec<&'static str> {
        self.known.iter().copied().filter(|name| !self.later.contains(name)).collect()
    }

    fn finish(mut self, open: &Span, of: &str, whole: bool) {
        let shown = self.shown();
        for (name, item) in &self.given {
            if self.known.contains(name) {
                continue;
            }
            let Some(key) = &item.key else { continue };
            let mistake = Mistake::new(&key.span, format!("unknown setting `{name}` of {of}"));
            self.cx.report(match similar(name, &self.known) {
                Some(meant) => {
                    // One slip is one mistake: what was meant is not missing.
                    self.missing.retain(|(missing, _)| *missing != meant);
                    mistake.help(format!("did you mean `{meant}`?"))
                }
                None => mistake.help(format!("it has {}", listed(&shown, "and"))),
            });
        }
        // What is missing may have been in the part that could not be read.
        if !self.missing.is_empty() && whole {
            let names: Vec<_> = self.missing.iter().map(|(name, _)| *name).collect();
            let help: Vec<_> =
                self.missing.iter().map(|(name, what)| format!("`{name}`: {what}")).collect();
            let title = format!("{of} lacks {}", listed(&names, "and"));
            self.cx.report(Mistake::new(open, title).help(format!("add {}", help.join("; "))));
        }
    }
}
