//! Secrets: files in memory that containers have from their first moment, at `/run/secrets`.
//!
//! Engines put nothing into a file system in memory before a container starts, and a file that is
//! mounted from a machine has to be there first. What works on any engine, wherever it is: a volume
//! that is a tmpfs, whose files live as long as a container that runs has it. A *keeper* is such a
//! container. Like the holder of a sandbox it runs a program that waits for ever, and is made,
//! listed and removed as that is; the volume bears its name. Containers have the volume read-only.
//!
//! Were a keeper to end, the files would be gone and the volume empty. So a launch looks for its
//! keeper once its container has started: with the same process as when it was given the files, it
//! has been there all the time. The containers of all services with the same secrets on one engine
//! have one keeper, for as long as anybody has their specification.

use std::sync::Arc;
use std::time::Duration;

use ganger_pool::core::short_id;
use ganger_pool::runtime::{CallError, LaunchError};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use serde_json::json;
use tokio::time::timeout;

use super::contact::Contact;
use super::daemon::Daemon;
use super::keepers::KeptSecrets;
use super::naming;
use super::sandbox::Made;
use super::{Docker, Network, Spec, explain, fault};
use crate::image::{self, File};
use crate::spec::{SECRETS, Secrets, Volume};

/// What a file takes in memory is a whole number of these, in bytes.
const PAGE: u64 = 4096;

// === impl Docker ===

impl Docker {
    /// The keeper of what is secret of a specification, made now if there is none.
    pub(super) async fn keeper(
        &self,
        daemon: &Arc<Daemon>,
        contact: &Contact,
        spec: &Arc<Spec>,
    ) -> Result<Option<KeptSecrets>, LaunchError> {
        if spec.secrets.0.is_empty() {
            return Ok(None);
        }
        let deadline = daemon.deadlines.create;
        // Who waits for another one's calls has waited long enough when those are late.
        let known = timeout(deadline, daemon.keepers.0.lock()).await;
        let mut known = known.map_err(|_| {
            let late = explain::late(&daemon.endpoint, "the calls for its secrets", deadline);
            fault::of_call(CallError::unreachable(late))
        })?;
        if known.closed {
            return Err(fault::unprepared("nothing is launched there any more".to_owned()));
        }
        if let Some(kept) = known.find(&contact.id, spec) {
            return Ok(Some(kept));
        }
        let number = daemon.sandboxes.begin();
        match self.start_keeper(daemon, contact, number, &spec.secrets).await {
            Ok(kept) => {
                known.add(kept.clone(), &contact.id, spec);
                Ok(Some(kept))
            }
            Err(error) => {
                self.dispose(daemon, number, Made::Perhaps);
                let message = format!("its secrets cannot be kept there: {}", error.message);
                Err(LaunchError { message, ..error })
            }
        }
    }

    async fn start_keeper(
        &self,
        daemon: &Daemon,
        contact: &Contact,
        number: u64,
        secrets: &Secrets,
    ) -> Result<KeptSecrets, LaunchError> {
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
        let seen = daemon.inspect(&id).await.map_err(fault::of_call)?;
        match seen.filter(|seen| seen.state.running) {
            Some(seen) => Ok(KeptSecrets { number, id, pid: seen.state.pid, volume }),
            None => Err(fault::daemon(format!(
                "the container {} ended as soon as it was made",
                short_id(&id)
            ))),
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
        // And one for the directory.
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
        let deadline = daemon.deadlines.create;
        answered(daemon, "/volumes/create", request, "the call to make a volume", deadline).await
    }

    /// Makes sure, of a container that has started, that its secrets were there when it did.
    pub(super) async fn were_kept(
        &self,
        daemon: &Arc<Daemon>,
        kept: &KeptSecrets,
    ) -> Result<(), LaunchError> {
        let seen = daemon.inspect(&kept.id).await.map_err(fault::of_call)?;
        if seen.is_some_and(|seen| seen.state.running && seen.state.pid == kept.pid) {
            return Ok(());
        }
        if daemon.keepers.0.lock().await.take(kept.number) {
            self.dispose(daemon, kept.number, Made::Surely);
        }
        let message =
            "the container that keeps its secrets has ended; the next launch makes another";
        Err(fault::unprepared(message.to_owned()))
    }

    /// Removes the keepers that nobody wants any more. While one is being made, that waits.
    pub(super) fn tidy_keepers(&self, daemon: &Arc<Daemon>) {
        let Ok(mut known) = daemon.keepers.0.try_lock() else { return };
        for number in known.unwanted() {
            self.dispose(daemon, number, Made::Surely);
        }
    }

    /// Removes all keepers of a daemon; there will be no more.
    pub(super) async fn close_keepers(&self, daemon: &Arc<Daemon>) {
        for number in daemon.keepers.0.lock().await.close() {
            self.dispose(daemon, number, Made::Surely);
        }
    }
}

/// Gives the files to a keeper.
async fn put(daemon: &Daemon, keeper: &str, secrets: &Secrets) -> Result<(), CallError> {
    // Whoever the service runs as is to read them.
    let files = secrets.0.iter().map(|(path, content)| File { path, mode: 0o444, content });
    let files: Vec<_> = files.collect();
    let request = Request::put("/").header(CONTENT_TYPE, "application/x-tar");
    let request = request.body(Full::new(Bytes::from(image::tarball(&files))));
    let path = format!("/containers/{keeper}/archive?path={SECRETS}");
    let deadline = daemon.deadlines.create;
    answered(daemon, &path, request, "the files of its secrets", deadline).await
}

/// Sends a request and reads the answer to its end.
async fn answered(
    daemon: &Daemon,
    path: &str,
    request: Result<Request<Full<Bytes>>, hyper::http::Error>,
    what: &str,
    deadline: Duration,
) -> Result<(), CallError> {
    let request = request.map_err(|error| CallError::refused(error.to_string()))?;
    let answer = async {
        let answer = daemon.send(path, request).await?.into_body().collect().await;
        answer.map_err(|error| {
            CallError::unreachable(format!("{} broke off: {error}", daemon.endpoint))
        })
    };
    let late = |_| CallError::unreachable(explain::late(&daemon.endpoint, what, deadline));
    timeout(deadline, answer).await.map_err(late)?.map(drop)
}
