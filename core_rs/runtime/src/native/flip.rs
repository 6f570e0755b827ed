//! The two-index grace period behind SRCU, sharded by thread.
//!
//! Guarantee: [`Flip::synchronize`] returns after the end of every read section that began before it
//! was called, and what was written before the call is seen by every section that begins after it
//! returned. Readers never wait. The algorithm is the kernel's SRCU without its state machine:
//! entries and exits are counted apart, in one of two sets, and both sets are drained.
//!
//! This file names no atomic of its own: `sync` is std's in the crate, loom's in `tests/srcu_loom.rs`.

use super::sync::{AtomicU64, AtomicUsize, Ordering, fence, yield_now};

/// The counts of one shard, on cache lines of its own.
#[repr(align(128))]
struct Shard {
    entered: [AtomicU64; 2],
    left: [AtomicU64; 2],
}

/// A grace-period domain.
pub(super) struct Flip {
    /// Which of the two counts new readers use, in its lowest bit.
    epoch: AtomicUsize,
    shards: Box<[Shard]>,
    /// The last shard belongs to all threads that have none of their own.
    last: usize,
}

/// Where a reader entered, and so where it has to leave.
#[derive(Clone, Copy)]
pub(super) struct Entered {
    shard: usize,
    index: usize,
}

impl Flip {
    /// A domain of `shards` threads and one shard that any others share.
    pub(super) fn new(shards: usize) -> Self {
        let shard = || Shard {
            entered: [AtomicU64::new(0), AtomicU64::new(0)],
            left: [AtomicU64::new(0), AtomicU64::new(0)],
        };
        Self { epoch: AtomicUsize::new(0), shards: (0..=shards).map(|_| shard()).collect(), last: shards }
    }

    /// Begins a read section of the thread that owns `shard`.
    #[inline]
    pub(super) fn enter(&self, shard: usize) -> Entered {
        let index = self.epoch.load(Ordering::Relaxed) & 1;
        self.count(shard, &self.shards[shard].entered[index]);
        // The entry is visible before anything that the section reads.
        fence(Ordering::SeqCst);
        Entered { shard, index }
    }

    /// Ends it, on the same thread.
    #[inline]
    pub(super) fn leave(&self, entered: Entered) {
        // What the section read was read before the exit is visible.
        fence(Ordering::SeqCst);
        self.count(entered.shard, &self.shards[entered.shard].left[entered.index]);
    }

    /// Waits for a grace period. One caller at a time.
    ///
    /// Both indices are drained: a reader may have read the epoch long ago and entered by the index
    /// that is idle now.
    pub(super) fn synchronize(&self) {
        fence(Ordering::SeqCst);
        let old = self.epoch.load(Ordering::Relaxed);
        self.drain((old + 1) & 1);
        self.epoch.store(old.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.drain(old & 1);
    }

    fn drain(&self, index: usize) {
        while !self.idle(index) {
            yield_now();
        }
    }

    /// Exits are summed before entries: a section seen to leave was seen to enter. What the sections
    /// that left have read and written comes before all that follows.
    fn idle(&self, index: usize) -> bool {
        let left = self.sum(|shard| &shard.left[index]);
        fence(Ordering::SeqCst);
        left == self.sum(|shard| &shard.entered[index])
    }

    fn sum(&self, count: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| count(shard).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    #[inline]
    fn count(&self, shard: usize, count: &AtomicU64) {
        if shard == self.last {
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }
}
