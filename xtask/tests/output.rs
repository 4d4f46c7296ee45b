//! What it prints may go nowhere.

#![cfg(target_os = "linux")]

use std::process::Command;

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    // As with `cargo xtask fleet status | true`.
    for args in [&["fleet", "status"][..], &["fleet", "status", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let xtask = env!("CARGO_BIN_EXE_xtask");
        let output = Command::new(xtask).args(args).stdout(writer).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    }
}
