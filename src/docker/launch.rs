//! One launch: create, start, and find out how the container is reached.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bollard::models::{ContainerCreateBody, ContainerCreateResponse};
use bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};
use ganger_pool::core::{LaunchId, ServiceName};
use ganger_pool::runtime::{CallError, Fault, LaunchError, LaunchOrder, LaunchPhase};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::address::{Address, OutOfReach};
use super::calls::CallFailure;
use super::contact::Contact;
use super::container::{Container, attach};
use super::daemon::Daemon;
use super::fault::{self, Operation, is_image_missing, launch_error};
use super::ignored::{self, Ignored};
use super::naming::{self, DEADLINE, is_id};
use super::sandboxes::SandboxKind;
use super::secret_holders::HeldSecrets;
use super::view::ProcessEnd;
use super::{Docker, Network, Reach, Ready, Spec};
use crate::reach::hot::Hot;
use crate::reach::is_shortage;
use crate::reach::neighbour::Neighbour;
use crate::spec::{Publish, Sandbox};

/// The holders that were made for a container before it.
#[derive(Clone, Copy)]
struct Given<'a> {
    /// The holder of the sandbox that it joins.
    joins: Option<&'a str>,
    /// The holder of its secrets.
    held: Option<&'a HeldSecrets>,
}

// === impl Docker ===

impl Docker {
    /// Creates and starts a container. Notes the phase that it has begun in `begun`.
    pub(super) async fn start_container(
        &self,
        order: &LaunchOrder<Spec>,
        begun: &mut LaunchPhase,
    ) -> Result<Arc<Container>, LaunchError> {
        if let Some((daemon, carrier)) = self.carrier_for(order).await? {
            return self.start_cell(&daemon, order, carrier).await;
        }
        // First of all: from here on the container can be found and removed.
        let launch = self.identity.launch(order.launch);
        let name = naming::container(order.service.as_str(), &launch);
        self.calls.register(order.launch, name.clone());
        let daemon = self.daemon(&order.daemon).map_err(fault::of_call)?;
        let contact = daemon.contact().map_err(fault::of_call)?;
        let reach = contact.reach(&order.spec).map_err(fault::unprepared)?;
        contact.heeds(&order.spec).map_err(fault::unprepared)?;
        contact.find_sources(&order.spec).await.map_err(fault::unprepared)?;

        let publish = (reach == Reach::Published).then(|| match order.spec.publish {
            Publish::Own => contact.address,
            Publish::Any => contact.any_address(),
        });
        let mut began = Instant::now();
        let mut joined = None;
        if order.spec.sandbox == Sandbox::Pooled {
            joined = Some(
                self.join(&daemon, &contact, order.launch, SandboxKind::of(&order.spec, publish))
                    .await?,
            );
        }
        let held = self.hold_secrets(&daemon, &contact, &order.spec).await?;
        let given = Given { joins: joined.as_ref().map(|joined| &*joined.id), held: held.as_ref() };
        let id = self.create(&daemon, &contact, order, &name, publish, given).await?;
        let mut done =
            |name| daemon.observers.done(name, &id, std::mem::replace(&mut began, Instant::now()));
        self.read_runtime(&daemon, &contact, &order.spec, &id).await?;
        done("create");
        let mut output = None;
        if let Ready::Log { .. } = order.spec.ready {
            output = attach(&daemon, &contact, &id)
                .await
                .inspect_err(|error| {
                    tracing::debug!(
                        id,
                        error = error.to_string(),
                        "the container's log is read instead"
                    )
                })
                .ok();
        }
        self.find_room(&daemon, order.max_containers).await?;
        done("room");
        *begun = LaunchPhase::Start;
        let client = contact.client.clone();
        let started = id.clone();
        let start =
            async move { client.start_container(&started, None::<StartContainerOptions>).await };
        let deadlines = &daemon.deadlines;
        let started = self.calls.run(order.launch, deadlines.start, deadlines.bound, start).await;
        if let Err(failure) = started {
            let error = launch_error(&daemon.endpoint, Operation::Start, &failure);
            let Some(limit) = ignored::failed(&error.message) else {
                return Err(self.without_network(&daemon, &name, error).await);
            };
            contact.note_ignored([limit]);
            return Err(fault::unprepared(
                contact.heeds(&order.spec).err().unwrap_or(error.message),
            ));
        }
        done("start");

        let mut seen = daemon.inspect(&id).await.map_err(fault::of_call)?.ok_or_else(|| {
            fault::unwanted("somebody removed the container as soon as it was started".to_owned())
        })?;
        if let Some(held) = &held {
            let container = (&*id, seen.state.running);
            self.had_secrets(&daemon, &contact, &order.spec, held, container).await?;
        }
        if let Some(end) = seen.state.end() {
            return Err(fault::service(format!("the container {end} as soon as it was started")));
        }
        contact.note_ignored(ignored::read_back(&order.spec, &seen.host_config));
        contact.heeds(&order.spec).map_err(fault::unprepared)?;
        if let Some(joined) = joined {
            seen.network_settings = joined.network;
        }
        let port = order.spec.port;
        let address = match reach {
            Reach::Published => Address::published(&contact, &seen, port).ok_or_else(|| {
                fault::daemon(format!("the engine published no port for port {port}"))
            })?,
            Reach::Auto | Reach::Namespace => {
                match Address::in_namespace(&self.dialer, &id, &seen, port).await {
                    Ok(address) => {
                        contact.prove_namespace();
                        address
                    }
                    Err(why) => {
                        return Err(self.out_of_reach(&daemon, &contact, order, &id, why).await);
                    }
                }
            }
        };
        // An engine forwards IPv6 connections to IPv4 where the container has no IPv6 address.
        let v6 = contact.address.is_ipv6();
        let addresses = seen.network_settings.addresses().filter(|ip| v6 || ip.is_ipv4());
        let ip = seen.network_settings.addresses().find(IpAddr::is_ipv4);
        let met = match reach {
            Reach::Published => {
                let (dialer, pid) = (&self.dialer, seen.state.pid);
                Neighbour::meet(dialer, &id, pid, addresses.collect()).await
            }
            Reach::Auto | Reach::Namespace => Ok(None),
        };
        let (neighbour, error) = met.map_or_else(|error| (None, Some(error)), |met| (met, None));
        if reach == Reach::Published && daemon.may_be_elsewhere() {
            let Some(neighbour) = &neighbour else {
                return Err(not_here(&daemon, &id, error.filter(is_shortage)).await);
            };
            if !neighbour.process().is_kept_here() {
                let why = "the engine keeps its containers from another network namespace";
                return Err(fault::daemon(daemon.not_here(why)));
            }
        }
        let process = match &address {
            Address::Namespace { process, .. } => Some(process),
            Address::Published(_) => neighbour.as_ref().map(Neighbour::process),
        };
        if process.is_some_and(|process| !process.has_own_group(&id)) {
            contact.note_ignored(ignored::all_limits());
            contact.heeds(&order.spec).map_err(fault::unprepared)?;
        }
        done("inspect");
        let spec = Arc::clone(&order.spec);
        let address = Arc::new(address);
        let hot = Hot::new(Arc::clone(&address), Arc::clone(&self.keeper));
        let is_seen = reach != Reach::Published && spec.network == Network::Isolated;
        if let Some(ip) = ip.filter(|_| is_seen) {
            daemon.network.attached(&daemon.name, &address, ip);
        }
        let output = Mutex::new(output);
        let cell = None;
        Ok(Arc::new(Container { id, daemon, spec, address, hot, neighbour, output, cell }))
    }

