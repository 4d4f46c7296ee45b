//! Bytes go through whole, and so do ends.

use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::fake::*;
use crate::proxy::Outcome;
use crate::reach::Fate;

/// Writes in pieces of odd sizes.
async fn write_in_pieces(to: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8], seed: u64) {
    let mut random = Random(seed);
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = 1 + random.next() as usize % (1 << (random.next() % 19));
        let (piece, more) = rest.split_at(size.min(rest.len()));
        to.write_all(piece).await.unwrap();
        rest = more;
    }
}

#[test]
fn what_is_echoed_is_what_was_sent() {
    test(async {
        for seed in 1..=5 {
            let proxy = Proxy::start([echo().await]);
            let sent = noise(seed, 3_000_000 + seed as usize);
            let (mut from, mut to) = proxy.connect().await.into_split();
            let mut back = Vec::new();
            tokio::join!(
                async {
                    write_in_pieces(&mut to, &sent, seed).await;
                    to.shutdown().await.unwrap();
                },
                async {
                    from.read_to_end(&mut back).await.unwrap();
                }
            );
            assert!(back == sent, "seed {seed}: {} of {} bytes", back.len(), sent.len());
            let mut ended = proxy.end().await;
            let bytes = format!("in={0}B out={0}B end=-- uses=1/1", sent.len());
            ended.line(&[&bytes, "container=c0ffee00c0ff daemon=local start=warm"]);
            ended.outcomes(&[Outcome::Clean]);
            assert_eq!(ended.counts.bytes_in, sent.len() as u64);
        }
    });
}

#[test]
fn different_streams_both_ways_at_once_arrive_whole() {
    test(async {
        let (up, down) = (noise(11, 2_000_003), noise(12, 1_500_001));
        let (expected, answer) = (up.clone(), down.clone());
        let address = container(move |stream| async move {
            let (mut from, mut to) = stream.into_split();
            let mut got = Vec::new();
            tokio::join!(
                async {
                    write_in_pieces(&mut to, &answer, 13).await;
                    to.shutdown().await.unwrap();
                },
                async {
                    from.read_to_end(&mut got).await.unwrap();
                }
            );
            assert!(got == expected);
        })
        .await;
        let proxy = Proxy::start([Give::Container(address, Fate::Running)]);
        let (mut from, mut to) = proxy.connect().await.into_split();
        let mut got = Vec::new();
        tokio::join!(
            async {
                write_in_pieces(&mut to, &up, 14).await;
                to.shutdown().await.unwrap();
            },
            async {
                from.read_to_end(&mut got).await.unwrap();
            }
        );
        assert!(got == down);
        proxy.end().await.outcomes(&[Outcome::Clean]);
    });
}

#[test]
fn a_slow_reader_holds_the_container_back_and_loses_nothing() {
    test(async {
        let sent = noise(21, 6_000_000);
        let bytes = sent.clone();
        let (stalled, mut on_stall) = tokio::sync::mpsc::channel(1);
        let address = container(move |mut stream| async move {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match stream.try_write(rest) {
                    Ok(taken) => rest = &rest[taken..],
                    Err(_) => {
                        // The proxy takes no more: nobody reads yet.
                        let _ = stalled.try_send(());
                        stream.writable().await.unwrap();
                    }
                }
            }
            stream.shutdown().await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        })
        .await;
        let proxy = Proxy::start([Give::Container(address, Fate::Running)]);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = socket.connect(proxy.address).await.unwrap();
        on_stall.recv().await.unwrap();
        let mut got = Vec::new();
        let mut piece = [0; 777];
        loop {
            match client.read(&mut piece).await.unwrap() {
                0 => break,
                read => got.extend_from_slice(&piece[..read]),
            }
        }
        assert!(got == sent, "{} bytes", got.len());
        drop(client);
        proxy.end().await.outcomes(&[Outcome::Clean]);
    });
}

