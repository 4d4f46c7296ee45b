//! A restart, or another program in its place: no client is refused meanwhile.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ganger_test_support::{
    AdminClient, Client, Config, ConnEnd, Consul, Ending, Fleet, Ganger, StopOnDrop, Traffic,
    labelled, unique, wait_until,
};
use rustix::process::Signal;

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
/// A client whose container has to be launched after those of all others waits so long.
const PATIENCE: Duration = Duration::from_secs(300);
/// Each container serves one client after the other: 50 a second cannot have one each here.
const SHARED: &str =
    "network: Sealed, reuse: 100000, warm: 3, queue: (length: 1000, timeout: \"60s\")";

const LONG: &str = "network: Sealed, warm: 2, max: 250, queue: (length: 250, timeout: \"300s\")";

const STAY: u32 = 24;
/// The limit of a test in which many clients stay.
const HOUR: Duration = Duration::from_secs(3600);

/// How many clients stay while one process follows the other: each has a container of its own.
/// `GANGER_LONG_CLIENTS=200` has so many of them that it takes its time.
fn stay() -> u32 {
    let told = std::env::var("GANGER_LONG_CLIENTS").ok();
    told.map_or(STAY, |count| count.parse().unwrap())
}

/// A service whose containers are shared, and one where each client has its own, on every host.
fn shared_and_own(name: &str, fleet: &Fleet) -> Config {
    if stay() > STAY {
        fleet.allow(HOUR);
    }
    let daemons = fleet.hosts().iter().map(|host| host.daemon(stay() + 40));
    daemons
        .fold(Config::new(name), Config::daemon)
        .fixture("echo", &format!("{SHARED}, max: 12"), &[])
        .fixture("long", LONG, &[])
        .with("drain_timeout: \"10m\"")
}

/// Starts a process that takes over, and waits until it has.
fn take_over(config: &Config, fleet: &Fleet) -> Ganger {
    let next = config.start_with(GANGER, fleet, &["--take-over"]);
    next.wait_for_line(DEADLINE, |line| line.contains("taken over: the process before"));
    next
}

fn odd_ends(ganger: &Ganger) -> Vec<ConnEnd> {
    let mut ends = ganger.ends_after(0);
    ends.retain(|end| end.field("end") != "--");
    ends
}

/// Whether a line says that a process which was taken over from has ended.
fn has_ended(line: &str, process: &Ganger) -> bool {
    let boot = process.boot();
    let boot = boot.split_once('=').unwrap().1;
    line.contains("the process before has ended") && line.contains(boot)
}

fn clients(port: u16, count: u32) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| Client::connect(port)).collect();
    clients.iter().for_each(|client| client.patience(PATIENCE));
    clients.iter_mut().for_each(|client| client.echo("here"));
    clients
}

fn finish(clients: Vec<Client>) {
    for mut client in clients {
        client.echo("still here");
        assert_eq!(client.finish(), Ending::Closed(Vec::new()));
    }
}

#[test]
fn another_process_takes_over_and_no_client_notices() {
    let fleet = Fleet::shared();
    let config = shared_and_own("taken", &fleet).fixture("goes", LONG, &[]);
    let next = config.clone().without("goes").fixture("comes", LONG, &[]);
    let mut first = config.serve(GANGER, &fleet);
    let (port, long, goes) = (config.port("echo"), config.port("long"), config.port("goes"));
    let (old, leaving) = (clients(long, stay()), clients(goes, 1));
    let mut second = Traffic::during(port, |traffic| {
        traffic.wait_for(100);
        let second = take_over(&next, &fleet);
        first.wait_for_line(DEADLINE, |line| line.contains("handed over"));
        // The old process lets nobody in any more to a service that it alone has.
        wait_until(DEADLINE, "the old one listens there no more", || !Client::is_listening(goes));
        let new = clients(long, 2);
        finish(clients(next.port("comes"), 1));
        traffic.wait_for(200);
        let told = AdminClient::of(config.instance()).get("/api/v1/version");
        assert_eq!(told["pid"], second.pid(), "{told}");
        wait_until(DEADLINE, "only who is served has a container of the old one", || {
            labelled(fleet.all(), &first.boot()).len() == old.len() + leaving.len()
        });
        finish(old);
        finish(leaving);
        assert_eq!(first.wait(DEADLINE).code(), Some(0));
        second.wait_for_line(DEADLINE, |line| has_ended(line, &first));
        traffic.wait_for(50);
        finish(new);
        second
    });
    assert!(labelled(fleet.all(), &first.boot()).is_empty());
    // The path of the admin socket is the new one's, also when the old one has ended.
    let told = AdminClient::of(config.instance()).get("/api/v1/version");
    assert_eq!(told["pid"], second.pid(), "{told}");
    assert_eq!(second.stop(), 0);
    assert_eq!((odd_ends(&first), odd_ends(&second)), (Vec::new(), Vec::new()));
    assert_eq!(first.count("another process runs") + second.count("another process runs"), 0);
}

