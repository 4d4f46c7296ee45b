//! Facts about an image, or a running container, for callers that find out what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use ganger_pool::core::DaemonName;
use ganger_pool::runtime::CallError;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use super::container::Container;
use super::daemon::Daemon;
use super::post_mortem::readable;
use super::{Docker, explain};
use crate::http;

/// How many lines of a log are read.
const LINES: usize = 5000;

/// The facts in an image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The TCP ports that it exposes.
    pub ports: BTreeSet<u16>,
    /// The user that its process runs as; empty for root.
    pub user: String,
    /// The paths at which each container has a volume of its own.
    pub volumes: BTreeSet<String>,
}

/// A change that a container has made to its own file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Written {
    /// Its absolute path.
    pub path: String,
    /// 0 for a changed path of the image; 1 for a new one; 2 for a removed one.
    pub kind: u8,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedImage {
    config: Option<Configured>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Configured {
    exposed_ports: Option<BTreeMap<String, IgnoredAny>>,
    user: Option<String>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    memory_stats: MemoryStats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemoryStats {
    usage: u64,
    max_usage: u64,
    stats: BTreeMap<String, u64>,
}

// === impl Docker ===

impl Docker {
    /// The facts in the configuration of an image that a daemon has.
    ///
    /// # Errors
    /// The daemon does not answer, or does not have it.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn image_facts(
        &self,
        daemon: &DaemonName,
        image: &str,
    ) -> Result<ImageFacts, CallError> {
        let daemon = self.daemon(daemon)?;
        let found: InspectedImage =
            daemon.ask(&format!("/images/{}/json", http::escape(image))).await?;
        let config = found.config.unwrap_or_default();
        let keys = |map: Option<BTreeMap<String, IgnoredAny>>| map.unwrap_or_default().into_keys();
        let port = |exposed: String| exposed.strip_suffix("/tcp")?.parse().ok();
        Ok(ImageFacts {
            ports: keys(config.exposed_ports).filter_map(port).collect(),
            user: config.user.unwrap_or_default(),
            volumes: keys(config.volumes).collect(),
        })
    }
}

// === impl Container ===

impl Container {
    /// The TCP ports that something in it listens on; `None` where the kernel cannot be asked.
    pub(crate) fn listening(&self) -> Option<io::Result<BTreeSet<u16>>> {
        self.process().map(|process| process.listening())
    }

    /// The changes to its file system, without volumes and file systems in memory.
    pub(crate) async fn written(&self) -> Result<Vec<Written>, CallError> {
        let path = format!("/containers/{}/changes", self.id);
        Ok(self.daemon.ask::<Option<Vec<Written>>>(&path).await?.unwrap_or_default())
    }

    /// Bytes of memory that it uses and cannot give up, or has used where the kernel remembers.
    pub(crate) async fn memory_used(&self) -> Result<u64, CallError> {
        let path = format!("/containers/{}/stats?stream=false", self.id);
        let MemoryStats { usage, max_usage, stats } =
            self.daemon.ask::<Stats>(&path).await?.memory_stats;
        let of = |keys: [&str; 2]| keys.iter().find_map(|key| stats.get(*key)).copied();
        let cache = of(["total_inactive_file", "inactive_file"]).unwrap_or_default();
        Ok(usage.max(max_usage).saturating_sub(cache))
    }

    /// The lines that it has logged so far, fit to be shown.
    pub(crate) async fn logged(&self) -> Vec<String> {
        let mut all = Vec::new();
        // Half a log is better than none.
        _ = timeout(self.daemon.deadlines.post_mortem, async {
            let Ok(contact) = self.daemon.contact() else { return };
            let options = LogsOptionsBuilder::new().stdout(true).stderr(true);
            let options = options.tail(&LINES.to_string()).build();
            let mut lines = std::pin::pin!(contact.client.logs(&self.id, Some(options)));
            while let Some(Ok(line)) = lines.next().await {
                all.extend(readable(&line.into_bytes()));
            }
        })
        .await;
        all
    }
}

// === impl Daemon ===

impl Daemon {
    /// A GET under the deadline of a post-mortem.
    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.get(path, self.deadlines.post_mortem).await.map_err(|error| {
            error.map_or_else(|late| late, |error| explain::wire(&self.endpoint, &error))
        })
    }
}
