//! The containers that clients were told of, and what they must not be told again.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use crate::setup::Service;

/// Every container that a client was told of.
#[derive(Debug, Default)]
pub(crate) struct Ids(Mutex<IdsState>);

#[derive(Debug, Default)]
struct IdsState {
    /// The service of each, and the highest number that was told of it.
    seen: BTreeMap<String, (&'static str, u32)>,
    held: BTreeSet<String>,
}

/// A container is this client's, until this is dropped. That has to happen
/// before the client ends its connection: the next may be told of it at once.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    ids: &'a Ids,
    id: String,
}

// === impl Ids ===

impl Ids {
    /// A client of a service is told `id`, and that it is the `number`th to connect to
    /// it. Fails with what is wrong with that.
    pub(crate) fn hold(&self, service: Service, id: &str, number: u32) -> Result<Held<'_>, String> {
        let mut state = self.0.lock();
        let (name, most) = (service.name(), service.uses());
        let before = state.seen.insert(id.to_owned(), (name, number));
        if !state.held.insert(id.to_owned()) {
            return Err(format!("{id} ({name}) has two clients at once"));
        }
        let held = Held { ids: self, id: id.to_owned() };
        drop(state);
        match before {
            _ if number > most => Err(format!("{id} ({name}) serves {number} times, of {most}")),
            Some((of, _)) if of != name => Err(format!("{id} serves {of} and {name}")),
            Some((_, told)) if told >= number => {
                Err(format!("{id} ({name}) told two clients that they are number {number}"))
            }
            _ => Ok(held),
        }
    }

    /// How many were seen.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().seen.len()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.ids.0.lock().held.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_serves_one_at_a_time_and_no_more_than_allowed() {
        let ids = Ids::default();
        let first = ids.hold(Service::Reused, "a", 1).unwrap();
        assert!(ids.hold(Service::Reused, "a", 2).unwrap_err().contains("two clients at once"));
        drop(first);
        drop(ids.hold(Service::Reused, "a", 4).unwrap());
        assert!(ids.hold(Service::Reused, "a", 4).unwrap_err().contains("number 4"));
        assert!(ids.hold(Service::Reused, "a", 5).unwrap_err().contains("5 times"));
        assert!(ids.hold(Service::Strict, "b", 2).unwrap_err().contains("2 times"));
        drop(ids.hold(Service::Strict, "c", 1).unwrap());
        assert!(ids.hold(Service::Strict, "c", 1).is_err());
    }
}
