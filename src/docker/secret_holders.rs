//! What is known of the containers that hold secrets on one engine.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Spec;
use crate::spec::{SECRETS, Secrets, Volume};

/// The holders of secrets on one engine, wherever it is found meanwhile.
#[derive(Debug, Default)]
pub(super) struct SecretHolders(Mutex<KnownHolders>);

#[derive(Debug, Default)]
struct KnownHolders {
    all: Vec<SecretHolder>,
    /// There are to be no more.
    closed: bool,
}

/// A container that holds secrets, or is to.
#[derive(Debug)]
struct SecretHolder {
    secrets: Secrets,
    /// The engine that has it, by its own id.
    engine: String,
    /// The specifications that launches had it for.
    wanted: Vec<Weak<Spec>>,
    place: SecretSlot,
}

/// Where the launches that want the same secrets find their holder. Locked while one is made.
pub(super) type SecretSlot = Arc<tokio::sync::Mutex<Option<HeldSecrets>>>;

/// What a launch knows of the holder of its secrets.
#[derive(Debug, Clone)]
pub(super) struct HeldSecrets {
    pub(super) number: u64,
    /// The holder's.
    pub(super) id: String,
    /// The volume that has the files.
    pub(super) volume: String,
}

// === impl SecretHolders ===

impl SecretHolders {
    /// Where the holder of a specification's secrets is found on an engine; `None` when there are to
    /// be no more.
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

    /// Whether there are to be no more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Takes out those whose specifications nobody has any more. One that is being made waits.
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

    /// Takes out those that are on another engine than this one, which is at its address now.
    pub(super) fn elsewhere(&self, engine: &str) -> usize {
        let elsewhere = |holder: &mut SecretHolder| holder.engine != engine;
        self.0.lock().all.extract_if(.., elsewhere).count()
    }

    /// All places, where there are to be no new ones.
    pub(super) fn close(&self) -> Vec<SecretSlot> {
        let mut known = self.0.lock();
        known.closed = true;
        known.all.drain(..).map(|holder| holder.place).collect()
    }
}

// === impl HeldSecrets ===

impl HeldSecrets {
    /// A specification by which a container has the secrets.
    pub(super) fn given_to(&self, spec: &Spec) -> Spec {
        let volume = Volume { name: self.volume.clone(), read_only: true };
        let mut spec = spec.clone();
        spec.volumes.insert(SECRETS.to_owned(), volume);
        spec
    }
}
