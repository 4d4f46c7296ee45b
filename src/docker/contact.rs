//! The findings of contact with an engine: how its containers are reached, and how to ask it.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::models::ContainerCreateBody;
use parking_lot::Mutex;
use rustix::system;

use super::body::body;
use super::ignored::{self, Ignored};
use super::kind::EngineKind;
use super::mount_sources::{MountSources, Turns};
use super::view::Info;
use super::{Network, Reach, Ready, Spec};
use crate::http::Peer;
use crate::reach::capability::{can_enter_namespaces, sees_process};
use crate::spec::has_own_network;

/// The findings of one successful `connect`.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) client: bollard::Docker,
    /// The version of the API, `MAJOR.MINOR`, as negotiated.
    pub(super) version: String,
    pub(super) kind: EngineKind,
    /// The engine runs as a user who is not root.
    rootless: bool,
    /// The installation of the engine.
    pub(super) id: String,
    /// Where the sources of mounts are looked for, if this engine needs that and it is possible.
    sources: Option<MountSources>,
    /// The settings that the engine leaves out, as far as is known.
    ignored: Mutex<BTreeSet<Ignored>>,
    /// Where ports are published, and dialled.
    pub(super) address: IpAddr,
    /// Why ports published there are not found there, if so.
    astray: Option<String>,
    /// Why its containers do not run on our kernel, if that is certain.
    elsewhere: Option<String>,
    /// Why containers cannot be reached by namespace, if so.
    namespace: Mutex<Result<(), String>>,
    /// A container was reached by namespace.
    proven: AtomicBool,
}

/// An engine that has answered a ping.
pub(super) struct Greeted {
    pub(super) peer: Peer,
    /// Why ports that it publishes on its loopback are not found on ours, if so.
    pub(super) astray: Option<String>,
    pub(super) kind: EngineKind,
    pub(super) client: bollard::Docker,
    pub(super) version: String,
}

// === impl Contact ===

impl Contact {
    /// `address` is where it publishes ports; `astray` is why ports published there are not found.
    pub(super) fn new(
        greeted: Greeted,
        info: &Info,
        address: IpAddr,
        astray: Option<String>,
        turns: &Arc<Turns>,
    ) -> Self {
        let Greeted { peer, kind, client, version, .. } = greeted;
        let elsewhere = other_kernel(&info.kernel, &system::uname().release().to_string_lossy());
        let local = elsewhere.clone().map_or_else(|| is_local(peer), Err);
        Self {
            client,
            version,
            kind,
            rootless: info.is_rootless(),
            id: kind.installation(info),
            sources: match peer {
                Peer::Process(pid) if kind.makes_mount_sources() => pid
                    .filter(|pid| sees_process(*pid))
                    .map(|pid| MountSources::of(pid, turns.clone())),
                _ => None,
            },
            ignored: Mutex::new(ignored::said(info)),
            address,
            astray,
            elsewhere,
            namespace: Mutex::new(local),
            proven: AtomicBool::new(false),
        }
    }

    /// Decides how a service's containers are reached on this daemon.
    pub(super) fn reach(&self, spec: &Spec) -> Result<Reach, String> {
        let sealed = spec.network == Network::Sealed;
        let foreign = spec.runtime.as_deref().filter(|name| has_own_network(name));
        let usable = match foreign {
            // The sockets of these runtimes cannot be reached by namespace.
            Some(name) => Err(format!("the runtime {name} may have a network stack of its own")),
            None => self.namespace.lock().clone(),
        };
        match (spec.reach, usable) {
            (Reach::Namespace, _) => self
                .elsewhere
                .clone()
                .map_or_else(can_enter_namespaces, Err)
                .map(|()| Reach::Namespace)
                .map_err(|why| format!("`reach: Namespace` is not possible: {why}")),
            (Reach::Auto, Ok(())) => Ok(Reach::Namespace),
            (Reach::Published, _) if sealed => Err("`network: Sealed` leaves no port to publish: \
                 it needs `reach: Namespace` or `Auto`"
                .to_owned()),
            (Reach::Auto, Err(why)) if sealed => Err(format!(
                "`network: Sealed` needs reach by namespace, which is not possible here: {why}"
            )),
            (Reach::Published | Reach::Auto, _) => {
                self.astray.clone().map_or(Ok(Reach::Published), Err)
            }
        }
    }

    /// Whether a service may be launched there, or why not: the engine would leave out a part
    /// of what it asks for.
    ///
    /// # Errors
    /// The reason, for people.
    pub(super) fn heeds(&self, spec: &Spec) -> Result<(), String> {
        if spec.gpus.is_some() && self.kind.ignores_gpus() {
            return Err(
                "Podman leaves out `gpus` where it is asked in Docker's words: name what they \
                        are by `devices`"
                    .to_owned(),
            );
        }
        if !spec.secrets.0.is_empty() && self.rootless && !self.kind.mounts_volumes_rootless() {
            return Err(
                "Podman has no volumes in memory where it is not run by root: without `secrets`,                         `env_file` gives a container what it needs to know"
                    .to_owned(),
            );
        }
        ignored::refusal(&self.ignored.lock(), spec).map_or(Ok(()), Err)
    }

