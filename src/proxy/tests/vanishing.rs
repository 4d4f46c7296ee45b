//! Clients whose machines are gone without a word.

use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::fake::*;
use crate::proxy::{Outcome, Settings};
use crate::reach::Fate;

/// From now on nothing that is sent to this end arrives: as if its machine were gone.
fn vanish(stream: &TcpStream) {
    /// `BPF_RET | BPF_K`: so much of each packet is let through.
    const RETURN: u16 = 0x06;
    SockRef::from(stream).attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).unwrap();
}

fn soon(settings: &mut Settings) {
    settings.session.keepalive = Some(Duration::from_millis(500));
}

/// A container that says something, and something else once it is told to.
async fn in_two_parts(fate: Fate) -> (Give, oneshot::Sender<()>) {
    let (go, on_go) = oneshot::channel();
    let ends = fate == Fate::Finished;
    let address = container(move |mut stream| async move {
        stream.write_all(b"first").await.unwrap();
        on_go.await.unwrap();
        stream.write_all(b"second").await.unwrap();
        if !ends {
            // Until the proxy has had enough.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    (Give::Container(address, fate), go)
}

#[test]
fn a_client_that_vanishes_does_not_keep_its_container() {
    // A container that runs, and one that has ended and left something to be sent.
    for (fate, outcome) in [(Fate::Running, Outcome::Failed), (Fate::Finished, Outcome::Ended)] {
        test(async {
            let (give, go) = in_two_parts(fate).await;
            let proxy = Proxy::start_with([give], 10, soon);
            let mut client = proxy.connect().await;
            client.read_exact(&mut [0; 5]).await.unwrap();
            vanish(&client);
            go.send(()).unwrap();
            let mut ended = proxy.end().await;
            ended.line(&["out=11B", "end=cD", "reason=\"the client vanished\""]);
            ended.outcomes(&[outcome]);
        });
    }
}

#[test]
fn a_client_that_vanishes_while_nothing_moves_is_found_by_asking() {
    test(async {
        // The kernel probes the client, and gives it up.
        let proxy = Proxy::start_with([echo().await], 10, soon);
        let mut client = proxy.connect().await;
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
        vanish(&client);
        let mut ended = proxy.end().await;
        ended.line(&["in=1B out=1B", "end=cD", "reason=\"the client vanished\""]);
        ended.outcomes(&[Outcome::Failed]);
    });
}
