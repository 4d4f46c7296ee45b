//! Who may import whom.

use std::collections::BTreeSet;
use std::fs;

use super::source::{Source, assert_none, root, sources};

/// A layer: its name, and its modules.
type Layer = (&'static str, &'static [&'static str]);

/// Layers of the pool, the lowest first. Modules of one layer may import each other, for they
/// are one machine; one that is not named here is in [`MACHINE`].
const POOL: &[Layer] = &[
    ("brain", &["backoff", "core"]),
    ("ports", &["runtime", "probe", "discovery"]),
    (MACHINE, &[]),
];
const MACHINE: &str = "machine";

/// Layers of the application, the lowest first; it has the pool below it. A module imports
/// only lower layers: two adapters know nothing of each other.
const APP: &[Layer] = &[
    ("kernel", &["tls", "dyn_eq", "aside", "reactor", "netlink"]),
    ("wire", &["reach", "spec", "endpoint", "image", "registry", "token", "legible", "chart"]),
    ("cells", &["cell"]),
    ("http", &["http"]),
    ("consul", &["consul"]),
    ("discovery", &["discovery"]),
    ("adapters", &["config", "docker", "telemetry", "shutdown"]),
    // Readiness by health or log asks the engine.
    ("probes", &["probe"]),
    ("consumers", &["proxy"]),
    ("operators", &["admin"]),
    ("root", &["app"]),
    ("tools", &["bench", "trial"]),
    ("verbs", &["cli"]),
    ("program", &["main", "lib"]),
];

/// The crates that the core of the pool must not know of.
const NOT_IN_POOL: &[&str] = &["bollard", "hyper", "axum", "serde", "clap", "reqwest"];

/// The mistakes in the imports of these files.
fn layering(sources: &[Source], src: &str, layers: &[Layer]) -> Vec<String> {
    let is_pool = layers.iter().any(|(name, _)| *name == MACHINE);
    let rank = |module: &str| {
        let named = layers.iter().position(|(_, modules)| modules.contains(&module));
        let is_module = module.starts_with(|c: char| c.is_ascii_lowercase());
        named.or((is_pool && is_module).then_some(layers.len() - 1))
    };
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let from = source.module(src)[0];
        let Some(own) = rank(from) else {
            problems.push(format!("{}: module `{from}` has no layer", source.path));
            continue;
        };
        for to in source.edges(src) {
            match rank(&to) {
                _ if to == from => {}
                None => problems.push(format!(
                    "{}: `{to}` has no layer: import from the module that has it",
                    source.path
                )),
                Some(other) if other < own || (is_pool && other == own) => {}
                Some(other) => problems.push(format!(
                    "{}: `{from}` ({}) imports `{to}` ({})",
                    source.path, layers[own].0, layers[other].0
                )),
            }
        }
    }
    problems
}

/// The rows of the table of layers in ARCHITECTURE.md: name and modules.
fn documented() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.split("### Layers").nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let modules = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (cells[1].to_owned(), modules)
    };
    rows.map(row).collect()
}

#[test]
fn a_module_of_the_application_imports_only_lower_layers() {
    let problems = layering(&sources(&["src"]), "src", APP);
    println!("{} arrows upward in the application", problems.len());
    assert_none(&problems, "the layer table of ARCHITECTURE.md");
}

#[test]
fn a_module_of_the_pool_imports_no_higher_layer() {
    let problems = layering(&sources(&["pool/src"]), "pool/src", POOL);
    println!("{} arrows upward in the pool", problems.len());
    assert_none(&problems, "the layer table of ARCHITECTURE.md");
}

#[test]
fn architecture_names_the_same_layers_in_the_same_order() {
    let layers = POOL.iter().filter(|(_, modules)| !modules.is_empty()).chain(APP);
    let layers = layers.map(|(name, modules)| {
        ((*name).to_owned(), modules.iter().map(|module| (*module).to_owned()).collect())
    });
    assert_eq!(documented(), layers.collect::<Vec<_>>());
}

#[test]
fn the_layer_check_sees_every_way_to_name_a_module() {
    let problems = |path: &str, text: &str| {
        let source = Source { path: path.into(), text: text.into() };
        layering(&[source], "src", APP).len()
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
