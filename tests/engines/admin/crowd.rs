//! More clients of the admin server than it has places for, none of whom reads.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use ganger_test_support::{Client, Config, Fleet, free_port, wait_until};

use super::{DEADLINE, ask};
use crate::GANGER;

const READERS: usize = 1000;
/// How many may follow the events at a time.
const PLACES: usize = 64;
/// The memory, in KiB, that these readers may cost: 256 for each that has a place. A test where
/// events are kept shows that nothing is kept for each reader, however much happens.
const GROWTH: usize = 256 * PLACES;
const LEASES: usize = 10;

fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// A request whose answer is not read yet.
fn request(port: u16, path: &str, accept: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn reader(port: u16) -> TcpStream {
    request(port, "/api/v1/events", "text/event-stream")
}

fn status(stream: &mut TcpStream) -> String {
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    String::from_utf8_lossy(&head[9..]).into_owned()
}

#[test]
fn a_thousand_readers_who_do_not_read_have_their_answer_and_cost_nobody_a_lease() {
    let fleet = Fleet::shared();
    let port = free_port();
    let config = Config::new("crowd")
        .daemon(fleet.hosts()[0].daemon(40))
        .fixture("echo", "warm: 1, max: 2, network: Sealed", &[])
        .with(&format!("admin: (listen: \"127.0.0.1:{port}\")"));
    let mut ganger = config.serve(GANGER, &fleet);
    let socket = format!("/run/ganger/{}.sock", config.instance());
    let serve = |leases: usize| {
        for _ in 0..leases {
            Client::connect(config.port("echo")).echo("hello");
        }
    };
    serve(2);
    let before = memory(ganger.pid());

    let mut readers: Vec<_> = (0..READERS).map(|_| reader(port)).collect();
    // There is something to tell them.
    serve(LEASES);
    let (code, told, why) = ask(&socket, &["status"]);
    assert_eq!(code, 0, "{told}{why}");
    // A client that reads has a place, at the same address.
    assert_eq!(status(&mut request(port, "/livez", "*/*")), "200");
    let after = memory(ganger.pid());
    assert!(after < before + GROWTH, "{before} KiB have become {after}");

    let mut statuses = BTreeMap::<_, usize>::new();
    for reader in &mut readers {
        *statuses.entry(status(reader)).or_default() += 1;
    }
    let expected = [("200", PLACES), ("503", READERS - PLACES)];
    assert_eq!(statuses, expected.map(|(status, count)| (status.to_owned(), count)).into());
    drop(readers);
    wait_until(DEADLINE, "there is a place again", || status(&mut reader(port)) == "200");
    assert_eq!(ganger.stop(), 0);
}
