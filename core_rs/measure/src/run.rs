//! One measurement: a table is brought into a state, threads work on it, and it is torn down.

use std::sync::atomic::{AtomicBool, Ordering};

use runtime::Runtime;
use runtime::native::{Counting, Counts, Native, Off, Times};
use stage2::{Errno, Harm};

use crate::error::MeasureError;
use crate::measurement::Measurement;
use crate::names::{Background, Counters, LockName};
use crate::plan::{Plan, TableTeardown, Teardown};
use crate::system::stolen_ns;
use crate::vm::Vm;
use crate::{operate, populate, teardown};

/// Runs one measurement of a checked point. `repeat` seeds what is random in it.
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use measure::{Point, measure};
///
/// let point = Point { guest_bytes: Some(1 << 20), ..Point::from_json(r#"{"lock": "parking_lot"}"#)? };
/// let measurement = measure(&point.check()?, 0, &AtomicBool::new(false))?;
/// assert_eq!(measurement.operations.expect("one pass").faults.maps, 256);
/// # Ok::<(), measure::MeasureError>(())
/// ```
///
/// # Errors
/// [`MeasureError::Cancelled`] when `cancel` was set meanwhile.
pub fn measure(plan: &Plan, repeat: u32, cancel: &AtomicBool) -> Result<Measurement, MeasureError> {
    match plan.counters {
        Counters::Off => on::<Off>(plan, repeat, cancel),
        Counters::Counts => on::<Counts>(plan, repeat, cancel),
        Counters::Times => on::<Times>(plan, repeat, cancel),
    }
}

fn on<C: Counting>(plan: &Plan, repeat: u32, cancel: &AtomicBool) -> Result<Measurement, MeasureError> {
    match &plan.ending {
        Teardown::Table(how) => table::<C>(plan, *how, repeat, cancel),
        Teardown::LifeCycle(_) => Err(MeasureError::Together(format!(
            "teardown {:?} is not measured yet: \"table\" is",
            plan.point.teardown.map(|order| order.to_string()).unwrap_or_default()
        ))),
    }
}

/// A measurement that ends with the teardown of the table alone.
fn table<C: Counting>(
    plan: &Plan,
    how: TableTeardown,
    repeat: u32,
    cancel: &AtomicBool,
) -> Result<Measurement, MeasureError> {
    if plan.lock != LockName::ParkingLot {
        let lock = plan.lock;
        return Err(MeasureError::Together(format!("lock \"{lock}\" is not there yet: \"parking_lot\" is")));
    }
    let cancelled = || cancel.load(Ordering::Relaxed);
    let out_of_pages = |_: Errno| MeasureError::OutOfPages { guest_bytes: plan.guest_bytes };
    let vm = Vm::<Native<C>>::new(plan, "kvm->mmu_lock")?;
    populate::run(plan, &vm.table, &cancelled).map_err(out_of_pages)?;
    let other = (plan.background() == Background::OtherVm)
        .then(|| Vm::<Native<C>>::new(plan, "other kvm->mmu_lock"))
        .transpose()?;
    let prepare = || Native::<C>::prepare(&vm.mmu_lock);
    let stolen = stolen_ns();
    let mut measurement = Measurement::default();
    if let Some(operations) = plan.operations.as_ref().filter(|_| !cancelled()) {
        let ran = operate::run(plan, operations, &vm, other.as_ref(), repeat, &prepare, cancel);
        let (operated, classes) = ran.map_err(out_of_pages)?;
        measurement.operations = Some(operated);
        measurement.classes = classes;
        Native::<C>::rcu_barrier(runtime::site!("stage2_free_unlinked_table:barrier"));
    }
    if cancelled() {
        return Err(MeasureError::Cancelled);
    }
    measurement.table_bytes = vm.table.memory_bytes();
    prepare();
    measurement.teardown = teardown::run(how, &vm);
    assert_eq!(
        (vm.table.live_pages(), vm.table.harm()),
        (0, Harm::default()),
        "a teardown frees every page, once"
    );
    measurement.steal_ns = stolen_ns().zip(stolen).map(|(now, before)| now.saturating_sub(before));
    if C::COUNT {
        measurement.locks = vec![Native::<C>::stats(&vm.mmu_lock)];
        measurement.locks.extend(other.map(|other| Native::<C>::stats(&other.mmu_lock)));
    }
    Ok(measurement)
}
