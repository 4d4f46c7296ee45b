//! A fleet of engines on this machine.
//!
//! Each host has a network namespace, with an address of its own, and an engine
//! of its own; host 0 runs in the machine's namespace. The record, a file
//! called `fleet.json`, tells tests where they are.

mod daemon;
mod kind;
mod mounts;
mod network;
mod podman;
mod process;
mod programs;
mod record;
mod remnants;
mod site;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::process::Pid;

pub(crate) use self::daemon::{Presence, presence};
pub(crate) use self::kind::{Kind, assignment};
pub(crate) use self::record::Settings;
use self::record::{Before, HostRecord, Record};
use self::site::Host;
pub(crate) use self::site::Site;
use crate::command::say;
use crate::{consul, packages};

/// A fleet that nobody else starts or stops meanwhile.
#[derive(Debug)]
pub(crate) struct Fleet {
    site: Site,
    /// A name that only one process can have, and that leaves no file behind.
    _lock: UnixListener,
}

// === impl Fleet ===

impl Fleet {
    /// Takes hold of a fleet.
    pub(crate) fn lock(site: Site) -> Result<Self> {
        if !is_root() {
            bail!("a fleet needs root: network namespaces, mounts, dockerd");
        }
        // Fleets of one bridge share addresses, wherever they keep their files.
        let name = SocketAddr::from_abstract_name(format!("ganger-fleet/{}", site.bridge))?;
        let lock = UnixListener::bind_addr(&name);
        let lock =
            lock.context("another `cargo xtask` holds the fleet; wait until it has ended")?;
        Ok(Self { site, _lock: lock })
    }

    /// Where its record is.
    pub(crate) fn record(&self) -> PathBuf {
        record::path(&self.site)
    }

    /// Where a host's engine answers.
    pub(crate) fn socket(&self, number: u8) -> PathBuf {
        self.site.host(number).socket
    }

    /// Starts those of hosts 0 to `hosts` that do not run, and stops others. Each runs the
    /// machine's own engine unless `kinds` says otherwise.
    pub(crate) fn up(
        &self,
        hosts: u8,
        kinds: &[(u8, Kind)],
        capacity: &[u32],
        settings: Settings,
    ) -> Result<()> {
        let site = &self.site;
        let hosts = with_kinds(site, hosts, kinds)?;
        // A single host is for people, not for tests.
        let for_tests = hosts.len() > 1;
        if for_tests {
            packages::ensure_fleet()?;
        } else {
            packages::ensure_engine()?;
        }
        for host in &hosts {
            programs::ensure(host.kind)?;
        }
        let old = record::read(site)?;
        if let Some(old) = old.as_ref().filter(|old| old.settings != settings) {
            bail!("the fleet runs with other settings, {:?}: take it down first", old.settings);
        }
        let known = |number: u8| {
            let entries = old.iter().flat_map(|old| &old.hosts);
            entries.filter(|entry| entry.number == number).map(|entry| entry.kind).next()
        };
        for found in site.hosts_found() {
            let host = hosts.get(usize::from(found.number));
            if host.is_none_or(|host| known(host.number).is_some_and(|kind| kind != host.kind)) {
                down_host(&found)?;
            }
        }
        let before = old.map_or_else(|| Before::now(site), |old| old.before);
        let mut record = Record {
            settings,
            before,
            consul: if for_tests { consul::ensure()? } else { PathBuf::new() },
            hosts: hosts
                .iter()
                .map(|host| HostRecord::new(site, host, settings, capacity))
                .collect(),
        };
        fs::create_dir_all(&site.dir).with_context(|| site.dir.display().to_string())?;
        // Even when the rest fails, `down` is to know what there was before.
        record::write(site, &record)?;
        if let Err(error) = network::set_forwarding(true) {
            say(&format!("hosts will not reach each other: {error:#}"));
        }
        for host in &hosts {
            if network::up(site, host)? {
                daemon::stop(host)?;
            }
        }
        let started: Vec<Result<Pid>> = thread::scope(|scope| {
            let start = |host| scope.spawn(move || daemon::up(site, host, settings));
            let threads: Vec<_> = hosts.iter().map(start).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| bail!("panic")))
                .collect()
        });
        for (entry, pid) in record.hosts.iter_mut().zip(started) {
            entry.pid = pid?.as_raw_nonzero().get();
            let containerd = process::containerd(&site.host(entry.number));
            entry.containerd_pid = containerd.map_or(0, |pid| pid.as_raw_nonzero().get());
            entry.version = daemon::version(&entry.socket).unwrap_or_default();
        }
        record::write(site, &record)?;
        show(site, &record);
        Ok(())
    }

    /// Stops every host and deletes all there is of the fleet.
    pub(crate) fn down(&self) -> Result<()> {
        let site = &self.site;
        // A record that cannot be read must not keep anything alive.
        let record = record::read(site).ok().flatten();
        let before = record.map_or_else(Before::unknown, |record| record.before);
        let hosts = site.hosts_found();
        let results: Vec<Result<()>> = thread::scope(|scope| {
            let threads: Vec<_> =
                hosts.iter().map(|host| scope.spawn(move || down_host(host))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| bail!("panic")))
                .collect()
        });
        results.into_iter().collect::<Result<()>>()?;
        network::down_shared(site)?;
        for dir in [&site.dir, &site.data] {
            if dir.exists() {
                fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
            }
        }
        if !network::in_use() {
            // All fleets of the machine share these.
            if !before.namespaces {
                network::forget_namespaces();
            }
            remnants::forget(before.engines);
            if !before.forwarding {
                network::set_forwarding(false)?;
            }
        }
        if !hosts.is_empty() {
            let names: Vec<_> = hosts.iter().map(Host::name).collect();
            say(&format!("down, with nothing left: {}", names.join(", ")));
        }
        Ok(())
    }
}

