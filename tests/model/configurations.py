"""The configurations that are compared: what each scenario has at the beginning, its tasks, and the table of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actions import alloc, free, read, visit, write
from checker import Answer, check
from lifecycle import Tasks
from teardown import STRATEGIES, Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from actions import Program

    Objects = dict[str, dict[str, Any]]
    Programs = dict[str, Callable[[str], Program]]
    Scenario = Callable[[Kernel], tuple[Objects, Programs]]


@dataclass(frozen=True)
class Configuration:
    """A cell: names are those of `pwb explore --list`."""

    scenario: str
    variant: str
    strategy: str = "none"

    def __str__(self) -> str:
        return f"{self.scenario} {self.variant} {self.strategy}"


def world(
    kernel: Kernel,
    *,
    users: int = 1,
    fd: int = 1,
    others: tuple[str, ...] = (),
    cache: int | None = None,
    nested: bool = False,
    entries: int = 1,
    vms: tuple[str, ...] = ("kvm",),
    stays: tuple[str, ...] = ("rmap",),
) -> Objects:
    """An mm with its VMs. `fd` counts who has the VM's file, `others` are more files, `cache` is the pages in it.

    Everything here, and what tasks allocate, must be gone at the end, but for what `stays`.
    """
    objects: Objects = {"mm": {"users": users, "count": 1 + 2 * len(vms), "list": vms}, "rmap": {"mapped": True}}
    for vm in vms:
        arch: dict[str, Any] = {"users": bool(fd) + len(others), "fd": fd, "nested_size": 0, "nobjs": cache or 0}
        arch |= dict.fromkeys(others, 1)
        objects[vm] = arch
        if kernel.arm64:
            arch["pgt"] = f"{vm}-pgt"
            objects[f"{vm}-pgt"] = {"entries": entries, "leaf": "guest"}
        else:
            arch["pgd"] = f"{vm}-pgd"
            objects[f"{vm}-pgd"] = {"entries": entries, "leaf": "guest"}
        if kernel.variant in ("loongarch-7.3", "mips-7.3"):
            objects[f"{vm}-pgd"] = {"entry0": f"{vm}-page"}
            objects[f"{vm}-page"] = {"word0": "guest", "word1": "guest"}
        if cache is not None and kernel.variant not in ("loongarch-7.3", "mips-7.3"):
            arch["objects"] = f"{vm}-objects"
            objects[f"{vm}-objects"] = {f"page{i}": f"{vm}-cached{i}" for i in range(cache)}
            objects |= {f"{vm}-cached{i}": {} for i in range(cache)}
        if nested:
            arch |= {"nested": f"{vm}-nested", "nested_size": 1}
            table = f"{vm}-nested-pgt"
            objects[table] = {"entries": entries, "leaf": "shadow"}
            objects[f"{vm}-nested"] = {"mmu0": table if kernel.old else f"{vm}-mmu0"}
            if not kernel.old:
                objects[f"{vm}-mmu0"] = {"pgt": table}
    for obj in objects if stays == ("all",) else stays:
        objects[obj]["stays"] = True
    return objects


def race(**have: Any) -> Scenario:
    """exit_mmap in one task, the last close in another (section 1); `exec` is the same."""

    def build(kernel: Kernel) -> tuple[Objects, Programs]:
        tasks = Tasks(kernel)
        return world(kernel, **have), {"T1": lambda _: tasks.mmput(), "T2": lambda _: tasks.close("kvm")}

    return build


def alone(*order: str, other: str | None = None, **have: Any) -> Scenario:
    """One task takes `order`; beside it, if said, `other`: reclaim, or who uses a file and closes it."""

    def build(kernel: Kernel) -> tuple[Objects, Programs]:
        tasks = Tasks(kernel)
        steps: dict[str, Callable[[], Program]] = {
            "exit_mm": tasks.mmput,
            "close": lambda: tasks.close("kvm"),
            "delete_slot": lambda: tasks.delete_slot("kvm"),
            "vcpu_init": lambda: tasks.vcpu_init("kvm"),
            "second": lambda: tasks.create_vm("second", "second-pgt"),
            "close second": lambda: tasks.close("second"),
            "create error": lambda: create_error(tasks),
            "ranges": lambda: stale_ranges(kernel),
        }

        def main(_: str) -> Program:
            for step in order:
                yield from steps[step]()

        programs: Programs = {"T1": main}
        against = {"dump": tasks.dump, "punch": tasks.punch}
        if other in ("age", "unmap", "unmap-nonblock"):
            programs["reclaim"] = lambda _: tasks.reclaim(other)
        elif other is not None:
            programs["T2"] = lambda _: against[other]("kvm")
        return world(kernel, **have), programs

    return build


def threads(*orders: tuple[str, ...], vms: tuple[str, ...] = ("kvm",), **have: Any) -> Scenario:
    """Several tasks: each takes `exit_mm`, `close VM`, `delete_slot`."""

    def build(kernel: Kernel) -> tuple[Objects, Programs]:
        tasks = Tasks(kernel)

        def task(order: tuple[str, ...]) -> Callable[[str], Program]:
            def run(_: str) -> Program:
                for step in order:
                    if step == "exit_mm":
                        yield from tasks.mmput()
                    elif step == "delete_slot":
                        yield from tasks.delete_slot("kvm")
                    else:
                        yield from tasks.close(step.removeprefix("close "))

            return run

        return world(kernel, vms=vms, **have), {f"T{i}": task(order) for i, order in enumerate(orders, 1)}

    return build


def create_error(tasks: Tasks) -> Program:
    """Creation fails after the table's: `kvm_uninit_stage2_mmu` without mmu_lock, in a VM that nobody knows yet."""
    vm = yield alloc("failed")
    table = yield alloc("failed-pgt")
    yield write(table, "entries", 1)
    for name, value in {"pgt": table, "nested_size": 0, "nobjs": 0}.items():
        yield write(vm, name, value)
    yield from tasks.kernel.uninit_stage2_mmu(vm)
    yield free(vm)


