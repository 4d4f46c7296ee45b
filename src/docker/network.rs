//! The networks that Ganger makes, on which containers do not reach each other.
//!
//! Docker can keep the containers of one network apart: a run has one network on each engine, made
//! before the first launch that wants it, and removed at the end. Podman cannot (netavark has no
//! such option), but it keeps networks apart: each container has one of its own there, which bears
//! its name and is removed with it. A network that an earlier run left shows in lists as a stray.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::errors::Error;
use ganger_pool::core::LaunchId;
use ganger_pool::runtime::{CallError, LaunchError};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::calls::CallFailure;
use super::contact::Contact;
use super::daemon::Daemon;
use super::explain;
use super::fault::{self, Operation, launch_error};
use super::view::NetworkInspected;
use super::{Docker, Network, naming};
use crate::http::{self, HttpError, Transport};

/// The driver's options, in Docker's words.
const MTU: &str = "com.docker.network.driver.mtu";
const ICC: &str = "com.docker.network.bridge.enable_icc";
/// Podman's values of `isolate`, of which the first that it knows counts: apart from all others;
/// or from networks that are kept apart, too (before netavark 1.6).
const ISOLATE: [&str; 2] = ["strict", "true"];

// === impl Docker ===

impl Docker {
    /// Makes sure that an engine which keeps containers apart by it has the network of this run;
    /// returns its name.
    ///
    /// # Cancel safety
    /// The network may be made all the same, and is found by the next call.
    pub(super) async fn run_network(
        &self,
        daemon: &Daemon,
        contact: &Contact,
    ) -> Result<String, CallError> {
        let name = naming::network(&self.identity.boot);
        let deadline = daemon.deadlines.create;
        let late = || {
            let late = explain::late(&daemon.endpoint, "the call to make a network", deadline);
            CallError::unreachable(late)
        };
        // A caller that waits for another's call has waited long enough when that is late.
        let mut on = timeout(deadline, daemon.network.on.lock()).await.map_err(|_| late())?;
        if on.as_ref() == Some(&contact.id) {
            return Ok(name);
        }
        if daemon.network.is_closed() {
            return Err(CallError::refused("nothing is launched there any more"));
        }
        let mut options = Map::from_iter([(ICC.to_owned(), json!("false"))]);
        options.extend(daemon.mtu().await?.map(|mtu| (MTU.to_owned(), json!(mtu))));
        daemon.network.asked();
        let path = format!("/v{}/networks/create", contact.version);
        let body = json!({
            "Name": name,
            "CheckDuplicate": true,
            "Driver": "bridge",
            "Options": options,
            "Labels": self.identity.network_labels(),
        });
        let make = timeout(deadline, create(&daemon.transport, &path, &body)).await;
        match make.unwrap_or(Err(Error::RequestTimeoutError)) {
            Ok(()) => {}
            Err(Error::RequestTimeoutError) => {
                daemon.network.lost();
                return Err(late());
            }
            Err(error) => {
                let failure = CallFailure::Engine(error);
                let error = launch_error(&daemon.endpoint, Operation::Network, &failure);
                let call = explain::call(&daemon.endpoint, "", &failure);
                return Err(CallError { message: error.message, ..call });
            }
        }
        *on = Some(contact.id.clone());
        Ok(name)
    }

    /// Makes the network of a launch's container, or of a holder, where Ganger makes it; returns
    /// the network mode, in the engine's words.
    pub(super) async fn attach_to(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        network: &Network,
        launch: Option<LaunchId>,
        (name, labels): (&str, HashMap<String, String>),
    ) -> Result<String, LaunchError> {
        if let Some(mode) = mode(network) {
            return Ok(mode);
        }
        if !contact.kind.isolates_networks() {
            return self.run_network(daemon, contact).await.map_err(fault::of_call);
        }
        let create = daemon.own_network(name.to_owned(), labels);
        let deadlines = &daemon.deadlines;
        let made = match launch {
            Some(launch) => self.calls.run(launch, deadlines.create, deadlines.bound, create).await,
            None => match timeout(deadlines.create, create).await {
                Ok(made) => made.map_err(CallFailure::Engine),
                Err(_) => Err(CallFailure::Late(deadlines.create)),
            },
        };
        made.map_err(|failure| launch_error(&daemon.endpoint, Operation::Network, &failure))?;
        Ok(name.to_owned())
    }

