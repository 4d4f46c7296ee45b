//! The networks that Ganger makes, against a fake engine that has as many as it was asked for.

use tokio::time::Instant;

use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// The endpoints on a network, with any of which an engine refuses to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Nothing,
    Container,
    /// The endpoint of a container that is gone, of the run with this boot.
    Orphan(&'static str),
    /// A container of this name, of which the engine does not tell.
    Hidden(&'static str),
    /// A container whose name the engine does not tell.
    Unnamed,
    /// Nothing, but the engine has counted something.
    Miscount,
}

/// An engine that keeps networks.
struct Bed {
    engine: Engine,
    docker: Docker,
    networks: Arc<Mutex<Vec<Value>>>,
    /// The endpoints on each network.
    on: Arc<Mutex<On>>,
}

/// A network in a list, made by a run of our instance.
fn network(boot: &str, name: &str, id: char) -> Value {
    let labels = json!({"io.ganger.instance": "edge-1", "io.ganger.boot": boot,
        "io.ganger.service": "", "io.ganger.launch": "", "io.ganger.sandbox": ""});
    json!({"Id": String::from(id).repeat(64), "Name": name, "Labels": labels})
}

/// The run's network is asked for.
fn isolated() -> Spec {
    Spec { network: Network::Isolated, ..spec() }
}

// === impl Bed ===

impl Bed {
    /// `server` is the engine, in the words of its ping.
    async fn new(server: &'static str, first: Vec<Value>) -> Self {
        Self::with(Deadlines::default(), server, first).await
    }

    async fn with(deadlines: Deadlines, server: &'static str, first: Vec<Value>) -> Self {
        let (networks, on) = (Arc::new(Mutex::new(first)), Arc::new(Mutex::new(On::Nothing)));
        let (its, on_it) = (Arc::clone(&networks), Arc::clone(&on));
        let (engine, docker) = connected(deadlines, move |seen| {
            let mut networks = its.lock();
            let is = |one: &Value, name: &str| one["Name"] == name || one["Id"] == name;
            if seen.line == "GET /_ping" {
                return Some(Reply::Ping(server));
            }
            if seen.line.ends_with("/networks/create") {
                let body = &seen.body;
                let of = |key: &str| body[key].as_str().or(body[key.to_lowercase()].as_str());
                let name = of("Name").unwrap().to_owned();
                if networks.iter().any(|one| is(one, &name)) {
                    return no(409, "network already exists");
                }
                if body["options"]["isolate"] == "strict" && server.contains("4.3") {
                    return no(500, "failed to parse isolate option: invalid syntax");
                }
                networks.push(json!({"Id": "e".repeat(64), "Name": name, "Labels": {}}));
                return Some(Reply::Json(201, json!({"Id": "e".repeat(64)})));
            }
            if let Some(name) = seen.line.strip_prefix("DELETE /networks/") {
                if *on_it.lock() != On::Nothing {
                    return no(403, "error while removing network: it has active endpoints");
                }
                let before = networks.len();
                networks.retain(|one| !is(one, name));
                let gone = before > networks.len();
                return if gone {
                    Some(Reply::Json(204, Value::Null))
                } else {
                    no(404, "not found")
                };
            }
            if seen.line == "GET /networks/bridge" {
                let options = json!({"com.docker.network.driver.mtu": "1450"});
                return Some(Reply::Json(200, json!({"Options": options})));
            }
            if seen.line.starts_with("GET /networks/") {
                let on = match *on_it.lock() {
                    On::Nothing | On::Miscount => json!({}),
                    On::Container => json!({"c": {"Name": "somebody-s"}}),
                    On::Orphan(boot) => json!({"ep-e": {"Name": format!("ganger-echo-{boot}-7")}}),
                    On::Hidden(name) => json!({"c": {"Name": name}}),
                    On::Unnamed => json!({"c": {}}),
                };
                let asked = seen.line.trim_start_matches("GET /networks/");
                let name = networks.iter().find(|one| is(one, asked)).map(|one| &one["Name"]);
                let network = json!({"Name": name, "Options": null, "Containers": on});
                return Some(Reply::Json(200, network));
            }
            if seen.line.ends_with("/disconnect") {
                *on_it.lock() = On::Nothing;
                return Some(Reply::Json(200, Value::Null));
            }
            let is_absent = matches!(*on_it.lock(), On::Orphan(_) | On::Hidden(_) | On::Unnamed);
            if is_absent && seen.line.ends_with("/json") && seen.line.contains("/containers/") {
                return no(404, "No such container");
            }
            if seen.line.ends_with("/start") {
                let there = networks.iter().any(|one| is(one, "ganger-3fa9c1d2"));
                return if there { None } else { no(404, "network ganger-3fa9c1d2 not found") };
            }
            let list = || networks.iter().filter(|one| one["Labels"] != json!({})).cloned();
            let listed = seen.line.starts_with("GET /networks?");
            listed.then(|| Reply::Json(200, list().collect()))
        })
        .await;
        Self { engine, docker, networks, on }
    }

    fn set(&self, on: On) {
        *self.on.lock() = on;
    }

    fn names(&self) -> Vec<String> {
        let name = |one: &Value| one["Name"].as_str().unwrap().to_owned();
        self.networks.lock().iter().map(name).collect()
    }

    /// The network modes of the created containers.
    fn modes(&self) -> Vec<Value> {
        let creates = self.engine.requests("POST /containers/create");
        creates.iter().map(|seen| seen.body["HostConfig"]["NetworkMode"].clone()).collect()
    }

    async fn launch(&self, launch: u64) -> Result<Arc<Container>, LaunchError> {
        self.docker.launch(&LaunchOrder { launch: LaunchId(launch), ..order(isolated()) }).await
    }

    async fn retire(&self, key: ContainerKey) -> Removal {
        self.docker.retire(&Target { daemon: "d".into(), key }).await.unwrap()
    }

    async fn until_gone(&self, key: ContainerKey) {
        let gone = async { while self.retire(key.clone()).await == Removal::Pending {} };
        tokio::time::timeout(LONG, gone).await.unwrap();
    }

    async fn close(&self) -> Vec<String> {
        self.docker.close(Instant::now() + SHORT).await
    }
}

#[tokio::test]
async fn a_run_has_one_network_on_a_docker_engine_and_removes_it_at_the_end() {
    let bed = Bed::new("Docker/26.1.5 (linux)", Vec::new()).await;
    bed.launch(7).await.unwrap();
    bed.launch(8).await.unwrap();
    assert_eq!(bed.modes(), ["ganger-3fa9c1d2", "ganger-3fa9c1d2"]);
    let made = bed.engine.requests("POST /networks/create");
    assert_eq!(made.len(), 1);
    let body = &made[0].body;
    let options = &body["Options"];
    assert_eq!(options["com.docker.network.bridge.enable_icc"], "false");
    assert_eq!(options["com.docker.network.driver.mtu"], "1450", "as the default network");
    assert_eq!(body["Labels"]["io.ganger.instance"], "edge-1");
    assert_eq!(body["Labels"]["io.ganger.boot"], "3fa9c1d2");
    assert_eq!(bed.docker.list(&"d".into()).await.unwrap().owned, [], "no stray of ours");

    bed.set(On::Container);
    assert_eq!(bed.close().await, ["d (its network: containers are on it: somebody-s)"]);
    bed.set(On::Nothing);
    assert_eq!(bed.close().await, Vec::<String>::new());
    assert_eq!(bed.names(), Vec::<String>::new());
}

#[tokio::test]
async fn an_endpoint_whose_container_is_gone_keeps_no_network() {
    let deadlines = Deadlines { unmount: SHORT, ..Deadlines::default() };
    let left = network("00000000", "ganger-00000000", 'a');
    let bed = Bed::with(deadlines, "Docker/26.1.5 (linux)", vec![left]).await;
    bed.set(On::Orphan("00000000"));
    let listing = bed.docker.list(&"d".into()).await.unwrap();
    let key = ContainerKey::Stray(format!("network:{}", "a".repeat(64)));
    assert_eq!(listing.owned, [Owned { key: key.clone(), running: false }]);
    // Its engine may be about to forget it.
    assert_eq!(bed.retire(key.clone()).await, Removal::Pending);
    bed.until_gone(key).await;
    assert_eq!(bed.names(), [""; 0]);

    bed.launch(7).await.unwrap();
    bed.set(On::Orphan("3fa9c1d2"));
    assert_eq!(bed.docker.close(Instant::now() + LONG).await, [""; 0]);
    assert_eq!(bed.names(), [""; 0]);
    let disconnected = bed.engine.requests("POST /networks/ganger-3fa9c1d2/disconnect");
    let body = json!({"Container": "ganger-echo-3fa9c1d2-7", "Force": true});
    assert_eq!(disconnected.iter().map(|seen| &seen.body).collect::<Vec<_>>(), [&body]);
}

#[tokio::test]
async fn a_container_of_somebody_else_is_never_taken_off_a_network() {
    let deadlines = Deadlines { unmount: Duration::ZERO, ..Deadlines::default() };
    let bed = Bed::with(deadlines, "Docker/26.1.5 (linux)", Vec::new()).await;
    bed.launch(7).await.unwrap();
    // Also where a proxy hides it, or the engine does not say whose it is.
    for on in [On::Hidden("somebody-s"), On::Hidden("ganger-echo-00000000-7"), On::Unnamed] {
        bed.set(on);
        let left = bed.close().await;
        assert!(left[0].contains("containers are on it"), "{left:?}");
    }
    assert_eq!(bed.engine.requests("/disconnect").len(), 0);
}

#[tokio::test]
async fn nobody_waits_for_a_network_whose_endpoints_are_miscounted() {
    let deadlines = Deadlines { unmount: SHORT, ..Deadlines::default() };
    let left = network("00000000", "ganger-00000000", 'a');
    let bed = Bed::with(deadlines, "Docker/26.1.5 (linux)", vec![left]).await;
    bed.set(On::Miscount);
    let key = ContainerKey::Stray(format!("network:{}", "a".repeat(64)));
    assert_eq!(bed.docker.list(&"d".into()).await.unwrap().owned.len(), 1);
    assert_eq!(bed.retire(key.clone()).await, Removal::Pending, "not at once");
    bed.until_gone(key).await;
    assert_eq!(bed.docker.list(&"d".into()).await.unwrap().owned, [], "nor later");
    assert_eq!(bed.names().len(), 1, "the engine keeps it");

    bed.launch(7).await.unwrap();
    assert_eq!(bed.docker.close(Instant::now() + LONG).await, [""; 0]);
}

#[tokio::test]
async fn a_run_whose_network_was_pruned_makes_it_again() {
    let bed = Bed::new("Docker/26.1.5 (linux)", Vec::new()).await;
    bed.launch(7).await.unwrap();
    bed.networks.lock().clear();
    let error = bed.launch(8).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared, "{}", error.message);
    bed.launch(9).await.unwrap();
    assert_eq!(bed.names(), ["ganger-3fa9c1d2"]);
}

