//! State that is to be as it was once a fault is over: of the daemons, and of the program.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::fleet::{Fleet, Host};
use crate::ganger::Ganger;
use crate::poll::wait_until;

/// Until an engine has taken down what it had for containers that are removed.
const DEADLINE: Duration = Duration::from_secs(60);
/// Descriptors that a program may have more than it had: a connection to a daemon
/// for each list, removal and stream of events that happens to be under way.
const SLACK: usize = 12;

/// Traces of containers on each host. Only exact while no other test uses them.
#[derive(Debug)]
pub struct Traces(Vec<Trace>);

/// The same of one host: networks, volumes, links. Not its files of network
/// namespaces: an engine clears those away once a minute, and never those of one
/// that was killed.
type Trace = (String, [usize; 3]);

// === impl Traces ===

impl Traces {
    /// Counts them, before a program has launched anything.
    ///
    /// # Panics
    /// When a host is not this test's alone.
    #[must_use]
    pub fn of(fleet: &Fleet) -> Self {
        assert!(fleet.exclusive, "others launch containers as well");
        Self::count(fleet)
    }

    fn count(fleet: &Fleet) -> Self {
        Self(fleet.all().iter().map(|host| (host.name.clone(), host.traces())).collect())
    }

    /// Stops a program in good order: it ends with code 0, and no host has more
    /// than before of its containers, of networks, volumes and links.
    ///
    /// # Panics
    /// When that is not so.
    pub fn stop(&self, ganger: &mut Ganger, fleet: &Fleet) {
        assert_eq!(ganger.stop(), 0);
        let more = |now: &Self| {
            let pairs = now.0.iter().zip(&self.0);
            let is_more = |now: &Trace, then: &Trace| now.1.iter().zip(then.1).any(|(n, t)| *n > t);
            pairs.filter(|(now, then)| is_more(now, then)).count()
        };
        let mut now = Self::count(fleet);
        wait_until(DEADLINE, &format!("{now:?} is not more than {self:?}"), || {
            now = Self::count(fleet);
            more(&now) == 0
        });
    }
}

// === impl Host ===

impl Host {
    fn traces(&self) -> [usize; 3] {
        let lines = |args: &[&str]| self.docker(args).lines().count();
        let mut links = Command::new("ip");
        if let Some(netns) = &self.netns {
            links.args(["-n", netns]);
        }
        let links = links.args(["-o", "link", "show", "type", "veth"]).output().expect("ip");
        [
            lines(&["network", "ls", "--quiet"]),
            lines(&["volume", "ls", "--quiet"]),
            String::from_utf8_lossy(&links.stdout).lines().count(),
        ]
    }
}

// === impl Ganger ===

impl Ganger {
    /// How many descriptors it has open.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a process").count()
    }

    /// Waits until it has no more descriptors open than it had, or few more.
    ///
    /// # Panics
    /// When that does not come about.
    pub fn wait_for_descriptors(&self, before: usize) {
        wait_until(DEADLINE, &format!("about {before} descriptors are open"), || {
            self.descriptors() <= before + SLACK
        });
    }
}
