//! The image of the built-in echo service.

use super::{File, Image, archive};

/// What the echo service's image is called. No registry has it: the program
/// loads it into an engine itself.
pub const ECHO_REFERENCE: &str = "ganger.local/echo:1";

/// The port that the echo service listens on.
pub const ECHO_PORT: u16 = 7000;

/// Compiled by build.rs.
static ECHO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo"));

/// The echo service's image, ready to be loaded: its reference and its archive.
#[must_use]
pub fn echo() -> (&'static str, Vec<u8>) {
    let image = Image {
        reference: ECHO_REFERENCE,
        files: &[File { path: "/echo", mode: 0o755, content: ECHO }],
        command: &["/echo"],
        port: Some(ECHO_PORT),
        user: "65534:65534",
        ..Image::default()
    };
    (ECHO_REFERENCE, archive(&image))
}
