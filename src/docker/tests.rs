//! The adapter against a fake engine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ganger_pool::core::{Generation, LaunchId};
use ganger_pool::runtime::{ContainerKey, Fault, RuntimeEvent};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::fake::{Engine, Reply, Seen};
use super::*;
use crate::reach::{Backend, Fate};
use crate::spec::{Env, Limits};

mod backend;
mod copy;
mod faults;
mod ignored;
mod labels;
mod moving;
mod networks;
mod places;
mod podman;
mod post_mortem;
mod preflight;
mod ready;
mod sandboxes;
mod secrets;
mod strays;

const SHORT: Duration = Duration::from_millis(50);

fn identity() -> Identity {
    Identity { instance: "edge-1".into(), boot: "3fa9c1d2".into() }
}

fn spec() -> Spec {
    Spec { reach: Reach::Published, network: Network::Bridge, ..Spec::new("demo", 7000) }
}

fn order(spec: Spec) -> LaunchOrder<Spec> {
    LaunchOrder {
        launch: LaunchId(7),
        daemon: "d".into(),
        service: "echo".into(),
        generation: Generation(3),
        spec: Arc::new(spec),
        max_containers: 2,
    }
}

fn target() -> Target {
    Target { daemon: "d".into(), key: ContainerKey::Launch(LaunchId(7)) }
}

fn no(status: u16, message: &str) -> Option<Reply> {
    Some(Reply::Json(status, json!({ "message": message })))
}

/// A container of ours, or of an earlier run's, in a list.
fn listed(boot: &str, launch: u64, state: &str) -> Value {
    json!({
        "Id": "c".repeat(64),
        "Names": [format!("/ganger-echo-{boot}-{launch}")],
        "State": state,
        "Labels": {
            "io.ganger.instance": "edge-1",
            "io.ganger.boot": boot,
            "io.ganger.service": "echo",
            "io.ganger.generation": "3",
            "io.ganger.launch": format!("{boot}-{launch}"),
            "io.ganger.sandbox": "",
            "io.ganger.deadline": "",
        },
    })
}

/// An adapter that is connected to a fake engine, which has no containers here.
async fn connected(
    deadlines: Deadlines,
    answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
) -> (Engine, Docker) {
    let engine = Engine::start(answer);
    let docker = Docker::with_deadlines(identity(), Vec::new(), deadlines);
    let publish_on = Some(std::net::Ipv4Addr::LOCALHOST.into());
    let site = Site { endpoint: engine.endpoint(), publish_on };
    let facts = docker.connect(&"d".into(), &site).await.unwrap();
    assert_eq!(facts, DaemonFacts { version: "20.10.24".into(), cpus: 2 });
    (engine, docker)
}

