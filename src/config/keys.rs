//! Tables of keys. Each key is declared once, beside its decoder: its name and type, its default,
//! an example, and a description. The tables drive the decoding of files, the suggestions for
//! typos, the reference in docs/, and the file that `ganger init` prints.

use std::marker::PhantomData;

/// A key whose values are read as a `T`.
pub(super) struct Key<T> {
    pub(super) row: Row,
    of: PhantomData<fn() -> T>,
}

/// All that a table says of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Its place in its table, from 0.
    pub(super) at: usize,
    /// Its values in words, from its type.
    pub(super) what: &'static str,
    pub(super) without: Without,
    /// Description in sentences, for the reference and comments in a file.
    pub(super) about: &'static str,
    /// Sentences of the reference alone, with links.
    pub(super) more: &'static str,
    /// A value, as a file has it, where the default is none.
    pub(super) example: &'static str,
    /// The keys of the struct that it takes.
    pub(super) within: &'static [Row],
    /// How far its values are shown.
    pub(super) tell: Tell,
    /// Whether `None` is one of its values, rather than a way to leave it out.
    pub(super) takes_none: bool,
}

/// The constants of a type for the keys that take it.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyKind {
    pub(super) what: &'static str,
    pub(super) tell: Tell,
    pub(super) takes_none: bool,
}

/// How far values are shown to who may query a running Ganger's configuration. Not at all, unless
/// their type, or the row of a key, says that they hold no secret.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tell {
    /// Nothing: they may hold a secret.
    Nothing,
    /// All, as it stands in the file.
    Whole,
    /// The paths of files, without their content.
    Path,
    /// Urls, without user, password and query.
    Url,
    /// The keys of a map, without its values.
    Names,
    /// Rows of the keys in their brackets, by the word before the bracket, which is shown as well.
    Keys(&'static [(&'static str, &'static [Row])]),
    /// The same of each element of a list or a map, none of which has a word before its bracket.
    Each(&'static [Row]),
}

/// The effect of leaving a key out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// The file is refused.
    Refused,
    /// A default, as a file has it.
    Default(&'static str),
    /// No value; the text says what that means.
    Nothing(&'static str),
}

/// A key that has to be there.
pub(super) const fn required(example: &'static str, about: &'static str) -> Row {
    Row { example, ..row(Without::Refused, about) }
}

/// A key with a default, which is its example as well.
pub(super) const fn or(default: &'static str, about: &'static str) -> Row {
    row(Without::Default(default), about)
}

/// A key that has no value unless it is set.
pub(super) const fn optional(
    without: &'static str,
    example: &'static str,
    about: &'static str,
) -> Row {
    Row { example, ..row(Without::Nothing(without), about) }
}

const fn row(without: Without, about: &'static str) -> Row {
    let (name, what, more, example, within) = ("", "", "", "", &[]);
    let (at, tell, takes_none) = (0, Tell::Nothing, false);
    Row { name, at, what, without, about, more, example, within, tell, takes_none }
}

// === impl Row ===

impl Row {
    /// With an example that is not the default.
    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// With a sentence that only the reference has.
    pub(super) const fn see(self, more: &'static str) -> Self {
        Self { more, ..self }
    }

    /// With values that hold no secret, though others of their type may.
    pub(super) const fn open(self) -> Self {
        Self { tell: Tell::Whole, ..self }
    }

    /// With values that are paths of files, though their type is not.
    pub(super) const fn path(self) -> Self {
        Self { tell: Tell::Path, ..self }
    }

    /// With the keys of the struct that it takes.
    pub(super) const fn of(self, within: &'static [Self]) -> Self {
        Self { within, ..self }
    }

    /// Its default, as a file has it; empty when there is none.
    pub(super) const fn default_text(&self) -> &'static str {
        match self.without {
            Without::Default(default) => default,
            Without::Refused | Without::Nothing(_) => "",
        }
    }

    /// Whether it takes a struct whose keys have the defaults.
    pub(super) fn is_struct(&self) -> bool {
        self.value() == "()"
    }

    /// A value of it, as a file has it: of a struct with all that has a default.
    pub(super) fn shown(&self) -> String {
        if !self.is_struct() {
            return self.value().to_owned();
        }
        let is_default = |row: &&Self| matches!(row.without, Without::Default(_));
        let fields = self.within.iter().filter(is_default);
        let fields: Vec<_> = fields.map(|row| format!("{}: {}", row.name, row.shown())).collect();
        format!("({})", fields.join(", "))
    }

    fn value(&self) -> &'static str {
        if self.example.is_empty() { self.default_text() } else { self.example }
    }
}

// === impl Key ===

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> Key<T> {
    /// `kind` is of the type that reads it, and `at` is its place in its table.
    pub(super) const fn new(name: &'static str, at: usize, kind: KeyKind, row: Row) -> Self {
        let KeyKind { what, tell, takes_none } = kind;
        // A row may open what its type keeps closed, and closes nothing.
        let tell = match row.tell {
            Tell::Nothing => tell,
            opened => opened,
        };
        Self { row: Row { name, at, what, tell, takes_none, ..row }, of: PhantomData }
    }
}

/// The keys of one struct: a constant with a field for each, and a list of all. `Decode` has to be
/// in scope.
macro_rules! keys {
    ($(#[$doc:meta])* $keys:ident, $type:ident, $rows:ident; $($name:ident: $of:ty = $row:expr;)+) => {
        $(#[$doc])*
        pub(in crate::config) struct $type {
            $(pub(in crate::config) $name: $crate::config::keys::Key<$of>,)+
        }

        $(#[$doc])*
        pub(in crate::config) const $keys: $type = {
            #[allow(non_camel_case_types, reason = "its variants are the keys, in their order")]
            enum Position { $($name,)+ }
            $type {
                $($name: $crate::config::keys::Key::new(
                    stringify!($name),
                    Position::$name as usize,
                    <$of as Decode>::KIND,
                    $row,
                ),)+
            }
        };

        /// The same, in the order in which they are shown.
        #[allow(dead_code, reason = "a test alone shows some of them")]
        pub(in crate::config) const $rows: &[$crate::config::keys::Row] = &[$($keys.$name.row,)+];
    };
}
pub(super) use keys;
