//! The stage-2 mmu of arm64 and riscv: init, flush, uninit, and the operations that notifiers and slots ask for.
//!
//! Who may touch what: `mmu->pgt` is taken out under `mmu_lock` held for write, so who walks reads it under that
//! lock, and again after every lock break; a table that was taken out is destroyed outside the lock, by whoever
//! took it. riscv's blockable unmap keeps a copy of the root across its lock breaks.
//! The split cache is freed without `mmu_lock`, unless a [`Strategy`](crate::Strategy) says otherwise.

use runtime::{Access, Runtime, site};
use stage2::{Env, NoLog, Prot, Table, Walk};

use crate::heap::{Memory, Ptr};
use crate::memory_cache::Claimed;
use crate::mmu_lock::{Held, WriteGuard};
use crate::stale_ranges;
use crate::strategy::{Helpers, Hold, Part};
use crate::variant::{Arch, Destroy, Nested};
use crate::vm::{CHUNK, Vm};
use crate::world::World;

/// Words of a `kvm_s2_mmu`, from the place where it is embedded.
pub(crate) const PGT: usize = 0;
pub(crate) const PGD_PHYS: usize = 1;
pub(crate) const LAST_VCPU_RAN: usize = 2;
/// Of a nested mmu: whether it is in use.
pub(crate) const VALID: usize = 3;
pub(crate) const MMU_WORDS: usize = 4;

/// Where an mmu is embedded.
#[derive(Clone, Copy)]
pub(crate) struct MmuRef {
    pub(crate) object: Ptr,
    pub(crate) base: usize,
    pub(crate) nested: bool,
}

/// Guest pages that somebody wants unmapped (`kvm_gfn_range`).
#[derive(Clone, Copy)]
pub(crate) struct GfnRange {
    pub(crate) first: u64,
    pub(crate) pages: u64,
    /// Whether `mmu_lock` may be broken between steps.
    pub(crate) may_block: bool,
}

/// Who calls `kvm_uninit_stage2_mmu`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Flush,
    Destroy,
    Create,
}

/// What flush took out under the lock it holds, to free after the unlock.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) tables: Vec<Ptr>,
    pub(crate) arrays: Vec<Ptr>,
    pub(crate) pages: Vec<Ptr>,
    caches: Vec<Claimed>,
}

impl<R: Runtime> World<R> {
    /// Gives an mmu that nobody else can reach a table (`kvm_init_stage2_mmu`).
    pub(crate) fn kvm_init_stage2_mmu(&self, mmu: MmuRef) {
        let heap = &self.heap;
        let pgt = match self.variant.arch {
            Arch::Arm64 | Arch::Riscv => {
                let number =
                    self.tables.push_with(|_| Table::new(self.guest.config).expect("a shape has a geometry"));
                let name = if self.variant.arch == Arch::Arm64 { "kvm_pgtable" } else { "kvm.arch.pgd" };
                let pgt = heap.alloc(name, 1, Memory::Kmalloc, site!("kvm_init_stage2_mmu:pgt"));
                heap.init(pgt, 0, number as u64 + 1);
                pgt
            }
            Arch::Loongarch | Arch::Mips => self.new_plain_table("kvm.arch.pgd"),
        };
        heap.init(mmu.object, mmu.base + PGT, pgt);
        if self.variant.arch == Arch::Arm64 {
            let site = site!("kvm_init_stage2_mmu:last_vcpu_ran");
            let last_vcpu_ran = heap.alloc("mmu->last_vcpu_ran", 1, Memory::Kmalloc, site);
            heap.init(mmu.object, mmu.base + LAST_VCPU_RAN, last_vcpu_ran);
            heap.init(mmu.object, mmu.base + PGD_PHYS, pgt);
            heap.init(mmu.object, mmu.base + VALID, 1);
        }
    }

