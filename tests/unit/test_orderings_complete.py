"""Orders of life-cycle steps, against an enumeration of its own: nothing is missing, and nothing is there twice.

The rules are written here once more, from what the steps do to descriptors and counts: every legal order is listed, and
two orders are one if swapping neighbours that do not matter to each other leads from one to the other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import pytest

from pyworkbench import orderings


class Step(NamedTuple):
    """A step of a task: `close`, of which VM, and of what (`vcpu0`, a slot, a task)."""

    task: str
    verb: str
    vm: int
    what: str
    text: str


class Task(NamedTuple):
    """A task: whose address space and files it has, and its first descriptors."""

    name: str
    mm: str
    files: str
    fds: tuple[str, ...]
    steps: tuple[Step, ...]


def read(text: str) -> list[Task]:
    """The tasks of a scenario's text."""
    tasks = []
    for line in text.split(";"):
        head, _, steps = line.partition(": ")
        _, name, *options = head.split()
        given = dict(option.split("=") for option in options)
        fds = tuple(fd if ":" in fd else f"1:{fd}" for fd in given.get("fds", "").split(",") if fd)
        own = tuple(read_step(name, one.strip()) for one in steps.split(", ") if one.strip())
        tasks.append(Task(name, given.get("mm", name), given.get("files", name), fds, own))
    return tasks


def read_step(task: str, text: str) -> Step:
    """`2:create_vcpu 0`, `close 2:vm`, `kill T1`."""
    verb, _, what = text.partition(" ")
    vm = 1
    if ":" in verb:
        number, verb = verb.split(":")
        vm = int(number)
    if ":" in what:
        number, what = what.split(":")
        vm = int(number)
    return Step(task, verb, vm, what, f"{task} {text}")


