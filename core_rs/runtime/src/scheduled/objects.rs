//! Which object a word belongs to, and the numbers of objects.
//!
//! Guarantee: objects are numbered by their first appearance in an execution, whatever their
//! addresses. Not guaranteed: that two words are told apart which exist one after the other at one
//! address and belong to no [`Object`]; memory that comes and goes within an execution belongs to one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{GUEST_PAGE, ObjectClass, ObjectInfo, Target};
use crate::{Object, Word};

/// Every object that actions of this thread's execution can name, and before it the objects that the
/// set-up made.
#[derive(Default)]
pub(super) struct Objects {
    /// Distinguishes executions in [`Tag`]s; never 0 inside one.
    execution: u64,
    infos: Vec<ObjectInfo>,
    /// Objects with words, by their first address; they do not overlap.
    ranges: BTreeMap<usize, Range>,
    /// Objects that have no words.
    wordless: BTreeMap<(&'static str, u64), Option<usize>>,
}

/// The words of one object.
struct Range {
    end: usize,
    info: ObjectInfo,
    /// None until the object appears in the execution.
    number: Option<usize>,
}

/// A lock's or domain's number, kept within it: its execution and its number there.
#[derive(Default)]
pub(super) struct Tag(AtomicU64);

const NUMBER_BITS: u32 = 24;

impl Objects {
    /// A new execution begins: what the set-up made is known, and nothing has appeared.
    pub(super) fn begin(&mut self) {
        static EXECUTIONS: AtomicU64 = AtomicU64::new(1);
        self.execution = EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        // A look-up finds its page when it is taken, not before, and pages must not be numbered in that order.
        for ((name, index), number) in &mut self.wordless {
            if *name == GUEST_PAGE {
                let info = ObjectInfo { name, index: *index, class: ObjectClass::Allocation };
                *number = Some(appear(&mut self.infos, info));
            }
        }
    }

    /// The execution is over: forgets all, and answers what has appeared.
    pub(super) fn end(&mut self) -> Vec<ObjectInfo> {
        std::mem::take(self).infos
    }

    /// How many have appeared.
    pub(super) fn len(&self) -> usize {
        self.infos.len()
    }

    /// The word's object, and its place there.
    pub(super) fn of_word(&mut self, word: &Word) -> Target {
        let address = std::ptr::from_ref(word).addr();
        let known = self.ranges.range_mut(..=address).next_back();
        if let Some((start, range)) = known.filter(|(_, range)| address < range.end) {
            let number = *range.number.get_or_insert_with(|| appear(&mut self.infos, range.info));
            return Target { object: number, word: (address - start) / size_of::<Word>() };
        }
        let info = ObjectInfo { name: "word", index: 0, class: ObjectClass::Word };
        let number = appear(&mut self.infos, info);
        self.ranges.insert(address, Range { end: address + size_of::<Word>(), info, number: Some(number) });
        Target { object: number, word: 0 }
    }

    /// A number for an object that is about to be allocated.
    pub(super) fn fresh(&mut self, object: Object<'_>) -> Target {
        Target { object: appear(&mut self.infos, info(object)), word: 0 }
    }

    /// From now on, the object's words belong to it.
    pub(super) fn allocated(&mut self, key: ObjectKey, number: Option<usize>) {
        match key {
            ObjectKey::Wordless { name, index } => {
                self.wordless.insert((name, index), number);
            }
            ObjectKey::Words { start, end, info } => {
                self.forget(start, end);
                self.ranges.insert(start, Range { end, info, number });
            }
        }
    }

    /// The object's number, by its words or, if it has none, by its name and index.
    pub(super) fn of_object(&mut self, object: Object<'_>) -> Target {
        if let Some(first) = object.words.first() {
            return Target { word: 0, ..self.of_word(first) };
        }
        let number = self.wordless.entry((object.name, object.index)).or_default();
        let number = *number.get_or_insert_with(|| appear(&mut self.infos, info(object)));
        Target { object: number, word: 0 }
    }

    /// The object that stands for the guest page at a physical address, if that was ever allocated.
    pub(super) fn guest_page(&self, pa: u64) -> Option<u32> {
        let number = *self.wordless.get(&(GUEST_PAGE, pa >> 12))?;
        number.map(|number| number as u32)
    }

    /// An object of the set-up is gone.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        match *key {
            ObjectKey::Wordless { name, index } => {
                self.wordless.remove(&(name, index));
            }
            ObjectKey::Words { start, end, .. } => self.forget(start, end),
        }
    }

    /// The number of a lock or domain, which keeps it in `tag`.
    pub(super) fn of_tag(&mut self, tag: &Tag, name: &'static str, class: ObjectClass) -> Target {
        let kept = tag.0.load(Ordering::Relaxed);
        if kept >> NUMBER_BITS == self.execution {
            return Target { object: (kept & ((1 << NUMBER_BITS) - 1)) as usize, word: 0 };
        }
        let number = appear(&mut self.infos, ObjectInfo { name, index: 0, class });
        tag.0.store((self.execution << NUMBER_BITS) | number as u64, Ordering::Relaxed);
        Target { object: number, word: 0 }
    }

    /// A number for something that there is one of.
    pub(super) fn single(&mut self, name: &'static str, class: ObjectClass) -> Target {
        Target { object: appear(&mut self.infos, ObjectInfo { name, index: 0, class }), word: 0 }
    }

    /// Drops the ranges that overlap `start..end`.
    fn forget(&mut self, start: usize, end: usize) {
        while let Some((&first, range)) = self.ranges.range(..end).next_back() {
            if range.end <= start {
                break;
            }
            self.ranges.remove(&first);
        }
    }
}

/// Identifies an object after its words are out of reach.
#[derive(Clone, Copy)]
pub(super) enum ObjectKey {
    Wordless { name: &'static str, index: u64 },
    Words { start: usize, end: usize, info: ObjectInfo },
}

impl ObjectKey {
    pub(super) fn new(object: Object<'_>) -> Self {
        if object.words.is_empty() {
            return Self::Wordless { name: object.name, index: object.index };
        }
        let words = object.words.as_ptr_range();
        Self::Words { start: words.start.addr(), end: words.end.addr(), info: info(object) }
    }
}

fn info(object: Object<'_>) -> ObjectInfo {
    ObjectInfo { name: object.name, index: object.index, class: ObjectClass::Allocation }
}

fn appear(infos: &mut Vec<ObjectInfo>, info: ObjectInfo) -> usize {
    assert!(infos.len() < 1 << NUMBER_BITS, "an execution has at most 2^{NUMBER_BITS} objects");
    infos.push(info);
    infos.len() - 1
}
