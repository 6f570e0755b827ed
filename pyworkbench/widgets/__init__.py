"""Widgets for notebooks, each with a static twin: what an exported report shows in its place.

`TableTree` shows a stage-2 table as a collapsible tree; `TableControl` builds one from controls; `SweepControl` sets
up a sweep, runs it in the background and shows how far it is. All are plain ipywidgets in a live notebook; their
mimebundle also carries `text/html`, so that no export is blank.
"""

from pyworkbench.widgets.sweep_control import SweepControl, attended
from pyworkbench.widgets.sweep_form import SweepForm
from pyworkbench.widgets.table_control import TableControl
from pyworkbench.widgets.table_tree import TableTree

__all__ = ["SweepControl", "SweepForm", "TableControl", "TableTree", "attended"]