    /// The failure of a call for the container of this name, which says so if somebody has
    /// removed its network: the next launch makes one anew.
    pub(super) async fn without_network(
        &self,
        daemon: &Daemon,
        name: &str,
        error: LaunchError,
    ) -> LaunchError {
        let run = naming::network(&self.identity.boot);
        let is_lost = |network: &str| {
            let said = |words: &str| error.message.contains(words);
            said(&format!("{network} not found"))
                || said(&format!("unable to find network with name or ID {network}:"))
        };
        if !is_lost(&run) && !is_lost(name) {
            return error;
        }
        *daemon.network.on.lock().await = None;
        fault::unprepared(format!("somebody removed its network: {}", error.message))
    }
}

// === impl Daemon ===

impl Daemon {
    /// Makes a network that is kept apart from others, for a container of the same name. Uses
    /// Podman's own API, as its Docker-compatible one leaves the option out.
    fn own_network(
        &self,
        name: String,
        labels: HashMap<String, String>,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let transport = Arc::clone(&self.transport);
        async move {
            let mut last = Ok(());
            for isolate in ISOLATE {
                let body = json!({
                    "name": name,
                    "driver": "bridge",
                    "options": { "isolate": isolate },
                    "labels": labels,
                });
                last = create(&transport, "/v4.0.0/libpod/networks/create", &body).await;
                match &last {
                    Err(Error::DockerResponseServerError { message, .. })
                        if message.contains("isolate") => {}
                    _ => break,
                }
            }
            last
        }
    }

    /// The MTU of the engine's default network, where it is configured: other networks of the
    /// engine do not inherit it.
    async fn mtu(&self) -> Result<Option<String>, CallError> {
        let bridge = self.inspect_network("bridge").await?;
        Ok(bridge.and_then(|bridge| bridge.options?.remove(MTU)))
    }

    /// Inspects a network by its name or id; `None` when there is none.
    pub(super) async fn inspect_network(
        &self,
        network: &str,
    ) -> Result<Option<NetworkInspected>, CallError> {
        let path = format!("/networks/{}", http::escape(network));
        match self.get(&path, self.deadlines.inspect).await {
            Ok(seen) => Ok(Some(seen)),
            Err(Ok(HttpError::Status { code: 404, .. })) => Ok(None),
            Err(Ok(error)) => Err(explain::wire(&self.endpoint, &error)),
            Err(Err(late)) => Err(late),
        }
    }
}

/// The engine's word for a network; `None` for one that Ganger makes.
fn mode(network: &Network) -> Option<String> {
    match network {
        Network::Isolated => None,
        Network::Bridge => Some("bridge".to_owned()),
        Network::Sealed => Some("none".to_owned()),
        Network::Named(name) => Some(name.clone()),
    }
}

/// Asks for a network. An existing network of the name is as good: an earlier call whose answer
/// was lost has made it, and nobody else uses the name.
async fn create(transport: &Transport, path: &str, body: &Value) -> Result<(), Error> {
    let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match transport.exchange(path, request).await {
        Ok(_) | Err(HttpError::Status { code: 409, .. }) => Ok(()),
        Err(HttpError::Status { code, message }) => {
            Err(Error::DockerResponseServerError { status_code: code, message })
        }
        Err(HttpError::Connect(err)) => Err(Error::IOError { err }),
        Err(HttpError::Broken(_) | HttpError::Late(_) | HttpError::Decode(_)) => {
            Err(Error::RequestTimeoutError)
        }
    }
}
