//! The effective configuration: each key with its value and place. Those who may ask a running
//! Ganger, and may not read its files, are shown it; so a value is in it only where [`Tell`] says
//! that it holds no secret.

mod lines;
mod text;

use std::borrow::Cow;

use super::keys::{Row, Tell, Without};
use super::source_text::SourceText;
use super::tree::{Item, Node, Shape};
use super::{Config, Daemons};
use lines::LineStarts;
use text::{Saying, ToldValue};

/// Placeholder for hidden values.
pub(super) const HIDDEN: &str = "<hidden>";

/// Every key of a configuration, with the value that holds. No secret is in it.
#[derive(Debug, Clone, Default)]
pub struct Effective {
    /// The files, as messages call them: the one that was named, then those that it includes.
    pub files: Vec<String>,
    /// The keys at the top, without daemons that are listed, and services.
    pub keys: Vec<EffectiveKey>,
    /// The daemons that are listed.
    pub daemons: Vec<EffectivePart>,
    /// The services.
    pub services: Vec<EffectivePart>,
}

/// The keys of a service or a daemon.
#[derive(Debug, Clone)]
pub struct EffectivePart {
    /// Its name.
    pub name: Box<str>,
    /// In the order of their table.
    pub keys: Vec<EffectiveKey>,
}

/// A key, and what holds.
#[derive(Debug, Clone)]
pub struct EffectiveKey {
    /// Its full name: `limits.memory`, `mounts[0].source`, `env["NAME"]`.
    pub key: Cow<'static, str>,
    /// Its value.
    pub value: EffectiveValue,
    /// A part of the value is left out, or all of it.
    pub is_redacted: bool,
    /// The variables of the environment that were filled in.
    pub variables: Box<[String]>,
    /// Where it is written; `None` where it is not.
    pub place: Option<FilePlace>,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectiveValue {
    /// The default, as a file would have it.
    Default(&'static str),
    /// Set, as the file has it.
    Written(Box<str>),
    /// No value; the text says what that means.
    Nothing(&'static str),
}

/// A place in one of the files. Small, for there is one for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePlace {
    /// Which of the files.
    pub file: u32,
    /// The line in it, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
}

/// Goes through the tree of a file that was read.
struct Walk<'t> {
    sources: &'t SourceText,
    lines: LineStarts<'t>,
    keys: Vec<EffectiveKey>,
}

// === impl Effective ===

impl Effective {
    /// Takes values from the tree of a file that was read as this configuration, and the rest from
    /// `rows`, the keys at the top.
    pub(super) fn of(file: &Node, sources: &SourceText, config: &Config, rows: &[Row]) -> Self {
        let files = sources.files().iter().map(|file| file.origin.clone()).collect();
        let mut walk = Walk { sources, lines: LineStarts::of(sources), keys: Vec::new() };
        let (mut daemons, mut services) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            let node = walk.value(row, at, items(file));
            match (row.name, node) {
                ("services", Some(node)) => {
                    let names = config.services.iter().map(|service| service.name.as_str());
                    services = walk.parts(names, walk.entries(node), row.within);
                }
                ("daemons", Some(node)) => match (&config.daemons, walk.payload(node)) {
                    (Daemons::Static(listed), Some(list)) => {
                        walk.push(row.name.into(), ToldValue::told("Static"), Some(node));
                        let names = listed.iter().map(|daemon| daemon.name.as_str());
                        daemons = walk.parts(names, walk.entries(list), row.within);
                    }
                    _ => walk.key(row, row.name.into(), Some(node)),
                },
                ("defaults", Some(node)) => walk.defaults(row, node),
                (name, node) => walk.key(row, name.into(), node),
            }
        }
        Self { files, keys: walk.keys, daemons, services }
    }
}

/// Always equal: the configuration made of the file is compared.
impl PartialEq for Effective {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

// === impl Walk ===

impl<'t> Walk<'t> {
    fn saying(&self) -> Saying<'t> {
        Saying { sources: self.sources }
    }

