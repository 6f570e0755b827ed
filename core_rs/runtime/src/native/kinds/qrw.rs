//! The kernel's queued rwlock (`kernel/locking/qrwlock.c`).
//!
//! Guarantee: readers share, a writer excludes; who has to wait waits in one queue, so that nobody is overtaken by
//! who comes later, but in the moment in which the first of the queue has not announced itself yet. Own code
//! because crate `qrwlock` (0.2.0) counts a reader whose `try` fails for ever, and spins without end when its
//! holder has no processor. The steps are the kernel's, and the queue is its [MCS lock](super::mcs); what differs: a writer
//! unlocks by an atomic subtraction where the kernel stores a byte of the word.

use super::backoff::until;
use super::mcs::{Nodes, Queue};
use super::raw::{Raw, Span};
use super::sync::{AtomicU32, Ordering};

/// A writer holds the lock (`_QW_LOCKED`).
const LOCKED: u32 = 0xff;
/// The first of the queue is a writer (`_QW_WAITING`).
const WAITING: u32 = 0x100;
/// One reader (`_QR_BIAS`).
const READER: u32 = 0x200;

/// The lock, without the nodes of its queue.
pub(super) struct Cell {
    counts: AtomicU32,
    /// For [`Raw::last`].
    pub(super) last: AtomicU32,
    queue: Queue,
}

impl Cell {
    pub(super) fn new() -> Self {
        Self { counts: AtomicU32::new(0), last: super::maker(), queue: Queue::new() }
    }

    #[inline]
    pub(super) fn try_read(&self) -> bool {
        let free = self.counts.fetch_add(READER, Ordering::Acquire) & (LOCKED | WAITING) == 0;
        if !free {
            self.counts.fetch_sub(READER, Ordering::Relaxed);
        }
        free
    }

    pub(super) fn read(&self, nodes: &Nodes) {
        let turn = self.queue.lock(nodes);
        self.counts.fetch_add(READER, Ordering::Relaxed);
        until(|| self.counts.load(Ordering::Acquire) & LOCKED == 0);
        self.queue.unlock(nodes, turn);
    }

    #[inline]
    pub(super) fn unlock_read(&self) {
        self.counts.fetch_sub(READER, Ordering::Release);
    }

    #[inline]
    pub(super) fn try_write(&self) -> bool {
        self.counts.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    pub(super) fn write(&self, nodes: &Nodes) {
        let turn = self.queue.lock(nodes);
        if !self.try_write() {
            self.counts.fetch_or(WAITING, Ordering::Relaxed);
            let take = || {
                self.counts.load(Ordering::Relaxed) == WAITING
                    && self
                        .counts
                        .compare_exchange(WAITING, LOCKED, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok()
            };
            until(take);
        }
        self.queue.unlock(nodes, turn);
    }

    #[inline]
    pub(super) fn unlock_write(&self) {
        self.counts.fetch_sub(LOCKED, Ordering::Release);
    }
}

/// A queued rwlock.
pub struct QrwLock {
    cell: Cell,
    nodes: Nodes,
}

impl QrwLock {
    pub(super) fn new(threads: usize) -> Self {
        Self { cell: Cell::new(), nodes: Nodes::new(threads) }
    }
}

impl Raw for QrwLock {
    type Read = ();
    type Write = ();

    #[inline]
    fn try_read(&self, _span: Span) -> Option<()> {
        self.cell.try_read().then_some(())
    }

    fn read(&self, _span: Span) {
        self.cell.read(&self.nodes);
    }

    #[inline]
    fn unlock_read(&self, (): ()) {
        self.cell.unlock_read();
    }

    #[inline]
    fn try_write(&self, _span: Span) -> Option<()> {
        self.cell.try_write().then_some(())
    }

    fn write(&self, _span: Span) {
        self.cell.write(&self.nodes);
    }

    #[inline]
    fn unlock_write(&self, (): ()) {
        self.cell.unlock_write();
    }

    #[inline]
    fn last(&self, _writes: bool, _span: Span) -> Option<&AtomicU32> {
        Some(&self.cell.last)
    }
}
