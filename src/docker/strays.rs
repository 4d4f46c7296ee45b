//! Whose a stray is: an earlier run's, which is over, or one's that goes on
//! elsewhere under our name.
//!
//! Clocks are not asked, only what has to come before what. A run starts a
//! container after it has been told that it is created, and what is created
//! shows in every list from then on. So a container that our first list of an
//! engine did not show, and that was started all the same, was started by a run
//! that was there after that list: it goes on. One that was only created may be
//! an abandoned call that an engine which hung has carried out, or be about to
//! be started; it is left alone for as long as a run that goes on could still
//! want it.

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

/// What is known of runs, by boot.
#[derive(Debug, Default)]
struct Runs {
    /// They go on.
    living: BTreeSet<String>,
    /// They are known to have ended, whatever their containers look like.
    over: BTreeSet<String>,
    /// Another process looks after all there are.
    all: bool,
}

/// What is to become of a stray.
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

    /// Takes note that a run seems to go on; `false` when more is known of it.
    fn shows_life(&mut self, boot: &str) -> bool {
        !self.all && !self.over.contains(boot) && self.living.insert(boot.to_owned())
    }
}

// === impl Docker ===

impl Docker {
    /// A run of our instance goes on beside this one: what it has is left alone, and counts as
    /// others' does, until it [is over](Docker::is_over).
    pub fn leave_alone(&self, boot: &str) {
        self.others.0.lock().living.insert(boot.to_owned());
    }

    /// A run has ended: what it has left is to be removed.
    pub fn is_over(&self, boot: &str) {
        let mut runs = self.others.0.lock();
        runs.living.remove(boot);
        runs.over.insert(boot.to_owned());
    }

    /// Another process looks after our instance from now on: this one removes what it made itself,
    /// and nothing else.
    pub fn leave_all(&self) {
        self.others.0.lock().all = true;
    }

    /// Takes note of a complete list, and leaves out of it what runs that go on have.
    pub(super) fn sort_out(&self, daemon: &Daemon, mut listed: Vec<Listed>) -> Vec<Listed> {
        let strays: Vec<_> = listed.iter().filter(|one| self.other_run(one).is_some()).collect();
        Sightings::update(&mut daemon.sightings.lock(), &strays);
        strays.iter().for_each(|stray| self.look_for_life(daemon, stray));
        let others = self.others.0.lock();
        listed.retain(|one| self.other_run(one).is_none_or(|boot| !others.goes_on(boot)));
        listed
    }

    /// What is to become of a stray that is there.
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

    /// The run that made a container, if it was another and can be told. What is overdue
    /// has been given up, whoever made it.
    fn other_run<'a>(&self, listed: &'a Listed) -> Option<&'a str> {
        if self.scope == Scope::Overdue {
            return None;
        }
        let boot = listed.label(BOOT)?;
        (!boot.is_empty() && *boot != self.identity.boot).then_some(boot)
    }
}
