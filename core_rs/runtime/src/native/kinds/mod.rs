//! The locks that can play `mmu_lock`.
//!
//! Guarantee: whatever the kind, who holds the lock for write is alone, and it is dropped with its guard. What
//! differs is who waits where, and for what:
//!
//! | kind | readers share | who goes first | waits by | from |
//! |---|---|---|---|---|
//! | [`ParkingLot`] | yes | a waiting writer before later readers; else whoever comes by | parking | `parking_lot` |
//! | [`Qrwlock`] | yes | first come, first served | spinning | here |
//! | [`Std`] | yes | a waiting writer before later readers; else whoever comes by | parking | `std` |
//! | [`Ticket`] | no | first come, first served | spinning | `spin` |
//! | [`Mcs`] | no | first come, first served | spinning, on a line of its own | here |
//! | [`Mutex`] | no | whoever comes by | parking | `parking_lot` |
//! | [`Range`] | yes, and writers of other ranges | first come, first served, in a group of ranges | spinning | here |
//! | [`BigReader`] | yes, without a shared line | first come, first served | spinning | here |
//!
//! A lock without a read side serves a reader as it serves a writer. All that spin give the processor up after a while, and
//! from then on at every look: a holder that has lost its processor, as happens when there are more threads than cores,
//! gets one.

mod any;
mod big_reader;
mod mcs;
mod own;
mod plain;
mod qrw;
mod range;
mod raw;

use std::fmt;
use std::sync::atomic::AtomicU32;

use super::counters::maker;
use super::threads::{SHARDS, index};
use super::{backoff, sync};

pub use any::{AnyLock, LockKind, MadeAs, UnknownLock};
pub use own::{BigReader, Mcs, Qrwlock, Range};
pub use plain::{Mutex, ParkingLot, Std, Ticket};

/// Groups that a [`Range`] lock tells apart, as a power of two: at most 6.
const STRIPE_BITS: u32 = 6;

/// A lock that can play `mmu_lock`, as a type parameter of [`Native`](super::Native).
///
/// Each acquisition is first tried and then, when the lock was not free, waited for: that it was not is what counts
/// as a contention.
pub trait RwLockKind: Copy + Default + fmt::Debug + Send + Sync + 'static {
    /// The lock.
    type Lock: Send + Sync;
    /// Holds it for read.
    type ReadGuard<'a>;
    /// Holds it for write.
    type WriteGuard<'a>;
    /// What an acquisition is about: nothing, for a lock that does not tell addresses apart.
    type Span: Copy;

    /// Makes a lock.
    fn make() -> Self::Lock;
    /// `[start, start + size)`.
    fn span(start: u64, size: u64) -> Self::Span;
    /// Every address.
    #[inline]
    fn whole() -> Self::Span {
        Self::span(0, u64::MAX)
    }

    /// Takes the lock for read if that needs no waiting.
    fn try_read(lock: &Self::Lock, span: Self::Span) -> Option<Self::ReadGuard<'_>>;
    /// Waits for the lock, and takes it for read.
    fn read(lock: &Self::Lock, span: Self::Span) -> Self::ReadGuard<'_>;
    /// Takes the lock for write if that needs no waiting.
    fn try_write(lock: &Self::Lock, span: Self::Span) -> Option<Self::WriteGuard<'_>>;
    /// Waits for the lock, and takes it for write.
    fn write(lock: &Self::Lock, span: Self::Span) -> Self::WriteGuard<'_>;
    /// Where it stands who took the lock last, in the cache line that every taker writes anyway; none where takers
    /// share no line.
    fn last(lock: &Self::Lock, writes: bool, span: Self::Span) -> Option<&AtomicU32>;
    /// Drops the lock in a lock break; answers whether it sees to it that a waiter is not passed by who breaks the lock.
    fn hand_over(guard: Self::WriteGuard<'_>) -> bool;
}

#[cfg(test)]
mod tests;