#[tokio::test]
async fn podman_has_a_network_for_each_container_that_goes_with_it() {
    let own = "ganger-echo-3fa9c1d2-7";
    for (server, isolate) in [("Libpod/5.4.2 (linux)", "strict"), ("Libpod/4.3.1 (linux)", "true")]
    {
        let bed = Bed::new(server, Vec::new()).await;
        // The fake engine needs this network to start containers.
        bed.networks.lock().push(network("", "ganger-3fa9c1d2", 'f'));
        bed.launch(7).await.unwrap();
        assert_eq!(bed.modes(), [own]);
        let made = bed.engine.requests("/libpod/networks/create");
        let body = &made.last().unwrap().body;
        assert_eq!((&body["name"], &body["options"]["isolate"]), (&json!(own), &json!(isolate)));
        assert_eq!(body["labels"]["io.ganger.launch"], "3fa9c1d2-7");

        // A container is not gone before its network is.
        bed.set(On::Container);
        assert_eq!(bed.retire(target().key).await, Removal::Pending);
        bed.set(On::Nothing);
        assert_eq!(bed.retire(target().key).await, Removal::Gone);
        assert_eq!(bed.names(), ["ganger-3fa9c1d2"], "which is none of Podman's");
    }
}

#[tokio::test]
async fn a_network_that_an_earlier_run_left_is_a_stray() {
    let first = || {
        vec![
            network("00000000", "ganger-00000000", 'a'),
            network("00000000", "somebody-s-copy", 'b'),
            network("3fa9c1d2", "ganger-3fa9c1d2", 'c'),
        ]
    };
    let key = |id: char| ContainerKey::Stray(format!("network:{}", String::from(id).repeat(64)));
    let bed = Bed::new("Docker/26.1.5 (linux)", first()).await;
    bed.set(On::Container);
    assert_eq!(bed.docker.list(&"d".into()).await.unwrap().owned, [], "what is on it goes first");
    assert_eq!(bed.retire(key('a')).await, Removal::Gone);
    assert_eq!(bed.names().len(), 3, "and nobody is told to remove it");

    let bed = Bed::new("Docker/26.1.5 (linux)", first()).await;
    let listing = bed.docker.list(&"d".into()).await.unwrap();
    assert_eq!(listing.owned, [Owned { key: key('a'), running: false }]);
    assert_eq!(listing.others, 0);
    assert_eq!(bed.retire(key('a')).await, Removal::Gone);
    // Networks that are not ours, or that this run uses, are not removed.
    assert_eq!(bed.retire(key('b')).await, Removal::Gone);
    assert_eq!(bed.retire(key('c')).await, Removal::Gone);
    assert_eq!(bed.names(), ["somebody-s-copy", "ganger-3fa9c1d2"]);

    // An adapter that comes after the run sees its network.
    let after = Docker::after(identity());
    let site = Site { endpoint: bed.engine.endpoint(), publish_on: None };
    after.connect(&"d".into(), &site).await.unwrap();
    let listing = after.list(&"d".into()).await.unwrap();
    assert_eq!(listing.owned, [Owned { key: key('c'), running: false }]);
}

