//! Copying an image from one engine to another, as a stream through this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ganger_pool::core::DaemonName;
use ganger_pool::runtime::CallError;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::timeout;

use super::daemon::Daemon;
use super::image::Reference;
use super::{Docker, explain};
use crate::http::{HttpError, Lines};

/// The result of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The id of the image on the target. An id other than the source's means that the two
    /// engines keep images in stores of different kinds.
    pub id: String,
}

/// An image that a daemon has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldImage {
    /// Its id there.
    pub id: String,
    /// The content of the image, in a form that stores of different kinds share: ids are of
    /// the configuration in one kind, and of the manifest in the other. `None` where
    /// the engine does not say enough.
    content: Option<Content>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    layers: Vec<String>,
    platform: (String, String),
    config: ImageConfig,
}

/// How an engine describes an image.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Described {
    id: String,
    architecture: String,
    os: String,
    config: Option<ImageConfig>,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
}

/// The parts of an image's configuration that matter to a container. Engines write an empty
/// value as null, as empty, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageConfig {
    #[serde(deserialize_with = "or_empty")]
    user: String,
    #[serde(deserialize_with = "or_empty")]
    working_dir: String,
    #[serde(deserialize_with = "or_empty")]
    env: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_empty")]
    exposed_ports: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_empty")]
    volumes: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_empty")]
    stop_signal: String,
    healthcheck: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RootFs {
    layers: Option<Vec<String>>,
}

fn or_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A line of an engine's answer while it loads an image.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "errorDetail")]
    detail: Option<Detail>,
    /// The error as engines wrote it before there were details.
    error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    message: String,
}

// === impl Docker ===

impl Docker {
    /// An image on a daemon that was connected to; `None` when it has none of that name.
    ///
    /// # Errors
    /// The daemon does not answer, or the image has no valid name.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn held_image(
        &self,
        daemon: &DaemonName,
        image: &str,
    ) -> Result<Option<HeldImage>, CallError> {
        let image = Reference::parse(image)?.to_string();
        let daemon = self.daemon(daemon)?;
        let path = format!("/images/{image}/json");
        match daemon.get::<Described>(&path, daemon.deadlines.inspect).await {
            Ok(described) if described.id.is_empty() => {
                Err(CallError::refused(format!("the image {image} has no id")))
            }
            Ok(described) => Ok(Some(described.into())),
            Err(Ok(HttpError::Status { code: 404, .. })) => Ok(None),
            Err(Ok(error)) => Err(explain::wire(&daemon.endpoint, &error)),
            Err(Err(late)) => Err(late),
        }
    }

    /// Copies an image, named by its tag, between two daemons that were connected to.
    /// `sent` counts the bytes of its archive that the target has taken. Memory holds
    /// no more of the archive at a time than the connections buffer.
    ///
    /// # Errors
    /// A failure of the source or of the target, told apart; nothing moved for a minute;
    /// or the engine said that it has loaded the image, and does not have it.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the copy off: an engine loads nothing of an archive
    /// that is cut.
    pub async fn copy_image(
        &self,
        image: &str,
        from: &DaemonName,
        to: &DaemonName,
        sent: Arc<AtomicU64>,
    ) -> Result<Copied, CallError> {
        let image = Reference::parse(image)?.to_string();
        let (source, target) = (self.daemon(from)?, self.daemon(to)?);

        let path = format!("/images/{image}/get");
        let asked = source.send(&path, Request::new(Empty::<Bytes>::new()));
        // An engine packs the whole archive before it sends any of it.
        let patience = source.deadlines.bound;
        let answer = timeout(patience, asked).await.unwrap_or_else(|_| {
            let message = explain::late(&source.endpoint, "the export of the image", patience);
            Err(CallError::unreachable(message))
        });
        let archive = answer.map_err(|error| reading(from, error))?.into_body();
        // To the target, a failure of the source looks like one of its own.
        let broken = Arc::new(Mutex::new(None));
        let (counter, fault) = (Arc::clone(&sent), Arc::clone(&broken));
        let archive = archive
            .map_frame(move |frame| {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                counter.fetch_add(bytes as u64, Ordering::Relaxed);
                frame
            })
            .map_err(move |error| {
                *fault.lock() = Some(error.to_string());
                error
            });
        let loaded = target.load_archive(archive, &sent).await;
        if let Some(why) = broken.lock().take() {
            let why = format!("{} broke off: {why}", source.endpoint);
            return Err(reading(from, CallError::unreachable(why)));
        }
        loaded?;

        // The end of a stream proves nothing: the image has to be there.
        match target.image_id(&image).await? {
            // The id differs from the source's where the stores are of different kinds.
            Some(id) => Ok(Copied { id }),
            None => Err(CallError::refused(format!(
                "the engine has taken the image {image}, and does not have it"
            ))),
        }
    }
}

// === impl HeldImage ===

impl HeldImage {
    /// Whether containers of the two images are the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id || (self.content.is_some() && self.content == other.content)
    }
}

impl From<Described> for HeldImage {
    fn from(described: Described) -> Self {
        let Described { id, architecture, os, config, root_fs } = described;
        let layers = root_fs.layers.filter(|layers| !layers.is_empty());
        let content = layers.zip(config).map(|(layers, config)| Content {
            layers,
            platform: (os, architecture),
            config,
        });
        Self { id, content }
    }
}

fn reading(from: &DaemonName, error: CallError) -> CallError {
    let message = format!("the image cannot be read from daemon {from}: {}", error.message);
    CallError { message, ..error }
}

// === impl Daemon ===

impl Daemon {
    /// Has the engine load an archive, whose bytes `sent` counts.
    async fn load_archive<B>(&self, archive: B, sent: &AtomicU64) -> Result<(), CallError>
    where
        B: hyper::body::Body<Data = Bytes, Error = hyper::Error> + Send + 'static,
    {
        let request = Request::post("/").header(CONTENT_TYPE, "application/x-tar").body(archive);
        let request = request.map_err(|error| CallError::refused(error.to_string()))?;
        let idle = self.deadlines.pull_idle;
        let stalled = || {
            let message = format!("{} has taken nothing of the image for {idle:?}", self.endpoint);
            CallError::unreachable(message)
        };
        let load = self.send("/images/load?quiet=0", request);
        let answer = while_moving(load, sent, idle).await.ok_or_else(stalled)?;
        let mut lines = Lines::of(answer?);
        loop {
            let line = while_moving(lines.next(), sent, idle).await.ok_or_else(stalled)?;
            let Some(line) = line.map_err(|error| explain::wire(&self.endpoint, &error))? else {
                return Ok(());
            };
            let said: Said = serde_json::from_slice(&line).unwrap_or_default();
            if let Some(error) = said.detail.map(|detail| detail.message).or(said.error) {
                return Err(CallError::refused(format!("the engine says: {error}")));
            }
        }
    }
}

/// Waits for a call; `None` when no bytes have moved for `idle`.
async fn while_moving<T>(
    call: impl Future<Output = T>,
    moved: &AtomicU64,
    idle: Duration,
) -> Option<T> {
    let mut call = std::pin::pin!(call);
    loop {
        let before = moved.load(Ordering::Relaxed);
        if let Ok(done) = timeout(idle, &mut call).await {
            return Some(done);
        }
        if moved.load(Ordering::Relaxed) == before {
            return None;
        }
    }
}
