//! Happenings, as they are told: the log at info and above, in fields.

use std::time::SystemTime;

use ganger_pool::core::{Fault, GivenUp, RetireReason};
use ganger_pool::{Change, EventKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Happening {
    /// Its number.
    pub id: u64,
    /// When, as RFC 3339 says it.
    pub at: String,
    /// What: one of a fixed set of words, such as `launch-failed`.
    pub kind: String,
    /// Something is wrong.
    pub is_bad: bool,
    /// The service that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The daemon that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
    /// The launch that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<u64>,
    /// Why, or what, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How often it happened within a quarter of a second; the detail is of the last time. A reader of the
    /// stream who was told of some of these times already is told the number of the others.
    pub count: u32,
}

// === impl Happening ===

impl Happening {
    /// A happening that is about no subject.
    #[must_use]
    pub fn new(kind: &str, is_bad: bool, detail: Option<String>) -> Self {
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let (service, daemon, launch) = Default::default();
        let kind = kind.to_owned();
        Self { id: 0, at, kind, is_bad, service, daemon, launch, detail, count: 1 }
    }

    /// The happening of an event of the pool, if it is told.
    pub(super) fn of(event: &EventKind) -> Option<Self> {
        let (kind, is_bad, detail) = words(event)?;
        Some(Self {
            service: event.service().map(ToString::to_string),
            daemon: event.daemon().map(ToString::to_string),
            launch: event.launch().map(|launch| launch.0),
            ..Self::new(kind, is_bad, detail)
        })
    }

    /// Whether the same happened to the same subject. A happening without a subject, such as an
    /// order, is the same only in all details.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let has_subject = self.service.is_some() || self.daemon.is_some();
        (&self.kind, &self.service, &self.daemon) == (&other.kind, &other.service, &other.daemon)
            && (has_subject || self.detail == other.detail)
    }
}

/// The word for an event, whether it is bad, and what else is to be said of it.
fn words(event: &EventKind) -> Option<(&'static str, bool, Option<String>)> {
    let said = |reason: &str| Some(reason.to_owned());
    Some(match event {
        EventKind::LaunchFailed { fault: Fault::Full, .. } => return None,
        EventKind::LaunchFailed { reason, .. } => ("launch-failed", true, said(reason)),
        EventKind::RemovedBeforeReady { .. } => ("removed-before-ready", true, None),
        EventKind::EndedInStock { reason, untold: 0, .. } => ("ended-in-stock", true, said(reason)),
        EventKind::EndedInStock { reason, untold, .. } => {
            ("ended-in-stock", true, Some(format!("{reason}; {untold} others before it")))
        }
        EventKind::RemovalFailing { reason, .. } => ("removal-failing", true, said(reason)),
        EventKind::Removed { reason: RetireReason::Stray, target, .. } => {
            ("stray-removed", false, Some(target.key.to_string()))
        }
        EventKind::Paced { pause, .. } => {
            ("launches-paced", true, Some(format!("up to {pause:?} apart")))
        }
        EventKind::ServiceChanged { change, .. } => match change {
            Change::Added => ("service-added", false, None),
            Change::Adjusted => ("service-adjusted", false, None),
            Change::RollingOut(generation) | Change::GoingBack(generation) => {
                ("rollout-begun", false, Some(format!("generation {generation}")))
            }
            Change::Removed => ("service-removed", false, None),
        },
        EventKind::RolloutAdvanced { generation, stage, .. } => {
            ("rollout-advanced", false, Some(format!("generation {generation}: {stage}")))
        }
        EventKind::SwitchedOver { generation, .. } => {
            ("switched-over", false, Some(format!("generation {generation}")))
        }
        EventKind::RolledBack { why, reason, .. } => {
            ("rolled-back", !matches!(why, GivenUp::Replaced), said(reason))
        }
        EventKind::DaemonJoined { capacity, .. } => {
            ("daemon-joined", false, Some(format!("capacity {capacity}")))
        }
        EventKind::DaemonResized { capacity, tier, .. } => {
            ("daemon-resized", false, Some(format!("capacity {capacity}, tier {tier}")))
        }
        EventKind::DaemonLeft { .. } => ("daemon-left", false, None),
        EventKind::DaemonDrained { .. } => ("daemon-drained", false, None),
        EventKind::FleetEmpty => ("fleet-empty", true, None),
        EventKind::ContactMade { version, .. } => {
            ("contact-made", false, Some(format!("engine {version}")))
        }
        EventKind::ContactLost { reason, .. } => ("contact-lost", true, said(reason)),
        EventKind::ContactFailed { reason, again: false, .. } => {
            ("contact-failed", true, said(reason))
        }
        EventKind::StreamFailed { reason, attempts: 1, .. } => {
            ("event-stream-failed", true, said(reason))
        }
        EventKind::ServiceUnfit { reason, .. } => ("service-unfit", true, said(reason)),
        EventKind::Degraded { reason, .. } => ("daemon-degraded", true, said(reason)),
        EventKind::Recovered { .. } => ("daemon-recovered", false, None),
        _ => return None,
    })
}
