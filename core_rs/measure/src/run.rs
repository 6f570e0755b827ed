//! One measurement: a table is brought into a state, threads work on it, and it is torn down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use runtime::native::{Counting, Counts, Delay, LockStats, Off, Times};
use runtime::{Runtime, site};
use stage2::{Errno, Harm};

use crate::error::MeasureError;
use crate::measurement::{Measurement, Operated};
use crate::names::{Background, Counters, During};
use crate::plan::{Plan, TableTeardown, Teardown};
use crate::system::stolen_ns;
use crate::vm::{Real, Vm};
use crate::{life_cycle, operate, populate, teardown};

/// Runs one measurement of a checked point. `repeat` seeds what is random in it.
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use measure::{Point, measure};
///
/// let point = Point { guest_bytes: Some(1 << 20), ..Point::default() };
/// let measurement = measure(&point.check()?, 0, &AtomicBool::new(false))?;
/// assert_eq!(measurement.operations.expect("one pass").faults.maps, 256);
/// # Ok::<(), measure::MeasureError>(())
/// ```
///
/// A delay is the whole process's: a measurement with one has the process to itself, others wait for it.
///
/// # Errors
/// [`MeasureError::Cancelled`] when `cancel` was set meanwhile.
pub fn measure(plan: &Plan, repeat: u32, cancel: &AtomicBool) -> Result<Measurement, MeasureError> {
    let _turn = Turn::take(plan.delay.is_some(), cancel)?;
    match plan.counters {
        Counters::Off => on::<Off>(plan, repeat, cancel),
        Counters::Counts => on::<Counts>(plan, repeat, cancel),
        Counters::Times => on::<Times>(plan, repeat, cancel),
    }
}

/// A measurement's leave to run: a delay at a site would be felt by whatever else is measured in the process.
enum Turn {
    #[expect(dead_code, reason = "held, not read")]
    Beside(RwLockReadGuard<'static, ()>),
    #[expect(dead_code, reason = "held, not read")]
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Turn {
    fn take(alone: bool, cancel: &AtomicBool) -> Result<Self, MeasureError> {
        static TURN: RwLock<()> = RwLock::new(());
        const LOOK_AGAIN: Duration = Duration::from_millis(10);
        while !cancel.load(Ordering::Relaxed) {
            let turn = if alone {
                TURN.try_write_for(LOOK_AGAIN).map(Self::Alone)
            } else {
                TURN.try_read_for(LOOK_AGAIN).map(Self::Beside)
            };
            if let Some(turn) = turn {
                return Ok(turn);
            }
        }
        Err(MeasureError::Cancelled)
    }
}

fn on<C: Counting>(plan: &Plan, repeat: u32, cancel: &AtomicBool) -> Result<Measurement, MeasureError> {
    match &plan.ending {
        Teardown::Table(how) => table::<C>(plan, *how, repeat, cancel),
        Teardown::LifeCycle(how) => life_cycle::run::<C>(plan, how, cancel),
    }
}

/// A measurement that ends with the teardown of the table alone.
fn table<C: Counting>(
    plan: &Plan,
    how: TableTeardown,
    repeat: u32,
    cancel: &AtomicBool,
) -> Result<Measurement, MeasureError> {
    let cancelled = || cancel.load(Ordering::Relaxed);
    let out_of_pages = |_: Errno| MeasureError::OutOfPages { guest_bytes: plan.guest_bytes };
    let vm = Vm::<Real<C>>::new(plan, "kvm->mmu_lock")?;
    populate::run(plan, &vm.table, &cancelled).map_err(out_of_pages)?;
    let wanted = plan.background() == Background::OtherVm || how.during == During::Faults;
    let other = wanted.then(|| Vm::<Real<C>>::new(plan, "other kvm->mmu_lock")).transpose()?;
    let _longer = plan.delay.as_ref().map(|(ns, site)| Delay::at(site, *ns));
    let prepare = || vm.prepare();
    let stolen = stolen_ns();
    let mut measurement = Measurement::default();
    if let Some(operations) = plan.operations.as_ref().filter(|_| !cancelled()) {
        let ran = operate::run(plan, operations, &vm, other.as_ref(), repeat, &prepare, cancel);
        let (operated, classes) = ran.map_err(out_of_pages)?;
        let longest_hold_ns = vm.lock_stats().filter(|_| C::TIME).map(|lock| longest_hold(&lock));
        measurement.operations = Some(Operated { longest_hold_ns, ..operated });
        measurement.classes = classes;
        Real::<C>::rcu_barrier(site!("stage2_free_unlinked_table:barrier"));
    }
    if cancelled() {
        return Err(MeasureError::Cancelled);
    }
    measurement.table_bytes = vm.table.memory_bytes();
    let torn = teardown::run(plan, how, &vm, other.as_ref(), &prepare);
    let (torn, beside) = torn.map_err(out_of_pages)?;
    measurement.teardown = torn;
    measurement.classes.extend(beside.map(|done| done.class("during")));
    assert_eq!(
        (vm.table.live_pages(), vm.table.harm()),
        (0, Harm::default()),
        "a teardown frees every page, once"
    );
    measurement.steal_ns = stolen_ns().zip(stolen).map(|(now, before)| now.saturating_sub(before));
    measurement.locks =
        [Some(&vm), other.as_ref()].into_iter().flatten().filter_map(Vm::lock_stats).collect();
    Ok(measurement)
}

fn longest_hold(lock: &LockStats) -> u64 {
    lock.read.hold.max_ns.max(lock.write.hold.max_ns)
}
