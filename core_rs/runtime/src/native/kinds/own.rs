//! Kinds of our own: guards around their tokens.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU32;

use super::big_reader::BigReaderLock;
use super::mcs::McsLock;
use super::qrw::QrwLock;
use super::range::RangeLock;
use super::raw::{Raw, Span};
use super::{RwLockKind, SHARDS};

/// A fair queued rwlock: the kernel's qrwlock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Qrwlock;

/// An MCS spin lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mcs;

/// A rwlock of address ranges: [`Runtime::read_range`](crate::Runtime::read_range) and
/// [`write_range`](crate::Runtime::write_range) take their range only, `read` and `write` all addresses.
///
/// Who holds a range is not alone with what all ranges share. In a stage-2 table those are the tables above the range
/// and their counts: walks in ranges have to be shared ones, or change leaves only (age, write-protect), and what
/// may free a table takes all. A range names whole leaves: one inside a block is rounded to the block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range;

/// A rwlock whose readers touch a cache line of their own only.
#[derive(Clone, Copy, Debug, Default)]
pub struct BigReader;

/// A kind whose lock is a [`Raw`].
pub trait Own: Copy + Default + std::fmt::Debug + Send + Sync + 'static {
    /// The lock.
    type Raw: Raw + Send + Sync;
    /// Makes a lock for so many threads, and one that all others are for it.
    fn of_threads(threads: usize) -> Self::Raw;
}

impl Own for Qrwlock {
    type Raw = QrwLock;
    fn of_threads(threads: usize) -> QrwLock {
        QrwLock::new(threads)
    }
}

impl Own for Mcs {
    type Raw = McsLock;
    fn of_threads(threads: usize) -> McsLock {
        McsLock::new(threads)
    }
}

impl Own for Range {
    type Raw = RangeLock;
    fn of_threads(threads: usize) -> RangeLock {
        RangeLock::new(threads)
    }
}

impl Own for BigReader {
    type Raw = BigReaderLock;
    fn of_threads(threads: usize) -> BigReaderLock {
        BigReaderLock::new(threads)
    }
}

/// Holds a lock of our own for read; stays on its thread.
pub struct OwnReadGuard<'a, L: Raw> {
    lock: &'a L,
    held: L::Read,
    not_send: PhantomData<*const ()>,
}

/// Holds a lock of our own for write; stays on its thread.
pub struct OwnWriteGuard<'a, L: Raw> {
    lock: &'a L,
    held: L::Write,
    not_send: PhantomData<*const ()>,
}

impl<'a, L: Raw> OwnReadGuard<'a, L> {
    #[inline]
    fn new(lock: &'a L, held: L::Read) -> Self {
        Self { lock, held, not_send: PhantomData }
    }
}

impl<'a, L: Raw> OwnWriteGuard<'a, L> {
    #[inline]
    fn new(lock: &'a L, held: L::Write) -> Self {
        Self { lock, held, not_send: PhantomData }
    }
}

impl<L: Raw> Drop for OwnReadGuard<'_, L> {
    #[inline]
    fn drop(&mut self) {
        self.lock.unlock_read(self.held);
    }
}

impl<L: Raw> Drop for OwnWriteGuard<'_, L> {
    #[inline]
    fn drop(&mut self) {
        self.lock.unlock_write(self.held);
    }
}

impl<K: Own> RwLockKind for K {
    type Lock = K::Raw;
    type ReadGuard<'a> = OwnReadGuard<'a, K::Raw>;
    type WriteGuard<'a> = OwnWriteGuard<'a, K::Raw>;
    type Span = Span;

    fn make() -> K::Raw {
        K::of_threads(SHARDS)
    }

    #[inline]
    fn span(start: u64, size: u64) -> Span {
        Span { start, size }
    }

    #[inline]
    fn try_read(lock: &K::Raw, span: Span) -> Option<Self::ReadGuard<'_>> {
        lock.try_read(span).map(|held| OwnReadGuard::new(lock, held))
    }

    fn read(lock: &K::Raw, span: Span) -> Self::ReadGuard<'_> {
        OwnReadGuard::new(lock, lock.read(span))
    }

    #[inline]
    fn try_write(lock: &K::Raw, span: Span) -> Option<Self::WriteGuard<'_>> {
        lock.try_write(span).map(|held| OwnWriteGuard::new(lock, held))
    }

    fn write(lock: &K::Raw, span: Span) -> Self::WriteGuard<'_> {
        OwnWriteGuard::new(lock, lock.write(span))
    }

    #[inline]
    fn last(lock: &K::Raw, writes: bool, span: Span) -> Option<&AtomicU32> {
        lock.last(writes, span)
    }

    /// Their queues are first come, first served.
    fn hand_over(guard: Self::WriteGuard<'_>) -> bool {
        drop(guard);
        true
    }
}
