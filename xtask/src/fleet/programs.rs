//! The programs of engines from another Debian suite. They run beside the machine's own, each
//! with the loader and the libraries of its suite.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::kind::{Engine, Kind};
use crate::command::{output, target};
use crate::packages;
use crate::suite::{self, Extent};

/// Where a Debian package puts programs, those for other programs included.
const PLACES: [&str; 5] =
    ["usr/bin", "usr/sbin", "usr/libexec/docker", "usr/lib/podman", "usr/libexec/podman"];

/// Fetches what a kind needs, unless it is there.
pub(crate) fn ensure(kind: Kind) -> Result<()> {
    let Kind::Unpacked(engine, suite) = kind else { return Ok(()) };
    packages::ensure_patching()?;
    let finish = |dir: &Path| patch_all(dir, programs(engine));
    let extent = Extent::WithDependencies;
    suite::directory(&kind.to_string(), suite.name(), packages_of(engine), extent, finish)?;
    Ok(())
}

/// The programs' directory; none for the machine's own.
pub(crate) fn directory(kind: Kind) -> Option<PathBuf> {
    let suites = std::path::absolute(target().join("suites"));
    match kind {
        Kind::Installed => None,
        Kind::Unpacked(..) => Some(suites.ok()?.join(kind.to_string()).join("bin")),
    }
}

/// The PATH of the kind's processes.
pub(crate) fn search_path(kind: Kind) -> String {
    let rest = packages::search_path();
    directory(kind).map_or_else(|| rest.clone(), |bin| format!("{}:{rest}", bin.display()))
}

fn packages_of(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Docker => &["docker.io"],
        Engine::Podman => &["podman", "crun", "netavark", "aardvark-dns", "catatonit"],
    }
}

/// The programs that are run. `iptables` is the machine's own for every engine.
fn programs(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Docker => &[
            "dockerd",
            "docker-proxy",
            "docker-init",
            "containerd",
            "containerd-shim-runc-v2",
            "runc",
        ],
        Engine::Podman => &["podman", "conmon", "crun", "netavark", "aardvark-dns", "catatonit"],
    }
}

/// Makes `bin` and `lib` of what is unpacked in `root`, and deletes the rest.
fn patch_all(dir: &Path, programs: &[&str]) -> Result<()> {
    let (root, bin, lib) = (dir.join("root"), dir.join("bin"), dir.join("lib"));
    let (libraries, loader) = libraries(&root)?;
    fs::create_dir(&bin)?;
    for program in programs {
        let found = PLACES.iter().map(|place| root.join(place).join(program));
        let found = found.into_iter().find(|path| path.symlink_metadata().is_ok());
        let from = found.with_context(|| format!("the packages have no `{program}`"))?;
        let to = bin.join(program);
        fs::copy(inside(&root, &from)?, &to).with_context(|| from.display().to_string())?;
        patch(&to, &lib.join(&loader), &lib)?;
    }
    fs::rename(libraries, lib)?;
    fs::remove_dir_all(root).context("what is left of the packages")
}

/// The target of a link among the packages' files, were they installed.
fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..8 {
        let Ok(to) = fs::read_link(&path) else { return Ok(path) };
        path = match to.strip_prefix("/") {
            Ok(to) => root.join(to),
            Err(_) => path.with_file_name(to),
        };
    }
    bail!("{} is a link that leads nowhere", path.display())
}

/// The directory of the libraries, which is named after the processor, and the name of the
/// loader in it.
fn libraries(root: &Path) -> Result<(PathBuf, PathBuf)> {
    for dir in fs::read_dir(root.join("usr/lib"))?.flatten().map(|entry| entry.path()) {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("ld-linux")) {
                return Ok((dir, name.into()));
            }
        }
    }
    bail!("the packages have no loader, ld-linux")
}

/// Makes a program run with these libraries. A program that needs none stays as it is.
fn patch(program: &Path, loader: &Path, lib: &Path) -> Result<()> {
    let [program, loader, lib] = [program, loader, lib].map(|path| path.display().to_string());
    if output("patchelf", &["--print-interpreter", &program]).is_err() {
        return Ok(());
    }
    let words = ["--set-interpreter", &loader, "--force-rpath", "--set-rpath", &lib, &program];
    output("patchelf", &words).map(drop)
}
