//! Variables of the environment in texts: `${NAME}` and `${NAME:-default}`.

use std::cell::RefCell;
use std::ffi::OsString;

/// The mistake in a variable, and what to do.
pub(super) struct Unexpanded {
    pub(super) title: String,
    pub(super) help: String,
}

const HOW: &str = "write `${NAME}` or `${NAME:-default}`; `$${` stands for `${`";

/// Replaces the variables in a text. `$${` stands for `${`; any other `$` is itself.
///
/// # Errors
/// A variable is not set and has no default, is no text, or is not written as one.
pub(super) fn expand(
    text: &str,
    look_up: impl Fn(&str) -> Option<OsString>,
) -> Result<String, Unexpanded> {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some(end) = after.find('}') else {
            return Err(Unexpanded::new(format!("`${{{after}` is not closed"), HOW));
        };
        let variable = &after[..end];
        let (name, default) = match variable.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (variable, None),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || !name.chars().all(is_name)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(Unexpanded::new(format!("`${{{variable}}}` is not a variable"), HOW));
        }
        // An empty one takes the default, as in shells.
        let value = look_up(name).filter(|value| default.is_none() || !value.is_empty());
        match (value.map(OsString::into_string), default) {
            (Some(Ok(value)), _) => expanded.push_str(&value),
            (Some(Err(_)), _) => {
                let title = format!("the variable {name} is not UTF-8 text");
                return Err(Unexpanded::new(title, "give it another value"));
            }
            (None, Some(default)) => expanded.push_str(default),
            (None, None) => {
                let help = format!(
                    "set it, or write `${{{name}:-default}}`; `$${{{name}}}` stands for `${{{name}}}`"
                );
                return Err(Unexpanded::new(format!("the variable {name} is not set"), help));
            }
        }
        rest = &after[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The names of the variables in a text that can be expanded, in its order.
pub(super) fn names(text: &str) -> Vec<String> {
    let names = RefCell::new(Vec::new());
    // The result does not matter.
    _ = expand(text, |name| {
        names.borrow_mut().push(name.to_owned());
        Some(OsString::new())
    });
    names.into_inner()
}

// === impl Unexpanded ===

impl Unexpanded {
    fn new(title: String, help: impl Into<String>) -> Self {
        Self { title, help: help.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<String, String> {
        let look_up = |name: &str| match name {
            "HOME" => Some("/root".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        };
        expand(text, look_up).map_err(|flaw| flaw.title)
    }

    #[test]
    fn variables_are_replaced_and_other_dollars_stay() {
        for (text, expanded) in [
            ("${HOME}/x", "/root/x"),
            ("${NONE:-a b}", "a b"),
            ("${EMPTY:-full}${EMPTY}", "full"),
            ("${NONE:-}", ""),
            ("$HOME $$ 5$", "$HOME $$ 5$"),
            ("$${HOME} ${HOME}", "${HOME} /root"),
        ] {
            assert_eq!(with(text).as_deref(), Ok(expanded), "{text}");
        }
        assert_eq!(names("${HOME}$${NONE}${EMPTY:-${}"), ["HOME", "EMPTY"]);
        for (text, why) in [
            ("${NONE}", "the variable NONE is not set"),
            ("${HOME", "`${HOME` is not closed"),
            ("${}", "`${}` is not a variable"),
            ("${HOME:?x}", "`${HOME:?x}` is not a variable"),
            ("${1A}", "`${1A}` is not a variable"),
        ] {
            assert_eq!(with(text), Err(why.to_owned()), "{text}");
        }
    }
}
