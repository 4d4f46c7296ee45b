//! Where a fleet lives and how its parts are named.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::kind::Kind;

/// Which fleet of this machine the tests run on, when it is not the only one.
const NUMBER: &str = "GANGER_FLEET_NUMBER";
/// The most fleets on one machine.
const FLEETS: u8 = 10;

/// The place of one fleet on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Sockets, process ids, logs, and the record.
    pub(crate) dir: PathBuf,
    /// Images and containers; on a real disk, for overlay2.
    pub(crate) data: PathBuf,
    /// The bridge of the host in the machine's own namespace.
    pub(crate) bridge: String,
    /// The address of that bridge.
    pub(crate) bridge_address: String,
    /// Tells the names and addresses of its hosts from those of the machine's other fleets.
    number: u8,
    /// The socket of host 0, when it is not in its directory.
    socket: Option<PathBuf>,
}

/// A host of a fleet: a daemon, with a network namespace of its own unless
/// its number is 0.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Its number.
    pub(crate) number: u8,
    /// The engine that it runs.
    pub(crate) kind: Kind,
    /// The number of its fleet.
    fleet: u8,
    /// Its sockets, process ids and log.
    pub(crate) dir: PathBuf,
    /// Its images and containers.
    pub(crate) data: PathBuf,
    /// Its socket.
    pub(crate) socket: PathBuf,
}

// === impl Site ===

impl Site {
    /// The fleet that tests run on.
    pub(crate) fn tests() -> Result<Self> {
        let number = number(std::env::var(NUMBER).ok().as_deref())?;
        let site = Self::numbered(number);
        Ok(match std::env::var_os("GANGER_FLEET_DIR") {
            // Daemons and tests have working directories of their own.
            Some(dir) => {
                let dir = std::path::absolute(&dir).unwrap_or_else(|_| dir.into());
                Self { data: data_for(&dir), dir, ..site }
            }
            None => site,
        })
    }

    /// The demo's one engine, at the place where an engine is looked for.
    pub(crate) fn demo() -> Self {
        let dir = PathBuf::from("/run/ganger-demo");
        Self {
            data: data_for(&dir),
            dir,
            bridge: "ganger-demo0".into(),
            bridge_address: "10.213.251.1/24".into(),
            number: 0,
            socket: Some("/var/run/docker.sock".into()),
        }
    }

    /// Every place where this machine may have a fleet, unless GANGER_FLEET_DIR names others.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..FLEETS).map(Self::numbered).chain([Self::demo()])
    }

    /// The fleet of this number: 0 has names without a number.
    fn numbered(number: u8) -> Self {
        let (dir, bridge) = match number {
            0 => ("/run/ganger-fleet".to_owned(), "ganger0".to_owned()),
            _ => (format!("/run/ganger-fleet-{number}"), format!("ganger-f{number}-0")),
        };
        let dir = PathBuf::from(dir);
        Self {
            data: data_for(&dir),
            dir,
            bridge,
            bridge_address: format!("{}.250.1/24", prefix(number)),
            number,
            socket: None,
        }
    }

    /// A host of it.
    pub(crate) fn host(&self, number: u8) -> Host {
        let name = format!("host-{number}");
        let dir = self.dir.join(&name);
        let socket = match &self.socket {
            Some(socket) if number == 0 => socket.clone(),
            _ => dir.join("docker.sock"),
        };
        let kind = Kind::default();
        Host { number, kind, fleet: self.number, dir, data: self.data.join(name), socket }
    }

    /// The socket of host 0.
    pub(crate) fn root_socket(&self) -> PathBuf {
        self.host(0).socket
    }

    /// Every host that has left something here, lowest number first.
    pub(crate) fn hosts_found(&self) -> Vec<Host> {
        let mut numbers: Vec<u8> = [&self.dir, &self.data]
            .into_iter()
            .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten())
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("host-")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| self.host(number)).collect()
    }
}

/// The beginning of all addresses of a fleet.
fn prefix(fleet: u8) -> String {
    format!("10.{}", 213 + fleet)
}