#[tokio::test]
async fn a_create_asks_for_what_the_spec_says_and_no_more() {
    let (engine, docker) = connected(Deadlines::default(), |_| None).await;
    let full = Spec {
        command: Some(vec!["/echo".into()]),
        env: Env([("KEY".to_owned(), "value".to_owned())].into_iter().collect()),
        limits: Limits { memory: Some(64 << 20), cpus: Some(0.5), pids: Some(64), ..Limits::NONE },
        user: Some("65534".into()),
        read_only: true,
        tmpfs: [("/tmp".to_owned(), "size=16m".to_owned())].into_iter().collect(),
        capabilities: vec!["NET_BIND_SERVICE".into()],
        mounts: vec![Mount { source: "/srv".into(), target: "/data".into(), read_only: true }],
        runtime: Some("runc".into()),
        ..spec()
    };
    let order = order(full);
    docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap();
    let container = docker.launch(&order).await.unwrap();
    assert!(matches!(container.address(), Address::Published(at) if at.port() == 32768));

    let create = engine.requests("/containers/create").remove(0);
    assert_eq!(create.line, "POST /containers/create?name=ganger-echo-3fa9c1d2-7&platform=");
    assert_eq!(create.version, "41", "the version is named");
    let expected = json!({
        "Image": "sha256:pinned",
        "Cmd": ["/echo"],
        "Env": ["KEY=value"],
        "User": "65534",
        "ExposedPorts": {"7000/tcp": {}},
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            "io.ganger.instance": "edge-1",
            "io.ganger.boot": "3fa9c1d2",
            "io.ganger.service": "echo",
            "io.ganger.generation": "3",
            "io.ganger.launch": "3fa9c1d2-7",
            "io.ganger.sandbox": "",
            "io.ganger.deadline": "",
        },
        "HostConfig": {
            "NetworkMode": "bridge",
            "PortBindings": {"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_BIND_SERVICE"],
            "SecurityOpt": ["no-new-privileges"],
            "Memory": 67_108_864,
            "MemorySwap": 67_108_864,
            "NanoCpus": 500_000_000,
            "PidsLimit": 64,
            "OomScoreAdj": 500,
            "ReadonlyRootfs": true,
            "Tmpfs": {"/tmp": "size=16m"},
            "Mounts": [{"Type": "bind", "Source": "/srv", "Target": "/data", "ReadOnly": true}],
            "Runtime": "runc",
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "512k", "max-file": "2"}},
        },
    });
    assert_eq!(create.body, expected, "{:#}", create.body);
}

#[tokio::test]
async fn a_container_s_deadline_is_by_the_engine_s_clock() {
    let (engine, docker) = connected(Deadlines::default(), |_| None).await;
    let overdue_after = Some(Duration::from_secs(3600));
    docker.launch(&order(Spec { overdue_after, ..spec() })).await.unwrap();
    let create = engine.requests("/containers/create").remove(0);
    let deadline = create.body["Labels"]["io.ganger.deadline"].as_str().unwrap();
    let after = deadline.parse::<u64>().unwrap() - 1_234_567_890;
    assert!((3600..3660).contains(&after), "{deadline}");
}

#[tokio::test]
async fn a_refused_start_names_the_setting_and_leaves_removal_to_the_pool() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.ends_with("/start").then(|| no(404, "network nonet not found")).flatten()
    })
    .await;
    let error = docker.launch(&order(spec())).await.unwrap_err();
    assert_eq!(error.fault, Fault::Service);
    assert!(error.message.contains("`network`"), "{}", error.message);
    assert_eq!(error.phase, LaunchPhase::Start);
    assert_eq!(error.hint.as_deref(), Some("`network`: the daemon has none so"));
    assert_eq!(error.container, Some("c".repeat(64)));
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
    let removal = &engine.requests("DELETE")[0].line;
    assert!(removal.starts_with("DELETE /containers/ganger-echo-3fa9c1d2-7?"), "{removal}");
    assert!(removal.contains("force=true") && removal.contains("v=true"), "{removal}");
}

#[tokio::test]
async fn an_image_that_was_pruned_is_looked_up_again_once() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.contains("/create").then(|| no(404, "No such image: sha256:pinned")).flatten()
    })
    .await;
    let order = order(spec());
    docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap();
    let error = docker.launch(&order).await.unwrap_err();
    assert_eq!(error.fault, Fault::Daemon);
    assert_eq!(engine.requests("/create").len(), 2);
    assert_eq!(engine.requests("GET /images/demo:latest/json").len(), 2);
}

