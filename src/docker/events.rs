//! The events of an engine about our containers.

use std::collections::BTreeMap;

use bollard::models::EventMessage;
use ganger_pool::core::LaunchId;
use ganger_pool::runtime::{CallError, RuntimeEvent};
use serde_json::json;
use tokio::sync::mpsc;

use super::daemon::Daemon;
use super::naming::{self, BOOT, INSTANCE, Identity, LAUNCH, SANDBOX};
use super::{Docker, explain};
use crate::http;

// === impl Docker ===

impl Docker {
    /// Reads events as fast as they come and does nothing else: a reader that
    /// falls behind slows the engine down, and loses events in silence.
    ///
    /// The client library is not used, as it does not tell when the engine has begun
    /// to answer. An engine subscribes a moment after that: a list that follows has
    /// to wait for that moment.
    pub(super) async fn follow(
        &self,
        daemon: &Daemon,
        sink: mpsc::UnboundedSender<RuntimeEvent>,
        opened: impl FnOnce(),
    ) -> CallError {
        let kind = match daemon.contact() {
            Ok(contact) => contact.kind,
            Err(error) => return error,
        };
        let mut filters = json!({
            "type": ["container"],
            // Some engines say remove for destroy.
            "event": ["create", "die", "oom", "kill", "stop", "destroy", "remove", "pause"],
        });
        // The filter only spares the engine work: other events are dropped here in any case.
        if kind.filters_events_by_label() {
            filters["label"] = json!([INSTANCE]);
        }
        let path = format!("/events?filters={}", http::escape(&filters.to_string()));
        let mut lines = match daemon.follow(&path).await {
            Ok(lines) => lines,
            Err(error) => return error,
        };
        opened();
        loop {
            match lines.next().await {
                Ok(Some(line)) => {
                    // The list makes up for an event that cannot be parsed.
                    if let Ok(event) = serde_json::from_slice::<EventMessage>(&line)
                        && self.is_of_ours(&event)
                        && let Some(event) =
                            read(&self.identity, &event, || daemon.sandboxes.taken())
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

    /// Whether an event is about a container that bears our labels by right, see
    /// [`naming::name_by`].
    fn is_of_ours(&self, event: &EventMessage) -> bool {
        let Some(actor) = &event.actor else { return false };
        let Some(labels) = actor.attributes.as_ref().filter(|all| all.contains_key(INSTANCE))
        else {
            return false;
        };
        naming::name_by(|key| labels.get(key)).is_some_and(|own| labels.get("name") == Some(&own))
            || actor.id.as_ref().is_some_and(|id| self.calls.has_made(id))
    }
}

/// `taken` says which launch is in which sandbox of ours.
fn read(
    identity: &Identity,
    event: &EventMessage,
    taken: impl FnOnce() -> BTreeMap<u64, LaunchId>,
) -> Option<RuntimeEvent> {
    let labels = event.actor.as_ref()?.attributes.as_ref()?;
    let action = event.action.as_deref()?;
    let is_ours = labels.get(INSTANCE).is_some_and(|instance| *instance == identity.instance);
    if let Some(number) = naming::value(labels.get(SANDBOX)) {
        // A container whose holder ends loses its network. A free holder is checked before it
        // is used, and the holders of others are none of ours.
        let is_ours = is_ours && labels.get(BOOT) == Some(&identity.boot);
        let told: fn(LaunchId) -> RuntimeEvent = match action {
            "die" => RuntimeEvent::Died,
            "kill" | "stop" => RuntimeEvent::Signalled,
            "destroy" | "remove" => RuntimeEvent::Taken,
            _ => return None,
        };
        let number = number.parse().ok().filter(|_| is_ours)?;
        return taken().remove(&number).map(told);
    }
    let launch = labels.get(LAUNCH).and_then(|label| identity.launch_of(label));
    match (action, launch.filter(|_| is_ours)) {
        ("die", Some(launch)) => Some(RuntimeEvent::Died(launch)),
        // Comes before the death it causes, also for a container that an engine ends at its stop.
        ("kill" | "stop", Some(launch)) => Some(RuntimeEvent::Signalled(launch)),
        ("destroy" | "remove" | "pause", Some(launch)) => Some(RuntimeEvent::Taken(launch)),
        ("oom", Some(launch)) => Some(RuntimeEvent::OutOfMemory(launch)),
        ("create" | "destroy" | "remove", None) => Some(RuntimeEvent::Others),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_passed_on_for_the_launch_it_names() {
        let identity = Identity { instance: "i".into(), boot: "3fa9c1d2".into() };
        let event = |action: &str, instance: &str, launch: &str| {
            let labels = json!({INSTANCE: instance, LAUNCH: launch});
            let actor = json!({"ID": "x", "Attributes": labels});
            let event =
                json!({"Type": "container", "Action": action, "scope": "local", "Actor": actor});
            read(&identity, &serde_json::from_value(event).unwrap(), BTreeMap::new)
        };
        let seventh = LaunchId(7);
        assert_eq!(event("die", "i", "3fa9c1d2-7"), Some(RuntimeEvent::Died(seventh)));
        assert_eq!(event("oom", "i", "3fa9c1d2-7"), Some(RuntimeEvent::OutOfMemory(seventh)));
        // Actions of somebody on the container.
        for action in ["kill", "stop"] {
            assert_eq!(event(action, "i", "3fa9c1d2-7"), Some(RuntimeEvent::Signalled(seventh)));
        }
        for action in ["pause", "destroy", "remove"] {
            assert_eq!(event(action, "i", "3fa9c1d2-7"), Some(RuntimeEvent::Taken(seventh)));
        }
        assert_eq!(event("create", "i", "3fa9c1d2-7"), None);
        assert_eq!(event("start", "i", "3fa9c1d2-7"), None);
        // Events of an earlier boot, and of another instance, change how many share the daemon.
        for (instance, launch) in [("i", "00000000-7"), ("another", "3fa9c1d2-7")] {
            assert_eq!(event("create", instance, launch), Some(RuntimeEvent::Others));
            assert_eq!(event("destroy", instance, launch), Some(RuntimeEvent::Others));
            assert_eq!(event("die", instance, launch), None);
        }
    }

    #[test]
    fn the_end_of_a_sandbox_is_the_end_of_its_container() {
        let identity = Identity { instance: "i".into(), boot: "3fa9c1d2".into() };
        let event = |action: &str, boot: &str, number: &str| {
            let labels = json!({INSTANCE: "i", BOOT: boot, SANDBOX: number});
            let actor = json!({"ID": "x", "Attributes": labels});
            let event =
                json!({"Type": "container", "Action": action, "scope": "local", "Actor": actor});
            let taken = || BTreeMap::from([(4, LaunchId(7))]);
            read(&identity, &serde_json::from_value(event).unwrap(), taken)
        };
        for (action, told) in [
            ("die", RuntimeEvent::Died(LaunchId(7))),
            ("kill", RuntimeEvent::Signalled(LaunchId(7))),
            ("destroy", RuntimeEvent::Taken(LaunchId(7))),
            ("remove", RuntimeEvent::Taken(LaunchId(7))),
        ] {
            assert_eq!(event(action, "3fa9c1d2", "4"), Some(told));
            // A free holder, and one of an earlier boot.
            assert_eq!(event(action, "3fa9c1d2", "5"), None);
            assert_eq!(event(action, "00000000", "4"), None);
        }
        assert_eq!(event("create", "3fa9c1d2", "4"), None);
    }
}
