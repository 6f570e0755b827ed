//! The end of a VM's life cycle, by the code of crate `kvm`: the order of events, the kernel and its locking strategy are the
//! point's.
//!
//! What is guaranteed: all of the guest's memory that the point populates is mapped before the clock starts, and harm is told in
//! the row, not suffered. The teardown lasts from the first task's first step to the last one's last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvm::{AtSize, Beside, OnThreads, Order};
use runtime::native::{Counting, LockKind};
use stage2::Table;

use crate::error::MeasureError;
use crate::measurement::{Measurement, OfClass, TornDown};
use crate::names::{Cache, During, Ending};
use crate::plan::{LifeCycleTeardown, Plan};
use crate::populate;
use crate::system::{pin, stolen_ns};

/// What crate `kvm` is asked for.
pub(crate) fn at_size(plan: &Plan, how: &LifeCycleTeardown) -> Result<AtSize, MeasureError> {
    let lock: LockKind = plan.lock.to_string().parse().expect("the locks of sweeps are those of the runtime");
    let teardown = AtSize {
        variant: how.variant.parse()?,
        strategy: how.strategy.parse()?,
        order: match how.order {
            Ending::MemslotsFirst => Order::MemslotsFirst,
            Ending::CloseFirst | Ending::Table => Order::CloseFirst,
            Ending::ExitFirst => Order::ExitFirst,
            Ending::Kill => Order::Kill,
            Ending::FdPassed => Order::FdPassed,
        },
        lock,
        config: plan.config,
        guest_bytes: plan.guest_bytes,
        leaf_bytes: plan.leaf_bytes,
        cache: match how.cache {
            Cache::Never => kvm::Cache::Never,
            Cache::Filled => kvm::Cache::Filled,
        },
        nested: 0,
        beside: match how.during {
            During::None => None,
            During::Faults => Some(Beside::OtherVm),
            During::Age => Some(Beside::Age),
            During::DirtyLog => Some(Beside::LogDirty),
        },
    };
    teardown.check()?;
    Ok(teardown)
}

/// Runs it.
pub(crate) fn run<C: Counting>(
    plan: &Plan,
    how: &LifeCycleTeardown,
    cancel: &AtomicBool,
) -> Result<Measurement, MeasureError> {
    let cancelled = || cancel.load(Ordering::Relaxed);
    let teardown = at_size(plan, how)?;
    let fill = |table: &Table<OnThreads<C>>| populate::run(plan, table, &cancelled);
    let prepared = teardown.prepare_with::<C>(fill)?;
    if cancelled() {
        return Err(MeasureError::Cancelled);
    }
    let threads = teardown.threads();
    let stolen = stolen_ns();
    let torn_down = prepared.run(&|task, run| {
        pin(task, threads);
        run();
    });
    let steal_ns = stolen_ns().zip(stolen).map(|(now, before)| now.saturating_sub(before));
    let at_the_end =
        torn_down.violations.iter().map(|violation| format!("{}: {}", violation.rule, violation.object));
    let harm = torn_down.harm.iter().map(|harm| format!("{}: {}", harm.rule, harm.object)).chain(at_the_end);
    let ns = |time: Duration| time.as_nanos() as u64;
    let classes = teardown.beside.map(|_| OfClass { name: "during", count: torn_down.rounds, latency: None });
    Ok(Measurement {
        operations: None,
        teardown: TornDown {
            ns: ns(torn_down.elapsed),
            pages_freed: torn_down.pages_freed,
            longest_hold_ns: torn_down.longest_hold.map(ns),
            unresched_ns: torn_down.longest_stretch.map(ns),
        },
        harm: harm.collect(),
        locks: torn_down.locks,
        classes: classes.into_iter().collect(),
        steal_ns,
        table_bytes: torn_down.table_bytes,
    })
}
