//! What every kind of lock guarantees, on real threads.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::super::tests::{join, on_threads, wait_for};
use super::super::{Counts, Native, Off, RwLock, SideStats};
use super::*;
use crate::{Access, Runtime, Word, site};

type Plain = Native<Off, AnyLock>;
type Counted = Native<Counts, AnyLock>;

const MIB: u64 = 1 << 20;

/// Each kind, counted.
fn locks() -> impl Iterator<Item = (LockKind, RwLock<Counts, AnyLock>)> {
    LockKind::ALL.iter().map(|kind| (*kind, Counted::new_rwlock_of(*kind, "mmu_lock")))
}

/// Adds one to both by loads and stores, which lose additions unless something excludes other threads.
fn add_apart(words: &[Word; 2]) {
    for word in words {
        let value = Plain::load(word, Access::Plain, site!("load"));
        Plain::store(word, value + 1, Access::Plain, site!("store"));
    }
}

/// Threads that write and threads that read, all at one word or, by ranges, at one range.
fn excluded(kind: LockKind, threads: usize, rounds: u64, whole: bool) {
    let lock = Plain::new_rwlock_of(kind, "mmu_lock");
    let words = [Word::new(0), Word::new(0)];
    on_threads(threads, |thread| {
        for round in 0..rounds {
            // What any two of these ranges have in common is the span of 4 to 6 MiB.
            let (start, size) = if round % 2 == 0 { (2 * MIB, 4 * MIB) } else { (5 * MIB, 3 * MIB) };
            if thread % 2 == 0 {
                let _guard = if whole {
                    Plain::write(&lock, site!("write"))
                } else {
                    Plain::write_range(&lock, start, size, site!("write"))
                };
                add_apart(&words);
            } else {
                let _guard = if whole {
                    Plain::read(&lock, site!("read"))
                } else {
                    Plain::read_range(&lock, start, size, site!("read"))
                };
                let [first, second] = [&words[0], &words[1]].map(|word| word.cell().load(Ordering::Relaxed));
                assert_eq!(first, second, "{kind}: a reader met a writer");
            }
        }
    });
    let writers = threads.div_ceil(2) as u64;
    assert_eq!(words[0].cell().load(Ordering::Relaxed), writers * rounds, "{kind}: writers met");
}

/// Two numbers that are reached without an atomic: `ThreadSanitizer` (`sanitize.sh`) sees two accesses with no order between them,
/// and everybody sees half of an addition.
struct Protected(UnsafeCell<[u64; 2]>);

// SAFETY: they are reached under the lock only, which is what is tested.
#[allow(unsafe_code)]
unsafe impl Sync for Protected {}

#[allow(unsafe_code)]
impl Protected {
    fn add(&self) {
        // SAFETY: the lock is held for write.
        unsafe { (*self.0.get()).iter_mut().for_each(|number| *number += 1) };
    }

    fn read(&self) -> u64 {
        // SAFETY: the lock is held, for read at least.
        let [first, second] = unsafe { *self.0.get() };
        assert_eq!(first, second, "a reader met a writer");
        first
    }
}

/// More threads than cores, which try, give up, and wait.
fn tries<K: RwLockKind>() {
    const ROUNDS: u64 = 2_000;
    let (lock, protected) = (K::make(), Protected(UnsafeCell::new([0; 2])));
    let added = AtomicU64::new(0);
    on_threads(8, |thread| {
        for round in 0..ROUNDS {
            // Any two have the second span in common.
            let span = match round % 4 {
                0 => K::whole(),
                one => K::span((one % 2) * 2 * MIB, 4 * MIB),
            };
            let waits = round % 3 == 0;
            if (thread as u64 + round).is_multiple_of(2) {
                let held = K::try_write(&lock, span).or_else(|| waits.then(|| K::write(&lock, span)));
                if held.is_some() {
                    protected.add();
                    added.fetch_add(1, Ordering::Relaxed);
                }
            } else {
                let held = K::try_read(&lock, span).or_else(|| waits.then(|| K::read(&lock, span)));
                if held.is_some() {
                    protected.read();
                }
            }
        }
    });
    let held = K::try_write(&lock, K::whole());
    assert!(held.is_some(), "a try that failed has left something behind");
    assert_eq!(protected.read(), added.into_inner(), "writers met");
    assert!(K::try_read(&lock, K::whole()).is_none(), "a reader beside a writer");
    assert!(K::try_write(&lock, K::whole()).is_none(), "a writer beside a writer");
    drop(held);
    assert!(K::try_read(&lock, K::whole()).is_some(), "a try has left something behind");
}

