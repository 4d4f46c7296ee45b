//! Compiles the demo's echo service, which is built into the program, and says which version
//! that is.
//!
//! The service has to be a static Linux executable of its own, which cargo cannot make a
//! dependency of this one on stable Rust; it is one file without dependencies,
//! so the compiler is called directly.

use std::env;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "demo/src/main.rs";
/// How much of a commit's name is shown.
const SHORT: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=GANGER_VERSION={}", version());
    println!("cargo::rustc-env=GANGER_TARGET={}", env::var("TARGET").unwrap_or_default());
    if let Err(problem) = compile() {
        println!("cargo::error={problem}");
    }
}

fn compile() -> Result<(), String> {
    let var = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let target = match var("CARGO_CFG_TARGET_OS")?.as_str() {
        "linux" => var("TARGET")?,
        // A container is Linux wherever its client runs.
        _ => format!("{}-unknown-linux-musl", var("CARGO_CFG_TARGET_ARCH")?),
    };
    let mut rustc = Command::new(var("RUSTC")?);
    rustc
        .args(["--edition=2024", "--crate-name=echo", "--crate-type=bin", "--target", &target])
        // `static`: a position-independent one is larger, and gains nothing here.
        .args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"])
        .args(["-C", "opt-level=s", "-C", "lto=fat", "-C", "codegen-units=1"])
        .args(["-C", "panic=abort", "-C", "strip=symbols"])
        .arg("-o")
        .arg(Path::new(&var("OUT_DIR")?).join("echo"))
        .arg(SOURCE);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let output = rustc.output().map_err(|error| format!("{rustc:?} could not be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    for line in said.lines() {
        println!("cargo::warning={line}");
    }
    Err(format!(
        "the echo service could not be compiled statically for {target}: it needs the target \
         (`rustup target add {target}`) and the static C library (Debian: libc6-dev)"
    ))
}

/// The version, with the commit and its date where this is a git checkout and there is `git`.
///
/// Both are of the commit and not of the build, so that the same commit always gives the same
/// program. Whether files were changed since is not said: to know it would take a look at each build.
fn version() -> String {
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // A checkout of something else that has these sources somewhere in it does not count.
    if !Path::new(".git").exists() {
        return version;
    }
    let Some(commit) = git(&["log", "-1", "--no-show-signature", "--format=%H %cs"]) else {
        return version;
    };
    for file in commit_files() {
        println!("cargo::rerun-if-changed={file}");
    }
    match commit.split_once(' ') {
        Some((hash, date)) if hash.len() > SHORT => {
            format!("{version} ({} {date})", &hash[..SHORT])
        }
        _ => version,
    }
}

/// The files that change when another commit is checked out or made. A file that is absent must not
/// be among them: cargo would build anew each time.
fn commit_files() -> Vec<String> {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let names = ["HEAD", "logs/HEAD", "packed-refs", "reftable/tables.list"];
    let names = names.into_iter().chain(branch.as_deref());
    let paths = names.filter_map(|name| git(&["rev-parse", "--git-path", name]));
    paths.filter(|path| Path::new(path).exists()).collect()
}

/// Asks `git` about this checkout; `None` where it fails or is absent.
fn git(args: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    // Set where a hook of some repository builds.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(name);
    }
    let output = git.args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
