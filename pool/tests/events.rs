//! Observers are told what happens in a pool.

#[path = "support/bed.rs"]
mod bed;

use std::sync::Arc;
use std::time::Duration;

use bed::{Bed, clean, daemon, options, service};
use ganger_pool::core::{LaunchId, Outcome, Policy, Refusal, State};
use ganger_pool::discovery::fixed;
use ganger_pool::runtime::LaunchPhase;
use ganger_pool::testing::{FakeEngine, Gate, Op};
use ganger_pool::{Change, EventKind, History, Lease, Observer, Pool, PoolEvent};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Keeps everything.
#[derive(Default)]
struct Notes(Mutex<Vec<PoolEvent>>);

impl Observer for Notes {
    fn observe(&self, event: &PoolEvent) {
        self.0.lock().push(event.clone());
    }
}

impl Notes {
    /// In the order in which they happened.
    fn all(&self) -> Vec<PoolEvent> {
        let mut events = self.0.lock().clone();
        events.sort_by_key(|event| event.number);
        events
    }

    /// The events of one container, in short.
    fn of(&self, launch: LaunchId) -> Vec<String> {
        let events = self.all().into_iter().filter(|event| event.kind.launch() == Some(launch));
        events.map(|event| short(&event.kind)).collect()
    }

    /// The events about no container, in short.
    fn others(&self) -> Vec<String> {
        let events = self.all().into_iter().filter(|event| event.kind.launch().is_none());
        events.map(|event| short(&event.kind)).collect()
    }
}

fn short(kind: &EventKind) -> String {
    match kind {
        EventKind::StateChanged { from, to, .. } => format!("{from} > {to}"),
        EventKind::Granted { start, uses, .. } => format!("granted {start} {uses}"),
        EventKind::Returned { outcome, .. } => format!("returned {outcome:?}"),
        EventKind::Retiring { reason, .. } => format!("retiring {reason}"),
        EventKind::Removed { reason, .. } => format!("removed {reason}"),
        EventKind::Refused { refusal, .. } => format!("refused {}", refusal.kind()),
        EventKind::ServiceChanged { service, change } => format!("{service}: {change:?}"),
        EventKind::ContactMade { daemon, .. } => format!("{daemon} answers"),
        EventKind::ContactLost { daemon, .. } => format!("{daemon} lost"),
        EventKind::ContactFailed { daemon, again, .. } => format!("{daemon} failed {again}"),
        EventKind::DaemonJoined { daemon, .. } => format!("{daemon} joined"),
        other => {
            let text = format!("{other:?}");
            text.split(' ').next().unwrap_or_default().to_owned()
        }
    }
}

fn observed(policy: Policy) -> (Bed, Arc<Notes>, Arc<History>) {
    let engine = FakeEngine::new(7);
    let (notes, history) = (Arc::new(Notes::default()), Arc::new(History::default()));
    let pool = Pool::start_observed(
        vec![options(policy)],
        engine.clone(),
        engine.probe(),
        fixed(vec![daemon("d1", 4)]),
        vec![notes.clone(), history.clone()],
    );
    (Bed { engine, pool: Arc::new(pool) }, notes, history)
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_container_is_told_in_the_order_in_which_it_happened() {
    let (bed, notes, history) = observed(Policy { reuse: 1, max: 1, ..Policy::default() });
    let mut launches = Vec::new();
    for _ in 0..2 {
        let lease = bed.lease().await.unwrap();
        launches.push(lease.launch());
        clean(lease);
        bed.stocked().await;
    }
    assert_eq!(launches[0], launches[1]);
    let life = notes.of(launches[0]);
    assert_eq!(
        life,
        [
            "LaunchOrdered",
            "removed > launching",
            "launching > probing",
            "LaunchReady",
            "probing > idle",
            "idle > leased",
            "granted cold 1",
            "returned Clean",
            "leased > checking",
            "checking > idle",
            "idle > leased",
            "granted reused 2",
            "returned Clean",
            "leased > retiring",
            "retiring spent",
            "retiring > removed",
            "removed spent",
        ]
    );
    let kept: Vec<_> = history.container(launches[0]).iter().map(|e| short(&e.kind)).collect();
    assert_eq!(kept, life);
    let numbers: Vec<_> = notes.all().iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "each has one of its own");
}

