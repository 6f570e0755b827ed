//! The guarantees of the native runtime, on real threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use super::counters::{bucket, bucket_middle};
use super::*;
use crate::site;

const ROUNDS: u64 = 20_000;

/// Runs `work` on so many threads, which start together.
pub(super) fn on_threads(count: usize, work: impl Fn(usize) + Sync) {
    let start = Barrier::new(count);
    thread::scope(|scope| {
        let spawned: Vec<_> = (0..count)
            .map(|thread| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(thread);
                })
            })
            .collect();
        spawned.into_iter().for_each(join);
    });
}

/// Waits for a thread in a way that a thread sanitizer sees: the end of a scope it does not.
pub(super) fn join(thread: ScopedJoinHandle<'_, ()>) {
    thread.join().expect("a thread failed");
}

/// Waits until `condition` holds.
pub(super) fn wait_for(mut condition: impl FnMut() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// Adds one by a load and a store, which loses additions unless something excludes other threads.
fn add_apart<C: Counting>(word: &Word) {
    let value = Native::<C>::load(word, Access::Plain, site!("load"));
    Native::<C>::store(word, value + 1, Access::Plain, site!("store"));
}

fn writers_exclude_each_other_and_readers<C: Counting>() {
    let lock = Native::<C>::new_rwlock("lock");
    let (first, second) = (Word::new(0), Word::new(0));
    on_threads(4, |thread| {
        for _ in 0..ROUNDS {
            if thread < 2 {
                let _guard = Native::write(&lock, site!("write"));
                add_apart::<C>(&first);
                add_apart::<C>(&second);
            } else {
                let _guard = Native::read(&lock, site!("read"));
                let load = |word| Native::<C>::load(word, Access::Plain, site!("load"));
                assert_eq!(load(&first), load(&second));
            }
        }
    });
    assert_eq!(first.cell().load(Ordering::Relaxed), 2 * ROUNDS);
}

#[test]
fn writers_exclude_each_other_and_readers_whatever_is_counted() {
    writers_exclude_each_other_and_readers::<Off>();
    writers_exclude_each_other_and_readers::<Counts>();
    writers_exclude_each_other_and_readers::<Times>();
}

#[test]
fn holders_of_a_lock_exclude_each_other() {
    for class in [LockClass::Spin, LockClass::Mutex] {
        let lock = Native::<Counts>::new_lock("lock", class);
        let word = Word::new(0);
        on_threads(3, |_| {
            for _ in 0..ROUNDS {
                let _guard = Native::<Counts>::lock(&lock, site!("lock"));
                add_apart::<Counts>(&word);
            }
        });
        assert_eq!(word.cell().load(Ordering::Relaxed), 3 * ROUNDS);
        assert_eq!(Native::<Counts>::lock_stats(&lock).write.acquisitions, 3 * ROUNDS);
    }
}

#[test]
fn readers_share_the_lock() {
    let lock = Native::<Off>::new_rwlock("lock");
    let inside = Barrier::new(2);
    on_threads(2, |_| {
        let _guard = Native::read(&lock, site!("read"));
        inside.wait();
    });
}

#[test]
fn read_modify_writes_lose_nothing() {
    let (word, wins) = (Word::new(0), AtomicU64::new(0));
    on_threads(3, |_| {
        for _ in 0..ROUNDS {
            let before = Native::<Off>::fetch_add(&word, 3, site!("add"));
            Native::<Off>::fetch_sub(&word, 2, site!("sub"));
            let now = Native::<Off>::compare_exchange(&word, before, before + 1, site!("cmpxchg"));
            wins.fetch_add(u64::from(now.is_ok()), Ordering::Relaxed);
        }
    });
    assert_eq!(word.cell().load(Ordering::Relaxed), 3 * ROUNDS + wins.load(Ordering::Relaxed));
}

#[test]
fn awaiting_a_word_ends_when_it_changes() {
    let word = Word::new(7);
    on_threads(2, |thread| {
        if thread == 0 {
            Native::<Off>::await_change(&word, 7, site!("await"));
            assert_eq!(Native::<Off>::load(&word, Access::Marked, site!("load")), 8);
        } else {
            Native::<Off>::store(&word, 8, Access::Ordered, site!("store"));
        }
    });
}

#[test]
fn acquisitions_are_exact_by_side_and_site_under_many_threads() {
    let lock = Native::<Counts>::new_rwlock("mmu_lock");
    on_threads(5, |_| {
        for round in 0..ROUNDS {
            if round % 10 == 0 {
                drop(Native::write(&lock, site!("unmap")));
            } else if round % 2 == 0 {
                drop(Native::read(&lock, site!("map")));
            } else {
                drop(Native::read(&lock, site!("age")));
            }
        }
    });
    let stats = Native::stats(&lock);
    assert_eq!(stats.name, "mmu_lock");
    assert_eq!(stats.write.acquisitions, 5 * ROUNDS / 10);
    assert_eq!(stats.read.acquisitions, 5 * ROUNDS / 10 * 9);
    let by_site: Vec<_> = stats.read.sites.iter().map(|at| (at.site.name(), at.acquisitions)).collect();
    assert_eq!(by_site, [("age", 5 * ROUNDS / 2), ("map", 5 * ROUNDS / 10 * 4)]);
    assert!(stats.read.hold.histogram.is_empty(), "times were not asked for");
}

#[test]
fn threads_beyond_the_shards_are_counted_exactly() {
    let lock = Native::<Times>::new_rwlock("lock");
    let count = threads::SHARDS + 8;
    on_threads(count, |_| {
        for _ in 0..200 {
            drop(Native::read(&lock, site!("read")));
        }
    });
    let stats = Native::stats(&lock);
    assert_eq!(stats.read.acquisitions, 200 * count as u64);
    assert_eq!(stats.read.hold.histogram.len(), 200 * count as u64);
}

#[test]
fn sites_of_one_name_are_one_entry() {
    let lock = Native::<Counts>::new_rwlock("lock");
    drop(Native::read(&lock, site!("same name")));
    drop(Native::read(&lock, site!("same name")));
    let stats = Native::stats(&lock);
    assert_eq!(stats.read.sites.len(), 1);
    assert_eq!(stats.read.sites[0].acquisitions, 2);
}

#[test]
fn a_contention_is_counted_at_the_site_that_waits_and_its_wait_is_timed() {
    let lock = Native::<Times>::new_rwlock("lock");
    let held = Native::write(&lock, site!("holder"));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| drop(Native::read(&lock, site!("waiter"))));
        wait_for(|| Native::stats(&lock).read.contentions == 1); // counted while it waits
        drop(held);
        join(waiter);
    });
    let SideStats { acquisitions, contentions, sites, wait, .. } = Native::stats(&lock).read;
    assert_eq!((acquisitions, contentions, wait.histogram.len()), (1, 1, 1));
    assert_eq!((sites[0].site.name(), sites[0].contentions), ("waiter", 1));
    assert_eq!(Native::stats(&lock).write.contentions, 0);
}

