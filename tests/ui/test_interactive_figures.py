"""Interactive figures in JupyterLab: drawn as Vega-Lite, without a network, and picked in the legend."""

from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Request

    from tests.ui.conftest import Lab

CODE = """\
import pandas as pd
from pyworkbench import plots
rows = pd.DataFrame(
    {"lock": lock, "threads": threads, "oversubscribed": threads > 2, "ops_per_s": factor * threads + repeat / 10}
    for lock, factor in (("qrwlock", 2e6), ("mcs", 1e6)) for threads in (1, 2, 4) for repeat in range(5)
)
plots.throughput(rows, interactive=True)
"""


def test_an_interactive_figure_is_drawn_in_lab_without_a_network(lab: "Lab") -> None:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)], metadata=kernel)
    (lab.folder / "notebooks" / "figure.ipynb").write_text(nbformat.writes(notebook))
    asked: list[str] = []

    def note(request: "Request") -> None:
        if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            asked.append(request.url)

    lab.page.on("request", note)
    lab.open("notebooks/figure.ipynb")
    lab.run_all()
    figure = lab.page.locator(".vega-embed").locator("canvas, svg.marks").first
    figure.wait_for()
    size = figure.bounding_box()
    assert size is not None
    assert size["width"] > 500
    assert size["height"] > 300
    assert lab.page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert lab.page.locator(".vega-embed .error, .jp-RenderedText[data-mime-type*='error']").count() == 0
    assert asked == []
    lab.page.remove_listener("request", note)
