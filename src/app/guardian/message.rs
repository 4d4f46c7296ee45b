//! Messages to a guardian: lines of JSON, each of them whole.

use ganger_pool::discovery::DaemonSpec;
use serde::{Deserialize, Serialize};

use crate::docker::Identity;
use crate::endpoint::{Endpoint, EndpointError, Site};
use crate::tls;

/// The line that a guardian sends when no signal can end it any more.
pub(super) const READY: &[u8; 6] = b"ready\n";

/// A message, as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GuardianMessage {
    /// The containers to remove should we vanish. Replaces the message before.
    Guard(Manifest),
    /// There is nothing left to remove.
    Farewell,
}

/// Whose containers to remove, and the daemons where they may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) instance: String,
    pub(super) boot: String,
    pub(super) daemons: Vec<DaemonAddress>,
}

/// A daemon and how it is reached. Two may have one name, when a daemon has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DaemonAddress {
    pub(super) daemon: String,
    url: String,
    /// The files that TLS is made with, if it is.
    tls: Option<tls::Files>,
}

// === impl GuardianMessage ===

impl GuardianMessage {
    /// As it is sent.
    pub(super) fn line(&self) -> String {
        // Text and lists of it: nothing that JSON cannot hold.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{json}\n")
    }

    /// `None` for a line that was cut off, because its writer was killed.
    pub(super) fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

// === impl Manifest ===

impl Manifest {
    pub(super) fn identity(&self) -> Identity {
        Identity { instance: self.instance.clone(), boot: self.boot.clone() }
    }
}

// === impl DaemonAddress ===

impl DaemonAddress {
    pub(super) fn of(daemon: &DaemonSpec<Site>) -> Self {
        let endpoint = &daemon.endpoint.endpoint;
        let tls = endpoint.tls().cloned();
        Self { daemon: daemon.name.to_string(), url: endpoint.to_string(), tls }
    }

    /// The daemon at this address, to remove containers from.
    pub(super) fn daemon(&self) -> Result<DaemonSpec<Site>, EndpointError> {
        let plain: Endpoint = self.url.parse()?;
        let endpoint = match &self.tls {
            Some(files) => plain.with_tls(files.clone()),
            None => plain,
        };
        Ok(DaemonSpec {
            name: self.daemon.as_str().into(),
            endpoint: Site::of(endpoint),
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
        let files = tls::Files { ca: "ca.pem".into(), identity: None };
        for (url, tls) in [
            ("unix:///run/docker.sock", None),
            ("tcp://[2001:db8::7]:2375", None),
            ("tcp://[2001:db8::7]:2376", Some(files)),
        ] {
            let place = DaemonAddress { daemon: "local".into(), url: url.into(), tls };
            assert_eq!(DaemonAddress::of(&place.daemon().unwrap()), place);
            let manifest =
                Manifest { instance: "i".into(), boot: "b".into(), daemons: vec![place] };
            for said in [GuardianMessage::Guard(manifest), GuardianMessage::Farewell] {
                let line = said.line();
                assert_eq!(line.matches('\n').count(), 1);
                assert_eq!(GuardianMessage::read(line.trim_end()), Some(said));
                assert_eq!(GuardianMessage::read(&line[..line.len() - 2]), None, "cut off");
            }
        }
    }
}
