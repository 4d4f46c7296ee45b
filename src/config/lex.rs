//! Cuts a RON file into tokens, each with its place.
//!
//! Unreadable text is reported and passed on as [`TokenKind::Broken`], so that the
//! rest of the file is still read.

use super::report::{Mistake, Span};

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

/// The kinds of [`Token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Open(Bracket),
    Close(Bracket),
    Colon,
    Comma,
    Hash,
    Bang,
    /// A field, a variant, `true` or `false`.
    Name,
    /// A number or text in quotes; `ron` reads it.
    Atom,
    /// Unreadable, and already reported.
    Broken,
    /// The end of the file.
    End,
}

/// The kinds of bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bracket {
    Round,
    Square,
    Curly,
}

struct Lexer<'t, 'm> {
    text: &'t str,
    at: usize,
    mistakes: &'m mut Vec<Mistake>,
}

/// The tokens of the file whose text begins at `from`; the last is [`TokenKind::End`].
pub(super) fn tokens(text: &str, from: usize, mistakes: &mut Vec<Mistake>) -> Vec<Token> {
    let mut lexer = Lexer { text, at: from, mistakes };
    let mut tokens = Vec::new();
    // A byte order mark is no part of the text.
    lexer.at += if text[from..].starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let kind = lexer.token();
        tokens.push(Token { kind, span: start..lexer.at });
        if kind == TokenKind::End {
            return tokens;
        }
    }
}

// === impl Bracket ===

impl Bracket {
    pub(super) fn closing(self) -> char {
        match self {
            Self::Round => ')',
            Self::Square => ']',
            Self::Curly => '}',
        }
    }
}

// === impl Lexer ===

impl<'t> Lexer<'t, '_> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(is_blank);
            if self.rest().starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.skip_block_comment();
            } else {
                return;
            }
        }
    }

    fn skip_block_comment(&mut self) {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else if let Some(c) = rest.chars().next() {
                self.at += c.len_utf8();
            } else {
                let title = "this comment is not closed: add `*/` where it ends";
                self.mistakes.push(Mistake::new(&(start..start + 2), title));
                return;
            }
        }
    }

    fn token(&mut self) -> TokenKind {
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return TokenKind::End;
        };
        if let Some((prefix, hashes)) = raw_text(self.rest()) {
            self.at += prefix;
            return self.raw_text(start, hashes);
        }
        self.at += first.len_utf8();
        match first {
            '(' => TokenKind::Open(Bracket::Round),
            ')' => TokenKind::Close(Bracket::Round),
            '[' => TokenKind::Open(Bracket::Square),
            ']' => TokenKind::Close(Bracket::Square),
            '{' => TokenKind::Open(Bracket::Curly),
            '}' => TokenKind::Close(Bracket::Curly),
            ':' => TokenKind::Colon,
            ',' => TokenKind::Comma,
            '#' => TokenKind::Hash,
            '!' => TokenKind::Bang,
            '=' => self.instead(
                start,
                TokenKind::Colon,
                "a field and its value are parted by `:`, not `=`",
            ),
            ';' => self.instead(start, TokenKind::Comma, "values are parted by `,`, not `;`"),
            '"' => self.text(start),
            '\'' => self.char(start),
            'b' if self.rest().starts_with('"') => {
                self.at += 1;
                self.text(start)
            }
            c if is_name_start(c) => {
                if c == 'r' && self.rest().starts_with('#') {
                    self.at += 1;
                }
                // `-` is in no name of RON's, but in names people write.
                self.take_while(|c| is_name_start(c) || c.is_numeric() || c == '-');
                TokenKind::Name
            }
            c if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') => {
                self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-'));
                TokenKind::Atom
            }
            _ => {
                self.take_while(|c| !is_blank(c) && !",:()[]{}\"".contains(c));
                let found = &self.text[start..self.at];
                self.broken(start, format!("unexpected `{found}`: text is written in quotes"))
            }
        }
    }

    fn instead(&mut self, start: usize, kind: TokenKind, title: &str) -> TokenKind {
        self.broken(start, title.to_owned());
        kind
    }

    fn broken(&mut self, start: usize, title: String) -> TokenKind {
        self.mistakes.push(Mistake::new(&(start..self.at), title));
        TokenKind::Broken
    }

    /// Text in double quotes, after the first. RON lets it run over line ends;
    /// here it does not, because a forgotten quote would turn the rest of the
    /// file inside out.
    fn text(&mut self, start: usize) -> TokenKind {
        let mut escaped = false;
        for (i, c) in self.rest().char_indices() {
            match c {
                '"' if !escaped => {
                    self.at += i + 1;
                    return TokenKind::Atom;
                }
                '\n' if !escaped => break,
                // An escaped line end may be two characters.
                '\r' if escaped => continue,
                _ => {}
            }
            escaped = c == '\\' && !escaped;
        }
        self.take_while(|c| c != '\n');
        self.at = start + self.text[start..self.at].trim_end().len();
        self.broken(
            start,
            "this text has no closing quote; a line break in it is written `\\n`".into(),
        )
    }

    /// A character in single quotes, after the first.
    fn char(&mut self, start: usize) -> TokenKind {
        let line = self.rest().lines().next().unwrap_or_default();
        let Some(end) = line.find('\'') else {
            return self.broken(start, "unexpected `'`: text is written in double quotes".into());
        };
        self.at += end + 1;
        self.broken(start, "text is written in double quotes, not single ones".into())
    }

    /// Raw text, after its prefix up to and with the first quote.
    fn raw_text(&mut self, start: usize, hashes: usize) -> TokenKind {
        let end = format!("\"{}", "#".repeat(hashes));
        if let Some(length) = self.rest().find(&end) {
            self.at += length + end.len();
            return TokenKind::Atom;
        }
        let opener = start..self.at;
        self.at = self.text.len();
        let title = format!("this raw text is not closed: add `{end}` where it ends");
        self.mistakes.push(Mistake::new(&opener, title));
        TokenKind::Broken
    }
}

/// The length of the prefix of raw text, `r##"` or `br"`, and its number of `#`.
fn raw_text(rest: &str) -> Option<(usize, usize)> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|b| *b == b'#').count();
    let quoted = after.as_bytes().get(hashes) == Some(&b'"');
    quoted.then(|| (rest.len() - after.len() + hashes + 1, hashes))
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200e}' | '\u{200f}')
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}
