//! What may stand before a configuration.

use super::parser::Parser;
use crate::config::lex::{Bracket, Kind};
use crate::config::report::Mistake;

/// The extensions of RON. The values of a configuration read the same with
/// and without each.
const EXTENSIONS: [&str; 4] =
    ["implicit_some", "unwrap_newtypes", "unwrap_variant_newtypes", "explicit_struct_names"];

// === impl Parser ===

impl Parser<'_, '_> {
    /// `#![enable(implicit_some)]` and the like. The file is read as if they
    /// were there, or not, whichever its author prefers.
    pub(super) fn attributes(&mut self) {
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
}
