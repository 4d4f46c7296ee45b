//! A carrier is made on an engine, and looked at, so that cells can be made by it.
//!
//! A carrier is a holder: a container with the settings of a service, but for its command and what it
//! would be reached by. It runs a program that waits for ever, which it has from a volume of its own,
//! so that the file systems of cells, which have the same layers below, know nothing of it. It bears
//! no launch's label and counts against nobody's capacity.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ganger_pool::core::ServiceName;
use ganger_pool::runtime::{LaunchError, LaunchOrder};
use serde::Deserialize;

use super::carriers::{Carrier, CarrierHistory, Carrying};
use super::contact::Contact;
use super::daemon::Daemon;
use super::holder_removal::Creation;
use super::ignored;
use super::kind::EngineKind;
use super::sandboxes::Holds;
use super::view::GraphDriver;
use super::{Docker, Network, Reach, Ready, Spec, fault};
use crate::cell::{CarrierOrder, Pattern, for_cells, runtime};
use crate::image;
use crate::reach::process::Process;
use crate::spec::{Sandbox, Volume};

/// The engine's names of the runtimes whose specifications cells may be run by.
const RUNTIMES: [&str; 3] = ["runc", "crun", "io.containerd.runc.v2"];
/// Where a carrier has its volume.
const PLACE: &str = "/.ganger-carrier";
/// The program in it.
const PROGRAM: &str = "hold";

/// The command of an image.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageCommand {
    config: ImageDefaults,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageDefaults {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<serde_json::Map<String, serde_json::Value>>,
}

// === impl Docker ===

impl Docker {
    /// The carrier of a specification, made now if there is none; `None` where its containers are
    /// plain ones.
    pub(super) async fn carrier(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Arc<Contact>,
        service: &ServiceName,
        (spec, image): (&Arc<Spec>, &str),
    ) -> Option<Arc<Carrier>> {
        let place = daemon.carriers.place(spec)?;
        // Whoever wants it may give up; a carrier that is begun has to be known to somebody.
        let (docker, daemon, contact) = (self.clone(), Arc::clone(daemon), Arc::clone(contact));
        let (service, spec, image) = (service.clone(), Arc::clone(spec), image.to_owned());
        let work = tokio::spawn(async move {
            let mut known = place.lock().await;
            if let Some(carrying) = known.as_ref().filter(|carrying| !carrying.is_over()) {
                return carrying.clone().carrier();
            }
            let before = known.take();
            let history = before.as_ref().map(Carrying::history).unwrap_or_default();
            if let Some(over) = before.and_then(Carrying::carrier) {
                daemon.carriers.keep(over);
            }
            let made = match history.is_hopeless() {
                true => Err("its carrier, or the keeper of cells, ends again and again".to_owned()),
                false => docker.make_carrier(&daemon, &contact, (&spec, &image), history).await,
            };
            let carrying = match made {
                Ok(carrier) => {
                    tracing::info!(daemon = %daemon.name, %service, "its containers are cells");
                    Carrying::Cells(Arc::new(carrier))
                }
                Err(why) => {
                    daemon.tell_plain(&service, &why);
                    Carrying::plain(history)
                }
            };
            known.insert(carrying).clone().carrier()
        });
        work.await.ok().flatten()
    }

    /// The carrier of a launch whose container is to be a cell.
    pub(super) async fn carrier_for(
        &self,
        order: &LaunchOrder<Spec>,
    ) -> Result<Option<(Arc<Daemon>, Arc<Carrier>)>, LaunchError> {
        if order.spec.sandbox != Sandbox::Cell {
            return Ok(None);
        }
        let daemon = self.daemon(&order.daemon).map_err(fault::of_call)?;
        let contact = daemon.contact().map_err(fault::of_call)?;
        let Some(image) = daemon.prepared(&order.service, &order.spec) else { return Ok(None) };
        let of = (&order.spec, image.as_str());
        let carrier = self.carrier(&daemon, &contact, &order.service, of).await;
        Ok(carrier.map(|carrier| (daemon, carrier)))
    }

