"""A stage-2 table as a tree of runs, made for the eye: neighbours that look alike are one node.

Guaranteed: every leaf and annotation of the table is in exactly one run, and every table page that holds
one is in exactly one table node. Not there: table pages without an entry, which only exist while a walk is
under way. Sibling tables that are next to each other and hold the same runs at the same places are one
node, and its children are those of the first. A table of 2 ** 18 pages takes about 50 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from pyworkbench.table import Stage2

LAST_LEVEL = 3


@dataclass(frozen=True)
class Run:
    """Neighbouring entries of one level that look alike.

    Attributes:
        level: the level of the table that holds the entries.
        kind: `table`, `block`, `page` or `annotation`.
        ipa: the first guest physical address.
        count: how many entries.
        entry_bytes: what one entry covers.
        attributes: permissions, memory type, access flag and software bits in words; empty for tables.
        pa: the output address of the first entry; `None` for a table, an annotation, or where the output
            addresses do not follow one another.
        used: for a table, its entries that are not zero; for several tables, those of each.
        children: for a table, what it holds.
    """

    level: int
    kind: str
    ipa: int
    count: int
    entry_bytes: int
    attributes: str = ""
    pa: int | None = None
    used: int = 0
    children: tuple[Run, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What the run covers."""
        return self.count * self.entry_bytes

    @property
    def tables(self) -> int:
        """Table pages in the run and below it."""
        return self.count * (1 + sum(run.tables for run in self.children)) if self.kind == "table" else 0

    def alike(self, other: Run, offset: int) -> bool:
        """Whether `other` looks the same, `offset` bytes further up; output addresses may be any."""
        return (
            self.ipa + offset == other.ipa
            and (self.level, self.kind, self.count, self.attributes, self.pa is None)
            == (other.level, other.kind, other.count, other.attributes, other.pa is None)
            and len(self.children) == len(other.children)
            and all(a.alike(b, offset) for a, b in zip(self.children, other.children, strict=True))
        )


def tree_of(table: Stage2) -> tuple[Run, ...]:
    """What the root of a table holds, as runs in the order of addresses.

    Example:
        >>> from pyworkbench import Stage2
        >>> table = Stage2()
        >>> table.map(0x8000_0000, 4 << 20, 0x4000_0000, prot="rx")
        0
        >>> [root] = tree_of(table)
        >>> root.kind, root.used, root.children[0].attributes, root.children[0].count
        ('table', 2, 'r-x, normal, AF', 2)
    """
    page_shift = table.page_size.bit_length() - 1

    def shift(level: int) -> int:
        return page_shift + (LAST_LEVEL - level) * table.level_bits

    return _children(_leaf_runs(table.leaves(), shift), table.start_level, shift)


def _children(runs: Sequence[Run], level: int, shift: Callable[[int], int]) -> tuple[Run, ...]:
    """The entries of one table at `level`, from the leaf runs inside it."""
    entries: list[Run] = []
    for (below, index), group in groupby(runs, lambda run: (run.level > level, run.ipa >> shift(level))):
        inside = tuple(group)
        if not below:
            entries.extend(inside)
            continue
        children = _children(inside, level + 1, shift)
        used = sum(run.count for run in children)
        entry = Run(level, "table", index << shift(level), 1, 1 << shift(level), used=used, children=children)
        last = entries[-1] if entries else None
        if last and last.ipa + last.size_bytes == entry.ipa and _same_tables(last, entry):
            entries[-1] = replace(last, count=last.count + 1)
        else:
            entries.append(entry)
    return tuple(entries)


def _same_tables(several: Run, one: Run) -> bool:
    offset = one.ipa - several.ipa
    first = replace(several, count=1)
    return several.kind == "table" and first.alike(one, offset)


def _leaf_runs(leaves: pd.DataFrame, shift: Callable[[int], int]) -> list[Run]:
    """Neighbouring leaves that look alike and lie in one table."""
    if leaves.empty:
        return []
    ipa = leaves["ipa"].to_numpy("uint64")
    size = leaves["size_bytes"].to_numpy("uint64")
    level = leaves["level"].to_numpy("int8")
    pa = leaves["pa"].fillna(0).to_numpy("uint64")
    annotation = (leaves["kind"] == "annotation").to_numpy(bool)
    look = _look_codes(leaves)
    table_of = np.zeros(len(ipa), "uint64")
    for one in np.unique(level):
        table_of[level == one] = ipa[level == one] >> np.uint64(shift(int(one) - 1))
    follows = (
        (ipa[1:] == ipa[:-1] + size[:-1])
        & (level[1:] == level[:-1])
        & (look[1:] == look[:-1])
        & (table_of[1:] == table_of[:-1])
    )
    starts = np.flatnonzero(np.r_[True, ~follows])
    counts = np.diff(np.r_[starts, len(ipa)])
    pa_follows = np.r_[True, pa[1:] == pa[:-1] + size[:-1]]
    pa_follows[starts] = True
    in_order = np.logical_and.reduceat(pa_follows, starts)
    firsts = leaves.iloc[starts].to_dict("records")
    return [
        Run(
            level=int(level[at]),
            kind=first["kind"],
            ipa=int(ipa[at]),
            count=int(count),
            entry_bytes=int(size[at]),
            attributes=_attributes(first),
            pa=None if annotation[at] or not ordered else int(pa[at]),
        )
        for at, count, first, ordered in zip(starts, counts, firsts, in_order, strict=True)
    ]


def _look_codes(leaves: pd.DataFrame) -> np.ndarray:
    """A number for each leaf, equal where leaves look alike; an annotation's is its descriptor (2 ** 61 or more)."""
    code = np.zeros(len(leaves), "uint64")
    for column in ("r", "w", "px", "ux", "af"):
        code = code << np.uint64(1) | leaves[column].to_numpy("uint64")
    code = code << np.uint64(4) | leaves["software"].to_numpy("uint64")
    memtypes = leaves["memtype"].fillna("").astype("category").cat.codes.to_numpy().astype("uint64")
    code = code << np.uint64(3) | memtypes
    annotation = (leaves["kind"] == "annotation").to_numpy(bool)
    return np.where(annotation, leaves["desc"].to_numpy("uint64"), code)


def _attributes(leaf: Mapping[Any, Any]) -> str:
    if leaf["kind"] == "annotation":
        return f"invalid, {leaf['desc']:#018x}"
    execute = {(True, True): "x", (True, False): "p", (False, True): "u"}.get((leaf["px"], leaf["ux"]), "-")
    words = [f"{'r' if leaf['r'] else '-'}{'w' if leaf['w'] else '-'}{execute}", leaf["memtype"] or "memattr ?"]
    if leaf["af"]:
        words.append("AF")
    if leaf["software"]:
        words.append(f"sw {leaf['software']:04b}")
    return ", ".join(words)
