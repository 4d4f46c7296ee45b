//! The second disk of the virtual machine: what was built here, at the paths it has here, since
//! tests have some of them compiled in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;

use super::inside::Case;
use super::plan::Plan;
use super::system;
use crate::checks::ENGINE_TARGET;
use crate::command::{self, cargo};
use crate::deb;

/// The target of a statically linked program. Named, so that its flags are not those of programs
/// that run during the build.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Links the disk's files to their places, and goes on with ourselves.
const START: &str = "\
#!/bin/sh
set -e
cp -rs /payload/files/. /
exec /payload/xtask vm-inside /payload/plan.json
";

/// Builds what these cases need, and the disk.
pub(super) fn build(dir: &Path, filters: Vec<String>, cases: &[Case]) -> Result<PathBuf> {
    command::say("building ganger and tests: some minutes the first time");
    command::run(&mut cargo(&["build", "--release", "--package", "ganger"]))?;
    let mut files = Vec::new();
    let tests = if cases.iter().any(Case::is_test) {
        files.push(fixture()?);
        let (program, tests) = build_tests()?;
        files.push(program);
        Some(tests)
    } else {
        None
    };
    let of_image = cases.iter().any(Case::is_of_image);
    let of_package = cases.iter().any(Case::is_of_package);
    let plan = Plan {
        filters,
        ganger: std::path::absolute(command::target().join("release/ganger"))?,
        static_ganger: of_image.then(build_static).transpose()?,
        package: of_package.then(|| deb::run(None)).transpose()?,
        unit: command::root().join("deploy/systemd/ganger.service"),
        socket: command::root().join("deploy/systemd/ganger.socket"),
        tests,
    };
    files.extend([plan.ganger.clone(), plan.unit.clone(), plan.socket.clone()]);
    files.extend([&plan.tests, &plan.static_ganger, &plan.package].into_iter().flatten().cloned());

    let content = dir.join("payload");
    if content.exists() {
        fs::remove_dir_all(&content)?;
    }
    let mut size = 0;
    for file in &files {
        let place = content.join("files").join(file.strip_prefix("/")?);
        size += copy(file, &place)?;
    }
    size += copy(&std::env::current_exe()?, &content.join("xtask"))?;
    fs::write(content.join("plan.json"), serde_json::to_string_pretty(&plan)?)?;
    fs::write(content.join("start"), START)?;
    let disk = dir.join("payload.disk");
    // A file system needs more room than its files.
    let size = size / (1 << 20) * 11 / 10 + 64;
    // The disk is sparse, and one that is there would be written over.
    if disk.exists() {
        fs::remove_file(&disk)?;
    }
    system::image(&content, &disk, &format!("{size}M"), "ganger-vm")?;
    fs::remove_dir_all(content)?;
    Ok(disk)
}

fn copy(file: &Path, place: &Path) -> Result<u64> {
    let dir = place.parent().context("a file in a directory")?;
    fs::create_dir_all(dir)?;
    fs::copy(file, place).with_context(|| format!("copy of {}", file.display()))
}

/// Builds the program statically, as its image needs it.
fn build_static() -> Result<PathBuf> {
    let mut build = cargo(&["build", "--release", "--package", "ganger", "--target", TARGET]);
    command::run(build.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(std::path::absolute(command::target().join(TARGET).join("release/ganger"))?)
}

/// Builds the fixture as the tests would, which find no cargo inside.
fn fixture() -> Result<PathBuf> {
    let target = command::root().join("target/fixture");
    let mut build = cargo(&["build", "--release", "--package", "ganger-fixture", "--target-dir"]);
    build.arg(&target).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
    let flags = include_str!("../../../tests/fixture/rustflags");
    command::run(build.env("RUSTFLAGS", flags.trim()))?;
    Ok(target.join("release/fixture"))
}

/// The program that the tests run, and their executable.
fn build_tests() -> Result<(PathBuf, PathBuf)> {
    // As `cargo xtask test` does, so that nothing is built twice.
    let mut build = cargo(&["test", "--workspace", "--all-features", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    build.args(["--test", ENGINE_TARGET]);
    build.stderr(Stdio::inherit());
    command::say(&format!("+ {}", command::line(&build)));
    let built = build.output().context("`cargo test --no-run` could not be run")?;
    command::check(&build, built.status)?;
    let built = String::from_utf8(built.stdout)?;
    let executables: Vec<_> = built.lines().filter_map(executable).collect();
    let named = |kind: &str, name: &str| {
        let found = executables.iter().find(|(is, called, _)| is == kind && called == name);
        found
            .map(|(.., path)| path.clone())
            .with_context(|| format!("cargo built no {kind} {name}"))
    };
    Ok((named("bin", "ganger")?, named("test", ENGINE_TARGET)?))
}

/// Kind, name and place of what a message of cargo's says was built.
fn executable(message: &str) -> Option<(String, String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let (target, path) = (&message["target"], message["executable"].as_str()?);
    Some((target["kind"][0].as_str()?.to_owned(), target["name"].as_str()?.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_built_is_found() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"cli"},
            "executable":"/target/debug/deps/cli-1"}"#;
        let (kind, name, path) = executable(message).unwrap();
        assert_eq!((kind.as_str(), name.as_str()), ("test", "cli"));
        assert_eq!(path, Path::new("/target/debug/deps/cli-1"));
        assert!(executable(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