    /// Has a specification's containers be plain ones for a while.
    pub(super) async fn give_up_cells(
        &self,
        daemon: &Arc<Daemon>,
        (service, spec): (&ServiceName, &Arc<Spec>),
        failing: &Arc<Carrier>,
        why: &str,
    ) {
        let Some(place) = daemon.carriers.place(spec) else { return };
        let mut known = place.lock().await;
        // Another may have taken its place since.
        let is_it = |carrying: &Carrying| matches!(carrying, Carrying::Cells(it) if Arc::ptr_eq(it, failing));
        if known.as_ref().is_some_and(is_it) {
            daemon.tell_plain(service, why);
            let history = known.as_ref().map(Carrying::history).unwrap_or_default();
            *known = Some(Carrying::plain(history));
            daemon.carriers.keep(Arc::clone(failing));
        }
    }

    async fn make_carrier(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Contact,
        (spec, image): (&Arc<Spec>, &str),
        history: CarrierHistory,
    ) -> Result<Carrier, String> {
        let runtime = self.runtime_of_cells(contact, spec).await?;
        self.cells.ready().await?;
        let command = self.command_of(daemon, spec, image).await?;

        let number = daemon.sandboxes.begin(Holds::Carrier);
        let made = self.start_carrier(daemon, contact, number, (spec, image)).await;
        let fits = match made {
            Ok(id) => self.look_at_carrier(daemon, contact, &id, spec, (&command, runtime)).await,
            Err(why) => Err(why),
        };
        match fits {
            Ok((process, adopted)) => {
                let carrier = Carrier::new(number, process, adopted, history);
                self.watch_carrier(daemon, &carrier);
                Ok(carrier)
            }
            Err(why) => {
                self.remove_holder(daemon, number, Creation::Uncertain);
                Err(why)
            }
        }
    }

    /// The runtime of the cells of a specification.
    ///
    /// # Errors
    /// Why there can be none, as far as that shows before a carrier is looked at.
    pub(super) async fn runtime_of_cells(
        &self,
        contact: &Contact,
        spec: &Spec,
    ) -> Result<PathBuf, String> {
        why_plain(spec).map_or(Ok(()), |why| Err(why.to_owned()))?;
        if contact.kind != EngineKind::Docker {
            return Err("the engine is not Docker".to_owned());
        }
        contact.why_published().map_or(Ok(()), Err)?;
        let runtime = tokio::task::spawn_blocking(runtime).await.ok().flatten();
        runtime.ok_or_else(|| "neither crun 1.8 or later nor runc is installed here".to_owned())
    }

    async fn start_carrier(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        number: u64,
        (spec, image): (&Spec, &str),
    ) -> Result<String, String> {
        // Without a name the volume is removed with its container.
        let volume = Volume { name: String::new(), read_only: false };
        let spec = Spec {
            entrypoint: Some(vec![format!("{PLACE}/{PROGRAM}")]),
            command: Some(vec![image::HOLD.to_owned()]),
            ready: Ready::Started,
            volumes: [(PLACE.to_owned(), volume)].into(),
            ..spec.clone()
        };
        let files = [image::File { path: PROGRAM, mode: 0o755, content: image::HOLDER }];
        let id = self.create_holder(daemon, contact, number, (&spec, image), None).await;
        let id = id.map_err(|error| error.message)?;
        super::secrets::upload(daemon, &id, PLACE, &files, "the program of a carrier")
            .await
            .map_err(|error| error.message)?;
        self.begin_holder(daemon, contact, number, &id).await.map_err(|error| error.message)?;
        Ok(id)
    }

