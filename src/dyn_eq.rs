//! Equality of values whose type is not known when they are compared.

use std::any::Any;

/// A value that can be compared with one of any type. Every type with `PartialEq` is one.
pub trait DynEq: Any {
    /// Whether the other has the same type, and is equal.
    fn equals(&self, other: &dyn Any) -> bool;
}

// === impl DynEq ===

impl<T: PartialEq + Any> DynEq for T {
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}