#[tokio::test(start_paused = true)]
async fn contact_and_refusals_are_told_whoever_refuses() {
    let (bed, notes, _) =
        observed(Policy { warm: 1, max: 1, queue_length: 0, ..Policy::default() });
    bed.stocked().await;
    let lease = bed.lease().await.unwrap();
    // A client has the only container, and nobody may wait.
    assert_eq!(bed.lease().await.unwrap_err(), Refusal::QueueFull);
    let deadline = Instant::now() + Duration::from_secs(1);
    assert_eq!(
        bed.pool.lease(&"nobody's".into(), deadline).await.unwrap_err(),
        Refusal::UnknownService
    );
    bed.engine.gate("d1", Op::List, Gate::Err);
    bed.until(|s| s.daemons[0].down.is_some()).await;
    bed.engine.gate("d1", Op::List, Gate::Ok);
    bed.until(|s| s.daemons[0].down.is_none()).await;
    bed.pool.reload(Vec::new());
    Lease::finish(lease, Outcome::Failed);
    bed.until(|s| s.empty()).await;
    bed.pool.drain();
    assert_eq!(bed.lease().await.unwrap_err(), Refusal::UnknownService);
    let expected = [
        "echo: Added",
        "d1 joined",
        "d1 answers",
        "refused queue_full",
        "refused unknown_service",
        "d1 lost",
        "d1 answers",
        "echo: Removed",
        "refused unknown_service",
    ];
    // Tasks of their own, in whatever order.
    let aside = ["ListFailed", "Listed", "ServicePrepared"];
    let (others, told): (Vec<_>, Vec<_>) =
        notes.others().into_iter().partition(|told| aside.contains(&told.as_str()));
    assert_eq!(told, expected);
    assert!(aside.iter().all(|aside| others.iter().any(|other| other == aside)), "{others:?}");
    assert!(matches!(
        notes.all().iter().find(|event| event.kind.service() == Some(&service())).unwrap().kind,
        EventKind::ServiceChanged { change: Change::Added, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_in_parts_and_in_one_text() {
    let (bed, notes, _) = observed(Policy { warm: 1, ..Policy::default() });
    bed.engine.gate("d1", Op::Ready, Gate::Err);
    bed.until(|s| s.services[0].failing.is_some()).await;
    let kinds = || notes.all().into_iter().map(|event| event.kind);
    let failed = kinds().find_map(|kind| match kind {
        EventKind::LaunchFailed { reason, findings, .. } => Some((reason, findings)),
        _ => None,
    });
    let (reason, findings) = failed.unwrap();
    assert_eq!(findings.phase, LaunchPhase::Ready);
    let post_mortem = findings.post_mortem.as_ref().unwrap();
    assert_eq!(post_mortem.log, ["last words"]);
    assert_eq!(*reason, *format!("{}; {post_mortem}", findings.error));
    assert!(!findings.error.contains("last words"), "{}", findings.error);

    bed.engine.gate("d1", Op::Ready, Gate::Ok);
    bed.stocked().await;
    let mut all = bed.pool.containers_and_handles().into_iter();
    let (_, handle) = all.find(|(it, _)| it.state == State::Idle).unwrap();
    bed.engine.kill(&handle.unwrap(), true);
    bed.until(|s| !s.stocked()).await;
    bed.stocked().await;
    let ended = kinds().find_map(|kind| match kind {
        EventKind::EndedInStock { post_mortem, .. } => post_mortem,
        _ => None,
    });
    let post_mortem = ended.unwrap();
    assert_eq!(
        (post_mortem.exit_code, &post_mortem.log[..]),
        (Some(3), &["last words".to_owned()][..])
    );
}
