"""The widget `TableControl`: what granule, IPA size and leaf size do to one guest's table.

Every change builds the table again, from nothing; a choice that no table can have is answered in place, and
the last good table stays. A change is taken when a slider is released, so dragging does not flood the kernel.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets

from pyworkbench.errors import WorkbenchError
from pyworkbench.table import Stage2
from pyworkbench.widgets.table_tree import CSS, TableTree
from pyworkbench.widgets.tree_html import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

_NOTE = '<p class="pwb-note">The picture of a control: in JupyterLab it can be set.</p>'

BLOCKS, PAGES = "blocks where they fit", "pages only"


class TableControl(ipywidgets.VBox):
    """Controls over a table, with the figures that change and the tree.

    Args:
        fill: maps the guest's memory into an empty table; called again for each choice.
        granule: `4K`, `16K` or `64K`.
        ipa_bits: 32 to 52.

    Attributes:
        table: the table that is shown.

    Example:
        >>> control = TableControl(lambda table: table.map(0x8000_0000, 2 << 20, 0x4000_0000))
        >>> control.table.stats()["tables"]
        3
        >>> control.leaves.value = "pages only"
        >>> control.table.stats()["tables"]
        4
    """

    def __init__(self, fill: Callable[[Stage2], object], granule: str = "4K", ipa_bits: int = 40) -> None:
        self._fill = fill
        self.granule = ipywidgets.ToggleButtons(
            options=["4K", "16K", "64K"], value=granule, description="granule", style={"button_width": "64px"}
        )
        self.ipa_bits = ipywidgets.IntSlider(
            min=32,
            max=52,
            value=ipa_bits,
            description="IPA bits",
            continuous_update=False,
            style={"description_width": "64px"},
        )
        self.leaves = ipywidgets.ToggleButtons(
            options=[BLOCKS, PAGES], description="leaves", style={"button_width": "180px"}
        )
        self.figures = ipywidgets.HTML()
        self.problem = ipywidgets.HTML()
        self.table = self._build()
        self.tree = TableTree(self.table)
        self._show_figures()
        super().__init__(
            [self.granule, self.ipa_bits, self.leaves, self.problem, self.figures, self.tree],
        )
        for control in (self.granule, self.ipa_bits, self.leaves):
            control.observe(self._changed, "value")

    def _build(self) -> Stage2:
        table = Stage2(self.granule.value, self.ipa_bits.value, force_pte=self.leaves.value == PAGES)
        self._fill(table)
        return table

    def _changed(self, _change: object) -> None:
        try:
            self.table = self._build()
        except WorkbenchError as error:
            self.problem.value = f'<div class="pwb-problem">{escape(str(error))}</div>'
            return
        self.problem.value = ""
        self._show_figures()
        self.tree.show(self.table)

    def _show_figures(self) -> None:
        stats = self.table.stats()
        figures = {
            "start level": self.table.start_level,
            "root pages": self.table.root_pages,
            "table pages": stats["tables"],
            "table bytes": size_text(stats["table_bytes"]),
            "blocks": stats["blocks"],
            "pages": stats["pages"],
        }
        cells = (f"<div><b>{value}</b><span>{name}</span></div>" for name, value in figures.items())
        self.figures.value = f'<div class="pwb-control-facts">{"".join(cells)}</div>'

    @property
    def twin(self) -> str:
        """The figures and the tree as HTML that needs neither a kernel nor a script."""
        return f"<style>{CSS}</style>{self.problem.value}{self.figures.value}{self.tree.html}{_NOTE}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any] | None:
        data: dict[str, Any] | None = super()._repr_mimebundle_(**kwargs)
        return data and {**data, "text/html": self.twin}
