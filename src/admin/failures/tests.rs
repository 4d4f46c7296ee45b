//! Events and records that are failures, and what is kept of them.

use std::sync::Arc;
use std::time::Duration;

use ganger_pool::EventKind;
use ganger_pool::core::{ContainerKey, DaemonName, Fault, LaunchId, Outcome};
use ganger_pool::runtime::{LaunchError, LaunchFindings, LaunchPhase, PostMortem, Target};
use tokio::time::Instant;

use super::*;
use crate::proxy::{ConnId, ContainerRemains, EndCode, Phase, Who};

fn observed(kinds: impl IntoIterator<Item = EventKind>) -> Vec<FailureBundle> {
    let memory = FailureMemory::default();
    for kind in kinds {
        memory.observe(&PoolEvent { number: 1, at: Instant::now().into_std(), kind });
    }
    memory.all()
}

fn launch_failed(error: LaunchError, post_mortem: Option<PostMortem>) -> EventKind {
    let findings = Arc::new(LaunchFindings::new(&error, post_mortem));
    let (launch, service, daemon) = (LaunchId(1), "echo".into(), "one".into());
    let (fault, reason) = (error.fault, "all of it".into());
    EventKind::LaunchFailed { launch, service, daemon, fault, reason, findings }
}

fn ended_in_stock(post_mortem: Option<PostMortem>, untold: u32) -> EventKind {
    let target = Target { daemon: "one".into(), key: ContainerKey::Launch(LaunchId(2)) };
    let (service, reason) = ("echo".into(), "died, and its daemon does not say more".into());
    EventKind::EndedInStock {
        target,
        service,
        reason,
        post_mortem: post_mortem.map(Arc::new),
        untold,
    }
}

/// A connection to the container `c…` that has ended so.
fn record(who: Who, phase: Phase, remains: Option<ContainerRemains>) -> ConnRecord {
    let client = ([192, 0, 2, 1], 9).into();
    let mut record = ConnRecord::new(ConnId(1), "echo".into(), client);
    record.container = Some("c".repeat(64).into());
    record.launch = Some(LaunchId(5));
    record.daemon = Some(DaemonName::from("one"));
    record.total = Duration::from_secs(1);
    record.end = EndCode { who, phase };
    record.reason = Some("all of it".to_owned());
    record.remains = remains.map(Box::new);
    record
}

#[test]
fn a_launch_is_told_with_its_phase_and_what_the_engine_has_said() {
    let error = LaunchError {
        phase: LaunchPhase::Start,
        hint: Some("`command`: the image has no such program".to_owned()),
        container: Some("d".repeat(64)),
        ..LaunchError::new(Fault::Service, "start failed: no such file")
    };
    let told = observed([
        launch_failed(LaunchError::new(Fault::Full, "others were faster"), None),
        launch_failed(error, None),
    ]);
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((told.phase, told.fault.as_deref()), (FailurePhase::Start, Some("service")));
    assert_eq!(told.error, "start failed: no such file", "and not all of it");
    assert_eq!(told.container.as_deref(), Some("dddddddddddd"));
    assert!(told.hint.as_ref().unwrap().contains("`command`"));
    assert_eq!((told.exit_code, told.launch, told.count), (None, Some(1), 1));
}

#[test]
fn what_ended_in_stock_is_told_as_often_as_it_happened() {
    let left = PostMortem { exit_code: Some(3), log: vec!["bye".into()], ..PostMortem::default() };
    let told = observed([
        ended_in_stock(Some(left.clone()), 0),
        ended_in_stock(Some(left), 4),
        ended_in_stock(None, 0),
        ended_in_stock(
            Some(PostMortem { removed: PostMortem::BY_SOMEBODY, ..PostMortem::default() }),
            0,
        ),
    ]);
    let faults: Vec<_> = told.iter().map(|it| (it.fault.as_deref(), it.count)).collect();
    assert_eq!(faults, [(Some("service"), 6), (None, 1), (Some("unwanted"), 1)]);
    assert_eq!((told[0].error.as_str(), told[0].exit_code), ("exited with code 3", Some(3)));
    assert_eq!((told[0].phase, &told[0].log[..]), (FailurePhase::Stock, &["bye".to_owned()][..]));
    assert_eq!(told[1].error, "died, and its daemon does not say more");
}

