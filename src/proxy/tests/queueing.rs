//! Before there is a container: waiting, leaving, being refused.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fake::*;
use crate::proxy::{Acceptor, ConnId, Outcome, Refusal};
use crate::reach::Fate;

#[test]
fn a_client_that_hangs_up_leaves_the_queue() {
    test(async {
        let mut proxy = Proxy::start([Give::Wait]);
        let client = proxy.connect().await;
        assert_eq!(proxy.note().await, Note::Waiting);
        drop(client);
        assert_eq!(proxy.note().await, Note::Abandoned);
        proxy.end().await.line(&["wait=-", "end=CQ", "reason=\"the client hung up\""]);
    });
}

#[test]
fn the_place_of_a_client_that_waits_is_known_then_and_after_its_end() {
    test(async {
        let mut proxy = Proxy::start([Give::Wait, echo().await]);
        let waits = proxy.connect().await;
        assert_eq!(proxy.note().await, Note::Waiting);
        let mut served = proxy.connect().await;
        served.write_all(b"x").await.unwrap();
        served.read_exact(&mut [0]).await.unwrap();
        let sessions = Arc::clone(&proxy.sessions);
        let places = |id| {
            let places = sessions.trace(ConnId(id)).unwrap().queued.into_iter();
            places.map(|queued| queued.place).collect::<Vec<_>>()
        };
        assert_eq!((places(1), places(2)), (vec![3], vec![]));
        drop((served, waits));
        proxy.end().await;
        assert_eq!((places(1), places(2)), (vec![3], vec![]));
    });
}

#[test]
fn a_client_that_resets_leaves_the_queue_even_with_bytes_unread() {
    test(async {
        let mut proxy = Proxy::start([Give::Wait, Give::Wait]);
        for sent in [&b""[..], b"something"] {
            let mut client = proxy.connect().await;
            assert_eq!(proxy.note().await, Note::Waiting);
            client.write_all(sent).await.unwrap();
            reset(client);
            assert_eq!(proxy.note().await, Note::Abandoned);
        }
        let log = proxy.end().await.log;
        assert_eq!(log.matches("end=CQ").count(), 2, "{log}");
    });
}

#[test]
fn a_client_that_has_said_all_it_has_to_say_stays() {
    test(async {
        let mut proxy = Proxy::start([Give::Wait, Give::Wait]);
        let mut stays = proxy.connect().await;
        assert_eq!(proxy.note().await, Note::Waiting);
        stays.write_all(b"hi").await.unwrap();
        stays.shutdown().await.unwrap();
        // Came later and hangs up later: when it is seen to leave, the other was seen too.
        let leaves = proxy.connect().await;
        assert_eq!(proxy.note().await, Note::Waiting);
        drop(leaves);
        assert_eq!(proxy.note().await, Note::Abandoned);
        assert_eq!(proxy.counts().open, 1, "the one that only ended its direction is there");
        proxy.shutdown.cut.cancel();
        assert_eq!(proxy.note().await, Note::Abandoned);
        assert_reset(&read_all(&mut stays).await.1);
        let ended = proxy.end().await;
        assert!(ended.log.contains("end=KQ"), "{}", ended.log);
    });
}

#[test]
fn one_that_was_heard_and_waits_for_another_container_stays_until_it_resets() {
    test(async {
        let died = |to_read: bool| async move {
            let address = container(move |mut stream| async move {
                if to_read {
                    stream.read_to_end(&mut Vec::new()).await.unwrap();
                } else {
                    stream.read_exact(&mut [0; 2]).await.unwrap();
                }
            });
            Give::Container(
                address.await,
                Fate::Died {
                    reason: "exit code 137".into(),
                    exit_code: Some(137),
                    out_of_memory: false,
                },
            )
        };
        let mut proxy = Proxy::start([died(true).await, Give::Wait, died(false).await, Give::Wait]);
        let mut stays = proxy.connect().await;
        stays.write_all(b"hi").await.unwrap();
        stays.shutdown().await.unwrap();
        // The client does not wait until its first container is given back.
        let failed = [Note::Asked, Note::Waiting, Note::Finished(Outcome::Failed)];
        for note in &failed {
            assert_eq!(proxy.note().await, *note);
        }
        let mut leaves = proxy.connect().await;
        leaves.write_all(b"hi").await.unwrap();
        for note in &failed {
            assert_eq!(proxy.note().await, *note);
        }
        reset(leaves);
        assert_eq!(proxy.note().await, Note::Abandoned);
        assert_eq!(proxy.counts().open, 1, "the one that only ended its direction is there");
        proxy.shutdown.cut.cancel();
        assert_eq!(proxy.note().await, Note::Abandoned);
        assert_reset(&read_all(&mut stays).await.1);
        let log = proxy.end().await.log;
        assert!(log.contains("end=CC") && log.contains("end=KC"), "{log}");
    });
}

#[test]
fn a_refused_client_is_reset_and_told_why_in_the_log() {
    test(async {
        let refusals = [
            (Refusal::QueueFull, "PQ"),
            (Refusal::TimedOut { reason: Some("full".into()) }, "PQ"),
            (Refusal::Failing { reason: "exit code 3".into() }, "DL"),
            (Refusal::NoDaemon { reason: "down".into() }, "DQ"),
            (Refusal::Draining, "KQ"),
            (Refusal::UnknownService, "IQ"),
        ];
        for (refusal, code) in refusals {
            let reason = refusal.to_string();
            let proxy = Proxy::start([Give::Refuse(refusal)]);
            let mut client = proxy.connect().await;
            assert_reset(&read_all(&mut client).await.1);
            let ended = proxy.end().await;
            ended.line(&[&format!("end={code} uses=- reason=\"{reason}\""), "container=-"]);
        }
    });
}

#[test]
fn past_the_connection_cap_clients_are_reset_at_once() {
    test(async {
        let mut proxy = Proxy::start_with([Give::Wait, echo().await], 1, |_| {});
        let first = proxy.connect().await;
        assert_eq!(proxy.note().await, Note::Waiting);
        let mut second = proxy.connect().await;
        assert_reset(&read_all(&mut second).await.1);
        assert_eq!(proxy.counts().turned_away, 1);

        // Its place is free again when the first has gone.
        drop(first);
        assert_eq!(proxy.note().await, Note::Abandoned);
        while proxy.counts().open > 0 {
            tokio::task::yield_now().await;
        }
        let mut third: TcpStream = proxy.connect().await;
        third.write_all(b"x").await.unwrap();
        third.read_exact(&mut [0]).await.unwrap();
        drop(third);
        let mut ended = proxy.end().await;
        ended.outcomes(&[Outcome::Clean]);
        assert_eq!(ended.log.matches("end=RQ").count(), 1, "{}", ended.log);
        assert_eq!(ended.counts.accepted, 3);
    });
}

#[test]
fn a_client_that_no_thread_can_look_after_is_reset_and_told() {
    // A runtime that has ended looks after nobody.
    let ended = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let acceptor = Acceptor::alone(ended.handle().clone());
    drop(ended);
    test(async {
        let proxy = Proxy::start_on([], 1000, |_| {}, acceptor);
        let mut client = proxy.connect().await;
        assert_reset(&read_all(&mut client).await.1);
        while proxy.counts().turned_away == 0 {
            tokio::task::yield_now().await;
        }
        let ended = proxy.end().await;
        assert!(ended.log.contains("end=RQ"), "{}", ended.log);
        assert!(ended.log.contains("the connection cannot be looked after"), "{}", ended.log);
        assert_eq!((ended.counts.accepted, ended.counts.turned_away), (1, 1));
    });
}
