"""mm, notifier and kvm from birth to death (facts, sections 1 and 2), and those who run against a teardown.

`Tasks` gives the steps of a task as programs; a configuration strings them together. One `mm`; VMs are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actions import (
    add,
    alloc,
    free,
    give_back,
    lock,
    might_sleep,
    read,
    srcu_read_lock,
    srcu_read_unlock,
    synchronize_srcu,
    unlock,
    write,
)
from plain_table import free_pages, walk_and_clear

if TYPE_CHECKING:
    from actions import Program
    from teardown import Kernel


PART = range(1)
"""The pages that a notifier unmaps: not all that a table page maps."""


@dataclass(frozen=True)
class Tasks:
    """Steps of tasks, for one kernel."""

    kernel: Kernel

    # ---- mm ------------------------------------------------------------------------------------------------------
    def mmput(self) -> Program:
        """Drops one mm_users; the last runs exit_mmap, and gives up what mm_users has of mm_count."""
        if (yield add("mm", "users", -1)) == 0:
            yield from self.exit_mmap()
            yield from self.mmdrop()

    def mmdrop(self) -> Program:
        if (yield add("mm", "count", -1)) == 0:
            yield free("mm")

    def exit_mmap(self) -> Program:
        if (yield read("mm", "list")):
            yield from self.notifier_release_all()
        yield give_back("guest")
        yield lock("rmap")  # who finds the pages by reverse mapping has left
        yield write("rmap", "mapped", False)
        yield unlock("rmap")

    def notifier_release_all(self) -> Program:
        """`mmu_notifier_release`."""
        yield srcu_read_lock("mm")
        for vm in (yield read("mm", "list")):
            yield from self.notifier_release(vm)
        yield lock("subscriptions")
        yield write("mm", "list", ())
        yield unlock("subscriptions")
        yield srcu_read_unlock("mm")
        yield from synchronize_srcu("mm")

    def notifier_release(self, vm: str) -> Program:
        """`kvm_mmu_notifier_release`."""
        yield srcu_read_lock(vm)
        yield from self.kernel.flush_shadow_all(vm)
        yield srcu_read_unlock(vm)

    def notifier_unregister(self, vm: str) -> Program:
        """`mmu_notifier_unregister`: "still hashed" is read without a lock."""
        if vm in (yield read("mm", "list")):
            yield srcu_read_lock("mm")
            yield from self.notifier_release(vm)
            yield srcu_read_unlock("mm")
            yield lock("subscriptions")
            left = yield read("mm", "list")
            yield write("mm", "list", tuple(one for one in left if one != vm))
            yield unlock("subscriptions")
        yield from synchronize_srcu("mm")
        yield from self.mmdrop()

    # ---- kvm -----------------------------------------------------------------------------------------------------
    def close(self, vm: str, what: str = "fd") -> Program:
        """One reference on a file (VM, vCPU, debugfs, guest_memfd, ...); its last is one of kvm's."""
        if (yield add(vm, what, -1)) == 0:
            yield from self.put_kvm(vm)

    def put_kvm(self, vm: str) -> Program:
        if (yield add(vm, "users", -1)) == 0:
            yield from self.destroy_vm(vm)

    def destroy_vm(self, vm: str) -> Program:
        yield from self.notifier_unregister(vm)
        yield from self.kernel.arch_destroy_vm(vm)
        yield free(vm)
        yield from self.mmdrop()

    def create_vm(self, vm: str, table: str) -> Program:
        """Its kvm, table, registration and VM fd, in a living mm."""
        yield alloc(vm)
        yield alloc(table)
        for name, value in {"entries": 1, "leaf": "guest"}.items():
            yield write(table, name, value)
        for name, value in {"users": 1, "fd": 1, "pgt": table, "nested_size": 0, "nobjs": 0}.items():
            yield write(vm, name, value)
        yield add("mm", "count", 2)
        yield lock("subscriptions")
        yield write("mm", "list", (vm, *(yield read("mm", "list"))))
        yield unlock("subscriptions")

    def delete_slot(self, vm: str) -> Program:
        """The last slot: no new readers, unmap; then `kvm_arch_commit_memory_region` frees the cache."""
        yield add(vm, "fd", 1)  # fdget
        yield lock(f"{vm}.slots_lock")
        yield from synchronize_srcu(vm)
        yield lock(f"{vm}.mmu_lock")
        yield from self.unmap(vm, blockable=True)
        yield unlock(f"{vm}.mmu_lock")
        yield from self.kernel.free_memory_cache(vm)
        yield unlock(f"{vm}.slots_lock")
        yield from self.close(vm)

    def vcpu_init(self, vm: str) -> Program:
        """`KVM_ARM_VCPU_INIT` adds an mmu to the nested ones (section 8, Jun 2026)."""
        yield add(vm, "fd", 1)
        yield lock(f"{vm}.config_lock")
        size = yield read(vm, "nested_size")
        array = yield read(vm, "nested")
        if self.kernel.old:
            grown = yield alloc("grown")
            for i in range(size):
                yield write(grown, f"mmu{i}", (yield read(array, f"mmu{i}")))
            yield free(array)
            yield write(vm, "nested", grown)
            yield write(vm, "nested_size", size + 1)
        else:  # the array has room for all
            mmu = yield alloc("mmu-new")
            yield lock(f"{vm}.mmu_lock")
            yield write(array, f"mmu{size}", mmu)
            yield write(vm, "nested_size", size + 1)
            yield unlock(f"{vm}.mmu_lock")
        yield unlock(f"{vm}.config_lock")
        yield from self.close(vm)

    # ---- others against a teardown -------------------------------------------------------------------------------
    def reclaim(self, what: str) -> Program:
        """Another task finds a page of this mm by reverse mapping: `age`, `unmap`, `unmap-nonblock`."""
        yield lock("rmap", shared=True)
        if (yield read("rmap", "mapped")):
            yield srcu_read_lock("mm")
            for one in (yield read("mm", "list")):
                yield srcu_read_lock(one)
                yield lock(f"{one}.mmu_lock")
                if what == "age":
                    yield from self.walk(one, blockable=False)
                else:
                    yield from self.unmap(one, blockable=what == "unmap")
                yield unlock(f"{one}.mmu_lock")
                yield srcu_read_unlock(one)
            yield srcu_read_unlock("mm")
            if what != "age":
                yield give_back("guest")
        yield unlock("rmap")

    def unmap(self, vm: str, blockable: bool) -> Program:
        """`kvm_unmap_gfn_range`, mmu_lock held for write: the VM's own table, then that of each nested mmu."""
        if self.kernel.variant == "riscv-7.3":
            yield from self.walk(vm, blockable)
            return
        if not self.kernel.arm64:
            yield from free_pages((yield from walk_and_clear(self.kernel, vm, PART)))
            return
        if (yield read(vm, "pgt")) is None:
            return
        yield from self.unmap_range(vm, vm, "pgt", blockable)
        i = 0
        while i < (yield read(vm, "nested_size")):
            obj, name = yield from self.kernel.nested_mmu((yield read(vm, "nested")), i)
            yield from self.unmap_range(vm, obj, name, blockable)
            i += 1

    def unmap_range(self, vm: str, obj: str | None, name: str, blockable: bool) -> Program:
        """Two steps; between them the lock may be dropped, and the table is read again."""
        for more in (True, False):
            pgt = yield read(obj, name)
            if pgt is None:
                return
            yield write(pgt, "leaf", None)
            if more and blockable:
                yield from self.lock_break(vm)

    def lock_break(self, vm: str) -> Program:
        yield unlock(f"{vm}.mmu_lock")
        yield might_sleep()
        yield lock(f"{vm}.mmu_lock")

    def walk(self, vm: str, blockable: bool) -> Program:
        """Ageing, and any walk of the kernels other than arm64: those copy pgd once, whatever the lock does later."""
        if self.kernel.arm64:
            pgt = yield read(vm, "pgt")
            if pgt is not None:
                yield read(pgt, "leaf")
            return
        pgd = yield read(vm, "pgd")
        if pgd is None:
            return
        for i in range(2):
            page = yield read(pgd, f"entry{i}")  # riscv: the page itself, in two steps
            if page is not None:
                yield read(page, "word0")
            if blockable and i == 0:
                yield from self.lock_break(vm)

    def dump(self, vm: str) -> Program:
        """A reader of the stage-2 debugfs dump, who has it open, and closes it."""
        yield lock(f"{vm}.mmu_lock")
        yield from self.walk(vm, blockable=False)
        yield unlock(f"{vm}.mmu_lock")
        yield from self.close(vm, "debugfs")

    def punch(self, vm: str) -> Program:
        """A hole in the guest_memfd: unmap under mmu_lock alone, from a task with any mm."""
        yield lock(f"{vm}.mmu_lock")
        yield from self.unmap(vm, blockable=True)
        yield unlock(f"{vm}.mmu_lock")
        yield from self.close(vm, "gmem")
