"""A small explicit-state model checker: breadth first over all interleavings, states told apart by value.

A thread is a Python generator that yields requests (actions.py) and is sent their results; one request is one atomic
step. What a thread knows is exactly what it was told so far, so the tree of those histories stands for its program
counter and locals, and a state is (shared words, one node of that tree a thread). An interleaving ends at its first
harm, when every thread is done, or when nobody can go on.

    >>> from actions import free, read
    >>> def closer(_):
    ...     yield free((yield read("kvm", "objects")))
    >>> sorted(check({"kvm": {"objects": "array"}, "array": {}}, {"T1": closer, "T2": closer}, must_go=()).kinds)
    ['double-free']
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from world import Harm, World, blockers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actions import Program, Request

    State = tuple[Any, ...]

DONE: Request = ("done",)


@dataclass
class Answer:
    """All interleavings together: `kinds` of harm that come first in one, with objects and a ladder each."""

    kinds: set[str] = field(default_factory=set)
    objects: set[tuple[str, str]] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)
    ladders: dict[str, list[str]] = field(default_factory=dict)
    states: int = 0

    @property
    def verdict(self) -> str:
        return "Bug" if self.kinds else "Proved"


class _Thread:
    """The tree of a thread's histories; a node is made by running the program again with what it was told."""

    def __init__(self, program: Callable[[str], Program], name: str) -> None:
        self._program, self._name = program, name
        self._told: list[tuple[Any, ...]] = []
        self._next: dict[tuple[int, Any], int] = {}
        self.request: list[Request] = []
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

    def packed(words: dict[str, Any], nodes: tuple[int, ...]) -> State:
        for key in words.keys() - keys.keys():
            keys[key] = len(keys)
        return (*nodes, *(words.get(key) for key in keys))

    first = packed(words, (0,) * len(names))
    came: dict[State, tuple[State | None, str]] = {first: (None, "")}
    todo = deque([first])

    def found(kind: str, obj: str, state: State, last: str) -> None:
        answer.kinds.add(kind)
        answer.objects.add((kind, obj))
        if kind not in answer.ladders:  # breadth first: no shorter one exists
            lines, at = [last], state
            while (before := came[at][0]) is not None:
                lines.append(came[at][1])
                at = before
            answer.ladders[kind] = lines[::-1]

    while todo:
        state = todo.popleft()
        answer.states += 1
        if answer.states > most:
            raise RuntimeError(f"more than {most} states: a model this large is none that a person can follow")
        nodes, values = state[: len(names)], state[len(names) :]
        words = {key: value for key, value in zip(keys, values, strict=False) if value is not None}
        requests = [threads[name].request[node] for name, node in zip(names, nodes, strict=True)]
        waits = {name: blockers(words, request) for name, request in zip(names, requests, strict=True)}
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
                told = World(after, name, nodes[turn], answer.rules).do(request)
            except Harm as harm:
                found(harm.kind, harm.obj, state, label)
                continue
            node = threads[name].after(nodes[turn], told)
            new = packed(after, (*nodes[:turn], node, *nodes[turn + 1 :]))
            if new not in came:
                came[new] = (state, label)
                todo.append(new)
    return answer
