//! Secrets, against a fake engine that has the volumes it was asked for.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::*;
use crate::spec::Secrets;

/// The ids of the holders of secrets, and of the containers of services, begin with these.
const HOLDER: char = 'a';
const CONTAINER: char = 'c';

/// An engine that keeps volumes.
struct Shelf {
    engine: Engine,
    docker: Docker,
    state: Arc<Mutex<Shelved>>,
}

#[derive(Default)]
struct Shelved {
    /// Names and labels.
    volumes: BTreeMap<String, Value>,
    /// A container has each volume.
    used: bool,
    /// Each volume is taken for mounted, though no container has it.
    miscounted: bool,
    /// Containers without the files, by the first letter of their ids.
    lost: BTreeSet<char>,
    /// Containers that ended as soon as they were started.
    ended: BTreeSet<char>,
    /// Containers that are given the files have them again.
    forgetful: bool,
    /// The engine takes no files.
    full: bool,
    /// Another engine is there.
    replaced: bool,
}

fn secret(content: &[u8]) -> Spec {
    let secrets = Secrets(Arc::new([("key".to_owned(), content.to_vec())].into()));
    Spec { secrets, ..spec() }
}

// === impl Shelved ===

impl Shelved {
    fn answer(&mut self, seen: &Seen) -> Option<Reply> {
        let (method, path) = seen.line.split_once(' ').unwrap();
        if path == "/volumes/create" {
            let (name, labels) = (&seen.body["Name"], seen.body["Labels"].clone());
            self.volumes.insert(name.as_str().unwrap().to_owned(), labels);
            return Some(Reply::Json(201, json!({})));
        }
        if let Some(name) = path.strip_prefix("/volumes/") {
            if self.miscounted {
                return no(500, "remove x: volume has active mounts");
            }
            return match self.used {
                true => no(409, "volume is in use"),
                false if self.volumes.remove(name).is_none() => no(404, "no such volume"),
                false => Some(Reply::Json(204, Value::Null)),
            };
        }
        if path.starts_with("/volumes?") {
            let one = |(name, labels): (&String, &Value)| json!({"Name": name, "Labels": labels});
            let all: Vec<_> = self.volumes.iter().map(one).collect();
            return Some(Reply::Json(200, json!({ "Volumes": all })));
        }
        if path == "/info" && self.replaced {
            let info =
                json!({"ID": "two", "NCPU": 2, "ServerVersion": "20.10.24", "OSType": "linux"});
            return Some(Reply::Json(200, info));
        }
        if path.starts_with("/containers/create?name=ganger-sandbox") {
            let id = String::from(HOLDER).repeat(64);
            return Some(Reply::Json(201, json!({"Id": id, "Warnings": []})));
        }
        let id = path.strip_prefix("/containers/")?.chars().next()?;
        match method {
            "PUT" if self.full => no(500, "no space left on device"),
            "PUT" => {
                if self.forgetful {
                    self.lost.remove(&id);
                }
                Some(Reply::Json(200, Value::Null))
            }
            "HEAD" if self.lost.contains(&id) => Some(Reply::Json(404, Value::Null)),
            "HEAD" => Some(Reply::Json(200, Value::Null)),
            "GET" if path.ends_with("/json") && self.ended.contains(&id) => {
                let state = json!({"Running": false, "ExitCode": 1});
                Some(Reply::Json(200, json!({ "State": state })))
            }
            _ => None,
        }
    }
}

// === impl Shelf ===

impl Shelf {
    async fn new() -> Self {
        Self::with(Deadlines::default()).await
    }

    async fn with(deadlines: Deadlines) -> Self {
        let state = Arc::new(Mutex::new(Shelved::default()));
        let its = Arc::clone(&state);
        let (engine, docker) = connected(deadlines, move |seen| its.lock().answer(seen)).await;
        Self { engine, docker, state }
    }

    fn names(&self) -> Vec<String> {
        self.state.lock().volumes.keys().cloned().collect()
    }

    /// The mounts of the created containers.
    fn mounts(&self, of: &str) -> Vec<Value> {
        let creates = self.engine.requests(&format!("POST /containers/create?name={of}"));
        creates.iter().map(|seen| seen.body["HostConfig"]["Mounts"].clone()).collect()
    }

    async fn launch(&self, launch: u64, spec: &Arc<Spec>) -> Result<Arc<Container>, LaunchError> {
        let spec = Arc::clone(spec);
        let order = LaunchOrder { launch: LaunchId(launch), spec, ..order(super::spec()) };
        self.docker.launch(&order).await
    }

    async fn fails(&self, launch: u64, spec: &Arc<Spec>, fault: Fault) {
        let error = self.launch(launch, spec).await.unwrap_err();
        assert_eq!(error.fault, fault, "{}", error.message);
    }