    async fn create(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Contact,
        order: &LaunchOrder<Spec>,
        name: &str,
        publish: Option<IpAddr>,
        given: Given<'_>,
    ) -> Result<String, LaunchError> {
        let network = match given.joins {
            Some(holder) => format!("container:{holder}"),
            None => {
                let (wanted, labels) = (&order.spec.network, self.identity.labels(order));
                self.attach_to(daemon, contact, wanted, Some(order.launch), (name, labels)).await?
            }
        };
        let mut again = true;
        let created = loop {
            let image = match daemon.prepared(&order.service, &order.spec) {
                Some(image) => image,
                None => self.prepare_now(daemon, &order.service, &order.spec).await?,
            };
            let mut labels = self.identity.labels(order);
            if let Some(after) = order.spec.overdue_after {
                match daemon.clock.deadline(after) {
                    Some(deadline) => _ = labels.insert(DEADLINE.to_owned(), deadline),
                    None => daemon.warn(
                        &order.service,
                        "it does not say what time it is there: its containers have no deadline",
                    ),
                }
            }
            let publish = publish.filter(|_| given.joins.is_none());
            let with = given.held.map(|held| held.given_to(&order.spec));
            let spec = with.as_ref().unwrap_or(&order.spec);
            let request = contact.request(spec, &image, labels, publish, network.clone());
            match self.call_create(daemon, contact, order.launch, name, request).await {
                Ok(created) => break created,
                // The image was pruned: pinned to an id, it cannot come back by itself.
                Err(failure) if again && is_image_missing(Operation::Create, &failure) => {
                    again = false;
                    daemon.forget_prepared(&order.service, &order.spec);
                }
                Err(failure) => {
                    let error = launch_error(&daemon.endpoint, Operation::Create, &failure);
                    return Err(self.without_network(daemon, name, error).await);
                }
            }
        };
        for warning in &created.warnings {
            contact.note_ignored(ignored::warned(warning));
            daemon.warn(&order.service, warning);
        }
        contact.heeds(&order.spec).map_err(fault::unprepared)?;
        if !is_id(&created.id) {
            return Err(fault::daemon(format!("\"{}\" is not a container's id", created.id)));
        }
        self.calls.made(order.launch, &created.id, &contact.id);
        Ok(created.id)
    }

