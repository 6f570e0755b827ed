//! The teardown of a table: it is taken out of the VM under `mmu_lock`, and destroyed under it or after it.
//!
//! Lock order: `mmu_lock` alone, for write. In ranges, under the lock and with breaks, waiters may have it
//! between two ranges; nobody can come by the table then, as it was taken out first: that is what they find. Deferred, an
//! RCU grace period passes between the unlock and the first page that is freed.
//!
//! A reschedule point is a step between two ranges where no lock is held, or where it may be dropped; the
//! stretches between are what a kernel that does not preempt is judged by.

use std::sync::atomic::Ordering;
use std::time::Instant;

use runtime::{Access, Runtime, site};
use stage2::{Env, Errno, NoLog, WalkerKind};

use crate::companion::{self, Done, Duty, Signals};
use crate::measurement::TornDown;
use crate::names::{Free, Place};
use crate::operate::answer;
use crate::plan::{Plan, TableTeardown};
use crate::system::{HardwareCounters, OfThread, pin};
use crate::vm::Vm;

/// Destroys the table of `vm` on a thread of its own, with another one beside it where the plan says so; answers what
/// that one did, too. Each thread calls `prepare` before its time begins.
pub(crate) fn run<R: Runtime>(
    plan: &Plan,
    how: TableTeardown,
    vm: &Vm<R>,
    other: Option<&Vm<R>>,
    prepare: &(dyn Fn() + Sync),
) -> Result<(TornDown, Option<Done>), Errno> {
    let signals = Signals::default();
    let duty = Duty::during_teardown(how.during);
    let threads = 1 + usize::from(duty.is_some());
    std::thread::scope(|scope| {
        let signals = &signals;
        let beside = duty.map(|duty| {
            scope.spawn(move || {
                pin(1, threads);
                prepare();
                companion::run(plan, duty, vm, other, signals)
            })
        });
        let has_companion = beside.is_some();
        let teardown = scope.spawn(move || {
            pin(0, threads);
            prepare();
            if has_companion {
                signals.wait_for_begin();
            }
            let mut hardware = HardwareCounters::of_this_thread();
            let before = OfThread::now(&mut hardware);
            let torn = tear_down(how, vm);
            TornDown { thread: OfThread::now(&mut hardware).since(before), ..torn }
        });
        let ended = teardown.join();
        signals.stop.store(true, Ordering::Relaxed);
        let torn = answer(ended);
        Ok((torn, beside.map(|thread| answer(thread.join())).transpose()?))
    })
}

fn tear_down<R: Runtime>(how: TableTeardown, vm: &Vm<R>) -> TornDown {
    let pages_freed = vm.table.live_pages();
    let start = Instant::now();
    let mut stretch = Longest::since(start);
    let mut held = R::write(&vm.mmu_lock, site!("kvm_free_stage2_pgd"));
    let mut hold = Longest::since(Instant::now());
    R::store(&vm.pgt, 0, Access::Plain, site!("kvm_free_stage2_pgd:swap"));
    match how.place {
        Place::UnderLock => {
            destroy(how, vm, || {
                if !how.breaks {
                    return;
                }
                let point = Instant::now();
                stretch.next(point, point);
                if R::cond_resched_write(&mut held, site!("stage2_destroy_range:break")) {
                    hold.next(point, Instant::now());
                }
            });
            hold.next(Instant::now(), start);
            drop(held);
        }
        Place::TakenOut => {
            hold.next(Instant::now(), start);
            drop(held);
            if how.defer {
                let unlocked = Instant::now();
                R::synchronize_rcu(site!("kvm_free_stage2_pgd:grace_period"));
                stretch.next(unlocked, Instant::now());
            }
            destroy(how, vm, || {
                let point = Instant::now();
                R::cond_resched(site!("stage2_destroy_range:cond_resched"));
                stretch.next(point, point);
            });
        }
    }
    let end = Instant::now();
    stretch.next(end, end);
    TornDown {
        ns: (end - start).as_nanos() as u64,
        pages_freed: pages_freed - vm.table.live_pages(),
        longest_hold_ns: Some(hold.longest_ns),
        unresched_ns: Some(stretch.longest_ns),
        thread: OfThread::default(),
    }
}

fn destroy<R: Runtime>(how: TableTeardown, vm: &Vm<R>, mut between: impl FnMut()) {
    let mut env = Env::new(NoLog);
    let walker = match how.free {
        Free::Entries => WalkerKind::Upstream,
        Free::Subtree => WalkerKind::Fast,
    };
    let space = 1_u64 << vm.table.geometry().ipa_bits();
    let step = how.step_bytes.map_or(space, |step| step.min(space));
    for start in (0..space).step_by(step as usize) {
        if start > 0 {
            between();
        }
        vm.table.destroy_range_by(walker, &mut env, start, step.min(space - start));
    }
    vm.table.destroy_pgd();
}

/// The longest of several stretches of time.
struct Longest {
    since: Instant,
    longest_ns: u64,
}

impl Longest {
    fn since(since: Instant) -> Self {
        Self { since, longest_ns: 0 }
    }

    /// A stretch ends, and the next one begins.
    fn next(&mut self, end: Instant, begin: Instant) {
        self.longest_ns = self.longest_ns.max((end - self.since).as_nanos() as u64);
        self.since = begin;
    }
}
