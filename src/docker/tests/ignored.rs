//! Engines that leave out, without a refusal, what they were asked for.

use super::backend::Kept;
use super::*;

/// Prepares and launches; the error of whichever fails.
async fn tried(docker: &Docker, order: &LaunchOrder<Spec>) -> Result<(), LaunchError> {
    let prepared = docker.prepare(&order.daemon, &order.service, &order.spec).await;
    prepared.map_err(|error| fault::unprepared(error.message))?;
    docker.launch(order).await.map(|_| ())
}

/// The same spec, with limits that need not be kept.
fn lax(mut spec: Spec) -> Spec {
    spec.limits.enforce = false;
    spec
}

fn limited() -> Spec {
    let limits = Limits { memory: Some(64 << 20), cpus: Some(0.5), pids: Some(64), ..Limits::NONE };
    Spec { limits, ..spec() }
}

#[tokio::test]
async fn what_runs_by_another_runtime_than_was_asked_for_is_not_started() {
    // Podman's answer to a create is the same whatever `Runtime` says.
    let (engine, docker) = connected(Deadlines::default(), |seen| match seen.line.as_str() {
        "GET /_ping" => Some(Reply::Ping("Libpod/5.4.2 (linux)")),
        line if line.starts_with("GET /libpod/containers/c") => {
            Some(Reply::Json(200, json!({"OCIRuntime": "crun"})))
        }
        _ => None,
    })
    .await;
    let sandboxed = order(Spec { runtime: Some("runsc".into()), ..spec() });
    let error = tried(&docker, &sandboxed).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared, "{}", error.message);
    for part in ["`runtime: \"runsc\"`", "crun"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
    assert!(engine.requests("/start").is_empty(), "untrusted code must not run before");
    let creates = engine.requests("/containers/create").len();
    let error = tried(&docker, &sandboxed).await.unwrap_err();
    assert!(error.message.contains("runsc"), "{}", error.message);
    assert_eq!(engine.requests("/containers/create").len(), creates, "tried once");
    // By the runtime that it has, and by none in particular.
    tried(&docker, &order(Spec { runtime: Some("crun".into()), ..spec() })).await.unwrap();
    tried(&docker, &order(spec())).await.unwrap();
}

#[tokio::test]
async fn that_a_runtime_is_ignored_says_nothing_of_another() {
    let runs = Mutex::new(Value::Null);
    let (engine, docker) = connected(Deadlines::default(), move |seen| match seen.line.as_str() {
        "GET /_ping" => Some(Reply::Ping("Libpod/5.4.2 (linux)")),
        line if line.starts_with("POST /containers/create") => {
            let asked = &seen.body["HostConfig"]["Runtime"];
            *runs.lock() = if asked == "kata" { json!("kata") } else { json!("crun") };
            None
        }
        line if line.starts_with("GET /libpod/containers/c") => {
            Some(Reply::Json(200, json!({"OCIRuntime": *runs.lock()})))
        }
        _ => None,
    })
    .await;
    let by = |runtime: &str| order(Spec { runtime: Some(runtime.into()), ..spec() });
    for ignored in ["runsc", "youki"] {
        let error = tried(&docker, &by(ignored)).await.unwrap_err();
        assert!(error.message.contains(&format!("`runtime: \"{ignored}\"`")), "{}", error.message);
    }
    assert_eq!(engine.requests("/containers/create").len(), 2, "each is tried");
    tried(&docker, &by("kata")).await.unwrap();
}

#[tokio::test]
async fn a_runtime_is_read_back_from_docker_as_well() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        let of_it = seen.line.starts_with("GET /containers/c") && seen.line.ends_with("c/json");
        let read_back = json!({"State": {}, "HostConfig": {"Runtime": "runc"}});
        of_it.then(|| Reply::Json(200, read_back))
    })
    .await;
    let error = tried(&docker, &order(Spec { runtime: Some("runsc".into()), ..spec() })).await;
    assert!(error.unwrap_err().message.contains("runc"));
    assert!(engine.requests("/start").is_empty());
}