#[tokio::test]
async fn a_create_that_comes_to_life_after_its_deadline_is_removed() {
    let (open, gate) = watch::channel(false);
    let containers = Arc::new(Mutex::new(Vec::<Value>::new()));
    let engine_side = Arc::clone(&containers);
    let deadlines = Deadlines { create: SHORT, ..Deadlines::default() };
    let (engine, docker) = connected(deadlines, move |seen| {
        let containers = Arc::clone(&engine_side);
        if seen.line.contains("/create") {
            let create = Box::new(move || {
                containers.lock().push(listed("3fa9c1d2", 7, "created"));
                Reply::Json(201, json!({"Id": "c".repeat(64), "Warnings": []}))
            });
            return Some(Reply::Held(gate.clone(), create));
        }
        if seen.line.starts_with("DELETE") {
            let found = containers.lock().pop();
            return found.is_none().then(|| no(404, "No such container")).flatten();
        }
        let list = seen.line.starts_with("GET /containers/json");
        list.then(|| Reply::Json(200, Value::Array(containers.lock().clone())))
    })
    .await;
    let order = order(spec());
    docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap();
    let error = docker.launch(&order).await.unwrap_err();
    assert_eq!(error.fault, Fault::Daemon);
    assert!(error.message.contains("did not answer create within 50ms"), "{}", error.message);

    // The list does not show the container, and yet it may come.
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Pending);
    open.send(true).unwrap();
    while docker.retire(&target()).await.unwrap() == Removal::Pending {
        tokio::task::yield_now().await;
    }
    assert!(containers.lock().is_empty(), "what came to life was removed");
    assert!(engine.requests("/start").is_empty(), "and never started");
}

#[tokio::test]
async fn a_removal_in_progress_is_not_the_end_of_it() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        if seen.line.starts_with("DELETE") {
            return no(409, "removal of container x is already in progress");
        }
        let list = seen.line.starts_with("GET /containers/json");
        list.then(|| Reply::Json(200, json!([listed("3fa9c1d2", 7, "removing")])))
    })
    .await;
    docker.launch(&order(spec())).await.unwrap();
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Pending);
}

#[tokio::test]
async fn one_that_somebody_renamed_is_removed_by_its_id() {
    let gone = std::sync::atomic::AtomicBool::new(false);
    let (_engine, docker) = connected(Deadlines::default(), move |seen| {
        let id = "c".repeat(64);
        if seen.line.starts_with(&format!("DELETE /containers/{id}")) {
            gone.store(true, std::sync::atomic::Ordering::Relaxed);
            return None;
        }
        if seen.line.starts_with("DELETE") {
            return no(404, "No such container");
        }
        let there = !gone.load(std::sync::atomic::Ordering::Relaxed);
        let list = seen.line.starts_with("GET /containers/json") && there;
        let mut renamed = listed("3fa9c1d2", 7, "running");
        renamed["Names"] = json!(["/another"]);
        list.then(|| Reply::Json(200, json!([renamed])))
    })
    .await;
    docker.launch(&order(spec())).await.unwrap();
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
}

#[tokio::test]
async fn a_removal_that_fails_says_why() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        if seen.line.starts_with("DELETE") {
            return no(500, "tried to kill container, but did not receive an exit event");
        }
        let list = seen.line.starts_with("GET /containers/json");
        list.then(|| Reply::Json(200, json!([listed("3fa9c1d2", 7, "running")])))
    })
    .await;
    docker.launch(&order(spec())).await.unwrap();
    let error = docker.retire(&target()).await.unwrap_err();
    assert!(error.message.contains("exit event") && !error.unreachable, "{error:?}");
}

#[tokio::test]
async fn what_the_engine_never_heard_of_needs_no_engine_to_be_gone() {
    let (engine, docker) = connected(Deadlines::default(), |_| None).await;
    let order = order(spec());
    docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap();
    drop(engine);
    let error = docker.launch(&order).await.unwrap_err();
    assert_eq!(error.fault, Fault::Daemon);
    assert!(error.message.contains("no container engine at unix://"), "{}", error.message);
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
    assert!(docker.list(&"d".into()).await.unwrap_err().unreachable);
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    let deadlines = Deadlines { list: SHORT, ..Deadlines::default() };
    let (_engine, docker) = connected(deadlines, |seen| {
        seen.line.starts_with("GET /containers/json").then_some(Reply::Stalled)
    })
    .await;
    let error = docker.list(&"d".into()).await.unwrap_err();
    assert!(error.unreachable && error.message.contains("within 50ms"), "{error:?}");

    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        let list = seen.line.starts_with("GET /containers/json");
        list.then(|| Reply::Truncated("[{\"Id\": \"a\"}".into()))
    })
    .await;
    assert!(docker.list(&"d".into()).await.unwrap_err().unreachable);
}

