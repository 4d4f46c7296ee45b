//! Secrets, against a fake engine that has the volumes it was asked for.

use std::sync::atomic::AtomicI32;

use tokio::time::Instant;

use super::*;
use crate::spec::Secrets;

/// An engine that keeps volumes.
struct Shelf {
    engine: Engine,
    docker: Docker,
    /// Names and labels.
    volumes: Arc<Mutex<BTreeMap<String, Value>>>,
    /// A container has each volume.
    used: Arc<AtomicBool>,
    /// The process of every container.
    pid: Arc<AtomicI32>,
}

fn secret(content: &[u8]) -> Spec {
    let secrets = Secrets([("key".to_owned(), content.to_vec())].into());
    Spec { secrets, ..spec() }
}

// === impl Shelf ===

impl Shelf {
    async fn new() -> Self {
        let volumes = Arc::new(Mutex::new(BTreeMap::<String, Value>::new()));
        let (used, pid) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(4_000_000)));
        let (its, kept, process) = (Arc::clone(&volumes), Arc::clone(&used), Arc::clone(&pid));
        let (engine, docker) = connected(Deadlines::default(), move |seen| {
            let mut volumes = its.lock();
            if seen.line == "POST /volumes/create" {
                let (name, labels) = (&seen.body["Name"], seen.body["Labels"].clone());
                volumes.insert(name.as_str().unwrap().to_owned(), labels);
                return Some(Reply::Json(201, json!({})));
            }
            if let Some(name) = seen.line.strip_prefix("DELETE /volumes/") {
                if kept.load(Ordering::Relaxed) {
                    return no(409, "volume is in use");
                }
                let gone = volumes.remove(name).is_some();
                return if gone { Some(Reply::Json(204, Value::Null)) } else { no(404, "none") };
            }
            if seen.line.starts_with("GET /volumes?") {
                let one =
                    |(name, labels): (&String, &Value)| json!({"Name": name, "Labels": labels});
                let all: Vec<_> = volumes.iter().map(one).collect();
                return Some(Reply::Json(200, json!({ "Volumes": all })));
            }
            if seen.line.starts_with("PUT /containers/") {
                return Some(Reply::Json(200, Value::Null));
            }
            let inspected =
                seen.line.starts_with("GET /containers/") && seen.line.ends_with("/json");
            inspected.then(|| {
                let ports = json!({"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]});
                let state = json!({"Running": true, "Pid": process.load(Ordering::Relaxed)});
                Reply::Json(200, json!({"State": state, "NetworkSettings": {"Ports": ports}}))
            })
        })
        .await;
        Self { engine, docker, volumes, used, pid }
    }

    fn names(&self) -> Vec<String> {
        self.volumes.lock().keys().cloned().collect()
    }

    /// What the created containers have as volumes.
    fn mounts(&self, of: &str) -> Vec<Value> {
        let creates = self.engine.requests(&format!("POST /containers/create?name={of}"));
        creates.iter().map(|seen| seen.body["HostConfig"]["Mounts"].clone()).collect()
    }

    async fn launch(&self, launch: u64, spec: &Arc<Spec>) -> Result<Arc<Container>, LaunchError> {
        let spec = Arc::clone(spec);
        let order = LaunchOrder { launch: LaunchId(launch), spec, ..order(super::spec()) };
        self.docker.launch(&order).await
    }

    async fn until_gone(&self, name: &str) {
        let gone = async {
            while self.volumes.lock().contains_key(name) {
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
async fn a_container_that_started_when_its_secrets_were_gone_is_not_used() {
    let shelf = Shelf::new().await;
    let spec = Arc::new(secret(b"hunter2"));
    shelf.launch(7, &spec).await.unwrap();
    let first = shelf.names().remove(0);
    // The keeper was started anew: what it kept is gone.
    shelf.pid.store(4_000_001, Ordering::Relaxed);
    let error = shelf.launch(8, &spec).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared, "{}", error.message);
    shelf.until_gone(&first).await;
    shelf.launch(9, &spec).await.unwrap();
    assert_eq!(shelf.names().len(), 1);
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
    shelf.volumes.lock().extend(first.map(|(name, boot)| (name.to_owned(), labels(boot))));
    let key = ContainerKey::Stray(format!("volume:{left}"));
    let listing = shelf.docker.list(&"d".into()).await.unwrap();
    assert_eq!(listing.owned, [Owned { key: key.clone(), running: false }]);
    assert_eq!(listing.others, 0);
    let retire = async |key: ContainerKey| {
        shelf.docker.retire(&Target { daemon: "d".into(), key }).await.unwrap()
    };
    shelf.used.store(true, Ordering::Relaxed);
    assert_eq!(retire(key.clone()).await, Removal::Pending);
    shelf.used.store(false, Ordering::Relaxed);
    assert_eq!(retire(key).await, Removal::Gone);
    assert_eq!(retire(ContainerKey::Stray("volume:copy".into())).await, Removal::Gone);
    assert_eq!(shelf.names(), ["copy", "ganger-sandbox-3fa9c1d2-4"]);
}
