//! An image of this program, as an archive for `docker load`.

mod elf;

use std::fs;
use std::io::{self, IsTerminal};
use std::time::Duration;

use super::super::out::print_bytes;
use super::{Exit, Failure, failed};
use crate::image::{File, Image, ImageHealthcheck, archive};

/// The default name. No registry has it, so that nobody else's is pulled in its place.
pub(super) const REFERENCE: &str = "ganger.local/ganger:latest";
/// Where the program is in it, which is in the usual PATH: `docker exec NAME ganger status`.
pub(super) const PROGRAM: &str = "/usr/bin/ganger";
/// The variable that says where the configuration is, and its value.
pub(super) const CONFIG: (&str, &str) = ("GANGER_CONFIG_FILE", "/etc/ganger/ganger.ron");
/// Where logins of registries are, as for root on a machine.
const LOGINS: (&str, &str) = ("DOCKER_CONFIG", "/root/.docker");

/// The file that this process runs, even if another has taken its place since.
const SELF: &str = "/proc/self/exe";

/// Prints the archive.
pub(super) fn image(reference: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        let message = "an image is nothing for a terminal: write `ganger generate image | docker load`, \
                       or `ganger generate image > ganger.tar`";
        return Err(Failure::new(Exit::Usage, message));
    }
    named(reference)?;
    let program = fs::read(SELF).map_err(|error| failed(format!("cannot read {SELF}: {error}")))?;
    print_bytes(&packed(reference, &program)?);
    Ok(())
}

/// Fails for a name of an image that an engine would refuse, or that has no tag.
fn named(reference: &str) -> Result<(), Failure> {
    let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, ""));
    let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c);
    let of_tag = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || tag.is_empty() || !name.chars().all(of_name) || !tag.chars().all(of_tag) {
        let message = format!("--tag {reference}: write a name and a tag, as in {REFERENCE}");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(())
}

fn packed(reference: &str, program: &[u8]) -> Result<Vec<u8>, Failure> {
    match elf::interpreter(program) {
        Some(None) => {}
        Some(Some(interpreter)) => return Err(failed(dynamic(&interpreter))),
        None => return Err(failed(format!("{SELF} is no executable that is understood (ELF)"))),
    }
    Ok(archive(&Image {
        reference,
        files: &[File { path: PROGRAM, mode: 0o755, content: program }],
        entrypoint: &[PROGRAM],
        command: &["run"],
        env: &[CONFIG, LOGINS],
        healthcheck: Some(ImageHealthcheck {
            command: &[PROGRAM, "status"],
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(15),
            retries: 3,
        }),
        ..Image::default()
    }))
}

/// Why a program that needs a loader cannot be the only file of an image, and what to do.
fn dynamic(interpreter: &str) -> String {
    let target = env!("GANGER_TARGET");
    format!(
        "this program is linked dynamically (it needs {interpreter}), and the image would have nothing \
         else in it. Build it statically, and run the program that comes of it:\n\n    \
         RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --package ganger --target {target}\n    \
         target/{target}/release/ganger generate image | docker load\n\n\
         The option --target has to be there. A target for musl, such as x86_64-unknown-linux-musl, links \
         statically by itself, where rustup has it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiled statically by build.rs.
    static STATIC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo"));

    #[test]
    fn a_static_program_is_packed_with_what_runs_it() {
        let archive = packed("x:1", STATIC).unwrap_or_default();
        let mut tar = tar::Archive::new(&archive[..]);
        let (mut layers, mut configs) = (0, Vec::new());
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            if path.ends_with("layer.tar") {
                layers += 1;
                assert!(entry.size() > STATIC.len() as u64, "{path}");
            } else if path.ends_with(".json") && path != "manifest.json" {
                configs.push(serde_json::from_reader::<_, serde_json::Value>(&mut entry).unwrap());
            }
        }
        let config = &configs[0]["config"];
        assert_eq!(layers, 1);
        assert_eq!(config["Entrypoint"], serde_json::json!([PROGRAM]));
        assert_eq!(config["Cmd"], serde_json::json!(["run"]));
        assert_eq!(config["Env"][0], "GANGER_CONFIG_FILE=/etc/ganger/ganger.ron");
        assert_eq!(config["Healthcheck"]["Test"], serde_json::json!(["CMD", PROGRAM, "status"]));
    }

    #[test]
    fn a_program_that_needs_a_loader_is_refused_with_the_way_to_build_another() {
        let message = dynamic("/lib64/ld-linux-x86-64.so.2");
        let target = env!("GANGER_TARGET");
        assert!(message.contains(&format!("--target {target}\n")), "{message}");
        assert!(packed("x:1", b"#!/bin/sh").is_err_and(|failure| failure.message.contains("ELF")));
    }

    #[test]
    fn an_image_has_a_name_that_engines_take() {
        for good in [REFERENCE, "ganger:1.0", "localhost:5000/ops/ganger:x_Y"] {
            assert!(named(good).is_ok(), "{good}");
        }
        for bad in ["ganger", "", ":x", "Ganger:1", "a b:1", "ganger:", "ganger:a/b"] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }
}
