//! The fleet that the tests run on, as `cargo xtask fleet` has recorded it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;

use crate::fixture::{checked_images, echo_image, fixture_image};
use crate::hang::UnderWay;
use crate::poll::step;

/// The last of the hosts that tests share.
const SHARED: u8 = 3;

/// Hosts of the fleet, for the duration of one test.
#[derive(Debug)]
pub struct Fleet {
    hosts: Vec<Host>,
    consul: PathBuf,
    pub(crate) exclusive: bool,
    /// A lock for each host, held as long as the test uses it.
    _locks: Vec<File>,
    test: UnderWay,
}

/// A daemon of the fleet.
#[derive(Debug, Clone, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// 0 in the machine's own network namespace, others have one of their own.
    pub number: u8,
    /// The kind of its engine, as `cargo xtask fleet up --engine` names it.
    #[serde(default = "installed")]
    pub kind: String,
    /// The version that its engine reports.
    #[serde(default)]
    pub version: String,
    /// The socket of its API.
    pub socket: PathBuf,
    /// Its API over the network; none for host 0.
    pub tcp_url: Option<String>,
    /// Its network namespace, as `ip netns` knows it; none for host 0.
    pub netns: Option<String>,
    /// How many containers it is meant for: 4, 8, 12 for hosts 1, 2, 3.
    pub capacity: u32,
    pub(crate) gateway: Option<String>,
    pub(crate) containerd_pid: i32,
    pub(crate) pidfile: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) command: Vec<String>,
}

/// The record of a fleet.
#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) hosts: Vec<Host>,
    consul: PathBuf,
}

// === impl Fleet ===

impl Fleet {
    /// The hosts 0 to 3, for a test that leaves daemons as they are. Others of the kind may use
    /// them at the same time. All run the machine's own Docker.
    ///
    /// # Panics
    /// When there is no fleet: such a test must not pass without one.
    #[must_use]
    pub fn shared() -> Self {
        let (path, record) = recorded();
        let wanted = |host: &Host| host.kind == installed() && host.number <= SHARED;
        Self::lock(&path, record, false, wanted)
    }

    /// Takes `count` hosts with addresses of their own, for a test that freezes, kills or cuts off
    /// daemons, or counts what others do on them: no other test uses them meanwhile. All run the
    /// machine's own Docker; the first is meant for 4 containers, the next for 8, then 12.
    ///
    /// Takes hosts that nobody shares, if the fleet has as many.
    ///
    /// # Panics
    /// As [`Fleet::shared`], and when the fleet has too few hosts.
    #[must_use]
    pub fn take(count: usize) -> Self {
        let (path, record) = recorded();
        let own = |host: &Host| host.kind == installed() && host.number > 0;
        let all: Vec<_> = record.hosts.into_iter().filter(own).collect();
        let apart: Vec<_> = all.iter().filter(|host| host.number > SHARED).cloned().collect();
        let hosts = if apart.len() >= count { apart } else { all };
        assert!(hosts.len() >= count, "this test needs {count} hosts: `cargo xtask fleet up`");
        let mut taken = take(&path, hosts, count);
        for ((host, _), position) in taken.iter_mut().zip(1..) {
            host.capacity = 4 * position;
        }
        let (hosts, locks) = taken.into_iter().unzip();
        Self::with(hosts, record.consul, true, locks)
    }

    /// Every host that runs the machine's own Docker, host 0 as well, for nobody else.
    ///
    /// # Panics
    /// As [`Fleet::shared`].
    #[must_use]
    pub fn whole() -> Self {
        let (path, record) = recorded();
        Self::lock(&path, record, true, |host| host.kind == installed())
    }

    /// The hosts that run other engines, for nobody else: [`Fleet::all`].
    ///
    /// # Panics
    /// As [`Fleet::shared`], and when the fleet has none.
    #[must_use]
    pub fn other_kinds() -> Self {
        let (path, record) = recorded();
        let fleet = Self::lock(&path, record, true, |host| host.kind != installed());
        assert!(
            !fleet.hosts.is_empty(),
            "this test needs engines of other kinds: run `cargo xtask test`, or give the fleet \
             some: `cargo xtask fleet up --engine 4=docker-trixie --engine 5=podman-trixie \
             --hosts 5`"
        );
        fleet
    }

    /// Waits for each host that is wanted, in the order of their numbers.
    fn lock(path: &Path, record: Record, exclusive: bool, wanted: impl Fn(&Host) -> bool) -> Self {
        let hosts: Vec<_> = record.hosts.into_iter().filter(wanted).collect();
        let lock = |host: &Host| {
            let file = lock_of(path, host);
            if exclusive { file.lock() } else { file.lock_shared() }.expect("lock on a host");
            file
        };
        let locks = hosts.iter().map(lock).collect();
        Self::with(hosts, record.consul, exclusive, locks)
    }

    fn with(hosts: Vec<Host>, consul: PathBuf, exclusive: bool, locks: Vec<File>) -> Self {
        let fleet = Self { hosts, consul, exclusive, _locks: locks, test: UnderWay::begin() };
        fleet.thaw();
        fleet
    }

    /// Lets the test take so long from now on, where others take ten minutes at most.
    pub fn allow(&self, limit: Duration) {
        self.test.allow(limit);
    }

