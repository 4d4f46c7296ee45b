//! The source files, and what their text says of modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
pub(super) struct Source {
    /// From the root of the repository.
    pub(super) path: String,
    pub(super) text: String,
}

// === impl Source ===

impl Source {
    /// Whether it is all test code.
    pub(super) fn is_test(&self) -> bool {
        let below = |dir: &str| self.path.split('/').any(|part| part == dir);
        (below("tests") && !below("support") && !below("fixture"))
            || below("benches")
            || self.path.ends_with("/tests.rs")
    }

    /// The code and the test module at its end.
    pub(super) fn parts(&self) -> (&str, &str) {
        let starts = ["mod tests {", "pub(crate) mod tests {"]
            .map(|head| self.text.find(&format!("\n#[cfg(test)]\n{head}")));
        match starts.into_iter().flatten().next() {
            Some(start) => self.text.split_at(start),
            None => (&self.text, ""),
        }
    }

    /// The modules it is in, from the crate's root: `docker`, `launch` for
    /// `src/docker/launch.rs`.
    pub(super) fn module(&self, src: &str) -> Vec<&str> {
        let inside = self.path.strip_prefix(src).and_then(|path| path.strip_prefix('/')).unwrap();
        inside.strip_suffix(".rs").unwrap().split('/').collect()
    }

    /// Its code without comments and tests.
    fn code(&self) -> String {
        let lines = self.parts().0.lines();
        let code: Vec<_> = lines.filter(|line| !line.trim_start().starts_with("//")).collect();
        code.join("\n")
    }

    /// The modules at the root of its crate that its code names.
    pub(super) fn edges(&self, src: &str) -> BTreeSet<String> {
        let paths = self.paths(src).into_iter();
        paths.filter_map(|path| path.into_iter().next()).collect()
    }

    /// All paths in its code that begin at a module which is named `crate`, `super` or `self`,
    /// from the crate's root on.
    pub(super) fn paths(&self, src: &str) -> Vec<Vec<String>> {
        let (code, module) = (self.code(), self.module(src));
        // The program sees the library as another crate.
        let own = if self.path == "src/main.rs" { "ganger::" } else { "crate::" };
        let module: Vec<_> = module.into_iter().map(str::to_owned).collect();
        let mut paths = Vec::new();
        for (start, root) in [own, "super::", "self::"].iter().flat_map(|r| code.match_indices(r)) {
            // Not the end of a longer path or name.
            let before = code[..start].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut rest = &code[start + root.len()..];
            let mut base = match root {
                "super::" => module[..module.len() - 1].to_vec(),
                "self::" => module.clone(),
                _ => Vec::new(),
            };
            while let Some(up) = rest.strip_prefix("super::") {
                rest = up;
                base.pop();
            }
            paths.extend(expand(rest).into_iter().map(|path| [base.clone(), path].concat()));
        }
        paths
    }

    /// The modules that it declares, but for those of tests.
    pub(super) fn declared(&self) -> Vec<String> {
        let code = self.code();
        let lines: Vec<_> = code.lines().collect();
        let mut declared = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let name = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
            let tested = at > 0 && lines[at - 1].contains("cfg(test)");
            declared.extend(name.filter(|_| !tested).map(str::to_owned));
        }
        declared
    }
}

/// Each path that the text begins with: one, or those of a group in braces.
fn expand(text: &str) -> Vec<Vec<String>> {
    if let Some(group) = text.strip_prefix('{') {
        return parts(group).iter().flat_map(|part| expand(part)).collect();
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name == "self" {
        return vec![Vec::new()];
    }
    let rest = rest.strip_prefix("::").map_or_else(|| vec![Vec::new()], expand);
    rest.into_iter().map(|path| [vec![name.to_owned()], path].concat()).collect()
}

/// The parts between the commas of a group, up to the brace that closes it.
fn parts(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                parts.push(group[start..at].trim());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below these directories.
pub(super) fn sources(dirs: &[&str]) -> Vec<Source> {
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

pub(super) fn every_source() -> Vec<Source> {
    let dirs = ["src", "pool", "xtask", "demo", "tests", "benches", "build.rs"];
    let dirs: Vec<_> = dirs.into_iter().filter(|dir| root().join(dir).exists()).collect();
    sources(&dirs)
}

pub(super) fn assert_none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}
