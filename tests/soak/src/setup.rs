//! The services of a soak, and the daemons that they run on.

use std::time::Duration;

use ganger_test_support::Host;

/// Containers on each daemon.
pub(crate) const CAPACITY: u32 = 6;
/// How long a client waits in the queue.
pub(crate) const QUEUE: Duration = Duration::from_secs(15);
/// How long it takes to dial, however often that is tried.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// The fixture speaks when it is spoken to: probes of a published port do not count.
pub(crate) const COMMAND: [&str; 2] = ["identify", "--lazy"];
/// The first of the hosts that are reached over their link.
const REMOTE: u8 = 3;

/// The services that clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// A fresh container for everybody.
    Strict,
    /// A container is leased up to four times.
    Reused,
}

/// Whether a host is reached as one on another machine is, over its link, unless its daemon was
/// given another url. It runs what needs no namespace.
pub(crate) fn is_remote(host: &Host) -> bool {
    host.number >= REMOTE && host.tcp_url.is_some()
}

// === impl Service ===

impl Service {
    pub(crate) const ALL: [Self; 2] = [Self::Strict, Self::Reused];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Reused => "reused",
        }
    }

    /// The most connections that a container may see.
    pub(crate) fn uses(self) -> u32 {
        match self {
            Self::Strict => 1,
            Self::Reused => 4,
        }
    }

    /// Its settings. Another `version` is another generation.
    pub(crate) fn fields(self, version: u32) -> String {
        let sizes = match self {
            Self::Strict => "reuse: 0, warm: 4, max: 14, network: Sealed",
            Self::Reused => "reuse: 3, warm: 3, max: 10, network: Bridge",
        };
        let (queue, connect) = (QUEUE.as_secs(), CONNECT.as_secs());
        format!(
            "{sizes}, queue: (length: 64, timeout: \"{queue}s\"), connect: \
             (timeout: \"{connect}s\"), env: {{\"VERSION\": \"{version}\"}}"
        )
    }
}
