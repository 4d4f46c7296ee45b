//! Compiles the demo's echo service, which is built into the program.
//!
//! It has to be a static Linux executable of its own, which cargo cannot make a
//! dependency of this one on stable Rust; it is one file without dependencies,
//! so the compiler is called directly.

use std::env;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "demo/src/main.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
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
