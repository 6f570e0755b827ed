//! MMU notifiers: one list of subscriptions an address space, one SRCU domain for all.
//!
//! Who waits for whom: `exit_mmap` and `mmu_notifier_unregister` wait for every reader of `srcu`; callbacks run
//! inside a read section of `srcu`, so they may not wait for it. The list's spinlock is held only to link and
//! unlink. That a subscription is still hashed is read without a lock: so `exit_mmap` and `unregister` may both
//! reach `->release` for one VM, at the same time.
//!
//! Between the two ends of an invalidation no memslot is installed, so that both ends find the same slots: who
//! installs one waits, with `slots_lock` and `slots_arch_lock` held, until `mn_active_invalidate_count` is 0. So a
//! callback may take neither.

use runtime::{Access, Runtime, site};

use crate::mm::{Mm, NOTIFIER_LIST};
use crate::vm::{ACTIVE_INVALIDATE_COUNT, INVALIDATE_IN_PROGRESS, INVALIDATE_SEQ, NEXT, PPREV, Vm};
use crate::world::{VmId, World};

/// `pprev` of the first subscription; of another, the number of the one before it, plus this.
const AFTER_HEAD: u64 = 1;

impl<R: Runtime> World<R> {
    /// `mmu_notifier_register`.
    pub(crate) fn mmu_notifier_register(&self, vm: &Vm<R>) {
        let mm = self.mm(vm.mm);
        let plain = Access::Plain;
        {
            let _list = R::lock(&mm.notifier_lock, site!("mmu_notifier_register:lock"));
            let first = self.heap.load(mm.object, NOTIFIER_LIST, plain, site!("hlist_add_head_rcu:first"));
            self.heap.store(vm.kvm, NEXT, first, plain, site!("hlist_add_head_rcu:next"));
            self.heap.store(vm.kvm, PPREV, AFTER_HEAD, plain, site!("hlist_add_head_rcu:pprev"));
            let number = vm.id.0 as u64 + 1;
            let ordered = Access::Ordered;
            self.heap.store(mm.object, NOTIFIER_LIST, number, ordered, site!("hlist_add_head_rcu"));
            if let Some(next) = self.listed(first) {
                self.heap.store(
                    next.kvm,
                    PPREV,
                    AFTER_HEAD + number,
                    plain,
                    site!("hlist_add_head_rcu:back"),
                );
            }
        }
        self.mmgrab(mm);
    }

    /// `mmu_notifier_release`: from `exit_mmap`.
    pub(crate) fn mmu_notifier_release(&self, mm: &Mm<R>) {
        let _inside = R::inside("__mmu_notifier_release");
        let first =
            || self.heap.load(mm.object, NOTIFIER_LIST, Access::Marked, site!("mmu_notifier_release:list"));
        if first() == 0 {
            return;
        }
        {
            let _readers = R::srcu_read(&self.srcu, site!("mn_hlist_release:srcu"));
            self.for_each_subscription(mm, |vm| self.kvm_mmu_notifier_release(vm));
            let _list = R::lock(&mm.notifier_lock, site!("mn_hlist_release:lock"));
            while let Some(vm) = self.listed(first()) {
                self.hlist_del_init_rcu(mm, vm);
            }
        }
        R::synchronize_srcu(&self.srcu, site!("mn_hlist_release:synchronize_srcu"));
    }

    /// `mmu_notifier_unregister`: from `kvm_destroy_vm`.
    pub(crate) fn mmu_notifier_unregister(&self, vm: &Vm<R>) {
        let _inside = R::inside("mmu_notifier_unregister");
        let mm = self.mm(vm.mm);
        if self.heap.load(vm.kvm, PPREV, Access::Marked, site!("mmu_notifier_unregister:hlist_unhashed")) != 0
        {
            {
                let _readers = R::srcu_read(&self.srcu, site!("mmu_notifier_unregister:srcu"));
                self.kvm_mmu_notifier_release(vm);
            }
            let _list = R::lock(&mm.notifier_lock, site!("mmu_notifier_unregister:lock"));
            self.hlist_del_init_rcu(mm, vm);
        }
        R::synchronize_srcu(&self.srcu, site!("mmu_notifier_unregister:synchronize_srcu"));
        self.mmdrop(mm);
    }

