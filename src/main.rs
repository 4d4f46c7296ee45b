//! The `ganger` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ganger::cli::main()
}
