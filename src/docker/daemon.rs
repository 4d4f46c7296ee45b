//! An engine, and what is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bollard::errors::Error as EngineError;
use ganger_pool::core::{DaemonName, ServiceName};
use ganger_pool::runtime::{CallError, DaemonFacts, RuntimeEvent};
use http_body_util::Empty;
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::carriers::Carriers;
use super::clock::Clock;
use super::contact::{Contact, Greeted};
use super::explain::{self, explain};
use super::kind::{self, EngineKind};
use super::mount_sources::Turns;
use super::observers::Observers;
use super::run_network::RunNetwork;
use super::sandboxes::Sandboxes;
use super::secret_holders::SecretHolders;
use super::sightings::Sightings;
use super::stuck::StuckBelongings;
use super::view::{Info, Inspected, ProcessEnd};
use super::wire;
use super::{Deadlines, Reach, Site, Spec};
use crate::endpoint::Endpoint;
use crate::http::{self, HttpError, Peer, Transport};
use crate::reach::process;

/// How many containers' fates are asked for at a time: when many die at once,
/// every connection wants to know why.
const QUESTIONS: usize = 16;
/// How many containers' last lines are read at a time.
const POST_MORTEMS: usize = 8;

/// An engine, and what is known of it.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(super) name: DaemonName,
    pub(super) endpoint: Endpoint,
    pub(super) transport: Arc<Transport>,
    /// Overrides where ports are published and dialled.
    publish_on: Option<IpAddr>,
    pub(super) deadlines: Deadlines,
    pub(super) observers: Observers,
    contact: Mutex<Option<Arc<Contact>>>,
    services: Mutex<BTreeMap<ServiceName, Vec<Prepared>>>,
    /// By image: the lock of whoever fetches it now, and when it was fetched last.
    pub(super) pulls: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
    pub(super) questions: Semaphore,
    /// Apart from the questions: an engine that is slow with logs delays no healthy connection.
    pub(super) post_mortem_slots: Semaphore,
    /// The time on the engine's machine.
    pub(super) clock: Clock,
    /// `None` until its first complete list.
    pub(super) sightings: Mutex<Option<Sightings>>,
    /// The network namespaces that are kept there.
    pub(super) sandboxes: Arc<Sandboxes>,
    /// The networks and volumes that it keeps: see [`Daemon::remove_network`] and
    /// [`Daemon::remove_volume`].
    pub(super) stuck: StuckBelongings,
    /// The network of this run.
    pub(super) network: Arc<RunNetwork>,
    /// The containers that hold secrets there.
    pub(super) secrets: Arc<SecretHolders>,
    /// The containers whose specifications cells are made by.
    pub(super) carriers: Arc<Carriers>,
    /// Where the ends of cells are told, which the engine does not know.
    pub(super) cell_events: Arc<Mutex<Option<mpsc::UnboundedSender<RuntimeEvent>>>>,
    /// The warnings that were logged: the engine repeats them at every create.
    warnings: Mutex<BTreeSet<String>>,
    turns: Arc<Turns>,
}

/// A service that this daemon is fit to launch.
#[derive(Debug, Clone)]
struct Prepared {
    /// The spec is of a past generation when nobody else holds it any more.
    spec: Weak<Spec>,
    /// The image as the specification names it.
    reference: String,
    image: String,
    reach: Reach,
}

// === impl Prepared ===

impl Prepared {
    fn is_of(&self, spec: &Arc<Spec>) -> bool {
        std::ptr::eq(self.spec.as_ptr(), Arc::as_ptr(spec))
    }
}

// === impl Daemon ===

impl Daemon {
    pub(super) fn new(
        name: DaemonName,
        site: Site,
        deadlines: Deadlines,
        observers: Observers,
    ) -> Self {
        let Site { endpoint, publish_on } = site;
        let transport = Transport::new(endpoint.clone()).observed_by(Arc::new(observers.clone()));
        Self {
            name,
            transport: Arc::new(transport),
            endpoint,
            publish_on,
            deadlines,
            observers,
            contact: Mutex::default(),
            services: Mutex::default(),
            pulls: Mutex::default(),
            questions: Semaphore::new(QUESTIONS),
            post_mortem_slots: Semaphore::new(POST_MORTEMS),
            clock: Clock::default(),
            sightings: Mutex::default(),
            sandboxes: Arc::default(),
            stuck: StuckBelongings::default(),
            network: Arc::default(),
            secrets: Arc::default(),
            carriers: Arc::default(),
            cell_events: Arc::default(),
            warnings: Mutex::default(),
            turns: Arc::default(),
        }
    }

