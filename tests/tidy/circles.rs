//! Files that import each other in a circle.
//!
//! A module and its parts are one house: what a part takes from the module that it is in makes
//! no circle. What a module declares, it imports.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, assert_none, sources};

/// The sources of each package.
pub(super) const PACKAGES: [&str; 5] =
    ["src", "pool/src", "xtask/src", "tests/soak/src", "tests/support/src"];

type Module = Vec<String>;

/// Who imports whom in a package.
fn imports(sources: &[Source], src: &str) -> BTreeMap<Module, BTreeSet<Module>> {
    let owned =
        |source: &Source| -> Module { source.module(src).into_iter().map(str::to_owned).collect() };
    let code = sources.iter().filter(|source| !source.is_test() || src.starts_with("tests/"));
    let known: BTreeSet<Module> = code.clone().map(owned).collect();
    let of = |module: &[String]| {
        let source = code.clone().find(|source| owned(source) == module);
        source.map_or_else(String::new, |source| source.text.clone())
    };
    let mut imports = BTreeMap::new();
    for source in code.clone() {
        let own = owned(source);
        let parts = source.declared().into_iter().map(|name| [own.clone(), vec![name]].concat());
        let mut to = BTreeSet::new();
        for path in source.paths(src).into_iter().chain(parts) {
            // The file of a path is that of its longest beginning; the root is nobody's part.
            let file = (1..=path.len()).rev().map(|len| &path[..len]).find(|p| known.contains(*p));
            let Some(file) = file else { continue };
            if !own.starts_with(file) {
                to.insert(file.to_vec());
            } else if let Some(name) = path.get(file.len())
                && let Some(part) = handed_on(&of(file), name)
            {
                // The name comes from another part of the same module, by way of the module.
                let part = [file.to_vec(), vec![part]].concat();
                to.extend(Some(part).filter(|part| !own.starts_with(part)));
            }
        }
        imports.insert(own, to);
    }
    imports
}

/// The part of a module that a name in it comes from, if the module only hands it on.
fn handed_on(text: &str, name: &str) -> Option<String> {
    let uses = text.split(';').filter_map(|item| item.split("use ").last());
    let has =
        |names: &str| names.split(|c: char| !c.is_alphanumeric() && c != '_').any(|n| n == name);
    let mut parts = uses.filter_map(|path| path.split_once("::"));
    let (part, _) = parts.find(|(part, names)| {
        let is_part = text.contains(&format!("mod {part};"));
        is_part && has(names)
    })?;
    Some(part.to_owned())
}

/// Groups of files that all lead to each other.
fn circles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let reached = |from: &Module| {
        let (mut reached, mut pending) = (BTreeSet::new(), vec![from]);
        while let Some(next) = pending.pop() {
            let new = imports.get(next).into_iter().flatten();
            pending.extend(new.filter(|module| reached.insert((*module).clone())));
        }
        reached
    };
    let reached: BTreeMap<_, _> = imports.keys().map(|from| (from, reached(from))).collect();
    let mut circles = BTreeSet::new();
    for (from, to) in reached.iter().filter(|(from, to)| to.contains(**from)) {
        let back = |module: &&Module| reached.get(module).is_some_and(|to| to.contains(*from));
        let circle: Vec<_> = to.iter().filter(back).map(|module| module.join("/")).collect();
        circles.insert(circle.join(", "));
    }
    circles.into_iter().collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut found = Vec::new();
    for src in PACKAGES {
        let circles = circles(&imports(&sources(&[src]), src));
        found.extend(circles.iter().map(|circle| format!("{src}: {circle}")));
    }
    println!("{} circles", found.len());
    assert_none(&found, "what both sides need belongs in a third file");
}

#[test]
fn the_circle_check_sees_circles_and_takes_a_module_and_its_parts_for_one() {
    let found = |files: &[(&str, &str)]| {
        let source = |(path, text): &(&str, &str)| Source {
            path: format!("src/{path}"),
            text: (*text).to_owned(),
        };
        circles(&imports(&files.iter().map(source).collect::<Vec<_>>(), "src")).len()
    };
    assert_eq!(found(&[("a.rs", "use crate::b::X;"), ("b.rs", "")]), 0);
    assert_eq!(found(&[("a.rs", "use crate::b::X;"), ("b.rs", "use crate::a::Y;")]), 1);
    assert_eq!(
        found(&[("a.rs", "use super::{\n    c,\n    b::X,\n};"), ("b.rs", "use super::a;")]),
        1
    );
    let parent = ("a.rs", "mod b;\nmod c;");
    assert_eq!(found(&[parent, ("a/b.rs", "use super::X;"), ("a/c.rs", "use super::b::Y;")]), 0);
    let handing = ("a.rs", "mod b;\nmod c;\npub use b::{U, X};\nuse c::Y;");
    assert_eq!(found(&[handing, ("a/b.rs", "use super::Y;"), ("a/c.rs", "use super::X;")]), 1);
    assert_eq!(found(&[handing, ("a/b.rs", "use super::Y;"), ("a/c.rs", "use super::Z;")]), 0);
    let other = ("d.rs", "use crate::a::X;");
    assert_eq!(found(&[parent, ("a/b.rs", "use crate::d::Z;"), ("a/c.rs", ""), other]), 1);
    let tested = ("a.rs", "#[cfg(test)]\nmod b;");
    assert_eq!(found(&[tested, ("a/b.rs", "use crate::d::Z;"), other]), 0);
}
