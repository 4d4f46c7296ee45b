//! The name of an instance that was not given one.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::is_stdin;
use super::name::Name;

/// `HOST-xxxxxxxx`: the machine's name and a hash of the file's path; or why the
/// machine has no name that is the same after a restart.
///
/// `/etc/machine-id` would not help: it is missing or empty in most containers,
/// and the same in all that come of one image.
pub(super) fn derived(path: &Path) -> Result<String, String> {
    if is_stdin(path) {
        return Err("it comes from standard input, so that it has no path".to_owned());
    }
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    lasting(&host, std::env::var_os("KUBERNETES_SERVICE_HOST").is_some())
        .map_err(|why| format!("this machine's name would not do: {why}"))?;
    let path = path.canonicalize().or_else(|_| std::path::absolute(path));
    let path = path.as_deref().unwrap_or(Path::new(""));
    Ok(named(&host, path))
}

/// Whether a host name is the same after a restart, as far as can be told.
fn lasting(host: &str, in_kubernetes: bool) -> Result<(), String> {
    if in_kubernetes {
        return Err(format!("{host:?} may be the name of a pod, and the next has another"));
    }
    // Docker and Podman call a container by the first 12 digits of its id.
    if host.len() == 12 && host.bytes().all(|b| b"0123456789abcdef".contains(&b)) {
        return Err(format!("{host:?} looks like a container's id, and the next has another"));
    }
    if ["", "(none)"].contains(&host) {
        return Err("it has none".to_owned());
    }
    Ok(())
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
    fn a_name_that_changes_with_every_container_is_none() {
        for (host, in_kubernetes, lasts) in [
            ("edge-1", false, true),
            ("localhost", false, true),
            ("deadbeef", false, true),
            ("3fa9c1d20b7e", false, false),
            ("3FA9C1D20B7E", false, true),
            ("ganger-7d9f8b6c5-x2x4z", true, false),
            ("", false, false),
            ("(none)", false, false),
        ] {
            assert_eq!(lasting(host, in_kubernetes).is_ok(), lasts, "{host:?}");
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
