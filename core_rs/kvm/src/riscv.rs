//! What riscv does differently with its root table.
//!
//! Flush unmaps everything and takes the root out, both under `mmu_lock`, and frees it after the unlock. A blockable
//! unmap keeps a copy of the root across its lock breaks: a flush in such a break frees what the copy leads to.

use runtime::{Access, Runtime, site};
use stage2::{Env, NoLog};

use crate::heap::Ptr;
use crate::mmu::{GfnRange, Outside, PGT};
use crate::mmu_lock::WriteGuard;
use crate::strategy::{Helpers, Part};
use crate::vm::Vm;
use crate::world::World;

impl<R: Runtime> World<R> {
    /// riscv: under `mmu_lock`, unmaps everything and takes the root out; frees it after the unlock.
    pub(crate) fn kvm_riscv_mmu_free_pgd(&self, vm: &Vm<R>, held: bool, outside: &mut Outside) {
        let at = vm.mmu();
        let claims = held && self.strategy.table == Part::Claim;
        let pgd = {
            let _held = match self.strategy.helpers {
                _ if claims => None,
                Helpers::Take => Some(vm.mmu_lock.write(site!("kvm_riscv_mmu_free_pgd:mmu_lock"))),
                Helpers::Assert => {
                    vm.mmu_lock.assert_held_write(site!("kvm_riscv_mmu_free_pgd:assert"));
                    None
                }
            };
            let pgd = self.pgt(vm, site!("kvm_riscv_mmu_free_pgd:pgd"));
            if let Some(table) = self.table(pgd) {
                let _ = table.unmap(&mut Env::<NoLog>::default(), 0, self.ipa(self.guest.space));
                let site = site!("kvm_riscv_mmu_free_pgd:swap");
                self.heap.store(at.object, at.base + PGT, 0, Access::Plain, site);
                self.out_of_reach(vm);
            }
            pgd
        };
        if claims {
            outside.tables.push(pgd);
        } else {
            self.free_riscv_pgd(pgd);
        }
    }

    pub(crate) fn free_riscv_pgd(&self, pgd: Ptr) {
        if pgd == 0 {
            return;
        }
        R::tlb_invalidate(0, self.ipa(self.guest.space), site!("kvm_flush_remote_tlbs"));
        if let Some(table) = self.table(pgd) {
            table.destroy_pgd();
        }
        self.heap.free(pgd, site!("kvm_riscv_mmu_free_pgd:free_pages"));
    }

    /// riscv's unmap: the root is copied once and used in every step, lock breaks or not.
    pub(crate) fn gstage_unmap_range(&self, vm: &Vm<R>, mmu: &mut WriteGuard<'_, R>, range: GfnRange) {
        let pgd = self.pgt(vm, site!("kvm_unmap_gfn_range:gstage.pgd"));
        for (start, bytes, last) in self.steps(self.ipa(range.first), self.ipa(range.pages)) {
            if let Some(table) = self.table(pgd) {
                let _ = table.unmap(&mut Env::<NoLog>::default(), start, bytes);
            }
            if !last && range.may_block {
                mmu.lock_break(site!("kvm_riscv_gstage_unmap_range:cond_resched_rwlock_write"));
            }
        }
    }
}