    /// `kvm_arch_flush_shadow_all`, held and freed as the strategy says.
    pub(crate) fn kvm_arch_flush_shadow_all(&self, vm: &Vm<R>) {
        let _inside = R::inside("kvm_arch_flush_shadow_all");
        if self.variant.returns_early && self.nested_size(vm) == 0 {
            return;
        }
        let mut outside = Outside::default();
        {
            let holds = self.strategy.hold == Hold::Arch;
            let mut held = holds.then(|| vm.mmu_lock.write(site!("kvm_arch_flush_shadow_all:mmu_lock")));
            let held = &mut held;
            match self.variant.arch {
                Arch::Arm64 => {
                    self.flush_nested(vm, held, &mut outside);
                    let _inside = R::inside("kvm_uninit_stage2_mmu");
                    self.free_table(vm, vm.mmu(), held, &mut outside);
                }
                Arch::Riscv => self.kvm_riscv_mmu_free_pgd(vm, held.is_some(), &mut outside),
                Arch::Loongarch | Arch::Mips => self.flush_plain_table(vm, held.is_some(), &mut outside),
            }
            let _inside = (self.variant.arch == Arch::Arm64).then(|| R::inside("kvm_uninit_stage2_mmu"));
            self.free_cache(vm, held.is_some(), Caller::Flush, &mut outside);
        }
        self.free_outside(&outside);
    }

    /// `kvm_uninit_stage2_mmu`; flush itself does the same, with what it holds.
    pub(crate) fn kvm_uninit_stage2_mmu(&self, vm: &Vm<R>, caller: Caller) {
        let _inside = R::inside("kvm_uninit_stage2_mmu");
        let mut outside = Outside::default();
        match self.variant.arch {
            Arch::Arm64 => self.free_table(vm, vm.mmu(), &mut None, &mut outside),
            Arch::Riscv => self.kvm_riscv_mmu_free_pgd(vm, false, &mut outside),
            Arch::Loongarch | Arch::Mips => self.destroy_plain_table(vm),
        }
        self.free_cache(vm, false, caller, &mut outside);
        self.free_outside(&outside);
    }

    /// Frees the table of one mmu, as the strategy has it.
    pub(crate) fn free_table(&self, vm: &Vm<R>, mmu: MmuRef, held: &mut Held<'_, R>, outside: &mut Outside) {
        if held.is_some() && self.strategy.table == Part::Claim {
            outside.tables.push(self.take_pgt(vm, mmu));
        } else {
            self.kvm_free_stage2_pgd(vm, mmu, held);
        }
    }

    /// `kvm_free_stage2_pgd`: takes the table out under `mmu_lock`, destroys it outside.
    fn kvm_free_stage2_pgd(&self, vm: &Vm<R>, mmu: MmuRef, held: &mut Held<'_, R>) {
        let _inside = R::inside("kvm_free_stage2_pgd");
        let pgt = {
            let _held = match self.strategy.helpers {
                Helpers::Take => Some(vm.mmu_lock.write(site!("kvm_free_stage2_pgd:mmu_lock"))),
                Helpers::Assert => {
                    vm.mmu_lock.assert_held_write(site!("kvm_free_stage2_pgd:assert"));
                    None
                }
            };
            self.take_pgt(vm, mmu)
        };
        self.destroy_pgt(pgt, held);
    }

    /// Takes `mmu->pgt` out; 0 when somebody else has.
    pub(crate) fn take_pgt(&self, vm: &Vm<R>, mmu: MmuRef) -> Ptr {
        let (heap, plain) = (&self.heap, Access::Plain);
        let pgt = heap.load(mmu.object, mmu.base + PGT, plain, site!("kvm_free_stage2_pgd:pgt"));
        if pgt != 0 {
            heap.store(mmu.object, mmu.base + PGD_PHYS, 0, plain, site!("kvm_free_stage2_pgd:pgd_phys"));
            heap.store(mmu.object, mmu.base + PGT, 0, plain, site!("kvm_free_stage2_pgd:swap"));
            let site = site!("kvm_free_stage2_pgd:last_vcpu_ran");
            let last_vcpu_ran = heap.load(mmu.object, mmu.base + LAST_VCPU_RAN, plain, site);
            heap.free(last_vcpu_ran, site!("free_percpu"));
            if !mmu.nested {
                self.out_of_reach(vm);
            }
        }
        if mmu.nested && self.variant.nested == Nested::Pointers {
            heap.store(mmu.object, mmu.base + VALID, 0, plain, site!("kvm_init_nested_s2_mmu"));
        }
        pgt
    }

