//! Locks with counters beside them: a plain one, `parking_lot`'s mutex, and a reader-writer one of any
//! [kind](super::kinds).
//!
//! Guarantee: a lock is exclusive (or shared) as its kind is, and is dropped with its guard,
//! also when that unwinds. An acquisition counts as contended when the lock was not free at the
//! first try. As in the kernel's `lock_stat`, a hold begins where the acquisition does, or, if it was contended, where the
//! wait is over: a stamp before an atomic instruction overlaps with it, one behind it does not. With [`Off`](super::Off) there is nothing but the kind's own instructions on the
//! uncontended path.

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::backoff::until;
use super::counters::{self, Counters, Last, Place, Side};
use super::kinds::{AnyLock, LockKind, ParkingLot, RwLockKind};
use super::{Counting, LockStats, stretch};
use crate::{LockClass, Site};

/// A lock of either class: both wait by spinning a little, then parking.
#[repr(C)] // parking_lot's word first: its address is the lock's, and takes no instruction to find
pub struct Lock<C: Counting> {
    plain: Mutex<()>,
    last: Last,
    class: LockClass,
    recorder: Recorder<C>,
}

/// A reader-writer lock.
#[repr(C)] // as for `Lock`
pub struct RwLock<C: Counting, K: RwLockKind = ParkingLot> {
    plain: K::Lock,
    waits: Waits,
    recorder: Recorder<C>,
}

/// Threads that found a lock place.
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
    pub(super) fn new(name: &'static str, class: LockClass) -> Self {
        Self { plain: Mutex::new(()), last: counters::maker(), class, recorder: Recorder::new(name) }
    }

    #[inline]
    pub(super) fn lock(&self, site: Site) -> LockGuard<'_, C> {
        let sleeps = C::TIME && self.class == LockClass::Mutex;
        if sleeps {
            stretch::point();
        }
        let place = self.recorder.place(Side::Write, site);
        let came = now::<C>(place);
        // parking_lot's `try_lock` takes longer than its `lock`, so it only runs to count.
        let first_try = if C::COUNT { self.plain.try_lock() } else { Some(self.plain.lock()) };
        let (plain, since) = match first_try {
            Some(guard) => (guard, came),
            None => wait::<C, _>(place, Some(&self.last), || {
                if sleeps { stretch::asleep(|| self.plain.lock()) } else { self.plain.lock() }
            }),
        };
        LockGuard { hold: Hold::new(place, since, || Some(&self.last)), _plain: plain }
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
        let place = self.recorder.place(Side::Read, site);
        let came = now::<C>(place);
        let (plain, since) = match K::try_read(&self.plain, span) {
            Some(guard) => (guard, came),
            None => self.wait(place, span, || K::read(&self.plain, span)),
        };
        ReadGuard { hold: Hold::new(place, since, || K::last(&self.plain, false, span)), _plain: plain }
    }

    #[inline]
    pub(super) fn write(&self, span: K::Span, site: Site) -> WriteGuard<'_, C, K> {
        let place = self.recorder.place(Side::Write, site);
        let came = now::<C>(place);
        // Not a function that a lock break calls, too: that takes an instruction more.
        let (plain, since) = match K::try_write(&self.plain, span) {
            Some(guard) => (guard, came),
            None => self.wait(place, span, || K::write(&self.plain, span)),
        };
        WriteGuard {
            hold: Hold::new(place, since, || K::last(&self.plain, true, span)),
            plain: Some(plain),
            lock: self,
            span,
        }
    }

    pub(super) fn prepare(&self) {
        self.recorder.prepare();
    }

    pub(super) fn stats(&self) -> LockStats {
        self.recorder.stats()
    }

    #[cold]
    fn wait<G>(&self, place: Option<Place<'_>>, span: K::Span, lock: impl FnOnce() -> G) -> (G, u64) {
        self.waits.begun.fetch_add(1, Ordering::Relaxed);
        let last = K::last(&self.plain, place.is_some_and(|place| place.side == Side::Write), span);
        let taken = wait::<C, _>(place, last, lock);
        self.waits.over.fetch_add(1, Ordering::Relaxed);
        taken
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
        let (lock, span) = (self.lock, self.span);
        let place = lock.recorder.place(Side::Write, site);
        let came = now::<C>(place);
        let (plain, since) = match K::try_write(&lock.plain, span) {
            Some(guard) => (guard, came),
            None => lock.wait(place, span, || K::write(&lock.plain, span)),
        };
        self.plain = Some(plain);
        self.hold = Hold::new(place, since, || K::last(&lock.plain, true, span));
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

    fn prepare(&self) {
        if let Some(counters) = &self.counters {
            counters.mine();
        }
    }

    fn stats(&self) -> LockStats {
        LockStats::new(self.name, self.counters.as_deref())
    }

    /// Where an acquisition is counted, if it is.
    #[inline]
    fn place(&self, side: Side, site: Site) -> Option<Place<'_>> {
        // Not a `map`: whether there is a place is then known where it is used, without a look.
        C::COUNT.then(|| {
            let counters = self.counters.as_deref().expect("what counts has counters");
            counters.mine().place(side, site)
        })
    }
}

/// The time, if it is recorded.
#[inline]
fn now<C: Counting>(place: Option<Place<'_>>) -> u64 {
    if C::TIME { place.map_or(0, |place| place.now()) } else { 0 }
}

/// Counts a contention, and measures how long `lock` takes. Answers since when the lock is held, too.
#[cold]
fn wait<C: Counting, G>(place: Option<Place<'_>>, last: Option<&Last>, lock: impl FnOnce() -> G) -> (G, u64) {
    if let Some(place) = &place {
        place.contended(last);
    }
    let start = now::<C>(place);
    let guard = lock();
    let since = now::<C>(place);
    if C::TIME
        && let Some(place) = &place
    {
        place.waited(since.saturating_sub(start));
    }
    (guard, since)
}

/// A lock that is being held, and then, between [`Hold::stop`] and the drop, how long it was.
struct Hold<'a, C: Counting> {
    place: Option<Place<'a>>,
    /// The time of the acquisition or, after the stop, since it.
    time: u64,
    counting: PhantomData<C>,
}

impl<'a, C: Counting> Hold<'a, C> {
    /// Counts an acquisition; the lock is held.
    #[inline]
    fn new<'b>(place: Option<Place<'a>>, since: u64, last: impl FnOnce() -> Option<&'b Last>) -> Self {
        if let Some(place) = &place {
            place.acquired(last());
        }
        Self { place, time: since, counting: PhantomData }
    }

    /// Takes the last stamp, under the lock.
    #[inline]
    fn stop(&mut self) {
        if C::COUNT
            && let Some(place) = &self.place
        {
            if place.delay > 0 {
                delay(place.delay);
            }
            if C::TIME {
                self.time = place.now().saturating_sub(self.time);
            }
        }
    }
}

/// Records the time.
impl<C: Counting> Drop for Hold<'_, C> {
    #[inline]
    fn drop(&mut self) {
        if C::TIME
            && let Some(place) = &self.place
        {
            place.held(self.time);
        }
    }
}

/// Spins so long.
#[cold]
fn delay(ns: u32) {
    let start = Instant::now();
    while start.elapsed().as_nanos() < u128::from(ns) {
        spin_loop();
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