#[tokio::test]
async fn the_list_tells_this_run_from_earlier_ones() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.starts_with("GET /containers/json").then(|| {
            let mut odd = listed("", 8, "configured");
            odd["Id"] = json!("odd");
            odd["Ports"] = json!([{"PublicPort": 1e9}]);
            Reply::Json(
                200,
                json!([listed("3fa9c1d2", 7, "running"), listed("00000000", 7, "paused"), odd]),
            )
        })
    })
    .await;
    let owned = docker.list(&"d".into()).await.unwrap().owned;
    let expected = [
        Owned { key: ContainerKey::Launch(LaunchId(7)), running: true },
        Owned { key: ContainerKey::Stray("c".repeat(64)), running: false },
        Owned { key: ContainerKey::Stray("odd".into()), running: false },
    ];
    assert_eq!(owned, expected);
    let list = &engine.requests("/containers/json")[0].line;
    // Containers of other instances are counted, too.
    let filter = "filters=%7B%22label%22%3A%5B%22io.ganger.instance%22%5D%7D";
    assert!(list.contains("all=1") && list.ends_with(filter), "{list}");
}

#[tokio::test]
async fn what_others_have_counts_and_is_not_started_beside_when_it_is_too_much() {
    let neighbour = || {
        let mut one = listed("77777777", 1, "running");
        one["Labels"]["io.ganger.instance"] = json!("edge-2");
        one
    };
    let crowded = Arc::new(AtomicBool::new(false));
    let full = crowded.clone();
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        seen.line.starts_with("GET /containers/json").then(|| {
            let others = if full.load(Ordering::Relaxed) { 2 } else { 1 };
            let mut all = vec![listed("3fa9c1d2", 7, "created")];
            all.extend((0..others).map(|_| neighbour()));
            Reply::Json(200, json!(all))
        })
    })
    .await;
    let listing = docker.list(&"d".into()).await.unwrap();
    assert_eq!((listing.owned.len(), listing.others), (1, 1));
    // There is room for both.
    docker.launch(&order(spec())).await.unwrap();
    assert_eq!(engine.requests("/start").len(), 1);

    crowded.store(true, Ordering::Relaxed);
    let error = docker.launch(&order(spec())).await.unwrap_err();
    assert_eq!(error.fault, Fault::Full);
    assert!(error.message.ends_with("holds 3 containers of all instances, and may hold 2"));
    assert_eq!(engine.requests("/start").len(), 1, "it was created, and must not be started");
}

#[tokio::test]
async fn only_what_bears_our_label_is_removed_as_a_stray() {
    let (engine, docker) = connected(Deadlines::default(), |_| None).await;
    let stray = |id: String| Target { daemon: "d".into(), key: ContainerKey::Stray(id) };
    // The list, filtered by label, does not show it.
    assert_eq!(docker.retire(&stray("f".repeat(64))).await.unwrap(), Removal::Gone);
    assert!(docker.retire(&stray("../images".into())).await.is_err());
    assert!(engine.requests("DELETE").is_empty());
}

#[tokio::test]
async fn a_stream_of_events_that_breaks_says_so_after_what_it_said() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.starts_with("GET /events").then(|| {
            let labels = json!({
                "name": "ganger-echo-3fa9c1d2-7",
                "io.ganger.instance": "edge-1",
                "io.ganger.service": "echo",
                "io.ganger.launch": "3fa9c1d2-7",
            });
            let actor = json!({"ID": "c", "Attributes": labels});
            let event = json!({"Type": "container", "Action": "die", "Actor": actor});
            Reply::Truncated(format!("{event}\n"))
        })
    })
    .await;
    let (sink, mut events) = mpsc::unbounded_channel();
    let mut opened = false;
    let error = docker.events(&"d".into(), sink, || opened = true).await;
    assert!(opened);
    assert!(error.unreachable, "{error:?}");
    let event = events.try_recv().unwrap();
    assert_eq!(event, RuntimeEvent::Died(LaunchId(7)));
    let request = &engine.requests("/events")[0].line;
    let labels = json!(["io.ganger.instance"]).to_string();
    assert!(request.contains(&crate::http::escape(&labels)), "{request}");
}