    /// Destroys a table that nobody can reach any more, and frees it.
    fn destroy_pgt(&self, pgt: Ptr, held: &mut Held<'_, R>) {
        if pgt == 0 {
            return;
        }
        if let Some(table) = self.table(pgt) {
            self.stage2_destroy(table, held);
        }
        self.heap.free(pgt, site!("kvm_free_stage2_pgd:kfree"));
    }

    /// `mmu_lock` is not needed to see that the VM's leaves are gone: this word says it.
    pub(crate) fn out_of_reach(&self, vm: &Vm<R>) {
        let site = site!("kvm_free_stage2_pgd:out_of_reach");
        self.heap.store(self.reach, vm.id.0, 0, Access::Marked, site);
    }

    /// The guest's memory, as a range to be unmapped.
    pub(crate) fn guest_range(&self, may_block: bool) -> GfnRange {
        GfnRange { first: self.guest.first, pages: self.guest.pages, may_block }
    }

    /// `kvm_unmap_gfn_range`: under `mmu_lock`, which may be dropped between steps if the range may block.
    pub(crate) fn kvm_unmap_gfn_range(&self, vm: &Vm<R>, mmu: &mut WriteGuard<'_, R>, range: GfnRange) {
        let site = site!("kvm_unmap_gfn_range:pgt");
        if self.heap.load(vm.kvm, vm.mmu().base + PGT, Access::Plain, site) == 0 {
            return;
        }
        self.unmap_slot(vm, mmu, range);
        self.kvm_nested_s2_unmap(vm, mmu, range.may_block);
    }

    /// Unmaps guest pages (`__unmap_stage2_range` and its like).
    pub(crate) fn unmap_slot(&self, vm: &Vm<R>, mmu: &mut WriteGuard<'_, R>, range: GfnRange) {
        match self.variant.arch {
            Arch::Arm64 => self.unmap_stage2_range(vm.mmu(), mmu, range),
            Arch::Riscv => self.gstage_unmap_range(vm, mmu, range),
            Arch::Loongarch | Arch::Mips => self.unmap_plain_range(vm, range.first, range.pages),
        }
    }

    /// `stage2_apply_range` with `kvm_pgtable_stage2_unmap`: `pgt` is read again in every step.
    pub(crate) fn unmap_stage2_range(&self, at: MmuRef, mmu: &mut WriteGuard<'_, R>, range: GfnRange) {
        for (start, bytes, last) in self.steps(self.ipa(range.first), self.ipa(range.pages)) {
            let pgt =
                self.heap.load(at.object, at.base + PGT, Access::Plain, site!("stage2_apply_range:pgt"));
            if pgt == 0 {
                return;
            }
            if let Some(table) = self.table(pgt) {
                // Upstream's own return code is dropped here too, but for a warning.
                let _ = table.unmap(&mut Env::<NoLog>::default(), start, bytes);
            }
            if !last && range.may_block {
                mmu.lock_break(site!("stage2_apply_range:cond_resched_rwlock_write"));
            }
        }
    }

    /// `kvm_age_gfn`: under `mmu_lock`.
    pub(crate) fn kvm_age_gfn(&self, vm: &Vm<R>, GfnRange { first, pages, .. }: GfnRange) {
        let pgt = self.pgt(vm, site!("kvm_age_gfn:pgt"));
        if pgt == 0 {
            return;
        }
        if !self.variant.has_rwlock() {
            return self.age_plain_range(pgt, first, pages);
        }
        if let Some(table) = self.table(pgt) {
            table.test_clear_young(&mut Env::<NoLog>::default(), self.ipa(first), self.ipa(pages), true);
        }
    }

    /// `kvm_mmu_wp_memory_region`: dirty logging begins.
    pub(crate) fn kvm_mmu_wp_memory_region(&self, vm: &Vm<R>, first: u64, pages: u64) {
        if !self.variant.has_rwlock() {
            return;
        }
        {
            let mut mmu = vm.mmu_lock.write(site!("kvm_mmu_wp_memory_region:mmu_lock"));
            for (start, bytes, last) in self.steps(self.ipa(first), self.ipa(pages)) {
                let pgt = self.pgt(vm, site!("stage2_apply_range:pgt"));
                let Some(table) = self.table(pgt) else { break };
                let _ = table.wrprotect(&mut Env::<NoLog>::default(), start, bytes);
                if !last {
                    mmu.lock_break(site!("stage2_apply_range:cond_resched_rwlock_write"));
                }
            }
        }
        R::tlb_invalidate(self.ipa(first), self.ipa(pages), site!("kvm_flush_remote_tlbs_memslot"));
    }