    /// Invalidates the guest's pages in every VM of the address space; answers which were told.
    pub(crate) fn mmu_notifier_invalidate_range_start(&self, mm: &Mm<R>, may_block: bool) -> Vec<VmId> {
        let mut told = Vec::new();
        if self.has_subscriptions(mm) {
            let _readers = R::srcu_read(&self.srcu, site!("mmu_notifier_invalidate_range_start:srcu"));
            self.for_each_subscription(mm, |vm| {
                self.kvm_mmu_notifier_invalidate_range_start(vm, may_block);
                told.push(vm.id);
            });
        }
        told
    }

    /// The end of what was begun with the VMs in `told`. That none comes between who was not is the doing of
    /// `mm_take_all_locks` when a subscription is made, which is not modelled.
    pub(crate) fn mmu_notifier_invalidate_range_end(&self, mm: &Mm<R>, told: &[VmId]) {
        if !told.is_empty() {
            let _readers = R::srcu_read(&self.srcu, site!("mmu_notifier_invalidate_range_end:srcu"));
            self.for_each_subscription(mm, |vm| {
                if told.contains(&vm.id) {
                    self.kvm_mmu_notifier_invalidate_range_end(vm);
                }
            });
        }
    }

    /// Clears access flags in every VM of the address space.
    pub(crate) fn mmu_notifier_clear_flush_young(&self, mm: &Mm<R>) {
        if self.has_subscriptions(mm) {
            let _readers = R::srcu_read(&self.srcu, site!("mmu_notifier_clear_flush_young:srcu"));
            self.for_each_subscription(mm, |vm| {
                let _slots = R::srcu_read(&vm.srcu, site!("kvm_mmu_notifier_clear_flush_young:srcu"));
                let mut held = None;
                for slot in self.present_slots(vm) {
                    held.get_or_insert_with(|| {
                        vm.mmu_lock.write(site!("kvm_mmu_notifier_clear_flush_young:mmu_lock"))
                    });
                    self.kvm_age_gfn(vm, self.slot_range(slot, false));
                }
            });
        }
    }

    fn kvm_mmu_notifier_release(&self, vm: &Vm<R>) {
        let _inside = R::inside("kvm_mmu_notifier_release");
        let _slots = R::srcu_read(&vm.srcu, site!("kvm_mmu_notifier_release:srcu"));
        self.kvm_flush_shadow_all(vm);
    }

    fn kvm_mmu_notifier_invalidate_range_start(&self, vm: &Vm<R>, may_block: bool) {
        {
            let site = site!("kvm_mmu_notifier_invalidate_range_start:mn_invalidate_lock");
            let _count = R::lock(&vm.mn_invalidate_lock, site);
            let site = site!("kvm_mmu_notifier_invalidate_range_start:mn_active_invalidate_count");
            let count = self.active_invalidations(vm);
            self.heap.store(vm.kvm, ACTIVE_INVALIDATE_COUNT, count + 1, Access::Marked, site);
        }
        let _slots = R::srcu_read(&vm.srcu, site!("kvm_mmu_notifier_invalidate_range_start:srcu"));
        let mut held = None;
        for slot in self.present_slots(vm) {
            let mmu = held.get_or_insert_with(|| {
                let mmu = vm.mmu_lock.write(site!("kvm_mmu_notifier_invalidate_range_start:mmu_lock"));
                self.kvm_mmu_invalidate_begin(vm);
                mmu
            });
            self.kvm_unmap_gfn_range(vm, mmu, self.slot_range(slot, may_block));
        }
    }

