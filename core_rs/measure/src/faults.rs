//! The fault phase: threads that map a guest's memory, as vCPUs do that touch it.
//!
//! Locks: each fault takes `mmu_lock` for read around one shared walk, or for write around an exclusive one. The
//! page cache is filled before, as KVM fills it, so nothing is allocated under the lock. A fault that loses a race is tried again after
//! looking whether the winner has served it, as a vCPU that re-enters the guest would find.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use runtime::{Runtime, site};
use stage2::{Env, Errno, LAST_LEVEL, NoLog, Prot, Table, Walk, is_valid};

use crate::point::{Pattern, Point};
use crate::thread::{OfThread, pin};

/// Faults between two looks at the cancel flag.
const CANCEL_EVERY: u64 = 1024;

/// What the threads did together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) served: u64,
    /// Walks that ended with -EAGAIN.
    pub(crate) retries: u64,
    /// Faults that another thread had served already.
    pub(crate) already_mapped: u64,
    /// From the first thread's start to the last one's end.
    pub(crate) wall_ns: u64,
    pub(crate) thread: Option<OfThread>,
}

/// What one thread did.
struct Share {
    faults: Faults,
    start: Instant,
    end: Instant,
    errno: Option<Errno>,
}

/// Runs the fault phase of `point`. Each thread calls `prepare` before its time begins.
pub(crate) fn run<R: Runtime>(
    point: &Point,
    table: &Table<R>,
    mmu_lock: &R::RwLock,
    prepare: &(dyn Fn() + Sync),
    cancel: &AtomicBool,
) -> Result<Faults, Errno> {
    let barrier = Barrier::new(point.threads);
    let shares: Vec<Share> = std::thread::scope(|scope| {
        let spawn = |thread| {
            let barrier = &barrier;
            scope.spawn(move || {
                pin(thread, point.threads);
                prepare();
                share(point, table, mmu_lock, cancel, thread, barrier)
            })
        };
        let threads: Vec<_> = (0..point.threads).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().expect("a fault thread does not panic")).collect()
    });
    if let Some(errno) = shares.iter().find_map(|share| share.errno) {
        return Err(errno);
    }
    let start = shares.iter().map(|share| share.start).min().expect("at least one thread");
    let end = shares.iter().map(|share| share.end).max().expect("at least one thread");
    let sum = |of: fn(&Faults) -> u64| shares.iter().map(|share| of(&share.faults)).sum();
    Ok(Faults {
        served: sum(|faults| faults.served),
        retries: sum(|faults| faults.retries),
        already_mapped: sum(|faults| faults.already_mapped),
        wall_ns: (end - start).as_nanos() as u64,
        thread: shares
            .iter()
            .map(|share| share.faults.thread)
            .reduce(|sum, one| Some(sum?.plus(one?)))
            .flatten(),
    })
}

fn share<R: Runtime>(
    point: &Point,
    table: &Table<R>,
    mmu_lock: &R::RwLock,
    cancel: &AtomicBool,
    thread: usize,
    barrier: &Barrier,
) -> Share {
    let leaves = point.guest_bytes / point.leaf_bytes;
    let place = leaves * thread as u64 / point.threads as u64;
    let (first, count) = match point.pattern {
        Pattern::Disjoint => (place, leaves * (thread as u64 + 1) / point.threads as u64 - place),
        Pattern::Overlapping => (place, leaves),
    };
    let mut env = Env::new(NoLog);
    let mut faults = Faults::default();
    barrier.wait();
    let before = OfThread::now();
    let start = Instant::now();
    let mut errno = None;
    for step in 0..count {
        if step % CANCEL_EVERY == 0 && cancel.load(Ordering::Relaxed) {
            break;
        }
        let ipa = (first + step) % leaves * point.leaf_bytes;
        if let Err(failed) = fault(point, table, mmu_lock, &mut env, ipa, &mut faults) {
            errno = Some(failed);
            break;
        }
    }
    let end = Instant::now();
    faults.thread = before.zip(OfThread::now()).map(|(before, after)| after.since(before));
    Share { faults, start, end, errno }
}

/// Serves one fault, or finds it served.
fn fault<R: Runtime>(
    point: &Point,
    table: &Table<R>,
    mmu_lock: &R::RwLock,
    env: &mut Env,
    ipa: u64,
    faults: &mut Faults,
) -> Result<(), Errno> {
    loop {
        if is_valid(table.get_leaf(ipa)?.desc) {
            faults.already_mapped += 1;
            return Ok(());
        }
        let levels = (LAST_LEVEL - table.geometry().start_level()) as usize;
        if !table.top_up(&mut env.memcache, levels) {
            return Err(Errno::NoMem);
        }
        let (site, prot) = (site!("kvm_handle_guest_abort"), Prot::R | Prot::W);
        let mut map = || table.map(env, point.walk.0, ipa, point.leaf_bytes, ipa, prot);
        let mapped = match point.walk.0 {
            Walk::Shared => {
                let _held = R::read(mmu_lock, site);
                map()
            }
            Walk::Exclusive => {
                let _held = R::write(mmu_lock, site);
                map()
            }
        };
        match mapped {
            Err(Errno::Again) => faults.retries += 1,
            result => {
                faults.served += u64::from(result.is_ok());
                return result;
            }
        }
    }
}