#[test]
fn what_is_tried_is_had_at_once_or_not_at_all() {
    tries::<ParkingLot>();
    tries::<Qrwlock>();
    tries::<Std>();
    tries::<Ticket>();
    tries::<Mcs>();
    tries::<super::Mutex>();
    tries::<Range>();
    tries::<BigReader>();
}

#[test]
fn writers_exclude_each_other_and_readers() {
    for kind in LockKind::ALL {
        excluded(*kind, 4, 5_000, true);
    }
}

#[test]
fn writers_of_a_range_exclude_each_other_and_readers_there() {
    for kind in LockKind::ALL {
        excluded(*kind, 4, 5_000, false);
    }
}

#[test]
fn threads_without_an_index_of_their_own_are_excluded_too() {
    for kind in LockKind::ALL {
        excluded(*kind, SHARDS + 8, 20, true);
    }
}

#[test]
fn readers_share_a_lock_that_has_a_read_side() {
    for (kind, lock) in locks() {
        let held = Counted::read(&lock, site!("held"));
        let entered = AtomicBool::new(false);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let _guard = Counted::read(&lock, site!("other"));
                entered.store(true, Ordering::Release);
            });
            if kind.has_read_side() {
                wait_for(|| entered.load(Ordering::Acquire));
            } else {
                wait_for(|| Native::stats(&lock).read.contentions == 1);
                assert!(!entered.load(Ordering::Acquire), "{kind}");
            }
            drop(held);
            join(other);
        });
    }
}

