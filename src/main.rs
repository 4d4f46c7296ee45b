//! The `ganger` program.

fn main() {}