/// The hosts 0 to `last`, with what each is to run.
fn with_kinds(site: &Site, last: u8, kinds: &[(u8, Kind)]) -> Result<Vec<Host>> {
    let mut hosts: Vec<_> = (0..=last).map(|number| site.host(number)).collect();
    for (number, kind) in kinds {
        match hosts.get_mut(usize::from(*number)) {
            Some(host) => host.kind = *kind,
            None => bail!("there is no host {number} to run {kind}: the last one is {last}"),
        }
    }
    Ok(hosts)
}

fn down_host(host: &Host) -> Result<()> {
    daemon::down(host).and_then(|()| network::down(host)).with_context(|| host.name())
}

/// Prints what runs.
pub(crate) fn status(site: &Site, json: bool) -> Result<()> {
    match (record::read(site)?, json) {
        (Some(record), true) => say(&serde_json::to_string_pretty(&record)?),
        (Some(record), false) => show(site, &record),
        (None, true) => say("null"),
        (None, false) => say(&format!("no fleet in {}", site.dir.display())),
    }
    Ok(())
}

fn show(site: &Site, record: &Record) {
    let (engine, tcp) = ("ENGINE", "TCP");
    say(&format!(
        "{:8} {:6} {:>7} {:>8}  {engine:32} {tcp:24} SOCKET",
        "HOST", "ALIVE", "PID", "CAPACITY"
    ));
    for entry in &record.hosts {
        let host = site.host(entry.number);
        let pid = process::server(&host);
        say(&format!(
            "{:8} {:6} {:>7} {:>8}  {:32} {:24} {}",
            entry.name,
            if pid.is_some() && daemon::answers(&host) { "yes" } else { "no" },
            pid.map_or_else(|| "-".to_owned(), |pid| pid.as_raw_nonzero().to_string()),
            entry.capacity,
            format!("{} {}", entry.kind, entry.version),
            entry.tcp_url.as_deref().unwrap_or("-"),
            entry.socket.display(),
        ));
    }
}

/// Installs what an engine lacks; says whether the machine starts one because of that.
pub(crate) fn install_engine() -> Result<bool> {
    Ok(packages::ensure_engine()?.contains(&packages::DOCKER) && packages::services_start())
}

/// Whether we may do what a fleet needs.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A PATH on which a crun of a newer suite is found, which is made now if it is not there.
pub(crate) fn path_with_crun() -> Result<String> {
    let newer = Kind::Unpacked(kind::Engine::Podman, kind::Suite::Trixie);
    programs::ensure(newer)?;
    Ok(programs::search_path(newer))
}

#[cfg(test)]
mod tests {
    use super::kind::{Engine, Suite};
    use super::*;

    #[test]
    fn an_engine_needs_a_host_to_run_on() {
        let podman = Kind::Unpacked(Engine::Podman, Suite::Trixie);
        let hosts = with_kinds(&Site::demo(), 2, &[(2, podman)]).unwrap();
        let kinds: Vec<_> = hosts.iter().map(|host| host.kind).collect();
        assert_eq!(kinds, [Kind::Installed, Kind::Installed, podman]);
        let error = with_kinds(&Site::demo(), 2, &[(3, podman)]).unwrap_err().to_string();
        assert_eq!(error, "there is no host 3 to run podman-trixie: the last one is 2");
    }
}
