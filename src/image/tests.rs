//! Archives are the same for the same image, and hold what it says.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use super::*;

const FILES: &[File<'_>] = &[
    File { path: "/usr/bin/tool", mode: 0o755, content: b"tool" },
    File { path: "etc/passwd", mode: 0o644, content: b"root:x:0:0::/:/tool" },
    File { path: "/usr/bin.conf", mode: 0o600, content: b"" },
];

fn image() -> Image<'static> {
    Image {
        reference: "example.test/tool:7",
        files: FILES,
        entrypoint: &["/usr/bin/tool"],
        command: &["--fast"],
        port: Some(7001),
        env: &[("KEY", "a=b")],
        labels: &[("role", "test")],
        user: "65534:65534",
        healthcheck: Some(ImageHealthcheck {
            command: &["/usr/bin/tool", "check"],
            interval: Duration::from_millis(200),
            timeout: Duration::from_secs(2),
            retries: 3,
        }),
    }
}

/// Path, permission bits and content of every entry, in the archive's order.
fn entries(tar: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut tar = tar::Archive::new(tar);
    tar.entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(
                (header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()),
                (0, 0, 0),
            );
            let mode = header.mode().unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, mode, content)
        })
        .collect()
}

/// The manifest, the config and the layer of an archive.
fn unpack(archive: &[u8]) -> (Value, Value, Vec<u8>) {
    let files: BTreeMap<_, _> =
        entries(archive).into_iter().map(|(path, _, content)| (path, content)).collect();
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let config = &files[manifest[0]["Config"].as_str().unwrap()];
    let layer = &files[manifest[0]["Layers"][0].as_str().unwrap()];
    (manifest, serde_json::from_slice(config).unwrap(), layer.clone())
}

#[test]
fn the_same_image_gives_the_same_bytes_in_whatever_order_its_files_are_named() {
    let reversed: Vec<_> = FILES.iter().rev().copied().collect();
    let other = Image { files: &reversed, ..image() };
    assert_eq!(archive(&image()), archive(&image()));
    assert_eq!(archive(&image()), archive(&other));
}

#[test]
fn other_content_gives_another_archive() {
    let files = [File { content: b"other", ..FILES[0] }, FILES[1], FILES[2]];
    assert_ne!(archive(&image()), archive(&Image { files: &files, ..image() }));
}

#[test]
fn the_layer_holds_the_files_and_their_directories_parents_first() {
    let (_, _, layer) = unpack(&archive(&image()));
    let found: Vec<_> = entries(&layer)
        .into_iter()
        .map(|(path, mode, content)| (path, mode, content.len()))
        .collect();
    let expected = [
        ("etc/", 0o755, 0),
        ("usr/", 0o755, 0),
        ("usr/bin/", 0o755, 0),
        ("etc/passwd", 0o644, 19),
        ("usr/bin.conf", 0o600, 0),
        ("usr/bin/tool", 0o755, 4),
    ];
    assert_eq!(found, expected.map(|(path, mode, size)| (path.to_owned(), mode, size)));
}

#[test]
fn the_config_names_the_layer_by_its_digest_and_says_what_the_image_runs() {
    let (manifest, config, layer) = unpack(&archive(&image()));
    assert_eq!(manifest[0]["RepoTags"], json!(["example.test/tool:7"]));
    let digest: String = Sha256::digest(&layer).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{digest}")]));
    assert_eq!(config["os"], "linux");
    assert_eq!(config["architecture"], architecture());
    assert_eq!(
        config["config"],
        json!({
            "User": "65534:65534",
            "ExposedPorts": { "7001/tcp": {} },
            "Env": ["KEY=a=b"],
            "Entrypoint": ["/usr/bin/tool"],
            "Cmd": ["--fast"],
            "Labels": { "role": "test" },
            "Healthcheck": {
                "Test": ["CMD", "/usr/bin/tool", "check"],
                "Interval": 200_000_000,
                "Timeout": 2_000_000_000,
                "Retries": 3,
            },
        }),
    );
}

#[test]
fn the_digest_is_sha256() {
    let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sha256(b"abc"), known);
}

#[test]
fn the_echo_image_holds_one_static_executable() {
    let (reference, archive) = echo();
    assert_eq!(reference, "ganger.local/echo:1");
    let (manifest, config, layer) = unpack(&archive);
    assert_eq!(manifest[0]["RepoTags"], json!([reference]));
    assert_eq!(config["config"]["Cmd"], json!(["/echo"]));
    let files = entries(&layer);
    assert_eq!(files.len(), 1);
    let (path, mode, content) = &files[0];
    assert_eq!((path.as_str(), *mode), ("echo", 0o755));
    assert_eq!(interpreters(content), 0, "a dynamic executable finds no loader in the image");
}

/// How many PT_INTERP headers an executable has: one when it is dynamic.
fn interpreters(elf: &[u8]) -> usize {
    let number = |at: usize, size: usize| {
        elf[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "64 bits, little-endian");
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    assert!(count > 0);
    (0..count).filter(|index| number(first + index * size, 4) == 3).count()
}
