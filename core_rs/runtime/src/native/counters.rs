//! The counters of one lock, sharded by thread.
//!
//! Guarantee: nothing is lost. A thread that owns its shard counts by a plain load and store of its
//! own cache lines; threads without a shard of their own share one, and add atomically there. All
//! cells are relaxed atomics: they may be read at any time, and are exact for what happened before.
//! Not guaranteed: attribution to more than [`SITES`] - 1 sites in a process; those beyond are
//! counted under [`OTHER`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use quanta::Clock;

use super::Counting;
use super::threads::{self, SHARDS};
use crate::{Site, SiteInfo};

/// Sites a lock tells apart, the collective one included.
pub(super) const SITES: usize = 128;

/// What all sites beyond the first `SITES - 1` of the process are counted as.
pub(super) static OTHER: SiteInfo = SiteInfo::new("(other sites)");

/// Read or write side of a lock, as an index.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Read = 0,
    Write = 1,
}

/// The counters of one lock.
pub(super) struct Counters {
    shards: Box<[OnceLock<Box<Shard>>]>,
    /// None when nothing is timed: the first clock of a process takes up to 0.2 s to calibrate.
    clock: Option<Clock>,
}

/// What one thread has counted.
#[repr(align(128))]
pub(super) struct Shard {
    shared: bool,
    clock: Option<Clock>,
    sites: [[SiteCells; SITES]; 2],
    /// Read and write, or empty when nothing is timed.
    times: Box<[SideTimes]>,
}

#[derive(Default)]
pub(super) struct SiteCells {
    pub(super) acquisitions: AtomicU64,
    pub(super) contentions: AtomicU64,
}

/// In one piece with its buckets: recording follows no pointer but the one to it.
#[derive(Default)]
pub(super) struct SideTimes {
    pub(super) wait: Durations,
    pub(super) hold: Durations,
}

/// Durations in ticks of the clock: sum, largest, and how many in each bucket.
pub(super) struct Durations {
    pub(super) total: AtomicU64,
    pub(super) max: AtomicU64,
    pub(super) buckets: [AtomicU64; BUCKETS],
}

impl Counters {
    pub(super) fn new<C: Counting>() -> Self {
        let shards = (0..=SHARDS).map(|_| OnceLock::new()).collect();
        Self { shards, clock: C::TIME.then(Clock::new) }
    }

    /// The shard of the running thread.
    #[inline]
    pub(super) fn mine(&self) -> &Shard {
        let index = threads::index();
        self.shards[index].get_or_init(|| Shard::new(threads::is_shared(index), self.clock.clone()))
    }

    /// The shards that threads have counted in.
    pub(super) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter_map(|shard| shard.get().map(Box::as_ref))
    }
}

impl Shard {
    #[cold]
    fn new(shared: bool, clock: Option<Clock>) -> Box<Self> {
        let sides = if clock.is_some() { 2 } else { 0 };
        let times = (0..sides).map(|_| SideTimes::default()).collect();
        let sites = std::array::from_fn(|_| std::array::from_fn(|_| SiteCells::default()));
        Box::new(Self { shared, clock, sites, times })
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
    pub(super) fn acquired(&self, side: Side, site: Site) {
        self.add(&self.cells(side, site).acquisitions, 1);
    }

    #[inline]
    pub(super) fn contended(&self, side: Side, site: Site) {
        self.add(&self.cells(side, site).contentions, 1);
    }

    #[inline]
    pub(super) fn waited(&self, side: Side, ticks: u64) {
        self.record(&self.times[side as usize].wait, ticks);
    }

    #[inline]
    pub(super) fn held(&self, side: Side, ticks: u64) {
        self.record(&self.times[side as usize].hold, ticks);
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
    fn cells(&self, side: Side, site: Site) -> &SiteCells {
        let number = site.number() as usize;
        &self.sites[side as usize][if number < SITES { number } else { 0 }]
    }

    #[inline]
    fn record(&self, durations: &Durations, ticks: u64) {
        let bucket = &durations.buckets[bucket(ticks)];
        if self.shared {
            durations.total.fetch_add(ticks, Ordering::Relaxed);
            bucket.fetch_add(1, Ordering::Relaxed);
            durations.max.fetch_max(ticks, Ordering::Relaxed);
            return;
        }
        add_alone(&durations.total, ticks);
        add_alone(bucket, 1);
        if ticks > durations.max.load(Ordering::Relaxed) {
            durations.max.store(ticks, Ordering::Relaxed);
        }
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

impl Default for Durations {
    fn default() -> Self {
        Self {
            total: AtomicU64::new(0),
            max: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
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
    let ticks = ticks.min((1 << MAX_BITS) - 1);
    let shift = (u64::BITS - (ticks | (HALF as u64)).leading_zeros()).saturating_sub(SUB_BITS);
    (ticks >> shift) as usize + HALF * shift as usize
}

/// The middle of what a bucket counts, in ticks.
pub(super) fn bucket_middle(bucket: usize) -> u64 {
    let shift = (bucket / HALF).saturating_sub(1);
    let lowest = ((bucket - HALF * shift) as u64) << shift;
    lowest + ((1_u64 << shift) >> 1)
}
