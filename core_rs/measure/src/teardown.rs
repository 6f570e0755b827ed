//! The teardown: the table is taken out of the VM under `mmu_lock`, and destroyed under it or after it.
//!
//! Lock order: `mmu_lock` alone, for write. In ranges and under the lock, waiters may have it between two
//! ranges; nobody can come by the table then, as it was taken out first.

use runtime::{Access, Runtime, Word, site};
use stage2::{Env, NoLog, Table};

use crate::point::{Place, Point};

/// Destroys `table`; `pgt` is the VM's word that says whether it has one.
pub(crate) fn run<R: Runtime>(point: &Point, table: &Table<R>, mmu_lock: &R::RwLock, pgt: &Word) {
    let mut held = R::write(mmu_lock, site!("kvm_free_stage2_pgd"));
    R::store(pgt, 0, Access::Plain, site!("kvm_free_stage2_pgd:swap"));
    match point.teardown.place {
        Place::UnderLock => {
            destroy(point, table, || {
                R::cond_resched_write(&mut held, site!("stage2_destroy_range:break"));
            });
            drop(held);
        }
        Place::TakenOut => {
            drop(held);
            destroy(point, table, || R::cond_resched(site!("stage2_destroy_range:cond_resched")));
        }
    }
}

fn destroy<R: Runtime>(point: &Point, table: &Table<R>, mut between: impl FnMut()) {
    let mut env = Env::new(NoLog);
    let space = 1_u64 << table.geometry().ipa_bits();
    let step = point.step().map_or(space, |step| step.min(space));
    for start in (0..space).step_by(step as usize) {
        if start > 0 {
            between();
        }
        table.destroy_range(&mut env, start, step.min(space - start));
    }
    table.destroy_pgd();
}
