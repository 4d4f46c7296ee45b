//! The image that a tag stands for now, for services that follow the tag.

use std::sync::Arc;

use ganger_pool::core::ServiceName;
use ganger_pool::runtime::CallError;

use super::Docker;
use super::daemon::Daemon;

/// How many engines are asked what a tag stands for, until one knows.
const ASKED: usize = 3;

// === impl Docker ===

impl Docker {
    /// The image by its digest that a tag stands for now, when a service runs another one.
    /// `running` is the tag itself, or what this method returned before. The engines are
    /// asked in turn, and ask the registry.
    ///
    /// # Errors
    /// No engine could say, and what one of them said.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn moved(
        &self,
        service: &ServiceName,
        tag: &str,
        running: &str,
    ) -> Result<Option<String>, CallError> {
        let mut daemons: Vec<_> = self.daemons.lock().values().cloned().collect();
        daemons.retain(|daemon| daemon.contact().is_ok());
        let mut error = CallError::unreachable("no daemon answers");
        for asked in daemons.iter().take(ASKED) {
            let newest = match asked.newest(tag).await {
                Ok(newest) if newest == running => return Ok(None),
                Ok(newest) => newest,
                Err(failed) => {
                    error = failed;
                    continue;
                }
            };
            if running != tag {
                return Ok(Some(newest));
            }
            // Once engines have prepared the service, the tag on other engines says nothing.
            let runs = |daemon: &Arc<Daemon>| daemon.pinned(service, tag).is_some();
            if daemons.iter().any(runs) {
                daemons.retain(runs);
            }
            // Where no engine has an image of the tag, the service runs something else.
            let (mut known, mut unasked) = (false, None);
            for daemon in &daemons {
                match daemon.has_newest(service, tag, &newest).await {
                    Ok(Some(false)) => return Ok(Some(newest)),
                    Ok(Some(true)) => known = true,
                    Ok(None) => {}
                    Err(error) => unasked = Some(error),
                }
            }
            return match unasked {
                Some(error) if !known => Err(error),
                _ => Ok((!known).then_some(newest)),
            };
        }
        Err(error)
    }
}
