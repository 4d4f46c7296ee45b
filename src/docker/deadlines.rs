//! How long an engine has for each call.

use std::time::Duration;

use super::kind::EngineKind;

/// How long an engine has for each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// The first contact, all of it.
    pub negotiate: Duration,
    /// The call of `/info`, where the engine takes long to answer it.
    pub info: Duration,
    /// A list, its body included.
    pub list: Duration,
    /// An inspection, its body included.
    pub inspect: Duration,
    /// A create. The call itself goes on after it.
    pub create: Duration,
    /// A start. The call itself goes on after it.
    pub start: Duration,
    /// A removal. The call itself goes on after it.
    pub remove: Duration,
    /// The longest that a pull may go without any progress.
    pub pull_idle: Duration,
    /// Each of the two calls of a post-mortem.
    pub post_mortem: Duration,
    /// How long a call that goes on may take until it counts as lost.
    pub bound: Duration,
    /// How long an engine may take to notice that a container's process has ended.
    pub notice: Duration,
    /// How long an engine must have answered lists again before a call that was
    /// lost counts as without effect.
    pub ghost_grace: Duration,
    /// How long an engine may take to unmount a volume that no container has any more, or to count
    /// the last endpoint off a network.
    pub unmount: Duration,
}

// === impl Deadlines ===

impl Deadlines {
    /// For `/info`. Podman runs programs to answer it.
    pub(super) fn of_info(&self, kind: EngineKind) -> Duration {
        match kind {
            EngineKind::Docker => self.negotiate,
            EngineKind::Podman => self.info,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            negotiate: Duration::from_secs(3),
            // On a machine that is busy Podman takes seconds.
            info: Duration::from_secs(20),
            list: Duration::from_secs(3),
            inspect: Duration::from_secs(3),
            create: Duration::from_secs(10),
            start: Duration::from_secs(30),
            // A removal that has to kill takes an engine up to 15 s.
            remove: Duration::from_secs(40),
            pull_idle: Duration::from_secs(60),
            post_mortem: Duration::from_secs(3),
            bound: Duration::from_secs(600),
            notice: Duration::from_secs(5),
            ghost_grace: Duration::from_secs(10),
            unmount: Duration::from_secs(10),
        }
    }
}
