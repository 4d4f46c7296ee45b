//! What is said to a guardian: lines of JSON, each of them whole.

use ganger_pool::discovery::DaemonSpec;
use serde::{Deserialize, Serialize};

use crate::docker::Identity;
use crate::endpoint::{EndpointError, Site};

/// What a guardian says when no signal can end it any more.
pub(super) const READY: &[u8; 6] = b"ready\n";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// What is to be removed should we vanish. Takes the place of what was said before.
    Guard(Charge),
    /// There is nothing left to remove.
    Farewell,
}

/// Whose containers, and where they may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Charge {
    pub(super) instance: String,
    pub(super) boot: String,
    pub(super) daemons: Vec<Place>,
}

/// A daemon and how it is reached. Two may have one name: it moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) daemon: String,
    url: String,
}

// === impl Message ===

impl Message {
    /// As it is sent.
    pub(super) fn line(&self) -> String {
        // Text and lists of it: nothing that JSON cannot hold.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{json}\n")
    }

    /// `None` for a line that was cut off, because who wrote it was killed.
    pub(super) fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

// === impl Charge ===

impl Charge {
    pub(super) fn identity(&self) -> Identity {
        Identity { instance: self.instance.clone(), boot: self.boot.clone() }
    }
}

// === impl Place ===

impl Place {
    pub(super) fn of(daemon: &DaemonSpec<Site>) -> Self {
        Self { daemon: daemon.name.to_string(), url: daemon.endpoint.endpoint.to_string() }
    }

    /// It as a daemon to remove containers from.
    pub(super) fn daemon(&self) -> Result<DaemonSpec<Site>, EndpointError> {
        Ok(DaemonSpec {
            name: self.daemon.as_str().into(),
            endpoint: Site::of(self.url.parse()?),
            max_containers: 0,
            tier: 0,
            max_launches: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_read() {
        for url in ["unix:///run/docker.sock", "tcp://[2001:db8::7]:2375"] {
            let place = Place { daemon: "local".into(), url: url.into() };
            assert_eq!(Place::of(&place.daemon().unwrap()), place);
            let charge = Charge { instance: "i".into(), boot: "b".into(), daemons: vec![place] };
            for said in [Message::Guard(charge), Message::Farewell] {
                let line = said.line();
                assert_eq!(line.matches('\n').count(), 1);
                assert_eq!(Message::read(line.trim_end()), Some(said));
                assert_eq!(Message::read(&line[..line.len() - 2]), None, "cut off");
            }
        }
    }
}
