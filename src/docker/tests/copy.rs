//! Copies of an image between two engines, and what can go wrong.

use std::sync::atomic::AtomicU64;

use super::*;

/// An adapter that is connected to two engines: `d`, which has the image, and `e`.
async fn two(
    deadlines: Deadlines,
    d: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    e: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
) -> (Engine, Engine, Docker) {
    let (source, docker) = connected(deadlines, d).await;
    let target = Engine::start(e);
    docker.connect(&"e".into(), &Site::of(target.endpoint())).await.unwrap();
    (source, target, docker)
}

async fn copied(docker: &Docker) -> Result<Copied, CallError> {
    docker.copy_image("demo", &"d".into(), &"e".into(), Arc::new(AtomicU64::new(0))).await
}

/// The answers of an engine without the image, which answers a load by `answer`.
fn loads(seen: &Seen, answer: impl Fn() -> Reply) -> Option<Reply> {
    let loads = seen.line == "POST /images/load?quiet=0";
    let inspects = seen.line.starts_with("GET /images/");
    if loads { Some(answer()) } else { inspects.then(|| no(404, "No such image")).flatten() }
}

#[tokio::test]
async fn an_error_in_the_answer_to_a_load_is_one_and_so_is_an_image_that_is_not_there_after_it() {
    for (answer, why) in [
        (r#"{"errorDetail":{"message":"the disk is full"},"error":"x"}"#, "the disk is full"),
        (r#"{"error":"as of old"}"#, "as of old"),
        (r#"{"stream":"Loaded image: demo:latest"}"#, "does not have it"),
    ] {
        let said = format!("{{\"stream\":\"Loading layer\"}}\r\n{answer}\r\n");
        let (_source, target, docker) = two(
            Deadlines::default(),
            |_| None,
            move |seen| loads(seen, || Reply::Chunked(said.clone())),
        )
        .await;
        let error = copied(&docker).await.unwrap_err();
        assert!(!error.unreachable && error.message.contains(why), "{error:?}");
        assert_eq!(target.requests("POST /images/load")[0].version, "41");
    }
}

#[tokio::test]
async fn a_source_that_breaks_off_is_told_from_a_target_that_does() {
    let (_open, gate) = watch::channel(false);
    let never = move || Reply::Held(gate.clone(), Box::new(|| Reply::Stalled));
    let breaks = |seen: &Seen| {
        let export = seen.line == "GET /images/demo:latest/get";
        export.then(|| Reply::Truncated("half an archive".to_owned()))
    };
    let (_source, _target, docker) =
        two(Deadlines::default(), breaks, move |seen| loads(seen, &never)).await;
    let error = copied(&docker).await.unwrap_err();
    assert!(error.unreachable, "{error:?}");
    assert!(error.message.starts_with("the image cannot be read from daemon d: "), "{error:?}");

    let breaks = || Reply::Truncated("{\"stream\":\"Loading layer\"}\r\n".to_owned());
    let (_source, target, docker) =
        two(Deadlines::default(), |_| None, move |seen| loads(seen, breaks)).await;
    let error = copied(&docker).await.unwrap_err();
    let target = target.endpoint().to_string();
    assert!(error.unreachable && error.message.starts_with(&target), "{error:?}");
}

#[tokio::test]
async fn a_copy_in_which_nothing_moves_is_given_up() {
    let deadlines = Deadlines { pull_idle: SHORT, ..Deadlines::default() };
    let (_open, gate) = watch::channel(false);
    let never = move || Reply::Held(gate.clone(), Box::new(|| Reply::Stalled));
    let (_source, _target, docker) =
        two(deadlines, |_| None, move |seen| loads(seen, &never)).await;
    let error = copied(&docker).await.unwrap_err();
    assert!(error.message.contains("has taken nothing of the image for 50ms"), "{error:?}");
}

#[tokio::test]
async fn an_engine_that_gives_the_image_another_id_is_copied_to_again() {
    let other = format!("sha256:{}", "b".repeat(64));
    let id = other.clone();
    let (_source, _target, docker) = two(
        Deadlines::default(),
        |_| None,
        move |seen| {
            let inspects = seen.line.starts_with("GET /images/");
            let there = inspects.then(|| Reply::Json(200, json!({ "Id": id })));
            let loaded = "{\"stream\":\"Loaded image: demo:latest\"}\r\n";
            there.or_else(|| loads(seen, || Reply::Chunked(loaded.to_owned())))
        },
    )
    .await;
    assert_eq!(copied(&docker).await.unwrap().id, other);
}

#[tokio::test]
async fn an_image_is_known_again_in_a_store_of_another_kind() {
    // As Docker describes one image, by its configuration and, with containerd's store, by its
    // manifest: with null, with empty values, and without them.
    let classic = json!({"Id": "sha256:aa", "Os": "linux", "Architecture": "amd64",
        "Config": {"Cmd": ["/echo"], "Env": null, "Labels": null, "User": "", "Hostname": "x"},
        "RootFS": {"Type": "layers", "Layers": ["sha256:01", "sha256:02"]}});
    let mut containerd = json!({"Id": "sha256:bb", "Os": "linux", "Architecture": "amd64",
        "Config": {"Cmd": ["/echo"], "Env": []},
        "RootFS": {"Type": "layers", "Layers": ["sha256:01", "sha256:02"]}});
    for (other, same) in [(json!(["/echo"]), true), (json!(["/other"]), false)] {
        containerd["Config"]["Cmd"] = other;
        let (classic, containerd) = (classic.clone(), containerd.clone());
        let says = |image: Value| {
            move |seen: &Seen| {
                let asked = seen.line == "GET /images/demo:latest/json";
                asked.then(|| Reply::Json(200, image.clone()))
            }
        };
        let (_source, _target, docker) =
            two(Deadlines::default(), says(classic), says(containerd)).await;
        let held =
            async |daemon: &str| docker.held_image(&daemon.into(), "demo").await.unwrap().unwrap();
        assert_eq!(held("d").await.is_same(&held("e").await), same);
    }
}

#[tokio::test]
async fn images_of_which_little_is_said_are_the_same_by_their_id_alone() {
    let id = |id: &'static str| {
        move |seen: &Seen| {
            let asked = seen.line.starts_with("GET /images/");
            asked.then(|| Reply::Json(200, json!({ "Id": id })))
        }
    };
    let (_source, _target, docker) = two(Deadlines::default(), id("one"), id("another")).await;
    let held =
        async |daemon: &str| docker.held_image(&daemon.into(), "demo").await.unwrap().unwrap();
    let (one, another) = (held("d").await, held("e").await);
    assert!(one.is_same(&one) && !one.is_same(&another));
}