#[test]
fn hold_times_are_one_for_each_acquisition_and_consistent() {
    let lock = Native::<Times>::new_rwlock("lock");
    for _ in 0..100 {
        drop(Native::write(&lock, site!("short")));
    }
    let held = Native::write(&lock, site!("long"));
    thread::sleep(Duration::from_millis(2));
    drop(held);
    let hold = Native::stats(&lock).write.hold;
    assert_eq!(hold.histogram.len(), 101);
    assert!(hold.max_ns >= 1_900_000 && hold.total_ns >= hold.max_ns, "{hold:?}");
    let longest = hold.histogram.max() as f64;
    assert!((longest / hold.max_ns as f64 - 1.0).abs() < 0.03, "{longest} ns against {} ns", hold.max_ns);
    assert_eq!(Native::stats(&lock).read.hold.histogram.len(), 0);
}

#[test]
fn times_are_kept_by_site_and_the_sides_are_their_sums() {
    let lock = Native::<Times>::new_rwlock("lock");
    for _ in 0..50 {
        drop(Native::read(&lock, site!("short")));
    }
    for milliseconds in [3, 1, 2] {
        let held = Native::read(&lock, site!("long"));
        thread::sleep(Duration::from_millis(milliseconds));
        drop(held);
    }
    let read = Native::stats(&lock).read;
    let [long, short] = &read.sites[..] else { panic!("two sites took it: {:?}", read.sites) };
    assert_eq!((long.site.name(), short.site.name()), ("long", "short"));
    assert!((980_000..long.hold.max_ns).contains(&long.hold.min_ns), "{long:?}");
    assert!(long.hold.max_ns >= 2_900_000 && long.hold.total_ns >= 5_800_000, "{long:?}");
    assert!(short.hold.min_ns <= short.hold.max_ns && short.hold.min_ns < long.hold.min_ns, "{short:?}");
    assert_eq!(read.hold.total_ns, long.hold.total_ns + short.hold.total_ns);
    assert_eq!((read.hold.min_ns, read.hold.max_ns), (short.hold.min_ns, long.hold.max_ns));
    assert_eq!((long.wait, read.wait.min_ns), (Spent::default(), 0), "nobody waited");
}

