//! Which strays are removed, and which belong to a run that goes on.

use super::*;

/// A container of another run, in a list.
fn other(boot: &str, id: char, state: &str) -> Value {
    let mut listed = listed(boot, 1, state);
    listed["Id"] = json!(String::from(id).repeat(64));
    listed
}

/// An engine whose list is what the test sets; it removes what it is told to.
struct Bed {
    engine: Engine,
    docker: Docker,
    containers: Arc<Mutex<Vec<Value>>>,
}

// === impl Bed ===

impl Bed {
    async fn new(deadlines: Deadlines, first: Vec<Value>) -> Self {
        let containers = Arc::new(Mutex::new(first));
        let engine_side = Arc::clone(&containers);
        let (engine, docker) = connected(deadlines, move |seen| {
            let mut containers = engine_side.lock();
            if let Some(path) = seen.line.strip_prefix("DELETE /containers/") {
                containers.retain(|one| !path.starts_with(one["Id"].as_str().unwrap()));
            }
            let list = seen.line.strip_prefix("GET /containers/json")?;
            let of_one = list.contains("%22id%22");
            let asked = |one: &Value| !of_one || list.contains(one["Id"].as_str().unwrap());
            Some(Reply::Json(200, containers.iter().filter(|one| asked(one)).cloned().collect()))
        })
        .await;
        let bed = Self { engine, docker, containers };
        bed.list().await;
        bed
    }

    fn now(&self, containers: Vec<Value>) {
        *self.containers.lock() = containers;
    }

    /// Which containers are ours to see to, by the first letter of their ids.
    async fn list(&self) -> String {
        let owned = self.docker.list(&"d".into()).await.unwrap().owned;
        let letter = |owned: &Owned| owned.key.to_string().chars().next().unwrap();
        owned.iter().map(letter).collect()
    }

    async fn remove(&self, id: char) -> Removal {
        let key = ContainerKey::Stray(String::from(id).repeat(64));
        self.docker.retire(&Target { daemon: "d".into(), key }).await.unwrap()
    }

    /// How many containers count that are not ours to see to.
    async fn others(&self) -> u32 {
        self.docker.list(&"d".into()).await.unwrap().others
    }

    fn removals(&self) -> usize {
        self.engine.requests("DELETE").len()
    }
}

/// Deadlines with which nothing stays unclear.
fn no_patience() -> Deadlines {
    Deadlines { create: Duration::ZERO, start: Duration::ZERO, ..Deadlines::default() }
}

#[tokio::test]
async fn what_was_there_before_us_is_removed_whatever_it_does() {
    let states = ["running", "created", "exited", "paused"];
    let ids = ['a', 'b', 'c', 'd'];
    let first = ids.iter().zip(states).map(|(id, state)| other("00000000", *id, state)).collect();
    let bed = Bed::new(Deadlines::default(), first).await;
    assert_eq!(bed.list().await, "abcd");
    for id in ids {
        assert_eq!(bed.remove(id).await, Removal::Gone);
    }
    assert_eq!((bed.list().await.as_str(), bed.removals()), ("", 4));
}

#[tokio::test]
async fn what_was_started_after_our_first_list_is_left_to_its_run() {
    let before = other("00000000", 'a', "running");
    let bed = Bed::new(no_patience(), vec![before.clone()]).await;
    bed.now(vec![before.clone(), other("11111111", 'b', "running")]);
    assert_eq!(bed.list().await, "a", "b's run goes on, a's does not");
    // A stray is looked at once more before it is removed: lists may be old.
    bed.now(vec![before.clone(), other("22222222", 'c', "exited")]);
    assert_eq!(bed.remove('c').await, Removal::Gone);
    // All containers of such a run are its own as well, whenever they were made.
    bed.now(vec![before, other("00000000", 'd', "running"), other("11111111", 'e', "created")]);
    assert_eq!(bed.list().await, "");
    assert_eq!((bed.remove('a').await, bed.remove('e').await), (Removal::Gone, Removal::Gone));
    assert_eq!(bed.removals(), 0);
}

