//! Containers that fail: before their first byte the client does not notice,
//! after it the client is not deceived.

use std::future::pending;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::yield_now;

use super::fake::*;
use crate::proxy::{ConnId, Outcome, Refusal, Settings};
use crate::reach::Fate;

fn killed() -> Fate {
    Fate::Died { reason: "exit code 137".into(), exit_code: Some(137), out_of_memory: false }
}

/// A container that reads some and then resets.
async fn reset_after(bytes: usize) -> Give {
    let address = container(move |mut stream| async move {
        stream.read_exact(&mut vec![0; bytes]).await.unwrap();
        reset(stream);
    })
    .await;
    Give::Container(address, Fate::Running)
}

#[test]
fn another_container_is_given_what_the_client_sent() {
    test(async {
        let proxy = Proxy::start([reset_after(3).await, reset_after(1).await, echo().await]);
        let mut client = proxy.connect().await;
        client.write_all(b"hello, ").await.unwrap();
        let mut back = [0; 7];
        client.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello, ");
        let trace = || proxy.sessions.trace(ConnId(1)).unwrap();
        // A replaced container is recorded once it was given back.
        while trace().replaced.len() < 2 {
            yield_now().await;
        }
        let live = trace();
        assert_eq!((live.ended, live.record.bytes_in, live.record.bytes_out), (None, 7, 7));
        assert!(live.record.leased <= live.record.first_byte, "{live:?}");
        client.write_all(b"world").await.unwrap();
        client.shutdown().await.unwrap();
        let (rest, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(rest, b"world");
        while trace().ended.is_none() {
            yield_now().await;
        }
        let (before, after) = (live, trace());
        assert_eq!(before.replaced, after.replaced);
        assert!(after.replaced[0].after <= after.replaced[1].after, "{after:?}");
        assert!(after.replaced[1].after <= after.record.leased.unwrap(), "{after:?}");
        assert_eq!((after.record.bytes_in, after.record.leased), (12, before.record.leased));
        assert!(proxy.sessions.trace(ConnId(2)).is_none());
        let mut ended = proxy.end().await;
        ended.line(&["in=12B out=12B end=--"]);
        ended.outcomes(&[Outcome::Failed, Outcome::Failed, Outcome::Clean]);
        assert_eq!(ended.counts.failovers, 2);
    });
}

#[test]
fn a_container_that_is_replaced_is_told_of_with_its_last_lines() {
    test(async {
        let dies = container(|stream| async move { drop(stream) }).await;
        let resets = reset_after(1).await;
        let refuses = Give::Container(nobody().await, killed());
        let script = [Give::Container(dies, killed()), resets, refuses, echo().await];
        let proxy = Proxy::start(script);
        let mut client = proxy.connect().await;
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let (back, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(back, b"hello");
        let own = client.local_addr().unwrap();
        let ended = proxy.end().await;
        let told = |line: &&str| line.contains("failed before its first byte");
        let told: Vec<_> = ended.log.lines().filter(told).collect();
        let lines = "; last log lines: the cause | last words";
        for (line, said) in told.iter().zip([
            format!("end=DD reason=\"the container died: exit code 137{lines}\""),
            format!("end=SD reason=\"the container reset the connection{lines}\""),
            format!("end=SC reason=\"cannot connect to the container: Connection refused (os error 111){lines}\""),
        ]) {
            let of = format!("service=echo client={own} container=c0ffee00c0ff daemon=local ");
            assert!(line.contains(&of) && line.contains(&said), "{line}");
        }
        assert_eq!(told.len(), 3, "{}", ended.log);
        ended.line(&["end=--"]);
    });
}

#[test]
fn nobody_waits_for_the_last_lines_of_a_container_that_is_replaced() {
    test(async {
        let silent = || container(|stream| async move { drop(stream) });
        let mute = Give::Mute(silent().await, killed());
        let mut proxy = Proxy::start([mute, echo().await]);
        let mut client = proxy.connect().await;
        client.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        client.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
        client.shutdown().await.unwrap();
        read_all(&mut client).await.1.unwrap();
        while proxy.note().await != Note::Finished(Outcome::Clean) {}
        // The operator's cut ends the wait for them; else it is a matter of seconds.
        proxy.shutdown.cut.cancel();
        assert_eq!(proxy.note().await, Note::Finished(Outcome::Failed));
        let ended = proxy.end().await;
        assert!(ended.log.contains("failed before its first byte"), "{}", ended.log);
    });
}

#[test]
fn a_large_record_is_replayed_whole() {
    test(async {
        let sent = noise(51, 64 * 1024);
        let proxy = Proxy::start([reset_after(30_000).await, echo().await]);
        let (mut from, mut to) = proxy.connect().await.into_split();
        let mut back = Vec::new();
        tokio::join!(
            async {
                to.write_all(&sent).await.unwrap();
                to.shutdown().await.unwrap();
            },
            async {
                from.read_to_end(&mut back).await.unwrap();
            }
        );
        assert!(back == sent, "{} bytes", back.len());
        proxy.end().await.outcomes(&[Outcome::Failed, Outcome::Clean]);
    });
}

#[test]
fn the_clients_end_is_replayed_too() {
    test(async {
        // Waits for the end before it dies, so that the end has been passed on.
        let first = container(|mut stream| async move {
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        })
        .await;
        let proxy = Proxy::start([Give::Container(first, killed()), echo().await]);
        let mut client = proxy.connect().await;
        client.write_all(b"echo hi | nc").await.unwrap();
        client.shutdown().await.unwrap();
        let (back, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(back, b"echo hi | nc");
        proxy.end().await.outcomes(&[Outcome::Failed, Outcome::Clean]);
    });
}

#[test]
fn past_the_record_there_is_no_other_container() {
    test(async {
        let proxy = Proxy::start_with([reset_after(9).await, echo().await], 10, |settings| {
            settings.session.connect.replay = 8;
        });
        let mut client = proxy.connect().await;
        client.write_all(b"123456789").await.unwrap();
        assert_reset(&read_all(&mut client).await.1);
        let mut ended = proxy.end().await;
        ended.line(&["end=SD", "in=9B out=0B", "; last log lines: the cause | last words"]);
        ended.outcomes(&[Outcome::Failed]);
        assert_eq!(ended.counts.failovers, 0);
    });
}

#[test]
fn a_container_that_died_early_is_replaced_and_one_that_ended_is_not() {
    test(async {
        let silent = || container(|stream| async move { drop(stream) });
        let proxy = Proxy::start([
            Give::Container(silent().await, killed()),
            Give::Container(silent().await, Fate::Running),
        ]);
        let mut client = proxy.connect().await;
        let (bytes, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(bytes, b"");
        drop(client);
        let mut ended = proxy.end().await;
        ended.line(&["end=--"]);
        // Nothing was sent to it that could have killed it.
        ended.outcomes(&[Outcome::FailedUnprovoked, Outcome::Clean]);
    });
}

#[test]
fn the_retries_are_counted_over_dials_and_failures() {
    test(async {
        let nobody = nobody().await;
        let proxy = Proxy::start_with(
            [
                Give::Container(nobody, killed()),
                reset_after(1).await,
                Give::Container(nobody, killed()),
                echo().await,
            ],
            10,
            |settings| settings.session.connect.retries = 2,
        );
        let mut client = proxy.connect().await;
        client.write_all(b"x").await.unwrap();
        assert_reset(&read_all(&mut client).await.1);
        let mut ended = proxy.end().await;
        ended.line(&["end=SC", "reason=\"cannot connect to the container: "]);
        ended.outcomes(&[Outcome::FailedUnprovoked, Outcome::Failed, Outcome::Failed]);
    });
}

#[test]
fn without_retries_the_first_failure_is_the_last() {
    test(async {
        let proxy = Proxy::start_with([reset_after(1).await, echo().await], 10, |settings| {
            settings.session.connect.retries = 0;
        });
        let mut client = proxy.connect().await;
        client.write_all(b"x").await.unwrap();
        assert_reset(&read_all(&mut client).await.1);
        let mut ended = proxy.end().await;
        ended.line(&["end=SD"]);
        ended.outcomes(&[Outcome::Failed]);
    });
}

#[test]
fn a_dial_that_hangs_is_given_up() {
    test(async {
        let proxy = Proxy::start_with([Give::Deaf, echo().await], 10, |settings| {
            settings.session.connect.timeout = Duration::from_millis(50);
            settings.session.connect.retries = 0;
        });
        let mut client = proxy.connect().await;
        assert_reset(&read_all(&mut client).await.1);
        let mut ended = proxy.end().await;
        ended.line(&["end=sC", "container=c0ffee00c0ff", "connect=- first_byte=-"]);
        ended.outcomes(&[Outcome::FailedUnprovoked]);
    });
}

#[test]
fn a_dial_that_hangs_leaves_time_for_another() {
    test(async {
        let proxy = Proxy::start_with([Give::Deaf, Give::Deaf, echo().await], 10, |settings| {
            settings.session.connect.timeout = Duration::from_secs(2);
        });
        let mut client = proxy.connect().await;
        client.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
        drop(client);
        proxy.end().await.outcomes(&[
            Outcome::FailedUnprovoked,
            Outcome::FailedUnprovoked,
            Outcome::Clean,
        ]);
    });
}

#[test]
fn when_no_other_container_is_to_be_had_the_first_failure_is_told() {
    test(async {
        let proxy = Proxy::start([reset_after(1).await, Give::Refuse(Refusal::QueueFull)]);
        let mut client = proxy.connect().await;
        client.write_all(b"x").await.unwrap();
        assert_reset(&read_all(&mut client).await.1);
        let mut ended = proxy.end().await;
        ended.line(&[
            "end=SD",
            "reason=\"the container reset the connection; then the queue is full\"",
        ]);
        ended.outcomes(&[Outcome::Failed]);
    });
}

#[test]
fn a_container_that_lives_and_refuses_is_dialled_again() {
    test(async {
        let listens = container(echo_all).await;
        let proxy = Proxy::start([Give::Shy(listens, 3, Errno::CONNREFUSED)]);
        let mut client = proxy.connect().await;
        client.shutdown().await.unwrap();
        read_all(&mut client).await.1.unwrap();
        let mut ended = proxy.end().await;
        ended.line(&["end=--"]);
        ended.outcomes(&[Outcome::Clean]);
    });
}

#[test]
fn one_that_refuses_for_ever_leaves_time_for_another() {
    test(async {
        let nobody = nobody().await;
        let proxy = Proxy::start_with(
            [Give::Container(nobody, Fate::Running), echo().await],
            10,
            |settings| settings.session.connect.timeout = Duration::from_secs(2),
        );
        let mut client = proxy.connect().await;
        client.shutdown().await.unwrap();
        read_all(&mut client).await.1.unwrap();
        let mut ended = proxy.end().await;
        ended.line(&["end=--"]);
        ended.outcomes(&[Outcome::FailedUnprovoked, Outcome::Clean]);
    });
}

#[test]
fn a_container_that_fails_late_leaves_the_whole_time_for_another() {
    const CONNECT: Duration = Duration::from_secs(2);
    test(async {
        let late = container(|mut stream| async move {
            stream.read_exact(&mut [0; 5]).await.unwrap();
            // Longer than a dial may take.
            tokio::time::sleep(CONNECT + CONNECT / 4).await;
            reset(stream);
        })
        .await;
        // Refuses at first: nobody would dial again past the deadline.
        let shy = Give::Shy(container(echo_all).await, 1, Errno::CONNREFUSED);
        let proxy =
            Proxy::start_with([Give::Container(late, Fate::Running), shy], 10, |settings| {
                settings.session.connect.timeout = CONNECT
            });
        let mut client = proxy.connect().await;
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let (got, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(got, b"hello");
        let mut ended = proxy.end().await;
        ended.line(&["end=--"]);
        ended.outcomes(&[Outcome::Failed, Outcome::Clean]);
    });
}

#[test]
fn what_this_machine_lacks_costs_no_container() {
    test(async {
        let listens = container(echo_all).await;
        let proxy = Proxy::start([Give::Shy(listens, 3, Errno::MFILE)]);
        let mut client = proxy.connect().await;
        client.shutdown().await.unwrap();
        read_all(&mut client).await.1.unwrap();
        proxy.end().await.outcomes(&[Outcome::Clean]);

        let script = [Give::Shy(listens, usize::from(u16::MAX), Errno::MFILE)];
        let proxy = Proxy::start_with(script, 10, |settings| {
            settings.session.connect.timeout = Duration::from_millis(50);
        });
        let mut client = proxy.connect().await;
        assert_reset(&read_all(&mut client).await.1);
        let mut ended = proxy.end().await;
        ended.line(&["end=RC", "Too many open files"]);
        ended.outcomes(&[Outcome::Unused]);
    });
}

/// A container that keeps its connection and says nothing.
async fn silent() -> Give {
    let address = container(|stream| async move {
        pending::<()>().await;
        drop(stream);
    })
    .await;
    Give::Container(address, Fate::Running)
}

fn soon(settings: &mut Settings) {
    settings.session.first_byte = Some(Duration::from_millis(500));
}

#[test]
fn a_container_that_owes_its_first_byte_for_too_long_is_replaced() {
    test(async {
        let proxy = Proxy::start_with([silent().await, silent().await, echo().await], 10, soon);
        let mut client = proxy.connect().await;
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let (back, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(back, b"hello");
        let mut ended = proxy.end().await;
        ended.line(&["in=5B out=5B end=--"]);
        ended.outcomes(&[Outcome::Failed, Outcome::Failed, Outcome::Clean]);
    });
}

#[test]
fn where_containers_speak_first_they_owe_it_at_once() {
    test(async {
        let banner = container(|mut stream| async move {
            stream.write_all(b"220 ready").await.unwrap();
        })
        .await;
        let script = [silent().await, Give::Container(banner, Fate::Running)];
        let proxy = Proxy::start_with(script, 10, |settings| {
            soon(settings);
            settings.speaks_first = true;
        });
        let (greeting, end) = read_all(&mut proxy.connect().await).await;
        end.unwrap();
        assert_eq!(greeting, b"220 ready");
        proxy.end().await.outcomes(&[Outcome::Failed, Outcome::Clean]);
    });
}

#[test]
fn a_client_may_take_its_time() {
    test(async {
        let script = [echo().await, echo().await, silent().await, echo().await];
        let proxy = Proxy::start_with(script, 10, soon);
        let mut quiet = proxy.connect().await;
        let mut paused = proxy.connect().await;
        paused.write_all(b"a").await.unwrap();
        paused.read_exact(&mut [0]).await.unwrap();
        // Another client's container is replaced meanwhile.
        let mut other = proxy.connect().await;
        other.write_all(b"b").await.unwrap();
        other.read_exact(&mut [0]).await.unwrap();
        drop(other);
        for client in [&mut quiet, &mut paused] {
            client.write_all(b"c").await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
        }
        drop((quiet, paused));
        let mut ended = proxy.end().await;
        assert_eq!(ended.counts.failovers, 1);
        ended.outcomes(&[Outcome::Failed, Outcome::Clean, Outcome::Clean, Outcome::Clean]);
    });
}

#[test]
fn what_cannot_be_sent_again_is_reset_when_nothing_answers() {
    test(async {
        let proxy = Proxy::start_with([silent().await, echo().await], 10, |settings| {
            soon(settings);
            settings.session.connect.replay = 0;
        });
        let mut client = proxy.connect().await;
        client.write_all(b"x").await.unwrap();
        assert_reset(&read_all(&mut client).await.1);
        let mut ended = proxy.end().await;
        ended.line(&[
            "end=sD",
            "reason=\"the container did not answer within `timeouts.first_byte`",
        ]);
        ended.outcomes(&[Outcome::Failed]);
    });
}

/// A container that sends all of this and ends.
async fn send_and_end(bytes: Vec<u8>, fate: Fate) -> Give {
    let address = container(move |mut stream| async move {
        stream.write_all(&bytes).await.unwrap();
    })
    .await;
    Give::Container(address, fate)
}

#[test]
fn the_client_of_a_container_that_died_gets_all_its_bytes_and_a_reset() {
    test(async {
        let sent = noise(61, 400_000);
        let mut proxy = Proxy::start([send_and_end(sent.clone(), killed()).await]);
        let socket = TcpSocket::new_v4().unwrap();
        // A small buffer, so that the proxy holds most of the bytes when the container is gone.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = socket.connect(proxy.address).await.unwrap();
        assert_eq!(proxy.note().await, Note::Asked);
        assert_eq!(proxy.note().await, Note::Finished(Outcome::Failed));
        let (got, result) = read_all(&mut client).await;
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        assert_reset(&result);
        proxy.end().await.line(&["out=400000B end=DD", "exit code 137"]);
    });
}

#[test]
fn the_client_of_a_container_that_finished_gets_an_end() {
    test(async {
        let sent = noise(62, 400_000);
        let mut proxy = Proxy::start([send_and_end(sent.clone(), Fate::Finished).await]);
        let mut client = proxy.connect().await;
        assert_eq!(proxy.note().await, Note::Asked);
        // The container is given back although the client is still there.
        assert_eq!(proxy.note().await, Note::Finished(Outcome::Ended));
        // Nobody will read this; it must not turn the end into a reset.
        client.write_all(b"too late").await.unwrap();
        let (got, result) = read_all(&mut client).await;
        result.unwrap();
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        drop(client);
        proxy.end().await.line(&["out=400000B end=--"]);
    });
}

#[test]
fn a_reset_by_a_container_that_was_killed_is_logged_as_its_death() {
    test(async {
        let address = container(|mut stream| async move {
            stream.write_all(b"first").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            reset(stream);
        })
        .await;
        let proxy = Proxy::start([Give::Container(address, killed())]);
        let mut client = proxy.connect().await;
        client.read_exact(&mut [0; 5]).await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_reset(&read_all(&mut client).await.1);
        let said = ["end=DD", "exit code 137; last log lines: the cause | last words"];
        let ended = proxy.end().await;
        ended.line(&said);
        let [record] = &ended.records[..] else { panic!("{:?}", ended.records) };
        let remains = record.remains.as_ref().unwrap();
        assert_eq!(remains.reason, "the container died: exit code 137");
        assert_eq!(remains.post_mortem.exit_code, Some(137));
        assert_eq!(remains.post_mortem.log, ["the cause", "last words"]);
        assert_eq!(remains.post_mortem.hint.as_deref(), Some("`memory`"));
    });
}

#[test]
fn a_client_that_was_told_of_the_end_is_given_no_other_container() {
    test(async {
        // The first container turns clients away, and lives.
        let first = container(|stream| async move { drop(stream) }).await;
        let proxy = Proxy::start([Give::Container(first, Fate::Running), echo().await]);
        let mut client = proxy.connect().await;
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        // Until the client notices that nobody reads.
        while client.write_all(b"late").await.is_ok() {
            tokio::task::yield_now().await;
        }
        let ended = proxy.end().await;
        assert_eq!(ended.counts.failovers, 0);
    });
}