    /// The hosts that have an address of their own, lowest number first.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts[self.hosts.iter().take_while(|host| host.number == 0).count()..]
    }

    /// Host 0, in the machine's own namespace: what it publishes on loopback
    /// goes through docker-proxy. Of hosts that were taken, the first.
    #[must_use]
    pub fn local(&self) -> &Host {
        &self.hosts[0]
    }

    /// Every host, host 0 first.
    #[must_use]
    pub fn all(&self) -> &[Host] {
        &self.hosts
    }

    /// Where the program `consul` is.
    pub(crate) fn consul(&self) -> &Path {
        &self.consul
    }

    /// Loads the echo service's image and the fixture's three into every host into which this
    /// process has not done so before.
    pub fn load_images(&self) {
        static LOADED: Mutex<BTreeMap<PathBuf, Arc<OnceLock<()>>>> = Mutex::new(BTreeMap::new());
        let [healthy, sick] = checked_images();
        let images = [echo_image().1, fixture_image().1, healthy, sick];
        thread::scope(|scope| {
            for host in &self.hosts {
                let loaded = LOADED.lock().entry(host.socket.clone()).or_default().clone();
                scope.spawn(move || {
                    loaded.get_or_init(|| images.into_iter().for_each(|image| host.load(image)));
                });
            }
        });
    }
}

/// Locks so many of these hosts, which are free at the same time; lowest number first.
fn take(path: &Path, hosts: Vec<Host>, count: usize) -> Vec<(Host, File)> {
    // Tests take their turn, in the order of their coming.
    let turn = File::create(path.with_file_name("turn.lock")).expect("turn.lock");
    turn.lock().expect("lock on the turn");
    loop {
        // All at once or none: those who share wait for one while they have others.
        let mut taken = Vec::new();
        for host in &hosts {
            let lock = lock_of(path, host);
            match lock.try_lock() {
                Ok(()) => taken.push((host.clone(), lock)),
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => panic!("lock on {}: {error}", host.name),
            }
            if taken.len() == count {
                return taken;
            }
        }
        drop(taken);
        step();
    }
}

fn lock_of(path: &Path, host: &Host) -> File {
    let name = format!("{}.lock", host.name);
    File::create(path.with_file_name(&name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Where the fleet's record is, and what it says.
fn recorded() -> (PathBuf, Record) {
    let Some(path) = std::env::var_os("GANGER_FLEET").map(PathBuf::from) else {
        panic!(
            "this test needs a fleet of real engines: run `cargo xtask test`, or `cargo xtask \
             fleet up` and set GANGER_FLEET=/run/ganger-fleet/fleet.json"
        );
    };
    let record = read(&path);
    (path, record)
}

/// A fleet's record.
pub(crate) fn read(path: &Path) -> Record {
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("the fleet's record, {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn installed() -> String {
    "docker".to_owned()
}

// === impl Host ===

impl Host {
    /// Whether it runs a Podman.
    #[must_use]
    pub fn is_podman(&self) -> bool {
        self.kind.starts_with("podman")
    }

    /// Its API at its socket.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The address that its ports are published on and reached at.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.tcp_url {
            Some(url) => {
                let authority = url.trim_start_matches("tcp://");
                authority.rsplit_once(':').map_or(authority, |(address, _)| address).to_owned()
            }
            None => "127.0.0.1".to_owned(),
        }
    }

    /// The host as a daemon in a configuration, reached at its socket.
    #[must_use]
    pub fn daemon(&self, max_containers: u32) -> String {
        let (name, url) = (&self.name, self.url());
        format!("(name: {name:?}, url: {url:?}, max_containers: {max_containers})")
    }

    /// The host as a daemon in a configuration, reached over the network.
    ///
    /// # Panics
    /// For host 0, which is not.
    #[must_use]
    pub fn remote_daemon(&self, max_containers: u32) -> String {
        let (name, url) = (&self.name, self.tcp_url.as_ref().expect("an address"));
        format!("(name: {name:?}, url: {url:?}, insecure: true, max_containers: {max_containers})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::unique;

    fn host(number: u8) -> Host {
        let text = format!(
            r#"{{"name": "host-{number}", "number": {number}, "socket": "", "capacity": 0,
                "containerd_pid": 0, "pidfile": "", "log": "", "command": []}}"#
        );
        serde_json::from_str(&text).expect("a host")
    }

    fn numbers(taken: &[(Host, File)]) -> Vec<u8> {
        taken.iter().map(|(host, _)| host.number).collect()
    }

    #[test]
    fn a_host_that_is_taken_or_shared_is_left_to_who_has_it() {
        let dir = std::env::temp_dir().join(unique("ganger-hosts"));
        fs::create_dir(&dir).expect("a directory");
        let path = dir.join("fleet.json");
        let hosts = || (1..=4).map(host).collect::<Vec<_>>();
        let shared = lock_of(&path, &host(2));
        shared.lock_shared().expect("a lock");
        let first = take(&path, hosts(), 2);
        assert_eq!(numbers(&first), [1, 3]);
        thread::scope(|scope| {
            let second = scope.spawn(|| numbers(&take(&path, hosts(), 2)));
            let third = scope.spawn(|| numbers(&take(&path, hosts(), 1)));
            drop(first);
            // Either may have by then what the other has let go.
            for taken in [second, third] {
                assert!(!taken.join().expect("hosts").contains(&2));
            }
        });
        let own = take(&path, hosts(), 3);
        assert_eq!(numbers(&own), [1, 3, 4]);
        assert!(shared.try_lock_shared().is_ok());
        fs::remove_dir_all(dir).expect("a directory");
    }
}
