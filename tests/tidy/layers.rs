//! Who may import whom.

use std::fs;

use super::source::{Source, assert_none, root, sources};

/// Layers of the pool. Modules of one layer may import each other, for they
/// are one machine; one that is not named here is in the highest.
const POOL: &[(&str, u32)] =
    &[("backoff", 0), ("core", 0), ("runtime", 1), ("probe", 1), ("discovery", 1), ("error", 1)];
const POOL_REST: u32 = 2;

/// Layers of the application, which has the pool below it. A module imports
/// only lower layers: two adapters know nothing of each other.
const APP: &[(&str, u32)] = &[
    ("tls", 24),
    ("dyn_eq", 24),
    ("aside", 24),
    ("reactor", 24),
    ("netlink", 24),
    ("reach", 25),
    ("spec", 25),
    ("endpoint", 25),
    ("http", 26),
    ("consul", 27),
    ("discovery", 28),
    ("image", 25),
    ("registry", 25),
    ("token", 25),
    ("legible", 25),
    ("chart", 25),
    ("config", 30),
    ("docker", 30),
    // Readiness by health or log asks the engine.
    ("probe", 31),
    ("telemetry", 30),
    ("shutdown", 30),
    ("proxy", 40),
    ("admin", 41),
    ("app", 50),
    ("bench", 60),
    ("trial", 60),
    ("cli", 61),
    ("main", 62),
    ("lib", 62),
];

/// What the core of the pool must not know of.
const NOT_IN_POOL: &[&str] = &["bollard", "hyper", "axum", "serde", "clap", "reqwest"];

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
    println!("{} arrows upward in the application", problems.len());
    assert_none(&problems, "the layer table of ARCHITECTURE.md");
}

#[test]
fn a_module_of_the_pool_imports_no_higher_layer() {
    let problems = layering(&sources(&["pool/src"]), "pool/src", pool_layer, true);
    println!("{} arrows upward in the pool", problems.len());
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
