//! Tests of which connections are kept, against a server that counts them.

use std::sync::Arc;

use hyper::Method;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;

/// The requests that a server got, each with the number of its connection.
type Asked = Arc<Mutex<Vec<(usize, String)>>>;

/// A server that answers `{}`. On `/lost` it closes the connection in place of an answer, on
/// `/long` it sends a body that does not end. `closing` has it close every connection that it has
/// answered on.
async fn server() -> (Transport, Asked, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (asked, closing) = (Asked::default(), Arc::new(Notify::new()));
    let (log, close) = (Arc::clone(&asked), Arc::clone(&closing));
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (log, close) = (Arc::clone(&log), Arc::clone(&close));
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                let mut path = None;
                loop {
                    let line = tokio::select! {
                        line = lines.next_line() => line,
                        () = close.notified() => break,
                    };
                    let Ok(Some(line)) = line else { break };
                    if let Some(words) = line.strip_suffix(" HTTP/1.1") {
                        path = words.split(' ').nth(1).map(str::to_owned);
                        log.lock().push((number, words.to_owned()));
                    }
                    if !line.is_empty() {
                        continue;
                    }
                    let Some(path) = path.take() else { break };
                    let answer = match path.as_str() {
                        "/lost" => break,
                        "/long" => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nline\n",
                        _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                    };
                    writer.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (Transport::new(url.parse().unwrap()), asked, closing)
}

async fn get(transport: &Transport, path: &str) -> Result<Value, HttpError> {
    transport.get(path).await
}

/// The numbers of the connections that requests came by.
fn connections(asked: &Asked) -> Vec<usize> {
    asked.lock().iter().map(|(number, _)| *number).collect()
}

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection_until_it_is_renewed() {
    let (transport, asked, _) = server().await;
    for _ in 0..3 {
        get(&transport, "/").await.unwrap();
    }
    assert_eq!(connections(&asked), [0, 0, 0]);
    transport.renew();
    get(&transport, "/").await.unwrap();
    assert_eq!(connections(&asked), [0, 0, 0, 1]);
}

#[tokio::test]
async fn an_answer_that_goes_on_has_its_connection_for_itself() {
    let (transport, asked, _) = server().await;
    let mut lines = transport.follow("/long").await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap(), b"line\n");
    get(&transport, "/").await.unwrap();
    drop(lines);
    get(&transport, "/").await.unwrap();
    assert_eq!(connections(&asked), [0, 1, 1]);
}

#[tokio::test]
async fn what_may_have_been_sent_is_not_sent_again() {
    let (transport, asked, _) = server().await;
    get(&transport, "/").await.unwrap();
    for method in [Method::POST, Method::GET] {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        let error = transport.send("/lost", request).await.unwrap_err();
        assert!(matches!(error, SendError::Broken(_)), "{error}");
    }
    let asked = asked.lock();
    let lines: Vec<_> = asked.iter().map(|(number, line)| (*number, line.as_str())).collect();
    assert_eq!(lines, [(0, "GET /"), (0, "POST /lost"), (1, "GET /lost")]);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let (transport, asked, closing) = server().await;
    for round in 0..20 {
        get(&transport, "/").await.unwrap();
        closing.notify_waiters();
        // Until the client has seen it: this runtime has one thread, and what
        // was woken runs before we do again.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(connections(&asked).last(), Some(&round));
    }
}

#[tokio::test]
async fn a_connection_outlives_the_runtime_that_it_was_asked_for_on() {
    let (transport, asked, _) = server().await;
    let transport = Arc::new(transport);
    get(&transport, "/first").await.unwrap();
    transport.renew();
    let passing = Arc::clone(&transport);
    let passing = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(get(&passing, "/second")).unwrap();
    });
    passing.await.unwrap();
    get(&transport, "/third").await.unwrap();
    assert_eq!(connections(&asked), [0, 1, 1]);
}