#[tokio::test]
async fn a_network_whose_making_was_not_answered_is_looked_for_a_while() {
    let deadlines = Deadlines { create: SHORT, ghost_grace: SHORT, ..Deadlines::default() };
    let (_open, gate) = watch::channel(false);
    let (engine, docker) = connected(deadlines, move |seen| {
        let made = || Reply::Json(201, json!({"Id": "e"}));
        if seen.line == "POST /networks/create" {
            return Some(Reply::Held(gate.clone(), Box::new(made)));
        }
        if seen.line.starts_with("DELETE /networks/") { no(404, "not found") } else { None }
    })
    .await;
    let error = docker.launch(&order(isolated())).await.unwrap_err();
    assert!(error.message.contains("the call to make a network"), "{}", error.message);
    let left = docker.close(Instant::now() + Duration::from_secs(60)).await;
    assert_eq!(left, Vec::<String>::new());
    assert!(engine.requests("DELETE /networks/").len() > 1, "the first absence proves nothing");
    // No other network is made.
    let error = docker.launch(&order(isolated())).await.unwrap_err();
    assert!(error.message.contains("nothing is launched there any more"), "{}", error.message);
}

#[tokio::test]
async fn a_daemon_that_came_back_keeps_its_network() {
    let bed = Bed::new("Docker/26.1.5 (linux)", Vec::new()).await;
    bed.launch(7).await.unwrap();
    // The network is used until the daemon that left has looked for another.
    bed.set(On::Container);
    bed.docker.forget(&"d".into());
    let site = Site { endpoint: bed.engine.endpoint(), publish_on: None };
    bed.docker.connect(&"d".into(), &site).await.unwrap();
    let order = LaunchOrder { launch: LaunchId(8), ..order(isolated()) };
    bed.docker.launch(&order).await.unwrap_err();
    let gone = async {
        while !bed.docker.leaving.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(bed.names(), ["ganger-3fa9c1d2"]);
}

#[tokio::test]
async fn an_engine_that_shows_nobody_its_networks_serves_those_who_want_none() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        if seen.line.contains("/networks") { no(403, "forbidden by a proxy") } else { None }
    })
    .await;
    assert_eq!(docker.list(&"d".into()).await.unwrap().owned, []);
    docker.launch(&order(spec())).await.unwrap();
}
