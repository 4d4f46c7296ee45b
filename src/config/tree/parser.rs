//! The grammar: how brackets, fields, entries and elements make a tree.

use super::{FieldName, Item, Node, Shape};
use crate::config::lex::{Bracket, Token, TokenKind, tokens};
use crate::config::report::{Mistake, Span};

/// The deepest nesting of brackets that is read. The schema needs eight.
const DEPTH: usize = 32;

/// Where a parser is in its file.
pub(super) struct Parser<'t, 'm> {
    pub(super) text: &'t str,
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    /// The brackets that are open here.
    pub(super) open: Vec<(Bracket, Span)>,
    /// The file is the named one, and not an included one.
    pub(super) is_first: bool,
    /// The end of the file was met inside brackets and reported.
    pub(super) ended: bool,
    /// Text without quotes, in the order of the file.
    pub(super) bare: Vec<Span>,
    pub(super) mistakes: &'m mut Vec<Mistake>,
}

/// The tree of the file whose text begins at `from` and ends with the text. `None` when it is no
/// configuration at all. `mistakes` are those of this file.
pub(in crate::config) fn parse(
    text: &str,
    from: usize,
    mistakes: &mut Vec<Mistake>,
) -> Option<Node> {
    let tokens = tokens(text, from, mistakes);
    let found = mistakes.len();
    let (open, bare) = Default::default();
    let is_first = from == 0;
    let mut parser = Parser { text, tokens, at: 0, open, is_first, ended: false, bare, mistakes };
    parser.attributes();
    let file = parser.file();
    // Mistakes of the lexer within unquoted text are dropped.
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

// === impl Parser ===

impl Parser<'_, '_> {
    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn kind_after(&self) -> TokenKind {
        self.tokens.get(self.at + 1).map_or(TokenKind::End, |token| token.kind)
    }

    /// The end token is never passed.
    pub(super) fn next(&mut self) -> Span {
        let span = self.peek().span.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        span
    }

    pub(super) fn report(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    pub(super) fn take(&mut self, kind: TokenKind) -> Option<Span> {
        (self.peek().kind == kind).then(|| self.next())
    }

    fn file(&mut self) -> Option<Node> {
        let first = self.peek().clone();
        let starts = first.kind == TokenKind::Open(Bracket::Round)
            || (first.kind == TokenKind::Name
                && self.kind_after() == TokenKind::Open(Bracket::Round));
        if !starts {
            let what = if first.kind == TokenKind::End {
                "the file is empty"
            } else {
                "this is not a configuration of Ganger: the first thing in it has to be `(`"
            };
            // A file in another language is all mistakes: one of them is enough.
            self.mistakes.clear();
            self.bare.clear();
            let line = self.text[first.span.start..].lines().next().unwrap_or_default();
            let span = first.span.start..first.span.start + line.trim_end().len();
            self.report(Mistake::new(&span, what).help(match self.is_first {
                true => "it is written in RON: `(daemons: …, services: {…})`; `ganger init` prints one to start from",
                false => "an included file is written in RON: `(services: {…})`",
            }));
            return None;
        }
        let node = self.value();
        let after = self.peek().clone();
        if after.kind != TokenKind::End {
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
            TokenKind::Open(bracket) => self.brackets(bracket, None),
            TokenKind::Name if self.kind_after() == TokenKind::Open(Bracket::Round) => {
                self.next();
                self.brackets(Bracket::Round, Some(span))
            }
            TokenKind::Name | TokenKind::Atom => {
                self.next();
                if let Some(end) = self.glued(&span) {
                    return Node::bad(span.start..end);
                }
                let shape = if kind == TokenKind::Name { Shape::Name } else { Shape::Atom };
                Node { span, shape, whole: true }
            }
            TokenKind::Broken => Node::bad(self.next()),
            TokenKind::Colon | TokenKind::Hash | TokenKind::Bang => {
                self.next();
                self.report(Mistake::new(&span, "a value is missing here"));
                Node::bad(span)
            }
            TokenKind::Comma | TokenKind::Close(_) => {
                self.report(Mistake::new(&span, "a value is missing before this"));
                Node::bad(span)
            }
            TokenKind::End => {
                self.report_end();
                Node::bad(span)
            }
        }
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

    /// The items between brackets, and whether none of the text was lost.
    fn items<T>(&mut self, bracket: Bracket, item: fn(&mut Self) -> T) -> (Vec<T>, bool) {
        let mut items = Vec::new();
        let mut whole = true;
        loop {
            let Token { kind, span } = self.peek().clone();
            match kind {
                TokenKind::Close(found) if found == bracket => {
                    self.next();
                    return (items, whole);
                }
                TokenKind::Close(found) if self.open.iter().any(|(open, _)| *open == found) => {
                    self.report_unclosed(bracket, &span);
                    return (items, false);
                }
                TokenKind::Close(_) => {
                    self.next();
                    self.report(Mistake::new(&span, "nothing was opened that this closes"));
                }
                TokenKind::Comma => {
                    self.next();
                    self.report(Mistake::new(&span, "a comma too many"));
                }
                TokenKind::End => {
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
            TokenKind::Comma => {
                self.next();
                true
            }
            TokenKind::Close(_) | TokenKind::End => true,
            _ => {
                let before = self.tokens[self.at - 1].clone();
                if before.kind == TokenKind::Broken {
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
        let named = matches!(kind, TokenKind::Name | TokenKind::Atom)
            && self.kind_after() == TokenKind::Colon;
        if !named {
            return Item { key: None, value: self.value() };
        }
        self.next();
        self.next();
        let key = FieldName { span, quoted: kind == TokenKind::Atom };
        Item { key: Some(key), value: self.value() }
    }

    fn entry(&mut self) -> (Node, Node) {
        let key = self.value();
        if self.peek().kind != TokenKind::Colon {
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
}