#[test]
fn a_wait_is_timed_at_the_site_that_waits_and_is_with_the_site_that_holds() {
    let lock = Native::<Times>::new_rwlock("lock");
    let held = Native::write(&lock, site!("holder"));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| drop(Native::read(&lock, site!("waiter"))));
        wait_for(|| Native::stats(&lock).read.contentions == 1);
        thread::sleep(Duration::from_millis(2));
        drop(held);
        join(waiter);
    });
    let LockStats { read, write, .. } = Native::stats(&lock);
    assert!(read.sites[0].wait.min_ns >= 1_900_000, "{read:?}");
    assert_eq!(read.sites[0].wait.min_ns, read.wait.max_ns);
    assert_eq!((read.sites[0].contended_by, write.sites[0].contended_by), (0, 1));
    assert_eq!(write.sites[0].wait, Spent::default());
}

#[test]
fn a_bounce_is_an_acquisition_or_a_contention_after_another_thread() {
    let lock = Native::<Counts>::new_rwlock("lock");
    for _ in 0..10 {
        drop(Native::write(&lock, site!("again"))); // who made it had it last
    }
    let turn = Barrier::new(2);
    on_threads(2, |thread| {
        for round in 0..6 {
            if round % 2 == thread {
                drop(Native::read(&lock, site!("in turn")));
                drop(Native::read(&lock, site!("and once more")));
            }
            turn.wait();
        }
    });
    let LockStats { read, write, .. } = Native::stats(&lock);
    assert_eq!((write.acq_bounces, write.con_bounces), (0, 0));
    let bounces: Vec<_> = read.sites.iter().map(|at| (at.site.name(), at.acq_bounces)).collect();
    assert_eq!(bounces, [("and once more", 0), ("in turn", 6)]);
    assert_eq!((read.acq_bounces, read.con_bounces), (6, 0));

    let held = Native::write(&lock, site!("holder"));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| drop(Native::write(&lock, site!("waiter"))));
        wait_for(|| Native::stats(&lock).write.contentions == 1);
        drop(held);
        join(waiter);
    });
    let write = Native::stats(&lock).write;
    assert_eq!((write.acq_bounces, write.con_bounces), (2, 1)); // after the readers, and after the holder
}

#[test]
fn a_plain_lock_is_counted_and_timed_by_site_too() {
    let lock = Native::<Times>::new_lock("slots_lock", LockClass::Mutex);
    drop(Native::<Times>::lock(&lock, site!("short")));
    let held = Native::<Times>::lock(&lock, site!("long"));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| drop(Native::<Times>::lock(&lock, site!("waiter"))));
        wait_for(|| Native::<Times>::lock_stats(&lock).write.contentions == 1);
        thread::sleep(Duration::from_millis(1));
        drop(held);
        join(waiter);
    });
    let LockStats { read, write, .. } = Native::<Times>::lock_stats(&lock);
    let names: Vec<_> = write.sites.iter().map(|at| at.site.name()).collect();
    assert_eq!((names, read.acquisitions), (vec!["long", "short", "waiter"], 0));
    let [long, _, waiter] = &write.sites[..] else { unreachable!() };
    assert!(long.hold.min_ns >= 980_000 && waiter.wait.min_ns >= 980_000, "{write:?}");
    assert_eq!((long.contended_by, waiter.con_bounces, waiter.acq_bounces), (1, 1, 1));
}