#[tokio::test]
async fn what_is_sealed_cannot_be_published() {
    let (_engine, docker) = connected(Deadlines::default(), |_| None).await;
    let sealed = Arc::new(Spec { network: Network::Sealed, ..spec() });
    let error = docker.prepare(&"d".into(), &"echo".into(), &sealed).await.unwrap_err();
    assert!(error.message.contains("`network: Sealed`") && !error.unreachable, "{error:?}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn containers_on_another_kernel_are_not_looked_for_here() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        let info = json!({"ID": "one", "NCPU": 2, "ServerVersion": "20.10.24",
            "OSType": "linux", "KernelVersion": "2.4.37-elsewhere"});
        (seen.line == "GET /info").then_some(Reply::Json(200, info))
    })
    .await;
    let preflight = async |reach, network| {
        let spec = Spec { reach, network, ..spec() };
        docker.preflight(&"d".into(), &Abilities::default(), &spec).await.unwrap().reach
    };
    assert_eq!(preflight(Reach::Auto, Network::Bridge).await, Ok(Reach::Published));
    for (reach, network) in [
        (Reach::Namespace, Network::Bridge),
        (Reach::Namespace, Network::Sealed),
        (Reach::Auto, Network::Sealed),
    ] {
        let why = preflight(reach, network).await.unwrap_err();
        assert!(why.contains("not possible") && why.contains("2.4.37-elsewhere"), "{why}");
    }
    let why = docker.why_not_sealed(&"d".into()).unwrap();
    assert!(why.contains("2.4.37-elsewhere"), "{why}");
}

#[tokio::test]
async fn an_image_that_must_be_there_and_is_not_says_how_to_get_it() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.starts_with("GET /images/").then(|| no(404, "No such image")).flatten()
    })
    .await;
    let never = Arc::new(Spec { pull: Pull::Never, ..spec() });
    let error = docker.prepare(&"d".into(), &"echo".into(), &never).await.unwrap_err();
    for how in ["on daemon d: `docker pull demo`", "`ganger push demo --to d`"] {
        assert!(error.message.contains(how), "{error:?}");
    }
    let digest = how_to_get("demo@sha256:00", &"d".into());
    assert_eq!(digest, "`docker pull demo@sha256:00` there, or set `pull: IfMissing`");
    assert!(engine.requests("POST /images").is_empty());
}

#[tokio::test]
async fn preparing_at_once_pulls_once_and_a_failure_in_the_stream_is_one() {
    let present = Arc::new(Mutex::new(false));
    let (open, gate) = watch::channel(false);
    let engine_side = Arc::clone(&present);
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        let present = Arc::clone(&engine_side);
        if seen.line.starts_with("POST /images/create") {
            let pull = Box::new(move || {
                *present.lock() = true;
                Reply::Json(200, json!({"status": "done"}))
            });
            return Some(Reply::Held(gate.clone(), pull));
        }
        let absent = seen.line.starts_with("GET /images/") && !*present.lock();
        absent.then(|| no(404, "No such image")).flatten()
    })
    .await;
    let spec = Arc::new(spec());
    let (daemon, one, two) = ("d".into(), "one".into(), "two".into());
    let open = async {
        while engine.requests("GET /images/").len() < 2 {
            tokio::task::yield_now().await;
        }
        open.send(true).unwrap();
    };
    let (first, second, ()) = tokio::join!(
        docker.prepare(&daemon, &one, &spec),
        docker.prepare(&daemon, &two, &spec),
        open
    );
    first.unwrap();
    second.unwrap();
    let pulls = engine.requests("POST /images/create");
    assert_eq!(pulls.len(), 1);
    assert!(pulls[0].line.contains("fromImage=demo&tag=latest"), "{}", pulls[0].line);

    *present.lock() = false;
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        if seen.line.starts_with("POST /images/create") {
            let detail = json!({"errorDetail": {"message": "manifest unknown"}});
            return Some(Reply::Json(200, detail));
        }
        seen.line.starts_with("GET /images/").then(|| no(404, "No such image")).flatten()
    })
    .await;
    let error = docker.prepare(&daemon, &one, &spec).await.unwrap_err();
    assert!(error.message.contains("check the spelling of `image`"), "{error:?}");
}

