"""The committed notebooks: clean as they are, and running as reports."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from pyworkbench import InputError
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
    assert "In 48 measurements" in html  # 1 thread and 2 with 2 patterns, 2 walks, 4 teardowns, 2 repeats
    assert html.count('<div class="jp-RenderedSVG') == 3
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]


BATCH: dict[str, Any] = {"threads": [1, 2], "guest": ["4M"], "step": ["whole", "2M"], "repeats": 2, "lock": "mutex"}


def test_a_batch_sweep_measures_what_is_missing_and_shows_it(tmp_path: Path) -> None:
    out, store = tmp_path / "report.html", str(tmp_path / "store")
    run_notebook(NOTEBOOKS / "batch_sweep.ipynb", BATCH | {"out": store}, out)
    html = out.read_text()
    assert "done: 32 of 32 measurements" in html  # 2 thread counts, 2 walks, 4 teardowns, 2 repeats
    assert html.count('<div class="jp-RenderedSVG') == 2
    run_notebook(NOTEBOOKS / "batch_sweep.ipynb", BATCH | {"out": store, "repeats": 3}, out)
    assert "done: 48 of 48 measurements, 32 reused" in out.read_text()
    assert set(load(store)["lock"]) == {"mutex"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"thread": [1]}, "no parameter thread: did you mean threads"),
        ({"threads": ["1"]}, "threads '1': it should be a valid integer"),
        ({"lock": "qrwlok"}, "lock 'qrwlok': .*did you mean 'qrwlock'"),
        ({"out": 3}, "parameter out is 3"),
    ],
)
def test_a_wrong_parameter_of_a_batch_sweep_fails_before_anything_runs(
    tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run_notebook(
            NOTEBOOKS / "batch_sweep.ipynb", {"out": str(tmp_path / "store")} | parameters, tmp_path / "a.html"
        )
    assert list(tmp_path.iterdir()) == []


def test_papermill_alone_cannot_slip_an_unknown_parameter_past_the_spec(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError, match="thread is no field of a sweep: did you mean threads"):
        papermill.execute_notebook(
            NOTEBOOKS / "batch_sweep.ipynb",
            tmp_path / "run.ipynb",
            {"thread": [1], "out": str(tmp_path / "store")},
            progress_bar=False,
        )
    assert not (tmp_path / "store").exists()


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
    assert "would never end" in html  # of a strategy that deadlocks, beside what the others cost
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
