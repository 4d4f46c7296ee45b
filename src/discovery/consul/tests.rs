//! Against a Consul that does what it is told.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

/// A Consul that gives these answers, one for each connection: an index and
/// the ids of instances; `None` is a connection that breaks. Then it holds
/// every query. Says when it is asked.
async fn server(
    answers: Vec<Option<(u64, &'static [&'static str])>>,
) -> (Consul, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (asked, asks) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut held = Vec::new();
        let mut answers = answers.into_iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
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

/// The fleet once the server was asked so often.
async fn after(answers: Vec<Option<(u64, &'static [&'static str])>>) -> Vec<String> {
    let count = answers.len() + 1;
    let (consul, mut asks) = server(answers).await;
    let Following { fleet, tasks: _tasks, .. } = consul.follow(NEVER).await;
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
async fn what_a_consul_forgot_while_it_was_away_is_kept() {
    let fleet = after(vec![Some((9, &["a", "b"])), None, Some((3, &["b"])), Some((3, &["b"]))]);
    assert_eq!(fleet.await, ["n.a", "n.b"]);
}

#[tokio::test]
async fn what_a_consul_does_not_list_any_more_after_it_was_away_has_left() {
    let fleet = after(vec![Some((9, &["a", "b"])), None, Some((12, &["b"]))]);
    assert_eq!(fleet.await, ["n.b"]);
}
