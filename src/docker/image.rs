//! Gets an image onto a daemon, and pins it by its id there.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{CreateImageOptionsBuilder, ImportImageOptions};
use futures_util::{Stream, StreamExt};
use ganger_pool::core::{DaemonName, ServiceName};
use ganger_pool::runtime::CallError;
use tokio::time::{Instant, timeout};

use super::calls::CallFailure;
use super::daemon::Daemon;
use super::{Builtin, Pull, explain};
use crate::registry::{self, Login, Secret};

/// How often the progress of a pull is logged.
const PROGRESS: Duration = Duration::from_secs(5);

/// An image reference in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    name: &'a str,
    /// Tag or digest; an engine that is given neither fetches every tag.
    version: &'a str,
}

/// How to get an image that is not on a daemon and is not pulled.
#[must_use]
pub fn how_to_get(image: &str, daemon: &DaemonName) -> String {
    // An image named by its digest cannot be found where it was not pulled.
    let push = if image.contains('@') {
        String::new()
    } else {
        format!("`ganger push {image} --to {daemon}`, ")
    };
    format!("`docker pull {image}` there, {push}or set `pull: IfMissing`")
}

// === impl Daemon ===

impl Daemon {
    /// Makes sure that the image is there and returns its id.
    pub(super) async fn image(
        &self,
        reference: &str,
        pull: Pull,
        builtin: Option<&Builtin>,
    ) -> Result<String, CallError> {
        let full = Reference::parse(reference)?.to_string();
        let asked = Instant::now();
        let turn = std::sync::Arc::clone(self.pulls.lock().entry(full.clone()).or_default());
        // Daemons are prepared again and again; the registry must not be asked each time.
        let always = pull == Pull::Always && builtin.is_none() && turn.lock().await.is_none();
        if !always && let Some(id) = self.image_id(&full).await? {
            return Ok(id);
        }
        let mut fetched = turn.lock().await;
        // Somebody may have fetched it while we waited.
        if fetched.is_none_or(|at| at < asked) {
            match builtin {
                Some(builtin) => self.load(builtin).await?,
                None if pull == Pull::Never => {
                    return Err(CallError::refused(format!(
                        "the image {reference} is not on daemon {}: {}",
                        self.name,
                        how_to_get(reference, &self.name)
                    )));
                }
                None => self.fetch(reference).await?,
            }
            *fetched = Some(Instant::now());
        }
        // The end of a stream proves nothing: the image has to be there.
        self.image_id(&full).await?.ok_or_else(|| {
            CallError::refused(format!(
                "the image {reference} is not on daemon {} although it was fetched",
                self.name
            ))
        })
    }

    pub(super) async fn has_image(&self, reference: &str) -> Result<bool, CallError> {
        let full = Reference::parse(reference)?.to_string();
        Ok(self.image_id(&full).await?.is_some())
    }

    pub(super) async fn image_id(&self, reference: &str) -> Result<Option<String>, CallError> {
        let deadline = self.deadlines.inspect;
        let contact = self.contact()?;
        let result = timeout(deadline, contact.client.inspect_image(reference)).await;
        match result.unwrap_or(Err(Error::RequestTimeoutError)) {
            Ok(ImageInspect { id: Some(id), .. }) => Ok(Some(id)),
            Ok(_) => Err(CallError::refused(format!("the image {reference} has no id"))),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(Error::RequestTimeoutError) => {
                Err(CallError::unreachable(explain::late(&self.endpoint, "inspect", deadline)))
            }
            Err(error) => {
                Err(explain::call(&self.endpoint, "inspect", &CallFailure::Engine(error)))
            }
        }
    }

    /// The image by its digest that a tag stands for in its registry now, as the
    /// registry tells the engine.
    pub(super) async fn newest(&self, reference: &str) -> Result<String, CallError> {
        let deadline = self.deadlines.pull_idle;
        let contact = self.contact()?;
        let parsed = Reference::parse(reference)?;
        let login = login(reference).await?;
        let full = parsed.to_string();
        let asking = contact.client.inspect_registry_image(&full, login);
        let answer = timeout(deadline, asking).await.unwrap_or(Err(Error::RequestTimeoutError));
        let answer = answer.map_err(|error| self.fetch_error(reference, error))?;
        let digest = answer.descriptor.digest.ok_or_else(|| {
            CallError::refused(format!("the registry has no digest of the image {reference}"))
        })?;
        Ok(format!("{}@{digest}", parsed.name))
    }

