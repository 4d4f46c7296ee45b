//! How connections end, in two letters and in words.

use std::fmt;

use ganger_pool::runtime::{LastLines, PostMortem};

use super::supply::Refusal;

/// Who ended a connection, and in which phase, after HAProxy. Displays as two letters.
///
/// | code | what happened | the client sees |
/// | --- | --- | --- |
/// | `--` | both sides ended their direction, or the container exited with code 0 | end |
/// | `RQ` | the connection cap is reached | reset |
/// | `PQ` | the queue is full, or the wait in it was too long | reset |
/// | `DQ` | no daemon can launch a container | reset |
/// | `DL` | the service's containers keep failing | reset |
/// | `KQ` | draining: no new leases, of all services or of this one; or the operator cut it while it waited | reset |
/// | `IQ` | the pool does not know the service | reset |
/// | `CQ` `CC` | the client left before it had a container; before it had another one | - |
/// | `SC` `sC` | no container took the connection; not in time | reset |
/// | `RC` | this machine lacked descriptors, memory or local ports for it | reset |
/// | `IC` `ID` | an error in Ganger | reset |
/// | `KC` | the operator cut it while connecting | reset |
/// | `CD` | the client reset the connection | - |
/// | `cD` | idle, the client does not send or read; or it vanished | reset |
/// | `SD` | the container reset the connection | reset, after all its bytes |
/// | `sD` | idle, the container does not read; no first byte in time; or it vanished | reset |
/// | `DD` | the container died | reset, after all its bytes |
/// | `PD` | the session time-out | reset |
/// | `KD` | the operator cut it | reset |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndCode {
    /// Who.
    pub who: Who,
    /// When.
    pub phase: Phase,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// Nobody in particular: a normal end.
    Nobody,
    /// `C`: the client.
    Client,
    /// `c`: a time-out, waiting for the client.
    ClientTimeout,
    /// `S`: the container.
    Container,
    /// `s`: a time-out, waiting for the container.
    ContainerTimeout,
    /// `P`: a limit of the proxy.
    Limit,
    /// `D`: the death of a container or daemon.
    Death,
    /// `K`: the operator.
    Operator,
    /// `R`: lack of resources.
    Resources,
    /// `I`: an error in Ganger.
    Internal,
}

/// In which phase a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// `Q`: waiting for a container.
    Queue,
    /// `L`: its container was being launched.
    Launch,
    /// `C`: connecting to the container.
    Connect,
    /// `D`: moving data.
    Data,
    /// `-`: done.
    Done,
}

/// How one connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: EndCode,
    /// The cause, in words. None for a normal end.
    pub(super) reason: Option<String>,
    /// The post-mortem of the container that failed. Boxed: a session is as large as its ends.
    pub(super) post_mortem: Option<Box<PostMortem>>,
}

// === impl EndCode ===

impl EndCode {
    /// A normal end.
    pub const NORMAL: Self = Self::new(Who::Nobody, Phase::Done);

    pub(super) const fn new(who: Who, phase: Phase) -> Self {
        Self { who, phase }
    }

    /// Whether the client got no container, for a reason other than itself or the operator.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(self.phase, Phase::Queue | Phase::Launch)
            && matches!(self.who, Who::Limit | Who::Death | Who::Resources | Who::Internal)
    }

    /// The meaning of the two letters.
    #[must_use]
    pub fn in_words(self) -> String {
        let who = match self.who {
            Who::Nobody => {
                return "both sides ended, or the container exited with code 0".to_owned();
            }
            Who::Client => "the client ended it",
            Who::ClientTimeout => "the client was waited for in vain",
            Who::Container => "the container failed or reset it",
            Who::ContainerTimeout => "the container was waited for in vain",
            Who::Limit => "a limit was reached",
            Who::Death => "the container or its daemon died",
            Who::Operator => "the operator ended it",
            Who::Resources => "this machine lacked resources",
            Who::Internal => "an error in Ganger ended it",
        };
        let phase = match self.phase {
            Phase::Queue => "while it waited for a container",
            Phase::Launch => "while its container was launched",
            Phase::Connect => "while the container was connected to",
            Phase::Data => "while data was moved",
            Phase::Done => "when all was done",
        };
        format!("{who} {phase}")
    }
}

impl fmt::Display for EndCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::Nobody => "-",
            Who::Client => "C",
            Who::ClientTimeout => "c",
            Who::Container => "S",
            Who::ContainerTimeout => "s",
            Who::Limit => "P",
            Who::Death => "D",
            Who::Operator => "K",
            Who::Resources => "R",
            Who::Internal => "I",
        };
        let phase = match self.phase {
            Phase::Queue => "Q",
            Phase::Launch => "L",
            Phase::Connect => "C",
            Phase::Data => "D",
            Phase::Done => "-",
        };
        write!(f, "{who}{phase}")
    }
}

// === impl End ===

impl End {
    pub(super) const NORMAL: Self = Self { code: EndCode::NORMAL, reason: None, post_mortem: None };

    pub(super) fn new(who: Who, phase: Phase, reason: impl Into<String>) -> Self {
        Self { code: EndCode::new(who, phase), reason: Some(reason.into()), post_mortem: None }
    }

    /// The reason, with the last log lines of the container.
    pub(super) fn told(&self) -> Option<String> {
        let reason = self.reason.as_ref()?;
        let log = self.post_mortem.as_ref().map_or(&[][..], |post_mortem| &post_mortem.log);
        let lines = (!log.is_empty()).then(|| format!("; {}", LastLines(log)));
        Some(format!("{reason}{}", lines.unwrap_or_default()))
    }

    pub(super) fn is_normal(&self) -> bool {
        self.code == EndCode::NORMAL
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        let (who, phase) = match &refusal {
            Refusal::QueueFull | Refusal::TimedOut { .. } => (Who::Limit, Phase::Queue),
            Refusal::Failing { .. } => (Who::Death, Phase::Launch),
            Refusal::NoDaemon { .. } => (Who::Death, Phase::Queue),
            Refusal::Draining | Refusal::Operator { .. } => (Who::Operator, Phase::Queue),
            Refusal::UnknownService => (Who::Internal, Phase::Queue),
        };
        Self::new(who, phase, refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use ganger_pool::core::AdminState;

    use super::*;

    #[test]
    fn refusals_map_to_their_codes() {
        let code = |refusal: Refusal| End::from(refusal).code.to_string();
        assert_eq!(code(Refusal::QueueFull), "PQ");
        assert_eq!(code(Refusal::TimedOut { reason: None }), "PQ");
        assert_eq!(code(Refusal::Failing { reason: "".into() }), "DL");
        assert_eq!(code(Refusal::NoDaemon { reason: "".into() }), "DQ");
        assert_eq!(code(Refusal::Draining), "KQ");
        assert_eq!(code(Refusal::Operator { state: AdminState::Maint }), "KQ");
        assert_eq!(code(Refusal::UnknownService), "IQ");
    }
}
