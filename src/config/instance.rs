//! The name of an instance that was not given one.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::value::Name;

/// `HOST-xxxxxxxx`: the machine's name and a hash of the file's path.
pub(super) fn derived(path: &Path) -> String {
    let uname = rustix::system::uname();
    let path = path.canonicalize().or_else(|_| std::path::absolute(path));
    let path = path.as_deref().unwrap_or(Path::new(""));
    named(&uname.nodename().to_string_lossy(), path)
}

fn named(host: &str, path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let hash: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }
    };
    let host: String = host
        .chars()
        .map(fit)
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(Name::MAX - hash.len() - 1)
        .collect();
    let host = if host.is_empty() { "host" } else { &host };
    format!("{host}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_name_gives_a_name() {
        let long = "h".repeat(200);
        for host in ["edge-1.example.org", "", "_", "-x", "büro 7", long.as_str()] {
            let name = named(host, Path::new("/etc/ganger.ron"));
            assert!(Name::new(name.clone()).is_ok(), "{host:?} gave {name:?}");
        }
    }

    #[test]
    fn host_and_path_tell_instances_apart() {
        let name = named("edge-1", Path::new("/etc/ganger.ron"));
        assert_eq!(name, "edge-1-0ca9382f");
        assert_ne!(name, named("edge-1", Path::new("/etc/other.ron")));
        assert_ne!(name, named("edge-2", Path::new("/etc/ganger.ron")));
    }
}
