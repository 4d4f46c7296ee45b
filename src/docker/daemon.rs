//! One engine, as far as we have come to know it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::ContainerCreateBody;
use ganger_pool::core::{DaemonName, ServiceName};
use ganger_pool::runtime::{CallError, DaemonFacts};
use http_body_util::Empty;
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response};
use parking_lot::Mutex;
use rustix::system;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::body::body;
use super::clock::Clock;
use super::explain::{self, explain};
use super::ignored::{self, Ignored};
use super::kind::{self, Kind};
use super::sandboxes::Sandboxes;
use super::sightings::Sightings;
use super::sources::{Sources, Turns};
use super::steps::Steps;
use super::view::{End, Info, Inspected};
use super::wire;
use super::{Deadlines, Network, Reach, Ready, Site, Spec};
use crate::endpoint::Endpoint;
use crate::http::{self, HttpError, Peer, Transport};
use crate::reach::capability::{can_enter_namespaces, sees_process};
use crate::reach::process;
use crate::spec::has_own_network;

/// Questions for the fate of containers that are asked at a time: when many die
/// at once, every connection wants to know why.
const QUESTIONS: usize = 16;
/// Containers whose last lines are read at a time.
const AUTOPSIES: usize = 8;

/// One engine, as far as we have come to know it.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(super) name: DaemonName,
    pub(super) endpoint: Endpoint,
    transport: Arc<Transport>,
    /// Overrides where ports are published and dialled.
    publish_on: Option<IpAddr>,
    pub(super) deadlines: Deadlines,
    pub(super) steps: Steps,
    contact: Mutex<Option<Arc<Contact>>>,
    services: Mutex<BTreeMap<ServiceName, Vec<Prepared>>>,
    /// By image: who fetches it now, and when it was fetched last.
    pub(super) pulls: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
    pub(super) questions: Semaphore,
    /// Beside the questions: an engine that is slow with logs keeps no healthy connection waiting.
    pub(super) autopsies: Semaphore,
    /// What time it is there.
    pub(super) clock: Clock,
    /// `None` until its first complete list.
    pub(super) sightings: Mutex<Option<Sightings>>,
    /// The network namespaces that are kept there.
    pub(super) sandboxes: Arc<Sandboxes>,
    /// What the engine warned of already: it says so at every create.
    warnings: Mutex<BTreeSet<String>>,
    turns: Arc<Turns>,
}

/// What one successful `connect` found out.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) client: bollard::Docker,
    /// Of the API, `MAJOR.MINOR`, as negotiated.
    version: String,
    pub(super) kind: Kind,
    /// Which installation of an engine it is.
    pub(super) id: String,
    /// Where the sources of mounts are looked for, if it has to be done for this engine and can.
    sources: Option<Sources>,
    /// What the engine leaves out of what it is asked for, as far as is known.
    ignored: Mutex<BTreeSet<Ignored>>,
    /// Where ports are published, and dialled.
    pub(super) address: IpAddr,
    /// Why what is published there is not found there, if so.
    astray: Option<String>,
    /// Why its containers do not run on our kernel, if that is certain.
    elsewhere: Option<String>,
    /// Why containers cannot be reached by namespace, if so.
    namespace: Mutex<Result<(), String>>,
    /// A container was reached by namespace.
    proven: AtomicBool,
}

/// A service that this daemon is fit to launch.
#[derive(Debug, Clone)]
struct Prepared {
    spec: Arc<Spec>,
    image: String,
    reach: Reach,
}

/// An engine that has answered a ping.
struct Greeted {
    peer: Peer,
    /// Why what it publishes on its loopback is not found on ours, if so.
    astray: Option<String>,
    kind: Kind,
    client: bollard::Docker,
    version: String,
}

// === impl Daemon ===

impl Daemon {
    pub(super) fn new(name: DaemonName, site: Site, deadlines: Deadlines, steps: Steps) -> Self {
        let Site { endpoint, publish_on } = site;
        Self {
            name,
            transport: Arc::new(Transport::new(endpoint.clone())),
            endpoint,
            publish_on,
            deadlines,
            steps,
            contact: Mutex::default(),
            services: Mutex::default(),
            pulls: Mutex::default(),
            questions: Semaphore::new(QUESTIONS),
            autopsies: Semaphore::new(AUTOPSIES),
            clock: Clock::default(),
            sightings: Mutex::default(),
            sandboxes: Arc::default(),
            warnings: Mutex::default(),
            turns: Arc::default(),
        }
    }

