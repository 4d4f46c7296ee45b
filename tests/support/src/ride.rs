//! A program that serves while something happens to its fleet, and what has to hold
//! whatever happens.

use std::thread;
use std::time::Duration;

use crate::aftermath::Traces;
use crate::client::{Client, Ending};
use crate::config::Config;
use crate::crowd::Crowd;
use crate::docker::labelled;
use crate::fleet::{Fleet, Host};
use crate::ganger::Ganger;
use crate::poll::wait_until;
use crate::records::ConnEnd;

/// How long a fault may take to show: three lists are missed in half of it.
const DEADLINE: Duration = Duration::from_secs(60);
/// How much a loaded machine may add to the longest wait of a client.
const GRACE: Duration = Duration::from_secs(5);
/// `connect: (timeout: …)` unless it is set.
const CONNECT: Duration = Duration::from_secs(5);
const VISITORS: usize = 2;

/// A program under way, with a crowd.
#[derive(Debug)]
pub struct Ride<'a> {
    /// The fleet, which is this test's alone.
    pub fleet: &'a Fleet,
    /// The program.
    pub ganger: &'a Ganger,
    /// Its clients.
    pub crowd: &'a Crowd,
    /// Where they come.
    pub port: u16,
}

/// A connection that is open, and where its container is.
#[derive(Debug)]
pub struct Held {
    /// The client.
    pub client: Client,
    /// The container's whole id.
    pub container: String,
    /// The host it is on.
    pub host: String,
}

// === impl Ride ===