#[tokio::test]
async fn an_image_that_is_always_pulled_is_pulled_once() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        let pull = seen.line.starts_with("POST /images/create");
        pull.then(|| Reply::Json(200, json!({"status": "done"})))
    })
    .await;
    let always = Arc::new(Spec { pull: Pull::Always, ..spec() });
    for _ in 0..3 {
        docker.prepare(&"d".into(), &"echo".into(), &always).await.unwrap();
    }
    assert_eq!(engine.requests("POST /images/create").len(), 1);
}

#[tokio::test]
async fn an_engine_that_is_none_is_told_from_one_that_is_down() {
    let engine = Engine::start(|_| Some(Reply::Json(200, json!("hello"))));
    let docker = Docker::new(identity(), Vec::new());
    let error = docker.connect(&"d".into(), &Site::of(engine.endpoint())).await.unwrap_err();
    assert!(error.message.contains("does not answer as an engine does"), "{error:?}");
    let endpoint = engine.endpoint();
    drop(engine);
    let error = docker.connect(&"d".into(), &Site::of(endpoint)).await.unwrap_err();
    assert!(error.message.contains("is Docker installed and running?"), "{error:?}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_that_is_not_the_containers_is_not_reached_and_not_tried_again() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        let inspect = seen.line.starts_with("GET /containers/c");
        // Our own process, as an engine in another view of processes may name it.
        let state = json!({"Running": true, "Pid": std::process::id()});
        let ports = json!({"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]});
        let answer = json!({"State": state, "NetworkSettings": {"Ports": ports}});
        (inspect && !seen.line.contains("/containers/json")).then_some(Reply::Json(200, answer))
    })
    .await;
    let auto = order(Spec { reach: Reach::Auto, ..spec() });
    let error = docker.launch(&auto).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared);
    assert!(error.message.contains("is not the container's"), "{}", error.message);
    let container = docker.launch(&auto).await.unwrap();
    assert!(matches!(container.address(), Address::Published(_)));

    let forced = order(Spec { reach: Reach::Namespace, ..spec() });
    let error = docker.launch(&forced).await.unwrap_err();
    assert!(error.message.contains("`reach: Namespace`"), "{}", error.message);
}

#[tokio::test]
async fn a_removal_that_takes_long_is_in_progress_and_not_asked_for_twice() {
    let (_open, gate) = watch::channel(false);
    let deadlines = Deadlines { remove: SHORT, ..Deadlines::default() };
    let (engine, docker) = connected(deadlines, move |seen| {
        if seen.line.starts_with("DELETE") {
            return Some(Reply::Held(gate.clone(), Box::new(|| Reply::Json(204, Value::Null))));
        }
        let list = seen.line.starts_with("GET /containers/json");
        list.then(|| Reply::Json(200, json!([listed("3fa9c1d2", 7, "running")])))
    })
    .await;
    docker.launch(&order(spec())).await.unwrap();
    for _ in 0..2 {
        assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Pending);
    }
    assert_eq!(engine.requests("DELETE").len(), 1);
}

/// An inspection of a container whose process cannot be found here.
fn inspected(running: bool) -> Reply {
    let state = json!({"Running": running, "Pid": 4_000_000, "ExitCode": 3});
    Reply::Json(200, json!({ "State": state }))
}

