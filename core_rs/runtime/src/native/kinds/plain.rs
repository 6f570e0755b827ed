//! Kinds that a crate or std has.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::sync::{self, PoisonError, TryLockError};

use parking_lot::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
use spin::RelaxStrategy;
use spin::mutex::{TicketMutex, TicketMutexGuard};

use super::RwLockKind;
use super::backoff::Backoff;

/// `parking_lot`'s rwlock. A parked waiter is handed the lock when it is broken.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParkingLot;

/// std's rwlock. It is never poisoned here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Std;

/// A ticket spin lock: `spin`'s, with our way of waiting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticket;

/// `parking_lot`'s mutex. A parked waiter is handed the lock when it is broken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mutex;

/// A lock, and who took it last.
#[repr(C)] // the lock first: its address is this one's, and takes no instruction to find
pub struct Lock<T> {
    plain: T,
    last: AtomicU32,
}

impl<T> Lock<T> {
    fn new(plain: T) -> Self {
        Self { plain, last: super::maker() }
    }
}

impl RwLockKind for ParkingLot {
    type Lock = Lock<parking_lot::RwLock<()>>;
    type ReadGuard<'a> = RwLockReadGuard<'a, ()>;
    type WriteGuard<'a> = RwLockWriteGuard<'a, ()>;
    type Span = ();

    fn make() -> Self::Lock {
        Lock::new(parking_lot::RwLock::new(()))
    }

    #[inline]
    fn span(_start: u64, _size: u64) {}

    #[inline]
    fn try_read(lock: &Self::Lock, (): ()) -> Option<Self::ReadGuard<'_>> {
        lock.plain.try_read()
    }

    fn read(lock: &Self::Lock, (): ()) -> Self::ReadGuard<'_> {
        lock.plain.read()
    }

    #[inline]
    fn try_write(lock: &Self::Lock, (): ()) -> Option<Self::WriteGuard<'_>> {
        lock.plain.try_write()
    }

    fn write(lock: &Self::Lock, (): ()) -> Self::WriteGuard<'_> {
        lock.plain.write()
    }

    #[inline]
    fn last(lock: &Self::Lock, _writes: bool, (): ()) -> Option<&AtomicU32> {
        Some(&lock.last)
    }

    fn hand_over(guard: Self::WriteGuard<'_>) -> bool {
        RwLockWriteGuard::unlock_fair(guard);
        true
    }
}

impl RwLockKind for Std {
    type Lock = Lock<sync::RwLock<()>>;
    type ReadGuard<'a> = sync::RwLockReadGuard<'a, ()>;
    type WriteGuard<'a> = sync::RwLockWriteGuard<'a, ()>;
    type Span = ();

    fn make() -> Self::Lock {
        Lock::new(sync::RwLock::new(()))
    }

    #[inline]
    fn span(_start: u64, _size: u64) {}

    #[inline]
    fn try_read(lock: &Self::Lock, (): ()) -> Option<Self::ReadGuard<'_>> {
        lock.plain.try_read().map_or_else(poisoned, Some)
    }

    fn read(lock: &Self::Lock, (): ()) -> Self::ReadGuard<'_> {
        lock.plain.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn try_write(lock: &Self::Lock, (): ()) -> Option<Self::WriteGuard<'_>> {
        lock.plain.try_write().map_or_else(poisoned, Some)
    }

    fn write(lock: &Self::Lock, (): ()) -> Self::WriteGuard<'_> {
        lock.plain.write().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn last(lock: &Self::Lock, _writes: bool, (): ()) -> Option<&AtomicU32> {
        Some(&lock.last)
    }

    fn hand_over(guard: Self::WriteGuard<'_>) -> bool {
        drop(guard);
        false
    }
}

/// A lock that was dropped by unwinding is free.
fn poisoned<G>(error: TryLockError<G>) -> Option<G> {
    match error {
        TryLockError::Poisoned(poisoned) => Some(poisoned.into_inner()),
        TryLockError::WouldBlock => None,
    }
}

impl RwLockKind for Mutex {
    type Lock = Lock<parking_lot::Mutex<()>>;
    type ReadGuard<'a> = MutexGuard<'a, ()>;
    type WriteGuard<'a> = MutexGuard<'a, ()>;
    type Span = ();

    fn make() -> Self::Lock {
        Lock::new(parking_lot::Mutex::new(()))
    }

    #[inline]
    fn span(_start: u64, _size: u64) {}

    #[inline]
    fn try_read(lock: &Self::Lock, (): ()) -> Option<Self::ReadGuard<'_>> {
        lock.plain.try_lock()
    }

    fn read(lock: &Self::Lock, (): ()) -> Self::ReadGuard<'_> {
        lock.plain.lock()
    }

    #[inline]
    fn try_write(lock: &Self::Lock, (): ()) -> Option<Self::WriteGuard<'_>> {
        lock.plain.try_lock()
    }

    fn write(lock: &Self::Lock, (): ()) -> Self::WriteGuard<'_> {
        lock.plain.lock()
    }

    #[inline]
    fn last(lock: &Self::Lock, _writes: bool, (): ()) -> Option<&AtomicU32> {
        Some(&lock.last)
    }

    fn hand_over(guard: Self::WriteGuard<'_>) -> bool {
        MutexGuard::unlock_fair(guard);
        true
    }
}

/// Waits as the locks of our own do. `spin` asks for a function without state, so that is the thread's: it waits for
/// one lock at a time.
#[derive(Debug)]
pub struct SpinThenYield;

thread_local! {
    static WAITED: Cell<Backoff> = const { Cell::new(Backoff::new()) };
}

impl RelaxStrategy for SpinThenYield {
    fn relax() {
        let mut backoff = WAITED.take();
        backoff.wait();
        WAITED.set(backoff);
    }
}

impl RwLockKind for Ticket {
    type Lock = Lock<TicketMutex<(), SpinThenYield>>;
    type ReadGuard<'a> = TicketMutexGuard<'a, (), SpinThenYield>;
    type WriteGuard<'a> = TicketMutexGuard<'a, (), SpinThenYield>;
    type Span = ();

    fn make() -> Self::Lock {
        Lock::new(TicketMutex::new(()))
    }

    #[inline]
    fn span(_start: u64, _size: u64) {}

    #[inline]
    fn try_read(lock: &Self::Lock, (): ()) -> Option<Self::ReadGuard<'_>> {
        lock.plain.try_lock()
    }

    fn read(lock: &Self::Lock, (): ()) -> Self::ReadGuard<'_> {
        WAITED.set(Backoff::new());
        lock.plain.lock()
    }

    #[inline]
    fn try_write(lock: &Self::Lock, (): ()) -> Option<Self::WriteGuard<'_>> {
        lock.plain.try_lock()
    }

    fn write(lock: &Self::Lock, (): ()) -> Self::WriteGuard<'_> {
        WAITED.set(Backoff::new());
        lock.plain.lock()
    }

    #[inline]
    fn last(lock: &Self::Lock, _writes: bool, (): ()) -> Option<&AtomicU32> {
        Some(&lock.last)
    }

    fn hand_over(guard: Self::WriteGuard<'_>) -> bool {
        drop(guard);
        true
    }
}
