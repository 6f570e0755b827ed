//! The counters of one lock, sharded by thread.
//!
//! Guarantee: nothing is lost. A thread that owns its shard counts by a plain load and store of its
//! own cache lines; threads without a shard of their own share one, and add atomically there. All
//! cells are relaxed atomics: they may be read at any time, and are exact for what happened before.
//! Not guaranteed: attribution to more than [`SITES`] - 1 sites in a process; those beyond are
//! counted under [`OTHER`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use quanta::Clock;

use super::Counting;
use super::threads::{self, SHARDS};
use crate::{Site, SiteInfo};

/// Sites a lock tells apart, the collective one included.
pub(super) const SITES: usize = 128;

/// What all sites beyond the first `SITES - 1` of the process are counted as.
pub(super) static OTHER: SiteInfo = SiteInfo::new("(other sites)");

/// Read or write side of a lock, as an index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Read = 0,
    Write = 1,
}

/// The counters of one lock.
pub(super) struct Counters {
    shards: [OnceLock<Box<Shard>>; SHARDS + 1],
    /// None when nothing is timed: the first clock of a process takes up to 0.2 s to calibrate.
    clock: Option<Clock>,
}

/// What one thread has counted.
#[repr(align(128))]
pub(super) struct Shard {
    shared: bool,
    /// The thread, as [`Last`] has it.
    thread: u32,
    clock: Option<Clock>,
    sites: [[SiteCells; SITES]; 2],
    /// Read and write, or empty when nothing is timed.
    times: Box<[SideTimes]>,
}

/// What is counted for one site and side. What an acquisition without contention counts lies in one cache line.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct SiteCells {
    pub(super) acquisitions: AtomicU64,
    pub(super) acq_bounces: AtomicU64,
    pub(super) hold: Spent,
    pub(super) contentions: AtomicU64,
    pub(super) con_bounces: AtomicU64,
    pub(super) contended_by: AtomicU64,
    pub(super) wait: Spent,
}

/// Durations in ticks of the clock. All zero when there was none.
#[derive(Default)]
pub(super) struct Spent {
    pub(super) total: AtomicU64,
    pub(super) max: AtomicU64,
    /// The complement of the shortest.
    pub(super) not_min: AtomicU64,
}

/// In one piece with its buckets: recording follows no pointer but the one to it.
#[derive(Default)]
pub(super) struct SideTimes {
    pub(super) wait: Buckets,
    pub(super) hold: Buckets,
}

/// How many durations fell into each bucket.
pub(super) struct Buckets(pub(super) [AtomicU64; BUCKETS]);

/// Who took a lock last, where, and for what: the thread in the upper half, then a bit for write and the number of the
/// site. Written under the lock, by a plain store, and only when it changes.
pub(super) type Last = AtomicU32;

const WRITES: u32 = 1 << 15;

/// A thread as [`Last`] has it.
fn taker(index: usize) -> u32 {
    (index as u32) << 16
}

/// [`Last`] of a lock that was just made: as in the kernel, who made it had it last.
pub(super) fn maker() -> Last {
    Last::new(taker(threads::index()))
}

/// Where the running thread counts an acquisition of one site and side. It is looked up before the lock is
/// taken: behind an atomic instruction the look-ups would wait for it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    shard: &'a Shard,
    cells: &'a SiteCells,
    pub(super) side: Side,
    /// [`Last`] once the lock is taken here.
    taker: u32,
    /// How much longer than needed the lock is held, in nanoseconds.
    pub(super) delay: u32,
}

impl Counters {
    pub(super) fn new<C: Counting>() -> Self {
        let shards = std::array::from_fn(|_| OnceLock::new());
        Self { shards, clock: C::TIME.then(Clock::new) }
    }

    /// The shard of the running thread.
    #[inline]
    pub(super) fn mine(&self) -> &Shard {
        let index = threads::index();
        self.shards[index].get_or_init(|| Shard::new(index, self.clock.clone()))
    }

    /// The shards that threads have counted in.
    pub(super) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter_map(|shard| shard.get().map(Box::as_ref))
    }
}

impl Shard {
    #[cold]
    fn new(index: usize, clock: Option<Clock>) -> Box<Self> {
        let sides = if clock.is_some() { 2 } else { 0 };
        let times = (0..sides).map(|_| SideTimes::default()).collect();
        let sites = std::array::from_fn(|_| std::array::from_fn(|_| SiteCells::default()));
        Box::new(Self { shared: threads::is_shared(index), thread: taker(index), clock, sites, times })
    }

