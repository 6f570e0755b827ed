//! The operations, each under the lock and by the walk that KVM uses for it.
//!
//! - A touch looks at the table as a processor does, without a lock. What it finds is a hit or a fault; a fault holds
//!   `mmu_lock` for read around one shared walk, or for write around an exclusive one. Its page cache is
//!   filled before, so nothing is allocated under the lock. What ends with -EAGAIN is tried again after another look, as
//!   a vCPU that enters the guest again would find.
//! - Ageing, write-protection and unmap hold the lock for write. The latter two go in the kernel's steps, and whoever waits for the
//!   lock may have it in between; `pgt` is read again then.
//! - An eager split goes block by block, and drops the lock to fill its cache of table pages.
//!
//! Where the lock is one by range, what changes leaves takes the leaves' range; what may free or link a table under exclusive rules takes all.
//!
//! Lock order: `mmu_lock` alone. Not modelled: the look-up of the host's page, and the invalidation that a caller of
//! ageing or write-protection sends after the unlock.

use runtime::{Access, Runtime, site};
use stage2::{Env, Errno, LAST_LEVEL, NoLog, Prot, Walk, access, is_valid};

use crate::drive::Operate;
use crate::measurement::Faults;
use crate::mix::Class;
use crate::plan::Plan;
use crate::vm::Vm;

/// A thread of a VM.
pub(crate) struct Worker<'a, R: Runtime> {
    vm: &'a Vm<R>,
    guest_bytes: u64,
    leaf_bytes: u64,
    touch_bytes: u64,
    op_bytes: u64,
    walk: Walk,
    logging: bool,
    env: Env,
    /// `split_page_cache`: as many pages as one block of level 2 needs.
    split: Env,
    pub(crate) faults: Faults,
}

/// What a touch needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Map { bytes: u64 },
    Relax,
    Young,
}

impl<'a, R: Runtime> Worker<'a, R> {
    pub(crate) fn new(plan: &Plan, vm: &'a Vm<R>) -> Self {
        Self {
            vm,
            guest_bytes: plan.guest_bytes,
            leaf_bytes: plan.leaf_bytes,
            touch_bytes: plan.touch_bytes * plan.sparsity,
            op_bytes: plan.op_bytes,
            walk: plan.walk,
            logging: plan.operations.as_ref().is_some_and(|operations| operations.logging),
            env: Env::new(NoLog),
            split: Env::new(NoLog),
            faults: Faults::default(),
        }
    }

