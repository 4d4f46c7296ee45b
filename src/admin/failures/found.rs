//! Finds failures in events and records, and their details.

use ganger_pool::EventKind;
use ganger_pool::core::{ContainerKey, Fault, ServiceName, short_id};
use ganger_pool::runtime::{LaunchFindings, LaunchPhase, PostMortem};

use super::super::metrics::fault_word;
use super::bundle::{FailureBundle, FailurePhase};
use crate::proxy::{ConnRecord, ContainerRemains, EndCode, Phase, ReplacedContainer, Who};

/// The failure that an event of the pool tells of. A daemon that others have filled is no failure.
pub(super) fn in_event(event: &EventKind) -> Option<FailureBundle> {
    let new = |phase, service: &ServiceName, error: &str| FailureBundle {
        daemon: event.daemon().map(ToString::to_string),
        launch: event.launch().map(|launch| launch.0),
        ..FailureBundle::new(phase, service.to_string(), error.to_owned())
    };
    Some(match event {
        EventKind::LaunchFailed { fault: Fault::Full, .. } => return None,
        EventKind::LaunchFailed { service, fault, findings, .. } => {
            let LaunchFindings { phase, error, hint, container, post_mortem } = &**findings;
            let mut bundle =
                new(phase_of(*phase), service, error).of_container(post_mortem.as_ref());
            bundle.container = container.as_deref().map(short).or(bundle.container);
            bundle.hint = hint.as_deref().map(str::to_owned);
            bundle.with_fault(*fault)
        }
        EventKind::RemovedBeforeReady { service, container, .. } => {
            let error = "the container was removed before it was ready";
            let bundle = new(FailurePhase::Ready, service, error);
            let container = container.as_deref().map(short);
            FailureBundle { container, ..bundle }.with_fault(Fault::Unwanted)
        }
        EventKind::EndedInStock { service, reason, post_mortem, untold, target } => {
            let post_mortem = post_mortem.as_deref();
            let how = post_mortem.map_or_else(|| reason.to_string(), PostMortem::how);
            let mut bundle = new(FailurePhase::Stock, service, &how).of_container(post_mortem);
            bundle.count += u64::from(*untold);
            if let ContainerKey::Stray(id) = &target.key {
                bundle.container = Some(short(id));
            }
            match post_mortem {
                Some(PostMortem { removed: Some(_), .. } | PostMortem { paused: true, .. }) => {
                    bundle.with_fault(Fault::Unwanted)
                }
                Some(_) => bundle.with_fault(Fault::Service),
                // The daemon did not say how it ended.
                None => bundle,
            }
        }
        EventKind::ServiceUnfit { service, reason, .. } => {
            new(FailurePhase::Pull, service, reason).with_fault(Fault::Unprepared)
        }
        _ => return None,
    })
}

/// The failed lease that a connection has ended with.
pub(super) fn in_record(record: &ConnRecord) -> Option<FailureBundle> {
    let ConnRecord { service, reason, remains, .. } = record;
    let bundle = lease(service, record.end, reason.as_deref(), remains.as_deref())?;
    // A client that was refused may have had containers before.
    let (daemon, container) = (record.daemon.as_ref(), record.container.as_deref());
    Some(FailureBundle {
        daemon: daemon.map(ToString::to_string),
        launch: record.launch.map(|launch| launch.0),
        container: container.map(short),
        ..bundle
    })
}

/// The failed lease of a container that another was to replace.
pub(super) fn in_replaced(replaced: &ReplacedContainer) -> Option<FailureBundle> {
    let ReplacedContainer { service, reason, remains, .. } = replaced;
    let bundle = lease(service, replaced.end, reason.as_deref(), remains.as_deref())?;
    Some(FailureBundle {
        daemon: replaced.daemon.as_ref().map(ToString::to_string),
        launch: replaced.launch.map(|launch| launch.0),
        container: replaced.container.as_deref().map(short),
        ..bundle
    })
}

/// The failure of a lease with this end; `None` where neither the container, the pool nor this
/// machine has failed.
fn lease(
    service: &ServiceName,
    end: EndCode,
    reason: Option<&str>,
    remains: Option<&ContainerRemains>,
) -> Option<FailureBundle> {
    let has_failed = matches!(end.phase, Phase::Connect | Phase::Data)
        && matches!(
            end.who,
            Who::Container | Who::ContainerTimeout | Who::Death | Who::Resources | Who::Internal
        );
    if !has_failed && !end.is_refusal() {
        return None;
    }
    let post_mortem = remains.map(|remains| &remains.post_mortem);
    let error = remains.map(|remains| remains.reason.as_str()).or(reason);
    let error = error.map_or_else(|| end.in_words(), str::to_owned);
    let bundle = FailureBundle::new(FailurePhase::Lease, service.to_string(), error);
    let bundle = FailureBundle { end: Some(end.to_string()), ..bundle }.of_container(post_mortem);
    Some(match (end.who, end.phase) {
        (Who::Container | Who::ContainerTimeout, _) | (Who::Death, Phase::Launch) => {
            bundle.with_fault(Fault::Service)
        }
        (Who::Death, Phase::Queue) => bundle.with_fault(Fault::Daemon),
        // Nobody knows how a container that went with its daemon ended.
        (Who::Death, _) if bundle.exit_code.is_some() => bundle.with_fault(Fault::Service),
        _ => bundle,
    })
}

fn phase_of(phase: LaunchPhase) -> FailurePhase {
    match phase {
        LaunchPhase::Pull => FailurePhase::Pull,
        LaunchPhase::Start => FailurePhase::Start,
        LaunchPhase::Ready => FailurePhase::Ready,
        _ => FailurePhase::Create,
    }
}

fn short(id: &str) -> String {
    short_id(id).to_owned()
}

// === impl FailureBundle ===

impl FailureBundle {
    /// With what was left of its container.
    fn of_container(self, post_mortem: Option<&PostMortem>) -> Self {
        let Some(post_mortem) = post_mortem else { return self };
        Self {
            container: post_mortem.container.as_deref().map(short),
            exit_code: post_mortem.exit_code,
            out_of_memory: post_mortem.out_of_memory,
            log: post_mortem.log.clone(),
            hint: post_mortem.hint.clone(),
            ..self
        }
    }

    fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault_word(fault).to_owned()), ..self }
    }
}
