//! Daemons that are found elsewhere, and places at which another engine is found.

use super::*;

/// A fake engine that has one container, as long as it is not removed.
struct Place {
    engine: Engine,
    id: Arc<Mutex<&'static str>>,
    there: Arc<AtomicBool>,
}

// === impl Place ===

impl Place {
    fn new(id: &'static str) -> Self {
        let (id, there) = (Arc::new(Mutex::new(id)), Arc::new(AtomicBool::new(false)));
        let (its, has) = (Arc::clone(&id), Arc::clone(&there));
        let engine = Engine::start(move |seen| {
            let line = seen.line.as_str();
            if line == "GET /info" {
                let info = json!({"ID": *its.lock(), "NCPU": 2, "OSType": "linux"});
                return Some(Reply::Json(200, info));
            }
            if line.starts_with("POST /containers/create") {
                has.store(true, Ordering::Relaxed);
            }
            if line.starts_with("DELETE") && !has.swap(false, Ordering::Relaxed) {
                return no(404, "No such container");
            }
            let all = if has.load(Ordering::Relaxed) {
                json!([listed("3fa9c1d2", 7, "running")])
            } else {
                json!([])
            };
            line.starts_with("GET /containers/json").then_some(Reply::Json(200, all))
        });
        Self { engine, id, there }
    }

    async fn connect(&self, docker: &Docker, name: &str) {
        let publish_on = Some(std::net::Ipv4Addr::LOCALHOST.into());
        let site = Site { endpoint: self.engine.endpoint(), publish_on };
        docker.connect(&name.into(), &site).await.unwrap();
    }

    fn has_it(&self) -> bool {
        self.there.load(Ordering::Relaxed)
    }
}

fn docker() -> Docker {
    Docker::new(identity(), Vec::new())
}

async fn left(docker: &Docker) -> Vec<String> {
    docker.close(tokio::time::Instant::now()).await
}

#[tokio::test]
async fn two_daemons_at_two_places_are_emptied_each_by_itself() {
    let (docker, old, new) = (docker(), Place::new("one"), Place::new("two"));
    old.connect(&docker, "d").await;
    docker.launch(&order(spec())).await.unwrap();
    new.connect(&docker, "d~2").await;
    docker.list(&"d~2".into()).await.unwrap();
    assert!(old.has_it());
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
    assert!(!old.has_it());
    assert!(new.engine.requests("DELETE").is_empty());
}

#[tokio::test]
async fn an_engine_that_has_moved_is_emptied_where_it_is() {
    let (docker, old, new) = (docker(), Place::new("one"), Place::new("one"));
    old.connect(&docker, "d").await;
    docker.launch(&order(spec())).await.unwrap();
    drop(old);
    new.connect(&docker, "d~2").await;
    // A machine that was copied has the same id, and not the container.
    assert!(docker.retire(&target()).await.unwrap_err().unreachable);
    new.there.store(true, Ordering::Relaxed);
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
    assert!(!new.has_it());
    assert_eq!(left(&docker).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_an_engine_had_that_was_replaced_is_not_said_to_be_removed() {
    let (docker, place) = (docker(), Place::new("one"));
    place.connect(&docker, "d").await;
    docker.launch(&order(spec())).await.unwrap();
    place.there.store(false, Ordering::Relaxed);
    *place.id.lock() = "two";
    place.connect(&docker, "d").await;
    // The container must not hold the room on the new one for ever.
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
    assert_eq!(left(&docker).await, ["d (1: on an engine that was replaced)"]);

    // The first engine is back, and so is its container.
    *place.id.lock() = "one";
    place.there.store(true, Ordering::Relaxed);
    place.connect(&docker, "d").await;
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
    assert!(!place.has_it());
    assert_eq!(left(&docker).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_somebody_removes_is_gone() {
    let (docker, place) = (docker(), Place::new("one"));
    place.connect(&docker, "d").await;
    docker.launch(&order(spec())).await.unwrap();
    place.there.store(false, Ordering::Relaxed);
    place.connect(&docker, "d").await;
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
    assert_eq!(left(&docker).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_engine_of_another_id_is_not_the_one_that_does_not_answer() {
    let (docker, old, other) = (docker(), Place::new("one"), Place::new("two"));
    old.connect(&docker, "d").await;
    docker.launch(&order(spec())).await.unwrap();
    other.connect(&docker, "e").await;
    other.there.store(true, Ordering::Relaxed);
    drop(old);
    assert!(docker.retire(&target()).await.unwrap_err().unreachable);
    assert!(other.has_it(), "what looks the same on another engine is something else");
}

#[tokio::test]
async fn a_daemon_whose_address_has_changed_is_asked_there_from_then_on() {
    let (docker, old, new) = (docker(), Place::new("one"), Place::new("two"));
    old.connect(&docker, "d").await;
    new.connect(&docker, "d").await;
    docker.launch(&order(spec())).await.unwrap();
    assert!(new.has_it() && !old.has_it());
}