    /// A guest's access.
    #[inline]
    fn access(&mut self, ipa: u64, write: bool) -> Result<(), Errno> {
        loop {
            let seen = R::load(&self.vm.invalidate_seq, Access::Ordered, site!("user_mem_abort:seq"));
            let need = self.need(ipa, write);
            let served = match need {
                Need::Nothing => {
                    self.faults.hits += 1;
                    return Ok(());
                }
                Need::Map { bytes } => self.map(ipa, bytes, write, seen),
                Need::Relax => self.relax(ipa, seen),
                Need::Young => {
                    self.locked(ipa, |worker| worker.vm.table.mkyoung(&mut worker.env, ipa));
                    Ok(())
                }
            };
            match served {
                Err(Errno::Again) => self.faults.retries += 1,
                Ok(()) => {
                    let counter = match need {
                        Need::Map { .. } => &mut self.faults.maps,
                        Need::Relax => &mut self.faults.relaxes,
                        _ => &mut self.faults.youngs,
                    };
                    *counter += 1;
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// What the hardware would report for the access.
    #[inline]
    fn need(&self, ipa: u64, write: bool) -> Need {
        let leaf = self.vm.table.hardware_walk(ipa);
        if !is_valid(leaf.desc) {
            let page = self.vm.table.geometry().page_size();
            return Need::Map { bytes: if self.logging { page } else { self.leaf_bytes } };
        }
        let (_, writable, young) = access(leaf.desc);
        if write && !writable {
            if self.logging && leaf.level < LAST_LEVEL {
                return Need::Map { bytes: self.vm.table.geometry().page_size() };
            }
            return Need::Relax;
        }
        if young { Need::Nothing } else { Need::Young }
    }

    fn map(&mut self, ipa: u64, bytes: u64, write: bool, seen: u64) -> Result<(), Errno> {
        let levels = (LAST_LEVEL - self.vm.table.geometry().start_level()) as usize;
        if !self.vm.table.top_up(&mut self.env.memcache, levels) {
            return Err(Errno::NoMem);
        }
        let prot = if write || !self.logging { Prot::R | Prot::W } else { Prot::R };
        let start = ipa & !(bytes - 1);
        self.locked(ipa, |worker| {
            worker.still(seen)?;
            worker.vm.table.map(&mut worker.env, worker.walk, start, bytes, start, prot)
        })
    }

    fn relax(&mut self, ipa: u64, seen: u64) -> Result<(), Errno> {
        self.locked(ipa, |worker| {
            worker.still(seen)?;
            worker.vm.table.relax_perms(&mut worker.env, ipa, Prot::W)
        })
    }

    /// `mmu_invalidate_retry`: whether what was looked up without the lock still holds.
    #[inline]
    fn still(&self, seen: u64) -> Result<(), Errno> {
        let now = R::load(&self.vm.invalidate_seq, Access::Plain, site!("mmu_invalidate_retry"));
        if now == seen { Ok(()) } else { Err(Errno::Again) }
    }

    /// Runs a fault's walk under the lock that it takes.
    #[inline]
    fn locked<T>(&mut self, ipa: u64, walk: impl FnOnce(&mut Self) -> T) -> T {
        let (vm, site) = (self.vm, site!("kvm_handle_guest_abort"));
        match self.walk {
            Walk::Shared => {
                let (start, size) = self.leaves(ipa, 1);
                let _held = R::read_range(&vm.mmu_lock, start, size, site);
                walk(self)
            }
            Walk::Exclusive => {
                let _held = R::write(&vm.mmu_lock, site);
                walk(self)
            }
        }
    }

    /// `kvm_age_gfn`: one walk.
    pub(crate) fn age(&mut self, ipa: u64, size: u64) -> bool {
        let (vm, (start, bytes)) = (self.vm, self.leaves(ipa, size));
        let _held = R::write_range(&vm.mmu_lock, start, bytes, site!("kvm_age_gfn"));
        self.has_table() && vm.table.test_clear_young(&mut self.env, ipa, size, true)
    }

    /// Dirty logging's write-protection.
    pub(crate) fn wrprotect(&mut self, ipa: u64, size: u64) -> Result<(), Errno> {
        let (vm, (start, bytes)) = (self.vm, self.leaves(ipa, size));
        let held = R::write_range(&vm.mmu_lock, start, bytes, site!("kvm_mmu_wp_memory_region"));
        self.stepped(held, ipa, size, |worker, ipa, size| {
            worker.vm.table.wrprotect(&mut worker.env, ipa, size)
        })
    }

    /// A notifier's unmap: faults that looked their page up before try again.
    pub(crate) fn unmap(&mut self, ipa: u64, size: u64) -> Result<(), Errno> {
        let held = R::write(&self.vm.mmu_lock, site!("kvm_unmap_gfn_range"));
        self.stepped(held, ipa, size, |worker, ipa, size| {
            let seq = R::load(&worker.vm.invalidate_seq, Access::Plain, site!("kvm_mmu_invalidate_end"));
            let site = site!("kvm_mmu_invalidate_end");
            R::store(&worker.vm.invalidate_seq, seq + 1, Access::Marked, site);
            worker.vm.table.unmap(&mut worker.env, ipa, size)
        })
    }

    /// Deletion of a slot: `kvm_arch_flush_shadow_memslot`.
    pub(crate) fn flush_slot(&mut self, ipa: u64, size: u64) -> Result<(), Errno> {
        let held = R::write(&self.vm.mmu_lock, site!("kvm_arch_flush_shadow_memslot"));
        self.stepped(held, ipa, size, |worker, ipa, size| worker.vm.table.unmap(&mut worker.env, ipa, size))
    }

    /// Walks a range in the kernel's steps under the lock, held for write, which waiters may have between two.
    fn stepped(
        &mut self,
        mut held: R::WriteGuard<'_>,
        ipa: u64,
        size: u64,
        mut walk: impl FnMut(&mut Self, u64, u64) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (step, end) = (self.vm.table.geometry().step_bytes(), ipa + size);
        let mut start = ipa;
        while start < end && self.has_table() {
            let next = end.min((start & !(step - 1)) + step);
            walk(self, start, next - start)?;
            if next < end {
                R::cond_resched_write(&mut held, site!("stage2_apply_range:break"));
            }
            start = next;
        }
        Ok(())
    }

    /// `kvm_mmu_split_huge_pages`, block of level 2 by block of level 2.
    pub(crate) fn split(&mut self, ipa: u64, size: u64) -> Result<(), Errno> {
        let (vm, geometry) = (self.vm, self.vm.table.geometry());
        let chunk = geometry.granule_size(LAST_LEVEL - 1);
        let needed = (LAST_LEVEL - geometry.min_block_level()) as usize;
        let end = ipa + size;
        let mut start = ipa;
        while start < end {
            if !vm.table.top_up(&mut self.split.memcache, needed) {
                return Err(Errno::NoMem);
            }
            self.split.memcache.set_left(Some(needed as u64));
            let _held = R::write(&vm.mmu_lock, site!("kvm_mmu_split_memory_region"));
            while start < end && self.split.memcache.left() == Some(needed as u64) {
                if !self.has_table() {
                    return Ok(());
                }
                let next = end.min((start & !(chunk - 1)) + chunk);
                vm.table.split(&mut self.split, start, next - start)?;
                start = next;
            }
        }
        Ok(())
    }

    /// The range rounded out to leaves: what a lock by range has to keep others from, as a block is changed whole.
    #[inline]
    fn leaves(&self, ipa: u64, size: u64) -> (u64, u64) {
        let start = ipa & !(self.leaf_bytes - 1);
        (start, (ipa + size).next_multiple_of(self.leaf_bytes) - start)
    }

    /// `pgt`, read under the lock.
    #[inline]
    pub(crate) fn has_table(&self) -> bool {
        R::load(&self.vm.pgt, Access::Plain, site!("kvm->arch.mmu.pgt")) != 0
    }

    /// The range that number `place` stands for.
    fn range_of(&self, place: u64) -> (u64, u64) {
        let ipa = place * self.op_bytes;
        (ipa, self.op_bytes.min(self.guest_bytes - ipa))
    }
}

impl<R: Runtime> Operate for Worker<'_, R> {
    type Error = Errno;

    #[inline]
    fn one(&mut self, class: Class, place: u64, write: bool) -> Result<(), Errno> {
        if class == Class::Fault {
            return self.access(place * self.touch_bytes, write);
        }
        let (ipa, size) = self.range_of(place);
        match class {
            Class::Fault => unreachable!("a fault is an access"),
            Class::Age => {
                self.age(ipa, size);
                Ok(())
            }
            Class::Wrprotect => self.wrprotect(ipa, size),
            Class::Unmap => self.unmap(ipa, size),
            Class::Split => self.split(ipa, size),
        }
    }
}
