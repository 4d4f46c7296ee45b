//! The questions to an engine before anything is launched on it.

use super::*;
use crate::spec::Healthcheck;

/// The preflight of a spec on an engine that has this `/info` and the network `net`.
async fn preflight_of(info: Value, spec: Spec) -> Preflight {
    let (_engine, docker) = connected(Deadlines::default(), move |seen| match seen.line.as_str() {
        "GET /info" => {
            let mut all = json!({"ID": "one", "NCPU": 2, "ServerVersion": "20.10.24"});
            all.as_object_mut().unwrap().extend(info.as_object().unwrap().clone());
            Some(Reply::Json(200, all))
        }
        "GET /networks/net" => Some(Reply::Json(200, json!({"Name": "net"}))),
        line if line.starts_with("GET /networks/") => no(404, "network not found"),
        _ => None,
    })
    .await;
    let abilities = docker.abilities(&"d".into()).await.unwrap();
    docker.preflight(&"d".into(), &abilities, &spec).await.unwrap()
}

fn info() -> Value {
    json!({
        "Runtimes": {"runc": {"path": "runc"}, "crun": {"path": "crun"}},
        "MemTotal": 1_u64 << 30,
        "MemoryLimit": true, "PidsLimit": true, "CpuCfsQuota": true,
    })
}

fn limited(memory: u64, cpus: f64) -> Spec {
    let limits = Limits { memory: Some(memory), cpus: Some(cpus), pids: Some(9), ..Limits::NONE };
    Spec { limits, ..spec() }
}

#[tokio::test]
async fn what_a_daemon_does_not_have_is_said() {
    let runtime = |name: &str| Spec { runtime: Some(name.to_owned()), ..spec() };
    let network = |name: &str| Spec { network: Network::Named(name.to_owned()), ..spec() };
    for (spec, lack) in [
        (runtime("crun"), None),
        (runtime("io.containerd.runsc.v1"), None),
        (runtime("runsc"), Some("does not have runsc; it has crun, runc")),
        (network("net"), None),
        (network("other"), Some("there is no network other: `docker network create other`")),
        (limited(1 << 29, 2.0), None),
        (limited(1 << 29, 2.5), Some("`limits.cpus` is 2.5, more than the machine has: 2")),
    ] {
        let lacks = preflight_of(info(), spec.clone()).await.lacks;
        match lack {
            None => assert_eq!(lacks, Vec::<String>::new(), "{spec:?}"),
            Some(part) => assert!(lacks.len() == 1 && lacks[0].contains(part), "{lacks:?}"),
        }
    }
    // An engine accepts a memory limit above what there is: it limits nothing, and does no harm.
    let more = preflight_of(info(), limited(1 << 31, 1.0)).await;
    assert_eq!((more.lacks, more.notes.len()), (Vec::new(), 1));
    assert!(more.notes[0].contains("is 2.0 GiB, more than the machine has: 1.0 GiB"));
}

#[tokio::test]
async fn limits_that_an_engine_would_discard_are_said() {
    let cannot = json!({"MemoryLimit": false, "PidsLimit": false, "CPUCfsQuota": false});
    let lacks = preflight_of(cannot.clone(), limited(1 << 29, 1.0)).await.lacks;
    let said = "the engine discards `limits.memory` and `limits.cpus` and `limits.pids`";
    assert!(lacks.len() == 1 && lacks[0].starts_with(said), "{lacks:?}");
    let mut lenient = limited(1 << 29, 1.0);
    lenient.limits.enforce = false;
    assert_eq!(preflight_of(cannot.clone(), lenient).await.lacks, Vec::<String>::new());
    assert_eq!(preflight_of(cannot, spec()).await.lacks, Vec::<String>::new());
    // A missing report is not held against the engine.
    assert_eq!(preflight_of(json!({}), limited(1 << 40, 1.0)).await.lacks, Vec::<String>::new());
}

#[tokio::test]
async fn a_health_that_an_engine_may_never_ask_for_is_said() {
    let health = Spec { ready: Ready::Healthcheck(Healthcheck::default()), ..spec() };
    let of = |server: &'static str, spec: Spec| async move {
        let (_engine, docker) = connected(Deadlines::default(), move |seen| {
            (seen.line == "GET /_ping").then_some(Reply::Ping(server))
        })
        .await;
        let abilities = docker.abilities(&"d".into()).await.unwrap();
        docker.preflight(&"d".into(), &abilities, &spec).await.unwrap().notes
    };
    let notes = of("Libpod/5.4.2 (linux)", health.clone()).await;
    assert!(notes.len() == 1 && notes[0].contains("timers of systemd"), "{notes:?}");
    assert_eq!(of("Libpod/5.4.2 (linux)", spec()).await, Vec::<String>::new());
    assert_eq!(of("Docker/26.1.5 (linux)", health).await, Vec::<String>::new());
}

#[tokio::test]
async fn where_an_image_is_decides_whether_it_will_be_fetched() {
    let preflight = async |answer: fn(&Seen) -> Option<Reply>, image: &str| {
        let engine = Engine::start(answer);
        let builtin = Builtin { reference: "ours:1".into(), archive: Vec::new };
        let docker = Docker::new(identity(), vec![builtin]);
        docker.connect(&"d".into(), &Site::of(engine.endpoint())).await.unwrap();
        let spec = Spec::new(image, 7000);
        let preflight = docker.preflight(&"d".into(), &Abilities::default(), &spec).await;
        preflight.map(|preflight| preflight.image)
    };
    let none = |seen: &Seen| {
        seen.line.starts_with("GET /images/").then(|| no(404, "No such image")).flatten()
    };
    let broken =
        |seen: &Seen| seen.line.starts_with("GET /images/").then(|| no(500, "no disk")).flatten();
    assert_eq!(preflight(|_| None, "demo").await, Ok(ImageLocation::There));
    assert_eq!(preflight(|_| None, "ours:1").await, Ok(ImageLocation::There));
    assert_eq!(preflight(none, "demo").await, Ok(ImageLocation::Elsewhere));
    assert_eq!(preflight(none, "ours:1").await, Ok(ImageLocation::BuiltIn));
    assert!(preflight(broken, "demo").await.unwrap_err().message.contains("no disk"));
}