    fn kvm_mmu_notifier_invalidate_range_end(&self, vm: &Vm<R>) {
        {
            let _slots = R::srcu_read(&vm.srcu, site!("kvm_mmu_notifier_invalidate_range_end:srcu"));
            if self.present_slots(vm).next().is_some() {
                let _mmu = vm.mmu_lock.write(site!("kvm_mmu_notifier_invalidate_range_end:mmu_lock"));
                self.kvm_mmu_invalidate_end(vm);
            }
        }
        let site = site!("kvm_mmu_notifier_invalidate_range_end:mn_invalidate_lock");
        let _count = R::lock(&vm.mn_invalidate_lock, site);
        let site = site!("kvm_mmu_notifier_invalidate_range_end:mn_active_invalidate_count");
        match self.active_invalidations(vm).checked_sub(1) {
            Some(count) => {
                self.heap.store(vm.kvm, ACTIVE_INVALIDATE_COUNT, count, Access::Marked, site);
            }
            None => self.heap.violated("count-underflow", "kvm", site),
        }
    }

    /// `mn_active_invalidate_count`, under `mn_invalidate_lock`. It is written marked, because who waits for it here
    /// looks at the word; upstream's waiter is woken.
    pub(crate) fn active_invalidations(&self, vm: &Vm<R>) -> u64 {
        self.heap.load(vm.kvm, ACTIVE_INVALIDATE_COUNT, Access::Plain, site!("mn_active_invalidate_count"))
    }

    /// `kvm_mmu_invalidate_begin`: under `mmu_lock`.
    pub(crate) fn kvm_mmu_invalidate_begin(&self, vm: &Vm<R>) {
        self.heap.fetch_add(vm.kvm, INVALIDATE_IN_PROGRESS, site!("kvm_mmu_invalidate_begin"));
    }

    /// `kvm_mmu_invalidate_end`: under `mmu_lock`.
    pub(crate) fn kvm_mmu_invalidate_end(&self, vm: &Vm<R>) {
        self.heap.fetch_add(vm.kvm, INVALIDATE_SEQ, site!("kvm_mmu_invalidate_end:seq"));
        self.heap.dec_and_test(vm.kvm, INVALIDATE_IN_PROGRESS, site!("kvm_mmu_invalidate_end:in_progress"));
    }

    fn has_subscriptions(&self, mm: &Mm<R>) -> bool {
        self.heap.load(mm.object, NOTIFIER_LIST, Access::Marked, site!("mm_has_notifiers")) != 0
    }

    /// `hlist_for_each_entry_rcu`, inside a read section.
    fn for_each_subscription<'a>(&'a self, mm: &Mm<R>, mut visit: impl FnMut(&'a Vm<R>)) {
        let marked = Access::Marked;
        let mut next =
            self.heap.load(mm.object, NOTIFIER_LIST, marked, site!("hlist_for_each_entry_rcu:first"));
        while let Some(vm) = self.listed(next) {
            visit(vm);
            next = self.heap.load(vm.kvm, NEXT, marked, site!("hlist_for_each_entry_rcu:next"));
        }
    }

    /// The VM whose subscription a list word names.
    fn listed(&self, number: u64) -> Option<&Vm<R>> {
        self.vm(VmId(usize::try_from(number).ok()?.checked_sub(1)?))
    }

    /// `hlist_del_init_rcu`, under the list's lock; nothing when the subscription is not on the list.
    fn hlist_del_init_rcu(&self, mm: &Mm<R>, vm: &Vm<R>) {
        let plain = Access::Plain;
        let pprev = self.heap.load(vm.kvm, PPREV, plain, site!("hlist_del_init_rcu:pprev"));
        if pprev == 0 {
            return;
        }
        let next = self.heap.load(vm.kvm, NEXT, plain, site!("hlist_del_init_rcu:next"));
        let unlink = site!("hlist_del_init_rcu:unlink");
        match self.listed(pprev - AFTER_HEAD) {
            Some(before) => self.heap.store(before.kvm, NEXT, next, Access::Marked, unlink),
            None => self.heap.store(mm.object, NOTIFIER_LIST, next, Access::Marked, unlink),
        }
        if let Some(after) = self.listed(next) {
            self.heap.store(after.kvm, PPREV, pprev, Access::Marked, site!("hlist_del_init_rcu:back"));
        }
        self.heap.store(vm.kvm, PPREV, 0, Access::Marked, site!("hlist_del_init_rcu:unhash"));
    }
}