#[test]
fn a_stretch_ends_where_another_task_may_run() {
    type Threads = Native<Times>;
    let pause = || thread::sleep(Duration::from_millis(20));
    let longest = |between: &dyn Fn()| {
        let two = || {
            pause();
            between();
            pause();
        };
        Threads::longest_stretch(two).1.expect("times are recorded")
    };
    let rwlock = Threads::new_rwlock("mmu_lock");
    let mutex = Threads::new_lock("slots_lock", LockClass::Mutex);
    let spin = Threads::new_lock("gfn_list_lock", LockClass::Spin);
    let srcu = Threads::new_srcu("srcu");
    let whole = longest(&|| drop(Threads::write(&rwlock, site!("write"))));
    assert!(whole >= 39_000_000, "a rwlock spins: {whole}");
    let whole = longest(&|| drop(Threads::lock(&spin, site!("spin"))));
    assert!(whole >= 39_000_000, "a spinlock spins: {whole}");

    // Every half ends in a nap, so what is sure of a half is that the rest of the whole is not in it.
    let halves = |between: &dyn Fn()| {
        let start = std::time::Instant::now();
        let longest = longest(between);
        let whole = start.elapsed().as_nanos() as u64;
        assert!(longest >= 19_000_000 && longest + 19_000_000 <= whole, "{longest} of {whole}");
    };
    halves(&|| Threads::cond_resched(site!("between")));
    halves(&|| Threads::might_sleep(site!("between")));
    halves(&|| drop(Threads::lock(&mutex, site!("mutex"))));
    halves(&|| Threads::synchronize_srcu(&srcu, site!("synchronize")));
    halves(&|| Threads::synchronize_rcu(site!("synchronize")));
    halves(&|| {
        let mut guard = Threads::write(&rwlock, site!("write"));
        assert!(!Threads::cond_resched_write(&mut guard, site!("break")));
    });
}

#[test]
fn a_stretch_inside_another_counts_for_both() {
    let nap = || thread::sleep(Duration::from_millis(2));
    let ((inner, outer_goes_on), outer) = Native::<Times>::longest_stretch(|| {
        let ((), inner) = Native::<Times>::longest_stretch(nap);
        Native::<Times>::cond_resched(site!("between"));
        (inner, true)
    });
    assert!(outer_goes_on && inner >= Some(1_900_000) && outer >= inner, "{inner:?} in {outer:?}");
    Native::<Times>::cond_resched(site!("outside")); // nothing is measured: nothing to mark
    assert_eq!(Native::<Counts>::longest_stretch(|| 7), (7, None));
}

#[test]
fn a_delay_makes_holders_of_its_site_slower_and_no_others() {
    let rwlock = Native::<Times>::new_rwlock("lock");
    let lock = Native::<Counts>::new_lock("lock", LockClass::Spin);
    let (delayed, other) = (site!("delayed"), site!("not delayed"));
    drop(Native::write(&rwlock, other));
    drop(Native::write(&rwlock, delayed)); // numbered before the delay is set
    let took = |site: Site| {
        let start = std::time::Instant::now();
        drop(Native::<Counts>::lock(&lock, site));
        start.elapsed().as_micros()
    };
    let delay = Delay::at("delayed", 300_000);
    let longer = Delay::at("delayed", 600_000);
    assert!(took(delayed) >= 600);
    drop(longer);
    let same_name = site!("delayed");
    assert!(took(same_name) >= 300, "a site that is first used now is delayed, too");
    drop(Native::write(&rwlock, delayed));
    drop(Native::read(&rwlock, delayed));
    assert_eq!((delayed.delay(), same_name.delay(), other.delay()), (300_000, 300_000, 0));
    drop(delay);
    assert_eq!(
        [delayed, same_name].map(|site| (site.delay(), site.plain_number() == site.number())),
        [(0, true); 2]
    );

    let LockStats { read, write, .. } = Native::stats(&rwlock);
    let of = |side: &SideStats| side.sites.iter().find(|at| at.site.name() == "delayed").unwrap().hold;
    assert!(of(&read).min_ns >= 290_000 && of(&write).max_ns >= 290_000, "{read:?} {write:?}");
    let counted = Native::<Counts>::lock_stats(&lock).write.sites;
    assert_eq!((counted.len(), counted[0].acquisitions), (1, 2), "one name is one entry");
}

#[test]
fn a_duration_is_counted_in_a_bucket_no_wider_than_two_percent() {
    let mut last = 0;
    for ticks in (0..500).chain((9..42).flat_map(|bits| [(1 << bits) - 1, 1 << bits, 5 << (bits - 2)])) {
        let middle = bucket_middle(bucket(ticks));
        assert!(middle.abs_diff(ticks) * 100 <= ticks, "{ticks} ticks are counted as {middle}");
        assert!(bucket(ticks) >= last || ticks < 1 << 42, "{ticks}");
        last = bucket(ticks);
    }
    assert_eq!(bucket(u64::MAX), bucket((1 << 42) - 1));
}

