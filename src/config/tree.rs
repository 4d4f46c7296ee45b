//! Builds the tree of a RON file: brackets, fields, entries and elements, each
//! with its place. `ron` itself stops at the first error; this goes on.

use super::lex::{Bracket, Kind, Token, tokens};
use super::report::{Mistake, Span};

/// The deepest nesting of brackets that is read. The schema needs eight.
const DEPTH: usize = 32;

/// The extensions of RON. The values of a configuration read the same with
/// and without each.
const EXTENSIONS: [&str; 4] =
    ["implicit_some", "unwrap_newtypes", "unwrap_variant_newtypes", "explicit_struct_names"];

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) shape: Shape,
    /// Nothing of it was lost to a syntax error.
    pub(super) whole: bool,
}

/// What a value looks like. What it means is up to the decoder.
#[derive(Debug)]
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

/// What stands in `( … )`.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Option<Key>,
    pub(super) value: Node,
}

/// The name of a field.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) span: Span,
    pub(super) quoted: bool,
}

struct Parser<'t, 'm> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    /// The brackets that are open here.
    open: Vec<(Bracket, Span)>,
    /// The end of the file was met inside brackets and reported.
    ended: bool,
    /// Text without quotes, in the order of the file.
    bare: Vec<Span>,
    mistakes: &'m mut Vec<Mistake>,
}

/// The tree of a file. `None` when it is no configuration at all.
pub(super) fn parse(text: &str, mistakes: &mut Vec<Mistake>) -> Option<Node> {
    let tokens = tokens(text, mistakes);
    let found = mistakes.len();
    let mut parser =
        Parser { text, tokens, at: 0, open: Vec::new(), ended: false, bare: Vec::new(), mistakes };
    parser.attributes();
    let file = parser.file();
    // What is wrong with the parts of such text is of no interest.
    let bare = parser.bare;
    let within_bare = |mistake: &Mistake| {
        let after = bare.partition_point(|span| span.start <= mistake.start());
        after > 0 && mistake.start() < bare[after - 1].end
    };
    let mut at = 0;
    mistakes.retain(|mistake| {
        at += 1;
        at > found || !within_bare(mistake)
    });
    file
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

    fn bad(span: Span) -> Self {
        Self { span, shape: Shape::Bad, whole: false }
    }
}

// === impl Parser ===