    async fn until_gone(&self, name: &str) {
        let gone = async {
            while self.state.lock().volumes.contains_key(name) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    }
}

#[tokio::test]
async fn those_with_the_same_secrets_have_one_volume_in_memory() {
    let shelf = Shelf::new().await;
    let (one, same) = (Arc::new(secret(b"hunter2")), Arc::new(secret(b"hunter2")));
    shelf.launch(7, &one).await.unwrap();
    shelf.launch(8, &same).await.unwrap();
    shelf.launch(9, &Arc::new(secret(b"hunter3"))).await.unwrap();
    shelf.launch(10, &Arc::new(spec())).await.unwrap();

    let made = shelf.engine.requests("POST /volumes/create");
    assert_eq!(made.len(), 2);
    let volume = &made[0].body["Name"];
    assert_eq!(made[0].body["DriverOpts"]["type"], "tmpfs");
    assert_eq!(
        made[0].body["DriverOpts"]["o"], "size=12288,mode=0755,nosuid,nodev,noexec",
        "a page for the file's content, one for its name, one for the directory"
    );
    assert_eq!(made[0].body["Labels"]["io.ganger.boot"], "3fa9c1d2");
    let mount = |read_only: bool, volume: &Value| json!([{"Type": "volume", "Source": volume, "Target": "/run/secrets", "ReadOnly": read_only}]);
    let other = &made[1].body["Name"];
    assert_eq!(shelf.mounts("ganger-sandbox"), [mount(false, volume), mount(false, other)]);
    let expected = [mount(true, volume), mount(true, volume), mount(true, other), Value::Null];
    assert_eq!(shelf.mounts("ganger-echo"), expected);
    let put = shelf.engine.requests("PUT /containers/");
    assert_eq!(put.len(), 2);
    assert!(put[0].line.ends_with("/archive?path=/run/secrets"), "{}", put[0].line);

    assert_eq!(shelf.docker.close(Instant::now() + Duration::from_secs(60)).await, [""; 0]);
    assert_eq!(shelf.names(), [""; 0]);
    let error = shelf.launch(11, &one).await.unwrap_err();
    assert!(error.message.contains("nothing is launched there any more"), "{}", error.message);
}

#[tokio::test]
async fn a_holder_that_has_lost_its_secrets_is_replaced() {
    let shelf = Shelf::new().await;
    let spec = Arc::new(secret(b"hunter2"));
    shelf.launch(7, &spec).await.unwrap();
    let first = shelf.names().remove(0);
    shelf.state.lock().lost.insert(HOLDER);
    shelf.fails(8, &spec, Fault::Daemon).await;
    assert_eq!(shelf.mounts("ganger-echo").len(), 1, "nothing runs without them");
    assert_eq!(shelf.mounts("ganger-sandbox").len(), 2, "nor is a holder believed");
    shelf.until_gone(&first).await;

    shelf.state.lock().lost.clear();
    shelf.state.lock().forgetful = true;
    shelf.launch(9, &spec).await.unwrap();
    assert_eq!(shelf.mounts("ganger-sandbox").len(), 3);
    shelf.state.lock().lost.insert(HOLDER);
    shelf.launch(10, &spec).await.unwrap();
    assert_eq!(shelf.mounts("ganger-sandbox").len(), 4, "another one at once");
    let second = shelf.names().pop().unwrap();

    // The secrets are lost after the look at the holder.
    shelf.state.lock().lost.insert(CONTAINER);
    shelf.fails(11, &spec, Fault::Unprepared).await;
    shelf.until_gone(&second).await;
}

#[tokio::test]
async fn a_container_that_ends_without_its_secrets_is_not_to_blame() {
    let shelf = Shelf::new().await;
    let spec = Arc::new(secret(b"hunter2"));
    shelf.state.lock().ended.insert(CONTAINER);
    shelf.fails(7, &spec, Fault::Service).await;

    let state = Arc::clone(&shelf.state);
    let lost = async {
        // Between the look at the holder and the one at the container.
        while shelf.mounts("ganger-echo").len() < 2 {
            tokio::task::yield_now().await;
        }
        state.lock().lost.insert(HOLDER);
    };
    tokio::join!(shelf.fails(8, &spec, Fault::Unprepared), lost);
}

#[tokio::test]
async fn what_was_made_for_secrets_that_are_not_taken_is_removed() {
    let shelf = Shelf::new().await;
    let spec = Arc::new(secret(b"hunter2"));
    shelf.state.lock().full = true;
    let error = shelf.launch(7, &spec).await.unwrap_err();
    assert!(error.message.contains("its secrets cannot be held there"), "{}", error.message);
    assert!(!error.message.contains("hunter2"));
    let name = shelf.engine.requests("POST /volumes/create")[0].body["Name"].clone();
    shelf.until_gone(name.as_str().unwrap()).await;
    assert_eq!(shelf.engine.requests("DELETE /containers/ganger-sandbox").len(), 1);
    shelf.state.lock().full = false;
    shelf.launch(8, &spec).await.unwrap();
}

#[tokio::test]
async fn another_engine_at_the_same_address_is_given_them_too() {
    let shelf = Shelf::new().await;
    let spec = Arc::new(secret(b"hunter2"));
    shelf.launch(7, &spec).await.unwrap();
    shelf.state.lock().replaced = true;
    let publish_on = Some(std::net::Ipv4Addr::LOCALHOST.into());
    let site = Site { endpoint: shelf.engine.endpoint(), publish_on };
    shelf.docker.connect(&"d".into(), &site).await.unwrap();
    shelf.launch(8, &spec).await.unwrap();
    assert_eq!(shelf.engine.requests("PUT /containers/").len(), 2);
}

#[tokio::test]
async fn anengine_that_shows_nobody_its_volumes_serves_those_who_have_no_secrets() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        if seen.line.contains("/volumes") { no(403, "forbidden by a proxy") } else { None }
    })
    .await;
    assert_eq!(docker.list(&"d".into()).await.unwrap().owned, []);
    let pooled = Spec { sandbox: crate::spec::Sandbox::Pooled, ..spec() };
    docker.launch(&order(pooled)).await.unwrap();
    assert_eq!(docker.close(Instant::now() + Duration::from_secs(60)).await, [""; 0]);
    let after = Docker::after(identity());
    after
        .connect(&"d".into(), &Site { endpoint: engine.endpoint(), publish_on: None })
        .await
        .unwrap();
    assert_eq!(after.list(&"d".into()).await.unwrap().owned, []);
}

