//! After a mistake: its report, and where reading goes on.

use super::parser::Parser;
use crate::config::lex::{Bracket, TokenKind};
use crate::config::report::{Mistake, Span};

// === impl Parser ===

impl Parser<'_, '_> {
    /// Unquoted text falls apart into several tokens, with nothing between
    /// them: reports it as one mistake, and returns its end.
    pub(super) fn glued(&mut self, first: &Span) -> Option<usize> {
        let bare = |parser: &Self, at: usize| {
            let token = &parser.tokens[at];
            let text = &parser.text[token.span.clone()];
            matches!(token.kind, TokenKind::Name | TokenKind::Atom | TokenKind::Broken)
                && !text.contains('"')
        };
        if !bare(self, self.at - 1) {
            return None;
        }
        let mut end = first.end;
        while self.peek().span.start == end {
            if self.peek().kind == TokenKind::Colon
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

    /// To the next comma, closing bracket or line.
    pub(super) fn skip_line(&mut self) {
        loop {
            match self.peek().kind {
                TokenKind::Comma => {
                    self.next();
                    return;
                }
                TokenKind::Close(_) | TokenKind::End => return,
                TokenKind::Open(_) => {
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
    pub(super) fn skip_group(&mut self) -> usize {
        let mut depth = 1_usize;
        while depth > 0 && self.peek().kind != TokenKind::End {
            match self.peek().kind {
                TokenKind::Open(_) => depth += 1,
                TokenKind::Close(_) => depth -= 1,
                _ => {}
            }
            self.next();
        }
        // A file that ends in here has one mistake reported already.
        self.ended |= depth > 0;
        self.tokens[self.at - 1].span.end
    }

    pub(super) fn report_unclosed(&mut self, bracket: Bracket, found: &Span) {
        let Some((_, open)) = self.open.last().cloned() else {
            return;
        };
        let title = format!("this bracket is not closed: expected `{}`", bracket.closing());
        let label = format!("before this `{}`", &self.text[found.clone()]);
        self.report(Mistake::new(&open, title).also(found, label));
    }

    pub(super) fn report_end(&mut self) {
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
