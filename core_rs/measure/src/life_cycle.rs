//! The end of a VM's life cycle, by the code of crate `kvm`: the order of events, the kernel and its locking strategy are the
//! point's.
//!
//! What is guaranteed: all of the guest's memory that the point populates is mapped before the clock starts, and harm is told in
//! the row, not suffered. The teardown lasts from the first task's first step to the last one's last.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvm::{AtSize, Beside, OnThreads, Order};
use runtime::native::{Counting, Delay};
use stage2::Table;

use crate::error::MeasureError;
use crate::measurement::{Measurement, OfClass, TornDown};
use crate::names::{Cache, During, Ending};
use crate::plan::{LifeCycleTeardown, Plan};
use crate::populate;
use crate::system::{HardwareCounters, OfThread, pin, stolen_ns};

/// What crate `kvm` is asked for.
pub(crate) fn at_size(plan: &Plan, how: &LifeCycleTeardown) -> Result<AtSize, MeasureError> {
    let shares_mm = matches!(how.during, During::Faults | During::DirtyLog);
    if shares_mm && !matches!(how.order, Ending::MemslotsFirst | Ending::CloseFirst) {
        return Err(MeasureError::Together(format!(
            "during \"{}\" keeps the address space that teardown \"{}\" takes away: \"memslots-first\" and \
             \"close-first\" do not",
            how.during, how.order
        )));
    }
    let teardown = AtSize {
        variant: how.variant.parse()?,
        strategy: how.strategy.parse()?,
        order: order(how),
        lock: plan.lock,
        config: plan.config,
        guest_bytes: plan.guest_bytes,
        leaf_bytes: plan.leaf_bytes,
        cache: match how.cache {
            Cache::Never => kvm::Cache::Never,
            Cache::Filled => kvm::Cache::Filled,
        },
        nested: 0,
        beside: beside(how),
        pause: Duration::from_nanos(plan.background_pause_ns),
    };
    teardown.check()?;
    Ok(teardown)
}

/// How many threads it takes.
pub(crate) fn threads(how: &LifeCycleTeardown) -> usize {
    order(how).threads() + usize::from(how.during != During::None)
}

fn order(how: &LifeCycleTeardown) -> Order {
    match how.order {
        Ending::MemslotsFirst => Order::MemslotsFirst,
        Ending::CloseFirst | Ending::Table => Order::CloseFirst,
        Ending::ExitFirst => Order::ExitFirst,
        Ending::Kill => Order::Kill,
        Ending::FdPassed => Order::FdPassed,
    }
}

fn beside(how: &LifeCycleTeardown) -> Option<Beside> {
    match how.during {
        During::None => None,
        During::Faults => Some(Beside::OtherVm),
        During::Age => Some(Beside::Age),
        During::DirtyLog => Some(Beside::LogDirty),
    }
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
    let threads = plan.threads();
    let thread = Mutex::new(OfThread::default());
    let stolen = stolen_ns();
    let torn_down = {
        let _longer = plan.delay.as_ref().map(|(ns, site)| Delay::at(site, *ns));
        prepared.run(&|task, run| {
            pin(task, threads);
            let mut hardware = HardwareCounters::of_this_thread();
            let before = OfThread::now(&mut hardware);
            run();
            let this = OfThread::now(&mut hardware).since(before);
            if teardown.beside.is_none() || task + 1 < threads {
                let mut all = thread.lock().expect("no thread panics with it");
                *all = all.plus(this);
            }
        })
    };
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
            thread: thread.into_inner().expect("no thread panics with it"),
        },
        harm: harm.collect(),
        locks: torn_down.locks,
        classes: classes.into_iter().collect(),
        steal_ns,
        table_bytes: torn_down.table_bytes,
    })
}
