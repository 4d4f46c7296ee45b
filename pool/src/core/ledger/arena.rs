//! Arenas: values by ids that are given once and never again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::{Bound, Deref, DerefMut, Index, IndexMut};

/// Values by id. Whoever has the id of something that is there finds it by `[id]`; `get` is for ids
/// that come from outside, or may have outlived what they stand for.
#[derive(Debug)]
pub(super) struct Arena<I, T>(BTreeMap<I, T>);

/// The same for values that have names, by which they are known outside.
#[derive(Debug)]
pub(super) struct NamedArena<N, I, T> {
    values: Arena<I, T>,
    ids: BTreeMap<N, I>,
    /// How many ids were given.
    given: u32,
}

// === impl Arena ===

impl<I, T> Default for Arena<I, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<I, T> Deref for Arena<I, T> {
    type Target = BTreeMap<I, T>;

    fn deref(&self) -> &BTreeMap<I, T> {
        &self.0
    }
}

impl<I, T> DerefMut for Arena<I, T> {
    fn deref_mut(&mut self) -> &mut BTreeMap<I, T> {
        &mut self.0
    }
}

impl<I: Ord + Debug, T> Index<I> for Arena<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        self.0.get(&id).unwrap_or_else(|| absent(&id))
    }
}

impl<I: Ord + Debug, T> IndexMut<I> for Arena<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        self.0.get_mut(&id).unwrap_or_else(|| absent(&id))
    }
}

#[expect(clippy::panic, reason = "as where a slice is indexed: the caller has it wrong")]
fn absent(id: &impl Debug) -> ! {
    panic!("{id:?} stands for nothing that is there")
}

// === impl NamedArena ===

impl<N: Ord, I: Copy + Ord + Debug + From<u32>, T> NamedArena<N, I, T> {
    /// The id of the value of that name.
    pub(super) fn id(&self, name: &N) -> Option<I> {
        self.ids.get(name).copied()
    }

    /// Adds a value whose name no other has.
    pub(super) fn add(&mut self, name: N, value: T) -> I {
        let id = I::from(self.given);
        self.given += 1;
        let before = self.ids.insert(name, id);
        debug_assert!(before.is_none(), "two values have one name: {before:?} and {id:?}");
        self.values.insert(id, value);
        id
    }

    /// Drops a value and its name. Its id is never given again.
    pub(super) fn drop_named(&mut self, name: &N) {
        if let Some(id) = self.ids.remove(name) {
            self.values.remove(&id);
        }
    }

    /// All of them, in the order of their names.
    pub(super) fn by_name(&self) -> impl Iterator<Item = (I, &T)> + Clone {
        self.ids.values().map(|id| (*id, &self.values[*id]))
    }

    /// Those whose names come after this one, and then the others.
    pub(super) fn round_from(&self, name: Option<&N>) -> impl Iterator<Item = (I, &T)> {
        let after = name.map_or(Bound::Unbounded, Bound::Excluded);
        let behind =
            self.ids.range((after, Bound::Unbounded)).map(|(_, id)| (*id, &self.values[*id]));
        behind.chain(self.by_name())
    }
}

impl<N, I, T> Default for NamedArena<N, I, T> {
    fn default() -> Self {
        Self { values: Arena::default(), ids: BTreeMap::new(), given: 0 }
    }
}

impl<N, I, T> Deref for NamedArena<N, I, T> {
    type Target = Arena<I, T>;

    fn deref(&self) -> &Arena<I, T> {
        &self.values
    }
}

impl<N, I, T> DerefMut for NamedArena<N, I, T> {
    fn deref_mut(&mut self) -> &mut Arena<I, T> {
        &mut self.values
    }
}