    async fn look_at_carrier(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        id: &str,
        spec: &Spec,
        (command, runtime): (&[String], PathBuf),
    ) -> Result<(Process, crate::cell::Adopted), String> {
        let seen = daemon.inspect(id).await.map_err(|error| error.message)?;
        let seen = seen.unwrap_or_default();
        let pid = seen.state.pid;
        let gone = || "the carrier ended as soon as it was started".to_owned();
        let process = Process::open(pid).map_err(|_| gone())?;
        if !process.belongs_to(id) {
            return Err("its process is not seen from here".to_owned());
        }
        // Cells would go without a setting that the engine has left out.
        contact.note_ignored(ignored::read_back(spec, &seen.host_config));
        if !process.has_own_group(id) {
            contact.note_ignored(ignored::all_limits());
        }
        contact.heeds(spec)?;
        let own = seen.host_config.runtime.unwrap_or_default();
        if !RUNTIMES.contains(&own.as_str()) {
            return Err(format!(
                "the engine runs containers by \"{own}\", and cells are run by crun or runc"
            ));
        }
        let (id, mounts) = (id.to_owned(), spec.mounts.clone());
        let (command, group) = (command.to_vec(), self.cells.group().to_owned());
        let (size, layers) = (spec.limits.memory, seen.graph_driver);
        // Files of another process are read, which may be away.
        let read = tokio::task::spawn_blocking(move || {
            let mounts: Vec<_> =
                mounts.iter().map(|mount| (mount.target.clone(), mount.source.clone())).collect();
            let waits = [&*format!("{PLACE}/{PROGRAM}"), image::HOLD];
            let (limits, without_v6) = kernels_words(pid)?;
            let order = CarrierOrder {
                id: &id,
                waits: &waits,
                volume: PLACE,
                mounts: &mounts,
                command: &command,
                group: &group,
                limits: &limits,
                without_v6,
            };
            pattern(pid, &order, layers, runtime, size)
        });
        let pattern = read.await.map_err(|error| error.to_string())??;
        Ok((process, self.cells.adopt(pattern).await?))
    }

    /// The command that an engine would run for a specification.
    async fn command_of(
        &self,
        daemon: &Daemon,
        spec: &Spec,
        image: &str,
    ) -> Result<Vec<String>, String> {
        let path = format!("/images/{image}/json");
        let seen: Result<ImageCommand, _> = daemon.read(&path, daemon.deadlines.inspect).await;
        let seen = seen.map_err(|error| error.message)?;
        let ImageDefaults { entrypoint, cmd, volumes } = seen.config;
        if volumes.is_some_and(|volumes| !volumes.is_empty()) {
            return Err("its image has volumes, which all cells would share".to_owned());
        }
        // An entrypoint of the service's own is not given the image's arguments.
        let (before, after) = match (&spec.entrypoint, &spec.command) {
            (Some(entrypoint), command) => (Some(entrypoint.clone()), command.clone()),
            (None, Some(command)) => (entrypoint, Some(command.clone())),
            (None, None) => (entrypoint, cmd),
        };
        Ok([before, after].into_iter().flatten().flatten().collect())
    }

    /// Removes the carriers that nobody wants any more.
    pub(super) fn tidy_carriers(&self, daemon: &Arc<Daemon>) {
        for carrier in daemon.carriers.unwanted() {
            self.remove_holder(daemon, carrier.number, Creation::Confirmed);
        }
    }

    /// Removes all carriers on a daemon; there will be no more.
    pub(super) async fn close_carriers(&self, daemon: &Arc<Daemon>) {
        for place in daemon.carriers.close() {
            if let Some(carrier) = place.lock().await.take().and_then(Carrying::carrier) {
                self.remove_holder(daemon, carrier.number, Creation::Confirmed);
            }
        }
    }
}

