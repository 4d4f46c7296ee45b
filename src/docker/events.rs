//! What an engine says of our containers while it happens.

use bollard::models::EventMessage;
use ganger_pool::runtime::{CallError, RuntimeEvent, RuntimeEventKind};
use serde_json::json;
use tokio::sync::mpsc;

use super::daemon::Daemon;
use super::naming::{BOOT, Identity, LAUNCH};
use super::{Docker, explain};
use crate::http;

// === impl Docker ===

impl Docker {
    /// Reads events as fast as they come and does nothing else: a reader that
    /// falls behind slows the engine down, and loses events in silence.
    ///
    /// Not by the client, which does not tell when the engine has begun to
    /// answer. An engine subscribes a moment after that: whoever lists then has
    /// to leave it that moment.
    pub(super) async fn follow(
        &self,
        daemon: &Daemon,
        sink: mpsc::UnboundedSender<RuntimeEvent>,
        opened: impl FnOnce(),
    ) -> CallError {
        let mut labels = self.ours();
        labels.push(format!("{BOOT}={}", self.identity.boot));
        let filters = json!({
            "type": ["container"],
            "label": labels,
            // Some engines say remove for destroy.
            "event": ["die", "oom", "destroy", "remove", "pause"],
        });
        let path = format!("/events?filters={}", http::escape(&filters.to_string()));
        let mut lines = match daemon.follow(&path).await {
            Ok(lines) => lines,
            Err(error) => return error,
        };
        opened();
        loop {
            match lines.next().await {
                Ok(Some(line)) => {
                    // One that cannot be understood is made up for by the list.
                    if let Ok(event) = serde_json::from_slice::<EventMessage>(&line)
                        && let Some(event) = read(&self.identity, &event)
                        && sink.send(event).is_err()
                    {
                        return CallError::refused("nobody reads the events any more");
                    }
                }
                Ok(None) => {
                    let message = format!("{} ended its stream of events", daemon.endpoint);
                    return CallError::unreachable(message);
                }
                Err(error) => return explain::wire(&daemon.endpoint, &error),
            }
        }
    }
}

fn read(identity: &Identity, event: &EventMessage) -> Option<RuntimeEvent> {
    let label = event.actor.as_ref()?.attributes.as_ref()?.get(LAUNCH)?;
    let kind = match event.action.as_deref()? {
        "die" | "destroy" | "remove" | "pause" => RuntimeEventKind::Died,
        "oom" => RuntimeEventKind::OutOfMemory,
        _ => return None,
    };
    Some(RuntimeEvent { launch: identity.launch_of(label)?, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_passed_on_for_the_launch_it_names() {
        let identity = Identity { instance: "i".into(), boot: "3fa9c1d2".into() };
        let event = |action: &str, launch: &str| {
            let text = format!(
                r#"{{"Type": "container", "Action": "{action}", "scope": "local",
                    "Actor": {{"ID": "x", "Attributes": {{"io.ganger.launch": "{launch}"}}}}}}"#
            );
            let event = serde_json::from_str(&text).unwrap();
            read(&identity, &event).map(|event| (event.launch.0, event.kind))
        };
        assert_eq!(event("die", "3fa9c1d2-7"), Some((7, RuntimeEventKind::Died)));
        assert_eq!(event("oom", "3fa9c1d2-7"), Some((7, RuntimeEventKind::OutOfMemory)));
        assert_eq!(event("die", "00000000-7"), None);
        assert_eq!(event("start", "3fa9c1d2-7"), None);
    }
}
