//! Arenas: values by ids that are given once and never again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Debug;
use std::ops::{Bound, Deref, DerefMut, Index, IndexMut};

/// Values by id. `[id]` is for ids of values that are there; `get` is for ids that come from
/// outside, or may have outlived their value.
#[derive(Debug)]
pub(super) struct Arena<I, T>(BTreeMap<I, T>);

/// The same for values that have names, by which they are known outside. The arena marks each
/// value that may have changed, so that callers need not do so.
///
/// The id of a value is its index, since every event looks values up several times. A dropped
/// value leaves the eight bytes of its slot, which each walk over all values passes.
#[derive(Debug)]
pub(super) struct NamedArena<N, I, T> {
    /// By id.
    slots: Vec<Option<Box<Slot<T>>>>,
    ids: BTreeMap<N, I>,
    /// The ids of marked values, the least first: those may have changed since the mark was
    /// taken off. Also ids of some values that were dropped.
    changed: BinaryHeap<Reverse<I>>,
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    marked: bool,
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

impl<N: Ord, I: Copy + Ord + Debug + From<u32> + Into<usize>, T> NamedArena<N, I, T> {
    /// The id of the value of that name.
    pub(super) fn id(&self, name: &N) -> Option<I> {
        self.ids.get(name).copied()
    }

    /// Adds a value whose name no other has.
    #[expect(clippy::cast_possible_truncation, reason = "memory ends before")]
    pub(super) fn add(&mut self, name: N, value: T) -> I {
        let id = I::from(self.slots.len() as u32);
        let before = self.ids.insert(name, id);
        debug_assert!(before.is_none(), "two values have one name: {before:?} and {id:?}");
        self.slots.push(Some(Box::new(Slot { value, marked: true })));
        self.changed.push(Reverse(id));
        id
    }

    /// Drops a value and its name. Its id is never given again.
    pub(super) fn drop_named(&mut self, name: &N) {
        if let Some(id) = self.ids.remove(name) {
            self.slots[id.into()] = None;
        }
    }

    /// Marks a value that has not changed, but from which other state may now follow.
    pub(super) fn touch(&mut self, id: I) {
        self.marked_mut(id);
    }

    /// Marks all values.
    pub(super) fn touch_all(&mut self) {
        let ids: Vec<_> = self.iter().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.touch(id));
    }

    /// Takes the mark off a value; returns its id.
    pub(super) fn pop_changed(&mut self) -> Option<I> {
        loop {
            let Reverse(id) = self.changed.pop()?;
            // The value may have been dropped since.
            if let Some(slot) = &mut self.slots[id.into()] {
                slot.marked = false;
                return Some(id);
            }
        }
    }

    /// A value, to be changed without a mark: for fields from which nothing else is derived.
    pub(super) fn derived_mut(&mut self, id: I) -> &mut T {
        &mut slot_mut(&mut self.slots, id).value
    }

    /// All values, to be changed without a mark.
    pub(super) fn all_derived_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|slot| &mut slot.value)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// All of them, in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        let slots = (0..).map(I::from).zip(&self.slots);
        slots.filter_map(|(id, slot)| Some((id, &slot.as_ref()?.value)))
    }

    /// The same, without their ids.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|slot| &slot.value)
    }

    /// All of them, in the order of their names.
    pub(super) fn by_name(&self) -> impl Iterator<Item = (I, &T)> + Clone {
        self.ids.values().map(|id| (*id, &self[*id]))
    }

    /// Values whose names come after this one, and then all values.
    pub(super) fn round_from(&self, name: Option<&N>) -> impl Iterator<Item = (I, &T)> {
        let after = name.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.ids.range((after, Bound::Unbounded)).map(|(_, id)| (*id, &self[*id]));
        behind.chain(self.by_name())
    }
}

impl<N, I: Copy + Ord + Debug + Into<usize>, T> NamedArena<N, I, T> {
    /// A value, marked.
    fn marked_mut(&mut self, id: I) -> &mut T {
        let slot = slot_mut(&mut self.slots, id);
        if !std::mem::replace(&mut slot.marked, true) {
            self.changed.push(Reverse(id));
        }
        &mut slot.value
    }
}

fn slot_mut<I: Copy + Debug + Into<usize>, T>(
    slots: &mut [Option<Box<Slot<T>>>],
    id: I,
) -> &mut Slot<T> {
    let slot = slots.get_mut(id.into()).and_then(Option::as_deref_mut);
    slot.unwrap_or_else(|| absent(&id))
}

impl<N, I: Ord, T> Default for NamedArena<N, I, T> {
    fn default() -> Self {
        Self { slots: Vec::new(), ids: BTreeMap::new(), changed: BinaryHeap::new() }
    }
}

impl<N, I: Copy + Ord + Debug + Into<usize>, T> Index<I> for NamedArena<N, I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        let slot = self.slots.get(id.into()).and_then(Option::as_deref);
        slot.map_or_else(|| absent(&id), |slot| &slot.value)
    }
}

impl<N, I: Copy + Ord + Debug + Into<usize>, T> IndexMut<I> for NamedArena<N, I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        self.marked_mut(id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::id::ServiceId;
    use super::*;

    type Words = NamedArena<&'static str, ServiceId, String>;

    #[test]
    fn an_id_is_never_given_again() {
        let mut words = Words::default();
        let first = words.add("a", "one".to_owned());
        words.drop_named(&"a");
        let second = words.add("a", "two".to_owned());
        assert_ne!(first, second);
        assert_eq!(words.id(&"a"), Some(second));
        assert!(words.iter().all(|(id, _)| id != first));
        assert_eq!(words[second], "two");
    }

    #[test]
    fn what_may_have_changed_is_known_and_nothing_else() {
        let mut words = Words::default();
        let ids = ["a", "b", "c"].map(|name| words.add(name, name.to_owned()));
        let changed = |words: &mut Words| std::iter::from_fn(|| words.pop_changed()).collect();
        let all: Vec<_> = changed(&mut words);
        assert_eq!(all, ids);
        assert_eq!((words[ids[0]].as_str(), words.by_name().count()), ("a", 3));
        words.derived_mut(ids[0]).push('!');
        words.all_derived_mut().for_each(|word| word.push('!'));
        assert_eq!(words.pop_changed(), None);
        words[ids[1]].push('!');
        words.touch(ids[2]);
        assert_eq!(changed(&mut words), [ids[1], ids[2]]);
        words[ids[1]].push('!');
        words.drop_named(&"b");
        assert_eq!(words.pop_changed(), None, "it is gone");
    }

    #[test]
    fn a_round_goes_on_behind_a_name_whether_that_is_there_or_not() {
        let mut words = Words::default();
        for name in ["c", "a", "d"] {
            words.add(name, name.to_owned());
        }
        let round = |words: &Words, name| {
            let all: Vec<_> = words.round_from(name).map(|(_, word)| word.clone()).collect();
            all.concat()
        };
        assert_eq!(round(&words, None), "acdacd");
        assert_eq!(round(&words, Some(&"a")), "cdacd");
        assert_eq!(round(&words, Some(&"b")), "cdacd");
    }
}
