//! Where the lines of the files begin, so that places are found fast.

use super::FilePlace;
use crate::config::source_text::SourceText;

/// The lines of all files.
pub(super) struct LineStarts<'t> {
    sources: &'t SourceText,
    /// Where they begin in the text of all, in bytes.
    starts: Vec<usize>,
}

// === impl LineStarts ===

impl<'t> LineStarts<'t> {
    pub(super) fn of(sources: &'t SourceText) -> Self {
        let ends = sources.text().match_indices('\n').map(|(at, _)| at + 1);
        Self { sources, starts: [0].into_iter().chain(ends).collect() }
    }

    /// The place of a byte of the text of all.
    pub(super) fn place(&self, at: usize) -> FilePlace {
        let files = self.sources.files();
        let file = files.partition_point(|file| file.span.start <= at).saturating_sub(1);
        // A file begins with a line of its own.
        let line = |at: usize| self.starts.partition_point(|start| *start <= at);
        let begin = self.starts[line(at) - 1];
        let column = self.sources.text()[begin..at].chars().count() + 1;
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        FilePlace {
            file: number(file),
            line: number(line(at) + 1 - line(files[file].span.start)),
            column: number(column),
        }
    }
}
