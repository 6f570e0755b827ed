"""The widget `TableTree`: a stage-2 table as a collapsible tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from pyworkbench.widgets.tree import tree_of
from pyworkbench.widgets.tree_html import tree_html

if TYPE_CHECKING:
    from pyworkbench.table import Stage2

HERE = Path(__file__).parent
CSS = (HERE / "table_tree.css").read_text()


class TableTree(anywidget.AnyWidget):
    """A table as it is now: levels, addresses, kinds, counts, attributes; neighbours that look alike in a row.

    The tree does not follow the table: `show` draws it again, and what the reader opened stays open.

    Args:
        table: what to show.

    Example:
        >>> from pyworkbench import Stage2
        >>> table = Stage2()
        >>> table.map(0x8000_0000, 2 << 20, 0x4000_0000)
        0
        >>> "1 block" in TableTree(table).html
        True
    """

    _esm = (HERE / "table_tree.js").read_text()
    _css = CSS
    html = traitlets.Unicode().tag(sync=True)

    def __init__(self, table: Stage2) -> None:
        super().__init__()
        self.show(table)

    def show(self, table: Stage2) -> None:
        """Draws a table, this one or another."""
        self.html = tree_html(table, tree_of(table))

    @property
    def twin(self) -> str:
        """The tree as HTML that needs neither a kernel nor a script."""
        return f"<style>{CSS}</style>{self.html}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "text/html": self.twin}, metadata