#[tokio::test]
async fn an_engine_that_says_it_has_no_limits_launches_nothing_that_has() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        let info = json!({"ID": "one", "NCPU": 2, "ServerVersion": "20.10.24", "OSType": "linux",
            "MemoryLimit": false, "PidsLimit": true, "CpuCfsQuota": false});
        (seen.line == "GET /info").then(|| Reply::Json(200, info))
    })
    .await;
    let error = tried(&docker, &order(limited())).await.unwrap_err();
    for part in ["`limits.memory`", "`limits.cpus`", "`limits: (enforce: false)`"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
    assert!(!error.message.contains("pids"), "{}", error.message);
    assert!(engine.requests("/containers/create").is_empty());
    tried(&docker, &order(spec())).await.unwrap();
}

#[tokio::test]
async fn a_limit_that_a_create_says_was_discarded_is_not_done_without() {
    let said = ["Your kernel does not support memory limit capabilities or the cgroup is not \
                 mounted. Limitation discarded."];
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        let create = seen.line.starts_with("POST /containers/create");
        create.then(|| Reply::Json(201, json!({"Id": "c".repeat(64), "Warnings": said})))
    })
    .await;
    let error = tried(&docker, &order(limited())).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared, "{}", error.message);
    assert!(error.message.contains("`limits.memory`"), "{}", error.message);
    assert!(engine.requests("/start").is_empty());
    let error = tried(&docker, &order(limited())).await.unwrap_err();
    assert!(error.message.contains("`limits.memory`"), "{}", error.message);
    assert_eq!(engine.requests("/containers/create").len(), 1, "tried once");
}

#[tokio::test]
async fn a_limit_that_cannot_be_set_is_left_out_where_the_file_says_so() {
    // The message of Podman 5.4, which sets a limit of its own where none is asked for.
    let why = "crun: controller `pids` is not available under /sys/fs/cgroup/x/cgroup.controllers";
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        let engine_says = seen.line.ends_with("/start").then(|| no(500, why)).flatten();
        if seen.line == "GET /_ping" { Some(Reply::Ping("Libpod/5.4.2")) } else { engine_says }
    })
    .await;
    let lax = order(lax(limited()));
    for _ in 0..2 {
        assert_eq!(tried(&docker, &lax).await.unwrap_err().fault, Fault::Unprepared);
    }
    let asked = engine.requests("/containers/create");
    let limits: Vec<_> =
        asked.iter().map(|create| &create.body["HostConfig"]["PidsLimit"]).collect();
    assert_eq!(limits, [&json!(64), &json!(0)]);
    assert_eq!(asked[1].body["HostConfig"]["Memory"], json!(64 << 20), "what can be kept is");

    let error = tried(&docker, &order(limited())).await.unwrap_err();
    assert!(error.message.contains("discards `limits.pids` "), "{}", error.message);
    assert_eq!(engine.requests("/containers/create").len(), 2);
}

