"""The tree of a table as HTML: what `TableTree` shows, and all that an exported report has of it.

Nested `<details>` elements, so that it opens and closes without a line of script. What is written comes
from numbers and fixed words only. At most `SHOWN` runs of one table are written; the rest is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyworkbench.table import Stage2
    from pyworkbench.widgets.tree import Run

SHOWN = 64
"""Runs written of one table."""

OPEN_LEVELS = 2
"""Levels below the root that are open at first."""


def tree_html(table: Stage2, root: Sequence[Run]) -> str:
    """A table's summary line, column titles, and a row for each run."""
    digits = -(-table.ipa_bits // 4)
    pages = table.stats()["tables"]
    space = 1 << table.ipa_bits
    root_pages = f"{table.root_pages} concatenated root pages" if table.root_pages > 1 else "1 root page"
    facts = [
        f"{table.granule} granule",
        f"{table.ipa_bits}-bit IPA ({size_text(space)})",
        f"starts at level {table.start_level}",
        root_pages,
        f"{pages} table pages = {size_text(pages * table.page_size)}",
    ]
    rows = _rows(root, digits, 1 << table.level_bits, depth=0)
    return (
        '<div class="pwb-tree">'
        f'<div class="pwb-facts">{"".join(f"<span>{fact}</span>" for fact in facts)}</div>'
        f"{_HEAD}{rows or _EMPTY}</div>"
    )


def size_text(size_bytes: int) -> str:
    """A size in the largest binary unit that divides it, as in `16 MiB`.

    Example:
        >>> size_text(3 << 20), size_text(1536)
        ('3 MiB', '1536 B')
    """
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    steps = 0
    while size_bytes and size_bytes % 1024 == 0 and steps < len(units) - 1:
        size_bytes //= 1024
        steps += 1
    return f"{size_bytes} {units[steps]}"


_HEAD = (
    '<div class="pwb-row pwb-head"><span>guest physical address</span><span>entries</span>'
    "<span>covers</span><span>attributes</span><span>output address</span></div>"
)
_EMPTY = '<div class="pwb-row pwb-more">nothing is mapped</div>'


def _rows(runs: Sequence[Run], digits: int, entries: int, depth: int) -> str:
    rows = [_row(run, digits, entries, depth) for run in runs[:SHOWN]]
    if rest := runs[SHOWN:]:
        count = sum(run.count for run in rest)
        rows.append(
            f'<div class="pwb-row pwb-more" style="--depth:{depth}">and {count} entries in {len(rest)} more runs</div>'
        )
    return "".join(rows)


def _row(run: Run, digits: int, entries: int, depth: int) -> str:
    what = f"{run.count} {run.kind}{'s' if run.count > 1 else ''}"
    if run.kind == "table":
        filled = max(round(100 * run.used / entries), 3)  # one entry shows too
        share = f"{run.used} of {entries} entries used" + (", each; the first:" if run.count > 1 else "")
        look = f'<span class="pwb-fill" style="--filled:{filled}%"></span>{share}'
        output = ""
    else:
        look = run.attributes
        output = "" if run.kind == "annotation" else "scattered" if run.pa is None else f"{run.pa:#x}"
    cells = (
        f'<span class="pwb-address"><b class="pwb-level">L{run.level}</b>{run.ipa:#0{digits + 2}x}</span>'
        f'<span class="pwb-kind">{what}</span><span>{size_text(run.size_bytes)}</span>'
        f"<span>{look}</span><span>{output}</span>"
    )
    row = f'class="pwb-row pwb-{run.kind}" style="--depth:{depth}"'
    if run.kind != "table":
        return f"<div {row}>{cells}</div>"
    opened = " open" if depth < OPEN_LEVELS else ""
    children = _rows(run.children, digits, entries, depth + 1)
    return f'<details{opened} data-entry="{run.level}:{run.ipa:x}"><summary {row}>{cells}</summary>{children}</details>'
