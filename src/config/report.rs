//! The mistakes of a configuration, and how they are shown.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use super::source_text::SourceText;
pub(super) use super::source_text::Span;

/// The most mistakes shown. A typo can upset a whole file.
const SHOWN: usize = 30;

/// All mistakes of a configuration, each with its place.
///
/// `Display` shows them without colour: for each the file, line and column, the
/// line with the offending text underlined, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    sources: SourceText,
    mistakes: Vec<Mistake>,
}

/// A mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    span: Span,
    title: String,
    label: String,
    also: Option<(Span, String)>,
    help: Option<String>,
}

/// A mistake or warning about a file, in words. `Display` has it in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The file, as messages call it.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The message.
    pub message: String,
    /// The advice.
    pub help: Option<String>,
}

// === impl Remark ===

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, help } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

// === impl Mistake ===

impl Mistake {
    pub(super) fn new(span: &Span, title: impl Into<String>) -> Self {
        Self {
            span: span.clone(),
            title: title.into(),
            label: String::new(),
            also: None,
            help: None,
        }
    }

    /// A few words at the underlined text.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Another place that has to do with it.
    pub(super) fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.also = Some((span.clone(), label.into()));
        self
    }

    /// The advice.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// In words, with its place.
    pub(super) fn remark(&self, sources: &SourceText) -> Remark {
        let before = sources.before(&self.span);
        Remark {
            file: sources.file_at(&self.span).origin.clone(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            message: self.title.clone(),
            help: self.help.clone(),
        }
    }

    pub(super) fn start(&self) -> usize {
        self.span.start
    }

    fn group<'a>(&'a self, report: &'a Report) -> Group<'a> {
        let sources = &report.sources;
        let within = |span: &Span| {
            let file = &sources.file_at(span).span;
            // A place at the very end has no text of its own: take the last.
            let end = span.end.min(file.end);
            span.start.min(end) - file.start..end - file.start
        };
        let shown = |span: &Span| {
            let file = sources.file_at(span);
            Snippet::source(&sources.text()[file.span.clone()]).path(file.origin.as_str())
        };
        let snippet = shown(&self.span).annotation(
            AnnotationKind::Primary
                .span(within(&self.span))
                .label((!self.label.is_empty()).then_some(self.label.as_str())),
        );
        let group = Level::ERROR.primary_title(self.title.as_str());
        let group = match &self.also {
            Some((span, label)) => {
                let also = AnnotationKind::Context.span(within(span)).label(label.as_str());
                if sources.file_at(span) == sources.file_at(&self.span) {
                    group.element(snippet.annotation(also))
                } else {
                    group.element(snippet).element(shown(span).annotation(also))
                }
            }
            None => group.element(snippet),
        };
        match &self.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

// === impl Report ===

impl Report {
    /// Sorts the mistakes by place. There has to be at least one.
    pub(super) fn new(sources: SourceText, mut mistakes: Vec<Mistake>) -> Self {
        debug_assert!(!mistakes.is_empty());
        mistakes.sort_by_key(|mistake| mistake.span.start);
        Self { sources, mistakes }
    }

    /// How many mistakes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.mistakes.len()
    }

    /// The titles, one line for each mistake, without places or source text.
    pub fn titles(&self) -> impl Iterator<Item = &str> {
        self.mistakes.iter().map(|mistake| mistake.title.as_str())
    }

    /// All mistakes in words, each with its place.
    pub fn remarks(&self) -> impl Iterator<Item = Remark> {
        self.mistakes.iter().map(|mistake| mistake.remark(&self.sources))
    }

    /// As [`Report::remarks`], but no more than `Display` shows.
    pub fn shown(&self) -> impl Iterator<Item = Remark> {
        self.remarks().take(SHOWN)
    }

    /// How many mistakes `Display` leaves out.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.count().saturating_sub(SHOWN)
    }

    /// The report as `Display` gives it, with colours for a terminal when asked.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for mistake in self.mistakes.iter().take(SHOWN) {
            out.push_str(&renderer.render(&[mistake.group(self)]));
            out.push_str("\n\n");
        }
        out.push_str(&self.summary());
        out
    }

    fn summary(&self) -> String {
        let count = match self.count() {
            1 => "1 mistake".to_owned(),
            n => format!("{n} mistakes"),
        };
        let shown =
            if self.hidden() > 0 { format!(", the first {SHOWN} shown") } else { String::new() };
        let mut files: Vec<_> =
            self.mistakes.iter().map(|mistake| self.sources.file_at(&mistake.span)).collect();
        files.dedup();
        match files[..] {
            [file] => format!("{count} in {}{shown}", file.origin),
            _ => format!("{count} in {} files{shown}", files.len()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
