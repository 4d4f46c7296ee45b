//! What keys were read as, to be compared with what they are read as the next time.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The value of each key of a struct, or what holds without it.
#[derive(Clone, Default)]
pub(crate) struct Values(BTreeMap<&'static str, Arc<dyn Value>>);

/// A value of any type.
trait Value: Any + Send + Sync {
    /// Whether the other is of this type, and equal.
    fn is(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + Any + Send + Sync> Value for T {
    fn is(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}

// === impl Values ===

impl Values {
    pub(super) fn keep(&mut self, name: &'static str, value: impl PartialEq + Any + Send + Sync) {
        self.0.insert(name, Arc::new(value));
    }

    /// The keys that have another value in `after`, in the order of the alphabet.
    pub(crate) fn differing(&self, after: &Self) -> Vec<&'static str> {
        let differs = |(name, value): (&&'static str, &Arc<dyn Value>)| {
            let other = after.0.get(name).map(|other| &**other as &dyn Any);
            let same = other.is_some_and(|other| value.is(other));
            (!same).then_some(*name)
        };
        self.0.iter().filter_map(differs).collect()
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.differing(other).is_empty()
    }
}

/// Names only: values may be secret.
impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
