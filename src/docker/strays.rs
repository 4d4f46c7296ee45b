//! Whose a stray is: an earlier run's, which is over, or another run's that goes
//! on elsewhere under our name.
//!
//! Clocks do not count, only the order of events. A run starts a container after
//! it has been told that the container is created, and a created container shows
//! in every list from then on. A container that our first list of an engine did
//! not show, and that was started all the same, was therefore started by a run
//! that was there after that list: the run goes on. A container that was only
//! created may come from an abandoned call that a hung engine has carried out, or
//! be about to be started; it is left alone for as long as a run that goes on
//! could still want it.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::daemon::Daemon;
use super::naming::BOOT;
use super::sightings::Sightings;
use super::view::Listed;
use super::{Docker, Scope};

/// The other runs of our instance.
#[derive(Debug, Default)]
pub(super) struct Others(Mutex<Runs>);

/// The known state of runs, by boot.
#[derive(Debug, Default)]
struct Runs {
    /// Runs that go on.
    living: BTreeSet<String>,
    /// Runs that are known to have ended, whatever their containers look like.
    over: BTreeSet<String>,
    /// Another process looks after all runs.
    all: bool,
}

/// How a stray is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stray {
    /// Nobody wants it: it is to be removed.
    Left,
    /// Somebody may want it yet.
    Unclear,
    /// A run that goes on has it.
    Others,
}

// === impl Runs ===

impl Runs {
    fn goes_on(&self, boot: &str) -> bool {
        self.all || self.living.contains(boot)
    }

    /// Notes that a run seems to go on; `false` when it is known whether it does.
    fn shows_life(&mut self, boot: &str) -> bool {
        !self.all && !self.over.contains(boot) && self.living.insert(boot.to_owned())
    }
}

// === impl Docker ===

impl Docker {
    /// Leaves another run of our instance, which goes on beside this one, alone: its containers
    /// count as others' do, until it [is over](Docker::is_over).
    pub fn leave_alone(&self, boot: &str) {
        self.others.0.lock().living.insert(boot.to_owned());
    }

    /// Whether another run of the instance is known to go on.
    pub(super) fn goes_on(&self, boot: &str) -> bool {
        self.others.0.lock().goes_on(boot)
    }

    /// Notes that a run has ended: what it has left is to be removed.
    pub fn is_over(&self, boot: &str) {
        let mut runs = self.others.0.lock();
        runs.living.remove(boot);
        runs.over.insert(boot.to_owned());
    }

    /// Leaves our instance to another process from now on: this one removes what it made itself,
    /// and nothing else.
    pub fn leave_all(&self) {
        self.others.0.lock().all = true;
    }

    /// Takes note of a complete list, and leaves out the containers of runs that go on.
    pub(super) fn sort_out(&self, daemon: &Daemon, mut listed: Vec<Listed>) -> Vec<Listed> {
        let strays: Vec<_> = listed.iter().filter(|one| self.other_run(one).is_some()).collect();
        Sightings::update(&mut daemon.sightings.lock(), &strays);
        strays.iter().for_each(|stray| self.look_for_life(daemon, stray));
        let others = self.others.0.lock();
        listed.retain(|one| self.other_run(one).is_none_or(|boot| !others.goes_on(boot)));
        listed
    }

    /// How a stray that is there is to be treated.
    pub(super) fn judge(&self, daemon: &Daemon, stray: &Listed) -> Stray {
        let Some(boot) = self.other_run(stray) else {
            return Stray::Left;
        };
        self.look_for_life(daemon, stray);
        if self.others.0.lock().goes_on(boot) {
            return Stray::Others;
        }
        // A run that goes on has started it by then, or given it up.
        let wanted = daemon.deadlines.create + daemon.deadlines.start;
        let sightings = daemon.sightings.lock();
        let since = sightings.as_ref().and_then(|known| known.unstarted_since(stray));
        if since.is_some_and(|since| since.elapsed() < wanted) {
            Stray::Unclear
        } else {
            Stray::Left
        }
    }

    fn look_for_life(&self, daemon: &Daemon, stray: &Listed) {
        let alive = daemon.sightings.lock().as_ref().is_some_and(|known| known.proves_life(stray));
        if let Some(boot) = self.other_run(stray).filter(|_| alive)
            && self.others.0.lock().shows_life(boot)
        {
            tracing::warn!(
                daemon = %daemon.name, instance = self.identity.instance,
                label = format!("{BOOT}={boot}"),
                "another process runs under our instance name: its containers are left alone, \
                 but whichever of us starts removes the other's: give each \
                 configuration an `instance` of its own"
            );
        }
    }

    /// The run that made a container, if it was another and can be told. An overdue container
    /// has been given up, whoever made it.
    fn other_run<'a>(&self, listed: &'a Listed) -> Option<&'a str> {
        if self.scope == Scope::Overdue {
            return None;
        }
        let boot = listed.label(BOOT)?;
        (!boot.is_empty() && *boot != self.identity.boot).then_some(boot)
    }
}
