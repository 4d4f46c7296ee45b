//! The images that are built in: the echo service, and the holder of a network sandbox.

use super::{File, Image, archive};

/// The name of the echo service's image. No registry has it: the program
/// loads it into an engine itself.
pub const ECHO_REFERENCE: &str = "ganger.local/echo:1";

/// The name of the image of a sandbox's holder, likewise.
pub const SANDBOX_REFERENCE: &str = "ganger.local/sandbox:1";

/// The argument with which the program does nothing for ever.
pub(crate) const HOLD: &str = "--hold";

/// The port that the echo service listens on.
pub const ECHO_PORT: u16 = 7000;

/// Compiled by build.rs.
pub(crate) static HOLDER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo"));

/// The echo service's image, ready to be loaded: its reference and its archive.
#[must_use]
pub fn echo() -> (&'static str, Vec<u8>) {
    let image = Image {
        reference: ECHO_REFERENCE,
        files: &[File { path: "/echo", mode: 0o755, content: HOLDER }],
        command: &["/echo"],
        port: Some(ECHO_PORT),
        user: "65534:65534",
        ..Image::default()
    };
    (ECHO_REFERENCE, archive(&image))
}

/// The image of a sandbox's holder, ready to be loaded: its reference and its archive.
#[must_use]
pub fn sandbox() -> (&'static str, Vec<u8>) {
    let image = Image {
        reference: SANDBOX_REFERENCE,
        files: &[File { path: "/hold", mode: 0o755, content: HOLDER }],
        entrypoint: &["/hold"],
        command: &[HOLD],
        user: "65534:65534",
        ..Image::default()
    };
    (SANDBOX_REFERENCE, archive(&image))
}
