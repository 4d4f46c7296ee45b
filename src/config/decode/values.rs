//! The value of each key of a struct, kept so that a reload can tell which keys have changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::config::keys::Key;
use crate::dyn_eq::DynEq;

/// The value of each key of a struct, or its default. Sorted by the key's place in its table.
#[derive(Clone, Default)]
pub(crate) struct Values(BTreeMap<(usize, &'static str), Arc<dyn Value>>);

/// A value of any type.
trait Value: DynEq + Send + Sync {}

impl<T: DynEq + Send + Sync> Value for T {}

// === impl Values ===

impl Values {
    /// Keeps a value, in place of the one that the key has.
    pub(super) fn keep<T>(&mut self, key: Key<T>, value: impl PartialEq + Send + Sync + 'static) {
        self.0.insert((key.row.at, key.row.name), Arc::new(value));
    }

    /// The keys whose value is another one in `after`, in the order of their table.
    pub(crate) fn differing(&self, after: &Self) -> Vec<&'static str> {
        let differs = |(key, value): (&(usize, &'static str), &Arc<dyn Value>)| {
            let same = after.0.get(key).is_some_and(|other| (**value).equals(&**other));
            (!same).then_some(key.1)
        };
        self.0.iter().filter_map(differs).collect()
    }

    /// The keys that have a value, in the order of their table.
    #[cfg(test)]
    pub(in crate::config) fn names(&self) -> Vec<&'static str> {
        self.0.keys().map(|(_, name)| *name).collect()
    }
}

/// Always equal: the structs made of the values are compared. See [`Values::differing`].
impl PartialEq for Values {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Shows names only: values may be secret.
impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(|(_, name)| name)).finish()
    }
}
