//! The things that Ganger's container lacks, told all at once: each one that is found only after
//! the one before was mended costs another start.

use std::path::{Path, PathBuf};

use crate::config::{Config, Daemons};
use crate::endpoint::Endpoint;
use crate::reach::capability::can_enter_namespaces;
use crate::spec::Reach;

/// Files that an engine puts into its containers.
const MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];
/// Where an engine's socket is, as the default configuration has it.
const SOCKET: &str = "/var/run/docker.sock";

/// The container that this process is in, if it is in one.
struct Enclosure<'a> {
    root: &'a Path,
    /// This process may enter namespaces.
    may_enter: bool,
}

/// The things missing here for this configuration, in sentences that say what to do. Empty outside
/// of a container. `None` stands for a configuration that is not there.
pub(super) fn missing(config: Option<&Config>) -> Vec<String> {
    let may_enter = can_enter_namespaces().is_ok();
    Enclosure { root: Path::new("/"), may_enter }.missing(config)
}

/// The sockets of engines that a configuration names.
fn sockets(config: Option<&Config>) -> Vec<PathBuf> {
    let Some(config) = config else { return vec![SOCKET.into()] };
    let Daemons::Static(daemons) = &config.daemons else { return Vec::new() };
    let of = |endpoint: &Endpoint| match endpoint {
        Endpoint::Unix(path) => Some(path.clone()),
        Endpoint::Tcp { .. } => None,
    };
    daemons.iter().filter_map(|daemon| of(&daemon.url)).collect()
}

/// Whether containers may be reached by namespace: else nothing more is needed than ports that engines
/// publish. Engines that are asked over the network are elsewhere.
fn enters(config: &Config) -> bool {
    let here = !sockets(Some(config)).is_empty();
    config.services.iter().any(|service| match service.spec.reach {
        Reach::Namespace => true,
        Reach::Auto => here,
        Reach::Published => false,
    })
}

// === impl Enclosure ===

impl Enclosure<'_> {
    fn missing(&self, config: Option<&Config>) -> Vec<String> {
        if !MARKS.iter().any(|mark| self.root.join(mark).exists()) {
            return Vec::new();
        }
        let absent =
            |socket: &PathBuf| !self.root.join(socket.strip_prefix("/").unwrap_or(socket)).exists();
        let mut missing: Vec<_> = sockets(config).into_iter().filter(absent).map(|socket| {
            let socket = socket.display();
            format!("the engine's socket {socket} is not there: mount it (--volume {socket}:{socket})")
        }).collect();
        let enters = config.is_none_or(enters);
        if enters && !self.may_enter {
            missing.push(
                "the container has no CAP_SYS_ADMIN, with which containers are reached by namespace: \
                 add it (--cap-add SYS_ADMIN --cap-add SYS_PTRACE), or have `reach: Published` in \
                 each service"
                    .to_owned(),
            );
        }
        if enters && !self.sees_the_machine() {
            missing.push(
                "the machine's processes are not seen from here, by which containers are reached by \
                 namespace: run it with them (--pid host, in Compose `pid: host`), or have \
                 `reach: Published` in each service"
                    .to_owned(),
            );
        }
        missing
    }

    /// Whether this process sees the machine's processes: only those include the kernel's.
    fn sees_the_machine(&self) -> bool {
        std::fs::read_to_string(self.root.join("proc/2/comm"))
            .is_ok_and(|name| name.trim() == "kthreadd")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_that_is_missing_in_a_container_is_said_and_nothing_elsewhere() {
        let root = std::env::temp_dir().join(format!("ganger-contained-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let told = |may_enter, config: Option<&Config>| {
            let missing = Enclosure { root: &root, may_enter }.missing(config);
            // The option that would help.
            let hint = |text: &String| text.split_once("(--").unwrap().1[..3].to_owned();
            missing.iter().map(hint).collect::<Vec<_>>()
        };
        let text = Config::default_text();
        let published = text.replace("port: 7000,", "port: 7000, reach: Published,");
        let config = |text: &str| Config::parse(text, "test").unwrap();
        let remote = "url: \"tcp://192.0.2.1:2375\", insecure: true";
        let remote = text.replace("url: \"unix:///var/run/docker.sock\"", remote);
        let (config, published, remote) = (config(&text), config(&published), config(&remote));

        assert_eq!(told(false, None), [""; 0], "outside of a container");
        fs::write(root.join(".dockerenv"), "").unwrap();
        assert_eq!(told(false, None), ["vol", "cap", "pid"]);
        assert_eq!(told(true, Some(&config)), ["vol", "pid"]);
        assert_eq!(told(false, Some(&published)), ["vol"]);
        assert_eq!(told(false, Some(&remote)), [""; 0]);

        for (path, content) in [("var/run/docker.sock", ""), ("proc/2/comm", "kthreadd\n")] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        assert_eq!(told(true, Some(&config)), [""; 0]);
        fs::write(root.join("proc/2/comm"), "another\n").unwrap();
        assert_eq!(told(true, Some(&config)), ["pid"]);
        fs::remove_dir_all(root).unwrap();
    }
}
