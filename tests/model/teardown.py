"""What `kvm_arch_flush_shadow_all` and `kvm_arch_destroy_vm` do, by kernel and by strategy (facts, sections 3 and 7).

`Kernel` is a variant with a strategy. A VM is an object (`vm`) with `struct kvm_arch`'s fields: `pgt`, `nested` and
`nested_size`, `objects` and `nobjs` of the split page cache, `pgd` of the kernels that have no `struct kvm_pgtable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actions import assert_held, free, lock, might_sleep, read, unlock, visit, write
from plain_table import free_pages, walk_and_clear

if TYPE_CHECKING:
    from actions import Program

STRATEGIES = (
    "none",
    "lock-flush",
    "lock-flush-naive",
    "lock-flush-free-outside",
    "lock-generic",
    "claim-under-lock",
    "defer-to-destroy",
    "slots-lock",
)


@dataclass(frozen=True)
class Kernel:
    """A variant and a strategy; else the wrong versions of the regression corpus, and what arrays are made of."""

    variant: str = "arm64-7.3"
    strategy: str = "none"
    early_return: bool = False
    """Feb 2026: flush returns at once when there are no nested mmus."""
    whole_destroy: bool = False
    """Jul 2025: the table is destroyed in one walk."""
    vmalloc: bool = False
    """Arrays come from vmalloc: freeing one may sleep."""

    @property
    def arm64(self) -> bool:
        return self.variant.startswith("arm64")

    @property
    def old(self) -> bool:
        return self.variant == "arm64-6.12"

    # ---- helpers -------------------------------------------------------------------------------------------------
    def kvfree(self, array: str | None) -> Program:
        if self.vmalloc and array is not None:
            yield might_sleep()
        yield free(array)

    def destroy_table(self, pgt: str | None) -> Program:
        """The table of `pgt`, in two ranges; it was taken out, or the lock is held."""
        if pgt is None:
            return
        entries = yield read(pgt, "entries")
        yield visit(entries)
        if not self.old and not self.whole_destroy:
            yield might_sleep()  # cond_resched between ranges
        yield read(pgt, "entries")
        yield visit(entries)
        yield free(pgt)

    def free_stage2_pgd(self, vm: str, obj: str | None, name: str) -> Program:
        """`kvm_free_stage2_pgd` of the mmu whose table is the word `name` of `obj`."""
        whole = self.strategy == "lock-flush"
        yield assert_held(f"{vm}.mmu_lock") if whole else lock(f"{vm}.mmu_lock")
        pgt = yield read(obj, name)
        if pgt is not None:
            yield write(obj, name, None)
        if not whole:
            yield unlock(f"{vm}.mmu_lock")
        yield from self.destroy_table(pgt)

    def free_memory_cache(self, vm: str) -> Program:
        """`kvm_mmu_free_memory_cache`: nobjs is read once a turn, for the test and for the decrement."""
        while nobjs := (yield read(vm, "nobjs")):
            yield write(vm, "nobjs", nobjs - 1)
            page = yield read((yield read(vm, "objects")), f"page{nobjs - 1}")
            yield free(page)
        yield from self.kvfree((yield read(vm, "objects")))
        yield write(vm, "objects", None)

    def claim_memory_cache(self, vm: str) -> Program:
        """Under the lock: takes array and count out."""
        objects = yield read(vm, "objects")
        nobjs = yield read(vm, "nobjs")
        yield write(vm, "objects", None)
        yield write(vm, "nobjs", 0)
        return objects, nobjs

    def free_claimed(self, cache: tuple[str | None, int]) -> Program:
        objects, nobjs = cache
        while nobjs:
            nobjs -= 1
            page = yield read(objects, f"page{nobjs}")
            yield free(page)
        yield from self.kvfree(objects)

    def split_cache(self, vm: str) -> Program:
        """How the strategy frees the cache where flush does."""
        if self.strategy == "claim-under-lock":
            yield lock(f"{vm}.mmu_lock")
            cache = yield from self.claim_memory_cache(vm)
            yield unlock(f"{vm}.mmu_lock")
            yield from self.free_claimed(cache)
        elif self.strategy == "slots-lock":
            yield lock(f"{vm}.slots_lock")
            yield from self.free_memory_cache(vm)
            yield unlock(f"{vm}.slots_lock")
        elif self.strategy != "defer-to-destroy":
            yield from self.free_memory_cache(vm)

    def uninit_stage2_mmu(self, vm: str) -> Program:
        yield from self.free_stage2_pgd(vm, vm, "pgt")
        yield from self.split_cache(vm)

    # ---- flush ---------------------------------------------------------------------------------------------------
    def flush_shadow_all(self, vm: str) -> Program:
        """The generic function."""
        if self.strategy == "lock-generic":
            yield lock(f"{vm}.mmu_lock")
        yield from self._arch_flush(vm)
        if self.strategy == "lock-generic":
            yield unlock(f"{vm}.mmu_lock")

    def _arch_flush(self, vm: str) -> Program:
        around = self.strategy in ("lock-flush", "lock-flush-naive")  # arm64's helper takes it again, or not
        if self.variant == "riscv-7.3":
            yield from self._flush_riscv(vm)
            return
        if self.early_return and not (yield read(vm, "nested_size")):
            return
        if self.arm64 and self.strategy == "lock-flush-free-outside":
            yield from self._take_all_then_free(vm)
            return
        if around:
            yield lock(f"{vm}.mmu_lock")
        if self.arm64:
            yield from self._flush_arm64(vm)
        else:
            if self.strategy == "lock-flush-free-outside":
                yield lock(f"{vm}.mmu_lock")
            pages = yield from walk_and_clear(self, vm)
            if self.strategy == "lock-flush-free-outside":
                yield unlock(f"{vm}.mmu_lock")
            yield from free_pages(pages)
        if around:
            yield unlock(f"{vm}.mmu_lock")

    def _flush_arm64(self, vm: str) -> Program:
        if self.old and self.strategy == "claim-under-lock":
            yield lock(f"{vm}.mmu_lock")
            array, size = (yield read(vm, "nested")), (yield read(vm, "nested_size"))
            yield write(vm, "nested", None)
            yield write(vm, "nested_size", 0)
            yield unlock(f"{vm}.mmu_lock")
            for i in range(size):
                yield from self.free_stage2_pgd(vm, array, f"mmu{i}")
            yield from self.kvfree(array)
        else:
            i = 0
            while i < (yield read(vm, "nested_size")):
                yield from self.free_stage2_pgd(vm, *(yield from self.nested_mmu((yield read(vm, "nested")), i)))
                i += 1
            if self.old and self.strategy != "defer-to-destroy":
                yield from self.kvfree((yield read(vm, "nested")))
                yield write(vm, "nested", None)
                yield write(vm, "nested_size", 0)
        yield from self.uninit_stage2_mmu(vm)

    def nested_mmu(self, array: str | None, i: int) -> Program:
        """Object and word of a nested mmu's table. 6.12: an element of the array. 7.3: the array points to the mmu."""
        if self.old:
            return array, f"mmu{i}"
        return (yield read(array, f"mmu{i}")), "pgt"

    def _take_all_then_free(self, vm: str) -> Program:
        tables = []
        yield lock(f"{vm}.mmu_lock")
        size = yield read(vm, "nested_size")
        array = yield read(vm, "nested")
        for i in range(size):
            obj, name = yield from self.nested_mmu(array, i)
            tables.append((yield read(obj, name)))
            yield write(obj, name, None)
        if self.old:
            yield write(vm, "nested", None)
            yield write(vm, "nested_size", 0)
        tables.append((yield read(vm, "pgt")))
        yield write(vm, "pgt", None)
        cache = yield from self.claim_memory_cache(vm)
        yield unlock(f"{vm}.mmu_lock")
        for pgt in tables:
            yield from self.destroy_table(pgt)
        if self.old:
            yield from self.kvfree(array)
        yield from self.free_claimed(cache)

    def _flush_riscv(self, vm: str) -> Program:
        """Its own lock, around all but pgd page and cache; `lock-flush` stretches it, the others move the cache."""
        cache = None
        if self.strategy == "lock-flush-naive":
            yield lock(f"{vm}.mmu_lock")
        yield lock(f"{vm}.mmu_lock")
        pgd = yield read(vm, "pgd")
        if pgd is not None:
            entries = yield read(pgd, "entries")
            yield visit(2 * entries)  # the whole range, without a break
            yield write(pgd, "leaf", None)
            yield write(vm, "pgd", None)
        if self.strategy == "lock-flush-free-outside":
            cache = yield from self.claim_memory_cache(vm)
        if self.strategy != "lock-flush":
            yield unlock(f"{vm}.mmu_lock")
        yield free(pgd)
        if cache is None:
            yield from self.split_cache(vm)
        else:
            yield from self.free_claimed(cache)
        if self.strategy == "lock-flush":
            yield unlock(f"{vm}.mmu_lock")

    # ---- destroy_vm ----------------------------------------------------------------------------------------------
    def arch_destroy_vm(self, vm: str) -> Program:
        """After the notifier is gone."""
        if self.arm64:
            if not self.old:
                yield from self.uninit_stage2_mmu(vm)
            if self.strategy == "defer-to-destroy":
                yield from self.free_memory_cache(vm)
            if not self.old or self.strategy == "defer-to-destroy":
                yield from self._destroy_nested(vm)
            return
        if self.variant == "riscv-7.3":
            if self.strategy == "defer-to-destroy":
                yield from self.free_memory_cache(vm)
            return
        if self.variant == "mips-7.3":
            yield from free_pages((yield from walk_and_clear(self, vm)))
        yield from self.kvfree((yield read(vm, "pgd")))

    def _destroy_nested(self, vm: str) -> Program:
        array = yield read(vm, "nested")
        if not self.old:
            for i in range((yield read(vm, "nested_size"))):
                yield free((yield read(array, f"mmu{i}")))
        yield from self.kvfree(array)
