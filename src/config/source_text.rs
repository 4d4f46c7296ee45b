//! The files that a configuration is read from, as one text.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// A place in the text of all files, in bytes.
pub(super) type Span = Range<usize>;

/// The files of a configuration, one after another: first the one that was named, then those that
/// it includes. A place in their text is a place in one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceText {
    text: String,
    /// Never empty.
    files: Vec<SourceFile>,
}

/// A source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    /// Its name in messages.
    pub(super) origin: String,
    /// The base of its relative paths.
    pub(super) dir: PathBuf,
    /// Its place in the text of all.
    pub(super) span: Span,
}

// === impl SourceText ===

impl SourceText {
    pub(super) fn new(origin: &str, dir: &Path, text: &str) -> Self {
        let mut sources = Self { text: String::new(), files: Vec::new() };
        sources.add(origin, dir, text);
        sources
    }

    /// Adds a file; returns where its text begins in that of all.
    pub(super) fn add(&mut self, origin: &str, dir: &Path, text: &str) -> usize {
        if !self.files.is_empty() {
            // The end of a file is a place of its own.
            self.text.push('\n');
        }
        let start = self.text.len();
        self.text.push_str(text);
        let span = start..self.text.len();
        self.files.push(SourceFile { origin: origin.to_owned(), dir: dir.to_owned(), span });
        start
    }

    /// The text of all files.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The file that was named.
    pub(super) fn main(&self) -> &SourceFile {
        &self.files[0]
    }

    pub(super) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The file that a place is in.
    pub(super) fn file_at(&self, place: &Span) -> &SourceFile {
        let after = self.files.partition_point(|file| file.span.start <= place.start);
        &self.files[after.saturating_sub(1)]
    }

    /// The text of a file up to a place in it.
    pub(super) fn before(&self, place: &Span) -> &str {
        &self.text[self.file_at(place).span.start..place.start.min(self.text.len())]
    }

    /// The line a place is in, for a message about another place.
    pub(super) fn line(&self, place: &Span, seen_from: &Span) -> String {
        let line = self.before(place).matches('\n').count() + 1;
        let (file, here) = (self.file_at(place), self.file_at(seen_from));
        if file.span == here.span {
            format!("line {line}")
        } else {
            format!("line {line} of {}", file.origin)
        }
    }
}