    /// The value that the row at this place of its table has among these.
    fn value<'n>(&self, row: &Row, at: usize, items: &'n [Item]) -> Option<&'n Node> {
        let named = items.iter().find(|item| item.is_named(row.name, self.sources.text()));
        // The first may stand without their names, in the order of their table.
        let unnamed = || items.get(at).filter(|item| item.key.is_none());
        let value = &named.or_else(unnamed)?.value;
        Some(value.unwrapped(self.sources.text()))
    }

    /// The values of a map, or the elements of a list.
    fn entries<'n>(&self, node: &'n Node) -> Vec<&'n Node> {
        let nodes = match &node.shape {
            Shape::List(elements) => elements.iter().collect(),
            Shape::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        };
        nodes.into_iter().map(|node: &Node| node.unwrapped(self.sources.text())).collect()
    }

    /// The one value in the brackets of a word.
    fn payload<'n>(&self, node: &'n Node) -> Option<&'n Node> {
        match items(node) {
            [Item { key: None, value }] => Some(value.unwrapped(self.sources.text())),
            _ => None,
        }
    }

    /// The keys of services or daemons, in the order of the file.
    fn parts<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        nodes: Vec<&Node>,
        rows: &[Row],
    ) -> Vec<EffectivePart> {
        let outside = std::mem::take(&mut self.keys);
        let part = |(name, node): (&str, &Node)| {
            for (at, row) in rows.iter().enumerate() {
                let node = self.value(row, at, items(node));
                self.key(row, row.name.into(), node);
            }
            let mut keys = std::mem::take(&mut self.keys);
            keys.shrink_to_fit();
            EffectivePart { name: name.into(), keys }
        };
        let parts = names.zip(nodes).map(part).collect();
        self.keys = outside;
        parts
    }

    /// Names of the settings in `defaults`; each service shows their values.
    fn defaults(&mut self, row: &Row, node: &Node) {
        let names = items(node).iter().filter_map(|item| item.key.as_ref());
        let names: Vec<_> = names.map(|key| key.name(self.sources.text())).collect();
        let said = ToldValue::told(format!("({})", names.join(", ")));
        self.push(row.name.into(), said, Some(node));
    }

    /// A key, and those in it.
    fn key(&mut self, row: &Row, path: Cow<'static, str>, node: Option<&Node>) {
        match node {
            Some(node) if !self.is_left_out(row, node) => match row.tell {
                Tell::Keys(groups) => self.group(groups, path, node),
                Tell::Each(rows) => self.each(rows, path, node),
                tell => self.plain(tell, path, node),
            },
            node => self.left_out(row, path, node),
        }
    }

    /// Whether a file sets a key to no value.
    fn is_left_out(&self, row: &Row, node: &Node) -> bool {
        let is_none = matches!(node.shape, Shape::Name) && self.source(node) == "None";
        is_none && !row.takes_none
    }

    fn source(&self, node: &Node) -> &'t str {
        self.saying().source(&node.span)
    }

    /// A key without a value, or set to none.
    fn left_out(&mut self, row: &Row, path: Cow<'static, str>, node: Option<&Node>) {
        let default = match row.without {
            // A short form covers it.
            Without::Refused => return,
            Without::Nothing(words) => {
                return self.push(path, ToldValue::of(EffectiveValue::Nothing(words)), node);
            }
            Without::Default(default) => default,
        };
        let word = if default == "()" { "" } else { default };
        let group = match row.tell {
            Tell::Keys(groups) => groups.iter().find(|(known, _)| *known == word),
            _ => None,
        };
        if group.is_none() || !word.is_empty() {
            self.push(path.clone(), ToldValue::of(EffectiveValue::Default(default)), node);
        }
        if let Some((_, rows)) = group {
            self.children(rows, &path, &[]);
        }
    }

    /// The keys in a bracket, and the word before it.
    fn group(
        &mut self,
        groups: &[(&'static str, &'static [Row])],
        path: Cow<'static, str>,
        node: &Node,
    ) {
        let word = match &node.shape {
            Shape::Struct { name: Some(name), .. } => self.saying().source(name),
            Shape::Struct { name: None, .. } => "",
            Shape::Name => self.source(node),
            // In place of a bracket there may be a number.
            _ => return self.plain(Tell::Nothing, path, node),
        };
        let known = groups.iter().find(|(known, _)| *known == word);
        match known {
            Some((_, rows)) => {
                if !word.is_empty() {
                    self.push(path.clone(), ToldValue::told(word), Some(node));
                }
                self.children(rows, &path, items(node));
            }
            None if items(node).is_empty() => self.push(path, ToldValue::told(word), Some(node)),
            None => {
                let variables = self.saying().variables(node);
                let said = ToldValue::told(format!("{word}({HIDDEN})")).redacted(variables);
                self.push(path, said, Some(node));
            }
        }
    }

    fn children(&mut self, rows: &[Row], path: &str, items: &[Item]) {
        for (at, row) in rows.iter().enumerate() {
            let node = self.value(row, at, items);
            self.key(row, format!("{path}.{}", row.name).into(), node);
        }
    }

    /// The keys of each element of a list or a map.
    fn each(&mut self, rows: &[Row], path: Cow<'static, str>, node: &Node) {
        let elements = self.entries(node);
        if elements.is_empty() {
            return self.plain(Tell::Whole, path, node);
        }
        for (at, element) in elements.into_iter().enumerate() {
            let path = match &node.shape {
                Shape::Map(entries) => self.entry(&path, &entries[at].0),
                _ => format!("{path}[{at}]"),
            };
            if !matches!(element.shape, Shape::Struct { name: None, .. }) {
                // The short form of a struct.
                self.plain(Tell::Whole, path.clone().into(), element);
            }
            self.children(rows, &path, items(element));
        }
    }

    /// The name of a map's entry.
    fn entry(&self, path: &str, key: &Node) -> String {
        format!("{path}[{}]", self.saying().text(key, Tell::Whole).text)
    }

    /// A value, or the values of a map, without keys of their own.
    fn plain(&mut self, tell: Tell, path: Cow<'static, str>, node: &Node) {
        match &node.shape {
            Shape::Map(entries) if !entries.is_empty() && !matches!(tell, Tell::Nothing) => {
                for (key, value) in entries {
                    let path = self.entry(&path, key);
                    let said = self.saying().text(value, tell).said();
                    self.push(path.into(), said, Some(value));
                }
            }
            _ => {
                let said = self.saying().text(node, tell).said();
                self.push(path, said, Some(node));
            }
        }
    }

    fn push(&mut self, key: Cow<'static, str>, said: ToldValue, node: Option<&Node>) {
        let ToldValue { value, is_redacted, variables } = said;
        let place = node.map(|node| self.lines.place(node.span.start));
        let variables = variables.into();
        self.keys.push(EffectiveKey { key, value, is_redacted, variables, place });
    }
}

/// The items in the bracket of a node.
fn items(node: &Node) -> &[Item] {
    match &node.shape {
        Shape::Struct { items, .. } => items,
        _ => &[],
    }
}