#[test]
fn one_that_cannot_serve_or_is_killed_before_it_does_changes_nothing() {
    let fleet = Fleet::shared();
    let config = shared_and_own("failed", &fleet);
    let mut first = config.serve(GANGER, &fleet);
    let long = clients(config.port("long"), 2);
    let sick = config.clone().changed("long", LONG, &["--exit", "3"]);
    let never = format!("{LONG}, ready: Log(\"never said\")");
    let never = config.clone().changed("long", &never, &[]);
    let admin = AdminClient::of(config.instance());
    Traffic::during(config.port("echo"), |traffic| {
        let mut next = sick.start_with(GANGER, &fleet, &["--take-over"]);
        assert_eq!(next.wait(2 * DEADLINE).code(), Some(1));
        let said = "the running process goes on: service long has no container ready";
        assert_eq!(next.count(said), 1, "{:#?}", next.lines());
        assert!(labelled(fleet.all(), &next.boot()).is_empty());
        std::mem::forget(next);

        let mut next = never.start_with(GANGER, &fleet, &["--take-over"]);
        wait_until(DEADLINE, "it has launched", || labelled(fleet.all(), &next.boot()).len() > 3);
        let mut third = config.start_with(GANGER, &fleet, &["--take-over"]);
        assert_eq!(third.wait(DEADLINE).code(), Some(1));
        assert_eq!(third.count("another process is taking over"), 1, "{:#?}", third.lines());
        std::mem::forget(third);
        // The next process has read the file already.
        for (path, body) in [
            ("/api/v1/reload", ""),
            ("/api/v1/services/long/scale", r#"{"warm": 1}"#),
            ("/api/v1/services/long/state", r#"{"state": "maint"}"#),
            ("/api/v1/services/long/roll", ""),
        ] {
            let (status, problem) = admin.order(path, body);
            assert_eq!(status, 409, "{path}: {problem}");
        }
        assert_eq!(admin.order("/api/v1/reload?dry_run=true", "").0, 200);
        first.signal(Signal::HUP);
        first.wait_for_line(DEADLINE, |line| {
            line.contains("not reloaded yet: a process takes over")
        });
        next.kill();
        let gone = "the new process ended before it served";
        wait_until(DEADLINE, "the old one knows", || first.count(gone) == 2);
        first.wait_for_line(DEADLINE, |line| line.contains("the configuration is reloaded"));
        wait_until(2 * DEADLINE, "what it had is gone", || {
            labelled(fleet.all(), &next.boot()).is_empty()
        });
        std::mem::forget(next);
        traffic.wait_for(50);
    });
    let told = admin.get("/api/v1/version");
    assert_eq!(told["pid"], first.pid(), "{told}");
    // And it can still be taken over from.
    let mut last = take_over(&config, &fleet);
    finish(long);
    assert_eq!(first.wait(DEADLINE).code(), Some(0));
    assert_eq!(last.stop(), 0);
    assert_eq!((odd_ends(&first), odd_ends(&last)), (Vec::new(), Vec::new()));
}

#[test]
fn what_the_old_one_leaves_when_it_is_killed_is_removed_and_one_that_drains_is_left_alone() {
    let fleet = Fleet::shared();
    // Without the guardian, which would do what the new one is to be seen doing.
    let config = shared_and_own("chain", &fleet).with("guardian: false");
    let mut first = config.serve(GANGER, &fleet);
    let long = config.port("long");
    let of_first = clients(long, 2);
    let mut third = Traffic::during(config.port("echo"), |traffic| {
        let mut second = take_over(&config, &fleet);
        let of_second = clients(long, 2);
        let third = take_over(&config, &fleet);
        traffic.wait_for(50);
        // Clients that the second serves when it is killed are cut.
        wait_until(DEADLINE, "the second one serves nobody but those who stay", || {
            labelled(fleet.all(), &second.boot()).len() == of_second.len()
        });
        second.kill();
        third.wait_for_line(DEADLINE, |line| has_ended(line, &second));
        wait_until(DEADLINE, "what it left is gone", || {
            labelled(fleet.all(), &second.boot()).is_empty()
        });
        drop(of_second);
        // The first one drains on, and knows nothing of the third.
        wait_until(DEADLINE, "only who is served has a container of it", || {
            labelled(fleet.all(), &first.boot()).len() == of_first.len()
        });
        finish(of_first);
        assert_eq!(first.wait(DEADLINE).code(), Some(0));
        third.wait_for_line(DEADLINE, |line| has_ended(line, &first));
        traffic.wait_for(50);
        assert!(labelled(fleet.all(), &first.boot()).is_empty());
        finish(clients(long, 1));
        std::mem::forget(second);
        third
    });
    assert_eq!(third.stop(), 0);
    assert_eq!((odd_ends(&first), odd_ends(&third)), (Vec::new(), Vec::new()));
}

#[test]
fn one_that_drains_goes_on_when_its_successor_is_killed_and_another_comes_in_its_place() {
    let fleet = Fleet::shared();
    let config = shared_and_own("orphan", &fleet);
    let mut first = config.serve(GANGER, &fleet);
    let port = config.port("long");
    let long = clients(port, 2);
    let mut second = take_over(&config, &fleet);
    second.kill();
    first.wait_for_line(DEADLINE, |line| line.contains("that has taken over has ended"));
    // A plain start would remove what the first has, and is kept out.
    let mut plain = config.start(GANGER, &fleet);
    assert_eq!(plain.wait(DEADLINE).code(), Some(1));
    let holder = format!("is running already as process {}", first.pid());
    assert_eq!(plain.count(&holder), 1, "{:#?}", plain.lines());
    let mut third = take_over(&config, &fleet);
    finish(clients(port, 1));
    wait_until(2 * DEADLINE, "what the second had is gone", || {
        labelled(fleet.all(), &second.boot()).is_empty()
    });
    finish(long);
    assert_eq!(first.wait(DEADLINE).code(), Some(0));
    third.wait_for_line(DEADLINE, |line| has_ended(line, &first));
    assert_eq!(third.stop(), 0);
    [plain, second].into_iter().for_each(std::mem::forget);
    assert_eq!((odd_ends(&first), odd_ends(&third)), (Vec::new(), Vec::new()));
}

#[test]
fn what_is_registered_stays_and_the_service_manager_hears_of_the_change() {
    let fleet = Fleet::shared();
    let consul = Consul::start(&fleet, "dc1", None);
    let path = std::env::temp_dir().join(unique("handover"));
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let heard = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).trim_end().to_owned()
    };
    let register = format!("register: Consul(agent: {:?})", consul.url());
    let alone = shared_and_own("known", &fleet).with(&register);
    let config = alone.clone().env("NOTIFY_SOCKET", path.to_str().unwrap());
    let id = |service: &str| format!("ganger-{}-{service}", config.instance());
    let mut first = config.serve(GANGER, &fleet);
    assert_eq!(heard(), "READY=1");
    wait_until(DEADLINE, "both are registered", || {
        ["echo", "long"].iter().all(|service| consul.registered(&id(service)).is_some())
    });
    let mut unknown = alone.start_with(GANGER, &fleet, &["--take-over"]);
    assert_eq!(unknown.wait(DEADLINE).code(), Some(1));
    assert_eq!(unknown.count("a service manager runs it"), 1, "{:#?}", unknown.lines());

    let over = AtomicBool::new(false);
    let next = config.clone().without("long");
    let mut second = thread::scope(|scope| {
        let _stop = StopOnDrop(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(consul.registered(&id("echo")).is_some(), "it was taken out");
            }
        });
        let second = take_over(&next, &fleet);
        assert_eq!(heard(), format!("MAINPID={}", second.pid()));
        assert_eq!(heard(), "READY=1");
        assert_eq!(first.wait(DEADLINE).code(), Some(0));
        assert!(consul.registered(&id("long")).is_none());
        second
    });
    assert_eq!(second.stop(), 0);
    assert_eq!(heard(), "STOPPING=1");
    assert!(consul.registered(&id("echo")).is_none());
    std::mem::forget(unknown);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn with_a_socket_of_the_service_manager_nobody_is_refused_during_a_restart() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let host = &fleet.hosts()[2];
    let config = Config::new("activated")
        .daemon(host.daemon(stay() + 40))
        .fixture("echo", &format!("{SHARED}, max: {}", stay() + 12), &[])
        .with("drain_timeout: \"10m\"");
    let port = config.port("echo");
    // As systemd does: it stays open whatever becomes of the process.
    let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut first = config.start_activated(GANGER, &fleet, "echo", &socket);
    let mut second = None;
    Traffic::during(port, |traffic| {
        let long = clients(port, stay());
        traffic.wait_for(100);
        first.signal(Signal::TERM);
        first.wait_for_line(DEADLINE, |line| line.contains("stopping"));
        wait_until(DEADLINE, "only who is served has a container", || {
            labelled(fleet.all(), &first.label()).len() == long.len()
        });
        finish(long);
        assert_eq!(first.wait(DEADLINE).code(), Some(0));
        first.assert_nothing_left();
        assert_eq!(first.count_ends(|end| end.field("end") != "--"), 0);
        second = Some(config.start_activated(GANGER, &fleet, "echo", &socket));
        traffic.wait_for(200);
    });
    let mut second = second.unwrap();
    assert_eq!(second.stop(), 0);
    assert_eq!(second.count_ends(|end| end.field("end") != "--"), 0);
    // Nobody accepts, and nobody is refused.
    let _waits = Client::connect(port);
}

