//! Input and output of `ganger bench`: files, or the streams of this process.

use std::fs;
use std::path::Path;

use super::{BenchArguments, Failure, usage};
use crate::bench::BenchReport;
use crate::cli::Exit;
use crate::cli::out::{complain, print, say};
use crate::config::is_stdin;

/// How results are printed for people: on standard output, unless that is for a program.
///
/// # Errors
/// Two options want the same stream.
pub(super) fn streams(
    arguments: &BenchArguments,
    config: Option<&Path>,
) -> Result<fn(&str), Failure> {
    let BenchArguments { json, html, from, compare, .. } = arguments;
    let taken = |options: &[(&str, Option<&Path>)]| {
        let named = options.iter().filter(|(_, path)| path.is_some_and(is_stdin));
        named.map(|(option, _)| format!("{option} -")).collect::<Vec<_>>()
    };
    let read = taken(&[
        ("--config", config),
        ("--from", from.as_deref()),
        ("--compare", compare.as_deref()),
    ]);
    if let [first, second, ..] = &read[..] {
        return Err(usage(format!("{first} and {second}: there is one standard input")));
    }
    match &taken(&[("--json", json.as_deref()), ("--html", html.as_deref())])[..] {
        [] => Ok(say),
        [_] => Ok(complain),
        _ => Err(usage("--json - and --html -: there is one standard output".to_owned())),
    }
}

/// The report that `--json` wrote before.
pub(super) fn load(path: &Path) -> Result<BenchReport, Failure> {
    BenchReport::load(path).map_err(|error| Failure::new(Exit::Failed, error))
}

/// Whether a file can be written. Nothing is changed yet: an absent file stays absent.
pub(super) fn writable(path: &Path) -> Result<(), Failure> {
    if is_stdin(path) {
        return Ok(());
    }
    let new = !path.exists();
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    opened
        .and_then(|_| if new { fs::remove_file(path) } else { Ok(()) })
        .map_err(|error| usage(format!("{}: {error}", path.display())))
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if is_stdin(path) {
        print(text);
        return Ok(());
    }
    fs::write(path, text)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}
