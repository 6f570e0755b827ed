//! The teardown of a table: it is taken out of the VM under `mmu_lock`, and destroyed under it or after it.
//!
//! Lock order: `mmu_lock` alone, for write. In ranges, under the lock and with breaks, waiters may have it
//! between two ranges; nobody can come by the table then, as it was taken out first: that is what they find. Deferred, an
//! RCU grace period passes between the unlock and the first page that is freed.
//!
//! A reschedule point is a step between two ranges where no lock is held, or where it may be dropped; the
//! stretches between are what a kernel that does not preempt is judged by.

use std::time::Instant;

use runtime::{Access, Runtime, site};
use stage2::{Env, NoLog, WalkerKind};

use crate::measurement::TornDown;
use crate::names::{Free, Place};
use crate::plan::TableTeardown;
use crate::vm::Vm;

/// Destroys the table of `vm`.
pub(crate) fn run<R: Runtime>(how: TableTeardown, vm: &Vm<R>) -> TornDown {
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
