//! A lock whose readers share no cache line, as a what-if: the reader's path of RCU, with exclusion.
//!
//! Guarantee: readers share, a writer excludes. A reader that meets no writer writes only a line of its own; a writer
//! takes its turn in a queue, raises a flag that all readers look at, and waits for each reader that was inside, as for
//! a grace period. A reader that sees the flag takes its turn in the same queue, so nobody waits for ever. Threads
//! without an index of their own share a line. Own code because the crates that have this (such as `crossbeam`'s sharded
//! lock) lock every shard to write, and their readers do an atomic read-modify-write.

use super::backoff::until;
use super::mcs::{Nodes, Queue, Turn};
use super::raw::{Raw, Span};
use super::sync::{AtomicBool, AtomicU32, Ordering, fence};

/// How many of a thread's, or of several threads', read sections are not over.
#[repr(align(128))]
struct Slot(AtomicU32);

/// A big-reader lock.
pub struct BigReaderLock {
    /// Whether a writer is inside, or about to be.
    raised: AtomicBool,
    /// Of writers, for [`Raw::last`].
    last: AtomicU32,
    /// One for each thread, and one that all others share.
    slots: Box<[Slot]>,
    nodes: Nodes,
    queue: Queue,
}

impl BigReaderLock {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            raised: AtomicBool::new(false),
            last: super::maker(),
            slots: (0..=threads).map(|_| Slot(AtomicU32::new(0))).collect(),
            nodes: Nodes::new(threads),
            queue: Queue::new(),
        }
    }

    #[inline]
    fn enter(&self, slot: usize) {
        let Slot(count) = &self.slots[slot];
        if slot == self.slots.len() - 1 {
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    fn raise(&self) {
        self.raised.store(true, Ordering::Relaxed);
        // A reader that does not see the flag is seen here: one of the two fences is the first.
        fence(Ordering::SeqCst);
    }
}

impl Raw for BigReaderLock {
    /// The slot.
    type Read = usize;
    type Write = Turn;

    #[inline]
    fn try_read(&self, _span: Span) -> Option<usize> {
        let slot = super::index();
        self.enter(slot);
        fence(Ordering::SeqCst); // as in `raise`
        if self.raised.load(Ordering::Acquire) {
            self.unlock_read(slot);
            return None;
        }
        Some(slot)
    }

    /// In its turn no writer is inside, and none comes before the turn is over.
    fn read(&self, _span: Span) -> usize {
        let slot = super::index();
        let turn = self.queue.lock(&self.nodes);
        self.enter(slot);
        self.queue.unlock(&self.nodes, turn);
        slot
    }

    #[inline]
    fn unlock_read(&self, slot: usize) {
        let Slot(count) = &self.slots[slot];
        if slot == self.slots.len() - 1 {
            count.fetch_sub(1, Ordering::Release);
        } else {
            count.store(count.load(Ordering::Relaxed) - 1, Ordering::Release);
        }
    }

    fn try_write(&self, _span: Span) -> Option<Turn> {
        let turn = self.queue.try_lock(&self.nodes)?;
        self.raise();
        if self.slots.iter().all(|Slot(count)| count.load(Ordering::Acquire) == 0) {
            return Some(turn);
        }
        self.unlock_write(turn);
        None
    }

    fn write(&self, _span: Span) -> Turn {
        let turn = self.queue.lock(&self.nodes);
        self.raise();
        for Slot(count) in &self.slots {
            until(|| count.load(Ordering::Acquire) == 0);
        }
        turn
    }

    fn unlock_write(&self, held: Turn) {
        self.raised.store(false, Ordering::Release);
        self.queue.unlock(&self.nodes, held);
    }
    #[inline]
    fn last(&self, writes: bool, _span: Span) -> Option<&AtomicU32> {
        writes.then_some(&self.last)
    }
}