#[tokio::test]
async fn a_mount_s_source_that_is_absent_is_not_left_to_podman_to_make() {
    let (engine, docker) = connected(Deadlines::default(), |seen| {
        (seen.line == "GET /_ping").then_some(Reply::Ping("Libpod/5.4.2 (linux)"))
    })
    .await;
    let mounted = |source: &str| {
        let mount = Mount { source: source.into(), target: "/data".into(), read_only: true };
        order(Spec { mounts: vec![mount], ..spec() })
    };
    let error = tried(&docker, &mounted("/nonexistent/of/ganger")).await.unwrap_err();
    for part in ["`mounts`", "/nonexistent/of/ganger"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
    assert!(engine.requests("/containers/create").is_empty());
    tried(&docker, &mounted("/")).await.unwrap();

    // Docker refuses it in words of its own.
    let (engine, docker) = connected(Deadlines::default(), |_| None).await;
    tried(&docker, &mounted("/nonexistent/of/ganger")).await.unwrap();
    assert_eq!(engine.requests("/containers/create").len(), 1);
}

#[tokio::test]
async fn a_container_without_a_control_group_has_no_limits_whatever_the_engine_says() {
    let kept = Kept::new().await;
    let pid = kept.pid;
    let (_engine, docker) = connected(Deadlines::default(), move |seen| {
        let of_it = seen.line.starts_with("GET /containers/c") && seen.line.ends_with("c/json");
        let ports = json!({"7000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]});
        let kept = json!({"Memory": 64 << 20, "PidsLimit": 64, "NanoCpus": 500_000_000});
        let state = json!({"Running": true, "Pid": pid});
        let settings = json!({ "Ports": ports });
        let answer = json!({"State": state, "NetworkSettings": settings, "HostConfig": kept});
        of_it.then(|| Reply::Json(200, answer))
    })
    .await;
    let error = tried(&docker, &order(limited())).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared, "{}", error.message);
    for part in ["`limits.memory`", "`limits.cpus`", "`limits.pids`"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
    tried(&docker, &order(lax(limited()))).await.unwrap();
    kept.end().await;
}

/// A launch in a network sandbox, whose holder is made first.
fn pooled(spec: Spec) -> LaunchOrder<Spec> {
    let sandbox = crate::spec::Sandbox::Pooled;
    order(Spec { sandbox, read_only: true, ..spec })
}

/// The values of a limit that creates of a holder, or of a service's container, asked for.
fn asked_by(engine: &Engine, name: &str, limit: &str) -> Vec<Value> {
    let creates = engine.requests(&format!("/containers/create?name={name}-"));
    creates.iter().map(|create| create.body["HostConfig"][limit].clone()).collect()
}

#[tokio::test]
async fn a_limit_that_a_holder_was_not_given_is_kept_by_no_service_there() {
    let said = ["Your kernel does not support PIDs limit capabilities or the cgroup is not \
                 mounted. PIDs limit discarded."];
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        let holder = seen.line.contains("/create?name=ganger-sandbox-");
        holder.then(|| Reply::Json(201, json!({"Id": "d".repeat(64), "Warnings": said})))
    })
    .await;
    // A container is asked for without what is known to be discarded: nothing warns of it again.
    let error = tried(&docker, &pooled(limited())).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unprepared, "{}", error.message);
    assert!(error.message.contains("discards `limits.pids` "), "{}", error.message);
    assert!(engine.requests(&format!("/containers/{}/start", "c".repeat(64))).is_empty());
    // Nor in a network of its own.
    let error = tried(&docker, &order(limited())).await.unwrap_err();
    assert!(error.message.contains("discards `limits.pids` "), "{}", error.message);
    let unlimited = {
        let mut spec = limited();
        spec.limits.pids = None;
        spec
    };
    tried(&docker, &pooled(unlimited)).await.unwrap();
}

#[tokio::test]
async fn a_holder_that_fails_to_start_with_a_limit_is_made_without_it_from_then_on() {
    // The limit that the last holder was created with.
    let pids = Arc::new(Mutex::new(Value::Null));
    let its = Arc::clone(&pids);
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        if seen.line.contains("/create?name=ganger-sandbox-") {
            *its.lock() = seen.body["HostConfig"]["PidsLimit"].clone();
            return Some(Reply::Json(201, json!({"Id": "d".repeat(64), "Warnings": []})));
        }
        let starts = seen.line.contains("/containers/ddd") && seen.line.ends_with("/start");
        let limited = starts && its.lock().as_i64() != Some(0);
        let why = "crun: controller `pids` is not available under /sys/fs/cgroup/x";
        limited.then(|| no(500, why)).flatten()
    })
    .await;
    let lax = pooled(lax(limited()));
    tried(&docker, &lax).await.unwrap_err();
    assert_eq!(asked_by(&engine, "ganger-sandbox", "PidsLimit").len(), 1);
    tried(&docker, &lax).await.unwrap();
    assert_eq!(asked_by(&engine, "ganger-sandbox", "PidsLimit")[1], json!(0));
    assert_ne!(asked_by(&engine, "ganger-sandbox", "Memory")[1], json!(0), "what can be kept is");
    assert_eq!(asked_by(&engine, "ganger-echo", "PidsLimit"), [json!(0)]);

    let error = tried(&docker, &pooled(limited())).await.unwrap_err();
    assert!(error.message.contains("discards `limits.pids` "), "{}", error.message);
}
