//! Copying an image from one engine to another, as a stream through this process.

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
use serde::Deserialize;
use tokio::time::timeout;

use super::daemon::Daemon;
use super::image::Reference;
use super::{Docker, explain};
use crate::http::Lines;

/// What a copy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The id that the image has where it is now. Another one than where it came from
    /// means that the two engines keep images in stores of different kinds.
    pub id: String,
}

/// A line of what an engine says while it loads an image.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "errorDetail")]
    detail: Option<Detail>,
    /// What engines wrote before there were details.
    error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    message: String,
}

// === impl Docker ===

impl Docker {
    /// The id of an image on a daemon that was connected to; `None` when it has none of
    /// that name.
    ///
    /// # Errors
    /// The daemon does not answer, or the image has no valid name.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn image_id(
        &self,
        daemon: &DaemonName,
        image: &str,
    ) -> Result<Option<String>, CallError> {
        let image = Reference::parse(image)?.to_string();
        self.daemon(daemon)?.image_id(&image).await
    }

    /// Copies an image, named by its tag, between two daemons that were connected to.
    /// `sent` is set to the bytes of its archive that the second has taken. What is in
    /// memory at a time is what the connections buffer.
    ///
    /// # Errors
    /// What went wrong on which of the two; nothing moved for a minute; or the engine
    /// said that it has loaded the image, and does not have it.
    ///
    /// # Cancel safety
    /// Dropping the future breaks the copy off: of an archive that is cut an engine
    /// loads nothing.
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
        // To the second, what breaks at the first looks like a fault of its own.
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

        // The end of a stream proves nothing: what counts is that it is there.
        match target.image_id(&image).await? {
            // Another id than the source's where the engine keeps images in another way.
            Some(id) => Ok(Copied { id }),
            None => Err(CallError::refused(format!(
                "the engine has taken the image {image}, and does not have it"
            ))),
        }
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

/// Waits for a call for as long as bytes move, or it does not take longer than `idle`.
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
