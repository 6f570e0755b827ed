//! The floor: a three-level walker that does nothing but walk. No range checks, no counts, no
//! break-before-make, no safe freeing; `Counted` adds what two threads need, a compare-and-exchange and a count.

#![allow(unsafe_code)] // a floor checks nothing

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::Criterion;

use crate::bench;
use crate::guest::{BASE, Guest, LARGE, PA, PAGE, PAGES, Subject};

const ENTRIES: usize = 512;
const LEAF: u64 = 0x7ff;
const WRITE: u64 = 1 << 7;
const AF: u64 = 1 << 10;

/// A count on a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Count(AtomicU64);

pub(crate) struct Radix<const COUNTED: bool> {
    words: Box<[AtomicU64]>,
    counts: Box<[Count]>,
    /// The next table that was never used.
    next: AtomicU64,
}

pub(crate) type Bare = Radix<false>;
pub(crate) type Counted = Radix<true>;

impl<const COUNTED: bool> Radix<COUNTED> {
    /// Room for the tables of so many pages.
    fn of(pages: u64) -> Self {
        let tables = 2 + 6 + pages as usize / ENTRIES;
        Self {
            words: (0..tables * ENTRIES).map(|_| AtomicU64::new(0)).collect(),
            counts: (0..tables).map(|_| Count::default()).collect(),
            next: AtomicU64::new(2 * ENTRIES as u64),
        }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at < self.words.len());
        // SAFETY: `at` is a table's first word, which `table` has handed out below the number of words, plus an
        // index below 512; the root's two tables take indices below 1024.
        unsafe { self.words.get_unchecked(at) }
    }

    /// The first word of the next level's table, installed where there is none.
    fn descend(&self, at: usize) -> usize {
        let word = self.word(at);
        let next = word.load(Ordering::Acquire);
        if next != 0 { next as usize } else { self.install(word) }
    }

    #[cold]
    fn install(&self, word: &AtomicU64) -> usize {
        let table = self.next.fetch_add(ENTRIES as u64, Ordering::Relaxed);
        assert!((table as usize) < self.words.len(), "tables enough for the guest");
        match word.compare_exchange(0, table, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => table as usize,
            Err(theirs) => theirs as usize,
        }
    }

    fn last_level(&self, ipa: u64) -> usize {
        let second = self.descend((ipa >> 30) as usize);
        self.descend(second | ((ipa >> 21) as usize % ENTRIES))
    }

    /// The number of the word that maps a page.
    fn leaf(&self, page: u64) -> usize {
        let ipa = BASE + page * PAGE;
        self.last_level(ipa) | ((ipa >> 12) as usize % ENTRIES)
    }

    fn map_page(&self, page: u64) {
        let at = self.leaf(page);
        let word = self.word(at);
        let leaf = (PA + page * PAGE) | LEAF;
        if COUNTED {
            self.counts[at / ENTRIES].0.fetch_add(1, Ordering::Relaxed);
            let _ = word.compare_exchange(0, leaf, Ordering::AcqRel, Ordering::Relaxed);
        } else {
            word.store(leaf, Ordering::Release);
        }
    }

    /// The entries of the last level, a table at a time.
    fn leaves(&self) -> impl Iterator<Item = &[AtomicU64]> {
        (0..PAGES).step_by(ENTRIES).map(|page| {
            let table = self.last_level(BASE + page * PAGE);
            &self.words[table..table + ENTRIES]
        })
    }
}

impl<const COUNTED: bool> Subject for Radix<COUNTED> {
    fn new() -> Self {
        Self::of(PAGES)
    }

    /// Zeroes the leaves; the tables stay.
    fn clear(&mut self) {
        self.leaves().flatten().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    fn map(&mut self, page: u64) {
        self.map_page(page);
    }

    fn map_range(&mut self) -> bool {
        if COUNTED {
            return false;
        }
        let mut leaf = PA | LEAF;
        for table in self.leaves() {
            for word in table {
                word.store(leaf, Ordering::Release);
                leaf += PAGE;
            }
        }
        true
    }

    fn look_up(&self, page: u64) {
        black_box(self.word(self.leaf(page)).load(Ordering::Acquire));
    }

    fn wrprotect(&mut self) -> bool {
        for word in self.leaves().flatten() {
            word.store(word.load(Ordering::Acquire) & !WRITE, Ordering::Relaxed);
        }
        !COUNTED
    }

    fn mkyoung(&mut self, page: u64) -> bool {
        let word = self.word(self.leaf(page));
        let old = word.load(Ordering::Acquire);
        let _ = word.compare_exchange(old, old ^ AF, Ordering::AcqRel, Ordering::Relaxed);
        !COUNTED
    }

    fn unmap(&mut self, page: u64) -> bool {
        self.word(self.leaf(page)).store(0, Ordering::Relaxed);
        !COUNTED
    }

    /// Forgets all tables; they are zeroed when they are used again.
    fn destroy(&mut self) -> bool {
        if COUNTED {
            return false;
        }
        for root in 0..2 * ENTRIES {
            let second = self.words[root].swap(0, Ordering::Relaxed) as usize;
            if second != 0 {
                self.words[second..second + ENTRIES].iter().for_each(|word| word.store(0, Ordering::Relaxed));
            }
        }
        self.next.store(2 * ENTRIES as u64, Ordering::Relaxed);
        true
    }
}

/// Look-ups over 4 GiB, each by itself: the processor overlaps them.
pub(crate) fn large(criterion: &mut Criterion) {
    let guest = Guest::of(LARGE);
    let mut subject = Bare::of(LARGE);
    guest.pages().for_each(|page| subject.map(page));
    bench(
        criterion,
        "look-up-many",
        "floor",
        &mut subject,
        |_| (),
        |subject| {
            guest.random().for_each(|page| subject.look_up(page));
        },
    );
}

/// As the halves of this crate's walkers.
pub(crate) fn halves(criterion: &mut Criterion) {
    crate::halves(criterion, "counted", &mut Counted::new(), |subject, pages| {
        for page in pages {
            subject.map_page(page);
        }
    });
}
