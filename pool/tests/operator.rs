//! Orders of an operator to a pool, carried out on a fake engine.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/log.rs"]
mod log;

use std::time::Duration;

use bed::{Bed, clean, service};
use ganger_pool::core::{
    AdminState, DaemonName, LaunchId, OrderError, Policy, Refusal, RetireReason, Retirement, State,
};
use ganger_pool::testing::{Gate, Op};
use log::Log;

fn policy(warm: u32) -> Policy {
    Policy { warm, max: 16, ..Policy::default() }
}

fn daemon(name: &str) -> DaemonName {
    name.into()
}

#[tokio::test(start_paused = true)]
async fn a_daemon_is_emptied_under_load_and_used_again() {
    let (log, _guard) = Log::listen();
    let bed = Bed::new(policy(4), &[8, 8]);
    bed.stocked().await;
    let leases = [bed.lease().await.unwrap(), bed.lease().await.unwrap()];
    let name = leases[0].daemon().clone();
    assert_eq!(bed.pool.set_daemon_state(&name, AdminState::Drain), Ok(true));
    assert_eq!(bed.pool.set_daemon_state(&name, AdminState::Drain), Ok(false));
    bed.stocked().await;
    let here = leases.iter().filter(|lease| *lease.daemon() == name).count();
    let drained = |snapshot: &ganger_pool::core::Snapshot| {
        snapshot.daemon(name.as_str()).map(|view| (view.admin, view.held() as usize))
    };
    bed.until(|s| drained(s) == Some((AdminState::Drain, here))).await;
    assert_eq!(bed.engine.real(name.as_str()).len(), here, "what is leased goes on");
    leases.into_iter().for_each(clean);
    bed.until(|s| drained(s) == Some((AdminState::Drain, 0))).await;
    for _ in 0..4 {
        let lease = bed.lease().await.unwrap();
        assert_ne!(*lease.daemon(), name);
        clean(lease);
    }
    assert_eq!(bed.pool.set_daemon_state(&name, AdminState::Ready), Ok(true));
    // The stock is spread over both again.
    bed.until(|s| s.daemon(name.as_str()).unwrap().counts[State::Idle] > 0).await;
    let lines = log.lines("the operator has set");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(" INFO ") && lines[0].contains("state=drain"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn maintenance_makes_the_loss_of_contact_no_warning() {
    let (log, _guard) = Log::listen();
    let bed = Bed::new(policy(1), &[4, 4]);
    bed.stocked().await;
    bed.pool.set_daemon_state(&daemon("d1"), AdminState::Maint).unwrap();
    for name in ["d1", "d2"] {
        for op in [Op::Connect, Op::List] {
            bed.engine.gate(name, op, Gate::Err);
        }
    }
    bed.until(|s| s.daemons.iter().all(|daemon| daemon.down.is_some())).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let level = |line: &String| line.split_whitespace().next().map(str::to_owned);
    let levels = |what: &str| log.lines(what).iter().filter_map(level).collect::<Vec<_>>();
    assert_eq!(levels("contact lost during maintenance"), ["INFO"]);
    for line in log.lines("WARN") {
        assert!(!line.contains("d1"), "{line}");
    }
    assert!(levels("contact lost").contains(&"WARN".to_owned()), "that of the other is one");
    // Contact is still tried, and the daemon is used when the operator says so.
    for op in [Op::Connect, Op::List] {
        bed.engine.gate("d1", op, Gate::Ok);
    }
    bed.until(|s| s.daemons[0].down.is_none()).await;
    assert!(matches!(bed.lease().await, Err(Refusal::NoDaemon { .. })));
    bed.pool.set_daemon_state(&daemon("d1"), AdminState::Ready).unwrap();
    assert_eq!(*bed.lease().await.unwrap().daemon(), daemon("d1"));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_daemons_that_are_all_drained() {
    let bed = Bed::new(Policy { reuse: 3, max: 2, ..policy(0) }, &[2]);
    let (lease, other) = (bed.lease().await.unwrap(), bed.lease().await.unwrap());
    let waiter = bed.queue();
    bed.waiting(1).await;
    bed.pool.set_daemon_state(&daemon("d1"), AdminState::Drain).unwrap();
    let reason = "every daemon is being drained by the operator";
    let refused = Refusal::NoDaemon { reason: reason.into() };
    assert_eq!(waiter.await.unwrap().unwrap_err(), refused);
    [lease, other].into_iter().for_each(clean);
    assert_eq!(bed.lease().await.unwrap_err(), refused);
    bed.until(|s| s.empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_is_drained_and_served_again() {
    let bed = Bed::new(policy(2), &[4]);
    bed.stocked().await;
    let lease = bed.lease().await.unwrap();
    bed.stocked().await;
    assert_eq!(bed.pool.set_service_state(&service(), AdminState::Drain), Ok(true));
    let refusal = Refusal::Operator { state: AdminState::Drain };
    assert_eq!(bed.lease().await.unwrap_err(), refusal);
    bed.until(|s| s.services[0].counts.total() == 1).await;
    // A reload that keeps the service keeps its state.
    bed.pool.reload(vec![bed::options(policy(3))]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let view = bed.pool.service(&service()).unwrap();
    assert_eq!((view.admin, view.counts[State::Leased]), (AdminState::Drain, 1));
    clean(lease);
    bed.until(|s| s.empty()).await;
    assert_eq!(bed.pool.set_service_state(&service(), AdminState::Ready), Ok(true));
    bed.until(|s| s.services[0].counts[State::Idle] == 3).await;
    clean(bed.lease().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_has_no_state() {
    let bed = Bed::new(policy(1), &[4]);
    let name = daemon("d9");
    let unknown = OrderError::UnknownDaemon(name.clone());
    assert_eq!(unknown.to_string(), "there is no daemon d9");
    assert_eq!(bed.pool.set_daemon_state(&name, AdminState::Drain), Err(unknown));
    bed.pool.reload(Vec::new());
    let unknown = OrderError::UnknownService(service());
    assert_eq!(bed.pool.set_service_state(&service(), AdminState::Drain), Err(unknown));
}

#[tokio::test(start_paused = true)]
async fn a_container_is_retired_by_order() {
    let (log, _guard) = Log::listen();
    let bed = Bed::new(Policy { reuse: 9, ..policy(2) }, &[8]);
    bed.stocked().await;
    let lease = bed.lease().await.unwrap();
    bed.stocked().await;
    let all = bed.pool.containers();
    let stock = all.iter().find(|view| view.state == State::Idle).unwrap().launch;
    assert_eq!(bed.pool.retire(stock), Retirement::AtOnce);
    assert_eq!(bed.pool.retire(lease.launch()), Retirement::AfterLease);
    assert_eq!(bed.pool.retire(lease.launch()), Retirement::UnderWay);
    assert_eq!(bed.pool.retire(LaunchId(999)), Retirement::Unknown);
    assert_eq!(log.lines("the operator has ordered the container to be retired").len(), 2);
    let retired = |n| {
        move |s: &ganger_pool::core::Snapshot| {
            s.services[0].totals.retired.get(&RetireReason::Operator) == Some(&n)
        }
    };
    bed.until(retired(1)).await;
    clean(lease);
    bed.until(retired(2)).await;
    bed.until(|s| s.stocked() && s.services[0].counts.total() == 2).await;
    let left: Vec<_> = bed.pool.containers().iter().map(|view| view.launch).collect();
    assert!(!left.contains(&stock), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn all_containers_are_told_of_however_many_there_are() {
    let many = 700;
    let bed = Bed::new(Policy { warm: many, max: many, ..policy(0) }, &[many]);
    bed.stocked().await;
    let launches: Vec<_> = bed.pool.containers().iter().map(|view| view.launch).collect();
    assert!(launches.is_sorted_by(|one, next| one < next));
    assert_eq!(launches.len(), many as usize);
}
