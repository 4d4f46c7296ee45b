//! How long files are, what they are called, and that each says what it is for.

use super::source::{assert_none, every_source};

const HARD_CAP: usize = 600;
const MEDIAN: usize = 150;
/// A longer test module has a file of its own.
const INLINE_TESTS: usize = 100;

#[test]
fn every_file_says_what_it_is_for() {
    let silent = every_source().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none(&silent.map(|source| source.path).collect::<Vec<_>>(), "files without a //! head");
}

#[test]
fn files_are_short() {
    let sources: Vec<_> = every_source().into_iter().filter(|source| !source.is_test()).collect();
    let mut problems = Vec::new();
    for source in &sources {
        let (code, tests) = source.parts();
        let (code, tests) = (code.lines().count(), tests.lines().count());
        if code > HARD_CAP {
            problems.push(format!("{}: {code} lines of code, cap {HARD_CAP}", source.path));
        }
        if tests > INLINE_TESTS {
            let cap = format!("above {INLINE_TESTS} they move to their own file");
            problems.push(format!("{}: {tests} lines of tests, {cap}", source.path));
        }
    }
    assert_none(&problems, "files that are too long");
    let mut lengths: Vec<_> =
        sources.iter().map(|source| source.parts().0.lines().count()).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN, "the median file has {median} lines of code, more than {MEDIAN}");
}

#[test]
fn no_module_is_called_mod_rs() {
    let found = every_source().into_iter().filter(|source| source.path.ends_with("/mod.rs"));
    assert_none(&found.map(|source| source.path).collect::<Vec<_>>(), "foo.rs, not foo/mod.rs");
}
