//! The fields of a struct: asked for by name, with the rest reported.

use indexmap::IndexMap;

use super::{Cx, Decode, Values, default_of, listed, similar};
use crate::config::compose::pointer;
use crate::config::keys::Key;
use crate::config::report::{Mistake, Span};
use crate::config::tree::{Item, Node, Shape};

/// The fields of one struct, see [`Cx::fields`].
pub(in crate::config) struct Fields<'c, 't, 'n> {
    pub(in crate::config) cx: &'c mut Cx<'t>,
    given: IndexMap<&'t str, &'n Item>,
    /// The keys that were asked for, each with its place in its table.
    known: Vec<(usize, &'static str)>,
    /// Required, and not given: name and what it takes.
    missing: Vec<(&'static str, &'static str)>,
    /// Given, and not read: that is reported.
    unread: Vec<&'static str>,
    values: Values,
}

/// The most settings named in a line.
const FEW: usize = 8;

// === impl Cx ===

impl<'t> Cx<'t> {
    /// Reads a struct: `read` asks for its fields; then unknown and missing
    /// fields are reported. `of` names the struct in messages.
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
        // Mistakes from reading nothing do not count.
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
        let (given, known, missing, unread, values) = Default::default();
        Self { cx, given, known, missing, unread, values }
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
        let name = key.name(self.cx.sources.text());
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

    /// The value of a key as it stands in the file.
    fn node<T>(&mut self, key: Key<T>) -> Option<&'n Node> {
        self.known.push((key.row.at, key.row.name));
        self.given.get(key.row.name).map(|item| &item.value)
    }

    /// Whether a key is there with a value, be it one that cannot be read.
    pub(in crate::config) fn given<T: Decode>(&self, key: Key<T>) -> bool {
        self.given.get(key.row.name).is_some_and(|item| !self.cx.is_left_out::<T>(&item.value))
    }

    /// Whether a key is there and its value could not be read.
    pub(in crate::config) fn unread<T>(&self, key: Key<T>) -> bool {
        self.unread.contains(&key.row.name)
    }

    /// The place of a key's value that was read from the file.
    pub(in crate::config) fn place<T: Decode>(&self, key: Key<T>) -> Option<Span> {
        let node = &self.given.get(key.row.name)?.value;
        let is_value = !self.unread(key) && !self.cx.is_left_out::<T>(node);
        is_value.then(|| node.unwrapped(self.cx.sources.text()).span.clone())
    }

    /// A key that may be left out, or be `None`.
    pub(in crate::config) fn optional<T: Decode>(&mut self, key: Key<T>) -> Option<T> {
        let value = self.value(key);
        self.kept(key, value)
    }

    /// A key with a default, which also stands in for an unreadable value.
    pub(in crate::config) fn or<T: Decode>(&mut self, key: Key<T>) -> T {
        let value = self.value(key).unwrap_or_else(|| default_of(key.row.default_text()));
        self.kept(key, value)
    }

    /// A key that has to be there.
    pub(in crate::config) fn required<T: Decode>(&mut self, key: Key<T>) -> Option<T> {
        let Some(node) = self.node(key) else {
            self.missing.push((key.row.name, key.row.what));
            return None;
        };
        let value = self.read(key, node);
        self.kept(key, value)
    }

    /// The value of a key, if it has one.
    fn value<T: Decode>(&mut self, key: Key<T>) -> Option<T> {
        let node = self.node(key).filter(|node| !self.cx.is_left_out::<T>(node))?;
        self.read(key, node)
    }

    fn kept<T, V>(&mut self, key: Key<T>, value: V) -> V
    where
        V: PartialEq + Clone + Send + Sync + 'static,
    {
        self.values.keep(key, value.clone());
        value
    }

    fn read<T: Decode>(&mut self, key: Key<T>, node: &Node) -> Option<T> {
        let value = self.cx.decode(node);
        if value.is_none() {
            self.unread.push(key.row.name);
        }
        value
    }

    /// Keeps a key's effect in place of its value, where different values may have the same effect.
    pub(in crate::config) fn comes_to<T>(
        &mut self,
        key: Key<T>,
        value: impl PartialEq + Send + Sync + 'static,
    ) {
        self.values.keep(key, value);
    }

    /// The values of the keys that were asked for so far.
    pub(in crate::config) fn values(&self) -> Values {
        self.values.clone()
    }

    /// Names that are known here, whose values are read elsewhere.
    pub(in crate::config) fn names(&mut self, names: &[&'static str]) {
        self.known.extend(names.iter().enumerate().map(|(at, name)| (at, *name)));
    }

    /// The keys that can be set, in the order of the table.
    fn shown(&self) -> Vec<&'static str> {
        let mut known = self.known.clone();
        known.sort_unstable();
        known.into_iter().map(|(_, name)| name).collect()
    }

    fn finish(mut self, open: &Span, of: &str, whole: bool) {
        let shown = self.shown();
        let known: Vec<_> = self.known.iter().map(|(_, name)| *name).collect();
        for (name, item) in &self.given {
            if known.contains(name) {
                continue;
            }
            let Some(key) = &item.key else { continue };
            let mistake = Mistake::new(&key.span, format!("unknown setting `{name}` of {of}"));
            // The keys of a service, which has an image, may be named as in Compose.
            let pointer = pointer(name).filter(|_| known.contains(&"image"));
            self.cx.report(match (pointer, similar(name, &known)) {
                (Some(pointer), _) => mistake.help(pointer),
                (None, Some(meant)) => {
                    // A typo is one mistake: the meant key is not missing.
                    self.missing.retain(|(missing, _)| *missing != meant);
                    mistake.help(format!("did you mean `{meant}`?"))
                }
                (None, None) => mistake.help(format!("it has {}", listed(&shown, "and"))),
            });
        }
        // Missing keys may have been in the part that could not be read.
        if !self.missing.is_empty() && whole {
            let names: Vec<_> = self.missing.iter().map(|(name, _)| *name).collect();
            let help: Vec<_> =
                self.missing.iter().map(|(name, what)| format!("`{name}`: {what}")).collect();
            let title = format!("{of} lacks {}", listed(&names, "and"));
            self.cx.report(Mistake::new(open, title).help(format!("add {}", help.join("; "))));
        }
    }
}
