"""The tables of mips and loongarch: what a walk covers it clears, and frees the pages that are empty then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actions import free, on_stack, read, write

if TYPE_CHECKING:
    from actions import Program
    from teardown import Kernel

LEAF = "guest"
"""What an entry that maps a page of the guest holds."""

NEXT, PREV = "word0", "word1"
"""A `list_head` in a table page lies over its first two entries."""


def walk_and_clear(kernel: Kernel, vm: str, part: range = range(2)) -> Program:
    """Of mips and loongarch: a table page of two entries under a pgd that stays; the pages that are empty then.

    mips frees a page at once. loongarch's list of pages to free runs through their own first words.
    """
    claimed: list[str] = []
    head = yield from _list_head(kernel)
    pgd = yield read(vm, "pgd")
    page = yield read(pgd, "entry0")
    if page is None:
        return claimed, head
    for j in part:
        if (yield read(page, f"word{j}")) == LEAF:
            yield write(page, f"word{j}", None)
    if len(part) < 2:
        return claimed, head
    yield write(pgd, "entry0", None)
    if kernel.strategy == "lock-flush-free-outside":
        claimed.append(page)
    elif head is None:
        yield free(page)
    else:
        yield from _list_add_tail(head, page)
    return claimed, head


def _list_head(kernel: Kernel) -> Program:
    if kernel.variant == "mips-7.3" or kernel.strategy == "lock-flush-free-outside":
        return None
    head = yield on_stack("list_head")
    yield write(head, NEXT, head)
    yield write(head, PREV, head)
    return head


def _list_add_tail(head: str, page: str) -> Program:
    last = yield read(head, PREV)
    yield write(head, PREV, page)
    yield write(page, NEXT, head)
    yield write(page, PREV, last)
    yield write(last, NEXT, page)


def free_pages(walked: tuple[list[str], str | None]) -> Program:
    claimed, head = walked
    for page in claimed:
        yield free(page)
    if head is None:
        return
    page = yield read(head, NEXT)
    while page != head:
        following, before = (yield read(page, NEXT)), (yield read(page, PREV))
        yield write(following, PREV, before)
        yield write(before, NEXT, following)
        yield free(page)
        page = following