/// Launches with `reach: Auto`; returns the error, and why reach is not by
/// namespace from then on.
async fn launched_out_of_reach(
    deadlines: Deadlines,
    answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
) -> (LaunchError, Option<String>) {
    let (_engine, docker) = connected(deadlines, answer).await;
    let order = order(Spec { reach: Reach::Auto, ..spec() });
    let error = docker.launch(&order).await.unwrap_err();
    let preflight =
        docker.preflight(&order.daemon, &Abilities::default(), &order.spec).await.unwrap();
    (error, preflight.why_published)
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_process_that_ends_before_it_is_reached_does_not_condemn_its_daemon() {
    let asked = std::sync::atomic::AtomicU32::new(0);
    let (error, denied) = launched_out_of_reach(Deadlines::default(), move |seen| {
        let of_it = seen.line.starts_with("GET /containers/c");
        // The engine takes a while to notice.
        of_it.then(|| inspected(asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3))
    })
    .await;
    assert_eq!(error.fault, Fault::Service);
    assert_eq!(error.message, "the container exited with code 3 as soon as it was started");
    assert_eq!(denied, None);
}

#[tokio::test]
#[ignore = "needs root"]
async fn where_a_running_process_cannot_be_found_ports_are_published() {
    let deadlines = Deadlines { notice: SHORT, ..Deadlines::default() };
    let (error, denied) = launched_out_of_reach(deadlines, |seen| {
        seen.line.starts_with("GET /containers/c").then(|| inspected(true))
    })
    .await;
    assert_eq!(error.fault, Fault::Unprepared);
    assert!(error.message.contains("not tried there again"), "{}", error.message);
    assert!(denied.is_some_and(|why| why.contains("out of reach")));
}

#[tokio::test]
async fn ports_of_an_engine_behind_a_tunnel_are_not_looked_for_on_our_loopback() {
    // Its containers' processes have numbers that are nobody's here, or somebody else's.
    for pid in [4_000_000, std::process::id()] {
        published_behind_a_tunnel(pid).await;
    }
}

async fn published_behind_a_tunnel(pid: u32) {
    let engine = Engine::start(move |seen| {
        let ports = json!({"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]});
        let state = json!({"Running": true, "Pid": pid});
        let answer = json!({"State": state, "NetworkSettings": {"Ports": ports}});
        let inspects = seen.line.starts_with("GET /containers/ccc");
        inspects.then_some(Reply::Json(200, answer))
    });
    let deadlines = Deadlines { notice: SHORT, ..Deadlines::default() };
    let docker = Docker::with_deadlines(identity(), Vec::new(), deadlines);
    docker.connect(&"d".into(), &Site::of(engine.endpoint())).await.unwrap();
    let order = order(Spec { reach: Reach::Published, ..spec() });
    docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap();
    let error = docker.launch(&order).await.unwrap_err();
    assert_eq!(error.fault, Fault::Daemon);
    assert!(error.message.contains("give the daemon `publish_on`"), "{error:?}");
}

#[tokio::test]
async fn only_so_many_ask_for_fates_at_a_time() {
    let (engine, docker) = connected(Deadlines::default(), |_| None).await;
    let container = docker.launch(&order(spec())).await.unwrap();
    let asked = || engine.requests("GET /containers/c").len();
    let before = asked();
    let daemon = docker.daemon(&"d".into()).unwrap();
    let all = daemon.questions.available_permits();
    let others = daemon.questions.acquire_many(u32::try_from(all).unwrap()).await.unwrap();
    let meanwhile = async {
        for _ in 0..5 {
            docker.list(&"d".into()).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        fate = container.fate() => panic!("{fate:?}, out of turn"),
        () = meanwhile => assert_eq!(asked(), before),
    }
    drop(others);
    assert_eq!(container.fate().await, Fate::Running);
    assert_eq!(asked(), before + 2);
}
