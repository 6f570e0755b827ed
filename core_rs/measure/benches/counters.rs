//! What the lock's counters cost on an uncontended shared fault of the `upstream` walker: `mmu_lock` for read,
//! one page mapped, unlock. Minima over interleaved runs, in ns for a fault, and the ratio to counters off.
//!
//! Limits: counts at most 5 % above off; times at most 5 % above off and two time-stamp reads. How much of a pair of
//! reads the processor overlaps with a fault differs from machine to machine: the last line, without a limit, sets times
//! against off with the bare stamps where the runtime takes them, before the lock and before the unlock. That off
//! is the plain lock, instruction for instruction, is `core_rs/runtime/tests/callgrind.rs`.
//!
//! `cargo bench -p pyworkbench-measure --bench counters`; with `--json` the rows as JSON lines.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use runtime::native::{Counting, Counts, Native, Off, Times};
use runtime::{Runtime, site};
use stage2::{Config, Env, NoLog, Prot, Table, Walk};

const PAGE: u64 = 4096;
/// Small enough to stay in the second-level cache: the figures are about the lock.
const PAGES: u64 = 8192;
const RUNS: usize = 300;

fn main() {
    let mut bench = Bench::default();
    let (off, counts, times) = (Vm::<Off>::new(), Vm::<Counts>::new(), Vm::<Times>::new());
    let clock = quanta::Clock::new();
    for _ in 0..RUNS {
        bench.off = bench.off.min(off.faults(|| {}, || {}));
        bench.counts = bench.counts.min(counts.faults(|| {}, || {}));
        let (start, held) = (Cell::new(0), Cell::new(0));
        let stamps =
            off.faults(|| start.set(clock.raw()), || held.set(held.get() + (clock.raw() - start.get())));
        black_box(held.get());
        bench.stamped = bench.stamped.min(stamps);
        bench.times = bench.times.min(times.faults(|| {}, || {}));
        bench.pair = bench.pair.min(stamp_pair(&clock));
    }
    bench.report();
}

struct Bench {
    off: f64,
    counts: f64,
    stamped: f64,
    times: f64,
    /// Two time-stamp reads, alone.
    pair: f64,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            off: f64::INFINITY,
            counts: f64::INFINITY,
            stamped: f64::INFINITY,
            times: f64::INFINITY,
            pair: f64::INFINITY,
        }
    }
}

impl Bench {
    fn report(&self) {
        let rows = [
            ("counters off", self.off, self.off, None),
            ("counts", self.counts, self.off, Some(1.05)),
            ("times, against off + two stamps alone", self.times, self.off + self.pair, Some(1.05)),
            ("off, and the sum of two stamps", self.stamped, self.off, None),
            ("times, against the line above", self.times, self.stamped, None),
        ];
        let json = std::env::args().any(|argument| argument == "--json");
        if !json {
            println!("{:38}{:>10}{:>8}", "ns for a shared fault, minimum", "ns", "ratio");
        }
        for (what, ns, against, limit) in rows {
            let ratio = ns / against;
            if json {
                let limit = limit.map_or("null".to_owned(), |limit: f64| limit.to_string());
                println!(
                    r#"{{"operation": "{what}", "ns": {ns:.2}, "ratio": {ratio:.3}, "limit": {limit}}}"#
                );
                continue;
            }
            let verdict = match limit {
                Some(limit) if ratio > limit => "  above 1.05",
                _ => "",
            };
            println!("{what:38}{ns:>10.2}{ratio:>8.3}{verdict}");
        }
    }
}

/// Nanoseconds of two time-stamp reads that nothing else overlaps.
fn stamp_pair(clock: &quanta::Clock) -> f64 {
    let start = Instant::now();
    for _ in 0..PAGES {
        black_box(black_box(clock).raw());
        black_box(black_box(clock).raw());
    }
    start.elapsed().as_nanos() as f64 / PAGES as f64
}

struct Vm<C: Counting> {
    table: Table<Native<C>>,
    mmu_lock: <Native<C> as Runtime>::RwLock,
}

impl<C: Counting> Vm<C> {
    fn new() -> Self {
        let table = Table::new(Config::default()).expect("the default is a table");
        Self { table, mmu_lock: Native::<C>::new_rwlock("kvm->mmu_lock") }
    }

    /// Faults every page in; nanoseconds a fault.
    fn faults(&self, before_lock: impl Fn(), before_unlock: impl Fn()) -> f64 {
        let mut env = Env::new(NoLog);
        self.table.unmap(&mut env, 0, PAGES * PAGE).expect("in the space");
        let start = Instant::now();
        for ipa in (0..PAGES * PAGE).step_by(PAGE as usize) {
            before_lock();
            let held = Native::<C>::read(&self.mmu_lock, site!("kvm_handle_guest_abort"));
            self.table
                .map(&mut env, Walk::Shared, ipa, PAGE, PAGE + ipa, Prot::R | Prot::W)
                .expect("an empty page");
            before_unlock();
            drop(held);
        }
        start.elapsed().as_nanos() as f64 / PAGES as f64
    }
}