    /// Its API is reached on this machine, and nobody said where its containers are.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        self.publish_on.is_none() && self.endpoint.is_loopback()
    }

    /// That ports published on its loopback are not on ours, where each may be somebody else's.
    pub(super) fn not_here(&self, why: &str) -> String {
        format!(
            "what {} publishes on its loopback is not found on Ganger's: {why}; give the daemon \
             `publish_on`, an address of its machine or network namespace that is reached from here",
            self.endpoint
        )
    }

    pub(super) fn is_at(&self, site: &Site) -> bool {
        self.endpoint == site.endpoint && self.publish_on == site.publish_on
    }

    /// Makes contact anew: a client's version only ever goes down, so that an
    /// engine that was upgraded needs a fresh one.
    pub(super) async fn connect(&self) -> Result<DaemonFacts, CallError> {
        let began = Instant::now();
        let deadline = self.deadlines.negotiate;
        let late =
            |what, deadline| CallError::unreachable(explain::late(&self.endpoint, what, deadline));
        let greeted = timeout(deadline, self.greet()).await;
        let greeted = greeted.map_err(|_| late("the first call", deadline))??;
        let deadline = self.deadlines.of_info(greeted.kind).saturating_sub(began.elapsed());
        let path = format!("/v{}/info", greeted.version);
        let (headers, info) = timeout(deadline, self.transport.get_with_headers::<Info>(&path))
            .await
            .map_err(|_| late("/info", deadline))?
            .map_err(|error| explain::wire(&self.endpoint, &error))?;
        self.clock.set(&headers);
        self.set_contact(greeted, info)
    }

    /// Contact itself: a ping, whose answer says who is there.
    async fn greet(&self) -> Result<Greeted, CallError> {
        let failed = |error: &EngineError| CallError::unreachable(explain(&self.endpoint, error));
        // Whatever is kept leads to an engine that was lost or has changed.
        self.transport.renew();
        let (stream, peer) = self.transport.open().await.map_err(|err| failed(&err.into()))?;
        // While it is open, so that whoever is at its other end lives.
        let astray = self.may_be_elsewhere().then(|| astray(peer)).flatten();
        drop(stream);
        let pinned = Arc::new(OnceLock::new());
        let client = wire::client(&self.transport, &pinned).map_err(|error| failed(&error))?;
        let ping = self.transport.fetch("/_ping", Request::new(Empty::<Bytes>::new())).await;
        let (headers, _) = ping.map_err(|error| explain::wire(&self.endpoint, &error))?;
        let (kind, version) = kind::greeting(&headers).ok_or_else(|| {
            CallError::unreachable(format!(
                "{} does not answer as an engine does: its answer to a ping names no version",
                self.endpoint
            ))
        })?;
        let version = pinned.get_or_init(|| version).clone();
        Ok(Greeted { peer, astray, kind, client, version })
    }

    fn set_contact(&self, greeted: Greeted, info: Info) -> Result<DaemonFacts, CallError> {
        let Greeted { peer, astray, kind, client, version } = greeted;
        if !info.os.is_empty() && info.os != "linux" {
            return Err(CallError::refused(format!(
                "{} runs {} containers, and Ganger needs Linux ones",
                self.endpoint, info.os
            )));
        }
        let address = match (self.publish_on, peer) {
            (Some(address), _) => address,
            (None, Peer::Process(_)) => Ipv4Addr::LOCALHOST.into(),
            (None, Peer::Address(address)) => address.ip().to_canonical(),
        };
        let elsewhere = other_kernel(&info.kernel, &system::uname().release().to_string_lossy());
        let local = elsewhere.clone().map_or_else(|| is_local(peer), Err);
        let contact = Contact {
            client,
            version,
            kind,
            id: kind.installation(&info),
            sources: match peer {
                Peer::Process(pid) if kind.makes_mount_sources() => pid
                    .filter(|pid| sees_process(*pid))
                    .map(|pid| Sources::of(pid, self.turns.clone())),
                _ => None,
            },
            ignored: Mutex::new(ignored::said(&info)),
            address,
            astray: astray.map(|why| self.not_here(&why)),
            elsewhere,
            namespace: Mutex::new(local),
            proven: AtomicBool::new(false),
        };
        let mut known = self.contact.lock();
        if known.as_ref().is_some_and(|known| known.id != contact.id) {
            // Another installation at the same place has other images and containers.
            self.services.lock().clear();
            *self.sightings.lock() = None;
        }
        *known = Some(Arc::new(contact));
        Ok(DaemonFacts { version: info.version, cpus: info.cpus })
    }

    pub(super) fn contact(&self) -> Result<Arc<Contact>, CallError> {
        let contact = self.contact.lock().clone();
        contact.ok_or_else(|| {
            CallError::unreachable(format!("no contact with {} has been made yet", self.endpoint))
        })
    }

    /// A GET on the negotiated version of the API, under a deadline for all of it.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        deadline: Duration,
    ) -> Result<T, Result<HttpError, CallError>> {
        let version = self.contact().map_err(Err)?.version.clone();
        let path = format!("/v{version}{path}");
        match timeout(deadline, self.transport.get_with_headers(&path)).await {
            Ok(Ok((headers, answer))) => {
                self.clock.set(&headers);
                Ok(answer)
            }
            Ok(Err(error)) => Err(Ok(error)),
            Err(_) => {
                let what = path.split('?').next().unwrap_or(&path);
                let message = explain::late(&self.endpoint, what, deadline);
                Err(Err(CallError::unreachable(message)))
            }
        }
    }

    /// A GET on the negotiated version of the API whose answer goes on.
    pub(super) async fn follow(&self, path: &str) -> Result<http::Lines, CallError> {
        let path = format!("/v{}{path}", self.contact()?.version);
        let lines = self.transport.follow(&path).await;
        lines.map_err(|error| explain::wire(&self.endpoint, &error))
    }

    /// Sends a request to a path of the negotiated version of the API. Returns once
    /// the engine has begun to answer. Has no deadline.
    ///
    /// # Cancel safety
    /// The engine may carry out what was sent.
    pub(super) async fn send<B>(
        &self,
        path: &str,
        request: Request<B>,
    ) -> Result<Response<Incoming>, CallError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let path = format!("/v{}{path}", self.contact()?.version);
        let answer = self.transport.exchange(&path, request).await;
        answer.map_err(|error| explain::wire(&self.endpoint, &error))
    }

    /// Inspects a container by its name or id; `None` when there is none.
    pub(crate) async fn inspect(&self, container: &str) -> Result<Option<Inspected>, CallError> {
        let path = format!("/containers/{container}/json");
        match self.get(&path, self.deadlines.inspect).await {
            Ok(seen) => Ok(Some(seen)),
            Err(Ok(HttpError::Status { code: 404, .. })) => Ok(None),
            Err(Ok(error)) => Err(explain::wire(&self.endpoint, &error)),
            Err(Err(error)) => Err(error),
        }
    }

    /// The runtime that a container which was created will be run by, as far as the engine
    /// says.
    pub(super) async fn runtime_of(&self, container: &str) -> Result<Option<String>, CallError> {
        let path = match self.contact()?.kind {
            Kind::Docker => format!("/containers/{container}/json"),
            // Its answer in Docker's words names no runtime.
            Kind::Podman => format!("/libpod/containers/{container}/json"),
        };
        let seen: Inspected = self.get(&path, self.deadlines.inspect).await.map_err(|error| {
            error.map_or_else(|late| late, |error| explain::wire(&self.endpoint, &error))
        })?;
        let runtime = seen.oci_runtime.or(seen.host_config.runtime);
        Ok(runtime.filter(|runtime| !runtime.is_empty()))
    }

    /// Inspects a container when not too many others are. Has no deadline.
    pub(super) async fn inspect_in_turn(
        &self,
        container: &str,
    ) -> Result<Option<Inspected>, CallError> {
        // It is never closed.
        let _permit = self.questions.acquire().await;
        self.inspect(container).await
    }

    /// Asks until it has noticed that a container's process has ended, and
    /// says how it ended. Has no deadline.
    pub(super) async fn end_of(&self, container: &str) -> Result<End, CallError> {
        loop {
            match self.inspect_in_turn(container).await? {
                Some(seen) => match seen.state.end() {
                    Some(end) => return Ok(end),
                    None => sleep(Duration::from_millis(10)).await,
                },
                None => return Ok(End::Removed),
            }
        }
    }

    pub(super) fn prepared(&self, service: &ServiceName, spec: &Arc<Spec>) -> Option<String> {
        let services = self.services.lock();
        let known = services.get(service)?.iter().find(|known| Arc::ptr_eq(&known.spec, spec))?;
        Some(known.image.clone())
    }

    /// The id of the image that a service runs by this name.
    pub(super) fn pinned(&self, service: &ServiceName, image: &str) -> Option<String> {
        let services = self.services.lock();
        let known = services.get(service)?.iter().rev().find(|known| known.spec.image == image)?;
        Some(known.image.clone())
    }

    pub(super) fn set_prepared(
        &self,
        service: &ServiceName,
        spec: &Arc<Spec>,
        image: String,
        reach: Reach,
    ) {
        let mut services = self.services.lock();
        let all = services.entry(service.clone()).or_default();
        // Specs that nobody else holds any more are of generations gone by.
        all.retain(|known| Arc::strong_count(&known.spec) > 1 && !Arc::ptr_eq(&known.spec, spec));
        all.push(Prepared { spec: Arc::clone(spec), image, reach });
    }

    pub(super) fn forget_prepared(&self, service: &ServiceName, spec: &Arc<Spec>) {
        if let Some(all) = self.services.lock().get_mut(service) {
            all.retain(|known| !Arc::ptr_eq(&known.spec, spec));
        }
    }

    /// Logs a warning of the engine, once.
    pub(super) fn warn(&self, service: &ServiceName, warning: &str) {
        if self.warnings.lock().insert(warning.to_owned()) {
            tracing::warn!(daemon = %self.name, %service, warning, "the engine warns");
        }
    }

    /// How the newest spec that was prepared reaches its containers.
    pub(super) fn reach_of(&self, service: &ServiceName) -> Option<Reach> {
        self.services.lock().get(service)?.last().map(|known| known.reach)
    }
}

