//! One measurement: a table is filled by threads and torn down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use runtime::native::{Counting, Counts, LockStats, Native, Off, Times};
use runtime::{Runtime, Word};
use stage2::{Env, Errno, Harm, NoLog, Prot, Table, Walk};

use crate::faults::{self, Faults};
use crate::point::{Counters, MeasureError, Point};
use crate::teardown;
use crate::thread::OfThread;

/// What one measurement gave.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Faults that a thread served, one a leaf.
    pub faults: u64,
    /// Walks that ended with -EAGAIN and were tried again.
    pub retries: u64,
    /// Faults that another thread had served already.
    pub already_mapped: u64,
    /// From the first thread's start to the last one's end.
    pub fault_wall_ns: u64,
    /// From taking the lock to the last page freed.
    pub teardown_ns: u64,
    /// Table pages freed by the teardown, root pages included.
    pub pages_freed: u64,
    /// What the system says of the fault threads together; `None` where it is silent.
    pub thread: Option<OfThread>,
    /// What `mmu_lock` recorded; `None` with counters off.
    pub mmu_lock: Option<LockStats>,
}

/// Runs one measurement of `point`; `None` when `cancel` was set meanwhile.
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use measure::{Point, measure};
///
/// let point = Point { guest_bytes: 1 << 20, threads: 2, ..Point::default() };
/// let measurement = measure(&point, &AtomicBool::new(false))?.expect("nobody cancels");
/// assert_eq!(measurement.faults, 256);
/// # Ok::<(), measure::MeasureError>(())
/// ```
pub fn measure(point: &Point, cancel: &AtomicBool) -> Result<Option<Measurement>, MeasureError> {
    point.check()?;
    match point.counters {
        Counters::Off => on::<Off>(point, cancel),
        Counters::Counts => on::<Counts>(point, cancel),
        Counters::Times => on::<Times>(point, cancel),
    }
}

fn on<C: Counting>(point: &Point, cancel: &AtomicBool) -> Result<Option<Measurement>, MeasureError> {
    let table = Table::<Native<C>>::new(point.config)?;
    let out_of_pages = |_: Errno| MeasureError::OutOfPages { guest_bytes: point.guest_bytes };
    touch_memory(point, &table, cancel).map_err(out_of_pages)?;
    let mmu_lock = Native::<C>::new_rwlock("kvm->mmu_lock");
    let pgt = Word::new(1);
    let prepare = || Native::<C>::prepare(&mmu_lock);
    let faults = faults::run(point, &table, &mmu_lock, &prepare, cancel).map_err(out_of_pages)?;
    if cancel.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let live = table.live_pages();
    prepare();
    let start = Instant::now();
    teardown::run(point, &table, &mmu_lock, &pgt);
    let teardown_ns = start.elapsed().as_nanos() as u64;
    assert_eq!((table.live_pages(), table.harm()), (0, Harm::default()), "a teardown frees every page, once");
    let Faults { served, retries, already_mapped, wall_ns, thread } = faults;
    Ok(Some(Measurement {
        faults: served,
        retries,
        already_mapped,
        fault_wall_ns: wall_ns,
        teardown_ns,
        pages_freed: live,
        thread,
        mmu_lock: C::COUNT.then(|| Native::<C>::stats(&mmu_lock)),
    }))
}

/// Uses every table page once, so that no fault pays for memory that the system has yet to give.
fn touch_memory<R: Runtime>(point: &Point, table: &Table<R>, cancel: &AtomicBool) -> Result<(), Errno> {
    let mut env = Env::new(NoLog);
    for ipa in (0..point.guest_bytes).step_by(point.leaf_bytes as usize) {
        if cancel.load(Ordering::Relaxed) {
            break;
        }
        table.map(&mut env, Walk::Exclusive, ipa, point.leaf_bytes, ipa, Prot::R)?;
    }
    table.unmap(&mut env, 0, point.guest_bytes)
}
