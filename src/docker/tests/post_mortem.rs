//! Post-mortems of containers that have failed.

use super::*;

/// A frame of an engine's log.
fn frame(line: &str) -> String {
    let length = char::from(u8::try_from(line.len()).unwrap());
    format!("\x01\0\0\0\0\0\0{length}{line}")
}

/// An engine that has a container in this state, which has logged these lines.
fn ended(state: Value, lines: &'static [&'static str]) -> impl Fn(&Seen) -> Option<Reply> {
    move |seen| {
        if seen.line.contains("/logs?") {
            return Some(Reply::Chunked(lines.iter().map(|line| frame(line)).collect()));
        }
        let asks = seen.line.starts_with("GET /containers/") && seen.line.ends_with("/json");
        asks.then(|| Reply::Json(200, json!({ "State": state })))
    }
}

fn stray(id: String) -> Target {
    Target { daemon: "d".into(), key: ContainerKey::Stray(id) }
}

#[tokio::test]
async fn the_end_of_a_container_is_told_with_its_last_words() {
    let state = json!({"Running": false, "ExitCode": 3, "OOMKilled": true});
    let lines = &["one\n", "two\n", "three\n", "four\n", "five\n", "six\n"];
    let (engine, docker) = connected(Deadlines::default(), ended(state, lines)).await;
    assert_eq!(docker.post_mortem(&target()).await, None, "nothing was launched yet");
    docker.launch(&order(spec())).await.unwrap_err();
    for target in [target(), stray("c".repeat(64))] {
        let post_mortem = docker.post_mortem(&target).await.unwrap();
        assert_eq!((post_mortem.exit_code, post_mortem.out_of_memory), (Some(3), true));
        assert!(post_mortem.removed.is_none());
        assert_eq!(post_mortem.container, Some("c".repeat(64)));
        assert_eq!(post_mortem.log, ["two", "three", "four", "five", "six"]);
    }
    let asked = engine.requests("").len();
    assert_eq!(docker.post_mortem(&stray("../images".into())).await, None);
    assert_eq!(engine.requests("").len(), asked);
}

#[tokio::test]
async fn one_that_runs_has_no_exit_code_and_one_that_is_gone_was_removed() {
    let (_engine, docker) =
        connected(Deadlines::default(), ended(json!({"Running": true, "ExitCode": 0}), &[])).await;
    let post_mortem = docker.post_mortem(&stray("c".repeat(64))).await.unwrap();
    assert_eq!((post_mortem.exit_code, post_mortem.removed), (None, None));

    let (_engine, docker) = connected(Deadlines::default(), |seen| {
        seen.line.ends_with("ccc/json").then(|| no(404, "No such container")).flatten()
    })
    .await;
    assert!(docker.post_mortem(&stray("c".repeat(64))).await.unwrap().removed.is_some());
}
