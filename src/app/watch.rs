//! Looks whether the tags of images have moved in their registries.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use ganger_pool::backoff::shortened;
use ganger_pool::core::ServiceName;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::docker::Docker;

/// The first look, when there has been time to make contact with an engine.
const FIRST: Duration = Duration::from_secs(5);

/// A tag that is looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    /// As configured.
    pub(super) tag: String,
    /// The image that runs: the tag, or what the tag stood for when it moved last.
    pub(super) running: String,
    pub(super) every: Duration,
}

/// A tag that has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) service: ServiceName,
    pub(super) tag: String,
    /// The image by its digest.
    pub(super) to: String,
}

/// Looks after the tags of services, in a task for each.
pub(super) struct ImageWatch {
    docker: Arc<Docker>,
    watched: BTreeMap<ServiceName, (Watched, AbortOnDropHandle<()>)>,
    sender: mpsc::UnboundedSender<Moved>,
    moved: mpsc::UnboundedReceiver<Moved>,
}

// === impl ImageWatch ===

impl ImageWatch {
    pub(super) fn new(docker: Arc<Docker>) -> Self {
        let (sender, moved) = mpsc::unbounded_channel();
        Self { docker, watched: BTreeMap::new(), sender, moved }
    }

    /// Watches these tags from now on, and no others.
    pub(super) fn set(&mut self, watched: BTreeMap<ServiceName, Watched>) {
        // Unchanged tags are watched on.
        self.watched.retain(|service, (known, _)| watched.get(service) == Some(known));
        for (service, watched) in watched {
            self.watched.entry(service.clone()).or_insert_with(|| {
                let (docker, sender) = (self.docker.clone(), self.sender.clone());
                let look = look(docker, service, watched.clone(), sender);
                (watched, AbortOnDropHandle::new(tokio::spawn(look)))
            });
        }
    }

    /// The next tag that has moved.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Moved {
        loop {
            match self.moved.recv().await {
                // A move may have been sent just before the watch was changed.
                Some(moved)
                    if self
                        .watched
                        .get(&moved.service)
                        .is_some_and(|(w, _)| w.tag == moved.tag) =>
                {
                    return moved;
                }
                Some(_) => {}
                // The sender is ours.
                None => std::future::pending().await,
            }
        }
    }
}

/// Looks after one tag until it has moved. A registry that does not answer
/// changes nothing.
async fn look(
    docker: Arc<Docker>,
    service: ServiceName,
    watched: Watched,
    sender: mpsc::UnboundedSender<Moved>,
) {
    let Watched { tag, running, every } = watched;
    let pause = between_looks(every, &service);
    let mut unanswered = 0_u32;
    // Soon: it may have moved while nobody looked.
    let mut next = pause.min(FIRST);
    loop {
        sleep(next).await;
        next = pause;
        match docker.moved(&service, &tag, &running).await {
            Ok(Some(to)) => {
                // Nobody to tell: it is over.
                _ = sender.send(Moved { service, tag, to });
                return;
            }
            Ok(None) => {
                if unanswered > 0 {
                    info!(%service, image = tag, "the registry answers again");
                }
                unanswered = 0;
            }
            Err(error) => {
                unanswered += 1;
                let error = error.to_string();
                if unanswered == 1 {
                    warn!(
                        %service, image = tag, error,
                        "cannot learn whether the tag has moved; what there is runs on"
                    );
                } else {
                    debug!(%service, image = tag, error, unanswered, "still no answer");
                }
            }
        }
    }
}

/// The time between two looks, up to a tenth less: those of many services do not come together.
fn between_looks(every: Duration, service: &ServiceName) -> Duration {
    let mut hasher = DefaultHasher::new();
    service.hash(&mut hasher);
    shortened(every, 0.1, hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_of_different_services_are_scattered() {
        let every = Duration::from_secs(100);
        let pauses: Vec<_> =
            ["a", "b", "c", "d"].map(|name| between_looks(every, &name.into()).as_secs()).into();
        assert!(pauses.iter().all(|pause| (90..=100).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| pause != &pauses[0]), "{pauses:?}");
    }
}