/// The number that the environment gives; none, or an empty one, is 0.
fn number(given: Option<&str>) -> Result<u8> {
    match given.filter(|given| !given.is_empty()).map(str::parse) {
        None => Ok(0),
        Some(Ok(number)) if number < FLEETS => Ok(number),
        Some(_) => bail!(
            "{NUMBER}={}: a machine's fleets have the numbers 0 to {}",
            given.unwrap_or_default(),
            FLEETS - 1
        ),
    }
}

/// `/run/ganger-fleet` keeps its data in `/var/tmp/run-ganger-fleet`.
fn data_for(dir: &Path) -> PathBuf {
    let parts: Vec<_> =
        dir.iter().map(|part| part.to_string_lossy()).filter(|part| part != "/").collect();
    Path::new("/var/tmp").join(parts.join("-"))
}

// === impl Host ===

impl Host {
    /// Its name in the fleet.
    pub(crate) fn name(&self) -> String {
        format!("host-{}", self.number)
    }

    /// Its network namespace, as `ip netns` knows it.
    pub(crate) fn netns(&self) -> Option<String> {
        (self.number > 0).then(|| match self.fleet {
            0 => format!("ganger-{}", self.number),
            fleet => format!("ganger-f{fleet}-{}", self.number),
        })
    }

    /// The machine's end of the link to it. The other end is `eth0` in its namespace.
    pub(crate) fn link(&self) -> Option<String> {
        self.netns()
    }

    /// The machine's address on the link.
    pub(crate) fn gateway(&self) -> String {
        format!("{}.{}.1", prefix(self.fleet), self.number)
    }

    /// Its own address on the link.
    pub(crate) fn address(&self) -> String {
        format!("{}.{}.2", prefix(self.fleet), self.number)
    }

    /// Where its API is reached over the network.
    pub(crate) fn tcp_url(&self) -> Option<String> {
        (self.number > 0).then(|| format!("tcp://{}:2375", self.address()))
    }

    /// The log of its daemon.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Holds the state of running containers, and appears in the arguments of
    /// every process of the host but those in containers.
    pub(crate) fn exec_root(&self) -> PathBuf {
        self.dir.join("exec")
    }

    /// The socket of its containerd.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.exec_root().join("containerd/containerd.sock")
    }

    /// Written by the process that answers at its socket.
    pub(crate) fn pidfile(&self) -> PathBuf {
        self.dir.join("pid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fleet_has_a_data_directory_of_its_own() {
        assert_eq!(data_for(Path::new("/run/a")), Path::new("/var/tmp/run-a"));
        assert_eq!(data_for(Path::new("/srv/a/")), Path::new("/var/tmp/srv-a"));
    }

    #[test]
    fn only_the_host_in_the_machine_s_namespace_has_no_address() {
        let site = Site::demo();
        assert_eq!(site.host(0).tcp_url(), None);
        assert_eq!(site.host(0).netns(), None);
        assert_eq!(site.host(7).tcp_url().as_deref(), Some("tcp://10.213.7.2:2375"));
        assert_eq!(site.host(7).netns().as_deref(), Some("ganger-7"));
    }

    #[test]
    fn two_fleets_share_no_name_and_no_address() {
        let names = |site: Site| {
            let host = site.host(200);
            let (netns, url) = (host.netns().unwrap(), host.tcp_url().unwrap());
            let place = |path: &Path| path.display().to_string();
            let link = [netns.clone(), site.bridge.clone()];
            assert!(
                link.iter().all(|name| name.len() <= 15),
                "the kernel takes no longer {link:?}"
            );
            [netns, url, host.gateway(), site.bridge, site.bridge_address, place(&site.dir)]
        };
        let all: Vec<_> = (0..FLEETS).map(Site::numbered).flat_map(names).collect();
        let unlike: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unlike.len(), all.len(), "{all:?}");
        assert_eq!(Site::numbered(2).host(5).tcp_url().as_deref(), Some("tcp://10.215.5.2:2375"));
    }

    #[test]
    fn a_fleet_s_number_is_a_digit() {
        assert_eq!(number(None).unwrap(), 0);
        assert_eq!(number(Some("")).unwrap(), 0);
        assert_eq!(number(Some("9")).unwrap(), 9);
        for wrong in ["10", "-1", "one"] {
            let error = number(Some(wrong)).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("GANGER_FLEET_NUMBER={wrong}: a machine's fleets have the numbers 0 to 9")
            );
        }
    }
}