    /// `kvm_mmu_split_memory_region`: under `mmu_lock`, dropped to fill the split cache again.
    pub(crate) fn kvm_mmu_split_memory_region(&self, vm: &Vm<R>, first: u64, pages: u64) {
        if !self.variant.split_cache {
            return;
        }
        let cache = vm.split_cache();
        let site = site!("kvm_mmu_split_huge_pages:chunk_size");
        let capacity = self.heap.load(vm.kvm, CHUNK, Access::Plain, site);
        let mut held = Some(vm.mmu_lock.write(site!("kvm_mmu_split_memory_region:mmu_lock")));
        for (start, bytes, _) in self.steps(self.ipa(first), self.ipa(pages)) {
            if self.cache_pages(cache) < capacity {
                drop(held.take());
                R::cond_resched(site!("kvm_mmu_split_huge_pages:cond_resched"));
                let filled = self.kvm_mmu_topup_memory_cache(cache, capacity);
                held = Some(vm.mmu_lock.write(site!("kvm_mmu_split_huge_pages:mmu_lock")));
                if !filled {
                    break;
                }
            }
            let pgt = self.pgt(vm, site!("kvm_mmu_split_huge_pages:pgt"));
            let Some(table) = self.table(pgt) else { break };
            let mut env = Env::<NoLog>::default();
            env.memcache.set_left(Some(capacity));
            let _ = table.split(&mut env, start, bytes);
            for _ in env.memcache.left().unwrap_or(capacity)..capacity {
                self.kvm_mmu_memory_cache_alloc(cache);
            }
        }
        drop(held);
    }

    /// Maps a page as a fault does (arm64: a shared walk under `mmu_lock` held for read).
    pub(crate) fn map_page(&self, vm: &Vm<R>, page: u64, pfn: u64) -> bool {
        let pgt = self.pgt(vm, site!("user_mem_abort:pgt"));
        if pgt == 0 {
            return false;
        }
        if !self.variant.has_rwlock() {
            return self.map_plain_page(pgt, page, pfn);
        }
        let (ipa, pa) = (self.ipa(page), self.ipa(pfn));
        let mut env = Env::<NoLog>::default();
        let mapped = self.table(pgt).map(|table| {
            table.map(&mut env, Walk::Shared, ipa, self.ipa(1), pa, Prot::R | Prot::W | Prot::X)
        });
        mapped.is_some_and(|result| result.is_ok())
    }

    /// Maps the slot of the set-up, before anything runs.
    pub(crate) fn set_up_mappings(&self, vm: &Vm<R>) {
        let mm = self.mm(vm.mm);
        let pgt = self.pgt(vm, site!("user_mem_abort:pgt"));
        if !self.variant.has_rwlock() {
            for page in self.guest.first..self.guest.first + self.guest.pages {
                self.map_plain_page(pgt, page, self.fault_in(mm, page).expect("mapped memory"));
            }
        } else if let Some(table) = self.table(pgt) {
            let leaf = self.guest.leaf;
            for page in (self.guest.first..self.guest.first + self.guest.pages).step_by(leaf as usize) {
                let pfn = self.fault_in(mm, page).expect("mapped memory");
                let (ipa, size, prot) = (self.ipa(page), self.ipa(leaf), Prot::R | Prot::W | Prot::X);
                let mapped =
                    table.map(&mut Env::<NoLog>::default(), Walk::Exclusive, ipa, size, self.ipa(pfn), prot);
                mapped.expect("an empty table takes a mapping");
            }
        }
    }