def stale_ranges(kernel: Kernel) -> Program:
    """A root's one entry leads to a child that both ranges share. Wrong: each frees it, and leaves the root's entry."""
    root, child = (yield alloc("root")), (yield alloc("child"))
    leaves = [(yield alloc("below0")), (yield alloc("below1"))]
    yield write(root, "entry", child)
    for i, leaf in enumerate(leaves):
        yield write(child, f"entry{i}", leaf)
    yield write(child, "count", 3)
    for i in range(2):
        at = yield read(root, "entry")
        yield visit(1)
        yield free((yield read(at, f"entry{i}")))
        yield write(at, f"entry{i}", None)
        count = (yield read(at, "count")) - 1
        yield write(at, "count", count)
        if kernel.variant == "arm64-stale-ranges":
            yield free(at)
        elif count == 1:
            yield free(at)
            yield write(root, "entry", None)
    yield free(root)


KILL = ("exit_mm", "close")
LEAVE = ("exit_mm", "close kvm")

SCENARIOS: dict[str, Scenario] = {
    "flush-race": race(),
    "flush-race-filled": race(cache=1),
    "flush-race-used-up": race(cache=0),
    "flush-race-nested": race(nested=True),
    "flush-race-vmalloc": race(nested=True, cache=1),
    "exec-race": race(cache=1),
    "smaps-race": threads(LEAVE, ("exit_mm",), users=2, cache=1),
    "debugfs-race": alone("exit_mm", other="dump", fd=0, others=("debugfs",), cache=1),
    "gmem-race": alone("exit_mm", other="punch", fd=0, others=("gmem",), cache=1),
    "second-vm-race": threads(("exit_mm", "close b"), ("close a",), vms=("b", "a"), cache=1),
    "kill": alone(*KILL, cache=1, nested=True),
    "kill-threads": threads(LEAVE, LEAVE, users=2, fd=2, cache=1),
    "second-vm": alone("close", "second", "exit_mm", "close second", cache=1),
    "flush-alone": alone("close", "exit_mm", cache=1, nested=True),
    "held-elsewhere": alone("exit_mm", cache=1, stays=("all",)),
    "flush-age": alone(*KILL, other="age"),
    "flush-unmap": alone(*KILL, other="unmap"),
    "flush-unmap-nonblock": alone(*KILL, other="unmap-nonblock"),
    "flush-unmap-nested": alone(*KILL, other="unmap", nested=True),
    "destroy-unmap": alone("close", other="unmap", stays=("rmap", "mm")),
    "flush-dump": alone(*KILL, other="dump", others=("debugfs",)),
    "flush-punch": alone(*KILL, other="punch", others=("gmem",)),
    "grow-unmap": alone("vcpu_init", other="unmap", nested=True, stays=("all",)),
    "objection-create-error": alone("create error", "exit_mm", vms=()),
    "objection-commit": threads(("delete_slot", *LEAVE), ("close kvm",), fd=2, cache=1),
    "objection-commit-threads": threads(("delete_slot", *LEAVE), LEAVE, ("close kvm",), users=2, fd=3, cache=1),
    "stall": alone("close", entries=3, stays=("rmap", "mm")),
    "stale-ranges": alone("ranges", vms=(), stays=("rmap", "mm")),
}