#[test]
fn a_container_that_somebody_removed_and_a_daemon_that_is_not_fit_are_failures() {
    let (launch, container) = (LaunchId(1), Some("e".repeat(64).into()));
    let told = observed([
        EventKind::RemovedBeforeReady {
            launch,
            service: "echo".into(),
            daemon: "one".into(),
            container,
        },
        EventKind::ServiceUnfit {
            daemon: "one".into(),
            service: "echo".into(),
            reason: "no such image".into(),
        },
        // Nothing that goes well, or that the lease tells.
        EventKind::Returned { launch, outcome: Outcome::Failed },
        EventKind::FleetEmpty,
    ]);
    let seen: Vec<_> = told.iter().map(|it| (it.phase, it.fault.as_deref().unwrap())).collect();
    assert_eq!(seen, [(FailurePhase::Ready, "unwanted"), (FailurePhase::Pull, "unprepared")]);
    assert_eq!(told[0].container.as_deref(), Some("eeeeeeeeeeee"));
}

#[test]
fn a_lease_has_failed_when_it_was_not_the_client_or_the_operator() {
    let memory = FailureMemory::default();
    let fault = |who, phase| {
        let before = memory.all().len();
        memory.ended(&record(who, phase, None));
        let all = memory.all();
        (all.len() > before).then(|| all.last().unwrap().fault.clone())
    };
    let (service, daemon) = (Some("service".to_owned()), Some("daemon".to_owned()));
    for (who, phase, expected) in [
        (Who::Nobody, Phase::Done, None),
        (Who::Client, Phase::Data, None),
        (Who::ClientTimeout, Phase::Data, None),
        (Who::Operator, Phase::Queue, None),
        (Who::Limit, Phase::Data, None),
        (Who::Limit, Phase::Queue, Some(None)),
        (Who::Death, Phase::Queue, Some(daemon)),
        (Who::Death, Phase::Launch, Some(service.clone())),
        (Who::Death, Phase::Data, Some(None)),
        (Who::Container, Phase::Connect, Some(service.clone())),
        (Who::ContainerTimeout, Phase::Data, Some(service)),
        (Who::Resources, Phase::Connect, Some(None)),
        (Who::Internal, Phase::Data, Some(None)),
    ] {
        assert_eq!(fault(who, phase), expected, "{who:?} {phase:?}");
    }
}

#[test]
fn what_is_known_of_a_container_that_died_under_its_client_is_told() {
    let post_mortem = PostMortem {
        exit_code: Some(137),
        out_of_memory: true,
        log: vec!["ate it all".into()],
        hint: Some("`limits.memory`".to_owned()),
        ..PostMortem::default()
    };
    let remains = ContainerRemains { reason: "the container died".to_owned(), post_mortem };
    let memory = FailureMemory::default();
    memory.ended(&record(Who::Death, Phase::Data, Some(remains.clone())));
    memory.replaced(&ReplacedContainer {
        id: ConnId(2),
        service: "echo".into(),
        client: ([192, 0, 2, 1], 9).into(),
        container: Some("f".repeat(64).into()),
        launch: Some(LaunchId(6)),
        daemon: Some("one".into()),
        after: Duration::ZERO,
        end: EndCode { who: Who::Death, phase: Phase::Data },
        reason: Some("all of it".to_owned()),
        remains: Some(Box::new(remains)),
    });
    let told = memory.all();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((told.count, told.end.as_deref()), (2, Some("DD")));
    assert_eq!((told.launch, told.container.as_deref()), (Some(6), Some("ffffffffffff")));
    assert_eq!((told.exit_code, told.out_of_memory), (Some(137), true));
    assert_eq!((told.error.as_str(), told.log.len()), ("the container died", 1));
    assert_eq!(told.fault.as_deref(), Some("service"));
}