    /// Notes settings that the engine has left out.
    pub(super) fn note_ignored(&self, more: impl IntoIterator<Item = Ignored>) {
        self.ignored.lock().extend(more);
    }

    /// The request that creates a container, in the form that this engine needs.
    pub(super) fn request(
        &self,
        spec: &Spec,
        image: &str,
        labels: HashMap<String, String>,
        publish: Option<IpAddr>,
        network: String,
    ) -> ContainerCreateBody {
        let ignored = self.ignored.lock();
        let spec = ignored::without(&ignored, spec);
        let mut body = body(&spec, image, labels, publish, network);
        body.stop_timeout = self.kind.stop_timeout();
        if let Some(host) = body.host_config.as_mut().filter(|_| ignored.contains(&Ignored::Pids)) {
            // Podman sets a limit by default, and fails where it cannot set it.
            host.pids_limit = Some(0);
        }
        body
    }

    /// Looks for the sources of mounts that the engine would make if they were absent. Passes
    /// where the engine's files are out of sight.
    ///
    /// # Errors
    /// As of [`MountSources::find`].
    pub(super) async fn find_sources(&self, spec: &Spec) -> Result<(), String> {
        match &self.sources {
            Some(sources) => sources.find(&spec.mounts).await,
            None => Ok(()),
        }
    }

    /// Why containers of the service may not work as others do there.
    pub(super) fn doubts(&self, spec: &Spec) -> Option<String> {
        let on_health = matches!(spec.ready, Ready::Healthcheck(_));
        let health = self.kind.doubts_health().filter(|_| on_health).map(str::to_owned);
        let runtime = spec.runtime.as_ref().filter(|name| has_own_network(name));
        health.or_else(|| {
            let runtime = runtime.filter(|_| spec.network == Network::Isolated)?;
            Some(format!(
                "containers run by {runtime} may not reach the engine's name server on networks \
                 other than its own, so that no name resolves: write `network: Bridge`, or `Sealed`"
            ))
        })
    }

    /// Every address of the daemon's machine.
    pub(super) fn any_address(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// Why `Auto` does not reach containers by namespace, if so. Where `Namespace`
    /// is asked for, it may be possible all the same.
    pub(super) fn why_published(&self) -> Option<String> {
        self.namespace.lock().clone().err()
    }

    /// Notes that reach by namespace works: from then on, a failure concerns only
    /// one container.
    pub(super) fn prove_namespace(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Notes that reach by namespace was tried and does not work. Returns `false`,
    /// and notes nothing, if it has worked before.
    pub(super) fn deny_namespace(&self, why: String) -> bool {
        let believed = !self.proven.load(Ordering::Relaxed);
        if believed {
            *self.namespace.lock() = Err(why);
        }
        believed
    }
}

/// Says that an engine has another kernel than ours, if its release differs.
fn other_kernel(its: &str, ours: &str) -> Option<String> {
    // Docker writes 6.1-x as 6.1.0-x.
    let full = |release: &str| {
        let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
        let (numbers, flavour) = release.split_at(end);
        let zero = if numbers.split('.').count() == 2 { ".0" } else { "" };
        format!("{numbers}{zero}{flavour}")
    };
    (!its.is_empty() && full(its) != full(ours))
        .then(|| format!("the engine runs on another kernel ({its}, here {ours})"))
}

/// Whether an engine's containers run on our kernel, in our view of processes.
/// Each launch checks it again; this check only avoids hopeless attempts.
fn is_local(peer: Peer) -> Result<(), String> {
    match peer {
        Peer::Process(Some(pid)) if sees_process(pid) => can_enter_namespaces(),
        Peer::Process(_) => Err("the engine's process cannot be seen from here".to_owned()),
        Peer::Address(_) => Err("the engine is reached over TCP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_another_one_when_its_release_is() {
        for (its, ours, other) in [
            ("6.1.0-18-amd64", "6.1.0-18-amd64", false),
            ("5.4.0-generic", "5.4-generic", false),
            ("", "6.1.0-18-amd64", false),
            ("6.1.0-18-amd64", "6.1.0-17-amd64", true),
            ("6.6.87.2-microsoft-standard-WSL2", "6.6.87.2-microsoft-standard-WSL2", false),
            ("6.1.1", "6.1", true),
        ] {
            assert_eq!(other_kernel(its, ours).is_some(), other, "{its} {ours}");
        }
    }
}
