//! Rules of the source tree that no compiler checks: who imports whom, how long
//! files are, that each says what it is for.

#![expect(clippy::unwrap_used, reason = "a failure is to end the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Layers of the pool. Modules of one layer may import each other, for they
/// are one machine; one that is not named here is in the highest.
const POOL: &[(&str, u32)] =
    &[("core", 0), ("runtime", 1), ("probe", 1), ("discovery", 1), ("error", 1)];
const POOL_REST: u32 = 2;

/// Layers of the application, which has the pool below it. A module imports
/// only lower layers: two adapters know nothing of each other.
const APP: &[(&str, u32)] = &[
    ("tls", 24),
    ("reactor", 24),
    ("netlink", 24),
    ("reach", 25),
    ("spec", 25),
    ("endpoint", 25),
    ("fleet", 26),
    ("http", 26),
    ("image", 25),
    ("registry", 25),
    ("config", 30),
    ("docker", 30),
    ("discovery", 30),
    // Readiness by health or log asks the engine.
    ("probe", 31),
    ("telemetry", 30),
    ("shutdown", 30),
    ("proxy", 40),
    ("admin", 40),
    ("app", 50),
    ("bench", 60),
    ("cli", 61),
    ("main", 62),
    ("lib", 62),
];

/// What the core of the pool must not know of.
const NOT_IN_POOL: &[&str] = &["bollard", "hyper", "axum", "serde", "clap", "reqwest"];

const HARD_CAP: usize = 600;
const MEDIAN: usize = 150;
/// A longer test module has a file of its own.
const INLINE_TESTS: usize = 100;

/// One source file.
struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
}

// === impl Source ===

impl Source {
    /// Whether it is all test code.
    fn is_test(&self) -> bool {
        let below = |dir: &str| self.path.split('/').any(|part| part == dir);
        (below("tests") && !below("support") && !below("fixture"))
            || below("benches")
            || self.path.ends_with("/tests.rs")
    }

    /// The code and the test module at its end.
    fn parts(&self) -> (&str, &str) {
        let starts = ["mod tests {", "pub(crate) mod tests {"]
            .map(|head| self.text.find(&format!("\n#[cfg(test)]\n{head}")));
        match starts.into_iter().flatten().next() {
            Some(start) => self.text.split_at(start),
            None => (&self.text, ""),
        }
    }

    /// The modules it is in, from the crate's root: `docker`, `launch` for
    /// `src/docker/launch.rs`.
    fn module(&self, src: &str) -> Vec<&str> {
        let inside = self.path.strip_prefix(src).and_then(|path| path.strip_prefix('/')).unwrap();
        inside.strip_suffix(".rs").unwrap().split('/').collect()
    }

    /// The modules at the root of its crate that its code names.
    fn edges(&self, src: &str) -> Vec<String> {
        let lines = self.parts().0.lines();
        let code: Vec<_> = lines.filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        // As many `super::` as it is deep lead to the root.
        let up = "super::".repeat(self.module(src).len());
        // The program sees the library as another crate.
        let own = if self.path == "src/main.rs" { "ganger::" } else { "crate::" };
        let mut edges = Vec::new();
        for root in [own, &up] {
            for (start, _) in code.match_indices(root) {
                // Not the end of a longer path or name.
                let before = code[..start].chars().next_back();
                if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                    edges.extend(heads(&code[start + root.len()..]));
                }
            }
        }
        edges
    }
}

/// The first name of a path, or of each path in a group in braces.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                heads.push(name(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty() && head != "self");
    heads
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below these directories.
fn sources(dirs: &[&str]) -> Vec<Source> {
    let mut pending: Vec<PathBuf> = dirs.iter().map(|dir| root().join(dir)).collect();
    let mut sources = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            sources.push(Source { path, text });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!sources.is_empty());
    sources
}

fn every_source() -> Vec<Source> {
    let dirs = ["src", "pool", "xtask", "demo", "tests", "benches", "build.rs"];
    let dirs: Vec<_> = dirs.into_iter().filter(|dir| root().join(dir).exists()).collect();
    sources(&dirs)
}

fn assert_none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}

