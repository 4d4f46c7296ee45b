//! The containers that hold secrets on one engine.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Spec;
use crate::spec::{SECRETS, Secrets, Volume};

/// The holders of secrets on one engine, whatever its address.
#[derive(Debug, Default)]
pub(super) struct SecretHolders(Mutex<KnownHolders>);

#[derive(Debug, Default)]
struct KnownHolders {
    all: Vec<SecretHolder>,
    /// No more holders are to be made.
    closed: bool,
}

/// A container that holds secrets, or is to.
#[derive(Debug)]
struct SecretHolder {
    secrets: Secrets,
    /// The engine that has it, by its own id.
    engine: String,
    /// The specifications of the launches that had it.
    wanted: Vec<Weak<Spec>>,
    place: SecretSlot,
}

/// Where the launches that want the same secrets find their holder. Locked while one is made.
pub(super) type SecretSlot = Arc<tokio::sync::Mutex<Option<HeldSecrets>>>;

/// The holder of a launch's secrets, as the launch knows it.
#[derive(Debug, Clone)]
pub(super) struct HeldSecrets {
    pub(super) number: u64,
    /// The id of the holder.
    pub(super) id: String,
    /// The volume that has the files.
    pub(super) volume: String,
}

// === impl SecretHolders ===

impl SecretHolders {
    /// Where the holder of a specification's secrets is found on an engine; `None` when no more
    /// are to be made.
    pub(super) fn place(&self, engine: &str, spec: &Arc<Spec>) -> Option<SecretSlot> {
        let mut known = self.0.lock();
        if known.closed {
            return None;
        }
        let this = Arc::downgrade(spec);
        let has = |one: &&mut SecretHolder| one.engine == engine && one.secrets == spec.secrets;
        if let Some(holder) = known.all.iter_mut().find(has) {
            holder.wanted.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&this));
            holder.wanted.push(this);
            return Some(Arc::clone(&holder.place));
        }
        let (place, wanted) = (SecretSlot::default(), vec![this]);
        let (secrets, engine) = (spec.secrets.clone(), engine.to_owned());
        known.all.push(SecretHolder { secrets, engine, wanted, place: Arc::clone(&place) });
        Some(place)
    }

    /// Whether no more holders are to be made.
    pub(super) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Takes out the holders whose specifications nobody has any more, but none that is being made.
    pub(super) fn unwanted(&self) -> Vec<HeldSecrets> {
        let mut unwanted = Vec::new();
        self.0.lock().all.retain(|holder| {
            if holder.wanted.iter().any(|spec| spec.strong_count() > 0) {
                return true;
            }
            let Ok(mut place) = holder.place.try_lock() else { return true };
            unwanted.extend(place.take());
            false
        });
        unwanted
    }

    /// Takes out, and counts, the holders on other engines than this one, which is there now.
    pub(super) fn elsewhere(&self, engine: &str) -> usize {
        let elsewhere = |holder: &mut SecretHolder| holder.engine != engine;
        self.0.lock().all.extract_if(.., elsewhere).count()
    }

    /// Takes out all places; there will be no new ones.
    pub(super) fn close(&self) -> Vec<SecretSlot> {
        let mut known = self.0.lock();
        known.closed = true;
        known.all.drain(..).map(|holder| holder.place).collect()
    }
}

// === impl HeldSecrets ===

impl HeldSecrets {
    /// The specification with the volume of the secrets.
    pub(super) fn given_to(&self, spec: &Spec) -> Spec {
        let volume = Volume { name: self.volume.clone(), read_only: true };
        let mut spec = spec.clone();
        spec.volumes.insert(SECRETS.to_owned(), volume);
        spec
    }
}
