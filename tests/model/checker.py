"""A small explicit-state model checker: breadth first over all interleavings, states told apart by their value.

A thread is a Python generator that yields requests (`read`, `write`, `lock`, `free`, ...) and is sent their results; one
request is one atomic step. What a thread knows is exactly what it was told so far, so the tree of those histories stands
for its program counter and locals, and a state is (shared words, one node of that tree a thread). An interleaving ends
at its first harm, when every thread is done, or when nobody can go on.

    >>> def closer(_):
    ...     yield free((yield read("kvm", "objects")))
    >>> sorted(check({"kvm": {"objects": "array"}, "array": {}}, {"T1": closer, "T2": closer}, must_go=()).kinds)
    ['double-free']
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    Program = Generator[tuple[Any, ...], Any, Any]

SPINNING = ("mmu_lock", "subscriptions")
"""Locks that spin, by the end of their name: nothing under them may sleep."""

DONE = ("done",)
STALL = 4
"""Entries that a thread may visit between two points where the scheduler may run."""


# Requests. An object is a name, or None for NULL; its fields are words. `free` ends an object.
def read(obj: str | None, name: str) -> tuple[Any, ...]:
    return ("read", obj, name)


def write(obj: str | None, name: str, value: Any) -> tuple[Any, ...]:
    return ("write", obj, name, value)


def add(obj: str, name: str, by: int) -> tuple[Any, ...]:
    """An atomic count; the answer is the new value."""
    return ("add", obj, name, by)


def swap(obj: str, name: str, value: Any = None) -> tuple[Any, ...]:
    """An atomic exchange; the answer is the old value."""
    return ("swap", obj, name, value)


def free(obj: str | None) -> tuple[Any, ...]:
    """Frees an object; NULL is allowed, as kfree does."""
    return ("free", obj)


def alloc(obj: str) -> tuple[Any, ...]:
    return ("alloc", obj)


def on_stack(obj: str) -> tuple[Any, ...]:
    """An object of this thread alone, by name, which nobody may free; the answer is its full name."""
    return ("stack", obj)


def lock(name: str, shared: bool = False) -> tuple[Any, ...]:
    return ("lock", name, shared)


def unlock(name: str) -> tuple[Any, ...]:
    return ("unlock", name)


def srcu_read_lock(name: str) -> tuple[Any, ...]:
    return ("srcu", name)


def srcu_read_unlock(name: str) -> tuple[Any, ...]:
    return ("srcu-end", name)


def synchronize_srcu(name: str) -> Program:
    """Waits for the readers of the moment at which it begins, not for later ones."""
    readers = yield ("snapshot", name)
    yield ("wait", name, readers)


def might_sleep() -> tuple[Any, ...]:
    """Also `cond_resched`: the scheduler may run."""
    return ("sleep",)


def visit(entries: int) -> tuple[Any, ...]:
    return ("visit", entries)


def assert_held(name: str) -> tuple[Any, ...]:
    return ("assert", name)


def give_back(pages: str) -> tuple[Any, ...]:
    """The mm frees the guest's pages: no table that an mmu still has may map them."""
    return ("give-back", pages)


@dataclass
class Answer:
    """What all interleavings together can do: `kinds` of harm that come first in one, with objects and a ladder each."""

    kinds: set[str] = field(default_factory=set)
    objects: set[tuple[str, str]] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)
    ladders: dict[str, list[str]] = field(default_factory=dict)
    states: int = 0

    @property
    def verdict(self) -> str:
        return "Bug" if self.kinds else "Proved"


class _Harm(Exception):  # noqa: N818 (it is a finding, not an error)
    def __init__(self, kind: str, obj: str) -> None:
        self.kind, self.obj = kind, obj


class _Thread:
    """The tree of a thread's histories; a node is made by running the program again with what it was told."""

    def __init__(self, program: Callable[[str], Program], name: str) -> None:
        self._program, self._name = program, name
        self._told: list[tuple[Any, ...]] = []
        self._next: dict[tuple[int, Any], int] = {}
        self.request: list[tuple[Any, ...]] = []
        self._grow(())

    def _grow(self, told: tuple[Any, ...]) -> int:
        running = self._program(self._name)
        try:
            request = next(running)
            for value in told:
                request = running.send(value)
        except StopIteration:
            request = DONE
        self._told.append(told)
        self.request.append(request)
        return len(self.request) - 1

    def after(self, node: int, value: Any) -> int:
        if (node, value) not in self._next:
            self._next[node, value] = self._grow((*self._told[node], value))
        return self._next[node, value]


def _blockers(words: dict[str, Any], name: str, request: tuple[Any, ...]) -> set[str]:
    """The threads that this request waits for; itself, if it waits for what it holds."""
    if request[0] == "lock":
        holders = words.get("lock " + request[1]) or ()
        return {who for who, shared in holders if not (shared and request[2])}
    if request[0] == "wait":
        return {who for who, _ in request[2] & (words.get("srcu " + request[1]) or frozenset())}
    return set()


def _word(words: dict[str, Any], obj: str | None, name: str) -> str:
    if obj is None:
        raise _Harm("null-dereference", name)
    if words[obj] != "live":
        raise _Harm("use-after-free", obj)
    return f"{obj}.{name}"


def _no_sleep(held: Iterable[str]) -> None:
    for one in held:
        if one.endswith(SPINNING):
            raise _Harm("sleep-in-atomic", one)


