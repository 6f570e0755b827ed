"""Widgets for notebooks, each with a static twin: what an exported report shows in its place.

`TableTree` shows a stage-2 table as a collapsible tree; `TableControl` builds one from controls. Both are
plain ipywidgets in a live notebook; their mimebundle also carries `text/html`, so that no export is blank.
"""

from pyworkbench.widgets.table_control import TableControl
from pyworkbench.widgets.table_tree import TableTree

__all__ = ["TableControl", "TableTree"]