impl Parser<'_, '_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn kind_after(&self) -> Kind {
        self.tokens.get(self.at + 1).map_or(Kind::End, |token| token.kind)
    }

    /// The end token is never passed.
    fn next(&mut self) -> Span {
        let span = self.peek().span.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        span
    }

    fn report(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// `#![enable(implicit_some)]` and the like. The file is read as if they
    /// were there, or not, whichever its author prefers.
    fn attributes(&mut self) {
        while self.peek().kind == Kind::Hash {
            let start = self.peek().span.start;
            let read = self.attribute();
            if read.is_none() {
                while !matches!(self.peek().kind, Kind::Open(Bracket::Round) | Kind::End) {
                    self.next();
                }
                let title = "only `#![enable(implicit_some)]` can stand before the configuration";
                self.report(Mistake::new(&(start..start + 1), title));
            }
        }
    }

    fn attribute(&mut self) -> Option<()> {
        for kind in [Kind::Hash, Kind::Bang, Kind::Open(Bracket::Square)] {
            self.take(kind)?;
        }
        let word = self.take(Kind::Name)?;
        (&self.text[word] == "enable").then_some(())?;
        self.take(Kind::Open(Bracket::Round))?;
        loop {
            let name = self.take(Kind::Name)?;
            EXTENSIONS.contains(&&self.text[name]).then_some(())?;
            let comma = self.take(Kind::Comma).is_some();
            if !comma || self.peek().kind == Kind::Close(Bracket::Round) {
                break;
            }
        }
        self.take(Kind::Close(Bracket::Round))?;
        self.take(Kind::Close(Bracket::Square))?;
        Some(())
    }

    fn take(&mut self, kind: Kind) -> Option<Span> {
        (self.peek().kind == kind).then(|| self.next())
    }

    fn file(&mut self) -> Option<Node> {
        let first = self.peek().clone();
        let starts = first.kind == Kind::Open(Bracket::Round)
            || (first.kind == Kind::Name && self.kind_after() == Kind::Open(Bracket::Round));
        if !starts {
            let what = if first.kind == Kind::End {
                "the file is empty"
            } else {
                "this is not a configuration of Ganger: the first thing in it has to be `(`"
            };
            // Of a file in another language everything is wrong: one word will do.
            self.mistakes.clear();
            self.bare.clear();
            let line = self.text[first.span.start..].lines().next().unwrap_or_default();
            let span = first.span.start..first.span.start + line.trim_end().len();
            self.report(Mistake::new(&span, what).help(
                "it is written in RON: `(daemons: …, services: {…})`; `ganger init` prints one to start from",
            ));
            return None;
        }
        let node = self.value();
        let after = self.peek().clone();
        if after.kind != Kind::End {
            let title = "the configuration ended before this: a bracket too many?";
            self.report(
                Mistake::new(&after.span, title)
                    .also(&(node.span.end.saturating_sub(1)..node.span.end), "here it ends"),
            );
        }
        Some(node)
    }

    fn value(&mut self) -> Node {
        let Token { kind, span } = self.peek().clone();
        match kind {
            Kind::Open(bracket) => self.brackets(bracket, None),
            Kind::Name if self.kind_after() == Kind::Open(Bracket::Round) => {
                self.next();
                self.brackets(Bracket::Round, Some(span))
            }
            Kind::Name | Kind::Atom => {
                self.next();
                if let Some(end) = self.glued(&span) {
                    return Node::bad(span.start..end);
                }
                let shape = if kind == Kind::Name { Shape::Name } else { Shape::Atom };
                Node { span, shape, whole: true }
            }
            Kind::Broken => Node::bad(self.next()),
            Kind::Colon | Kind::Hash | Kind::Bang => {
                self.next();
                self.report(Mistake::new(&span, "a value is missing here"));
                Node::bad(span)
            }
            Kind::Comma | Kind::Close(_) => {
                self.report(Mistake::new(&span, "a value is missing before this"));
                Node::bad(span)
            }
            Kind::End => {
                self.report_end();
                Node::bad(span)
            }
        }
    }

    /// Text that was not put in quotes falls apart into several tokens, with
    /// nothing between them: the end of it, once reported as the one mistake
    /// that it is.
    fn glued(&mut self, first: &Span) -> Option<usize> {
        let bare = |parser: &Self, at: usize| {
            let token = &parser.tokens[at];
            let text = &parser.text[token.span.clone()];
            matches!(token.kind, Kind::Name | Kind::Atom | Kind::Broken) && !text.contains('"')
        };
        if !bare(self, self.at - 1) {
            return None;
        }
        let mut end = first.end;
        while self.peek().span.start == end {
            if self.peek().kind == Kind::Colon
                && self.tokens[self.at + 1].span.start == end + 1
                && bare(self, self.at + 1)
            {
                self.next();
            } else if !bare(self, self.at) {
                break;
            }
            end = self.next().end;
        }
        let span = first.start..end;
        if end == first.end {
            return None;
        }
        let text = &self.text[span.clone()];
        self.bare.push(span.clone());
        self.report(Mistake::new(&span, format!("text is written in quotes: \"{text}\"")));
        Some(end)
    }

    /// A group, from its opening bracket on.
    fn brackets(&mut self, bracket: Bracket, name: Option<Span>) -> Node {
        let open = self.next();
        let start = name.as_ref().map_or(open.start, |name| name.start);
        if self.open.len() >= DEPTH {
            let title = format!("brackets nest deeper than {DEPTH} levels; no setting needs that");
            self.report(Mistake::new(&open, title));
            return Node::bad(start..self.skip_group());
        }
        self.open.push((bracket, open.clone()));
        let (shape, whole) = match bracket {
            Bracket::Round => {
                let (items, whole) = self.items(bracket, Self::item);
                (Shape::Struct { name, open, items }, whole)
            }
            Bracket::Square => {
                let (items, whole) = self.items(bracket, Self::value);
                (Shape::List(items), whole)
            }
            Bracket::Curly => {
                let (items, whole) = self.items(bracket, Self::entry);
                (Shape::Map(items), whole)
            }
        };
        self.open.pop();
        Node { span: start..self.tokens[self.at - 1].span.end, shape, whole }
    }

    /// What stands between brackets, and whether the closing one was found.
    fn items<T>(&mut self, bracket: Bracket, item: fn(&mut Self) -> T) -> (Vec<T>, bool) {
        let mut items = Vec::new();
        let mut whole = true;
        loop {
            let Token { kind, span } = self.peek().clone();
            match kind {
                Kind::Close(found) if found == bracket => {
                    self.next();
                    return (items, whole);
                }
                Kind::Close(found) if self.open.iter().any(|(open, _)| *open == found) => {
                    self.report_unclosed(bracket, &span);
                    return (items, false);
                }
                Kind::Close(_) => {
                    self.next();
                    self.report(Mistake::new(&span, "nothing was opened that this closes"));
                }
                Kind::Comma => {
                    self.next();
                    self.report(Mistake::new(&span, "a comma too many"));
                }
                Kind::End => {
                    self.report_end();
                    return (items, false);
                }
                _ => {
                    items.push(item(self));
                    whole &= self.separator();
                }
            }
        }
    }

    /// The comma after an item. `false` when text was skipped to find it.
    fn separator(&mut self) -> bool {
        let Token { kind, span } = self.peek().clone();
        match kind {
            Kind::Comma => {
                self.next();
                true
            }
            Kind::Close(_) | Kind::End => true,
            _ => {
                let before = self.tokens[self.at - 1].clone();
                if before.kind == Kind::Broken {
                    return false;
                }
                if self.text[before.span.end..span.start].contains('\n') {
                    let title = "a comma is missing after this";
                    self.report(Mistake::new(&before.span, title));
                    return true;
                }
                self.report(
                    Mistake::new(&span, "this was not expected after a value")
                        .help("values are parted by commas, and text is written in quotes"),
                );
                self.skip_line();
                false
            }
        }
    }

    fn item(&mut self) -> Item {
        let Token { kind, span } = self.peek().clone();
        let named = matches!(kind, Kind::Name | Kind::Atom) && self.kind_after() == Kind::Colon;
        if !named {
            return Item { key: None, value: self.value() };
        }
        self.next();
        self.next();
        let key = Key { span, quoted: kind == Kind::Atom };
        Item { key: Some(key), value: self.value() }
    }

    fn entry(&mut self) -> (Node, Node) {
        let key = self.value();
        if self.peek().kind != Kind::Colon {
            let span = self.peek().span.clone();
            if key.whole {
                self.report(Mistake::new(&key.span, "expected `:` and a value after this"));
            }
            return (key, Node::bad(span));
        }
        self.next();
        let value = self.value();
        (key, value)
    }

    /// To the next comma, closing bracket or line.
    fn skip_line(&mut self) {
        loop {
            match self.peek().kind {
                Kind::Comma => {
                    self.next();
                    return;
                }
                Kind::Close(_) | Kind::End => return,
                Kind::Open(_) => {
                    self.next();
                    self.skip_group();
                }
                _ => {
                    self.next();
                }
            }
            let before = self.tokens[self.at - 1].span.end;
            if self.text[before..self.peek().span.start].contains('\n') {
                return;
            }
        }
    }

    /// To the end of the group whose opening bracket was read last; where that is.
    fn skip_group(&mut self) -> usize {
        let mut depth = 1_usize;
        while depth > 0 && self.peek().kind != Kind::End {
            match self.peek().kind {
                Kind::Open(_) => depth += 1,
                Kind::Close(_) => depth -= 1,
                _ => {}
            }
            self.next();
        }
        // A file that ends in here has been called too deep; that will do.
        self.ended |= depth > 0;
        self.tokens[self.at - 1].span.end
    }

    fn report_unclosed(&mut self, bracket: Bracket, found: &Span) {
        let Some((_, open)) = self.open.last().cloned() else {
            return;
        };
        let title = format!("this bracket is not closed: expected `{}`", bracket.closing());
        let label = format!("before this `{}`", &self.text[found.clone()]);
        self.report(Mistake::new(&open, title).also(found, label));
    }

    fn report_end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Some((_, open)) = self.open.last().cloned() else {
            return;
        };
        let closing: String = self.open.iter().rev().map(|(open, _)| open.closing()).collect();
        self.report(Mistake::new(&open, "the file ends before this bracket is closed").help(
            format!("is something cut off? What is open at the end is closed by `{closing}`"),
        ));
    }
}