    /// Reads back which runtime will run a container, before anything in it runs: an engine
    /// that ignores the sandbox that was asked for must not start it.
    async fn read_runtime(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        spec: &Spec,
        id: &str,
    ) -> Result<(), LaunchError> {
        let Some(asked) = &spec.runtime else { return Ok(()) };
        match daemon.runtime_of(id).await.map_err(fault::of_call)? {
            Some(runs) if runs != *asked => {
                contact.note_ignored([Ignored::Runtime { asked: asked.clone(), runs }]);
                contact.heeds(spec).map_err(fault::unprepared)
            }
            _ => Ok(()),
        }
    }

    async fn call_create(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        launch: LaunchId,
        name: &str,
        request: ContainerCreateBody,
    ) -> Result<ContainerCreateResponse, CallFailure> {
        let client = contact.client.clone();
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let create = async move { client.create_container(Some(options), request).await };
        let deadlines = &daemon.deadlines;
        self.calls.run(launch, deadlines.create, deadlines.bound, create).await
    }

    /// Fetches the image for a launch that found it absent. A pull outlives the
    /// launch's deadline and serves the next launch.
    async fn prepare_now(
        &self,
        daemon: &Arc<Daemon>,
        service: &ServiceName,
        spec: &Arc<Spec>,
    ) -> Result<String, LaunchError> {
        let (docker, daemon, service, spec) =
            (self.clone(), Arc::clone(daemon), service.clone(), Arc::clone(spec));
        let patience = daemon.deadlines.create;
        let absent = format!("the image {} is not on daemon {}", spec.image, daemon.name);
        let work = tokio::spawn(async move {
            docker.prepare_service(&daemon, &service, &spec).await?;
            daemon
                .prepared(&service, &spec)
                .ok_or_else(|| CallError::refused("prepared, and forgotten again"))
        });
        match timeout(patience, work).await {
            Ok(Ok(Err(error))) if error.unreachable => Err(fault::of_call(error)),
            Ok(Ok(result)) => result.map_err(|error| fault::unprepared(error.message)),
            Ok(Err(_)) => Err(fault::unprepared(format!("{absent}, and fetching it broke off"))),
            Err(_) => {
                Err(fault::unprepared(format!("{absent} any more and is being fetched again")))
            }
        }
        .map_err(|error| LaunchError { phase: LaunchPhase::Pull, ..error })
    }

    /// Whether there is room for a container that has been created. Two instances that
    /// share a daemon may both have found room before; each sees the other's container
    /// when it has created its own, so that not both can start one too many.
    async fn find_room(&self, daemon: &Daemon, capacity: u32) -> Result<(), LaunchError> {
        let (all, _) = self.list_counted(daemon).await.map_err(fault::of_call)?;
        if all.len() <= usize::try_from(capacity).unwrap_or(usize::MAX) {
            return Ok(());
        }
        let message = format!(
            "{} holds {} containers of all instances, and may hold {capacity}",
            daemon.endpoint,
            all.len()
        );
        Err(LaunchError::new(Fault::Full, message))
    }

    /// Why a started container could not be reached by namespace.
    async fn out_of_reach(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        order: &LaunchOrder<Spec>,
        id: &str,
        OutOfReach { why, shortage }: OutOfReach,
    ) -> LaunchError {
        if let Some(ended) = ended(daemon, id).await {
            return ended;
        }
        if order.spec.reach == Reach::Namespace {
            return fault::daemon(format!("`reach: Namespace` does not work there: {why}"));
        }
        if shortage || !contact.deny_namespace(why.clone()) {
            return fault::daemon(format!("the container is not reached by namespace: {why}"));
        }
        tracing::warn!(daemon = %daemon.name, why, "containers cannot be reached by namespace");
        fault::unprepared(format!(
            "not reached by namespace, which is not tried there again: {why}"
        ))
    }
}

/// The failure of a container whose process cannot be found, if it has ended:
/// an ended process is out of reach, too, and the engine may not have noticed
/// yet. The failure of one container says nothing of others.
async fn ended(daemon: &Daemon, id: &str) -> Option<LaunchError> {
    match timeout(daemon.deadlines.notice, daemon.end_of(id)).await {
        Ok(Ok(ProcessEnd::Removed)) => {
            let message = "somebody removed the container as soon as it was started";
            Some(fault::unwanted(message.to_owned()))
        }
        Ok(Ok(end)) => {
            Some(fault::service(format!("the container {end} as soon as it was started")))
        }
        Ok(Err(error)) => Some(fault::of_call(error)),
        Err(_) => None,
    }
}

/// Why a container that was published on our loopback is not on this machine.
async fn not_here(daemon: &Daemon, id: &str, shortage: Option<io::Error>) -> LaunchError {
    if let Some(shortage) = shortage {
        return fault::daemon(format!("its process cannot be looked at: {shortage}"));
    }
    if let Some(ended) = ended(daemon, id).await {
        return ended;
    }
    fault::daemon(daemon.not_here("its containers do not run here"))
}