    /// Whether its API is reached on this machine, and `publish_on` is not set.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        self.publish_on.is_none() && self.endpoint.is_loopback()
    }

    /// Says that ports published on its loopback are not on ours, where others may have them.
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

    /// Sends a ping, whose answer says who is there.
    async fn greet(&self) -> Result<Greeted, CallError> {
        let failed = |error: &EngineError| CallError::unreachable(explain(&self.endpoint, error));
        // Kept connections lead to an engine that was lost or has changed.
        self.transport.renew();
        let (stream, peer) = self.transport.open().await.map_err(|err| failed(&err.into()))?;
        // Checked while the stream is open, so that the process at its other end lives.
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
        if !info.os.is_empty() && info.os != "linux" {
            return Err(CallError::refused(format!(
                "{} runs {} containers, and Ganger needs Linux ones",
                self.endpoint, info.os
            )));
        }
        let address = match (self.publish_on, greeted.peer) {
            (Some(address), _) => address,
            (None, Peer::Process(_)) => Ipv4Addr::LOCALHOST.into(),
            (None, Peer::Address(address)) => address.ip().to_canonical(),
        };
        let astray = greeted.astray.as_deref().map(|why| self.not_here(why));
        let facts = DaemonFacts { version: info.version.clone(), cpus: info.cpus };
        let contact = Contact::new(greeted, &info, address, astray, &self.turns);
        let mut known = self.contact.lock();
        if known.as_ref().is_some_and(|known| known.id != contact.id) {
            // Another installation at the same place has other images and containers.
            self.services.lock().clear();
            *self.sightings.lock() = None;
        }
        *known = Some(Arc::new(contact));
        Ok(facts)
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

    /// The same, with every failure in words.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        deadline: Duration,
    ) -> Result<T, CallError> {
        self.get(path, deadline).await.map_err(|error| match error {
            Ok(error) => explain::wire(&self.endpoint, &error),
            Err(late) => late,
        })
    }

    /// A GET on the negotiated version of the API, whose answer is a stream of lines.
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

    /// The runtime that will run a created container, as far as the engine says.
    pub(super) async fn runtime_of(&self, container: &str) -> Result<Option<String>, CallError> {
        let path = match self.contact()?.kind {
            EngineKind::Docker => format!("/containers/{container}/json"),
            // Podman's answer in Docker's words names no runtime.
            EngineKind::Podman => format!("/libpod/containers/{container}/json"),
        };
        let seen: Inspected = self.read(&path, self.deadlines.inspect).await?;
        let runtime = seen.oci_runtime.or(seen.host_config.runtime);
        Ok(runtime.filter(|runtime| !runtime.is_empty()))
    }

    /// Inspects a container once few enough others are being inspected. Has no deadline.
    pub(super) async fn inspect_in_turn(
        &self,
        container: &str,
    ) -> Result<Option<Inspected>, CallError> {
        // The semaphore is never closed.
        let _permit = self.questions.acquire().await;
        self.inspect(container).await
    }

    /// Asks until the engine has noticed that a container's process has ended, and
    /// returns how it ended. Has no deadline.
    pub(super) async fn end_of(&self, container: &str) -> Result<ProcessEnd, CallError> {
        loop {
            match self.inspect_in_turn(container).await? {
                Some(seen) => match seen.state.end() {
                    Some(end) => return Ok(end),
                    None => sleep(Duration::from_millis(10)).await,
                },
                None => return Ok(ProcessEnd::Removed),
            }
        }
    }

    pub(super) fn prepared(&self, service: &ServiceName, spec: &Arc<Spec>) -> Option<String> {
        let services = self.services.lock();
        let known = services.get(service)?.iter().find(|known| known.is_of(spec))?;
        Some(known.image.clone())
    }

    /// The id of the image that a service runs by this name.
    pub(super) fn pinned(&self, service: &ServiceName, image: &str) -> Option<String> {
        let services = self.services.lock();
        let known = services.get(service)?.iter().rev().find(|known| known.reference == image)?;
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
        all.retain(|known| known.spec.strong_count() > 0 && !known.is_of(spec));
        let reference = spec.image.clone();
        all.push(Prepared { spec: Arc::downgrade(spec), reference, image, reach });
    }

    pub(super) fn forget_prepared(&self, service: &ServiceName, spec: &Arc<Spec>) {
        if let Some(all) = self.services.lock().get_mut(service) {
            all.retain(|known| !known.is_of(spec));
        }
    }

    /// Logs a warning of the engine, once.
    pub(super) fn warn(&self, service: &ServiceName, warning: &str) {
        if self.warnings.lock().insert(warning.to_owned()) {
            tracing::warn!(daemon = %self.name, %service, warning, "the engine warns");
        }
    }

    /// Logs why a service that asks for cells has plain containers.
    pub(super) fn tell_plain(&self, service: &ServiceName, why: &str) {
        tracing::warn!(daemon = %self.name, %service, why, "its containers are plain ones and no cells");
    }

    /// How the newest spec that was prepared reaches its containers.
    pub(super) fn reach_of(&self, service: &ServiceName) -> Option<Reach> {
        self.services.lock().get(service)?.last().map(|known| known.reach)
    }
}

/// Why ports that an engine at a socket publishes on its loopback are not on ours, or may not
/// be. Over TCP only its containers tell.
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
