//! When a network sandbox is used again, against a fake engine.

use std::sync::atomic::AtomicI32;

use super::*;

/// How long background tasks may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine whose holders are what the test says they are.
struct Bed {
    engine: Engine,
    docker: Docker,
    runs: Arc<AtomicBool>,
    /// The id of the holder that is paused.
    paused: Arc<Mutex<String>>,
    /// How a create of a container is refused.
    refused: Arc<Mutex<Option<(u16, &'static str)>>>,
}

// === impl Bed ===

impl Bed {
    /// The first process of every holder is `pid`.
    async fn new(pid: i32) -> Self {
        let (made, runs) = (AtomicI32::new(0), Arc::new(AtomicBool::new(true)));
        let (its, id) = (Arc::clone(&runs), |number: i32| format!("{number:064x}"));
        let paused = Arc::new(Mutex::new("none".to_owned()));
        let still = Arc::clone(&paused);
        let refused = Arc::new(Mutex::new(None));
        let refuses = Arc::clone(&refused);
        let (engine, docker) = connected(Deadlines::default(), move |seen| {
            if seen.line.contains("/create?name=ganger-sandbox-") {
                let id = id(made.fetch_add(1, Ordering::Relaxed));
                return Some(Reply::Json(201, json!({"Id": id, "Warnings": []})));
            }
            if seen.line.contains("/create?name=ganger-echo-")
                && let Some((status, why)) = *refuses.lock()
            {
                return no(status, why);
            }
            if seen.line.starts_with("GET /containers/000") {
                let paused = seen.line.contains(&*still.lock());
                let running = its.load(Ordering::Relaxed);
                let state = json!({"Running": running, "Paused": paused, "Pid": pid});
                let ports = json!({"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]});
                let seen = json!({"State": state, "NetworkSettings": {"Ports": ports}});
                return Some(Reply::Json(200, seen));
            }
            None
        })
        .await;
        Self { engine, docker, runs, paused, refused }
    }

    /// Launches a container; returns the holder whose network it is in.
    async fn launch(&self, launch: u64) -> String {
        self.launch_of(launch, spec()).await
    }

    async fn launch_of(&self, launch: u64, spec: Spec) -> String {
        let sandbox = crate::spec::Sandbox::Pooled;
        let spec = Spec { sandbox, read_only: true, ..spec };
        let order = LaunchOrder { launch: LaunchId(launch), ..order(spec) };
        self.docker.launch(&order).await.unwrap();
        let name = format!("name=ganger-echo-3fa9c1d2-{launch}");
        let create = self.engine.requests(&name).remove(0);
        create.body["HostConfig"]["NetworkMode"].as_str().unwrap().to_owned()
    }

    async fn retire(&self, launch: u64) {
        let key = ContainerKey::Launch(LaunchId(launch));
        let target = Target { daemon: "d".into(), key };
        assert_eq!(self.docker.retire(&target).await.unwrap(), Removal::Gone);
    }

    /// Waits until a background task has made `so` true.
    async fn until(&self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !so(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(in_time, "not in time: {what}: {:#?}", self.engine.requests(""));
    }

    /// Holders that were removed.
    fn removed(&self) -> usize {
        self.engine.requests("DELETE /containers/ganger-sandbox-").len()
    }

    fn free(&self) -> usize {
        self.docker.daemon(&"d".into()).unwrap().sandboxes.free()
    }
}

#[tokio::test]
async fn one_that_is_not_clean_is_not_used_again() {
    let bed = Bed::new(4_000_000).await;
    bed.launch(1).await;
    bed.until("one made ahead", |bed| bed.free() == 1).await;
    bed.runs.store(false, Ordering::Relaxed);
    bed.retire(1).await;
    bed.until("it is removed", |bed| bed.removed() == 1).await;
    assert_eq!(bed.free(), 1);
}

#[tokio::test]
async fn another_process_with_the_number_of_a_holder_s_says_nothing_of_it() {
    // Ours, which listens.
    let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bed = Bed::new(i32::try_from(std::process::id()).unwrap()).await;
    let first = bed.launch(1).await;
    bed.until("one made ahead", |bed| bed.free() == 1).await;
    bed.retire(1).await;
    bed.until("it was looked at", |bed| bed.free() == 2 || bed.removed() > 0).await;
    assert_eq!((bed.free(), bed.removed()), (2, 0));
    assert_eq!(bed.launch(2).await, first, "the last to become free");
}

#[tokio::test]
async fn a_service_is_blamed_only_for_what_fails_in_a_sandbox_of_its_own() {
    let bed = Bed::new(4_000_000).await;
    let first = bed.launch(1).await;
    bed.until("one made ahead", |bed| bed.free() == 1).await;
    bed.retire(1).await;
    bed.until("it is free", |bed| bed.free() == 2).await;
    assert_eq!(bed.launch(2).await, first);
    // The container does not get ready.
    assert_eq!(bed.docker.fault_of(LaunchId(2)), Fault::Daemon);
    bed.retire(2).await;
    bed.until("it is thrown away", |bed| bed.removed() == 1).await;
    assert_ne!(bed.launch(3).await, first);
    assert_eq!(bed.docker.fault_of(LaunchId(3)), Fault::Service);
    bed.retire(3).await;
    bed.until("nor is that used again", |bed| bed.removed() == 2).await;
}

#[tokio::test]
async fn a_daemon_that_has_left_is_known_until_its_sandboxes_are_gone() {
    let bed = Bed::new(4_000_000).await;
    let daemon: DaemonName = "d".into();
    assert!(bed.docker.knows(&daemon) && !bed.docker.knows(&"e".into()));
    bed.launch(1).await;
    bed.retire(1).await;
    bed.docker.forget(&daemon);
    assert!(bed.docker.knows(&daemon), "its name must not be another's yet");
    bed.until("it is emptied", |bed| !bed.docker.knows(&daemon)).await;
    assert!(bed.removed() > 0);
}

#[tokio::test]
async fn one_that_somebody_has_paused_is_not_joined() {
    let bed = Bed::new(4_000_000).await;
    let first = bed.launch(1).await;
    bed.until("one made ahead", |bed| bed.free() == 1).await;
    bed.retire(1).await;
    bed.until("it is free", |bed| bed.free() == 2).await;
    *bed.paused.lock() = first.strip_prefix("container:").unwrap().to_owned();
    assert_ne!(bed.launch(2).await, first);
    bed.until("it is removed", |bed| bed.removed() == 1).await;
}

#[tokio::test]
async fn one_is_run_by_what_its_containers_are_run_by_and_joined_by_no_others() {
    let bed = Bed::new(4_000_000).await;
    let crun = || Spec { runtime: Some("crun".into()), ..spec() };
    let first = bed.launch_of(1, crun()).await;
    bed.until("one made ahead", |bed| bed.free() == 1).await;
    for create in bed.engine.requests("/containers/create") {
        assert_eq!(create.body["HostConfig"]["Runtime"], json!("crun"), "{}", create.line);
    }
    bed.retire(1).await;
    bed.until("it is free", |bed| bed.free() == 2).await;
    let by_another = bed.launch(2).await;
    assert_ne!(by_another, first);
    assert_eq!(bed.launch_of(3, crun()).await, first);
}

#[tokio::test]
async fn holders_that_nobody_looks_after_are_strays() {
    let numbers = Arc::new(Mutex::new(Vec::<(String, Value)>::new()));
    let known = Arc::clone(&numbers);
    let (_engine, docker) = connected(Deadlines::default(), move |seen| {
        let list = seen.line.starts_with("GET /containers/json");
        let holder = |(at, (boot, number)): (usize, &(String, Value))| {
            let mut listed = listed(boot, 1, "running");
            listed["Id"] = json!(at.to_string().repeat(64));
            let number = number.as_str().unwrap();
            listed["Names"] = json!([format!("/ganger-sandbox-{boot}-{number}")]);
            listed["Labels"]["io.ganger.sandbox"] = json!(number);
            listed["Labels"]["io.ganger.service"] = json!("");
            listed["Labels"]["io.ganger.launch"] = json!("");
            listed
        };
        if seen.line.contains("/create?name=ganger-sandbox-") {
            let number = seen.body["Labels"]["io.ganger.sandbox"].clone();
            known.lock().push(("3fa9c1d2".to_owned(), number));
        }
        list.then(|| Reply::Json(200, known.lock().iter().enumerate().map(holder).collect()))
    })
    .await;
    let sandbox = crate::spec::Sandbox::Pooled;
    docker.launch(&order(Spec { sandbox, read_only: true, ..spec() })).await.unwrap();
    let live = numbers.lock()[0].1.clone();
    // An earlier run's, which has the number of one of ours; and one of ours that was given up.
    let strays = [("00000000", live), ("3fa9c1d2", json!("999999"))];
    let strays = strays.map(|(boot, number)| (boot.to_owned(), number));
    numbers.lock().splice(..0, strays);
    let owned = docker.list(&"d".into()).await.unwrap().owned;
    let stray = |at: &str| Owned { key: ContainerKey::Stray(at.repeat(64)), running: true };
    assert_eq!(owned, [stray("0"), stray("1")]);
}

#[tokio::test]
async fn one_in_which_a_launch_failed_is_not_used_again_whoever_was_to_blame() {
    for (status, why) in [(500, "no disk"), (404, "network nonet not found")] {
        let bed = Bed::new(4_000_000).await;
        bed.launch(1).await;
        bed.until("one made ahead", |bed| bed.free() == 1).await;
        *bed.refused.lock() = Some((status, why));
        let sandbox = crate::spec::Sandbox::Pooled;
        let spec = Spec { sandbox, read_only: true, ..spec() };
        let order = LaunchOrder { launch: LaunchId(2), ..order(spec) };
        bed.docker.launch(&order).await.unwrap_err();
        bed.retire(2).await;
        bed.until("it is removed", |bed| bed.removed() == 1).await;
    }
}

#[tokio::test]
async fn one_whose_create_was_given_up_is_removed_when_it_is_made_after_all() {
    let (open, gate) = watch::channel(false);
    // Whether the holder is there, and whether it was removed.
    let state = Arc::new(Mutex::new((false, false)));
    let its = Arc::clone(&state);
    let deadlines = Deadlines { create: SHORT, ..Deadlines::default() };
    let (engine, docker) = connected(deadlines, move |seen| {
        if seen.line.contains("/create?name=ganger-sandbox-") {
            let its = Arc::clone(&its);
            let make = move || {
                its.lock().0 = true;
                Reply::Json(201, json!({"Id": "d".repeat(64), "Warnings": []}))
            };
            return Some(Reply::Held(gate.clone(), Box::new(make)));
        }
        if !seen.line.starts_with("DELETE") {
            return None;
        }
        let (there, removed) = &mut *its.lock();
        *removed |= *there;
        (!std::mem::take(there)).then(|| no(404, "No such container")).flatten()
    })
    .await;
    let sandbox = crate::spec::Sandbox::Pooled;
    let order = order(Spec { sandbox, read_only: true, ..spec() });
    let error = docker.launch(&order).await.unwrap_err();
    assert!(error.message.contains("did not answer create"), "{}", error.message);
    let until = async |so: &dyn Fn() -> bool| {
        let wait = async {
            while !so() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it is asked for again");
    };
    until(&|| !engine.requests("DELETE").is_empty()).await;
    open.send(true).unwrap();
    until(&|| state.lock().1).await;
}

#[tokio::test]
async fn a_holder_may_do_nothing_but_wait() {
    let bed = Bed::new(4_000_000).await;
    bed.launch(1).await;
    let create = bed.engine.requests("/create?name=ganger-sandbox-").remove(0);
    let may = &create.body["HostConfig"];
    assert_eq!((&may["ReadonlyRootfs"], &may["CapDrop"]), (&json!(true), &json!(["ALL"])));
    assert!(may["Memory"].as_u64().is_some_and(|bytes| (1..=16 << 20).contains(&bytes)), "{may}");
    assert!(may["PidsLimit"].as_u64().is_some_and(|pids| (1..=8).contains(&pids)), "{may}");
}

#[tokio::test]
async fn one_that_nobody_has_wanted_for_a_while_is_removed() {
    let bed = Bed::new(4_000_000).await;
    bed.launch(1).await;
    bed.until("one made ahead", |bed| bed.free() == 1).await;
    bed.docker.list(&"d".into()).await.unwrap();
    assert_eq!(bed.free(), 1, "somebody may want it");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    bed.docker.list(&"d".into()).await.unwrap();
    bed.until("it is removed", |bed| bed.removed() == 1).await;
    assert_eq!(bed.free(), 0);
}
