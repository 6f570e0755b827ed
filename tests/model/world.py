"""The memory, locks and read sections of the model: what a request does, what it waits for, what harm it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actions import Request

SPINNING = ("mmu_lock", "subscriptions")
"""Locks that spin, by the end of their name: nothing under them may sleep."""

STALL = 4
"""Entries that a thread may visit between two points where the scheduler may run."""


class Harm(Exception):  # noqa: N818 (it is a finding, not an error)
    def __init__(self, kind: str, obj: str) -> None:
        self.kind, self.obj = kind, obj


def blockers(words: dict[str, Any], request: Request) -> set[str]:
    """The threads that this request waits for; itself, if it waits for what it holds."""
    if request[0] == "lock":
        holders = words.get("lock " + request[1]) or ()
        return {who for who, shared in holders if not (shared and request[2])}
    if request[0] == "wait":
        return {who for who, _ in request[2] & (words.get("srcu " + request[1]) or frozenset())}
    return set()


class World:
    """The shared words, and what one request of a thread does to them; a method a kind of request."""

    def __init__(self, words: dict[str, Any], me: str, serial: int, rules: set[str]) -> None:
        self.words, self.me, self.serial, self.rules = words, me, serial, rules
        self.held: tuple[str, ...] = words.get(f"held {me}") or ()

    def do(self, request: Request) -> Any:
        """Does a request that is not blocked; the answer goes to the thread."""
        return getattr(self, f"_{request[0]}")(*request[1:])

    def _word(self, obj: str | None, name: str) -> str:
        if obj is None:
            raise Harm("null-dereference", name)
        if self.words[obj] != "live":
            raise Harm("use-after-free", obj)
        return f"{obj}.{name}"

    def _may_sleep(self) -> None:
        for one in self.held:
            if one.endswith(SPINNING):
                raise Harm("sleep-in-atomic", one)

    def _hold(self, *held: str) -> None:
        self.words[f"held {self.me}"] = held

    def _read(self, obj: str | None, name: str) -> Any:
        return self.words.get(self._word(obj, name))

    def _write(self, obj: str | None, name: str, value: Any) -> None:
        self.words[self._word(obj, name)] = value

    def _add(self, obj: str, name: str, by: int) -> int:
        key = self._word(obj, name)
        self.words[key] += by
        return int(self.words[key])

    def _free(self, obj: str | None) -> None:
        if obj is None:
            return
        if obj.startswith("stack "):
            raise Harm("bad-free", obj)
        if self.words[obj] != "live":
            raise Harm("double-free", obj)
        self.words[obj] = "freed"

    def _alloc(self, obj: str) -> str:
        self.words[obj] = "live"
        return obj

    def _stack(self, obj: str) -> str:
        return self._alloc(f"stack {self.me} {obj}")

    def _lock(self, name: str, shared: bool) -> None:
        if not name.endswith(SPINNING):
            self._may_sleep()
        if name.endswith("slots_lock") and any(one.startswith("srcu ") for one in self.held):
            self.rules.add("lock-order")
        self.words[f"lock {name}"] = (*(self.words.get(f"lock {name}") or ()), (self.me, shared))
        self._hold(*self.held, name)

    def _unlock(self, name: str) -> None:
        self.words[f"lock {name}"] = tuple(one for one in self.words[f"lock {name}"] if one[0] != self.me)
        self._hold(*(one for one in self.held if one != name))

    def _srcu(self, name: str) -> None:
        self.words[f"srcu {name}"] = (self.words.get(f"srcu {name}") or frozenset()) | {(self.me, self.serial)}
        self._hold(*self.held, f"srcu {name}")

    def _srcu_end(self, name: str) -> None:
        self.words[f"srcu {name}"] = frozenset(one for one in self.words[f"srcu {name}"] if one[0] != self.me)
        self._hold(*(one for one in self.held if one != f"srcu {name}"))

    def _snapshot(self, name: str) -> frozenset[tuple[str, int]]:
        self._may_sleep()
        return self.words.get(f"srcu {name}") or frozenset()

    def _wait(self, *_: Any) -> None:
        """Its readers are gone."""

    def _sleep(self) -> None:
        self._may_sleep()
        self.words[f"visited {self.me}"] = 0

    def _visit(self, entries: int) -> None:
        visited = (self.words.get(f"visited {self.me}") or 0) + entries
        self.words[f"visited {self.me}"] = visited
        if visited > STALL:
            raise Harm("stall", self.me)

    def _assert(self, name: str) -> None:
        if name not in self.held:
            self.rules.add("not-held")

    def _give_back(self, pages: str) -> None:
        for key, table in self.words.items():
            if key.endswith(".pgt") and self.words.get(key[:-4]) == "live" and self.words.get(f"{table}.leaf") == pages:
                raise Harm("leaf-reaches-freed-memory", table)
