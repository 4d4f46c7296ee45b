//! Daemons whose API is slow, silent or broken on the wire.

use std::time::Duration;

use ganger_test_support::{Answers, Config, Fleet, Ride, STRICT, Shim};

use crate::GANGER;

const QUEUE: Duration = Duration::from_secs(15);
/// How many containers a daemon has room for.
const ROOM: u32 = 6;

/// A sealed service of the fixture, and how much of it there may be.
fn fields(warm: u32, max: u32) -> String {
    format!(
        "warm: {warm}, max: {max}, network: Sealed, reach: Namespace, \
         queue: (length: 32, timeout: \"15s\")"
    )
}

#[test]
fn answers_that_are_slow_or_in_pieces_and_events_that_are_lost_or_doubled_cost_nothing() {
    let fleet = Fleet::take(1);
    let hosts = &fleet.hosts()[..1];
    let shim = Shim::start(&hosts[0]);
    let config = Config::new("pieces")
        .daemon(shim.daemon(ROOM))
        .fixture("id", &fields(2, ROOM), STRICT)
        .fixture("still", &fields(1, 1), &[]);
    Ride::run(GANGER, &fleet, &config, QUEUE, |ride| {
        let mut held = ride.hold(hosts, 1);
        for fault in [
            Answers::Slow(Duration::from_millis(100)),
            Answers::Trickled,
            Answers::EventsDoubled,
            Answers::EventsLost,
        ] {
            let (ailing, met) = (shim.suffer(fault), shim.met());
            let (host, dead) = ride.stocked("still", None);
            host.kill(&dead);
            // Whether an event tells it or a list.
            let _ = ride.stocked("still", Some(&dead));
            ride.served_on(host);
            held.iter_mut().for_each(|held| held.client.echo("meanwhile"));
            assert!(shim.met() > met, "{fault:?} met with nothing");
            drop(ailing);
        }
        held.into_iter().for_each(|held| held.ends_well());
        assert_eq!((ride.said("contact lost", &hosts[0]), ride.crowd.refused()), (0, 0));
        // The other is the one that nobody visits.
        ride.has_room(hosts, ROOM - 1, 1);
    });
}

#[test]
fn a_daemon_whose_answers_break_off_is_down_until_they_are_whole_again() {
    let fleet = Fleet::take(2);
    let hosts = &fleet.hosts()[..2];
    let shim = Shim::start(&hosts[0]);
    let config = Config::new("broken")
        .daemon(shim.daemon(ROOM))
        .daemon(hosts[1].daemon(ROOM))
        .fixture("id", &fields(4, 2 * ROOM), STRICT);
    Ride::run(GANGER, &fleet, &config, QUEUE, |ride| {
        let mut held = ride.hold(hosts, 1);
        for (round, fault) in (1..).zip([Answers::Stalled, Answers::Cut, Answers::Reset]) {
            let (ailing, met) = (shim.suffer(fault), shim.met());
            ride.says("contact lost", &hosts[0], round);
            held.iter_mut().for_each(|held| held.client.echo("while it is broken"));
            ride.served_more();
            assert!(shim.met() > met, "{fault:?} met with nothing");
            drop(ailing);
            ride.says("contact made", &hosts[0], round + 1);
            ride.served_on(&hosts[0]);
        }
        held.into_iter().for_each(|held| held.ends_well());
        assert_eq!(ride.crowd.refused(), 0);
        ride.has_room(hosts, ROOM, 0);
    });
}
