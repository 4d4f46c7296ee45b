//! Secrets: files in memory that containers have from their first moment, at `/run/secrets`.
//!
//! Engines put nothing into a file system in memory before a container starts, and a file that is
//! mounted from a machine has to be there first. A volume that is a tmpfs works wherever the engine
//! is: its files live as long as a container that runs has it. A *holder* is such a container.
//! Like the holder of a sandbox it runs a program that waits for ever, and is made, listed and
//! removed as that is; the volume bears its name. Containers have the volume read-only.
//!
//! If a holder ended, the files would be gone and the volume empty; and an engine that restarts
//! under its containers may lose sight of a volume that they have. A launch therefore looks for
//! the files: in a holder that runs before it creates its container, and in the container once
//! that has started. The containers of all services with the same secrets on one engine have one
//! holder, for as long as anybody has their specification.

use std::sync::Arc;

use ganger_pool::runtime::{CallError, LaunchError};
use http_body_util::{BodyExt, Empty, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use serde_json::json;
use tokio::time::timeout;

use super::contact::Contact;
use super::daemon::Daemon;
use super::holder_removal::Creation;
use super::naming;
use super::sandboxes::Holds;
use super::secret_holders::{HeldSecrets, SecretSlot};
use super::{Docker, Network, Spec, explain, fault};
use crate::http::{self, HttpError};
use crate::image::{self, File};
use crate::spec::{SECRETS, Secrets, Volume};

/// The size of a page, in bytes: a file takes whole pages of memory.
const PAGE: u64 = 4096;

// === impl Docker ===

impl Docker {
    /// The holder of a specification's secrets, made now if there is none.
    pub(super) async fn hold_secrets(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Contact,
        spec: &Arc<Spec>,
    ) -> Result<Option<HeldSecrets>, LaunchError> {
        if spec.secrets.0.is_empty() {
            return Ok(None);
        }
        if daemon.secrets.elsewhere(&contact.id) > 0 {
            tracing::warn!(
                daemon = %daemon.name,
                "another engine is at {} now: containers that hold secrets on the one before may run \
                 on; `ganger reap` removes them where that engine is",
                daemon.endpoint
            );
        }
        let closed = || fault::unprepared("nothing is launched there any more".to_owned());
        let place = daemon.secrets.place(&contact.id, spec).ok_or_else(closed)?;
        let deadline = daemon.deadlines.create;
        loop {
            // Waiting is nobody's fault: the launch that has the lock reports its own failure.
            let waited = timeout(deadline, place.lock()).await;
            let mut known = waited.map_err(|_| {
                fault::unprepared(format!("its secrets were not there after {deadline:?}"))
            })?;
            let Some(held) = known.clone() else {
                if daemon.secrets.is_closed() {
                    return Err(closed());
                }
                let held = self.make_holder(daemon, contact, &spec.secrets).await?;
                return Ok(Some(known.insert(held).clone()));
            };
            drop(known);
            // An ended holder leaves the files to the containers that run, for as long as one does.
            let seen = daemon.inspect(&held.id).await.map_err(fault::of_call)?;
            if seen.is_some_and(|seen| seen.state.running)
                && has(daemon, &held.id, &spec.secrets).await.map_err(fault::of_call)?
            {
                return Ok(Some(held));
            }
            self.lose(daemon, &place, &held).await;
        }
    }

    async fn make_holder(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Contact,
        secrets: &Secrets,
    ) -> Result<HeldSecrets, LaunchError> {
        let number = daemon.sandboxes.begin(Holds::Secrets);
        self.start_secret_holder(daemon, contact, number, secrets).await.map_err(|error| {
            self.remove_holder(daemon, number, Creation::Uncertain);
            let message = format!("its secrets cannot be held there: {}", error.message);
            LaunchError { message, ..error }
        })
    }

    async fn start_secret_holder(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        number: u64,
        secrets: &Secrets,
    ) -> Result<HeldSecrets, LaunchError> {
        let volume = naming::holder(&self.identity.boot, &number.to_string());
        self.make_volume(daemon, &volume, number, secrets).await.map_err(fault::of_call)?;
        let has_volume = Volume { name: volume.clone(), read_only: false };
        let spec = Spec {
            network: Network::Sealed,
            volumes: [(SECRETS.to_owned(), has_volume)].into(),
            ..super::sandbox::waiting()
        };
        let id = self.start_holder(daemon, contact, number, &spec, None).await?;
        put(daemon, &id, secrets).await.map_err(fault::of_call)?;
        match has(daemon, &id, secrets).await.map_err(fault::of_call)? {
            true => Ok(HeldSecrets { number, id, volume }),
            false => Err(fault::daemon("the engine took the files, and does not have them".into())),
        }
    }

    async fn make_volume(
        &self,
        daemon: &Daemon,
        name: &str,
        number: u64,
        secrets: &Secrets,
    ) -> Result<(), CallError> {
        let pages = |content: &Vec<u8>| (content.len() as u64).div_ceil(PAGE) + 1;
        // Plus a page for the directory.
        let size = (secrets.0.values().map(pages).sum::<u64>() + 1) * PAGE;
        let options = format!("size={size},mode=0755,nosuid,nodev,noexec");
        let body = json!({
            "Name": name,
            "Driver": "local",
            "DriverOpts": { "type": "tmpfs", "device": "tmpfs", "o": options },
            "Labels": self.identity.holder_labels(number),
        });
        let request = Request::post("/").header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(Bytes::from(body.to_string())));
        answered(daemon, "/volumes/create", request, "the call to make a volume").await
    }

    /// Makes sure that a container that was started has had its secrets since then.
    pub(super) async fn had_secrets(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Contact,
        spec: &Arc<Spec>,
        held: &HeldSecrets,
        (container, runs): (&str, bool),
    ) -> Result<(), LaunchError> {
        // An ended container cannot be checked any more; the holder is checked instead.
        let there = if runs { container } else { &held.id };
        if has(daemon, there, &spec.secrets).await.map_err(fault::of_call)? {
            return Ok(());
        }
        match daemon.secrets.place(&contact.id, spec) {
            Some(place) => self.lose(daemon, &place, held).await,
            None => self.remove_holder_again(daemon, held.number),
        }
        let message = "what holds its secrets has lost them; the next launch makes another";
        Err(fault::unprepared(message.to_owned()))
    }

    /// Drops a holder that has lost its files: the next launch that looks for it makes another.
    async fn lose(&self, daemon: &Arc<Daemon>, place: &SecretSlot, held: &HeldSecrets) {
        let mut known = place.lock().await;
        if known.as_ref().is_some_and(|known| known.number == held.number) {
            *known = None;
        }
        self.remove_holder_again(daemon, held.number);
    }

    /// Removes a holder and its volume, which an engine may have made anew for a container that was
    /// created after they were removed.
    fn remove_holder_again(&self, daemon: &Arc<Daemon>, number: u64) {
        daemon.sandboxes.resume(number, Holds::Secrets);
        self.remove_holder(daemon, number, Creation::Confirmed);
    }

    /// Removes the holders of secrets that nobody wants any more.
    pub(super) fn tidy_secrets(&self, daemon: &Arc<Daemon>) {
        for held in daemon.secrets.unwanted() {
            self.remove_holder(daemon, held.number, Creation::Confirmed);
        }
    }

    /// Removes all holders of secrets on a daemon; there will be no more.
    pub(super) async fn close_secrets(&self, daemon: &Arc<Daemon>) {
        for place in daemon.secrets.close() {
            if let Some(held) = place.lock().await.take() {
                self.remove_holder(daemon, held.number, Creation::Confirmed);
            }
        }
    }
}

