//! Random events of daemons: lists, contact, membership, and containers that turn up on them.

use std::time::Duration;

use super::{Checked, Phase, World, number};
use crate::core::{Capacity, ContainerKey, DaemonName, Event, Launches, Owned};

// === impl World ===

impl World {
    /// The engine carries out a create whose reply was lost.
    pub(super) fn carry_out_lost_create(&mut self) -> Checked {
        for engine in self.daemons.values_mut() {
            if let Some(key) = engine.lost_creates.pop() {
                engine.real.insert(key, true);
            }
        }
        Ok(())
    }

    /// A container of an earlier boot turns up.
    pub(super) fn add_stray(&mut self) -> Checked {
        let names = self.daemon_names();
        if let Some(name) = self.rng.pick(&names).cloned() {
            let key = ContainerKey::Stray(format!("{:012x}", self.rng.next()));
            self.daemons.entry(name).or_default().real.insert(key, true);
        }
        Ok(())
    }

    /// Others come to a daemon, or go.
    pub(super) fn change_others(&mut self) -> Checked {
        let names = self.daemon_names();
        let others = number(self.rng.below(6));
        if let Some(name) = self.rng.pick(&names).cloned() {
            self.daemons.entry(name).or_default().others = others;
        }
        Ok(())
    }

    /// A list is asked for, or one under way arrives.
    pub(super) fn list_one(&mut self) -> Checked {
        let names = self.daemon_names();
        let Some(name) = self.rng.pick(&names).cloned() else { return Ok(()) };
        match self.daemons.get(&name) {
            Some(engine) if engine.listing.is_none() && self.rng.percent(50) => {
                self.ask_for_list(&name);
                Ok(())
            }
            _ => self.list(&name),
        }
    }

    pub(super) fn ask_for_list(&mut self, name: &DaemonName) {
        self.now += Duration::from_millis(1);
        let Some(engine) = self.daemons.get_mut(name) else { return };
        let owned = |(key, running): (&ContainerKey, &bool)| {
            let key = key.clone();
            Owned { key, running: *running }
        };
        let owned = engine.real.iter().map(owned).collect();
        engine.listing = Some((self.now, owned, engine.others));
    }

    /// The list under way arrives, or a new one that takes no time.
    pub(super) fn list(&mut self, name: &DaemonName) -> Checked {
        if self.daemons.get(name).is_none_or(|engine| engine.cut_off.is_some()) {
            return Ok(());
        }
        if self.daemons.get(name).is_some_and(|engine| engine.listing.is_none()) {
            self.ask_for_list(name);
        }
        let listing = self.daemons.get_mut(name).and_then(|engine| engine.listing.take());
        let Some((began, owned, others)) = listing else { return Ok(()) };
        self.daemons.entry(name.clone()).or_default().known_others = others;
        for shown in owned.iter().filter(|shown| !shown.running) {
            if let ContainerKey::Launch(launch) = &shown.key
                && let Some(container) = self.containers.get_mut(launch)
                && container.phase == Phase::Leased
            {
                container.tainted = true;
            }
        }
        self.tell(Event::Listed { daemon: name.clone(), began, owned, others })
    }

    pub(super) fn toggle_contact(&mut self) -> Checked {
        let names = self.daemon_names();
        let Some(name) = self.rng.pick(&names).cloned() else { return Ok(()) };
        let engine = self.daemons.entry(name.clone()).or_default();
        let cut_off = engine.cut_off.is_none();
        engine.cut_off = cut_off.then_some(self.now);
        engine.listing = None;
        if cut_off {
            self.tell(Event::DaemonDown { daemon: name.clone(), reason: "cut off".into() })?;
            return match self.rng.percent(30) {
                true => self.tell(Event::DaemonDown { daemon: name, reason: "refused".into() }),
                false => Ok(()),
            };
        }
        let launches = engine.launches.unwrap_or(Launches::Fixed(2));
        self.tell(Event::DaemonUp { daemon: name.clone(), launches })?;
        self.list(&name)
    }

    pub(super) fn toggle_membership(&mut self) -> Checked {
        let names = self.daemon_names();
        let Some(name) = self.rng.pick(&names).cloned() else { return Ok(()) };
        let engine = self.daemons.entry(name.clone()).or_default();
        if !engine.in_fleet {
            return self.join(&name);
        }
        engine.in_fleet = false;
        engine.listing = None;
        self.tell(Event::DaemonLeft { daemon: name })
    }

    pub(super) fn prepare_one(&mut self) -> Checked {
        let names = self.daemon_names();
        let generations = self.generations();
        let (Some(daemon), Some((service, generation))) =
            (self.rng.pick(&names).cloned(), self.rng.pick(&generations).cloned())
        else {
            return Ok(());
        };
        let result = if self.rng.percent(50) { Ok(()) } else { Err("no image".into()) };
        self.tell(Event::Prepared { daemon, service, generation, result })
    }

    pub(super) fn join(&mut self, name: &DaemonName) -> Checked {
        let capacity = 1 + number(self.rng.below(10));
        let engine = self.daemons.entry(name.clone()).or_default();
        engine.cut_off = None;
        engine.listing = None;
        engine.in_fleet = true;
        engine.capacity = engine.capacity.max(capacity);
        engine.tier = number(u64::from(capacity) % 2);
        let capacity = Capacity { containers: engine.capacity, tier: engine.tier };
        if self.rng.percent(30) {
            self.tell(Event::DaemonResized { daemon: name.clone(), capacity })?;
        }
        self.tell(Event::DaemonJoined { daemon: name.clone(), capacity })?;
        let launches = match self.rng.percent(20) {
            true => Launches::Fixed(2),
            false => Launches::Learnt { first: 1 + number(self.rng.below(4)), most: 8 },
        };
        self.daemons.entry(name.clone()).or_default().launches = Some(launches);
        self.tell(Event::DaemonUp { daemon: name.clone(), launches })?;
        for (service, generation) in self.generations() {
            let (daemon, result) = (name.clone(), Ok(()));
            self.tell(Event::Prepared { daemon, service, generation, result })?;
        }
        self.list(name)
    }

    pub(super) fn daemon_names(&self) -> Vec<DaemonName> {
        self.daemons.keys().cloned().collect()
    }
}
