//! Names of types that mean more than one thing in a package.

use std::collections::{BTreeMap, BTreeSet};

use super::circles::PACKAGES;
use super::source::{Source, assert_none, sources};

/// Stands in for `xtask/src/fleet.rs` where there are no namespaces, under the same names.
const STAND_IN: &str = "xtask/src/fleet_elsewhere.rs";

/// The types at the top level of a file that are not for its tests.
fn types(source: &Source) -> BTreeSet<&str> {
    let mut types = BTreeSet::new();
    for line in source.parts().0.lines() {
        let line = match line.strip_prefix("pub(") {
            Some(rest) => rest.split_once(") ").map_or("", |(_, rest)| rest),
            None => line.strip_prefix("pub ").unwrap_or(line),
        };
        let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
        let Some(rest) = kinds.iter().find_map(|kind| line.strip_prefix(kind)) else { continue };
        types.extend(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
    }
    types
}

/// The names that more than one file of a package gives to a type.
fn doubled(sources: &[Source]) -> BTreeSet<&str> {
    let mut files = BTreeMap::<_, u32>::new();
    for source in sources {
        types(source).into_iter().for_each(|name| *files.entry(name).or_default() += 1);
    }
    files.into_iter().filter(|(_, files)| *files > 1).map(|(name, _)| name).collect()
}

#[test]
fn a_type_has_a_name_of_its_own_in_its_package() {
    let mut problems = Vec::new();
    for src in PACKAGES {
        let mut sources = sources(&[src]);
        sources.retain(|source| !source.is_test() || src.starts_with("tests/"));
        sources.retain(|source| source.path != STAND_IN);
        let doubled = doubled(&sources);
        problems
            .extend(doubled.iter().map(|name| format!("{src}: `{name}` is the name of two types")));
    }
    assert_none(&problems, "a name means one thing in a package");
}

#[test]
fn the_name_check_sees_every_kind_of_type_and_no_test() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let text = "pub(super) struct A<T> {\nenum B {\npub trait C: D {\ntype E = F;\n    struct G;\n\
                \n#[cfg(test)]\nmod tests {\nstruct H;";
    let (one, other) = (source("src/a.rs", text), source("src/b.rs", "pub struct A;\nenum X {"));
    assert_eq!(types(&one), BTreeSet::from(["A", "B", "C", "E"]));
    assert_eq!(doubled(&[one, other]), BTreeSet::from(["A"]));
}
