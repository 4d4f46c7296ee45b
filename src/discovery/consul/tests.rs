//! Tests against a Consul with scripted answers.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

type Answers = Vec<Option<(u64, &'static [&'static str])>>;

/// A Consul without ACLs.
async fn server(answers: Answers) -> (Consul, mpsc::UnboundedReceiver<()>) {
    server_with("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", answers).await
}

/// A Consul that gives these answers, one for each connection: an index and the ids of instances;
/// `None` is a connection that breaks. Then it holds every query. The receiver hears of each query.
/// Questions for rights are answered with `rights`.
async fn server_with(rights: &str, answers: Answers) -> (Consul, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (asked, asks) = mpsc::unbounded_channel();
    let rights = rights.to_owned();
    tokio::spawn(async move {
        let mut held = Vec::new();
        let mut answers = answers.into_iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert_ne!(stream.read(&mut request).await.unwrap(), 0);
            if request.starts_with(b"POST /v1/internal/acl/authorize") {
                stream.write_all(rights.as_bytes()).await.unwrap();
                continue;
            }
            _ = asked.send(());
            match answers.next() {
                Some(Some((index, ids))) => {
                    let body = body(ids).to_string();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nX-Consul-Index: {index}\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    stream.write_all((head + &body).as_bytes()).await.unwrap();
                }
                Some(None) => drop(stream),
                None => held.push(stream),
            }
        }
    });
    let consul = Consul {
        servers: vec![url.parse().unwrap()],
        token_file: None,
        service: "docker".to_owned(),
        datacenters: Vec::new(),
        consistency: Consistency::Default,
        max_containers: 4,
        insecure: false,
        tls: None,
    };
    (consul, asks)
}

fn body(ids: &[&str]) -> Value {
    let entry = |id: &&str| {
        json!({"Node": {"Node": "n", "Address": "127.0.0.1"},
               "Service": {"ID": id, "Service": "docker", "Port": 2375}})
    };
    ids.iter().map(entry).collect()
}

/// The answer to a token that may not read the service.
fn denied() -> String {
    let body = r#"[{"Resource":"service","Segment":"docker","Access":"read","Allow":false}]"#;
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The fleet once all answers were given and the server is asked again.
async fn after(answers: Answers) -> Vec<String> {
    let count = answers.len() + 1;
    let (consul, mut asks) = server(answers).await;
    let Subscription { fleet, tasks: _tasks, .. } = consul.follow(NEVER).await;
    for _ in 0..count {
        asks.recv().await.unwrap();
    }
    fleet.borrow().iter().map(|daemon| daemon.name.to_string()).collect()
}

#[tokio::test]
async fn an_answer_without_daemons_is_an_answer() {
    let (consul, _asks) = server(vec![Some((7, &[]))]).await;
    let followed = timeout(Duration::from_secs(30), consul.follow(NEVER)).await;
    let followed = followed.expect("the start goes on");
    assert!(followed.answered && followed.fleet.borrow().is_empty());
}

#[tokio::test]
async fn one_that_does_not_answer_is_told_from_one_that_lists_nothing() {
    let (consul, _asks) = server(vec![]).await;
    let followed = consul.follow(Duration::from_millis(50)).await;
    assert!(!followed.answered);
}

#[tokio::test]
async fn one_is_up_from_its_answer_to_its_first_failure() {
    let (consul, mut asks) = server(vec![Some((7, &["a"])), None]).await;
    let followed = consul.follow(NEVER).await;
    let answers = followed.health.answers();
    assert!(answers.is_up && answers.last.is_some(), "{answers:?}");
    for _ in 0..3 {
        asks.recv().await.unwrap();
    }
    let answers = followed.health.answers();
    assert_eq!((answers.is_up, answers.failures), (false, 1));
}

#[tokio::test]
async fn what_a_consul_forgot_while_it_was_away_is_kept() {
    let fleet = after(vec![Some((9, &["a", "b"])), None, Some((3, &["b"])), Some((3, &["b"]))]);
    assert_eq!(fleet.await, ["n.a", "n.b"]);
}

#[tokio::test]
async fn what_a_consul_does_not_list_any_more_after_it_was_away_has_left() {
    let fleet = after(vec![Some((9, &["a", "b"])), None, Some((12, &["b"]))]);
    assert_eq!(fleet.await, ["n.b"]);
}

#[tokio::test]
async fn nothing_that_is_listed_for_who_must_not_read_it_is_not_an_answer() {
    let answers = vec![Some((9, &["a", "b"][..])), Some((10, &[])), Some((10, &[]))];
    let count = answers.len() + 1;
    let (consul, mut asks) = server_with(&denied(), answers).await;
    let Subscription { fleet, tasks: _tasks, .. } = consul.clone().follow(NEVER).await;
    for _ in 0..count {
        asks.recv().await.unwrap();
    }
    assert_eq!(fleet.borrow().len(), 2);

    let (consul, _asks) = server_with(&denied(), vec![Some((9, &[]))]).await;
    let error = consul.once().await.unwrap_err();
    assert!(error.contains("add `token_file`") && error.contains("`service:read`"), "{error}");
}

#[tokio::test]
async fn a_right_that_cannot_be_asked_for_hides_no_answer() {
    let (consul, _asks) = server_with("nonsense\r\n\r\n", vec![Some((7, &[]))]).await;
    assert_eq!(consul.once().await, Ok(Discovered::default()));
}
