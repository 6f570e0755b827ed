//! Locks with counters beside them: a plain one, `parking_lot`'s mutex, and a reader-writer one of any
//! [kind](super::kinds).
//!
//! Guarantee: a lock is exclusive (or shared) as its kind is, and is dropped with its guard,
//! also when that unwinds. An acquisition counts as contended when the lock was not free at the
//! first try. With [`Off`](super::Off) there is nothing but the kind's own instructions on the
//! uncontended path.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::backoff::until;
use super::counters::{Counters, Shard, Side};
use super::kinds::{AnyLock, LockKind, ParkingLot, RwLockKind};
use super::{Counting, LockStats};
use crate::Site;

/// A lock of either class: both wait by spinning a little, then parking.
#[repr(C)] // parking_lot's word first: its address is the lock's, and takes no instruction to find
pub struct Lock<C: Counting> {
    plain: Mutex<()>,
    recorder: Recorder<C>,
}

/// A reader-writer lock.
#[repr(C)] // as for `Lock`
pub struct RwLock<C: Counting, K: RwLockKind = ParkingLot> {
    plain: K::Lock,
    waits: Waits,
    recorder: Recorder<C>,
}

/// Threads that found a lock taken.
#[derive(Default)]
struct Waits {
    begun: AtomicUsize,
    over: AtomicUsize,
}

/// Holds a [`Lock`].
#[must_use = "the lock is dropped with the guard"]
pub struct LockGuard<'a, C: Counting> {
    _plain: MutexGuard<'a, ()>,
    hold: Hold<'a, C>, // dropped last: what is recorded is recorded after the unlock
}

/// Holds a [`RwLock`] for read.
#[must_use = "the lock is dropped with the guard"]
pub struct ReadGuard<'a, C: Counting, K: RwLockKind = ParkingLot> {
    _plain: K::ReadGuard<'a>,
    hold: Hold<'a, C>, // dropped last, as in `LockGuard`
}

/// Holds a [`RwLock`] for write.
#[must_use = "the lock is dropped with the guard"]
pub struct WriteGuard<'a, C: Counting, K: RwLockKind = ParkingLot> {
    /// None only inside a lock break.
    plain: Option<K::WriteGuard<'a>>,
    hold: Hold<'a, C>, // dropped last, as in `LockGuard`
    lock: &'a RwLock<C, K>,
    span: K::Span,
}

impl<C: Counting> Lock<C> {
    pub(super) fn new(name: &'static str) -> Self {
        Self { plain: Mutex::new(()), recorder: Recorder::new(name) }
    }

    #[inline]
    pub(super) fn lock(&self, site: Site) -> LockGuard<'_, C> {
        // parking_lot's `try_lock` takes longer than its `lock`, so it only runs to count.
        let first_try = if C::COUNT { self.plain.try_lock() } else { Some(self.plain.lock()) };
        let plain = match first_try {
            Some(guard) => guard,
            None => self.recorder.wait(Side::Write, site, || self.plain.lock()),
        };
        LockGuard { hold: self.recorder.acquired(Side::Write, site), _plain: plain }
    }

    pub(super) fn stats(&self) -> LockStats {
        self.recorder.stats()
    }
}

impl<C: Counting> RwLock<C, AnyLock> {
    pub(super) fn of(kind: LockKind, name: &'static str) -> Self {
        Self::around(AnyLock::of(kind), name)
    }

    pub(super) fn kind(&self) -> LockKind {
        AnyLock::kind(&self.plain)
    }
}

impl<C: Counting, K: RwLockKind> RwLock<C, K> {
    pub(super) fn new(name: &'static str) -> Self {
        Self::around(K::make(), name)
    }

    fn around(plain: K::Lock, name: &'static str) -> Self {
        Self { plain, waits: Waits::default(), recorder: Recorder::new(name) }
    }

    #[inline]
    pub(super) fn read(&self, span: K::Span, site: Site) -> ReadGuard<'_, C, K> {
        let plain = match K::try_read(&self.plain, span) {
            Some(guard) => guard,
            None => self.wait(Side::Read, site, || K::read(&self.plain, span)),
        };
        ReadGuard { hold: self.recorder.acquired(Side::Read, site), _plain: plain }
    }

    #[inline]
    pub(super) fn write(&self, span: K::Span, site: Site) -> WriteGuard<'_, C, K> {
        let plain = self.take_for_write(span, site);
        let hold = self.recorder.acquired(Side::Write, site);
        WriteGuard { hold, plain: Some(plain), lock: self, span }
    }

    #[inline]
    fn take_for_write(&self, span: K::Span, site: Site) -> K::WriteGuard<'_> {
        match K::try_write(&self.plain, span) {
            Some(guard) => guard,
            None => self.wait(Side::Write, site, || K::write(&self.plain, span)),
        }
    }

    pub(super) fn prepare(&self) {
        self.recorder.shard();
    }

    pub(super) fn stats(&self) -> LockStats {
        self.recorder.stats()
    }

    #[cold]
    fn wait<G>(&self, side: Side, site: Site, lock: impl FnOnce() -> G) -> G {
        self.waits.begun.fetch_add(1, Ordering::Relaxed);
        let guard = self.recorder.wait(side, site, lock);
        self.waits.over.fetch_add(1, Ordering::Relaxed);
        guard
    }
}

