//! Network sandboxes: namespaces that are there before the containers that join them.
//!
//! Making a network namespace, with its place on a network and its published port, is more
//! than half of an engine's work at a start. A holder, a container of a program that waits
//! for ever, keeps one; a container launched into it (`NetworkMode: container:ID`) starts
//! and is removed in less than half the time. A sandbox has one container at a time. It is
//! free for the next once the removal of the last one is confirmed, so that no process of
//! that one lives, and the kernel, where it can be asked, knows no connection left there. A
//! sandbox in which a launch failed is not used again.
//!
//! Holders bear a label of their own and count against nobody's capacity. A holder that is
//! not wanted any more is removed until it is gone, and so is one whose create was given up
//! and may yet be carried out; a holder of an earlier run shows in lists as a stray.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};
use futures_util::future::join_all;
use ganger_pool::core::{LaunchId, short_id};
use ganger_pool::runtime::{CallError, LaunchError};
use tokio::time::{Instant, timeout, timeout_at};

use super::calls::CallFailure;
use super::contact::Contact;
use super::daemon::Daemon;
use super::fault::{self, Operation, launch_error};
use super::holder_removal::Creation;
use super::ignored;
use super::naming::is_id;
use super::sandboxes::{Holds, NetworkSandbox, SandboxKind};
use super::view::{Inspected, NetworkSettings};
use super::{Docker, Ready, Spec};
use crate::image;
use crate::reach::process::Process;
use crate::spec::Limits;

/// The limits of a holder.
const MEMORY: u64 = 16 << 20;
const PIDS: u32 = 8;
/// A port on which nothing listens.
const PORT: u16 = 9;
/// Where containers may be left if a cell does not end.
const CELLS_LEFT: &str = "this machine (cells that do not end)";

/// The parts of a sandbox that a joining container needs.
#[derive(Debug)]
pub(super) struct Joined {
    /// The id of the holder.
    pub(super) id: String,
    /// The network settings of the holder, which are the container's.
    pub(super) network: NetworkSettings,
}

// === impl Docker ===

impl Docker {
    /// A sandbox for a launch: a free one, or one that is made now. Another is made
    /// ahead when it was the last.
    pub(super) async fn join(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Arc<Contact>,
        launch: LaunchId,
        kind: SandboxKind,
    ) -> Result<Joined, LaunchError> {
        let joined = loop {
            let (id, fresh) = match daemon.sandboxes.take(launch, &kind) {
                Some(id) => (id, false),
                None => {
                    let sandbox = self.make(daemon, contact, &kind).await?;
                    let id = sandbox.id.clone();
                    daemon.sandboxes.give(launch, sandbox);
                    (id, true)
                }
            };
            // If this fails, the sandbox stays the launch's until the launch is gone.
            match look_at(daemon, &id).await.map_err(fault::of_call)? {
                Some(network) => break Joined { id, network },
                None if fresh => {
                    return Err(fault::daemon(format!(
                        "the sandbox {} ended as soon as it was made",
                        short_id(&id)
                    )));
                }
                None => {}
            }
            tracing::debug!(daemon = %daemon.name, sandbox = short_id(&id), "a sandbox has changed and is not used");
            if let Some(unfit) = daemon.sandboxes.release(launch) {
                self.remove_holder(daemon, unfit.number, Creation::Confirmed);
            }
        };
        if daemon.sandboxes.lacks(&kind) {
            let (docker, daemon, contact) = (self.clone(), daemon.clone(), contact.clone());
            tokio::spawn(async move {
                let made = docker.make(&daemon, &contact, &kind).await;
                daemon.sandboxes.came(&kind);
                match made.map(|sandbox| daemon.sandboxes.give_back(sandbox)) {
                    Ok(Ok(())) => {}
                    Ok(Err(sandbox)) => {
                        docker.remove_holder(&daemon, sandbox.number, Creation::Confirmed)
                    }
                    Err(error) => {
                        let error = error.message;
                        tracing::debug!(daemon = %daemon.name, error, "no sandbox was made ahead");
                    }
                }
            });
        }
        Ok(joined)
    }

    async fn make(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Contact,
        kind: &SandboxKind,
    ) -> Result<NetworkSandbox, LaunchError> {
        let number = daemon.sandboxes.begin(Holds::Network);
        let spec = holder(kind);
        match self.start_holder(daemon, contact, number, &spec, kind.publish).await {
            Ok(id) => Ok(NetworkSandbox::new(number, id, kind.clone())),
            Err(error) => {
                self.remove_holder(daemon, number, Creation::Uncertain);
                Err(error)
            }
        }
    }

