//! Who has which sandbox, and when one is nobody's.

use futures_util::FutureExt;

use super::*;

fn kind(port: u16) -> SandboxKind {
    SandboxKind { network: Network::Sealed, publish: None, port, runtime: None }
}

fn sandbox(sandboxes: &Sandboxes, port: u16) -> NetworkSandbox {
    let number = sandboxes.begin(Holds::Network);
    NetworkSandbox::new(number, format!("id-{number}"), kind(port))
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_has_one_container_at_a_time() {
    let sandboxes = Sandboxes::default();
    assert!(sandboxes.lacks(&kind(80)) && !sandboxes.lacks(&kind(80)), "one is coming");
    assert!(sandboxes.lacks(&kind(81)));
    sandboxes.came(&kind(80));
    sandboxes.give_back(sandbox(&sandboxes, 80)).unwrap();
    sandboxes.came(&kind(81));
    assert_eq!(sandboxes.take(LaunchId(1), &kind(81)), None);
    let first = sandboxes.take(LaunchId(1), &kind(80)).unwrap();
    assert_eq!(sandboxes.take(LaunchId(2), &kind(80)), None);
    assert_eq!(sandboxes.taken().into_values().collect::<Vec<_>>(), [LaunchId(1)]);
    let sandbox = sandboxes.release(LaunchId(1)).unwrap();
    assert_eq!(sandboxes.take(LaunchId(2), &kind(80)), None, "until it was looked at");
    assert!(sandboxes.live().contains(&sandbox.number), "and is no stray all the time");
    sandboxes.give_back(sandbox).unwrap();
    assert_eq!(sandboxes.take(LaunchId(2), &kind(80)), Some(first));
    let sandbox = sandboxes.release(LaunchId(2)).unwrap();
    assert_eq!(sandbox.uses, 2);
    sandboxes.close();
    let number = sandboxes.give_back(sandbox).unwrap_err().number;
    let unreachable = |error: &CallError| error.unreachable;
    let none = sandboxes.until_none(unreachable);
    tokio::pin!(none);
    assert!((&mut none).now_or_never().is_none());
    sandboxes.fail(number, CallError::refused("busy"));
    assert!((&mut none).now_or_never().is_none());
    sandboxes.fail(number, CallError::unreachable("away"));
    none.await;
    assert_eq!(sandboxes.left().unwrap(), "a sandbox: away");
    sandboxes.forget(number);
    sandboxes.until_none(|_| false).await;
    assert_eq!(sandboxes.left(), None);
}

#[tokio::test(start_paused = true)]
async fn one_in_which_a_launch_failed_is_not_used_again_nor_those_used_like_it() {
    let sandboxes = Sandboxes::default();
    for port in [80, 80, 80, 81] {
        sandboxes.give_back(sandbox(&sandboxes, port)).unwrap();
    }
    let [first, second, other] = [80, 80, 81].map(|port| {
        let launch = LaunchId(u64::from(port));
        let id = sandboxes.take(launch, &kind(port)).unwrap();
        let used = sandboxes.release(launch).unwrap();
        // Each by itself: the last to become free is taken first.
        (id, used)
    });
    let fresh = sandboxes.take(LaunchId(1), &kind(80)).unwrap();
    assert!(sandboxes.spoil(LaunchId(1)).is_none(), "nobody had used it before");
    assert!(!sandboxes.release(LaunchId(1)).unwrap().is_fit());
    assert!(first.0 != second.0 && fresh != first.0 && fresh != second.0);

    for (_, used) in [first, second, other] {
        assert!(used.is_fit());
        sandboxes.give_back(used).unwrap();
    }
    sandboxes.give_back(sandbox(&sandboxes, 80)).unwrap();
    // The fresh one.
    sandboxes.take(LaunchId(2), &kind(80)).unwrap();
    sandboxes.take(LaunchId(3), &kind(80)).unwrap();
    let used = sandboxes.spoil(LaunchId(3)).unwrap();
    assert_eq!((used.len(), used[0].uses), (1, 1));
    assert_eq!(sandboxes.take(LaunchId(4), &kind(80)), None);
    assert!(sandboxes.take(LaunchId(4), &kind(81)).is_some(), "others are another kind");
    assert!(!sandboxes.release(LaunchId(3)).unwrap().is_fit());
    assert!(sandboxes.release(LaunchId(2)).unwrap().is_fit());
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_wants_goes() {
    let sandboxes = Sandboxes::default();
    for _ in 0..2 {
        sandboxes.give_back(sandbox(&sandboxes, 80)).unwrap();
    }
    tokio::time::advance(IDLE - Duration::from_secs(1)).await;
    let last = sandboxes.take(LaunchId(1), &kind(80)).unwrap();
    sandboxes.give_back(sandboxes.release(LaunchId(1)).unwrap()).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let idle = sandboxes.idle();
    assert_eq!(idle.len(), 1);
    assert_ne!(idle[0].id, last);
    assert_eq!(sandboxes.close().len(), 1);
    assert!(!sandboxes.lacks(&kind(80)));
}
