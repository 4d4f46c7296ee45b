//! Container images made from scratch, as archives that an engine can load.

mod echo;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub use self::echo::{ECHO_PORT, ECHO_REFERENCE, SANDBOX_REFERENCE, echo, sandbox};
pub(crate) use self::echo::{HOLD, HOLDER};

/// All times in an archive, so that the same input always gives the same bytes
/// and with them the same image id.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The parts of an image. Everything but `reference` may be left at its default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Image<'a> {
    /// Name and tag that the image gets when it is loaded.
    pub reference: &'a str,
    /// Its files. Their directories are made as needed.
    pub files: &'a [File<'a>],
    /// The program of every container; `command` is appended.
    pub entrypoint: &'a [&'a str],
    /// The command of a container that names none.
    pub command: &'a [&'a str],
    /// The TCP port that its service listens on.
    pub port: Option<u16>,
    /// Environment variables.
    pub env: &'a [(&'a str, &'a str)],
    /// Labels, which its containers inherit.
    pub labels: &'a [(&'a str, &'a str)],
    /// Who runs it, as `uid` or `uid:gid`; root when empty.
    pub user: &'a str,
    /// How the engine finds out whether a container of it can serve.
    pub healthcheck: Option<ImageHealthcheck<'a>>,
}

/// A file in an image. Belongs to root.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Where, from the root of the image, with or without a leading slash.
    pub path: &'a str,
    /// Its permission bits.
    pub mode: u32,
    /// Its content.
    pub content: &'a [u8],
}

/// The HEALTHCHECK of an image.
#[derive(Debug, Clone, Copy)]
pub struct ImageHealthcheck<'a> {
    /// The command for the container: exit code 0 says that it can serve.
    pub command: &'a [&'a str],
    /// From one run to the next; the first is run after one interval.
    pub interval: Duration,
    /// How long one run may take.
    pub timeout: Duration,
    /// How many runs must fail in a row for the container to count as unhealthy.
    pub retries: u32,
}

/// Packs an image as an archive, in the format of `docker save`.
///
/// The same image always gives the same bytes. It is for the processor
/// architecture that this program was built for.
///
/// # Panics
/// When the path of a file is empty or contains `..`.
#[must_use]
pub fn archive(image: &Image<'_>) -> Vec<u8> {
    let layer = tarball(image.files);
    let layer_digest = sha256(&layer);
    let config = config(image, &layer_digest).to_string().into_bytes();
    let config_name = format!("{}.json", sha256(&config));
    let layer_name = format!("{layer_digest}/layer.tar");
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [image.reference],
        "Layers": [layer_name],
    }])
    .to_string();
    let file = |path, content| File { path, mode: 0o644, content };
    tarball(&[
        file(&config_name, &config),
        file(&layer_name, &layer),
        file("manifest.json", manifest.as_bytes()),
    ])
}

fn config(image: &Image<'_>, layer_digest: &str) -> Value {
    let env: Vec<_> = image.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let labels: Map<_, _> =
        image.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let ports: Map<_, _> =
        image.port.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
    let mut container = json!({
        "User": image.user,
        "ExposedPorts": ports,
        "Env": env,
        "Entrypoint": image.entrypoint,
        "Cmd": image.command,
        "Labels": labels,
    });
    if let Some(check) = image.healthcheck {
        let test: Vec<_> = ["CMD"].iter().chain(check.command).collect();
        container["Healthcheck"] = json!({
            "Test": test,
            "Interval": nanoseconds(check.interval),
            "Timeout": nanoseconds(check.timeout),
            "Retries": check.retries,
        });
    }
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": CREATED,
        "config": container,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        "history": [{ "created": CREATED, "created_by": "ganger" }],
    })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The name that engines give to the architecture of this program.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// A tar archive of these files, sorted by path, directories before what is in them.
///
/// # Panics
/// When the path of a file is empty or contains `..`.
pub(crate) fn tarball(files: &[File<'_>]) -> Vec<u8> {
    let mut files: Vec<_> = files
        .iter()
        .map(|file| File { path: file.path.trim_start_matches('/'), ..*file })
        .collect();
    files.sort_by_key(|file| file.path);
    let directories: BTreeSet<_> = files
        .iter()
        .flat_map(|file| file.path.match_indices('/').map(|(end, _)| &file.path[..=end]))
        .collect();

    let mut tar = tar::Builder::new(Vec::new());
    for path in directories {
        append(&mut tar, tar::EntryType::Directory, &File { path, mode: 0o755, content: &[] });
    }
    for file in &files {
        append(&mut tar, tar::EntryType::Regular, file);
    }
    #[expect(clippy::expect_used, reason = "a write to memory does not fail")]
    tar.into_inner().expect("tar in memory")
}

fn append(tar: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, file: &File<'_>) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(file.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(file.content.len() as u64);
    #[expect(
        clippy::expect_used,
        reason = "a write to memory does not fail; a bad path is documented"
    )]
    tar.append_data(&mut header, file.path, file.content).expect("a path inside the image");
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}
