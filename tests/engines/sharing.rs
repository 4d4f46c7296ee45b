//! Two instances on one fleet: they share the capacity of its daemons, and leave
//! each other's containers alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ganger_test_support::{
    Client, Config, Ending, Fleet, Ganger, Host, SURE, StopOnDrop, wait_until,
};

use crate::GANGER;

const DEADLINE: Duration = Duration::from_secs(60);
const CAPACITY: u32 = 10;

fn config(name: &str, hosts: &[Host], fields: &str) -> Config {
    let config =
        hosts.iter().fold(Config::new(name), |config, host| config.daemon(host.daemon(CAPACITY)));
    config.fixture("echo", fields, &[])
}

/// Containers of whatever instance that run on a host.
fn running(host: &Host) -> usize {
    host.docker(&["ps", "-q", "--filter", "label=io.ganger.instance"]).lines().count()
}

/// Visits until told to stop; how many were served.
fn visit(port: u16, stop: &AtomicBool) -> u32 {
    let mut served = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::try_connect(port) else { break };
        // A client that finds no room is refused, which is not tested here.
        let answer = client.try_send("hello\n").and_then(|()| client.try_line());
        if answer.is_ok_and(|line| line == "hello") {
            served += 1;
            assert_eq!(client.finish(), Ending::Closed(Vec::new()));
        }
    }
    served
}

#[test]
fn two_instances_never_hold_more_than_a_daemon_may_and_survive_each_other() {
    // Nobody else's containers are to be counted.
    let fleet = Fleet::take(2);
    let hosts = &fleet.hosts()[..2];
    let fields = "warm: 12, max: 20, network: Sealed, queue: (length: 8, timeout: \"5s\")";
    let (one, two) = (config("one", hosts, fields), config("two", hosts, fields));
    fleet.load_images();
    let (mut first, mut second) = (one.start(GANGER, &fleet), two.start(GANGER, &fleet));
    let stop = AtomicBool::new(false);
    let watch = |host: &Host| {
        let mut most = 0;
        while !stop.load(Ordering::Relaxed) {
            most = running(host).max(most);
        }
        most
    };
    let most: Vec<usize> = thread::scope(|scope| {
        let done = StopOnDrop(&stop);
        let watches: Vec<_> = hosts.iter().map(|host| scope.spawn(|| watch(host))).collect();
        let full = |host| running(host) >= CAPACITY as usize;
        wait_until(DEADLINE, "there is no room any more", || hosts.iter().all(full));
        for ganger in [&first, &second] {
            ganger.wait_for_line(DEADLINE, |line| line.contains("listening"));
        }
        let visitors: Vec<_> =
            [&one, &two].map(|config| scope.spawn(|| visit(config.port("echo"), &stop))).into();
        // Both want more than there is, all the time, and both get something.
        let ended = |ganger: &Ganger| ganger.count_ends(|end| end.field("end") == "--");
        wait_until(DEADLINE, "both serve", || ended(&first) >= 25 && ended(&second) >= 25);
        // The one that is left gets what the other had.
        first.kill();
        first.wait_for_guardian(SURE);
        let before = ended(&second);
        wait_until(DEADLINE, "the second serves on", || ended(&second) >= before + 10);
        drop(done);
        let served: Vec<_> = visitors.into_iter().map(|v| v.join().unwrap()).collect();
        assert!(served.iter().all(|served| *served >= 10), "{served:?}");
        watches.into_iter().map(|watch| watch.join().unwrap()).collect()
    });
    assert!(most.iter().all(|most| *most <= CAPACITY as usize), "{most:?}");
    let label = second.label();
    wait_until(DEADLINE, "all is the second's", || {
        hosts.iter().all(|host| {
            let all = host.docker(&["ps", "-aq", "--filter", "label=io.ganger.instance"]);
            all.lines().count() == host.containers(&label).len()
        })
    });
    assert_eq!(second.count("another process runs under our instance name"), 0);
    assert_eq!(second.stop(), 0);
    second.assert_nothing_left();
    first.assert_nothing_left();
}