#[test]
fn a_client_that_stops_reading_is_asked_after_and_loses_nothing() {
    const KEEPALIVE: Duration = Duration::from_millis(200);
    for half_closed in [false, true] {
        test(async move {
            let proxy = Proxy::start_with([echo().await], 10, |settings| {
                settings.session.keepalive = Some(KEEPALIVE);
            });
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut client = socket.connect(proxy.address).await.unwrap();
            // The bytes fit into the sockets on the way: no write of the proxy waits.
            let sent = noise(31, 100_000);
            client.write_all(&sent).await.unwrap();
            if half_closed {
                client.shutdown().await.unwrap();
            }
            // The pause is under test: the kernel is asked several times meanwhile.
            tokio::time::sleep(8 * KEEPALIVE).await;
            let mut got = vec![0; sent.len()];
            client.read_exact(&mut got).await.unwrap();
            assert!(got == sent);
            client.shutdown().await.unwrap();
            assert_eq!(client.read(&mut got).await.unwrap(), 0, "an end, and no reset");
            proxy.end().await.outcomes(&[Outcome::Clean]);
        });
    }
}

#[test]
fn the_client_may_end_first_and_still_get_the_answer() {
    test(async {
        let address = container(|mut stream| async move {
            let mut question = Vec::new();
            stream.read_to_end(&mut question).await.unwrap();
            stream.write_all(&question.repeat(2)).await.unwrap();
        })
        .await;
        let proxy = Proxy::start([Give::Container(address, Fate::Running)]);
        let mut client = proxy.connect().await;
        client.write_all(b"half").await.unwrap();
        client.shutdown().await.unwrap();
        let (answer, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(answer, b"halfhalf");
        proxy.end().await.outcomes(&[Outcome::Clean]);
    });
}

#[test]
fn the_container_may_end_first_and_still_be_sent_to() {
    test(async {
        let (heard, on_heard) = tokio::sync::oneshot::channel();
        let address = container(|mut stream| async move {
            stream.write_all(b"banner").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            heard.send(rest).unwrap();
        })
        .await;
        let proxy = Proxy::start([Give::Container(address, Fate::Running)]);
        let mut client = proxy.connect().await;
        let (banner, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(banner, b"banner");
        client.write_all(b"after the end").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(on_heard.await.unwrap(), b"after the end");
        let mut ended = proxy.end().await;
        ended.line(&["in=13B out=6B end=--"]);
        ended.outcomes(&[Outcome::Clean]);
    });
}

#[test]
fn urgent_bytes_stay_in_line_both_ways() {
    test(async {
        let proxy = Proxy::start([Give::Container(
            container(|mut stream| async move {
                let mut got = vec![0; 2001];
                stream.read_exact(&mut got).await.unwrap();
                stream.write_all(&got[..1000]).await.unwrap();
                // One byte of the answer is urgent as well.
                assert_eq!(SockRef::from(&stream).send_out_of_band(&got[1000..1001]).unwrap(), 1);
                stream.write_all(&got[1001..]).await.unwrap();
            })
            .await,
            Fate::Running,
        )]);
        let sent = noise(31, 2001);
        let mut client = proxy.connect().await;
        // Else the client's own kernel takes the byte out of the answer.
        SockRef::from(&client).set_out_of_band_inline(true).unwrap();
        client.write_all(&sent[..1000]).await.unwrap();
        assert_eq!(SockRef::from(&client).send_out_of_band(&sent[1000..1001]).unwrap(), 1);
        client.write_all(&sent[1001..]).await.unwrap();
        client.shutdown().await.unwrap();
        let (back, end) = read_all(&mut client).await;
        end.unwrap();
        assert!(back == sent, "{} bytes", back.len());
        proxy.end().await.outcomes(&[Outcome::Clean]);
    });
}

#[test]
fn a_client_that_resets_resets_the_container() {
    test(async {
        let (ended, on_end) = tokio::sync::oneshot::channel();
        let address = container(|mut stream| async move {
            let (got, result) = read_all(&mut stream).await;
            ended.send((got, result)).unwrap();
        })
        .await;
        let mut proxy = Proxy::start([Give::Container(address, Fate::Running)]);
        let mut client = proxy.connect().await;
        client.write_all(b"cut sho").await.unwrap();
        reset(client);
        let (_, result) = on_end.await.unwrap();
        assert_reset(&result);
        assert_eq!(proxy.note().await, Note::Finished(Outcome::Failed));
        proxy.end().await.line(&["end=CD", "reason=\"the client reset the connection\""]);
    });
}

#[test]
fn a_container_that_resets_after_its_first_byte_resets_the_client() {
    test(async {
        let (go, on_go) = tokio::sync::oneshot::channel();
        let address = container(|mut stream| async move {
            stream.write_all(b"some of it").await.unwrap();
            on_go.await.unwrap();
            reset(stream);
        })
        .await;
        let proxy = Proxy::start([Give::Container(address, Fate::Running)]);
        let mut client = proxy.connect().await;
        client.read_exact(&mut [0; 10]).await.unwrap();
        go.send(()).unwrap();
        let (more, result) = read_all(&mut client).await;
        assert_eq!(more, b"");
        assert_reset(&result);
        let mut ended = proxy.end().await;
        ended.line(&["out=10B", "end=SD"]);
        ended.outcomes(&[Outcome::Failed]);
    });
}

#[test]
fn an_answer_is_delivered_although_the_container_refused_the_rest() {
    test(async {
        // Reads little, answers, closes: its kernel resets for what was unread.
        let address = container(|mut stream| async move {
            stream.read_exact(&mut [0; 10]).await.unwrap();
            stream.write_all(&noise(41, 100_000)).await.unwrap();
        })
        .await;
        let proxy = Proxy::start([Give::Container(address, Fate::Running)]);
        let (mut from, mut to) = proxy.connect().await.into_split();
        let writer = tokio::spawn(async move {
            let more = vec![7; 100_000];
            while to.write_all(&more).await.is_ok() {}
        });
        let mut got = Vec::new();
        let error = from.read_to_end(&mut got).await.unwrap_err();
        assert_reset(&Err(error));
        assert!(noise(41, 100_000).starts_with(&got));
        writer.await.unwrap();
        proxy.end().await.outcomes(&[Outcome::Failed]);
    });
}

#[test]
fn an_idle_connection_is_ended() {
    test(async {
        let proxy = Proxy::start_with([echo().await], 10, |settings| {
            settings.session.idle = Some(Duration::from_secs(1));
        });
        let mut client = proxy.connect().await;
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        let (rest, result) = read_all(&mut client).await;
        assert_eq!(rest, b"");
        assert_reset(&result);
        let mut ended = proxy.end().await;
        ended.line(&["in=1B out=1B", "end=cD", "reason=\"idle\""]);
        ended.outcomes(&[Outcome::Failed]);
    });
}

#[test]
fn traffic_in_one_direction_keeps_a_connection_up() {
    test(async {
        let idle = Duration::from_secs(1);
        let address = container(move |mut stream| async move {
            // Longer than the time-out in all, with no pause as long as it.
            for _ in 0..16 {
                tokio::time::sleep(idle / 8).await;
                stream.write_all(b".").await.unwrap();
            }
        })
        .await;
        let proxy = Proxy::start_with([Give::Container(address, Fate::Running)], 10, |settings| {
            settings.session.idle = Some(idle);
        });
        let mut client = proxy.connect().await;
        let (got, result) = read_all(&mut client).await;
        result.unwrap();
        assert_eq!(got.len(), 16);
        drop(client);
        proxy.end().await.outcomes(&[Outcome::Clean]);
    });
}

#[test]
fn a_session_is_ended_by_its_time_out_whatever_moves() {
    test(async {
        let proxy = Proxy::start_with([echo().await], 10, |settings| {
            settings.session.session_timeout = Some(Duration::from_millis(100));
        });
        let mut client = proxy.connect().await;
        let mut byte = [0];
        while client.write_all(b"x").await.is_ok() && client.read_exact(&mut byte).await.is_ok() {}
        let mut ended = proxy.end().await;
        ended.line(&["end=PD"]);
        ended.outcomes(&[Outcome::Failed]);
    });
}

#[test]
fn a_v6_client_is_served() {
    test(async {
        if Socket::new(Domain::IPV6, Type::STREAM, None).is_err() {
            return;
        }
        let proxy = Proxy::start_with([echo().await], 10, |settings| {
            settings.listen = "[::1]:0".parse().unwrap();
        });
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        client.write_all(b"six").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut client).await.0, b"six");
        proxy.end().await.line(&["client=[::1]:", "end=--"]);
    });
}
