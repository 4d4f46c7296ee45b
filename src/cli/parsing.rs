//! Reads the command line, and explains one that is wrong.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ColorChoice, CommandFactory, FromArgMatches};

use super::Arguments;

/// Reads the command line. Its errors and its help have the colours that it asks for.
pub(super) fn parsed(args: impl Iterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let args: Vec<_> = args.collect();
    let mut command = Arguments::command().color(colour_in(&args));
    let matches = command.try_get_matches_from_mut(args)?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The colours that the arguments ask for, before they are parsed.
fn colour_in(args: &[OsString]) -> ColorChoice {
    let words = args.iter().filter_map(|arg| arg.to_str());
    let mut words = words.take_while(|arg| *arg != "--");
    let value = words.find_map(|word| word.strip_prefix("--color"));
    let value = value.and_then(|value| match value {
        "" => words.next(),
        value => value.strip_prefix('='),
    });
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// Adds, to the complaint about an option that a verb lacks, which verbs have it.
pub(super) fn hinted(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let option = option.clone();
    let (known, command) = (option.strip_prefix("--"), Arguments::command());
    let have = command.get_subcommands().filter(|verb| {
        !verb.is_hide_set()
            && verb
                .get_arguments()
                .any(|arg| known.is_some_and(|name| arg.get_long() == Some(name)))
    });
    let have: Vec<_> = have.map(|verb| format!("`ganger {}`", verb.get_name())).collect();
    if error.kind() == ErrorKind::UnknownArgument && !have.is_empty() {
        let hint = format!("{} has '{option}'", have.join(" or "));
        let hints = ContextValue::StyledStrs(vec![hint.into()]);
        error.insert(ContextKind::Suggested, hints);
    }
    error
}
