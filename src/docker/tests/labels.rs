//! Containers with our labels that are not ours: an image may have them, as of `docker commit`.

use super::*;

/// A container that an operator runs from an image that was made of a container of ours,
/// which is `listed`.
fn copy_of(mut listed: Value, id: char) -> Value {
    listed["Id"] = json!(String::from(id).repeat(64));
    listed["Names"] = json!(["/mine"]);
    listed
}

fn holder(number: u32) -> Value {
    let mut listed = listed("00000000", 1, "running");
    listed["Names"] = json!([format!("/ganger-sandbox-00000000-{number}")]);
    listed["Labels"]["io.ganger.service"] = json!("");
    listed["Labels"]["io.ganger.launch"] = json!("");
    listed["Labels"]["io.ganger.sandbox"] = json!(number.to_string());
    listed
}

fn lists(all: impl Fn() -> Value) -> impl Fn(&Seen) -> Option<Reply> {
    move |seen| seen.line.starts_with("GET /containers/json").then(|| Reply::Json(200, all()))
}

#[tokio::test]
async fn every_label_of_ours_is_set_on_whatever_we_make() {
    let (engine, docker) = connected(Deadlines::default(), |_| None).await;
    let sandbox = crate::spec::Sandbox::Pooled;
    docker.launch(&order(Spec { sandbox, read_only: true, ..spec() })).await.unwrap();
    let created = engine.requests("/containers/create");
    assert!(created.len() >= 2, "a holder and a container");
    for create in created {
        let labels = create.body["Labels"].as_object().unwrap();
        let kinds = ["instance", "boot", "service", "generation", "launch", "sandbox", "deadline"];
        for kind in kinds {
            assert!(labels.contains_key(&format!("io.ganger.{kind}")), "{kind}: {labels:?}");
        }
        assert_eq!(labels["io.ganger.deadline"], "");
        let is_holder = create.line.contains("name=ganger-sandbox-3fa9c1d2-");
        assert_eq!(labels["io.ganger.sandbox"] != "", is_holder, "{labels:?}");
        assert_eq!(labels["io.ganger.launch"] == "", is_holder, "{labels:?}");
    }
}

#[tokio::test]
async fn what_bears_our_labels_under_another_name_is_not_ours() {
    let copies = || {
        json!([
            copy_of(listed("3fa9c1d2", 7, "running"), 'a'),
            copy_of(listed("00000000", 1, "exited"), 'b'),
            copy_of(holder(1), 'd'),
        ])
    };
    let (engine, docker) = connected(Deadlines::default(), lists(copies)).await;
    let Listing { owned, others } = docker.list(&"d".into()).await.unwrap();
    assert_eq!((owned, others), (Vec::new(), 0), "it does not even count");
    docker.launch(&LaunchOrder { max_containers: 1, ..order(spec()) }).await.unwrap();
    assert_eq!(docker.retire(&target()).await.unwrap(), Removal::Gone);
    for id in ['a', 'b', 'd'] {
        let key = ContainerKey::Stray(String::from(id).repeat(64));
        docker.retire(&Target { daemon: "d".into(), key }).await.unwrap();
    }
    let removals: Vec<_> = engine.requests("DELETE").into_iter().map(|seen| seen.line).collect();
    assert_eq!(removals.len(), 1, "{removals:?}");
    assert!(removals[0].starts_with("DELETE /containers/ganger-echo-3fa9c1d2-7?"), "{removals:?}");
}

#[tokio::test]
async fn what_happens_to_a_copy_happens_to_none_of_ours() {
    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.starts_with("GET /events").then(|| {
            let event = |action, name, id: char| {
                let mut labels = listed("3fa9c1d2", 7, "running")["Labels"].take();
                labels["name"] = json!(name);
                let actor = json!({"ID": String::from(id).repeat(64), "Attributes": labels});
                json!({"Type": "container", "Action": action, "Actor": actor}).to_string() + "\n"
            };
            Reply::Truncated(
                ["create", "oom", "die", "destroy"].map(|what| event(what, "mine", 'a')).concat()
                    + &event("oom", "ganger-echo-3fa9c1d2-7", 'b')
                    // The container that we made, whatever its name is now.
                    + &event("die", "mine", 'c'),
            )
        })
    })
    .await;
    docker.launch(&order(spec())).await.unwrap();
    let (sink, mut events) = mpsc::unbounded_channel();
    docker.events(&"d".into(), sink, || {}).await;
    assert_eq!(events.try_recv(), Ok(RuntimeEvent::OutOfMemory(LaunchId(7))));
    assert_eq!(events.try_recv(), Ok(RuntimeEvent::Died(LaunchId(7))));
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn an_empty_deadline_is_none_and_a_copy_s_is_not_believed() {
    let dated = |launch, deadline: &str| {
        let mut listed = listed("00000000", launch, "running");
        listed["Id"] = json!(launch.to_string().repeat(64));
        listed["Labels"]["io.ganger.deadline"] = json!(deadline);
        listed
    };
    let all = move || json!([dated(1, "1"), dated(2, ""), copy_of(dated(3, "1"), 'a')]);
    let engine = Engine::start(lists(all));
    let docker = Docker::overdue();
    docker.connect(&"d".into(), &Site::of(engine.endpoint())).await.unwrap();
    let owned = docker.list(&"d".into()).await.unwrap().owned;
    let key = ContainerKey::Stray("1".repeat(64));
    assert_eq!(owned, [Owned { key, running: true }]);
}