#[test]
fn a_lock_break_lets_a_waiting_reader_and_a_waiting_writer_in() {
    for (kind, lock) in locks() {
        let mut guard = Counted::write(&lock, site!("teardown"));
        assert!(!Counted::cond_resched_write(&mut guard, site!("break")), "{kind}: nobody waits");
        let entered = AtomicU64::new(0);
        thread::scope(|scope| {
            let waiters = [false, true].map(|writes| {
                let (lock, entered) = (&lock, &entered);
                scope.spawn(move || {
                    if writes {
                        let _guard = Counted::write(lock, site!("invalidate"));
                        entered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        let _guard = Counted::read(lock, site!("fault"));
                        entered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            wait_for(|| {
                Counted::cond_resched_write(&mut guard, site!("break"));
                entered.load(Ordering::Relaxed) == 2
            });
            waiters.into_iter().for_each(join);
        });
        assert!(!Counted::cond_resched_write(&mut guard, site!("break")), "{kind}: nobody waits");
        drop(guard);
        let write = Native::stats(&lock).write;
        let breaks = write.sites.iter().find(|at| at.site.name() == "break").expect("it was broken");
        assert_eq!(write.acquisitions, 2 + breaks.acquisitions, "{kind}");
    }
}

#[test]
fn a_lock_is_free_after_its_holder_unwound() {
    for (kind, lock) in locks() {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _guard = Counted::write(&lock, site!("write"));
            resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err(), "{kind}");
        drop(Counted::read(&lock, site!("read")));
        drop(Counted::write(&lock, site!("write")));
        let stats = Native::stats(&lock);
        assert_eq!((stats.write.acquisitions, stats.write.contentions), (2, 0), "{kind}");
    }
}

#[test]
fn writers_of_ranges_apart_are_inside_together_and_all_of_it_excludes_both() {
    let lock = Counted::new_rwlock_of(LockKind::Range, "mmu_lock");
    // The first span of another group: which spans share one is the lock's own business.
    let apart = (1..64).map(|span| 2 * span * MIB).find(|start| {
        let mask = |start| range::mask(raw::Span { start, size: MIB });
        mask(*start) != mask(0)
    });
    let apart = apart.expect("there is more than one group");
    let inside = Barrier::new(2);
    on_threads(2, |thread| {
        let held = Counted::write_range(&lock, thread as u64 * apart, MIB, site!("age"));
        inside.wait();
        drop(held);
    });
    assert_eq!(Native::stats(&lock).write.contentions, 0);

    let held = Counted::read_range(&lock, apart, MIB, site!("fault"));
    thread::scope(|scope| {
        let all = scope.spawn(|| drop(Counted::write(&lock, site!("teardown"))));
        wait_for(|| Native::stats(&lock).write.contentions == 1);
        assert_eq!(Native::stats(&lock).write.acquisitions, 2, "all of it was taken beside a reader");
        drop(held);
        join(all);
    });
}

#[test]
fn a_range_takes_the_groups_of_each_of_its_spans() {
    let mask = |start, size| range::mask(raw::Span { start, size });
    assert_eq!(mask(0, 1), mask(2 * MIB - 1, 1));
    assert_eq!(mask(3 * MIB, 0), mask(2 * MIB, 2 * MIB), "an empty range is where it starts");
    assert_eq!(mask(MIB, 2 * MIB), mask(0, 1) | mask(2 * MIB, 1));
    assert_eq!(mask(0, u64::MAX), u64::MAX);
    assert_eq!(
        mask(u64::MAX, u64::MAX),
        mask(u64::MAX, 1),
        "a range that ends behind the last address ends there"
    );
    let spread = mask(0, 1024 * MIB).count_ones();
    assert!(spread > 48, "512 spans fall into {spread} groups");
}

#[test]
fn each_kind_is_counted_by_side_and_site() {
    for (kind, lock) in locks() {
        on_threads(3, |thread| {
            for _ in 0..1_000 {
                if thread == 0 {
                    drop(Counted::write(&lock, site!("write")));
                    drop(Counted::write_range(&lock, 0, 1, site!("write range")));
                } else {
                    drop(Counted::read(&lock, site!("read")));
                }
            }
        });
        let stats = Native::stats(&lock);
        let counted = |side: &SideStats| -> Vec<_> {
            side.sites.iter().map(|at| (at.site.name(), at.acquisitions)).collect()
        };
        assert_eq!(counted(&stats.read), [("read", 2_000)], "{kind}");
        assert_eq!(counted(&stats.write), [("write", 1_000), ("write range", 1_000)], "{kind}");
        for side in [&stats.read, &stats.write] {
            assert!(side.acq_bounces <= side.acquisitions && side.con_bounces <= side.contentions, "{kind}");
        }
        if kind == LockKind::BigReader {
            assert_eq!(stats.read.acq_bounces, 0, "its readers share no line");
        }
    }
}

#[test]
fn a_kind_is_its_name() {
    for kind in LockKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(*kind));
    }
    let error = "spinlock".parse::<LockKind>().expect_err("there is no such lock").to_string();
    assert_eq!(
        error,
        "lock \"spinlock\" is not one of parking_lot, qrwlock, std, ticket, mcs, mutex, range, big_reader"
    );
}

#[test]
fn a_chosen_kind_is_that_of_the_threads_new_locks_only() {
    let chosen = LockKind::Mcs.for_new_locks();
    let within = LockKind::Std.for_new_locks();
    let kind = || Counted::kind(&Counted::new_rwlock("mmu_lock"));
    assert_eq!(kind(), LockKind::Std);
    assert_eq!(thread::scope(|scope| scope.spawn(kind).join()).expect("it ends"), LockKind::ParkingLot);
    drop(within);
    assert_eq!(kind(), LockKind::Mcs);
    drop(chosen);
    assert_eq!(kind(), LockKind::ParkingLot);
}
