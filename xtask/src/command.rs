//! Running other programs, with errors that say what was run and what it said.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context, Result, bail};

/// Prints a line. A reader that has gone, as with `| head`, is no failure.
pub(crate) fn say(line: &str) {
    _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Cargo, run at the top of the repository.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).current_dir(root());
    // Set by the cargo that runs us, for our own package.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_")) {
            cargo.env_remove(name);
        }
    }
    cargo.env_remove("CARGO_MANIFEST_DIR");
    cargo
}

/// Where cargo puts what it builds.
#[cfg(target_os = "linux")]
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| root().join("target"), Into::into)
}

/// The release build of the program.
#[cfg(target_os = "linux")]
pub(crate) fn ganger() -> Command {
    Command::new(target().join("release/ganger"))
}

/// Runs a program to its end, quietly, and returns what it printed.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only a fleet needs it"))]
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    output_of(command)
}

/// The same for a command that needs more than arguments.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only a fleet needs it"))]
pub(crate) fn output_of(mut command: Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("`{}` could not be run", line(&command)))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        bail!("`{}` failed ({status}): {}", line(&command), said.trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs a program to its end in the foreground, where it says for itself what is wrong.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(&format!("+ {}", line(command)));
    let status =
        command.status().with_context(|| format!("`{}` could not be run", line(command)))?;
    check(command, status)
}

/// Fails when a program has.
pub(crate) fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// A command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = command.get_program();
    let program = Path::new(program).file_name().unwrap_or(program);
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