class State:
    """Who holds what. A reference on a VM is a pair of a descriptor and its holder, `flight` for a message."""

    def __init__(self, tasks: list[Task]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.left = {task.name: frozenset(task.steps) for task in tasks}
        self.dead: frozenset[str] = frozenset()
        self.refs = frozenset((fd, task.files) for task in tasks for fd in task.fds)
        self.extra: tuple[tuple[str, str], ...] = ()  # a task's holds on other address spaces
        self.made = {int(fd[0]): tasks[0].mm for fd, _ in self.refs}
        self.registered = frozenset(self.made)
        self.destroyed: frozenset[int] = frozenset()
        self.mm_gone: frozenset[str] = frozenset()
        self.slots = frozenset((vm, "0") for vm in self.made)

    def copy(self) -> State:
        new = State.__new__(State)
        new.__dict__.update(self.__dict__)
        new.left, new.made = dict(self.left), dict(self.made)
        return new

    def key(self) -> object:
        return (
            tuple(sorted(self.left.items())),
            self.dead,
            self.refs,
            tuple(sorted(self.extra)),
            tuple(sorted(self.made.items())),
            self.registered,
            self.destroyed,
            self.mm_gone,
            self.slots,
        )

    def is_legal(self, step: Step) -> bool:
        task = self.tasks[step.task]
        if step.task in self.dead or step not in self.left[step.task]:
            return False

        def has(what: str) -> bool:
            return (f"{step.vm}:{what}", task.files) in self.refs

        ours = has("vm") and self.made.get(step.vm) == task.mm
        slot = (step.vm, step.what or "0")
        return {
            "create_vm": lambda: step.vm not in self.made,
            "create_vcpu": lambda: ours and not has(f"vcpu{step.what}"),
            "create_slot": lambda: ours and slot not in self.slots,
            "delete_slot": lambda: ours and slot in self.slots,
            "close": lambda: has(step.what),
            "send": lambda: has(step.what) and (f"{step.vm}:{step.what}", "flight") not in self.refs,
            "receive": lambda: not has(step.what) and (f"{step.vm}:{step.what}", "flight") in self.refs,
            "exit": lambda: self.left[step.task] == {step},
            "exec": lambda: self.left[step.task] == {step},
            "kill": lambda: step.what not in self.dead,
            "get_mm": lambda: step.what not in self.dead,
            "put_mm": lambda: (step.task, self.tasks[step.what].mm) in self.extra,
        }[step.verb]()

    def do(self, step: Step) -> list[tuple[Any, ...]]:
        """Does a step; answers what of it can be told apart: who ended what, and which paths began."""
        self.left[step.task] -= {step}
        task, fd = self.tasks[step.task], f"{step.vm}:{step.what}"
        seen: list[tuple[Any, ...]] = []
        if step.verb == "create_vm":
            self.made[step.vm] = task.mm
            self.registered |= {step.vm}
            self.refs |= {(f"{step.vm}:vm", task.files)}
        elif step.verb == "create_vcpu":
            self.refs |= {(f"{step.vm}:vcpu{step.what}", task.files)}
        elif step.verb == "create_slot":
            self.slots |= {(step.vm, step.what or "0")}
        elif step.verb == "delete_slot":
            self.slots -= {(step.vm, step.what or "0")}
        elif step.verb == "close":
            self.drop(step.task, (fd, task.files), seen)
        elif step.verb == "send":
            self.refs |= {(fd, "flight")}
        elif step.verb == "receive":
            self.refs = self.refs - {(fd, "flight")} | {(fd, task.files)}
        elif step.verb in {"exit", "exec"}:
            self.leave(step.task, seen)
        elif step.verb == "kill":
            self.left[step.what] = frozenset()
            self.leave(step.what, seen)
        elif step.verb == "get_mm":
            self.extra += ((step.task, self.tasks[step.what].mm),)
        elif step.verb == "put_mm":
            self.let_go((step.task, self.tasks[step.what].mm), seen)
        return seen

    def drop(self, who: str, ref: tuple[str, str], seen: list[tuple[Any, ...]]) -> None:
        vm = int(ref[0][0])
        self.refs -= {ref}
        if not any(int(fd[0]) == vm for fd, _ in self.refs):
            self.destroyed |= {vm}
            seen.append((vm, "kvm_destroy_vm", who, vm in self.registered))
            self.registered -= {vm}

    def leave(self, who: str, seen: list[tuple[Any, ...]]) -> None:
        """The address space first, then the files."""
        task = self.tasks[who]
        self.dead |= {who}
        self.put_mm(who, task.mm, seen)
        for one in [one for one in self.extra if one[0] == who]:
            self.let_go(one, seen)
        if all(other.name in self.dead for other in self.tasks.values() if other.files == task.files):
            seen.append(("files", task.files, who))
            for ref in sorted(ref for ref in self.refs if ref[1] == task.files):
                self.drop(who, ref, seen)

    def let_go(self, one: tuple[str, str], seen: list[tuple[Any, ...]]) -> None:
        at = self.extra.index(one)
        self.extra = self.extra[:at] + self.extra[at + 1 :]
        self.put_mm(one[0], one[1], seen)

    def put_mm(self, who: str, mm: str, seen: list[tuple[Any, ...]]) -> None:
        users = [task.name for task in self.tasks.values() if task.mm == mm and task.name not in self.dead]
        if users or any(held == mm for _, held in self.extra):
            return
        self.mm_gone |= {mm}
        seen.append(("mm", mm, who))
        for vm in sorted(vm for vm, of in self.made.items() if of == mm):
            seen.append((vm, "exit_mmap", who, vm in self.registered))
            self.registered -= {vm}


def every_order(tasks: list[Task]) -> list[tuple[Step, ...]]:
    """All legal orders."""
    found: list[tuple[Step, ...]] = []

    def go(state: State, order: tuple[Step, ...]) -> None:
        if not any(state.left.values()):
            found.append(order)
            return
        for task in tasks:
            for step in task.steps:
                if state.is_legal(step):
                    after = state.copy()
                    after.do(step)
                    go(after, (*order, step))

    go(State(tasks), ())
    return found


def commute(state: State, one: Step, two: Step) -> bool:
    """Whether either order of two steps is legal, and nothing tells which it was."""
    outcomes = []
    for steps in [(one, two), (two, one)]:
        after, seen = state.copy(), {}
        for step in steps:
            if not after.is_legal(step):
                return False
            seen[step] = after.do(step)
        outcomes.append((after.key(), seen))
    return outcomes[0] == outcomes[1]


def classes(tasks: list[Task]) -> tuple[dict[tuple[str, ...], int], dict[tuple[str, ...], list[tuple[Any, ...]]]]:
    """Each order's class, and the paths that it begins."""
    orders = every_order(tasks)
    places = {order: place for place, order in enumerate(orders)}
    parent = list(range(len(orders)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    began: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for place, order in enumerate(orders):
        state, seen = State(tasks), []
        for at, step in enumerate(order):
            if at + 1 < len(order) and commute(state, step, order[at + 1]):
                swapped = (*order[:at], order[at + 1], step, *order[at + 2 :])
                parent[root(place)] = root(places[swapped])
            seen += state.do(step)
        began[tuple(one.text for one in order)] = [one for one in seen if len(one) == 4]
    return {tuple(one.text for one in order): root(place) for order, place in places.items()}, began


SETS = [
    "task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm",
    "task T1: create_vm, create_vcpu 0, create_slot, close vcpu0, close vm, exit",
    "task T1: create_vm, create_vcpu 0, create_vcpu 1, close vcpu0, close vcpu1, close vm",
    "task T1: create_vm, create_vcpu 0, send vcpu0, close vm, exit; task T2: receive vcpu0, close vcpu0",
    "task T1: create_vm, send vm, close vm, exit; task T2: receive vm, close vm, exit",
    "task T1: create_vm, send vm, exec; task T2: receive vm, close vm, exit",
    "task T1 fds=vm,vcpu0: close vcpu0, exec; task T2 fds=vm: close vm",
    "task T1 fds=vm,vcpu0,vcpu1: close vm, close vcpu0, close vcpu1, exit; task K: kill T1",
    "task T1 fds=vm: delete_slot, close vm, exit; task K: kill T1; task R: get_mm T1, put_mm T1",
    "task T1 fds=vm: close vm, 2:create_vm, 2:create_slot, close 2:vm, exit",
    "task T1 fds=vm,2:vm: close vm, exit; task T2 fds=vm,2:vm: close 2:vm, close vm",
    "task T1 fds=vm: close vm, exit; task T2 mm=T1 fds=vm: close vm, exit",
    "task T1 fds=vm,vcpu0: close vcpu0, exit; task T2 mm=T1 files=T1: delete_slot, close vm, exec; task K: kill T2",
    "task T1 fds=vm: exit; task T2 files=T1: close vm, exit; task T3 fds=vm: close vm",
]


@pytest.mark.parametrize("text", SETS)
def test_each_class_of_orders_is_there_once(text: str) -> None:
    of_order, began = classes(read(text))
    frame = orderings(text)
    listed = [tuple(order.split("; ")) for order in frame["order"]]
    assert set(listed) <= set(of_order), "an order that is not legal"
    counts = Counter(of_order[order] for order in listed)
    assert set(counts) == set(of_order.values()), "a class is missing"
    assert set(counts.values()) == {1}, "a class is there twice"
    for order, row in zip(listed, frame.to_dict("records"), strict=True):
        flushed = Counter(path[0] for path in began[order] if path[3])
        assert row["flushes"] == max(flushed.values(), default=0), order
        said: Counter[str] = Counter()
        for vm, function, task, flushes in began[order]:
            path = f"{function}{'' if vm == 1 else f' of VM {vm}'} by {task}"
            said[path if flushes else f"({path})"] += 1
        assert Counter(row["paths"].split(", ")) == said, order
