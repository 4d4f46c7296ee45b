//! The fleet that the tests run on, as `cargo xtask fleet` has recorded it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use serde::Deserialize;

use crate::fixture::{checked_images, echo_image, fixture_image};

/// The fleet, for the duration of one test.
#[derive(Debug)]
pub struct Fleet {
    hosts: Vec<Host>,
    consul: PathBuf,
    pub(crate) exclusive: bool,
    /// Held as long as the test uses the fleet.
    _lock: File,
}

/// One daemon of the fleet.
#[derive(Debug, Clone, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// 0 in the machine's own network namespace, others have one of their own.
    pub number: u8,
    /// What engine it runs, as `cargo xtask fleet up --engine` names it.
    #[serde(default = "installed")]
    pub kind: String,
    /// What its engine says that its version is.
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

/// What a fleet has written down.
#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) hosts: Vec<Host>,
    consul: PathBuf,
}

// === impl Fleet ===

impl Fleet {
    /// The fleet, for a test that leaves daemons as they are. Others of the
    /// kind may use it at the same time. All its hosts run the machine's own Docker.
    ///
    /// # Panics
    /// When there is no fleet: such a test must not pass without one.
    #[must_use]
    pub fn shared() -> Self {
        Self::open(false, |host| host.kind == installed())
    }

    /// As [`Fleet::exclusive`], with the hosts of other kinds alone: [`Fleet::all`].
    ///
    /// # Panics
    /// As [`Fleet::shared`], and when the fleet has none.
    #[must_use]
    pub fn other_kinds() -> Self {
        let fleet = Self::open(true, |host| host.kind != installed());
        assert!(
            !fleet.hosts.is_empty(),
            "this test needs engines of other kinds: run `cargo xtask test`, or give the fleet \
             some: `cargo xtask fleet up --engine 4=docker-trixie --engine 5=podman-trixie \
             --hosts 5`"
        );
        fleet
    }

    /// The fleet, for a test that freezes, kills or cuts off daemons. Waits
    /// until no other test uses it, and lets none in.
    ///
    /// # Panics
    /// As [`Fleet::shared`].
    #[must_use]
    pub fn exclusive() -> Self {
        Self::open(true, |host| host.kind == installed())
    }

    fn open(exclusive: bool, wanted: impl Fn(&Host) -> bool) -> Self {
        let Some(path) = std::env::var_os("GANGER_FLEET").map(PathBuf::from) else {
            panic!(
                "this test needs a fleet of real engines: run `cargo xtask test`, or `cargo xtask \
                 fleet up` and set GANGER_FLEET=/run/ganger-fleet/fleet.json"
            );
        };
        let mut record = read(&path);
        record.hosts.retain(wanted);
        let lock = File::create(path.with_file_name("tests.lock")).expect("tests.lock");
        if exclusive { lock.lock() } else { lock.lock_shared() }.expect("lock on the fleet");
        let fleet = Self { hosts: record.hosts, consul: record.consul, exclusive, _lock: lock };
        fleet.thaw();
        fleet
    }

    /// The hosts that have an address of their own, lowest number first.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts[self.hosts.iter().take_while(|host| host.number == 0).count()..]
    }

    /// Host 0, in the machine's own namespace: what it publishes on loopback
    /// goes through docker-proxy.
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

    /// Loads the echo service's image and the fixture's three into every host, unless
    /// this process has done so before.
    pub fn load_images(&self) {
        static LOADED: OnceLock<()> = OnceLock::new();
        LOADED.get_or_init(|| {
            let [healthy, sick] = checked_images();
            let images = [echo_image().1, fixture_image().1, healthy, sick];
            thread::scope(|scope| {
                for host in &self.hosts {
                    scope.spawn(move || images.into_iter().for_each(|image| host.load(image)));
                }
            });
        });
    }
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

    /// It as a daemon in a configuration, reached at its socket.
    #[must_use]
    pub fn daemon(&self, max_containers: u32) -> String {
        let (name, url) = (&self.name, self.url());
        format!("(name: {name:?}, url: {url:?}, max_containers: {max_containers})")
    }

    /// It as a daemon in a configuration, reached over the network.
    ///
    /// # Panics
    /// For host 0, which is not.
    #[must_use]
    pub fn remote_daemon(&self, max_containers: u32) -> String {
        let (name, url) = (&self.name, self.tcp_url.as_ref().expect("an address"));
        format!("(name: {name:?}, url: {url:?}, insecure: true, max_containers: {max_containers})")
    }
}