/// Gives the files to a holder.
async fn put(daemon: &Daemon, holder: &str, secrets: &Secrets) -> Result<(), CallError> {
    // Any user that the service runs as must be able to read them.
    let files = secrets.0.iter().map(|(path, content)| File { path, mode: 0o444, content });
    let files: Vec<_> = files.collect();
    upload(daemon, holder, SECRETS, &files, "the files of its secrets").await
}

/// Puts files into a directory of a container. `what` they are is told where the engine does not
/// answer.
pub(super) async fn upload(
    daemon: &Daemon,
    container: &str,
    directory: &str,
    files: &[File<'_>],
    what: &str,
) -> Result<(), CallError> {
    let request = Request::put("/").header(CONTENT_TYPE, "application/x-tar");
    let request = request.body(Full::new(Bytes::from(image::tarball(files))));
    let path = format!("/containers/{container}/archive?path={directory}");
    answered(daemon, &path, request, what).await
}

/// Whether a container has the files, of which it has all or none.
async fn has(daemon: &Daemon, container: &str, secrets: &Secrets) -> Result<bool, CallError> {
    let Some(first) = secrets.0.keys().next() else { return Ok(true) };
    let file = http::escape(&format!("{SECRETS}/{first}"));
    let path =
        format!("/v{}/containers/{container}/archive?path={file}", daemon.contact()?.version);
    let request = Request::head("/").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| CallError::refused(error.to_string()))?;
    let deadline = daemon.deadlines.inspect;
    match timeout(deadline, daemon.transport.exchange(&path, request)).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(HttpError::Status { code: 404, .. })) => Ok(false),
        Ok(Err(error)) => Err(explain::wire(&daemon.endpoint, &error)),
        Err(_) => {
            let late = explain::late(&daemon.endpoint, "a look at its secrets", deadline);
            Err(CallError::unreachable(late))
        }
    }
}

/// Sends a request and reads the answer to its end.
async fn answered(
    daemon: &Daemon,
    path: &str,
    request: Result<Request<Full<Bytes>>, hyper::http::Error>,
    what: &str,
) -> Result<(), CallError> {
    let request = request.map_err(|error| CallError::refused(error.to_string()))?;
    let answer = async {
        let answer = daemon.send(path, request).await?.into_body().collect().await;
        let broken = |error| format!("{} broke off: {error}", daemon.endpoint);
        answer.map_err(|error| CallError::unreachable(broken(error)))
    };
    let deadline = daemon.deadlines.create;
    let late = |_| CallError::unreachable(explain::late(&daemon.endpoint, what, deadline));
    timeout(deadline, answer).await.map_err(late)?.map(drop)
}