def _step(words: dict[str, Any], me: str, serial: int, request: tuple[Any, ...], rules: set[str]) -> Any:
    """Does one request that is not blocked, in place; the answer goes to the thread."""
    op, what = request[0], request[1] if len(request) > 1 else None
    held: tuple[str, ...] = words.get("held " + me) or ()
    if op == "read":
        return words.get(_word(words, what, request[2]))
    if op == "write":
        words[_word(words, what, request[2])] = request[3]
    elif op == "add":
        key = _word(words, what, request[2])
        words[key] += request[3]
        return words[key]
    elif op == "swap":
        key = _word(words, what, request[2])
        old, words[key] = words.get(key), request[3]
        return old
    elif op == "free":
        if what is not None and what.startswith("stack "):
            raise _Harm("bad-free", what)
        if what is not None and words[what] != "live":
            raise _Harm("double-free", what)
        if what is not None:
            words[what] = "freed"
    elif op == "stack":
        words[f"stack {me} {what}"] = "live"
        return f"stack {me} {what}"
    elif op == "alloc":
        words[what] = "live"
        return what
    elif op == "lock":
        if not what.endswith(SPINNING):
            _no_sleep(held)
        if what.endswith("slots_lock") and any(one.startswith("srcu ") for one in held):
            rules.add("lock-order")
        words["lock " + what] = (*(words.get("lock " + what) or ()), (me, request[2]))
        words["held " + me] = (*held, what)
    elif op == "unlock":
        words["lock " + what] = tuple(one for one in words["lock " + what] if one[0] != me)
        words["held " + me] = tuple(one for one in held if one != what)
    elif op == "srcu":
        words["srcu " + what] = (words.get("srcu " + what) or frozenset()) | {(me, serial)}
        words["held " + me] = (*held, "srcu " + what)
    elif op == "srcu-end":
        mine = {one for one in words["srcu " + what] if one[0] == me}
        words["srcu " + what] -= mine
        words["held " + me] = tuple(one for one in held if one != "srcu " + what)
    elif op == "snapshot":
        _no_sleep(held)
        return words.get("srcu " + what) or frozenset()
    elif op == "sleep":
        _no_sleep(held)
        words["visited " + me] = 0
    elif op == "visit":
        words["visited " + me] = (words.get("visited " + me) or 0) + what
        if words["visited " + me] > STALL:
            raise _Harm("stall", me)
    elif op == "assert" and what not in held:
        rules.add("not-held")
    elif op == "give-back":
        for key, table in list(words.items()):
            if key.endswith(".pgt") and words.get(key[:-4]) == "live" and words.get(f"{table}.leaf") == what:
                raise _Harm("leaf-reaches-freed-memory", table)
        words["given " + what] = True
    return None


def _cycle(waits: Mapping[str, set[str]]) -> bool:
    """Whether a thread waits for itself, over whatever others."""
    for start in waits:
        seen: set[str] = set()
        todo = set(waits[start])
        while todo:
            one = todo.pop()
            if one == start:
                return True
            if one not in seen:
                seen.add(one)
                todo |= waits.get(one, set())
    return False


def check(
    objects: Mapping[str, Mapping[str, Any]],
    programs: Mapping[str, Callable[[str], Program]],
    must_go: Iterable[str],
    most: int = 400_000,
) -> Answer:
    """Visits every state that the threads can reach from `objects`; `must_go` names what no end may leave behind."""
    words: dict[str, Any] = dict.fromkeys(objects, "live")
    words |= {f"{obj}.{name}": value for obj, fields in objects.items() for name, value in fields.items()}
    threads = {name: _Thread(program, name) for name, program in programs.items()}
    names, must_go = list(threads), tuple(must_go)
    keys: dict[str, int] = {}
    answer = Answer()

    def packed(words: dict[str, Any], nodes: tuple[int, ...]) -> tuple[Any, ...]:
        for key in words.keys() - keys.keys():
            keys[key] = len(keys)
        return (*nodes, *(words.get(key) for key in keys))

    first = packed(words, (0,) * len(names))
    came: dict[tuple[Any, ...], tuple[tuple[Any, ...] | None, str]] = {first: (None, "")}
    todo = deque([first])

    def found(kind: str, obj: str, state: tuple[Any, ...], last: str) -> None:
        answer.kinds.add(kind)
        answer.objects.add((kind, obj))
        if kind not in answer.ladders:  # breadth first: no shorter one exists
            lines, at = [last], state
            while (before := came[at])[0] is not None:
                lines.append(before[1])
                at = before[0]  # type: ignore[assignment]
            answer.ladders[kind] = lines[::-1]

    while todo:
        state = todo.popleft()
        answer.states += 1
        if answer.states > most:
            raise RuntimeError(f"more than {most} states: a model this large is none that a person can follow")
        nodes, values = state[: len(names)], state[len(names) :]
        words = {key: value for key, value in zip(keys, values, strict=False) if value is not None}
        requests = [threads[name].request[node] for name, node in zip(names, nodes, strict=True)]
        waits = {name: _blockers(words, name, request) for name, request in zip(names, requests, strict=True)}
        if _cycle(waits):
            found("deadlock", "", state, "nobody of these can go on")
            continue
        if all(request == DONE for request in requests):
            for obj in must_go:
                if words.get(obj) == "live":
                    found("leak", obj, state, f"{obj} is never freed")
        for turn, (name, request) in enumerate(zip(names, requests, strict=True)):
            if request == DONE or waits[name]:
                continue
            after = dict(words)
            label = f"{name}: {' '.join(str(part) for part in request)}"
            try:
                told = _step(after, name, nodes[turn], request, answer.rules)
            except _Harm as harm:
                found(harm.kind, harm.obj, state, label)
                continue
            node = threads[name].after(nodes[turn], told)
            new = packed(after, (*nodes[:turn], node, *nodes[turn + 1 :]))
            if new not in came:
                came[new] = (state, label)
                todo.append(new)
    return answer
