//! Builds the tree of a RON file: brackets, fields, entries and elements, each
//! with its place. `ron` itself stops at the first error; this goes on.

mod attributes;
mod parser;
mod recover;

use super::report::Span;

pub(super) use parser::parse;

/// A value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) shape: Shape,
    /// Nothing of it was lost to a syntax error.
    pub(super) whole: bool,
}

/// The syntax of a value. The decoder gives it its meaning.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// A number or text in quotes.
    Atom,
    /// A bare word: a variant, `true`, `false`.
    Name,
    /// `( … )`, with the word before it: a struct or a variant with its value.
    Struct { name: Option<Span>, open: Span, items: Vec<Item> },
    /// `[ … ]`.
    List(Vec<Node>),
    /// `{ … }`.
    Map(Vec<(Node, Node)>),
    /// Already reported.
    Bad,
}

/// An item in `( … )`.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: Option<FieldName>,
    pub(super) value: Node,
}

/// The name of a field.
#[derive(Debug, Clone)]
pub(super) struct FieldName {
    pub(super) span: Span,
    pub(super) quoted: bool,
}

// === impl Item ===

impl Item {
    /// Whether it is the field of this name.
    pub(super) fn is_named(&self, name: &str, text: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.name(text) == name)
    }
}

// === impl FieldName ===

impl FieldName {
    /// The name itself, however it is written.
    pub(super) fn name<'t>(&self, text: &'t str) -> &'t str {
        text[self.span.clone()].trim_matches('"').trim_start_matches("r#")
    }
}

// === impl Node ===

impl Node {
    /// Nothing is written in its brackets.
    pub(super) fn is_empty(&self) -> bool {
        self.whole
            && match &self.shape {
                Shape::Struct { items, .. } => items.is_empty(),
                Shape::List(elements) => elements.is_empty(),
                Shape::Map(entries) => entries.is_empty(),
                _ => false,
            }
    }

    /// The value in `Some( )`, or the node itself.
    pub(super) fn unwrapped(&self, text: &str) -> &Self {
        match &self.shape {
            Shape::Struct { name: Some(name), items, .. } if &text[name.clone()] == "Some" => {
                match items.as_slice() {
                    [Item { key: None, value }] => value,
                    _ => self,
                }
            }
            _ => self,
        }
    }

    /// The shape of the value in `Some( )`, or of the node itself.
    pub(super) fn shape_mut(&mut self, text: &str) -> &mut Shape {
        let wrapped = !std::ptr::eq(&*self, self.unwrapped(text));
        let shape = &mut self.shape;
        if !wrapped {
            return shape;
        }
        match shape {
            Shape::Struct { items, .. } => &mut items[0].value.shape,
            other => other,
        }
    }

    fn bad(span: Span) -> Self {
        Self { span, shape: Shape::Bad, whole: false }
    }
}