#[tokio::test]
async fn podman_that_is_not_run_by_root_is_given_no_secrets() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        if seen.line == "GET /_ping" {
            return Some(Reply::Ping("Libpod/5.4.2 (linux)"));
        }
        let info = json!({"ID": "one", "NCPU": 2, "ServerVersion": "20.10.24", "OSType": "linux",
            "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]});
        (seen.line == "GET /info").then(|| Reply::Json(200, info))
    })
    .await;
    let order = order(secret(b"hunter2"));
    let error = docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap_err();
    assert!(error.message.contains("no volumes in memory"), "{}", error.message);
    let error = docker.launch(&order).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared, "{}", error.message);
}

#[tokio::test]
async fn secrets_that_nobody_wants_any_more_are_removed() {
    let shelf = Shelf::new().await;
    let spec = Arc::new(secret(b"hunter2"));
    let container = shelf.launch(7, &spec).await.unwrap();
    let name = shelf.names().remove(0);
    drop(spec);
    shelf.docker.list(&"d".into()).await.unwrap();
    assert_eq!(shelf.engine.requests("DELETE").len(), 0, "a container has them");
    drop(container);
    shelf.docker.list(&"d".into()).await.unwrap();
    shelf.until_gone(&name).await;
}

#[tokio::test]
async fn a_volume_that_an_earlier_run_left_is_a_stray() {
    let shelf = Shelf::new().await;
    let labels = |boot: &str| {
        json!({"io.ganger.instance": "edge-1", "io.ganger.boot": boot, "io.ganger.sandbox": "4",
            "io.ganger.service": "", "io.ganger.launch": ""})
    };
    let left = "ganger-sandbox-00000000-4";
    let first =
        [(left, "00000000"), ("copy", "00000000"), ("ganger-sandbox-3fa9c1d2-4", "3fa9c1d2")];
    shelf.state.lock().volumes.extend(first.map(|(name, boot)| (name.to_owned(), labels(boot))));
    let key = ContainerKey::Stray(format!("volume:{left}"));
    let listing = shelf.docker.list(&"d".into()).await.unwrap();
    assert_eq!(listing.owned, [Owned { key: key.clone(), running: false }]);
    assert_eq!(listing.others, 0);
    let retire = async |key: ContainerKey| {
        shelf.docker.retire(&Target { daemon: "d".into(), key }).await.unwrap()
    };
    shelf.state.lock().used = true;
    assert_eq!(retire(key.clone()).await, Removal::Pending);
    shelf.state.lock().used = false;
    assert_eq!(retire(key).await, Removal::Gone);
    assert_eq!(retire(ContainerKey::Stray("volume:copy".into())).await, Removal::Gone);
    assert_eq!(shelf.names(), ["copy", "ganger-sandbox-3fa9c1d2-4"]);
}

#[tokio::test]
async fn nobody_waits_for_a_volume_that_an_engine_takes_for_mounted() {
    let shelf = Shelf::with(Deadlines { unmount: SHORT, ..Deadlines::default() }).await;
    shelf.launch(7, &Arc::new(secret(b"hunter2"))).await.unwrap();
    let left = "ganger-sandbox-00000000-4";
    let labels = json!({"io.ganger.instance": "edge-1", "io.ganger.boot": "00000000",
        "io.ganger.sandbox": "4", "io.ganger.service": "", "io.ganger.launch": ""});
    shelf.state.lock().volumes.insert(left.to_owned(), labels);
    shelf.state.lock().miscounted = true;
    let key = ContainerKey::Stray(format!("volume:{left}"));
    let target = Target { daemon: "d".into(), key };
    assert_eq!(shelf.docker.list(&"d".into()).await.unwrap().owned.len(), 1);
    assert_eq!(shelf.docker.retire(&target).await.unwrap(), Removal::Pending, "not at once");
    let gone = async { while shelf.docker.retire(&target).await.unwrap() == Removal::Pending {} };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(shelf.docker.list(&"d".into()).await.unwrap().owned, [], "nor later");
    assert_eq!(shelf.docker.close(Instant::now() + Duration::from_secs(60)).await, [""; 0]);
}