    /// The time, in ticks of the clock; 0 when nothing is timed.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.clock.as_ref().map_or(0, Clock::raw)
    }

    /// What so many ticks are in nanoseconds.
    pub(super) fn ns(&self, ticks: u64) -> u64 {
        self.clock.as_ref().map_or(0, |clock| clock.delta_as_nanos(0, ticks))
    }

    #[inline]
    pub(super) fn place(&self, side: Side, site: Site) -> Place<'_> {
        let (number, delay) = number(site);
        let taker = self.thread | (side as u32 * WRITES) | number as u32;
        let cells = &self.sites[side as usize][number % SITES]; // a power of two: without a check of the index
        Place { shard: self, cells, side, taker, delay }
    }

    /// The cells of the site with this number, in `1..SITES`, or of the others, 0.
    pub(super) fn numbered(&self, side: Side, number: usize) -> &SiteCells {
        &self.sites[side as usize][number]
    }

    /// The times of one side, when they are recorded.
    pub(super) fn times(&self, side: Side) -> Option<&SideTimes> {
        self.times.get(side as usize)
    }

    #[inline]
    fn record(&self, spent: &Spent, buckets: &Buckets, ticks: u64) {
        let bucket = &buckets.0[bucket(ticks)];
        if self.shared {
            spent.total.fetch_add(ticks, Ordering::Relaxed);
            spent.max.fetch_max(ticks, Ordering::Relaxed);
            spent.not_min.fetch_max(!ticks, Ordering::Relaxed);
            bucket.fetch_add(1, Ordering::Relaxed);
            return;
        }
        add_alone(&spent.total, ticks);
        raise_alone(&spent.max, ticks);
        raise_alone(&spent.not_min, !ticks);
        add_alone(bucket, 1);
    }

    #[inline]
    fn add(&self, cell: &AtomicU64, n: u64) {
        if self.shared {
            cell.fetch_add(n, Ordering::Relaxed);
        } else {
            add_alone(cell, n);
        }
    }
}

/// Adds to a cell that only the running thread writes.
#[inline]
fn add_alone(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

/// Sets a cell that only the running thread writes to `value` when that is more.
#[inline]
fn raise_alone(cell: &AtomicU64, value: u64) {
    if value > cell.load(Ordering::Relaxed) {
        cell.store(value, Ordering::Relaxed);
    }
}

/// The number that a site is counted under, below [`SITES`], and its delay.
#[inline]
fn number(site: Site) -> (usize, u32) {
    match site.plain_number() as usize {
        number @ 1..SITES => (number, 0),
        _ => unusual_number(site),
    }
}

#[cold]
fn unusual_number(site: Site) -> (usize, u32) {
    let number = site.number() as usize;
    (if number < SITES { number } else { 0 }, site.delay())
}

impl Place<'_> {
    /// Counts an acquisition. `last` is none where takers share no line.
    #[inline]
    pub(super) fn acquired(&self, last: Option<&Last>) {
        self.shard.add(&self.cells.acquisitions, 1);
        let Some(last) = last else { return };
        let before = last.load(Ordering::Relaxed);
        if before != self.taker {
            last.store(self.taker, Ordering::Relaxed);
            if self.is_another(before) {
                self.shard.add(&self.cells.acq_bounces, 1);
            }
        }
    }

    /// Counts a contention, and whom it is with, as far as `last` knows: the last of several readers.
    pub(super) fn contended(&self, last: Option<&Last>) {
        self.shard.add(&self.cells.contentions, 1);
        let Some(last) = last else { return };
        let last = last.load(Ordering::Relaxed);
        if self.is_another(last) {
            self.shard.add(&self.cells.con_bounces, 1);
        }
        let (side, number) = (usize::from(last & WRITES != 0), (last & (WRITES - 1)) as usize);
        self.shard.add(&self.shard.sites[side][number].contended_by, 1);
    }

    /// The time, in ticks of the clock; 0 when nothing is timed.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.shard.now()
    }

    #[inline]
    pub(super) fn waited(&self, ticks: u64) {
        self.shard.record(&self.cells.wait, &self.shard.times[self.side as usize].wait, ticks);
    }

    #[inline]
    pub(super) fn held(&self, ticks: u64) {
        self.shard.record(&self.cells.hold, &self.shard.times[self.side as usize].hold, ticks);
    }

    /// Whether that is another thread than the running one.
    #[inline]
    fn is_another(&self, last: u32) -> bool {
        last & !0xffff != self.shard.thread
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

// The buckets are HDR's layout: exact below 2^SUB_BITS ticks, then 2^(SUB_BITS - 1) buckets for each
// power of two, so that a bucket is less than 1.6 % wide.
const SUB_BITS: u32 = 7;
const HALF: usize = 1 << (SUB_BITS - 1);
/// Ticks that are told apart: 2^42 is half an hour at 2.4 GHz; longer ones fall into the last bucket.
const MAX_BITS: u32 = 42;
const BUCKETS: usize = HALF * (MAX_BITS - SUB_BITS + 2) as usize;

/// The bucket that counts durations of so many ticks.
#[inline]
pub(super) fn bucket(ticks: u64) -> usize {
    let shift = (u64::BITS - (ticks | (HALF as u64)).leading_zeros()).saturating_sub(SUB_BITS);
    ((ticks >> shift) as usize + HALF * shift as usize).min(BUCKETS - 1)
}

/// The middle of what a bucket counts, in ticks.
pub(super) fn bucket_middle(bucket: usize) -> u64 {
    let shift = (bucket / HALF).saturating_sub(1);
    let lowest = ((bucket - HALF * shift) as u64) << shift;
    lowest + ((1_u64 << shift) >> 1)
}
