//! Tags that stand for another image in their registry than what runs, and images that change.

use super::*;

const NEW: &str = "demo@sha256:new";

/// An engine's answers about images: the digest that a registry has under a tag, and the
/// digests of the image that the engine has itself.
fn images(
    registry: &'static str,
    digests: Option<&'static [&'static str]>,
) -> impl Fn(&Seen) -> Option<Reply> {
    move |seen| {
        if seen.line.starts_with("GET /distribution/") {
            let descriptor = json!({"digest": registry, "size": 1, "mediaType": ""});
            let answer = json!({"Descriptor": descriptor, "Platforms": []});
            return Some(Reply::Json(200, answer));
        }
        let has = || match digests {
            Some(digests) => {
                Reply::Json(200, json!({"Id": "sha256:pinned", "RepoDigests": digests}))
            }
            None => Reply::Json(404, json!({"message": "No such image"})),
        };
        seen.line.starts_with("GET /images/").then(has)
    }
}

async fn moved(
    answer: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    tag: &str,
    running: &str,
) -> Result<Option<String>, CallError> {
    let (_engine, docker) = connected(Deadlines::default(), answer).await;
    docker.moved(&"echo".into(), tag, running).await
}

#[tokio::test]
async fn an_image_that_is_not_what_the_registry_has_is_told_by_its_digest() {
    let old: &[&str] = &["demo@sha256:old"];
    let both: &[&str] = &["demo@sha256:old", NEW];
    for (digests, expected) in [
        (Some(old), Some(NEW)),
        (Some(both), None),
        // Built there, and never pushed; or not there at all.
        (Some(&[][..]), Some(NEW)),
        (None, Some(NEW)),
    ] {
        let found = moved(images("sha256:new", digests), "demo", "demo").await.unwrap();
        assert_eq!(found.as_deref(), expected, "{digests:?}");
    }
    // Docker's own registry is left out of what an engine says of an image.
    let found = moved(
        images("sha256:new", Some(&[NEW])),
        "docker.io/library/demo",
        "docker.io/library/demo",
    );
    assert_eq!(found.await.unwrap(), None);
}

#[tokio::test]
async fn what_runs_by_digest_is_compared_with_the_registry_alone() {
    // The engine has the image that the tag stood for before.
    let engine = || images("sha256:new", Some(&["demo@sha256:old"]));
    assert_eq!(moved(engine(), "demo", NEW).await.unwrap(), None);
    let found = moved(engine(), "demo", "demo@sha256:old").await.unwrap();
    assert_eq!(found.as_deref(), Some(NEW));
}

#[tokio::test]
async fn what_a_service_was_prepared_with_counts_and_not_what_has_its_tag_since() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        let pulled = seen.line.starts_with("GET /images/demo:latest/");
        let digests: &[&str] = if pulled { &[NEW] } else { &["demo@sha256:old"] };
        images("sha256:new", Some(digests))(seen)
    })
    .await;
    let (service, spec) = ("echo".into(), Arc::new(spec()));
    docker.prepare(&"d".into(), &service, &spec).await.unwrap();
    let found = docker.moved(&service, "demo", "demo").await.unwrap();
    assert_eq!(found.as_deref(), Some(NEW));
    // Another service has not been launched yet, and will run what is there.
    assert_eq!(docker.moved(&"other".into(), "demo", "demo").await.unwrap(), None);
}

#[tokio::test]
async fn an_engine_that_cannot_ask_the_registry_is_passed_over_and_not_believed() {
    let deaf = |seen: &Seen| {
        let asks = seen.line.starts_with("GET /distribution/");
        asks.then(|| no(500, "registry unreachable")).flatten()
    };
    let error = moved(deaf, "demo", "demo").await.unwrap_err();
    assert!(error.message.contains("registry unreachable"), "{error:?}");

    let (_engine, docker) = connected(Deadlines::default(), deaf).await;
    let other = Engine::start(images("sha256:new", Some(&[NEW])));
    docker.connect(&"e".into(), &Site::of(other.endpoint())).await.unwrap();
    // The first one has an image whose digest nobody knows.
    let found = docker.moved(&"echo".into(), "demo", "demo").await.unwrap();
    assert_eq!(found.as_deref(), Some(NEW));

    let blind = |seen: &Seen| {
        let asks = seen.line.starts_with("GET /images/");
        asks.then(|| no(500, "no disk")).flatten().or_else(|| images("sha256:new", None)(seen))
    };
    let error = moved(blind, "demo", "demo").await.unwrap_err();
    assert!(error.message.contains("no disk"), "{error:?}");
}

#[tokio::test]
async fn an_image_that_was_pruned_and_fetched_again_is_what_the_next_ones_are_made_of() {
    let pruned = Arc::new(AtomicBool::new(false));
    let engine_side = Arc::clone(&pruned);
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        let again = engine_side.load(Ordering::Relaxed);
        match seen.line.as_str() {
            "GET /images/sha256:pinned/json" if again => no(404, "No such image"),
            "GET /images/demo:latest/json" if again => {
                Some(Reply::Json(200, json!({"Id": "sha256:other"})))
            }
            _ => None,
        }
    })
    .await;
    let order = order(spec());
    docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap();
    pruned.store(true, Ordering::Relaxed);
    docker.prepare(&order.daemon, &order.service, &order.spec).await.unwrap();
    docker.launch(&order).await.unwrap();
    let creates = engine.requests("/containers/create");
    let images: Vec<_> = creates.iter().map(|create| &create.body["Image"]).collect();
    assert_eq!(images, [&json!("sha256:other")]);
}

#[tokio::test]
async fn an_image_that_is_built_in_is_loaded_where_it_is_not() {
    let there = Arc::new(AtomicBool::new(false));
    let engine_side = Arc::clone(&there);
    let engine = Engine::start(move |seen| {
        if seen.line.starts_with("POST /images/load") {
            engine_side.store(true, Ordering::Relaxed);
            return Some(Reply::Json(200, json!({"stream": "Loaded image: ours:1"})));
        }
        let absent = seen.line.starts_with("GET /images/") && !engine_side.load(Ordering::Relaxed);
        absent.then(|| no(404, "No such image")).flatten()
    });
    let builtin = Builtin { reference: "ours:1".into(), archive: || vec![0; 512] };
    let docker = Docker::new(identity(), vec![builtin]);
    let publish_on = Some(std::net::Ipv4Addr::LOCALHOST.into());
    docker.connect(&"d".into(), &Site { endpoint: engine.endpoint(), publish_on }).await.unwrap();
    let spec = Arc::new(Spec { reach: Reach::Published, ..Spec::new("ours:1", 7000) });
    for _ in 0..2 {
        docker.prepare(&"d".into(), &"echo".into(), &spec).await.unwrap();
    }
    assert_eq!(engine.requests("POST /images/load").len(), 1);
    assert!(engine.requests("POST /images/create").is_empty(), "no registry has it");
}
