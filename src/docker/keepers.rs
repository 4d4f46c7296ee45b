//! What is known of the containers that keep secrets on one engine.

use std::sync::{Arc, Weak};

use super::Spec;
use crate::spec::{SECRETS, Secrets, Volume};

/// The keepers on one engine, wherever it is found meanwhile. Locked while one is made.
#[derive(Debug, Default)]
pub(super) struct Keepers(pub(super) tokio::sync::Mutex<KnownKeepers>);

/// The same, for who has the lock.
#[derive(Debug, Default)]
pub(super) struct KnownKeepers {
    all: Vec<SecretsKeeper>,
    /// There are to be no more.
    pub(super) closed: bool,
}

/// A container that keeps secrets.
#[derive(Debug)]
struct SecretsKeeper {
    kept: KeptSecrets,
    secrets: Secrets,
    /// The engine that has it, by its own id.
    engine: String,
    /// The specifications that launches had it for.
    wanted: Vec<Weak<Spec>>,
}

/// What a launch knows of the keeper of its secrets.
#[derive(Debug, Clone)]
pub(super) struct KeptSecrets {
    /// The keeper's.
    pub(super) number: u64,
    pub(super) id: String,
    /// Its process, as the engine's machine numbers it.
    pub(super) pid: i32,
    /// The volume that has the files.
    pub(super) volume: String,
}

// === impl KnownKeepers ===

impl KnownKeepers {
    /// The one on an engine that has the secrets of a specification.
    pub(super) fn find(&mut self, engine: &str, spec: &Arc<Spec>) -> Option<KeptSecrets> {
        let has =
            |keeper: &&mut SecretsKeeper| keeper.engine == engine && keeper.secrets == spec.secrets;
        let keeper = self.all.iter_mut().find(has)?;
        let this = Arc::downgrade(spec);
        keeper.wanted.retain(|wanted| wanted.strong_count() > 0 && !wanted.ptr_eq(&this));
        keeper.wanted.push(this);
        Some(keeper.kept.clone())
    }

    /// Adds one that was made on an engine for a specification.
    pub(super) fn add(&mut self, kept: KeptSecrets, engine: &str, spec: &Arc<Spec>) {
        let (secrets, wanted) = (spec.secrets.clone(), vec![Arc::downgrade(spec)]);
        self.all.push(SecretsKeeper { kept, secrets, engine: engine.to_owned(), wanted });
    }

    /// Takes out one that is not as it was; whether it was there.
    pub(super) fn take(&mut self, number: u64) -> bool {
        self.all.extract_if(.., |keeper| keeper.kept.number == number).count() > 0
    }

    /// Takes out those whose specifications nobody has any more; their numbers.
    pub(super) fn unwanted(&mut self) -> Vec<u64> {
        let unwanted =
            |keeper: &mut SecretsKeeper| keeper.wanted.iter().all(|spec| spec.strong_count() == 0);
        self.all.extract_if(.., unwanted).map(|keeper| keeper.kept.number).collect()
    }

    /// Takes out all, for there are to be no more; their numbers.
    pub(super) fn close(&mut self) -> Vec<u64> {
        self.closed = true;
        self.all.drain(..).map(|keeper| keeper.kept.number).collect()
    }
}

// === impl KeptSecrets ===

impl KeptSecrets {
    /// A specification by which a container has the secrets.
    pub(super) fn given_to(&self, spec: &Spec) -> Spec {
        let volume = Volume { name: self.volume.clone(), read_only: true };
        let mut spec = spec.clone();
        spec.volumes.insert(SECRETS.to_owned(), volume);
        spec
    }
}
