//! Where the daemons of the configuration are. Faults give them other urls.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::{env, fs, process};

use ganger_test_support::{Fleet, Host};
use parking_lot::Mutex;

use crate::setup::{CAPACITY, is_remote};

/// Where every daemon is.
#[derive(Debug)]
pub(crate) struct Places {
    /// Each gives a daemon its name, and is its place unless the name is lent.
    hosts: Vec<Host>,
    /// An engine of no daemon, to which a name may be lent.
    spare: Host,
    /// Has links to the sockets of the hosts.
    links: PathBuf,
    state: Mutex<PlacesState>,
}

#[derive(Debug, Default)]
struct PlacesState {
    /// The numbers of the hosts that are reached by their other way.
    other_way: BTreeSet<u8>,
    /// The number of the host whose name the spare has.
    lender: Option<u8>,
    /// The name that the spare had last: connections there are logged with it, also while the
    /// spare is drained.
    last_name: Option<String>,
}

/// A daemon that has another url now.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) name: String,
    /// The daemon in the configuration.
    pub(crate) daemon: String,
}

// === impl Places ===

impl Places {
    /// Every host but the last is a daemon.
    ///
    /// # Errors
    /// The fleet is too small, or sockets cannot be linked to.
    pub(crate) fn new(fleet: &Fleet) -> io::Result<Self> {
        let (spare, hosts) = match fleet.all() {
            [hosts @ .., spare] if is_remote(spare) && hosts.iter().any(is_remote) => {
                (spare.clone(), hosts.to_vec())
            }
            all => {
                return Err(io::Error::other(format!(
                    "{} hosts are too few to give a daemon's name to another engine: `cargo xtask \
                     fleet up --hosts 4`",
                    all.len()
                )));
            }
        };
        let links = env::temp_dir().join(format!("ganger-soak-{}", process::id()));
        fs::create_dir_all(&links)?;
        let this = Self { hosts, spare, links, state: Mutex::default() };
        this.hosts.iter().try_for_each(|host| symlink(&host.socket, this.link(host)))?;
        Ok(this)
    }

    /// Every daemon as the configuration has it at first.
    pub(crate) fn daemons(&self) -> Vec<String> {
        self.hosts.iter().map(|host| self.at_home(host, false)).collect()
    }

    /// Gives one of the daemons another url of the same engine. Nobody, if its name is lent.
    pub(crate) fn change_way(&self, which: usize) -> Option<Moved> {
        let mut state = self.state.lock();
        let host = &self.hosts[which % self.hosts.len()];
        if state.lender == Some(host.number) {
            return None;
        }
        let other = !state.other_way.remove(&host.number);
        if other {
            state.other_way.insert(host.number);
        }
        Some(Moved { name: host.name.clone(), daemon: self.at_home(host, other) })
    }

    /// Lends the name of one of the daemons to the spare; true comes with it. When the spare has
    /// a name: that is given back.
    pub(crate) fn lend(&self, which: usize) -> (Moved, bool) {
        let mut state = self.state.lock();
        let lender = state.lender.take();
        if let Some(host) = self.hosts.iter().find(|host| Some(host.number) == lender) {
            let daemon = self.at_home(host, state.other_way.contains(&host.number));
            return (Moved { name: host.name.clone(), daemon }, false);
        }
        let host = &self.hosts[which % self.hosts.len()];
        state.lender = Some(host.number);
        state.last_name = Some(host.name.clone());
        let mut spare = self.spare.clone();
        spare.name.clone_from(&host.name);
        let daemon = spare.remote_daemon(CAPACITY);
        (Moved { name: spare.name, daemon }, true)
    }

    /// Whether an engine is the place of a daemon.
    pub(crate) fn is_listed(&self, host: &Host) -> bool {
        let lender = self.state.lock().lender;
        if host.number == self.spare.number {
            lender.is_some()
        } else {
            lender != Some(host.number)
        }
    }

    /// The name of the daemon at an engine, or the last that it had.
    pub(crate) fn name_of(&self, host: &Host) -> String {
        let last_name = || self.state.lock().last_name.clone();
        let spare = (host.number == self.spare.number).then(last_name).flatten();
        spare.unwrap_or_else(|| host.name.clone())
    }

    /// A host as a daemon. By its other way, one on this machine is reached by a link to its
    /// socket, and one that is reached over its link by its socket.
    fn at_home(&self, host: &Host, other_way: bool) -> String {
        let mut host = host.clone();
        match (is_remote(&host), other_way) {
            (true, false) => return host.remote_daemon(CAPACITY),
            (false, true) => host.socket = self.link(&host),
            _ => {}
        }
        host.daemon(CAPACITY)
    }

    fn link(&self, host: &Host) -> PathBuf {
        self.links.join(&host.name)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.links);
    }
}