#[test]
fn with_a_socket_of_the_service_manager_who_waits_in_the_queue_at_the_end_is_served() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("queued")
        .daemon(fleet.hosts()[2].daemon(40))
        .fixture("echo", "network: Sealed, warm: 1, max: 1", &[])
        .with("drain_timeout: \"10m\"");
    let socket = TcpListener::bind(("127.0.0.1", config.port("echo"))).unwrap();
    let mut ganger = config.start_activated(GANGER, &fleet, "echo", &socket);
    ganger.wait_until_stocked("echo");
    let mut served = Client::connect(config.port("echo"));
    served.echo("before");
    let mut waits = Client::connect(config.port("echo"));
    let admin = AdminClient::of(config.instance());
    wait_until(DEADLINE, "one waits", || admin.get("/api/v1/services/echo")["waiting"] == 1);
    ganger.signal(Signal::TERM);
    ganger.wait_for_line(DEADLINE, |line| line.contains("stopping"));
    served.echo("while it drains");
    assert_eq!(served.finish(), Ending::Closed(Vec::new()));
    waits.echo("in a container that was launched for it");
    assert_eq!(waits.finish(), Ending::Closed(Vec::new()));
    assert_eq!(ganger.wait(DEADLINE).code(), Some(0));
    ganger.assert_nothing_left();
}

#[test]
fn a_socket_that_fits_nothing_is_closed_and_one_that_listens_elsewhere_is_a_mistake() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let config = Config::new("misnamed").daemon(fleet.hosts()[2].daemon(40)).fixture(
        "echo",
        "network: Sealed, warm: 1, max: 2",
        &[],
    );
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ganger = config.start_activated(GANGER, &fleet, "other", &socket);
    let said = ganger.wait_for_line(DEADLINE, |line| line.contains("it is closed here"));
    assert!(said.contains("name=\"other\""), "{said}");
    ganger.wait_until_stocked("echo");
    Client::connect(config.port("echo")).echo("by a socket of its own");
    assert_eq!(ganger.stop(), 0);

    let mut ganger = config.start_activated(GANGER, &fleet, "echo", &socket);
    assert_eq!(ganger.wait(DEADLINE).code(), Some(1));
    let (wrong, right) = (socket.local_addr().unwrap(), config.port("echo"));
    let expected = format!("it listens on {wrong}, and `listen` is 127.0.0.1:{right}");
    assert_eq!(ganger.count(&expected), 1, "{:#?}", ganger.lines());
    ganger.assert_nothing_left();
}