#[test]
fn a_lock_is_broken_only_for_a_waiter() {
    let lock = Native::<Times>::new_rwlock("lock");
    let mut guard = Native::write(&lock, site!("teardown"));
    assert!(!Native::cond_resched_write(&mut guard, site!("break")));
    let entered = AtomicBool::new(false);
    thread::scope(|scope| {
        let fault = scope.spawn(|| {
            let _guard = Native::read(&lock, site!("fault"));
            entered.store(true, Ordering::Relaxed);
        });
        wait_for(|| {
            Native::cond_resched_write(&mut guard, site!("break"));
            entered.load(Ordering::Relaxed)
        });
        join(fault);
    });
    assert!(!Native::cond_resched_write(&mut guard, site!("break")));
    drop(guard);
    let write = Native::stats(&lock).write;
    let breaks = write.sites.iter().find(|at| at.site.name() == "break").expect("it was broken");
    assert_eq!(write.acquisitions, 1 + breaks.acquisitions);
    assert_eq!(write.hold.histogram.len(), write.acquisitions);
}

#[test]
fn a_lock_is_dropped_when_its_holder_unwinds() {
    let lock = Native::<Times>::new_rwlock("lock");
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = Native::write(&lock, site!("write"));
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(unwound.is_err());
    drop(Native::write(&lock, site!("write")));
    assert_eq!(Native::stats(&lock).write.hold.histogram.len(), 2);
}

#[test]
fn rcu_work_waits_for_a_reader_that_began_before_it() {
    let (inside, leave, ran) = (Barrier::new(2), AtomicBool::new(false), AtomicBool::new(false));
    let ran_work = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let _reader = Native::<Off>::rcu_read(site!("reader"));
            inside.wait();
            wait_for(|| leave.load(Ordering::Acquire));
            assert!(!ran_work.load(Ordering::Acquire), "the work ran beside its reader");
            assert!(!ran.load(Ordering::Acquire), "synchronize_rcu returned beside a reader");
        });
        inside.wait();
        let work = Arc::clone(&ran_work);
        Native::<Off>::call_rcu(Box::new(move || work.store(true, Ordering::Release)), site!("call"));
        let synchronizer = scope.spawn(|| {
            Native::<Off>::synchronize_rcu(site!("synchronize"));
            ran.store(true, Ordering::Release);
        });
        for _ in 0..1000 {
            drop(Native::<Off>::rcu_read(site!("other reader"))); // epochs are driven meanwhile
        }
        leave.store(true, Ordering::Release);
        Native::<Off>::rcu_barrier(site!("barrier"));
        assert!(ran_work.load(Ordering::Acquire), "the barrier returned before the work had run");
        join(reader);
        join(synchronizer);
    });
}

#[test]
fn srcu_synchronize_waits_for_readers_of_its_domain_only() {
    let (waited, other) = (Native::<Off>::new_srcu("waited"), Native::<Off>::new_srcu("other"));
    let object = Word::new(1);
    let inside = Barrier::new(2);
    let _reader_of_another = Native::<Off>::srcu_read(&other, site!("other"));
    on_threads(2, |thread| {
        if thread == 0 {
            let _reader = Native::<Off>::srcu_read(&waited, site!("reader"));
            inside.wait();
            for _ in 0..ROUNDS {
                assert_eq!(Native::<Off>::load(&object, Access::Marked, site!("load")), 1);
            }
        } else {
            inside.wait();
            Native::<Off>::synchronize_srcu(&waited, site!("synchronize"));
            Native::<Off>::store(&object, 0, Access::Marked, site!("free"));
        }
    });
}

#[test]
fn an_index_is_never_shared_by_running_threads_and_is_given_back() {
    for _ in 0..3 {
        let seen = std::array::from_fn::<_, { threads::SHARDS + 1 }, _>(|_| AtomicU64::new(0));
        let all = Barrier::new(8);
        on_threads(8, |_| {
            seen[threads::index()].fetch_add(1, Ordering::Relaxed);
            all.wait();
        });
        for owners in &seen[..threads::SHARDS] {
            assert!(owners.load(Ordering::Relaxed) <= 1);
        }
    }
}
