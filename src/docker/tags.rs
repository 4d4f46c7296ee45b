//! What a tag stands for now, for services that follow it.

use std::sync::Arc;

use ganger_pool::core::ServiceName;
use ganger_pool::runtime::CallError;

use super::Docker;
use super::daemon::Daemon;

/// So many engines are asked what a tag stands for, until one knows.
const ASKED: usize = 3;

// === impl Docker ===

impl Docker {
    /// What a tag stands for now, when it is not what a service runs: the image by its digest.
    /// `running` is the tag itself, or what this said before. Asked of the engines in
    /// turn, which ask the registry.
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
            // What an engine keeps under the tag and nobody runs says nothing.
            let runs = |daemon: &Arc<Daemon>| daemon.pinned(service, tag).is_some();
            if daemons.iter().any(runs) {
                daemons.retain(runs);
            }
            // Where no engine has any, what runs is something else.
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
