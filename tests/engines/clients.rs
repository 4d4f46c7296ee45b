//! Clients that pause reading, and clients whose network is out.

use std::thread;
use std::time::{Duration, Instant};

use ganger_test_support::{Client, Config, Ending, Fleet, Host, pattern, wait_until};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);

/// The shortest keepalive there is.
const FIELDS: &str = "warm: 2, max: 12, network: Sealed, client: (keepalive: \"10s\")";
/// More than that, and than the 15 s after which the kernel once cut such clients.
const PAUSE: Duration = Duration::from_secs(25);

/// A client's traffic before it pauses, and what it is to have read when it has read on.
#[derive(Debug, Clone, Copy)]
enum Case {
    /// The client sends so many bytes, and gets them back.
    Echo(usize),
    /// The same, with its direction ended before the pause.
    HalfClosed(usize),
    /// The container sends 2 MB and exits.
    OneShot,
}

const ONE_SHOT: usize = 2_000_000;

/// The bytes that the fixture sends.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u64).map(pattern).collect()
}

fn paused(port: u16, from: Option<&Host>, case: Case) {
    let mut client =
        from.map_or_else(|| Client::connect(port), |host| Client::connect_from(host, port));
    let (sent, count) = match case {
        Case::Echo(count) | Case::HalfClosed(count) => (count, count),
        Case::OneShot => (1, ONE_SHOT),
    };
    client.send(bytes(sent));
    if matches!(case, Case::HalfClosed(_)) {
        client.end();
    }
    let since = Instant::now();
    wait_until(DEADLINE, "the pause is over", || since.elapsed() > PAUSE);
    let received = client.receive(count);
    assert!(received == bytes(count), "{case:?} from {from:?}: {} bytes", received.len());
    assert_eq!(client.finish(), Ending::Closed(Vec::new()), "{case:?} from {from:?}");
}

#[test]
fn clients_that_pause_reading_lose_nothing() {
    let fleet = Fleet::shared();
    let hosts = fleet.hosts();
    let command = ["--reply-then-exit", "0", &ONE_SHOT.to_string()];
    let config = Config::new("pause")
        .everywhere()
        .daemon(hosts[1].daemon(30))
        .fixture("echo", FIELDS, &[])
        .fixture("shot", FIELDS, &command);
    let mut ganger = config.serve(GANGER, &fleet);
    let cases = [Case::Echo(200_000), Case::HalfClosed(300_000), Case::OneShot];
    thread::scope(|scope| {
        for case in cases {
            for from in [None, Some(&hosts[0])] {
                let service = if matches!(case, Case::OneShot) { "shot" } else { "echo" };
                let port = config.port(service);
                scope.spawn(move || paused(port, from, case));
            }
        }
    });
    let ends = ganger.wait_for_ends(2 * cases.len());
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

/// More than the 11 s after which such clients were once given up.
const OUT: Duration = Duration::from_secs(20);

#[test]
fn a_client_whose_network_is_out_for_less_than_its_keepalive_is_kept() {
    let fleet = Fleet::take(2);
    let hosts = fleet.hosts();
    let config = Config::new("out").everywhere().daemon(hosts[1].daemon(6)).fixture(
        "echo",
        "warm: 2, max: 4, network: Sealed",
        &[],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let mut clients: [Client; 2] =
        std::array::from_fn(|_| Client::connect_from(&hosts[0], config.port("echo")));
    clients.iter_mut().for_each(|client| client.echo("hello"));
    let (cut, since) = (fleet.cut(&hosts[0]), Instant::now());
    // The first client has data on its way meanwhile, the other is silent.
    clients[0].send("in the dark\n");
    wait_until(DEADLINE, "the outage is over", || since.elapsed() > OUT);
    drop(cut);
    assert_eq!(clients[0].line(), "in the dark");
    for mut client in clients {
        client.echo("still here");
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
    let ends = ganger.wait_for_ends(2);
    assert!(ends.iter().all(|end| end.field("end") == "--"), "{ends:?}");
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}

#[test]
fn a_client_that_is_gone_with_data_on_its_way_is_given_up() {
    let fleet = Fleet::take(2);
    let hosts = fleet.hosts();
    let much = (1_u64 << 40).to_string();
    let config = Config::new("dead").everywhere().daemon(hosts[1].daemon(6)).fixture(
        "source",
        FIELDS,
        &["--source", &much],
    );
    let mut ganger = config.serve(GANGER, &fleet);
    let mut client = Client::connect_from(&hosts[0], config.port("source"));
    let _ = client.receive(1_000_000);
    let cut = fleet.cut(&hosts[0]);
    // Long before the idle time-out of 10 minutes.
    let end = ganger.wait_for_ends(1).remove(0);
    assert_eq!((end.field("end"), end.reason()), ("cD", "the client vanished"), "{end:?}");
    drop(cut);
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
}
