//! One more thread beside those that are measured: what it does until it is told to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use runtime::{Runtime, site};
use stage2::{Env, Errno, NoLog, WalkerKind};

use crate::drive::Operate;
use crate::names::Counters;
use crate::pace::histogram;
use crate::plan::Plan;
use crate::vm::Vm;
use crate::worker::Worker;

/// Guest memory of the other VM, at most, if one leaf is not more: what its table costs in caches is to be little.
const OTHER_GUEST: u64 = 64 << 20;

/// What the thread does, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Ages the guest, range by range.
    Age,
    /// Write-protects the guest, range by range.
    DirtyLog,
    /// Deletes an empty slot beside the guest's memory.
    Memslot,
    /// Faults another VM's guest in; its table is emptied after each pass.
    OtherVm,
}

/// What it did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) count: u64,
    pub(crate) latency: Option<Histogram<u64>>,
}

/// Does `duty` until `stop`, with a pause after each operation.
pub(crate) fn run<R: Runtime>(
    plan: &Plan,
    duty: Duty,
    vm: &Vm<R>,
    pause_ns: u64,
    stop: &AtomicBool,
    begun: &AtomicBool,
) -> Result<Done, Errno> {
    let mut worker = Worker::new(plan, vm);
    let clock = (plan.counters == Counters::Times).then(quanta::Clock::new);
    let mut done = Done { count: 0, latency: clock.as_ref().map(|_| histogram()) };
    let touches = touches(plan);
    let ranges = plan.guest_bytes.div_ceil(plan.op_bytes);
    let mut place = 0;
    while !stop.load(Ordering::Relaxed) {
        let start = clock.as_ref().map(quanta::Clock::raw);
        match duty {
            Duty::Age => worker.range(crate::mix::Class::Age, place % ranges)?,
            Duty::DirtyLog => worker.range(crate::mix::Class::Wrprotect, place % ranges)?,
            Duty::Memslot => worker.flush_slot(plan.guest_bytes, plan.op_bytes)?,
            Duty::OtherVm => worker.touch(place % touches, true)?,
        }
        if let (Some(clock), Some(start), Some(latency)) = (&clock, start, &mut done.latency) {
            latency.saturating_record(clock.delta_as_nanos(start, clock.raw()));
        }
        place += 1;
        done.count += 1;
        begun.store(true, Ordering::Release);
        if duty == Duty::OtherVm && place % touches == 0 {
            let _held = R::write(&vm.mmu_lock, site!("kvm_unmap_gfn_range"));
            vm.table.unmap_by(WalkerKind::Fast, &mut Env::new(NoLog), 0, plan.guest_bytes)?;
        }
        if pause_ns > 0 {
            std::thread::sleep(Duration::from_nanos(pause_ns));
        }
    }
    begun.store(true, Ordering::Release);
    Ok(done)
}

/// The plan of the other VM: the same kind of table, and a small guest.
pub(crate) fn other_vm(plan: &Plan) -> Plan {
    let guest_bytes = plan.guest_bytes.min(OTHER_GUEST.max(plan.leaf_bytes));
    let sparsity = plan.sparsity.min(guest_bytes / plan.touch_bytes);
    Plan { guest_bytes, sparsity, op_bytes: plan.op_bytes.min(guest_bytes), ..plan.clone() }
}

/// Touches of a guest.
pub(crate) fn touches(plan: &Plan) -> u64 {
    (plan.guest_bytes / plan.touch_bytes).div_ceil(plan.sparsity)
}
