//! Clients that behave in every way, and check what they are told.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use ganger_test_support::{Client, Ending, Host};

use crate::clerk::{End, Visit};
use crate::random::Random;
use crate::setup::{CONNECT, QUEUE, Service};
use crate::{World, nap};

/// Beyond what the program allows itself, on a machine that has much else to do.
const MARGIN: Duration = Duration::from_secs(20);
/// Longer than any fault stalls a container.
const REPLY: Duration = Duration::from_secs(20);
/// The bytes that some send at once; more than a relay moves in one go.
const BULK: usize = 48 * 1024;
/// Of that, how many lines wait for a client that does not read: they fit into the sockets.
const UNREAD: usize = 4;

/// Why a connection came to no good end.
#[derive(Debug)]
enum Trouble {
    /// The connection ended before its time.
    Cut(String),
    /// Nothing came for too long.
    Late(String),
    /// Something else came.
    Wrong(String),
}

/// A client's behaviour once it knows who serves it.
#[derive(Debug, Clone, Copy)]
enum Way {
    Leave,
    Reset,
    Exchange,
    Bulk,
    Dawdle,
    HalfClose,
}

const WAYS: [(Way, usize); 6] = [
    (Way::Exchange, 8),
    (Way::Leave, 4),
    (Way::HalfClose, 4),
    (Way::Bulk, 2),
    (Way::Reset, 2),
    (Way::Dawdle, 1),
];

/// Clients, one after another, from this machine or from a host, until told to stop.
pub(crate) fn come_and_go(
    world: &World,
    service: Service,
    host: Option<&Host>,
    mut random: Random,
) {
    while !world.halted() {
        visit(world, service, host, &mut random);
        nap(random.millis(0..800));
    }
}

fn visit(world: &World, service: Service, host: Option<&Host>, random: &mut Random) {
    let (away, began) = (world.program.is_away(), Instant::now());
    let listens = world.program.port(service);
    let connected = match host {
        Some(host) => Client::try_connect_from(host, listens),
        None => Client::try_connect(listens),
    };
    let client = match connected {
        Ok(client) => client,
        Err(error) if host.is_some() && is_cut_off(&error) => {
            world.tally.count("cut off");
            return nap(Duration::from_millis(200));
        }
        Err(_) if away || world.program.is_away() => {
            world.tally.count("absent");
            return nap(Duration::from_millis(200));
        }
        Err(error) => {
            return world
                .tally
                .violation(format!("{} cannot be connected to: {error}", service.name()));
        }
    };
    let (address, mut told) = (client.address(), None);
    let end = if random.below(8) == 0 {
        if random.below(2) == 0 {
            nap(random.millis(0..1500));
        }
        drop(client);
        End::Left
    } else {
        match meet(world, service, client, random, &mut told) {
            Ok(()) => End::Well,
            Err(Trouble::Cut(what)) => End::Cut(what),
            Err(Trouble::Late(what)) => End::Late(what),
            Err(Trouble::Wrong(what)) => End::Wrong(what),
        }
    };
    let ended = Instant::now();
    let host = host.map(|host| host.name.clone());
    world.inbox.lock().push(Visit { service, address, host, began, ended, told, end });
}

/// Is told who serves it, and goes its way.
fn meet(
    world: &World,
    service: Service,
    mut client: Client,
    random: &mut Random,
    told: &mut Option<String>,
) -> Result<(), Trouble> {
    client.try_send("hello\n").map_err(|error| trouble("before it was served", &error))?;
    client.patience(QUEUE + CONNECT + MARGIN);
    let line = client.try_line().map_err(|error| trouble("before it was served", &error))?;
    let identity = line.split_once(' ').and_then(|(id, n)| Some((id, n.parse().ok()?)));
    let (id, number) =
        identity.ok_or_else(|| Trouble::Wrong(format!("{line:?} is no container")))?;
    *told = Some(id.to_owned());
    // Dropped before the client, which is an argument.
    let held = world.ids.hold(service, id, number).map_err(Trouble::Wrong)?;
    client.patience(REPLY);
    expect(&mut client, "hello")?;
    let weights = WAYS.map(|(_, weight)| weight);
    match WAYS[random.weighed(&weights)].0 {
        Way::Leave => {}
        Way::Reset => {
            drop(held);
            client.reset();
        }
        Way::Exchange => {
            let most = if random.below(10) == 0 { 4000 } else { 700 };
            for turn in 0..random.below(8) {
                if world.halted() {
                    break;
                }
                nap(random.millis(0..most));
                exchange(&mut client, &format!("{turn} {number}"))?;
            }
        }
        Way::Bulk => {
            let letter = char::from(b'a' + u8::try_from(random.below(26)).unwrap_or_default());
            exchange(&mut client, &letter.to_string().repeat(BULK))?;
        }
        Way::Dawdle => {
            let line = "z".repeat(BULK);
            let lines = format!("{line}\n").repeat(UNREAD);
            client.try_send(lines).map_err(|error| trouble("as it sent", &error))?;
            // Longer than a user time-out of the kernel would let it live.
            world.rest(Duration::from_secs(16) + random.millis(0..6000));
            (0..UNREAD).try_for_each(|_| expect(&mut client, &line))?;
        }
        Way::HalfClose => {
            client.try_send("last words\n").map_err(|error| trouble("as it sent", &error))?;
            drop(held);
            return match client.try_finish() {
                Ok(Ending::Closed(data)) if data == b"last words\n" => Ok(()),
                Ok(Ending::Closed(data)) if b"last words\n".starts_with(&data) => {
                    Err(Trouble::Cut("after its own end, in good order".into()))
                }
                Ok(Ending::Reset(_)) => Err(Trouble::Cut("after its own end".into())),
                Ok(Ending::Closed(data)) => {
                    let data = String::from_utf8_lossy(&data);
                    Err(Trouble::Wrong(format!("{data:?} came back for its last words")))
                }
                Err(error) => Err(trouble("after its own end", &error)),
            };
        }
    }
    Ok(())
}

/// Sends a line and expects it back.
fn exchange(client: &mut Client, line: &str) -> Result<(), Trouble> {
    client.try_send(format!("{line}\n")).map_err(|error| trouble("as it sent", &error))?;
    expect(client, line)
}

fn expect(client: &mut Client, line: &str) -> Result<(), Trouble> {
    let came = client.try_line().map_err(|error| trouble("as it waited for a reply", &error))?;
    if came == line {
        return Ok(());
    }
    let (came, line) = (shown(&came), shown(line));
    Err(Trouble::Wrong(format!("{came} came back for {line}")))
}

/// The beginning of a text, and its length.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    format!("{start:?} ({} bytes)", text.len())
}

/// Whether a host's link is down.
fn is_cut_off(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::TimedOut
    )
}

fn trouble(when: &str, error: &io::Error) -> Trouble {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Trouble::Late(when.to_owned()),
        _ => Trouble::Cut(format!("{when}: {error}")),
    }
}
