"""The committed notebooks: clean as they are, and running as reports."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pyworkbench.report import ReportError, run_notebook
from pyworkbench.sweep import load, read_status

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
    assert html.count("<td>Bug</td>") == 2
    assert html.count("<td>Proved</td>") == 4


def test_contention_is_measured_without_a_front_end_and_told_with_how_sure_it_is(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    small = {"threads": [1, 2, 3, 4], "guest": ["4M"], "repeats": 2, "out": str(tmp_path / "store")}
    run_notebook(NOTEBOOKS / "contention_sweep.ipynb", small, out, csv=tmp_path / "tables")
    html = out.read_text()
    assert html.count("done: 16 of 16 measurements") == 2  # the control's picture, and the sentence below it
    assert html.count('<div class="jp-RenderedSVG') == 5
    assert "too few repeats" in html
    assert "Not here" not in html
    assert read_status(tmp_path / "store").state == "done"
    tables = {file.stem for file in (tmp_path / "tables").iterdir()}
    assert tables >= {"throughput", "usl", "usl_residuals", "knee", "walks"}
    throughput = pd.read_csv(tmp_path / "tables" / "throughput.csv")
    assert set(throughput["threads"]) == {1, 2, 3, 4}
    assert {"median", "low", "high", "warnings"} <= set(throughput.columns)


def test_teardown_is_measured_against_guest_memory_and_step(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    small = {"guest": ["4M", "8M"], "step": ["whole", "2M"], "ipa_bits": 32, "repeats": 2}
    run_notebook(NOTEBOOKS / "teardown_latency.ipynb", small | {"out": str(tmp_path / "store")}, out)
    html = out.read_text()
    assert "done: 16 of 16 measurements" in html
    assert html.count('<div class="jp-RenderedSVG') == 4
    assert "Not here" not in html
    assert "taken-out" in html
    rows = load(tmp_path / "store")
    assert set(rows["status"]) == {"ok"}
    assert rows["ops"].isna().all()


def test_what_is_in_the_store_is_not_measured_again_by_a_notebook(tmp_path: Path) -> None:
    small = {"guest": ["4M", "8M"], "step": ["whole"], "ipa_bits": 32, "repeats": 2, "out": str(tmp_path / "store")}
    for _ in range(2):
        run_notebook(NOTEBOOKS / "teardown_latency.ipynb", small, tmp_path / "report.html")
    assert "8 reused" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("contention_sweep", {"lock": ["qrwlok"]}, "lock 'qrwlok'"),
        ("contention_sweep", {"threads": [0]}, "threads 0"),
        ("teardown_latency", {"guest": ["1X"]}, "guest '1X'"),
    ],
)
def test_a_wrong_parameter_fails_before_anything_is_measured(
    tmp_path: Path, name: str, parameters: dict[str, object], message: str
) -> None:
    store = tmp_path / "store"
    with pytest.raises(ReportError, match=message):
        run_notebook(NOTEBOOKS / f"{name}.ipynb", parameters | {"out": str(store)}, tmp_path / "report.html")
    assert not store.exists()
