//! Attributes before a configuration.

use super::parser::Parser;
use crate::config::lex::{Bracket, TokenKind};
use crate::config::report::Mistake;

/// The extensions of RON. The values of a configuration read the same with
/// and without each.
const EXTENSIONS: [&str; 4] =
    ["implicit_some", "unwrap_newtypes", "unwrap_variant_newtypes", "explicit_struct_names"];

// === impl Parser ===

impl Parser<'_, '_> {
    /// Reads `#![enable(implicit_some)]` and the like. The file reads the same
    /// with and without them.
    pub(super) fn attributes(&mut self) {
        while self.peek().kind == TokenKind::Hash {
            let start = self.peek().span.start;
            let read = self.attribute();
            if read.is_none() {
                while !matches!(self.peek().kind, TokenKind::Open(Bracket::Round) | TokenKind::End)
                {
                    self.next();
                }
                let title = "only `#![enable(implicit_some)]` can stand before the configuration";
                self.report(Mistake::new(&(start..start + 1), title));
            }
        }
    }

    fn attribute(&mut self) -> Option<()> {
        for kind in [TokenKind::Hash, TokenKind::Bang, TokenKind::Open(Bracket::Square)] {
            self.take(kind)?;
        }
        let word = self.take(TokenKind::Name)?;
        (&self.text[word] == "enable").then_some(())?;
        self.take(TokenKind::Open(Bracket::Round))?;
        loop {
            let name = self.take(TokenKind::Name)?;
            EXTENSIONS.contains(&&self.text[name]).then_some(())?;
            let comma = self.take(TokenKind::Comma).is_some();
            if !comma || self.peek().kind == TokenKind::Close(Bracket::Round) {
                break;
            }
        }
        self.take(TokenKind::Close(Bracket::Round))?;
        self.take(TokenKind::Close(Bracket::Square))?;
        Some(())
    }
}