    /// Starts the container of a sandbox, or of secrets, by its number; returns its id.
    pub(super) async fn start_holder(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        number: u64,
        spec: &Spec,
        publish: Option<IpAddr>,
    ) -> Result<String, LaunchError> {
        let builtin = self.builtin.iter().find(|builtin| builtin.reference == spec.image);
        let image = daemon.image(&spec.image, spec.pull, builtin).await;
        let image = image.map_err(|error| fault::unprepared(error.message))?;
        let id = self.create_holder(daemon, contact, number, (spec, &image), publish).await?;
        self.begin_holder(daemon, contact, number, &id).await?;
        Ok(id)
    }

    /// Creates a holder of an image by its number, without starting it; returns its id.
    pub(super) async fn create_holder(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        number: u64,
        (spec, image): (&Spec, &str),
        publish: Option<IpAddr>,
    ) -> Result<String, LaunchError> {
        let labels = self.identity.holder_labels(number);
        let name = self.holder_name(number);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let network = (name.as_str(), labels.clone());
        let network = self.attach_to(daemon, contact, &spec.network, None, network).await?;
        let request = contact.request(spec, image, labels, publish, network);
        let deadlines = &daemon.deadlines;
        let create = contact.client.create_container(Some(options), request);
        let created = timeout(deadlines.create, create).await.map_err(|_| None);
        let created = created.and_then(|created| created.map_err(Some));
        let failed = failed(daemon, Operation::Create, deadlines.create);
        let created = created.map_err(failed)?;
        contact
            .note_ignored(created.warnings.iter().filter_map(|warning| ignored::warned(warning)));
        if !is_id(&created.id) {
            return Err(fault::daemon(format!("\"{}\" is not a container's id", created.id)));
        }
        Ok(created.id)
    }

    /// Starts a holder that was created.
    pub(super) async fn begin_holder(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        number: u64,
        id: &str,
    ) -> Result<(), LaunchError> {
        let deadlines = &daemon.deadlines;
        let start = contact.client.start_container(id, None::<StartContainerOptions>);
        let started = timeout(deadlines.start, start).await.map_err(|_| None);
        let started = started.and_then(|started| started.map_err(Some));
        // The next holder is asked for without the limits that this engine cannot set.
        let failed = failed(daemon, Operation::Start, deadlines.start);
        if let Err(error) = started.map_err(failed) {
            contact.note_ignored(ignored::failed(&error.message));
            return Err(self.without_network(daemon, &self.holder_name(number), error).await);
        }
        Ok(())
    }

    /// Frees the sandbox of a launch whose container is gone, once it is found to be clean; no
    /// launch waits for that.
    pub(super) fn release_sandbox(&self, daemon: &Arc<Daemon>, launch: LaunchId) {
        let Some(sandbox) = daemon.sandboxes.release(launch) else { return };
        let (docker, daemon) = (self.clone(), Arc::clone(daemon));
        tokio::spawn(async move {
            let fit = sandbox.is_fit() && is_clean(&daemon, &sandbox).await;
            let given = if fit { daemon.sandboxes.give_back(sandbox) } else { Err(sandbox) };
            if let Err(sandbox) = given {
                docker.remove_holder(&daemon, sandbox.number, Creation::Confirmed);
            }
        });
    }

    /// Marks the sandbox of a failed launch as spoilt and, if others had used it before, removes
    /// the used ones of its kind that are free. Returns whether others had used it before.
    pub(super) fn spoil_sandbox(&self, daemon: &Arc<Daemon>, launch: LaunchId) -> bool {
        let Some(used) = daemon.sandboxes.spoil(launch) else { return false };
        for sandbox in used {
            self.remove_holder(daemon, sandbox.number, Creation::Confirmed);
        }
        true
    }

    /// Removes the sandboxes that nobody has wanted for a while.
    pub(super) fn tidy_sandboxes(&self, daemon: &Arc<Daemon>) {
        for sandbox in daemon.sandboxes.idle() {
            self.remove_holder(daemon, sandbox.number, Creation::Confirmed);
        }
    }

    /// Removes all sandboxes of a daemon; there will be no more.
    fn close_sandboxes(&self, daemon: &Arc<Daemon>) {
        for sandbox in daemon.sandboxes.close() {
            self.remove_holder(daemon, sandbox.number, Creation::Confirmed);
        }
    }