    /// Whether the image that a service runs by this tag has that digest; `None` when the
    /// engine has no such image. Before it was prepared, the image under the tag there.
    pub(super) async fn has_newest(
        &self,
        service: &ServiceName,
        tag: &str,
        newest: &str,
    ) -> Result<Option<bool>, CallError> {
        let contact = self.contact()?;
        // Somebody may have built another image of this name meanwhile.
        let image = match self.pinned(service, tag) {
            Some(id) => id,
            None => Reference::parse(tag)?.to_string(),
        };
        let asking = timeout(self.deadlines.inspect, contact.client.inspect_image(&image));
        let seen = asking.await.unwrap_or(Err(Error::RequestTimeoutError));
        match seen {
            Ok(ImageInspect { repo_digests, .. }) => {
                // Docker leaves the name of its own registry out.
                let short = newest.strip_prefix("docker.io/").unwrap_or(newest);
                let short = short.strip_prefix("library/").unwrap_or(short);
                let mut known = repo_digests.iter().flatten();
                Ok(Some(known.any(|known| known == newest || known == short)))
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => {
                Err(explain::call(&self.endpoint, "inspect", &CallFailure::Engine(error)))
            }
        }
    }

    async fn load(&self, builtin: &Builtin) -> Result<(), CallError> {
        tracing::info!(daemon = %self.name, image = builtin.reference, "loading built-in image");
        let contact = self.contact()?;
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let archive = bollard::body_full((builtin.archive)().into());
        let stream = contact.client.import_image(options, archive, None);
        self.drain(stream, &builtin.reference, |_| ()).await
    }

    async fn fetch(&self, reference: &str) -> Result<(), CallError> {
        tracing::info!(daemon = %self.name, image = reference, "pulling image");
        let contact = self.contact()?;
        let Reference { name, version } = Reference::parse(reference)?;
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(version).build();
        let login = login(reference).await?;
        let stream = contact.client.create_image(Some(options), None, login);
        let mut progress = PullProgress::new();
        self.drain(stream, reference, |info| {
            if let Some((done, total)) = progress.update(info) {
                tracing::info!(daemon = %self.name, image = reference, done, total, "pulling image");
            }
        })
        .await?;
        tracing::info!(daemon = %self.name, image = reference, "image pulled");
        Ok(())
    }

    /// Reads a stream to its end, unless it says nothing for too long.
    async fn drain<T>(
        &self,
        stream: impl Stream<Item = Result<T, Error>>,
        reference: &str,
        mut each: impl FnMut(&T),
    ) -> Result<(), CallError> {
        let idle = self.deadlines.pull_idle;
        let mut stream = std::pin::pin!(stream);
        loop {
            match timeout(idle, stream.next()).await {
                Ok(Some(Ok(item))) => each(&item),
                Ok(Some(Err(error))) => return Err(self.fetch_error(reference, error)),
                Ok(None) => return Ok(()),
                Err(_) => {
                    return Err(CallError::refused(format!(
                        "fetching the image {reference} has made no progress for {idle:?}"
                    )));
                }
            }
        }
    }

    fn fetch_error(&self, reference: &str, error: Error) -> CallError {
        let mut error = explain::call(&self.endpoint, "the pull", &CallFailure::Engine(error));
        let lower = error.message.to_lowercase();
        let advice =
            if ["unauthorized", "denied", "no basic auth"].iter().any(|p| lower.contains(p)) {
                ": it may not exist, or need another login than that of `docker login` on this \
                 machine"
            } else if lower.contains("not found") || lower.contains("manifest unknown") {
                ": check the spelling of `image`, and its tag"
            } else {
                ""
            };
        error.message = format!("cannot pull the image {reference}: {}{advice}", error.message);
        error
    }
}

/// The login that the engine presents to the image's registry.
async fn login(reference: &str) -> Result<Option<DockerCredentials>, CallError> {
    let login = registry::login(reference).await.map_err(CallError::refused)?;
    Ok(login.map(|Login { server, secret }| {
        let serveraddress = Some(server);
        match secret {
            Secret::Token(token) => DockerCredentials {
                identitytoken: Some(token),
                serveraddress,
                ..DockerCredentials::default()
            },
            Secret::Password { user, password } => DockerCredentials {
                username: Some(user),
                password: Some(password),
                serveraddress,
                ..DockerCredentials::default()
            },
        }
    }))
}

// === impl Reference ===

impl<'a> Reference<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, CallError> {
        // A reference becomes part of a path, which the client library does not escape.
        let valid = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        let odd = text.is_empty()
            || !text.chars().all(valid)
            || text.split('/').any(|part| part.is_empty() || part.chars().all(|c| c == '.'));
        if odd {
            return Err(CallError::refused(format!("\"{text}\" is not an image reference")));
        }
        let path = text.rfind('/').map_or(0, |at| at + 1);
        let split = match text.find('@') {
            Some(at) => Some(at),
            None => text[path..].find(':').map(|at| path + at),
        };
        let (name, version) = split.map_or((text, "latest"), |at| (&text[..at], &text[at + 1..]));
        // A digest identifies the image; the tag before it is for people.
        let name = match name.get(path..).and_then(|last| last.find(':')) {
            Some(at) => &name[..path + at],
            None => name,
        };
        if name.is_empty() || version.is_empty() {
            return Err(CallError::refused(format!("\"{text}\" is not an image reference")));
        }
        Ok(Self { name, version })
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.version.contains(':') { '@' } else { ':' };
        write!(f, "{}{separator}{}", self.name, self.version)
    }
}

