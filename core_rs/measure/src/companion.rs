//! One more thread beside those that are measured: what it does until it is told to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use runtime::{Runtime, site};
use stage2::{Env, Errno, NoLog, WalkerKind};

use crate::drive::Operate;
use crate::measurement::OfClass;
use crate::mix::Class;
use crate::names::{Background, Counters, During};
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

impl Duty {
    pub(crate) fn in_background(background: Background) -> Option<Self> {
        match background {
            Background::None => None,
            Background::Age => Some(Self::Age),
            Background::DirtyLog => Some(Self::DirtyLog),
            Background::Memslot => Some(Self::Memslot),
            Background::OtherVm => Some(Self::OtherVm),
        }
    }

    pub(crate) fn during_teardown(during: During) -> Option<Self> {
        match during {
            During::None => None,
            During::Faults => Some(Self::OtherVm),
            During::Age => Some(Self::Age),
            During::DirtyLog => Some(Self::DirtyLog),
        }
    }
}

/// What it did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    count: u64,
    latency: Option<Histogram<u64>>,
}

impl Done {
    /// As a class of operations of that name.
    pub(crate) fn class(self, name: &'static str) -> OfClass {
        OfClass { name, count: self.count, latency: self.latency }
    }
}

/// When the thread is to stop, and whether it has begun.
#[derive(Default)]
pub(crate) struct Signals {
    pub(crate) stop: AtomicBool,
    begun: AtomicBool,
}

impl Signals {
    /// Waits until the thread has done its first operation.
    pub(crate) fn wait_for_begin(&self) {
        while !self.begun.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
}

/// Does `duty` until it is told to stop, on `vm` or, where the duty is another VM's, on that one.
pub(crate) fn run<R: Runtime>(
    plan: &Plan,
    duty: Duty,
    vm: &Vm<R>,
    other: Option<&Vm<R>>,
    signals: &Signals,
) -> Result<Done, Errno> {
    let _begun = Begun(&signals.begun);
    match other.filter(|_| duty == Duty::OtherVm) {
        Some(other) => repeat(&other_vm(plan), duty, other, signals),
        None => repeat(plan, duty, vm, signals),
    }
}

/// Nobody waits for a thread that has ended, however it did.
struct Begun<'a>(&'a AtomicBool);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn repeat<R: Runtime>(plan: &Plan, duty: Duty, vm: &Vm<R>, signals: &Signals) -> Result<Done, Errno> {
    let mut worker = Worker::new(plan, vm);
    let clock = (plan.counters == Counters::Times).then(quanta::Clock::new);
    let mut done = Done { count: 0, latency: clock.as_ref().map(|_| histogram()) };
    let touches = touches(plan);
    let ranges = plan.guest_bytes.div_ceil(plan.op_bytes);
    let mut place = 0;
    while !signals.stop.load(Ordering::Relaxed) {
        let start = clock.as_ref().map(quanta::Clock::raw);
        match duty {
            Duty::Age => worker.one(Class::Age, place % ranges, false)?,
            Duty::DirtyLog => worker.one(Class::Wrprotect, place % ranges, false)?,
            Duty::Memslot => worker.flush_slot(plan.guest_bytes, plan.op_bytes)?,
            Duty::OtherVm => worker.one(Class::Fault, place % touches, true)?,
        }
        if let (Some(clock), Some(start), Some(latency)) = (&clock, start, &mut done.latency) {
            latency.saturating_record(clock.delta_as_nanos(start, clock.raw()));
        }
        place += 1;
        done.count += 1;
        signals.begun.store(true, Ordering::Release);
        if duty == Duty::OtherVm && place % touches == 0 {
            let _held = R::write(&vm.mmu_lock, site!("kvm_unmap_gfn_range"));
            vm.table.unmap_by(WalkerKind::Fast, &mut Env::new(NoLog), 0, plan.guest_bytes)?;
        }
        if plan.background_pause_ns > 0 {
            std::thread::sleep(Duration::from_nanos(plan.background_pause_ns));
        }
    }
    Ok(done)
}

/// The plan of the other VM: the same kind of table, and a small guest.
fn other_vm(plan: &Plan) -> Plan {
    let guest_bytes = plan.guest_bytes.min(OTHER_GUEST.max(plan.leaf_bytes));
    let sparsity = plan.sparsity.min(guest_bytes / plan.touch_bytes);
    Plan { guest_bytes, sparsity, op_bytes: plan.op_bytes.min(guest_bytes), ..plan.clone() }
}

/// Touches of a guest.
pub(crate) fn touches(plan: &Plan) -> u64 {
    (plan.guest_bytes / plan.touch_bytes).div_ceil(plan.sparsity)
}