    /// The table behind a `kvm_pgtable`; nothing, and harm, when the pointer leads nowhere.
    pub(crate) fn table(&self, pgt: Ptr) -> Option<&Table<R>> {
        if pgt == 0 {
            return None;
        }
        let riscv = self.variant.arch == Arch::Riscv;
        let site = if riscv { site!("kvm_riscv_gstage_get_leaf:pgd") } else { site!("kvm_pgtable_walk:pgt") };
        let number = self.heap.load(pgt, 0, Access::Plain, site);
        self.tables.get((number as usize).checked_sub(1)?)
    }

    /// `kvm->arch.mmu.pgt`.
    pub(crate) fn pgt(&self, vm: &Vm<R>, site: runtime::Site) -> Ptr {
        self.heap.load(vm.kvm, vm.mmu().base + PGT, Access::Plain, site)
    }

    /// The address of a page, or the bytes of so many pages.
    pub(crate) fn ipa(&self, pages: u64) -> u64 {
        pages << self.page_shift()
    }

    /// Frees what was taken out.
    pub(crate) fn free_outside(&self, outside: &Outside) {
        outside.tables.iter().for_each(|pgt| match self.variant.arch {
            Arch::Riscv => self.free_riscv_pgd(*pgt),
            _ => self.destroy_pgt(*pgt, &mut None),
        });
        if !outside.pages.is_empty() {
            R::tlb_invalidate(0, self.ipa(self.guest.space), site!("kvm_flush_remote_tlbs"));
            for page in &outside.pages {
                self.heap.free(*page, site!("kvm_arch_flush_shadow_all:free_page"));
            }
        }
        for array in &outside.arrays {
            self.heap.free(*array, site!("kvm_arch_flush_shadow_all:kvfree"));
        }
        outside.caches.iter().for_each(|claimed| self.free_claimed_cache(claimed));
    }

    /// Frees the split cache, as the strategy has it.
    fn free_cache(&self, vm: &Vm<R>, held: bool, caller: Caller, outside: &mut Outside) {
        if !self.variant.split_cache {
            return;
        }
        let cache = vm.split_cache();
        match self.strategy.cache {
            Part::Defer if caller == Caller::Flush => {}
            Part::Inside | Part::Defer => self.kvm_mmu_free_memory_cache(cache),
            Part::Claim if held => outside.caches.push(self.claim_memory_cache(cache)),
            Part::Claim => {
                let claimed = {
                    let _held = vm.mmu_lock.write(site!("kvm_uninit_stage2_mmu:mmu_lock"));
                    self.claim_memory_cache(cache)
                };
                self.free_claimed_cache(&claimed);
            }
            Part::SlotsLock => {
                let _slots = R::lock(&vm.slots_lock, site!("kvm_uninit_stage2_mmu:slots_lock"));
                self.kvm_mmu_free_memory_cache(cache);
            }
        }
    }

    /// `kvm_stage2_destroy`: the whole table, in the ranges of the variant or the strategy.
    fn stage2_destroy(&self, table: &Table<R>, held: &mut Held<'_, R>) {
        let mut env = Env::<NoLog>::default();
        let size = self.ipa(self.guest.space);
        let how = self.strategy.destroy(&self.variant);
        if how == Destroy::Whole {
            table.destroy_range(&mut env, 0, size);
        } else {
            for (start, bytes, last) in self.steps(0, size) {
                match how {
                    Destroy::StaleRanges => stale_ranges::destroy_range(table, start, bytes),
                    _ => table.destroy_range(&mut env, start, bytes),
                }
                match held {
                    _ if last => {}
                    Some(mmu) if self.strategy.breaks => {
                        mmu.lock_break(site!("kvm_stage2_destroy:lock_break"));
                    }
                    _ => R::cond_resched(site!("kvm_stage2_destroy:cond_resched")),
                }
            }
        }
        table.destroy_pgd();
    }

    /// The steps of a range: start, bytes, and whether it is the last (`stage2_range_addr_end`).
    pub(crate) fn steps(&self, ipa: u64, size: u64) -> impl Iterator<Item = (u64, u64, bool)> + use<R> {
        let step = self.guest.config.geometry().expect("a shape has a geometry").step_bytes();
        let end = ipa + size;
        let mut at = ipa;
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let next = end.min((at / step + 1) * step);
                let this = (at, next - at, next == end);
                at = next;
                this
            })
        })
    }
}