    /// Removes all sandboxes of a daemon that has left the fleet, which is known until then.
    pub(super) fn leave(&self, daemon: Arc<Daemon>) {
        self.close_sandboxes(&daemon);
        self.leaving.lock().push(Arc::clone(&daemon));
        let docker = self.clone();
        tokio::spawn(async move {
            docker.close_secrets(&daemon).await;
            docker.close_carriers(&daemon).await;
            daemon.sandboxes.until_none(|_| false).await;
            docker.close_network(&daemon, false).await;
            docker.leaving.lock().retain(|other| !Arc::ptr_eq(other, &daemon));
        });
    }

    /// Removes every sandbox of every daemon, all secrets, and the run's networks: there is nothing
    /// left to launch. Says where one may be left at the deadline, or because its daemon is out of reach.
    ///
    /// # Cancel safety
    /// Dropping the future leaves some of them to the next start, or to the guardian.
    pub async fn close(&self, deadline: Instant) -> Vec<String> {
        let mut daemons: Vec<_> = self.daemons.lock().values().cloned().collect();
        daemons.extend(self.leaving.lock().iter().cloned());
        for daemon in &daemons {
            self.close_sandboxes(daemon);
        }
        let none = daemons.iter().map(async |daemon| {
            self.close_secrets(daemon).await;
            self.close_carriers(daemon).await;
            daemon.sandboxes.until_none(|e| e.unreachable).await;
            self.close_network(daemon, true).await;
        });
        // On time or not, the daemons say what is left.
        _ = timeout_at(deadline, join_all(none)).await;
        let cells = (!self.cells.close(deadline).await).then(|| CELLS_LEFT.to_owned());
        let left = |daemon: &Arc<Daemon>| {
            let held = daemon.sandboxes.left();
            let network = || daemon.network.left().map(|why| format!("its network: {why}"));
            Some(format!("{} ({})", daemon.name, held.or_else(network)?))
        };
        daemons.iter().filter_map(left).chain(self.abandoned()).chain(cells).collect()
    }
}

/// Says why a call for a holder failed: the engine's answer, or none in time.
fn failed(
    daemon: &Daemon,
    operation: Operation,
    late: Duration,
) -> impl FnOnce(Option<Error>) -> LaunchError + use<'_> {
    move |answer| {
        let failure = answer.map_or(CallFailure::Late(late), CallFailure::Engine);
        launch_error(&daemon.endpoint, operation, &failure)
    }
}

/// The spec of a sandbox's holder, which runs the program of its image.
fn holder(kind: &SandboxKind) -> Spec {
    Spec {
        network: kind.network.clone(),
        runtime: kind.runtime.clone(),
        port: kind.port,
        ..waiting()
    }
}

/// The spec of a program that waits for ever.
pub(super) fn waiting() -> Spec {
    Spec {
        ready: Ready::Started,
        limits: Limits { memory: Some(MEMORY), pids: Some(PIDS), ..Limits::NONE },
        read_only: true,
        ..Spec::new(image::SANDBOX_REFERENCE, PORT)
    }
}

/// The network settings of a sandbox; `None` when its holder is gone, ended or paused.
async fn look_at(daemon: &Daemon, id: &str) -> Result<Option<NetworkSettings>, CallError> {
    let seen = daemon.inspect(id).await?;
    let seen = seen.filter(|seen| seen.state.running && !seen.state.paused);
    Ok(seen.map(|seen| seen.network_settings))
}

/// Whether a sandbox has nothing left of its last container, as far as the kernel can be asked:
/// a holder on another machine is out of reach, or another process has its number here.
///
/// Processes are gone, and UDP sockets with them. A connection that the service closed first
/// stays for a minute, and keeps the port from a service that does not set SO_REUSEADDR.
async fn is_clean(daemon: &Daemon, sandbox: &NetworkSandbox) -> bool {
    let Ok(Some(Inspected { state, .. })) = daemon.inspect(&sandbox.id).await else { return false };
    let (id, port) = (sandbox.id.clone(), sandbox.kind.port);
    // The check walks the machine's table of connections.
    let clean = tokio::task::spawn_blocking(move || {
        let here = Process::open(state.pid).ok().filter(|process| process.belongs_to(&id));
        here.is_none_or(|holder| holder.has_no_connections(port).unwrap_or(false))
    });
    state.running && clean.await.unwrap_or(false)
}
