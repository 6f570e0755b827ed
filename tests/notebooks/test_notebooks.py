"""The committed notebooks: clean as they are, and running as reports."""

import json
from pathlib import Path

import pytest

from pyworkbench.report import run_notebook

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SMALL = {"threads": [1, 2], "guest_mib": 8, "step": "2M", "repeats": 2}


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_committed_notebook_has_no_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert cells
    for cell in cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_the_quickstart_runs_with_small_parameters_and_says_what_it_measured(tmp_path: Path) -> None:
    out = tmp_path / "made" / "report.html"
    run_notebook(NOTEBOOKS / "quickstart.ipynb", SMALL, out)
    html = out.read_text()
    assert "2 concatenated root pages" in html
    assert "In 64 measurements" in html  # 2 thread counts, 2 patterns, 2 walks, 4 teardowns, 2 repeats
    assert html.count('<div class="jp-RenderedSVG') == 3
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]


def test_the_teardown_race_is_told_from_real_kernels_to_the_fixes(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    run_notebook(NOTEBOOKS / "teardown_race.ipynb", {"scenarios": ["flush-race-filled"]}, out)
    html = out.read_text()
    assert "Of 12 reports of the kernel, <strong>12</strong> are the explorer" in html
    assert "Proved (" in html
    assert "Bug: deadlock" in html
    assert "<svg" in html


def test_the_orderings_are_listed_and_judged(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    run_notebook(NOTEBOOKS / "orderings.ipynb", {"prove": 3}, out)
    html = out.read_text()
    assert "3 orders. In <strong>2</strong> of them" in html
    # Once where strategies are compared, once with the counts.
    assert html.count("<td>Bug</td>") == 2 * 2
    assert html.count("<td>Proved</td>") == 2 * 4
    assert "<th>classes</th>" in html