/// Why the containers of a service cannot be cells, whatever the engine.
pub(crate) fn why_plain(spec: &Spec) -> Option<&'static str> {
    let reasons = [
        (spec.network != Network::Sealed, "cells have no network: write `network: Sealed`"),
        (
            spec.reach == Reach::Published,
            "cells are reached by namespace, and `reach` says `Published`",
        ),
        (!spec.volumes.is_empty(), "all cells would share its `volumes`"),
        (!spec.secrets.0.is_empty(), "all cells would share its `secrets`"),
        (spec.gpus.is_some(), "cells cannot have `gpus`"),
        (spec.storage.is_some(), "cells cannot be given `limits.storage`"),
        (
            spec.runtime.as_deref().is_some_and(|name| name != "runc"),
            "cells are run by crun or runc, and `runtime` names another",
        ),
        (
            matches!(spec.ready, Ready::Healthcheck(_)),
            "cells have no HEALTHCHECK, which `ready` asks for",
        ),
        (
            matches!(spec.ready, Ready::Exec(_)),
            "`ready: Exec` runs a program by the engine, which does not know cells",
        ),
        (
            matches!(spec.ready, Ready::Log { .. }),
            "`ready: Log` reads the engine's log, which cells do not have",
        ),
    ];
    reasons.iter().find(|(so, _)| *so).map(|(_, why)| *why)
}

/// The limits of a process, as the kernel tells them, and whether its network is without IPv6: engines
/// differ in what they leave of that.
fn kernels_words(pid: i32) -> Result<(String, bool), String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"));
    let limits = limits.map_err(|error| format!("the carrier's limits cannot be read: {error}"))?;
    let v6 = fs::read_to_string(format!("/proc/{pid}/net/if_inet6")).unwrap_or_default();
    Ok((limits, Path::new("/proc/sys/net/ipv6").exists() && v6.is_empty()))
}

/// The pattern of cells, by the files of a running carrier.
fn pattern(
    pid: i32,
    order: &CarrierOrder<'_>,
    layers: GraphDriver,
    runtime: PathBuf,
    size: Option<u64>,
) -> Result<Pattern, String> {
    let GraphDriver { name, data } = layers;
    let lower = data.unwrap_or_default().lower_dir;
    if name != "overlay2" || lower.is_empty() {
        return Err(format!("the engine keeps images by {name}, and not by overlay2"));
    }
    // The shim of a container has its bundle for a working directory, wherever that is.
    let shim = crate::reach::process::parent(pid).ok_or("its shim is not seen from here")?;
    let root = PathBuf::from(format!("/proc/{shim}/root"));
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what} cannot be read: {error}")
    };
    let config = format!("/proc/{shim}/cwd/config.json");
    let text = fs::read_to_string(config).map_err(failed("the specification of the carrier"))?;
    let spec = for_cells(text.as_bytes(), order).map_err(|why| why.replace(order.id, "ID"))?;
    let mut files = Vec::new();
    for (file, source) in spec.files {
        let there = root.join(source.trim_start_matches('/'));
        files.push((file, fs::read_to_string(there).map_err(failed("a file of the carrier"))?));
    }
    let layers: Vec<_> = lower.split(':').map(PathBuf::from).collect();
    for place in layers.iter().chain(&spec.sources) {
        let there = root.join(place.strip_prefix("/").unwrap_or(place));
        let inode = |path: &Path| fs::metadata(path).ok().map(|seen| (seen.dev(), seen.ino()));
        if inode(place).is_none() || inode(place) != inode(&there) {
            return Err(format!(
                "the engine's {} is not what is here by that name",
                place.display()
            ));
        }
    }
    Ok(Pattern { runtime, spec: spec.text, layers, files: spec_files(files, order), size })
}

/// The own files of cells, with the name of a cell where the carrier's was.
fn spec_files(files: Vec<(String, String)>, order: &CarrierOrder<'_>) -> Vec<(String, String)> {
    let own = &order.id[..order.id.len().min(12)];
    files.into_iter().map(|(file, text)| (file, text.replace(own, crate::cell::NAME))).collect()
}
