//! The images that tests run.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use ganger::image::{File, Image, ImageHealthcheck, archive, echo};

/// The name of the fixture's image. Its containers take the arguments that
/// `tests/fixture/src/options.rs` lists, as their command.
pub const FIXTURE: &str = "ganger.test/fixture:1";

/// The same with a HEALTHCHECK that asks whether it listens.
pub const HEALTHY: &str = "ganger.test/healthy:1";
/// The same with a HEALTHCHECK that always says no.
pub const SICK: &str = "ganger.test/sick:1";

type Archive = (&'static str, Vec<u8>);

/// The echo service's image: its reference and its archive.
#[must_use]
pub fn echo_image() -> (&'static str, &'static [u8]) {
    static IMAGE: OnceLock<Archive> = OnceLock::new();
    let (reference, archive) = IMAGE.get_or_init(echo);
    (reference, archive)
}

/// The fixture's image: its reference and its archive. Compiles it when that
/// has not been done since it was changed.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn fixture_image() -> (&'static str, &'static [u8]) {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    (FIXTURE, IMAGE.get_or_init(|| pack(FIXTURE, None, &[])))
}

/// The images that [`HEALTHY`] and [`SICK`] name, as archives.
pub(crate) fn checked_images() -> [&'static [u8]; 2] {
    static IMAGES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    let check = |command, retries| ImageHealthcheck {
        command,
        interval: Duration::from_millis(200),
        timeout: Duration::from_secs(20),
        retries,
    };
    let [healthy, sick] = IMAGES.get_or_init(|| {
        [
            pack(HEALTHY, Some(check(&["/fixture", "--check"], 1000)), &[]),
            pack(
                SICK,
                Some(check(&["/fixture", "--log-start", "not today", "--exit", "1"], 2)),
                &[],
            ),
        ]
    });
    [healthy, sick]
}

/// The fixture as an image of another name and another id.
#[must_use]
pub fn fixture_as(reference: &str) -> Vec<u8> {
    pack(reference, None, &[("test", reference)])
}

fn pack(
    reference: &str,
    healthcheck: Option<ImageHealthcheck<'_>>,
    labels: &[(&str, &str)],
) -> Vec<u8> {
    static FIXTURE: OnceLock<Vec<u8>> = OnceLock::new();
    archive(&Image {
        reference,
        files: &[File { path: "/fixture", mode: 0o755, content: FIXTURE.get_or_init(compile) }],
        entrypoint: &["/fixture"],
        port: Some(7000),
        healthcheck,
        labels,
        ..Image::default()
    })
}

fn compile() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the repository");
    let target = root.join("target/fixture");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--release", "--package", "ganger-fixture", "--target-dir"])
        .arg(&target)
        .current_dir(root)
        // A static executable: there is nothing else in its image.
        .env("RUSTFLAGS", include_str!("../../fixture/rustflags").trim())
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    let output = cargo.output().expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the fixture does not compile: {said}");
    std::fs::read(target.join("release/fixture")).expect("the fixture")
}

/// The byte at a position of what the fixture sends with `--source` and
/// `--reply-then-exit`.
#[must_use]
pub fn pattern(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// The answer of the fixture's `--sink`: count and hash of what it received.
#[must_use]
pub fn checksum(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} {hash:016x}", data.len())
}