impl<C: Counting, K: RwLockKind> WriteGuard<'_, C, K> {
    /// Drops the lock and takes it again if another thread waits for it; answers whether it did.
    #[inline]
    pub(super) fn break_if_awaited(&mut self, site: Site) -> bool {
        let waits = &self.lock.waits;
        let over = waits.over.load(Ordering::Relaxed);
        let awaited = waits.begun.load(Ordering::Relaxed) != over;
        if awaited {
            self.break_lock(over, site);
        }
        awaited
    }

    /// A lock break is an unlock and an acquisition like any other, but that it is not taken again before a waiter had
    /// it, or is bound to have it.
    #[cold]
    fn break_lock(&mut self, over: usize, site: Site) {
        self.hold.stop();
        if let Some(plain) = self.plain.take()
            && !K::hand_over(plain)
        {
            until(|| self.lock.waits.over.load(Ordering::Relaxed) != over);
        }
        self.plain = Some(self.lock.take_for_write(self.span, site));
        self.hold = self.lock.recorder.acquired(Side::Write, site);
    }
}

/// A lock's name and counters.
struct Recorder<C> {
    name: &'static str,
    /// None when nothing is counted.
    counters: Option<Box<Counters>>,
    counting: PhantomData<C>,
}

impl<C: Counting> Recorder<C> {
    fn new(name: &'static str) -> Self {
        let counters = C::COUNT.then(|| Box::new(Counters::new::<C>()));
        Self { name, counters, counting: PhantomData }
    }

    fn stats(&self) -> LockStats {
        LockStats::new(self.name, self.counters.as_deref())
    }

    /// Counts an acquisition; the lock is held from now on.
    #[inline]
    fn acquired(&self, side: Side, site: Site) -> Hold<'_, C> {
        let shard = self.shard();
        if let Some(shard) = shard {
            shard.acquired(side, site);
        }
        let time = if C::TIME { shard.map(|shard| (shard, shard.now())) } else { None };
        Hold { time, side, counting: PhantomData }
    }

    /// Counts a contention, and measures how long `lock` takes.
    #[cold]
    fn wait<G>(&self, side: Side, site: Site, lock: impl FnOnce() -> G) -> G {
        let Some(shard) = self.shard() else { return lock() };
        shard.contended(side, site);
        if !C::TIME {
            return lock();
        }
        let start = shard.now();
        let guard = lock();
        shard.waited(side, shard.now().saturating_sub(start));
        guard
    }

    #[inline]
    fn shard(&self) -> Option<&Shard> {
        if C::COUNT { self.counters.as_deref().map(Counters::mine) } else { None }
    }
}

/// A lock that is being held, and then, between [`Hold::stop`] and the drop, how long it was.
struct Hold<'a, C: Counting> {
    /// The shard, and the time of the acquisition or, after the stop, since it.
    time: Option<(&'a Shard, u64)>,
    side: Side,
    counting: PhantomData<C>,
}

impl<C: Counting> Hold<'_, C> {
    /// Takes the last stamp, under the lock.
    #[inline]
    fn stop(&mut self) {
        if C::TIME
            && let Some((shard, time)) = &mut self.time
        {
            *time = shard.now().saturating_sub(*time);
        }
    }
}

/// Records the time.
impl<C: Counting> Drop for Hold<'_, C> {
    #[inline]
    fn drop(&mut self) {
        if C::TIME
            && let Some((shard, time)) = self.time
        {
            shard.held(self.side, time);
        }
    }
}

impl<C: Counting> Drop for LockGuard<'_, C> {
    #[inline]
    fn drop(&mut self) {
        self.hold.stop();
    }
}

impl<C: Counting, K: RwLockKind> Drop for ReadGuard<'_, C, K> {
    #[inline]
    fn drop(&mut self) {
        self.hold.stop();
    }
}

impl<C: Counting, K: RwLockKind> Drop for WriteGuard<'_, C, K> {
    #[inline]
    fn drop(&mut self) {
        self.hold.stop();
    }
}
