//! Real threads on one table under one lock: two map and age under the read lock while one unmaps, splits,
//! collapses and write-protects under the write lock.
//!
//! `PYWORKBENCH_STRESS_SECONDS` says how long (`make stress`: a minute); without it a short form runs, by
//! rounds and not by the clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runtime::native::{Counts, Native};
use runtime::{Runtime as _, site};
use stage2::{Config, Env, Errno, Granule, Harm, Kind, NoLog, PageId, Prot, Table, Walk, WalkerKind};

type Threads = Native<Counts>;

const BLOCKS: u64 = 4;
const SHORT_ROUNDS: u64 = 20_000;

/// A small random number generator (SplitMix64): what a thread does depends on its seed alone.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }
}

#[test]
fn counts_and_entries_agree_after_faults_ageing_and_unmaps_by_three_threads() {
    let seconds = std::env::var("PYWORKBENCH_STRESS_SECONDS").ok().map(|text| {
        Duration::from_secs(text.parse().expect("PYWORKBENCH_STRESS_SECONDS is a number of seconds"))
    });
    for walker in WalkerKind::ALL {
        for (granule, fwb) in [(Granule::K4, true), (Granule::K16, false), (Granule::K64, true)] {
            stress(Config { fwb, walker, ..Config::new(granule, 40) }, seconds.map(|all| all / 6));
        }
    }
}

fn stress(config: Config, duration: Option<Duration>) {
    let table = Table::<Threads>::new(config).unwrap();
    let mmu_lock = Threads::new_rwlock("kvm->mmu_lock");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (table, mmu_lock, done) = (&table, &mmu_lock, &done);
        let stop = StopOnDrop(done); // also when an assertion fails: the other thread must end
        let reclaim = scope.spawn(move || unmap_and_split(table, mmu_lock, done));
        let vcpus = [1, 2].map(|seed| scope.spawn(move || fault_and_age(table, mmu_lock, duration, seed)));
        // Joined one by one: ThreadSanitizer does not see that a scope has ended.
        for vcpu in vcpus {
            vcpu.join().unwrap();
        }
        drop(stop);
        reclaim.join().unwrap();
    });
    Threads::rcu_barrier(site!("stress:end"));
    check(&table);
    table.destroy(&mut Env::new(NoLog));
    assert_eq!((table.live_pages(), table.harm()), (0, Harm::default()));
    let stats = Threads::stats(&mmu_lock);
    assert!(stats.read.acquisitions > 0 && stats.write.acquisitions > 0);
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type MmuLock = <Threads as runtime::Runtime>::RwLock;

/// A vCPU: faults pages and whole blocks in, ages and relaxes, all in shared walks.
fn fault_and_age(table: &Table<Threads>, mmu_lock: &MmuLock, duration: Option<Duration>, seed: u64) {
    let (page, block) = sizes(table);
    let mut random = Random(seed);
    let mut env = Env::new(NoLog);
    let start = Instant::now();
    let mut round = 0;
    while duration.map_or(round < SHORT_ROUNDS, |duration| start.elapsed() < duration) {
        round += 1;
        let ipa = random.below(BLOCKS * block / page) * page;
        assert!(table.top_up(&mut env.memcache, 4));
        let held = Threads::read(mmu_lock, site!("stress:fault"));
        match random.below(8) {
            0 => {
                let ipa = ipa & !(block - 1);
                let mapped = table.map(&mut env, Walk::Shared, ipa, block, ipa, Prot::R | Prot::W);
                assert!(matches!(mapped, Ok(()) | Err(Errno::Again)));
            }
            1 => table.mkyoung(&mut env, ipa),
            2 => {
                let relaxed = table.relax_perms(&mut env, ipa, Prot::R | Prot::X);
                assert!(matches!(relaxed, Ok(()) | Err(Errno::Again)));
            }
            _ => {
                let mapped = table.map(&mut env, Walk::Shared, ipa, page, ipa, Prot::R | Prot::W);
                assert!(matches!(mapped, Ok(()) | Err(Errno::Again)));
            }
        }
        drop(held);
    }
}

/// Reclaim and dirty logging: exclusive walks.
fn unmap_and_split(table: &Table<Threads>, mmu_lock: &MmuLock, done: &AtomicBool) {
    let (page, block) = sizes(table);
    let mut random = Random(3);
    let mut env = Env::new(NoLog);
    let mut round = 0;
    loop {
        let ipa = random.below(BLOCKS * block / page) * page;
        let size = if random.below(2) == 0 { page * (1 + random.below(8)) } else { block };
        let held = Threads::write(mmu_lock, site!("stress:reclaim"));
        match random.below(4) {
            0 => table.split(&mut env, ipa, size).unwrap(),
            1 => table.wrprotect(&mut env, ipa, size).unwrap(),
            2 => {
                table.test_clear_young(&mut env, ipa, size, true);
            }
            _ => table.unmap(&mut env, ipa, size).unwrap(),
        }
        if round % 64 == 0 {
            check(table); // the write lock keeps everybody out
        }
        drop(held);
        round += 1;
        if done.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn sizes(table: &Table<Threads>) -> (u64, u64) {
    (table.geometry().page_size(), table.geometry().granule_size(stage2::LAST_LEVEL - 1))
}

/// Every count is 1 plus the non-zero entries, and no entry is left locked.
fn check(table: &Table<Threads>) {
    let mut nonzero: HashMap<PageId, u64> = HashMap::new();
    table.for_each_entry(|entry| {
        assert_ne!(entry.kind(), Kind::Invalid, "an entry left locked: {entry:x?}");
        *nonzero.entry(entry.table).or_default() += 1;
        if entry.kind() == Kind::Table {
            nonzero.entry(table.child(entry.desc)).or_default();
        }
    });
    for (&page, &entries) in &nonzero {
        assert_eq!(table.ref_count(page), 1 + entries, "count of {page:?}");
    }
    assert_eq!(table.harm(), Harm::default());
}
