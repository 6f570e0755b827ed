//! Kernel memory: objects made of words, reached through pointers that are kept in words.
//!
//! Guarantee: memory is never reused while the heap lives, so a use after free, a double free and a NULL
//! dereference are recorded events, never undefined behaviour, and a pointer names one object for ever.
//! What goes wrong is recorded here on every runtime ([`Heap::harm`]); under a scheduled run checkers see
//! the same accesses as actions, and tell where and by whom.
//!
//! Not modelled: the page allocator and slab as such. Taking memory is no action; that it begins or ceases to
//! be an object is one. A program that went on after its first harm reads what the object held before.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use runtime::{Access, Object, Runtime, Site, Word, site};

use crate::slots::Slots;

/// A pointer to an object; 0 is NULL.
pub(crate) type Ptr = u64;

/// Where an object's memory comes from, and so what freeing it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// `kmalloc`: freeing never sleeps.
    Kmalloc,
    /// `vmalloc`: freeing may sleep.
    Vmalloc,
    /// A variable on a task's stack, linked into a list: freeing it is harm.
    Stack,
    /// Lives as long as the machine.
    Static,
}

/// One thing that went wrong with memory, as the heap saw it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Harm {
    /// The rule that was broken, such as `use-after-free`.
    pub rule: &'static str,
    /// The object's name.
    pub object: &'static str,
    /// The place in the code.
    pub site: &'static str,
}

/// All objects of one instance.
pub(crate) struct Heap<R> {
    blocks: Slots<Block>,
    harm: Mutex<Vec<Harm>>,
    runtime: PhantomData<R>,
}

struct Block {
    name: &'static str,
    /// Which one of its kind.
    index: u64,
    memory: Memory,
    words: Box<[Word]>,
    frees: AtomicU32,
}

/// What is read through a pointer that leads nowhere.
static NOWHERE: Word = Word::new(0);

impl<R: Runtime> Heap<R> {
    pub(crate) fn new() -> Self {
        Self { blocks: Slots::new(), harm: Mutex::new(Vec::new()), runtime: PhantomData }
    }

    /// A zeroed object of `words` words.
    pub(crate) fn alloc(&self, name: &'static str, words: usize, memory: Memory, site: Site) -> Ptr {
        self.alloc_indexed(name, words, memory, 0, site)
    }

    /// [`Heap::alloc`] of an object whose index is its pointer shifted left.
    pub(crate) fn alloc_indexed(
        &self,
        name: &'static str,
        words: usize,
        memory: Memory,
        index_shift: u32,
        site: Site,
    ) -> Ptr {
        let fresh = |number| Block {
            name,
            index: (number as u64 + 1) << index_shift,
            memory,
            words: (0..words).map(|_| Word::new(0)).collect(),
            frees: AtomicU32::new(0),
        };
        let number = self.blocks.push_with(fresh);
        let block = self.blocks.get(number).expect("an object that was just made");
        if memory != Memory::Stack {
            R::allocated(block.object(), site);
        }
        number as u64 + 1
    }

    /// `kfree`, `kvfree`: frees an object; NULL is passed over. Answers whether there was one that was still there.
    pub(crate) fn free(&self, ptr: Ptr, site: Site) -> bool {
        let Some(block) = self.block(ptr) else { return false };
        match block.memory {
            Memory::Kmalloc => {}
            Memory::Vmalloc => R::might_sleep(site!("vfree")),
            Memory::Stack | Memory::Static => {
                self.violated("bad-free", block.name, site);
                return false;
            }
        }
        R::freed(block.object(), site);
        let first = block.frees.fetch_add(1, Ordering::Relaxed) == 0;
        if !first {
            self.record("double-free", block.name, site);
        }
        first
    }

    /// Reads a field.
    pub(crate) fn load(&self, ptr: Ptr, field: usize, access: Access, site: Site) -> u64 {
        let Some((word, block)) = self.field(ptr, field, site) else { return 0 };
        let value = R::load(word, access, site);
        self.accessed(block, site);
        value
    }

    /// Writes a field.
    pub(crate) fn store(&self, ptr: Ptr, field: usize, value: u64, access: Access, site: Site) {
        let Some((word, block)) = self.field(ptr, field, site) else { return };
        R::store(word, value, access, site);
        self.accessed(block, site);
    }

    /// Adds to a counter; answers the value before.
    pub(crate) fn fetch_add(&self, ptr: Ptr, field: usize, site: Site) -> u64 {
        let Some((word, block)) = self.field(ptr, field, site) else { return 0 };
        let before = R::fetch_add(word, 1, site);
        self.accessed(block, site);
        before
    }

