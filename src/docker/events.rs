//! What an engine says of our containers while it happens.

use std::collections::HashMap;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use ganger_pool::runtime::{CallError, RuntimeEvent, RuntimeEventKind};
use tokio::sync::mpsc;

use super::calls::Failure;
use super::daemon::Daemon;
use super::naming::{BOOT, Identity, LAUNCH};
use super::{Docker, explain};

// === impl Docker ===

impl Docker {
    /// Reads events as fast as they come and does nothing else: a reader that
    /// falls behind slows the engine down, and loses events in silence.
    pub(super) async fn follow(
        &self,
        daemon: &Daemon,
        sink: mpsc::UnboundedSender<RuntimeEvent>,
    ) -> CallError {
        let contact = match daemon.contact() {
            Ok(contact) => contact,
            Err(error) => return error,
        };
        let own = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let filters: HashMap<String, Vec<String>> = HashMap::from([
            ("type".to_owned(), own(&["container"])),
            ("label".to_owned(), vec![self.ours(), format!("{BOOT}={}", self.identity.boot)]),
            // Some engines say remove for destroy.
            ("event".to_owned(), own(&["die", "oom", "destroy", "remove", "pause"])),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let mut events = std::pin::pin!(contact.client.events(Some(options)));
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    if let Some(event) = read(&self.identity, &event)
                        && sink.send(event).is_err()
                    {
                        return CallError::refused("nobody reads the events any more");
                    }
                }
                Some(Err(error)) => {
                    return explain::call(&daemon.endpoint, "events", &Failure::Engine(error));
                }
                None => {
                    let message = format!("{} ended its stream of events", daemon.endpoint);
                    return CallError::unreachable(message);
                }
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
