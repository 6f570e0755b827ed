//! Where table pages live: one mapping, a "physical" address is an offset, counts lie beside the pages.
//!
//! It stands for the kernel's page allocator, which is not under study: taking and giving back a page is
//! not an action of a [`runtime::Runtime`]; that the page begins or ceases to be a table is one, and the
//! table says it. Every page stays mapped as long as the arena lives, so a use after free reads or writes a
//! wrong page, never foreign memory; freeing twice and counting below zero are recorded as [`Harm`].
//!
//! Lock order: the free list's mutex is innermost, and held for a few instructions.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;
use runtime::Word;

/// Address space reserved for the pages of one table; memory is taken as pages are used.
const RESERVED_BYTES: usize = 16 << 30;
/// Pages of one table at most, whatever their size.
const MAX_PAGES: usize = 1 << 22;
/// Tables of at most `1 << SMALL` entries are for exploration, which makes one for each execution: their memory is
/// kept for the next.
const SMALL: u32 = 3;
/// Memories that one thread keeps.
const KEPT: usize = 16;

/// A table page of an [`Arena`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub(crate) u32);

impl PageId {
    /// The page `n` after this one: root pages are contiguous.
    #[must_use]
    pub const fn plus(self, n: u32) -> Self {
        Self(self.0 + n)
    }
}

/// What went wrong in the bookkeeping of pages. Recorded, not suffered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// Pages that were freed while they were free.
    pub double_frees: u64,
    /// Counts that were dropped below zero.
    pub count_underflows: u64,
}

/// What a page that is taken holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Zeroes.
    Zeroed,
    /// Anything: the taker writes every word before the page is linked.
    Stale,
}

/// What lies beside a page. A cache line of its own: threads that count in neighbouring tables do not share.
#[repr(align(64))]
struct Beside {
    count: Word,
    in_use: AtomicU32,
}

/// The pages of one table.
pub(crate) struct Arena {
    memory: ManuallyDrop<Memory>,
    entries_shift: u32,
    capacity: u32,
    /// Words of all pages.
    all: usize,
    /// Whether a freed page is used again.
    recycles: bool,
    written: Written,
}

/// What is written as pages come and go, apart from what every access to a page reads.
#[repr(align(64))]
#[derive(Default)]
struct Written {
    free: Mutex<Vec<PageId>>,
    /// Pages below this number have been used at some time.
    fresh: AtomicU32,
    allocated: AtomicU64,
    freed: AtomicU64,
    double_frees: AtomicU64,
    count_underflows: AtomicU64,
}

impl Arena {
    /// An arena of pages of `1 << entries_shift` words. Where it does not recycle, a freed page stays what it was, so
    /// that a use after free reads what was there.
    pub(crate) fn new(entries_shift: u32, recycles: bool) -> Self {
        let capacity = capacity(entries_shift);
        Self {
            memory: ManuallyDrop::new(Memory::of(entries_shift)),
            entries_shift,
            capacity,
            all: (capacity as usize) << entries_shift,
            recycles,
            written: Written::default(),
        }
    }

    /// Takes a page with count 1; `None` when the reserve is used up.
    pub(crate) fn take(&self, content: Content) -> Option<PageId> {
        let recycled = self.written.free.lock().pop();
        let page = match recycled {
            Some(page) => {
                if content == Content::Zeroed {
                    self.words(page).iter().for_each(|word| word.init(0));
                }
                page
            }
            None => self.take_contiguous(1)?,
        };
        self.beside(page).count.init(1);
        Some(page)
    }