    /// Takes one from a counter; answers whether it was the last. A counter that was 0 stays there.
    pub(crate) fn dec_and_test(&self, ptr: Ptr, field: usize, site: Site) -> bool {
        let Some((word, block)) = self.field(ptr, field, site) else { return false };
        let before = R::fetch_sub(word, 1, site);
        self.accessed(block, site);
        if before == 0 {
            R::fetch_add(word, 1, site);
            self.record("count-underflow", block.name, site);
        }
        before == 1
    }

    /// `refcount_inc_not_zero`: counts, unless the count has fallen to 0; answers whether it did.
    pub(crate) fn inc_not_zero(&self, ptr: Ptr, field: usize, site: Site) -> bool {
        let Some((word, block)) = self.field(ptr, field, site) else { return false };
        let mut seen = R::load(word, Access::Marked, site);
        self.accessed(block, site);
        while seen != 0 {
            match R::compare_exchange(word, seen, seen + 1, site) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// A field's word; nothing, and harm, when the pointer leads nowhere.
    pub(crate) fn word(&self, ptr: Ptr, field: usize, site: Site) -> &Word {
        self.field(ptr, field, site).map_or(&NOWHERE, |(word, _)| word)
    }

    /// Sets a field of an object that nobody else can reach yet. No action.
    pub(crate) fn init(&self, ptr: Ptr, field: usize, value: u64) {
        self.block(ptr).expect("a fresh object").words[field].init(value);
    }

    /// Whether the object was freed. No action.
    pub(crate) fn is_freed(&self, ptr: Ptr) -> bool {
        self.block(ptr).is_some_and(|block| block.frees.load(Ordering::Relaxed) != 0)
    }

    /// Says that a rule is broken at this moment.
    pub(crate) fn violated(&self, rule: &'static str, name: &'static str, site: Site) {
        R::violated(rule, name, site);
        self.record(rule, name, site);
    }

    /// Whether some object of that name was freed. No action.
    pub(crate) fn any_is_freed(&self, name: &str) -> bool {
        self.blocks.iter().any(|(_, block)| block.name == name && block.frees.load(Ordering::Relaxed) != 0)
    }

    /// Records what a checker sees by itself in a scheduled run.
    pub(crate) fn note(&self, rule: &'static str, name: &'static str, site: Site) {
        self.record(rule, name, site);
    }

    /// What went wrong so far, each once, in the order of its first time.
    pub(crate) fn harm(&self) -> Vec<Harm> {
        self.harm.lock().clone()
    }

    /// Names and indices of the objects that were not freed.
    pub(crate) fn left(&self) -> Vec<(&'static str, u64)> {
        let left = |(_, block): (usize, &Block)| {
            let comes_and_goes = matches!(block.memory, Memory::Kmalloc | Memory::Vmalloc);
            let leaked = comes_and_goes && block.frees.load(Ordering::Relaxed) == 0;
            leaked.then_some((block.name, block.index))
        };
        self.blocks.iter().filter_map(left).collect()
    }

    fn block(&self, ptr: Ptr) -> Option<&Block> {
        self.blocks.get(usize::try_from(ptr).ok()?.checked_sub(1)?)
    }

    fn field(&self, ptr: Ptr, field: usize, site: Site) -> Option<(&Word, &Block)> {
        let Some(block) = self.block(ptr) else {
            let rule = if ptr == 0 { "null-dereference" } else { "wild-pointer" };
            self.violated(rule, "NULL", site);
            return None;
        };
        // Past the end of an object that was freed there is freed memory, too: a use after free, with its provenance.
        let freed = block.frees.load(Ordering::Relaxed) != 0;
        let Some(word) = block.words.get(field).or_else(|| block.words.last().filter(|_| freed)) else {
            self.violated("out-of-bounds", block.name, site);
            return None;
        };
        Some((word, block))
    }

    /// An access has been made: was the object still there?
    fn accessed(&self, block: &Block, site: Site) {
        if block.frees.load(Ordering::Relaxed) != 0 {
            self.record("use-after-free", block.name, site);
        }
    }

    #[cold]
    fn record(&self, rule: &'static str, object: &'static str, site: Site) {
        let harm = Harm { rule, object, site: site.name() };
        let mut list = self.harm.lock();
        if !list.contains(&harm) {
            list.push(harm);
        }
    }
}

impl Block {
    fn object(&self) -> Object<'_> {
        Object { name: self.name, index: self.index, words: &self.words }
    }
}