/// What is wrong with the imports of these files.
fn layering(
    sources: &[Source],
    src: &str,
    layer: impl Fn(&str) -> Option<u32>,
    peers: bool,
) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let from = source.module(src)[0];
        let Some(own) = layer(from) else {
            problems.push(format!("{}: module `{from}` has no layer", source.path));
            continue;
        };
        for to in source.edges(src) {
            match layer(&to) {
                _ if to == from => {}
                None => problems.push(format!(
                    "{}: `{to}` has no layer: import from the module that has it",
                    source.path
                )),
                Some(other) if other < own || (peers && other == own) => {}
                Some(other) => problems.push(format!(
                    "{}: `{from}` (layer {own}) imports `{to}` (layer {other})",
                    source.path
                )),
            }
        }
    }
    problems
}

fn in_table(table: &[(&str, u32)], module: &str) -> Option<u32> {
    table.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn pool_layer(module: &str) -> Option<u32> {
    let is_module = module.starts_with(|c: char| c.is_ascii_lowercase());
    in_table(POOL, module).or(is_module.then_some(POOL_REST))
}

#[test]
fn a_module_of_the_application_imports_only_lower_layers() {
    let problems = layering(&sources(&["src"]), "src", |module| in_table(APP, module), false);
    assert_none(&problems, "the layer table of ARCHITECTURE.md");
}

#[test]
fn a_module_of_the_pool_imports_no_higher_layer() {
    let problems = layering(&sources(&["pool/src"]), "pool/src", pool_layer, true);
    assert_none(&problems, "the layer table of ARCHITECTURE.md");
}

#[test]
fn the_layer_check_sees_every_way_to_name_a_module() {
    let problems = |path: &str, text: &str| {
        let source = Source { path: path.into(), text: text.into() };
        layering(&[source], "src", |module| in_table(APP, module), false).len()
    };
    assert_eq!(problems("src/docker/a.rs", "use crate::reach::Backend;"), 0);
    assert_eq!(problems("src/docker/a.rs", "use super::config::X;\nuse crate::docker::b;"), 0);
    assert_eq!(problems("src/docker/a.rs", "// crate::proxy\nganger_pool::x();"), 0);
    assert_eq!(problems("src/docker/a.rs", "#[cfg(test)]\nmod x;\nuse crate::proxy::X;"), 1);
    assert_eq!(problems("src/docker/a.rs", "use crate::{\n    image,\n    proxy::{A, B},\n};"), 1);
    assert_eq!(problems("src/docker/a.rs", "fn f() { super::super::proxy::x() }"), 1);
    assert_eq!(problems("src/docker.rs", "use super::proxy;"), 1);
    assert_eq!(problems("src/docker.rs", "use crate::config::Config;"), 1);
    assert_eq!(problems("src/docker.rs", "use crate::Config;"), 1);
    assert_eq!(problems("src/main.rs", "use ganger::{app, docker};"), 0);
    assert_eq!(problems("src/unheard_of.rs", ""), 1);
}

#[test]
fn the_pool_knows_no_engine_and_no_format() {
    let manifest = fs::read_to_string(root().join("pool/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names = dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    let found: Vec<_> = names.filter(|name| NOT_IN_POOL.contains(name)).map(Into::into).collect();
    assert_none(&found, "dependencies that the pool must not have");
}

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

/// The cells of the table of faults, row by row.
fn faults() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    let rows = rows.filter(|line| !line.starts_with("| ---"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect())
        .collect()
}

/// Whether a file has a function of this name with an attribute that makes it a test.
fn is_test(file: &str, name: &str) -> bool {
    let Some((before, _)) = file.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let mut attributes =
        before.rsplit('\n').skip(1).take_while(|line| line.trim().starts_with('#'));
    attributes.any(|line| line.contains("test]") || line.contains("test("))
}

#[test]
fn every_fault_names_tests_that_exist_or_says_that_there_is_none() {
    let (rows, mut problems, mut last) = (faults(), Vec::new(), 0);
    for row in &rows {
        // Numbers stay as they are, whatever is added or taken out.
        let number: u32 = row[0].parse().unwrap();
        assert!(number > last && row.len() == 5, "after {last}: {row:?}");
        last = number;
        let (mut file, mut tests) = (String::new(), 0);
        // What is in backquotes is every second part.
        for name in row[3].split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                file = fs::read_to_string(root().join(name)).unwrap_or_default();
                continue;
            }
            tests += 1;
            if !is_test(&file, name) {
                problems.push(format!("{number}: {name}"));
            }
        }
        if (tests == 0) != (row[3] == "no test") || (tests == 0 && row[4].is_empty()) {
            problems.push(format!("{number}: neither a test nor a reason why there is none"));
        }
    }
    assert!(rows.len() > 40, "only {} rows", rows.len());
    assert_none(&problems, "tests that docs/faults.md names and that are not there");
}