/// Adds up the progress of a pull over its layers.
#[derive(Debug)]
struct PullProgress {
    layers: BTreeMap<String, (i64, i64)>,
    said: Instant,
}

// === impl PullProgress ===

impl PullProgress {
    fn new() -> Self {
        Self { layers: BTreeMap::new(), said: Instant::now() }
    }

    /// Bytes done and in all, when it is time to say so.
    fn update(&mut self, info: &CreateImageInfo) -> Option<(i64, i64)> {
        let CreateImageInfo { id: Some(id), progress_detail: Some(detail), .. } = info else {
            return None;
        };
        // Unpacking counts from the start again: then the layer is here.
        let total = detail.total?;
        let known = self.layers.entry(id.clone()).or_default();
        *known = (known.0.max(detail.current.unwrap_or(0)), total);
        if self.said.elapsed() < PROGRESS {
            return None;
        }
        self.said = Instant::now();
        Some(self.layers.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pull_says_now_and_then_how_much_of_all_layers_is_there() {
        let mut progress = PullProgress::new();
        let mut said = |layer: &str, current, total| {
            let info = serde_json::json!({
                "id": layer, "progressDetail": {"current": current, "total": total},
            });
            progress.update(&serde_json::from_value(info).unwrap())
        };
        assert_eq!(said("a", 10, 100), None, "too early");
        tokio::time::advance(PROGRESS).await;
        assert_eq!(said("b", 20, 200), Some((30, 300)));
        assert_eq!(said("b", 200, 200), None);
        tokio::time::advance(PROGRESS).await;
        // The layer is unpacked now, which counts from the start.
        assert_eq!(said("b", 1, 200), Some((210, 300)));
    }

    #[test]
    fn a_reference_always_has_a_tag_or_digest() {
        let parts = |text| {
            let Reference { name, version } = Reference::parse(text).unwrap();
            (name, version)
        };
        assert_eq!(parts("redis"), ("redis", "latest"));
        assert_eq!(parts("redis:7"), ("redis", "7"));
        assert_eq!(parts("127.0.0.1:5000/a/b"), ("127.0.0.1:5000/a/b", "latest"));
        assert_eq!(parts("127.0.0.1:5000/a/b:2"), ("127.0.0.1:5000/a/b", "2"));
        assert_eq!(parts("a@sha256:00ff"), ("a", "sha256:00ff"));
        assert_eq!(parts("127.0.0.1:5000/a:1@sha256:0f"), ("127.0.0.1:5000/a", "sha256:0f"));
        assert_eq!(Reference::parse("a@sha256:00ff").unwrap().to_string(), "a@sha256:00ff");
        for bad in ["", "../x", "a//b", "a?b", "a b", ":1", "a:", "/a"] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }
}
