//! What a lock has recorded, summed over threads.
//!
//! Guarantee: totals are sums over the sites listed, and sites of one name are one entry. While
//! other threads count, figures of one snapshot may be of slightly different moments.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::counters::{Counters, Durations, OTHER, SITES, Side, SideTimes, bucket_middle};
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
    /// The sites that took it, by name.
    pub sites: Vec<SiteStats>,
    /// How long contended acquisitions waited: `contentions` durations, once all are over.
    pub wait: TimeStats,
    /// How long it was held: `acquisitions` durations, once all are over.
    pub hold: TimeStats,
}

/// One site's share of a lock's acquisitions.
#[derive(Clone, Debug)]
pub struct SiteStats {
    /// Where the lock is taken.
    pub site: Site,
    /// How often it was taken there.
    pub acquisitions: u64,
    /// How often it was not free at once.
    pub contentions: u64,
}

/// Durations; empty unless the runtime records times.
#[derive(Clone, Debug)]
pub struct TimeStats {
    /// Their sum.
    pub total_ns: u64,
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
        Self {
            acquisitions: sites.iter().map(|site| site.acquisitions).sum(),
            contentions: sites.iter().map(|site| site.contentions).sum(),
            sites,
            wait: TimeStats::new(side, counters, |times| &times.wait),
            hold: TimeStats::new(side, counters, |times| &times.hold),
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
        for cells in counters.shards().map(|shard| shard.numbered(side, number)) {
            let acquisitions = cells.acquisitions.load(Ordering::Relaxed);
            let contentions = cells.contentions.load(Ordering::Relaxed);
            if acquisitions + contentions > 0 {
                let entry =
                    by_name.entry(site.name()).or_insert(SiteStats { site, acquisitions: 0, contentions: 0 });
                entry.acquisitions += acquisitions;
                entry.contentions += contentions;
            }
        }
    }
    by_name.into_values().collect()
}

impl TimeStats {
    fn new(side: Side, counters: Option<&Counters>, which: fn(&SideTimes) -> &Durations) -> Self {
        let mut stats = Self { total_ns: 0, max_ns: 0, histogram: histogram() };
        for shard in counters.into_iter().flat_map(Counters::shards) {
            if let Some(times) = shard.times(side) {
                stats.add(which(times), |ticks| shard.ns(ticks));
            }
        }
        stats
    }

    fn add(&mut self, durations: &Durations, ns: impl Fn(u64) -> u64) {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        self.total_ns += ns(load(&durations.total));
        self.max_ns = self.max_ns.max(ns(load(&durations.max)));
        for (bucket, count) in durations.buckets.iter().map(load).enumerate().filter(|(_, n)| *n > 0) {
            self.histogram.saturating_record_n(ns(bucket_middle(bucket)), count);
        }
    }
}

/// From 1 ns to an hour; shorter and longer durations count as these.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 2).expect("bounds and digits are in range")
}