    /// Takes `n` adjacent zeroed pages that were never used, each with count 1; answers the first.
    pub(crate) fn take_contiguous(&self, n: u32) -> Option<PageId> {
        let first = self
            .written
            .fresh
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |fresh| {
                fresh.checked_add(n).filter(|&end| end <= self.capacity)
            })
            .ok()?;
        for page in first..first + n {
            self.beside(PageId(page)).count.init(1);
        }
        Some(PageId(first))
    }

    /// Says that a page taken before becomes a table page.
    pub(crate) fn commit(&self, page: PageId) {
        self.beside(page).in_use.store(1, Ordering::Relaxed);
        self.written.allocated.fetch_add(1, Ordering::Relaxed);
    }

    /// Frees table pages. A page that is free already is left alone, and counted as harm.
    pub(crate) fn free(&self, pages: &[PageId]) {
        let mut list = self.written.free.lock();
        let mut freed = 0;
        for &page in pages {
            if self.beside(page).in_use.swap(0, Ordering::Relaxed) != 0 {
                freed += 1;
                if self.recycles {
                    list.push(page);
                }
            }
        }
        self.written.freed.fetch_add(freed as u64, Ordering::Relaxed);
        if freed < pages.len() {
            self.written.double_frees.fetch_add((pages.len() - freed) as u64, Ordering::Relaxed);
        }
    }

    /// Gives back a page that was taken and never committed.
    pub(crate) fn give_back(&self, page: PageId) {
        self.written.free.lock().push(page);
    }

    /// Records that a count was dropped below zero.
    pub(crate) fn count_underflow(&self) {
        self.written.count_underflows.fetch_add(1, Ordering::Relaxed);
    }

    /// The entries of a page.
    #[inline]
    #[allow(unsafe_code, clippy::cast_ptr_alignment)] // a mapping starts page-aligned
    pub(crate) fn words(&self, page: PageId) -> &[Word] {
        debug_assert!(page.0 < self.capacity);
        let entries = 1_usize << self.entries_shift;
        // SAFETY: every PageId comes from `take`, `take_contiguous` or `page_at`, all of which keep it below
        // `capacity`, so the slice lies inside the mapping, which lives as long as `self`. A mapping starts
        // page-aligned; `Word` is a transparent AtomicU64, valid for every bit pattern, and never accessed
        // but atomically, so sharing it between threads is sound.
        unsafe {
            let first =
                self.memory.pages.as_ptr().cast::<Word>().add((page.0 as usize) << self.entries_shift);
            std::slice::from_raw_parts(first, entries)
        }
    }

    /// The entry of a page whose number is `index`, modulo the entries of a page.
    #[inline]
    #[allow(unsafe_code, clippy::cast_ptr_alignment)] // a mapping starts page-aligned
    pub(crate) fn word(&self, page: PageId, index: u64) -> &Word {
        debug_assert!(page.0 < self.capacity);
        let index = index as usize & ((1 << self.entries_shift) - 1);
        // SAFETY: as in `words`, of which this is the element `index`, below their number.
        unsafe {
            &*self.memory.pages.as_ptr().cast::<Word>().add((page.0 as usize) << self.entries_shift | index)
        }
    }

    /// The entries of all pages that the arena may ever have; those of page `n` begin at `n << entries_shift`.
    #[inline]
    #[allow(unsafe_code, clippy::cast_ptr_alignment)] // a mapping starts page-aligned
    pub(crate) fn all_words(&self) -> &[Word] {
        // SAFETY: as in `words`, for the whole mapping.
        unsafe { std::slice::from_raw_parts(self.memory.pages.as_ptr().cast::<Word>(), self.all) }
    }

    /// The page that has the entry of this number.
    #[inline]
    pub(crate) fn page_of(&self, word: usize) -> PageId {
        debug_assert!(word < self.all);
        PageId((word >> self.entries_shift) as u32)
    }

    /// The reference count of a page.
    #[inline]
    pub(crate) fn count(&self, page: PageId) -> &Word {
        &self.beside(page).count
    }

    /// The page whose number a descriptor holds; `None` for a number that no page of this arena ever had.
    #[inline]
    pub(crate) fn page_at(&self, number: u64) -> Option<PageId> {
        (number < u64::from(self.capacity)).then_some(PageId(number as u32))
    }

    /// Bytes of a page, with what lies beside it.
    pub(crate) fn bytes_a_page(&self) -> u64 {
        ((size_of::<Word>() << self.entries_shift) + size_of::<Beside>()) as u64
    }

    /// Table pages that were allocated and freed so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.written.allocated.load(Ordering::Relaxed), self.written.freed.load(Ordering::Relaxed))
    }

    /// What went wrong so far.
    pub(crate) fn harm(&self) -> Harm {
        Harm {
            double_frees: self.written.double_frees.load(Ordering::Relaxed),
            count_underflows: self.written.count_underflows.load(Ordering::Relaxed),
        }
    }

    #[inline]
    #[allow(unsafe_code, clippy::cast_ptr_alignment)] // a mapping starts page-aligned
    fn beside(&self, page: PageId) -> &Beside {
        debug_assert!(page.0 < self.capacity);
        // SAFETY: as in `words`; `Beside` consists of atomics, for which the mapping's zero bytes are valid,
        // and 64 divides the address of each, as a mapping starts page-aligned.
        unsafe { &*self.memory.beside.as_ptr().cast::<Beside>().add(page.0 as usize) }
    }
}

impl Drop for Arena {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.entries_shift <= SMALL {
            for page in (0..self.written.fresh.load(Ordering::Relaxed)).map(PageId) {
                self.words(page).iter().for_each(|word| word.init(0));
                self.beside(page).count.init(0);
                self.beside(page).in_use.store(0, Ordering::Relaxed);
            }
        }
        // SAFETY: the arena is being dropped, and nothing uses its memory after this.
        let memory = unsafe { ManuallyDrop::take(&mut self.memory) };
        if self.entries_shift <= SMALL {
            let keep =
                |kept: &mut Vec<_>| (kept.len() < KEPT).then(|| kept.push((self.entries_shift, memory)));
            let _ = SPARE.try_with(|spare| keep(&mut spare.borrow_mut()));
        }
    }
}

/// Pages of an arena, whatever it is used for.
pub(crate) fn capacity(entries_shift: u32) -> u32 {
    (RESERVED_BYTES / (size_of::<Word>() << entries_shift)).min(MAX_PAGES) as u32
}

/// The mappings of an arena: all zeroes.
struct Memory {
    pages: MmapRaw,
    beside: MmapRaw,
}

thread_local! {
    /// Memory of small tables that are gone, with the entries of their pages.
    static SPARE: RefCell<Vec<(u32, Memory)>> = const { RefCell::new(Vec::new()) };
}

impl Memory {
    fn of(entries_shift: u32) -> Self {
        if entries_shift <= SMALL {
            let spare = SPARE.with_borrow_mut(|spare| {
                let fits = spare.iter().rposition(|(shift, _)| *shift == entries_shift)?;
                Some(spare.swap_remove(fits).1)
            });
            return spare.unwrap_or_else(|| Self::reserve(entries_shift));
        }
        let memory = Self::reserve(entries_shift);
        // Fewer faults and TLB misses where the system has huge pages; where it has not, nothing changes.
        let _ = memory.pages.advise(memmap2::Advice::HugePage);
        memory
    }

    fn reserve(entries_shift: u32) -> Self {
        let reserve = |bytes: usize| {
            let mapping = MmapOptions::new().len(bytes).no_reserve_swap().map_anon();
            MmapRaw::from(mapping.expect("address space for a table"))
        };
        let pages = capacity(entries_shift) as usize;
        Self {
            pages: reserve(pages * (size_of::<Word>() << entries_shift)),
            beside: reserve(pages * size_of::<Beside>()),
        }
    }
}