impl<'a> Ride<'a> {
    /// Has a program serve the service `id`, which runs the fixture with
    /// [`STRICT`](crate::STRICT), lets clients come and go, and does what is to
    /// happen. In the end no client has waited for more than the `queue` and a dial of 5 s,
    /// the program has no more descriptors open than before, and leaves nothing behind.
    ///
    /// # Panics
    /// When any of that is not so.
    pub fn run(
        program: &str,
        fleet: &'a Fleet,
        config: &Config,
        queue: Duration,
        happens: impl FnOnce(&Ride<'_>),
    ) {
        fleet.load_images();
        let (traces, crowd) = (Traces::of(fleet), Crowd::default());
        let mut ganger = config.serve(program, fleet);
        let (port, before) = (config.port("id"), ganger.descriptors());
        thread::scope(|scope| {
            let home = crowd.home();
            for _ in 0..VISITORS {
                scope.spawn(|| crowd.visit(port));
            }
            let ride = Ride { fleet, ganger: &ganger, crowd: &crowd, port };
            ride.served_more();
            happens(&ride);
            drop(home);
        });
        eprintln!(
            "{} served, {} refused, {:?} the longest",
            crowd.served(),
            crowd.refused(),
            crowd.longest()
        );
        assert!(crowd.longest() < queue + CONNECT + GRACE, "{:?} waited", crowd.longest());
        ganger.wait_for_descriptors(before);
        traces.stop(&mut ganger, fleet);
    }

    /// Waits until some more clients are served.
    ///
    /// # Panics
    /// When they are not.
    pub fn served_more(&self) {
        let (before, _hurry) = (self.crowd.served(), self.crowd.hurry());
        wait_until(DEADLINE, "clients are served", || self.crowd.served() >= before + 6);
    }

    /// Waits until clients are served on a host.
    ///
    /// # Panics
    /// When they are not.
    pub fn served_on(&self, host: &Host) {
        let well = |end: &ConnEnd| (end.field("end"), end.field("daemon")) == ("--", &host.name);
        let count = || self.ganger.count_ends(well);
        let (before, _hurry) = (count(), self.crowd.hurry());
        wait_until(DEADLINE, "clients are served there", || count() >= before + 3);
    }

    /// Opens connections until there are so many on each of these hosts.
    ///
    /// # Panics
    /// When one is refused.
    #[must_use]
    pub fn hold(&self, hosts: &[Host], each: usize) -> Vec<Held> {
        self.gather(hosts, each, false)
    }

    /// As [`Ride::hold`]; if clients may be refused, others come until none is.
    fn gather(&self, hosts: &[Host], each: usize, may_be_refused: bool) -> Vec<Held> {
        let mut all: Vec<Held> = Vec::new();
        let on = |all: &[Held], host: &str| all.iter().filter(|h| h.host == host).count();
        while hosts.iter().any(|host| on(&all, &host.name) < each) {
            let before = all.len();
            // Clients come one by one: the crowd wants containers as well.
            wait_until(DEADLINE, "there is one more on a host", || {
                let (client, id) = match self.crowd.enter(self.port) {
                    Err(_) if may_be_refused => return false,
                    entered => entered.expect("a container"),
                };
                let found = labelled(self.fleet.all(), &self.ganger.label());
                let (host, container) =
                    found.into_iter().find(|(_, c)| c.id.starts_with(&id)).expect("it is there");
                let wanted = hosts.iter().any(|wanted| wanted.name == host.name);
                if wanted && on(&all, &host.name) < each {
                    let host = host.name.clone();
                    all.push(Held { client, container: container.id, host });
                } else {
                    assert!(matches!(client.finish(), Ending::Closed(_)));
                }
                all.len() > before
            });
        }
        all
    }

    /// Waits until a service that nobody visits has a single container, which runs and
    /// is not this one, whose id may be a short one; returns its host and its id.
    ///
    /// # Panics
    /// When it does not come to that.
    #[must_use]
    pub fn stocked(&self, service: &str, but: Option<&str>) -> (&'a Host, String) {
        let mut found = Vec::new();
        wait_until(DEADLINE, &format!("{service} has one container, not {but:?}"), || {
            found = labelled(self.fleet.all(), &self.ganger.label());
            found.retain(|(_, container)| container.label("io.ganger.service") == Some(service));
            let other = |id: &str| but.is_none_or(|but| !id.starts_with(but));
            found.len() == 1 && found.iter().all(|(_, c)| c.state == "running" && other(&c.id))
        });
        let (host, container) = found.remove(0);
        (host, container.id)
    }

    /// How often it has said something of a host.
    #[must_use]
    pub fn said(&self, what: &str, host: &Host) -> usize {
        let field = format!("daemon={}", host.name);
        let is = |line: &&String| line.contains(what) && line.split(' ').any(|word| word == field);
        self.ganger.lines().iter().filter(is).count()
    }

    /// Waits until it has said something of a host so often.
    ///
    /// # Panics
    /// When it does not say so.
    pub fn says(&self, what: &str, host: &Host, times: usize) {
        let wanted = format!("it says {what} of {}", host.name);
        wait_until(DEADLINE, &wanted, || self.said(what, host) >= times);
    }

    /// Waits until a host that was down is in contact again and serves clients.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn is_back(&self, host: &Host) {
        self.says("contact made", host, 2);
        self.served_on(host);
    }

    /// Each of these hosts has room for so many containers at once, beside so many of
    /// services that nobody visits, and has no more: what is counted is there. Sends the
    /// crowd home.
    ///
    /// # Panics
    /// When one has not room for so many, or has more.
    pub fn has_room(&self, hosts: &[Host], each: u32, beside: usize) {
        drop(self.crowd.home());
        let each = each as usize;
        // A request that an engine may still carry out keeps its place for a while.
        let held = self.gather(hosts, each, true);
        let found = labelled(hosts, &self.ganger.label());
        let of = |host: &Host| found.iter().filter(|(on, _)| on.name == host.name).count();
        let counts: Vec<_> = hosts.iter().map(of).collect();
        assert_eq!(counts, vec![each + beside; hosts.len()], "{found:#?}");
        held.into_iter().for_each(|held| held.ends_well());
    }
}

// === impl Held ===

impl Held {
    /// The connection is open as before, and ends in good order.
    ///
    /// # Panics
    /// When it is not, or does not.
    pub fn ends_well(mut self) {
        self.client.echo("to the end");
        assert_eq!(self.client.finish(), Ending::Closed(Vec::new()));
    }
}
