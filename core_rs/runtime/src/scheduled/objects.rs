//! Which object a word belongs to, and the numbers of objects.
//!
//! Guarantee: objects are numbered by their first appearance in an execution, whatever their
//! addresses. Not guaranteed: that two words are told apart which exist one after the other at one
//! address and belong to no [`Object`]; memory that comes and goes within an execution belongs to one.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{GUEST_PAGE, ObjectClass, ObjectInfo, Target};
use crate::{Object, Word};

/// Every object that actions of this thread's execution can name, and before it the objects that the
/// set-up made.
pub(super) struct Objects {
    /// Distinguishes executions in [`Tag`]s; never 0 inside one.
    execution: u64,
    pub(super) infos: Vec<ObjectInfo>,
    /// Objects with words, in the order of their addresses; they do not overlap.
    ranges: Vec<Range>,
    /// Objects that have no words, in the order of their indices and names.
    wordless: Vec<Wordless>,
    /// Words that were looked up, by the low bits of their addresses.
    recent: [Recent; RECENT],
    /// Raised when what words belong to has changed.
    generation: u64,
}

/// The words of one object.
struct Range {
    start: usize,
    end: usize,
    info: ObjectInfo,
    /// None until the object appears in the execution.
    number: Option<usize>,
}

struct Wordless {
    name: &'static str,
    index: u64,
    number: Option<usize>,
}

#[derive(Clone, Copy)]
struct Recent {
    generation: u64,
    address: usize,
    target: Target,
}

const RECENT: usize = 64;

/// A lock's or domain's number, kept within it: its execution and its number there.
#[derive(Default)]
pub(super) struct Tag(AtomicU64);

const NUMBER_BITS: u32 = 24;

impl Default for Objects {
    fn default() -> Self {
        let nothing = Recent { generation: 0, address: 0, target: Target { object: 0, word: 0 } };
        Self {
            execution: 0,
            infos: Vec::new(),
            ranges: Vec::new(),
            wordless: Vec::new(),
            recent: [nothing; RECENT],
            generation: 1,
        }
    }
}

impl Objects {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.infos.clear();
        self.ranges.clear();
        self.wordless.clear();
        self.generation += 1;
    }

    /// A new execution begins: what `set_up` knows is known, and nothing has appeared. `set_up` is empty then.
    pub(super) fn begin(&mut self, set_up: &mut Self) {
        static EXECUTIONS: AtomicU64 = AtomicU64::new(1);
        self.clear();
        std::mem::swap(&mut self.ranges, &mut set_up.ranges);
        std::mem::swap(&mut self.wordless, &mut set_up.wordless);
        self.execution = EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        // A look-up finds its page when it is taken, not before, and pages must not be numbered in that order.
        for page in self.wordless.iter_mut().filter(|object| object.name == GUEST_PAGE) {
            page.number = Some(appear(&mut self.infos, page.info()));
        }
    }

    /// The word's object, and its place there.
    #[inline(always)]
    pub(super) fn of_word(&mut self, word: &Word) -> Target {
        let address = std::ptr::from_ref(word).addr();
        let recent = &self.recent[address / size_of::<Word>() % RECENT];
        if (recent.generation, recent.address) == (self.generation, address) {
            return recent.target;
        }
        self.find_word(address)
    }

    #[inline(never)]
    fn find_word(&mut self, address: usize) -> Target {
        // Words are often met in the order of their addresses.
        let after = match self.ranges.last() {
            Some(last) if address < last.start => self.ranges.partition_point(|range| range.start <= address),
            _ => self.ranges.len(),
        };
        let known = after.checked_sub(1).filter(|at| address < self.ranges[*at].end);
        let at = known.unwrap_or_else(|| {
            let info = ObjectInfo { name: "word", index: 0, class: ObjectClass::Word };
            let end = address + size_of::<Word>();
            self.ranges.insert(after, Range { start: address, end, info, number: None });
            after
        });
        let range = &mut self.ranges[at];
        let number = *range.number.get_or_insert_with(|| appear(&mut self.infos, range.info));
        let target = Target { object: number, word: (address - range.start) / size_of::<Word>() };
        self.recent[address / size_of::<Word>() % RECENT] =
            Recent { generation: self.generation, address, target };
        target
    }

    /// A number for an object that is about to be allocated.
    pub(super) fn fresh(&mut self, object: Object<'_>) -> Target {
        Target { object: appear(&mut self.infos, info(object)), word: 0 }
    }

    /// From now on, the object's words belong to it.
    pub(super) fn allocated(&mut self, key: ObjectKey, number: Option<usize>) {
        match key {
            ObjectKey::Wordless { name, index } => match self.find_wordless(name, index) {
                Ok(known) => self.wordless[known].number = number,
                Err(at) => self.wordless.insert(at, Wordless { name, index, number }),
            },
            ObjectKey::Words { start, end, info } => {
                let at = self.forget(start, end);
                self.ranges.insert(at, Range { start, end, info, number });
            }
        }
    }

    /// The object's number, by its words or, if it has none, by its name and index.
    pub(super) fn of_object(&mut self, object: Object<'_>) -> Target {
        if let Some(first) = object.words.first() {
            return Target { word: 0, ..self.of_word(first) };
        }
        let at = self.find_wordless(object.name, object.index).unwrap_or_else(|at| {
            self.wordless.insert(at, Wordless { name: object.name, index: object.index, number: None });
            at
        });
        let number = *self.wordless[at].number.get_or_insert_with(|| appear(&mut self.infos, info(object)));
        Target { object: number, word: 0 }
    }

    /// The object that stands for the guest page at a physical address, if that was ever allocated.
    /// One more than its number.
    pub(super) fn guest_page(&self, pa: u64) -> Option<NonZeroU32> {
        let known = self.find_wordless(GUEST_PAGE, pa >> 12).ok()?;
        NonZeroU32::new(self.wordless[known].number? as u32 + 1)
    }

    /// An object of the set-up is gone.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        match *key {
            ObjectKey::Wordless { name, index } => {
                if let Ok(known) = self.find_wordless(name, index) {
                    self.wordless.remove(known);
                }
            }
            ObjectKey::Words { start, end, .. } => _ = self.forget(start, end),
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

    /// Where an object without words is, or belongs.
    fn find_wordless(&self, name: &str, index: u64) -> Result<usize, usize> {
        self.wordless.binary_search_by(|known| (known.index, known.name).cmp(&(index, name)))
    }

    /// Drops the ranges that overlap `start..end`; answers where they were.
    fn forget(&mut self, start: usize, end: usize) -> usize {
        self.generation += 1;
        let first = self.ranges.partition_point(|range| range.end <= start);
        let after = first + self.ranges[first..].partition_point(|range| range.start < end);
        self.ranges.drain(first..after);
        first
    }
}

impl Wordless {
    fn info(&self) -> ObjectInfo {
        ObjectInfo { name: self.name, index: self.index, class: ObjectClass::Allocation }
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