#[tokio::test]
async fn what_was_never_started_is_removed_when_nobody_can_want_it_any_more() {
    let late = || vec![other("00000000", 'a', "created")];
    let bed = Bed::new(Deadlines::default(), Vec::new()).await;
    bed.now(late());
    assert_eq!(bed.list().await, "a", "it counts");
    assert_eq!((bed.remove('a').await, bed.removals()), (Removal::Pending, 0));
    assert_eq!(bed.others().await, 0);
    // The container may be started yet.
    bed.now(vec![other("00000000", 'a', "running")]);
    assert_eq!((bed.remove('a').await, bed.removals()), (Removal::Gone, 0));
    assert_eq!(bed.list().await, "");
    assert_eq!(bed.others().await, 1, "of a run that goes on it takes room all the same");

    let bed = Bed::new(no_patience(), Vec::new()).await;
    bed.now(late());
    assert_eq!(bed.list().await, "a");
    assert_eq!((bed.remove('a').await, bed.removals()), (Removal::Gone, 1));
    // A container that is being removed does not count as started.
    bed.now(vec![other("00000000", 'a', "removing")]);
    assert_eq!(bed.list().await, "a");
}

#[tokio::test]
async fn what_no_run_can_be_told_of_is_removed() {
    let bed = Bed::new(Deadlines::default(), Vec::new()).await;
    let mut nobodys = other("", 'a', "running");
    bed.now(vec![nobodys.clone()]);
    assert_eq!(bed.list().await, "a");
    nobodys["Labels"]["io.ganger.boot"] = json!("3fa9c1d2");
    nobodys["Labels"]["io.ganger.launch"] = json!("garbage");
    nobodys["Names"] = json!(["/ganger-echo-garbage"]);
    bed.now(vec![nobodys]);
    assert_eq!(bed.list().await, "a");
    assert_eq!((bed.remove('a').await, bed.removals()), (Removal::Gone, 1));
}

#[tokio::test]
async fn another_engine_at_the_same_place_has_a_first_list_of_its_own() {
    let id = Arc::new(Mutex::new("one"));
    let engine_side = Arc::clone(&id);
    let (engine, docker) = connected(Deadlines::default(), move |seen| {
        let id = *engine_side.lock();
        if seen.line == "GET /info" {
            let version = "20.10.24";
            return Some(Reply::Json(200, json!({"ID": id, "NCPU": 2, "ServerVersion": version})));
        }
        let there =
            if id == "one" { json!([]) } else { json!([other("00000000", 'a', "running")]) };
        seen.line.starts_with("GET /containers/json").then_some(Reply::Json(200, there))
    })
    .await;
    assert_eq!(docker.list(&"d".into()).await.unwrap().owned, []);
    *id.lock() = "two";
    let publish_on = Some(std::net::Ipv4Addr::LOCALHOST.into());
    let site = Site { endpoint: engine.endpoint(), publish_on };
    docker.connect(&"d".into(), &site).await.unwrap();
    assert_eq!(docker.list(&"d".into()).await.unwrap().owned.len(), 1);
}

#[tokio::test]
async fn one_that_comes_after_a_run_asks_for_what_that_run_made_and_no_more() {
    let engine = Engine::start(|_| None);
    let docker = Docker::after(identity());
    docker.connect(&"d".into(), &Site::of(engine.endpoint())).await.unwrap();
    docker.list(&"d".into()).await.unwrap();
    for key in [ContainerKey::Stray("c".repeat(64)), ContainerKey::Launch(LaunchId(7))] {
        docker.retire(&Target { daemon: "d".into(), key }).await.unwrap();
    }
    let lists = engine.requests("GET /containers/json");
    assert!(lists.len() >= 3);
    for list in lists {
        assert!(list.line.contains("io.ganger.instance%3Dedge-1"), "{}", list.line);
        assert!(list.line.contains("io.ganger.boot%3D3fa9c1d2"), "{}", list.line);
    }
}

#[tokio::test]
async fn a_run_that_is_known_to_go_on_is_left_alone_until_it_is_over() {
    let before = other("00000000", 'a', "running");
    let bed = Bed::new(no_patience(), vec![before.clone()]).await;
    assert_eq!(bed.list().await, "a");
    bed.docker.leave_alone("00000000");
    assert_eq!((bed.list().await.as_str(), bed.others().await), ("", 1));
    assert_eq!((bed.remove('a').await, bed.removals()), (Removal::Gone, 0));
    // The run starts more, which is no sign of life when it is known to have ended.
    bed.now(vec![before, other("00000000", 'b', "running")]);
    assert_eq!((bed.list().await.as_str(), bed.others().await), ("", 2));
    bed.docker.is_over("00000000");
    assert_eq!(bed.list().await, "ab");
    assert_eq!((bed.remove('b').await, bed.removals()), (Removal::Gone, 1));
    // The process that comes after us sees to what is left.
    bed.docker.leave_all();
    assert_eq!((bed.list().await.as_str(), bed.others().await), ("", 1));
    assert_eq!((bed.remove('a').await, bed.removals()), (Removal::Gone, 1));
}