MADE = ("second", "second-pgt", "failed", "failed-pgt", "root", "child", "below0", "below1")
"""What tasks allocate and must be gone."""


def kernel_of(configuration: Configuration) -> Kernel:
    variant = configuration.variant
    return Kernel(
        variant={"arm64-whole-destroy": "arm64-7.3", "arm64-early-return": "arm64-7.3"}.get(variant, variant),
        strategy=configuration.strategy,
        early_return=variant == "arm64-early-return",
        whole_destroy=variant == "arm64-whole-destroy",
        vmalloc=configuration.scenario == "flush-race-vmalloc",
    )


def _cells(scenario: str, variants: str, strategies: str = "none") -> list[Configuration]:
    return [Configuration(scenario, one, how) for one in variants.split() for how in strategies.split()]


ALL = " ".join(STRATEGIES)

CONFIGURATIONS: tuple[Configuration, ...] = (
    # The May 2026 race, by what flush finds, under every strategy.
    *_cells("flush-race", "arm64-6.12 arm64-7.3", "none"),
    *_cells("flush-race-nested", "arm64-6.12", ALL),
    *_cells("flush-race-nested", "arm64-7.3", "none defer-to-destroy"),
    *_cells("flush-race-filled", "arm64-7.3", ALL),
    *_cells("flush-race-filled", "arm64-6.12", "none lock-flush"),
    *_cells("flush-race-used-up", "arm64-7.3", "none claim-under-lock"),
    *_cells("flush-race-vmalloc", "arm64-6.12", "lock-flush lock-flush-free-outside"),
    # Other architectures.
    *_cells("flush-race", "riscv-7.3", "none lock-generic"),
    *_cells("flush-race-filled", "riscv-7.3", "none claim-under-lock"),
    *_cells("flush-race", "loongarch-7.3 mips-7.3", "none lock-generic lock-flush-free-outside"),
    # Orders of close and exit; who else can be the last.
    *_cells("smaps-race", "arm64-7.3", "none"),
    *_cells("debugfs-race", "arm64-7.3", "none"),
    *_cells("gmem-race", "arm64-7.3", "none"),
    *_cells("second-vm-race", "arm64-6.12", "none claim-under-lock"),
    *_cells("second-vm", "arm64-7.3", "none"),
    *_cells("kill", "arm64-6.12 arm64-7.3", "none"),
    *_cells("kill-threads", "arm64-7.3", "none"),
    *_cells("flush-alone", "arm64-7.3", "none lock-flush"),
    # One flush against others.
    *_cells("flush-age", "arm64-7.3 riscv-7.3 loongarch-7.3 mips-7.3", "none"),
    *_cells("flush-unmap", "arm64-7.3 riscv-7.3 loongarch-7.3 mips-7.3", "none"),
    *_cells("flush-unmap-nonblock", "riscv-7.3", "none"),
    *_cells("flush-unmap-nested", "arm64-6.12", "none claim-under-lock defer-to-destroy"),
    *_cells("flush-unmap-nested", "arm64-7.3", "none"),
    *_cells("destroy-unmap", "arm64-7.3", "none"),
    *_cells("flush-dump", "arm64-7.3", "none"),
    *_cells("flush-punch", "arm64-7.3", "none"),
    # What reviewers said.
    *_cells("objection-create-error", "arm64-6.12", "none lock-flush"),
    *_cells("objection-commit", "arm64-7.3", "claim-under-lock slots-lock"),
    *_cells("objection-commit-threads", "arm64-7.3", "claim-under-lock slots-lock"),
    # The regression corpus, before and after the fix; May 2026 is above.
    *_cells("stall", "arm64-whole-destroy arm64-7.3 riscv-7.3", "none"),
    *_cells("stale-ranges", "arm64-stale-ranges arm64-7.3", "none"),
    *_cells("held-elsewhere", "arm64-early-return arm64-7.3", "none"),
    *_cells("grow-unmap", "arm64-6.12 arm64-7.3", "none"),
)


def answer(configuration: Configuration, kernel: Kernel | None = None) -> Answer:
    """What the model says; of another kernel, if said."""
    objects, programs = SCENARIOS[configuration.scenario](kernel or kernel_of(configuration))
    must_go = (one for one, fields in objects.items() if "stays" not in fields)
    return check(objects, programs, (*must_go, *MADE))
