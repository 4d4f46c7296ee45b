//! The adapter against a fake engine that answers as Podman does.

use super::*;

/// The answers of Podman that differ from the fake engine's usual ones.
fn podman(seen: &Seen) -> Option<Reply> {
    (seen.line == "GET /_ping").then_some(Reply::Ping("Libpod/5.4.2 (linux)"))
}

/// Podman's answer to `/info`, with an id that is new at each call.
fn info(id: u64) -> Reply {
    Reply::Json(
        200,
        json!({"ID": format!("id-{id}"), "Name": "host", "DockerRootDir": "/var/lib/containers",
            "NCPU": 2, "ServerVersion": "20.10.24", "OSType": "linux"}),
    )
}

#[tokio::test]
async fn podman_is_told_to_kill_without_a_wait() {
    let (engine, docker) = connected(Deadlines::default(), podman).await;
    docker.launch(&order(spec())).await.unwrap();
    let create = engine.requests("/containers/create").remove(0);
    assert_eq!(create.body["StopTimeout"], json!(0), "a forced removal waits for it there");
}

#[tokio::test]
async fn labels_in_events_of_podman_are_looked_at_here() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        if !seen.line.starts_with("GET /events") {
            return podman(seen);
        }
        let event = |action: &str, labels: Value| {
            let actor = json!({"ID": "c", "Attributes": labels});
            json!({"Type": "container", "Action": action, "Actor": actor}).to_string()
        };
        let ours = json!({"io.ganger.instance": "edge-1", "io.ganger.launch": "3fa9c1d2-7",
            "io.ganger.service": "echo", "name": "ganger-echo-3fa9c1d2-7"});
        let foreign = event("create", json!({"image": "postgres"}));
        Some(Reply::Truncated(format!("{foreign}\n{}\n", event("remove", ours))))
    })
    .await;
    let (sink, mut events) = mpsc::unbounded_channel();
    docker.events(&"d".into(), sink, || ()).await;
    assert_eq!(events.try_recv(), Ok(RuntimeEvent::Taken(LaunchId(7))));
    assert!(events.try_recv().is_err(), "a container that is nobody's of Ganger's is no news");
    let request = &engine.requests("/events")[0].line;
    assert!(request.contains("container") && !request.contains("label"), "{request}");
}

#[tokio::test]
async fn contact_with_podman_is_a_ping_and_its_info_may_take_long() {
    let (open, gate) = watch::channel(false);
    let engine = Engine::start(move |seen| {
        let held = || Reply::Held(gate.clone(), Box::new(|| info(1)));
        if seen.line == "GET /info" { Some(held()) } else { podman(seen) }
    });
    let negotiate = Duration::from_millis(500);
    let deadlines = Deadlines { negotiate, ..Deadlines::default() };
    let docker = Docker::with_deadlines(identity(), Vec::new(), deadlines);
    let (daemon, site) = ("d".into(), Site::of(engine.endpoint()));
    let mut contact = std::pin::pin!(docker.connect(&daemon, &site));
    tokio::select! {
        biased;
        ended = &mut contact => panic!("{ended:?} before Podman has said what it is"),
        () = tokio::time::sleep(2 * negotiate) => {}
    }
    open.send(true).unwrap();
    contact.await.unwrap();
    assert!(engine.requests("GET /version").is_empty(), "Podman runs programs for it, too");
}

#[tokio::test]
async fn podman_stays_the_same_although_its_id_is_new_at_each_call() {
    let calls = std::sync::atomic::AtomicU64::new(0);
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        let next = || info(calls.fetch_add(1, Ordering::Relaxed));
        if seen.line == "GET /info" { Some(next()) } else { podman(seen) }
    })
    .await;
    let order = order(spec());
    docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap();
    let publish_on = Some(std::net::Ipv4Addr::LOCALHOST.into());
    let site = Site { endpoint: engine.endpoint(), publish_on };
    docker.connect(&order.daemon, &site).await.unwrap();
    let daemon = docker.daemon(&order.daemon).unwrap();
    let known = daemon.prepared(&order.service, &order.spec);
    assert_eq!(known.as_deref(), Some("sha256:pinned"), "taken for another installation");
}
