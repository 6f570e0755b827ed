"""What a thread of the model can do in one atomic step, as requests to the checker.

An object is a name, or None for NULL; its fields are words. `free` ends an object.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

Request = tuple[Any, ...]
Program = Generator[Request, Any, Any]
"""A thread, or a part of one: it yields requests, and is sent their results."""


def read(obj: str | None, name: str) -> Request:
    return ("read", obj, name)


def write(obj: str | None, name: str, value: Any) -> Request:
    return ("write", obj, name, value)


def add(obj: str, name: str, by: int) -> Request:
    """An atomic count; the answer is the new value."""
    return ("add", obj, name, by)


def free(obj: str | None) -> Request:
    """Frees an object; NULL is allowed, as kfree does."""
    return ("free", obj)


def alloc(obj: str) -> Request:
    return ("alloc", obj)


def on_stack(obj: str) -> Request:
    """An object of this thread alone, by name, which nobody may free; the answer is its full name."""
    return ("stack", obj)


def lock(name: str, shared: bool = False) -> Request:
    return ("lock", name, shared)


def unlock(name: str) -> Request:
    return ("unlock", name)


def srcu_read_lock(name: str) -> Request:
    return ("srcu", name)


def srcu_read_unlock(name: str) -> Request:
    return ("srcu_end", name)


def synchronize_srcu(name: str) -> Program:
    """Waits for the readers of the moment at which it begins, not for later ones."""
    readers = yield ("snapshot", name)
    yield ("wait", name, readers)


def might_sleep() -> Request:
    """Also `cond_resched`: the scheduler may run."""
    return ("sleep",)


def visit(entries: int) -> Request:
    return ("visit", entries)


def assert_held(name: str) -> Request:
    return ("assert", name)


def give_back(pages: str) -> Request:
    """The mm frees the guest's pages: no table that an mmu still has may map them."""
    return ("give_back", pages)