// === impl Contact ===

impl Contact {
    /// Decides how a service's containers are reached on this daemon.
    pub(super) fn reach(&self, spec: &Spec) -> Result<Reach, String> {
        let sealed = spec.network == Network::Sealed;
        let foreign = spec.runtime.as_deref().filter(|name| has_own_network(name));
        let usable = match foreign {
            // Such runtimes keep their sockets to themselves.
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

    /// Why a service is not to be launched there because the engine would leave out a part
    /// of what it asks for.
    ///
    /// # Errors
    /// The reason, for people.
    pub(super) fn heeds(&self, spec: &Spec) -> Result<(), String> {
        ignored::refusal(&self.ignored.lock(), spec).map_or(Ok(()), Err)
    }

    /// Notes what the engine has left out.
    pub(super) fn note_ignored(&self, more: impl IntoIterator<Item = Ignored>) {
        self.ignored.lock().extend(more);
    }

    /// The request that creates a container, as this engine has to be asked.
    pub(super) fn request(
        &self,
        spec: &Spec,
        image: &str,
        labels: HashMap<String, String>,
        publish: Option<IpAddr>,
        joins: Option<&str>,
    ) -> ContainerCreateBody {
        let ignored = self.ignored.lock();
        let spec = ignored::without(&ignored, spec);
        let mut body = body(&spec, image, labels, publish, joins);
        body.stop_timeout = self.kind.stop_timeout();
        if let Some(host) = body.host_config.as_mut().filter(|_| ignored.contains(&Ignored::Pids)) {
            // Podman has a limit by default, and fails where it cannot set it.
            host.pids_limit = Some(0);
        }
        body
    }

    /// Looks for the sources of mounts that the engine would make, were they absent. Out of
    /// sight, nobody can tell.
    ///
    /// # Errors
    /// As of [`Sources::find`].
    pub(super) async fn find_sources(&self, spec: &Spec) -> Result<(), String> {
        match &self.sources {
            Some(sources) => sources.find(&spec.mounts).await,
            None => Ok(()),
        }
    }

    /// Why containers of the service may never get ready there.
    pub(super) fn doubts(&self, spec: &Spec) -> Option<String> {
        let on_health = matches!(spec.ready, Ready::Healthcheck(_));
        self.kind.doubts_health().filter(|_| on_health).map(str::to_owned)
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

    /// Notes that reach by namespace works: from then on, what is out of reach
    /// is one container.
    pub(super) fn prove_namespace(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Notes that reach by namespace was tried and does not work; says whether
    /// that is believed.
    pub(super) fn deny_namespace(&self, why: String) -> bool {
        let believed = !self.proven.load(Ordering::Relaxed);
        if believed {
            *self.namespace.lock() = Err(why);
        }
        believed
    }
}

/// That an engine has another kernel than ours, which is known by its release.
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

/// Why what an engine at a socket publishes on its loopback is not on ours, or cannot be known
/// to be. Over TCP only its containers tell.
fn astray(peer: Peer) -> Option<String> {
    match peer {
        Peer::Process(Some(pid)) => match process::shares_network(pid) {
            Ok(true) => None,
            Ok(false) => Some("the engine is in another network namespace".to_owned()),
            Err(error) => {
                Some(format!("the network namespace of its process {pid} is not known: {error}"))
            }
        },
        Peer::Process(None) => Some("its process cannot be seen from here".to_owned()),
        Peer::Address(_) => None,
    }
}

/// Whether an engine's containers run on our kernel, in our view of processes.
/// Each launch proves it again; this only keeps hopeless ones from being tried.
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
