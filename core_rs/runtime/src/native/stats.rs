//! What a lock has recorded, summed over threads.
//!
//! Guarantee: totals are sums over the sites listed, and sites of one name are one entry. While
//! other threads count, figures of one snapshot may be of slightly different moments.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::counters::Spent as Cells;
use super::counters::{Buckets, Counters, OTHER, SITES, Shard, Side, SideTimes, SiteCells, bucket_middle};
use crate::{Site, SiteInfo};

/// What one lock has recorded.
#[derive(Clone, Debug)]
pub struct LockStats {
    /// The lock's class name.
    pub name: &'static str,
    /// Its read side; all zero for a lock that has none.
    pub read: SideStats,
    /// Its write side.
    pub write: SideStats,
}

/// The read or the write side of a lock.
#[derive(Clone, Debug)]
pub struct SideStats {
    /// How often it was taken.
    pub acquisitions: u64,
    /// How often it was not free at once.
    pub contentions: u64,
    /// The sum of the sites' [`acq_bounces`](SiteStats::acq_bounces).
    pub acq_bounces: u64,
    /// The sum of the sites' [`con_bounces`](SiteStats::con_bounces).
    pub con_bounces: u64,
    /// The sites that took it, by name.
    pub sites: Vec<SiteStats>,
    /// How long contended acquisitions waited: `contentions` durations, once all are over.
    pub wait: TimeStats,
    /// How long it was held: `acquisitions` durations, once all are over.
    pub hold: TimeStats,
}

/// One site's share of a lock's acquisitions, for read or for write.
#[derive(Clone, Debug)]
pub struct SiteStats {
    /// Where the lock is taken.
    pub site: Site,
    /// How often it was taken there.
    pub acquisitions: u64,
    /// How often it was not free at once.
    pub contentions: u64,
    /// Acquisitions by another thread than the one that had taken it before, as in `/proc/lock_stat`. A reader that
    /// shares no cache line with other readers ([`BigReader`](super::BigReader)) is not counted.
    pub acq_bounces: u64,
    /// Contentions with another thread than the one that had taken it last before, as in `/proc/lock_stat`.
    pub con_bounces: u64,
    /// How often somebody had to wait for a lock that was taken last at this site: what `/proc/lock_stat` lists
    /// second of its contention points.
    pub contended_by: u64,
    /// How long contended acquisitions waited there.
    pub wait: Spent,
    /// How long it was held.
    pub hold: Spent,
}

/// Durations without their distribution; all zero where there were none, or times are not recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Their sum.
    pub total_ns: u64,
    /// The shortest.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// Durations; empty unless the runtime records times.
#[derive(Clone, Debug)]
pub struct TimeStats {
    /// Their sum.
    pub total_ns: u64,
    /// The shortest, or 0.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Their distribution in nanoseconds, to two significant digits.
    pub histogram: Histogram<u64>,
}

impl LockStats {
    pub(super) fn new(name: &'static str, counters: Option<&Counters>) -> Self {
        Self {
            name,
            read: SideStats::new(Side::Read, counters),
            write: SideStats::new(Side::Write, counters),
        }
    }
}

impl SideStats {
    fn new(side: Side, counters: Option<&Counters>) -> Self {
        let sites = counters.map_or_else(Vec::new, |counters| sites(side, counters));
        let sum = |of: fn(&SiteStats) -> u64| sites.iter().map(of).sum();
        Self {
            acquisitions: sum(|site| site.acquisitions),
            contentions: sum(|site| site.contentions),
            acq_bounces: sum(|site| site.acq_bounces),
            con_bounces: sum(|site| site.con_bounces),
            wait: TimeStats::new(side, counters, sites.iter().map(|site| site.wait), |times| &times.wait),
            hold: TimeStats::new(side, counters, sites.iter().map(|site| site.hold), |times| &times.hold),
            sites,
        }
    }
}

fn sites(side: Side, counters: &Counters) -> Vec<SiteStats> {
    let named = (0..SITES).map_while(|number| match number {
        0 => Some((0, &OTHER)),
        number => SiteInfo::numbered(number as u32).map(|site| (number, site)),
    });
    let mut by_name = BTreeMap::new();
    for (number, site) in named {
        for shard in counters.shards() {
            let counted = SiteStats::of(site, shard, shard.numbered(side, number));
            if counted.acquisitions + counted.contentions + counted.contended_by > 0 {
                let sum = by_name.entry(site.name()).or_insert_with(|| SiteStats::none(site));
                sum.add(&counted);
            }
        }
    }
    by_name.into_values().collect()
}

impl SiteStats {
    fn none(site: Site) -> Self {
        let (acquisitions, contentions, acq_bounces, con_bounces, contended_by) = (0, 0, 0, 0, 0);
        let (wait, hold) = (Spent::default(), Spent::default());
        Self { site, acquisitions, contentions, acq_bounces, con_bounces, contended_by, wait, hold }
    }

    fn of(site: Site, shard: &Shard, cells: &SiteCells) -> Self {
        Self {
            site,
            acquisitions: load(&cells.acquisitions),
            contentions: load(&cells.contentions),
            acq_bounces: load(&cells.acq_bounces),
            con_bounces: load(&cells.con_bounces),
            contended_by: load(&cells.contended_by),
            wait: Spent::of(shard, &cells.wait),
            hold: Spent::of(shard, &cells.hold),
        }
    }

    fn add(&mut self, other: &Self) {
        self.acquisitions += other.acquisitions;
        self.contentions += other.contentions;
        self.acq_bounces += other.acq_bounces;
        self.con_bounces += other.con_bounces;
        self.contended_by += other.contended_by;
        self.wait = self.wait.with(other.wait);
        self.hold = self.hold.with(other.hold);
    }
}

impl Spent {
    fn of(shard: &Shard, spent: &Cells) -> Self {
        match load(&spent.not_min) {
            0 => Self::default(),
            not_min => Self {
                total_ns: shard.ns(load(&spent.total)),
                min_ns: shard.ns(!not_min),
                max_ns: shard.ns(load(&spent.max)),
            },
        }
    }

    /// Both together. A minimum of 0 is none; the clock is too coarse for a duration of less than one nanosecond.
    fn with(self, other: Self) -> Self {
        let mins = [self.min_ns, other.min_ns].into_iter().filter(|ns| *ns > 0);
        Self {
            total_ns: self.total_ns + other.total_ns,
            min_ns: mins.min().unwrap_or(0),
            max_ns: self.max_ns.max(other.max_ns),
        }
    }
}

impl TimeStats {
    fn new(
        side: Side,
        counters: Option<&Counters>,
        sites: impl Iterator<Item = Spent>,
        which: fn(&SideTimes) -> &Buckets,
    ) -> Self {
        let Spent { total_ns, min_ns, max_ns } = sites.fold(Spent::default(), Spent::with);
        let mut histogram = histogram();
        for shard in counters.into_iter().flat_map(Counters::shards) {
            let Some(times) = shard.times(side) else { continue };
            let counts = which(times).0.iter().map(load).enumerate();
            for (bucket, count) in counts.filter(|(_, count)| *count > 0) {
                histogram.saturating_record_n(shard.ns(bucket_middle(bucket)), count);
            }
        }
        Self { total_ns, min_ns, max_ns, histogram }
    }
}

fn load(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

/// From 1 ns to an hour; shorter and longer durations count as these.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 2).expect("bounds and digits are in range")
}
