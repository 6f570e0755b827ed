"""The report of a store, and the tables of a report as files."""

from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from pyworkbench import InputError
from pyworkbench.errors import StoreError
from pyworkbench.exported import tables_of, write_tables
from pyworkbench.report import report_store
from pyworkbench.store_report import report_of_store
from pyworkbench.sure import Sure, or_why
from pyworkbench.sweep import comparable, load, sweep


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "store"
    fields: dict[str, Any] = {
        "threads": [1, 2, 3, 4],
        "guest": ["2M", "4M"],
        "step": ["whole", "1M"],
        "ipa_bits": 32,
        "warmup": 0,
    }
    sweep(out=directory, **fields, repeats=2)
    return directory


def test_a_report_has_what_was_asked_where_it_ran_what_came_out_and_how_sure_it_is(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "report.html"
    report_store(store, out)
    html = out.read_text()
    for part in ("What was asked", "Where it ran", "How sure the figures are", "Latency", "Contention by site"):
        assert part in html
    assert "Content-Security-Policy" in html
    assert "too few repeats" in html
    assert "lock_stat version 0.4" in html
    assert html.count("data:image/svg+xml") >= 6
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]


def test_every_table_of_a_report_is_a_file_with_every_digit(store: Path, tmp_path: Path) -> None:
    report_store(store, tmp_path / "report.html", parquet=tmp_path / "parquet", csv=tmp_path / "csv")
    found = {file.stem: pd.read_parquet(file) for file in (tmp_path / "parquet").iterdir()}
    assert {"measurements", "classes", "sites", "holds", "environment"} <= set(found)
    assert {"throughput", "usl", "knee", "walks", "latency", "teardown", "slope", "longest_hold"} <= set(found)
    assert sorted(file.stem for file in (tmp_path / "csv").iterdir()) == sorted(found)
    rows = load(store)
    assert list(found["measurements"]["ops_per_s"]) == list(rows["ops_per_s"])
    of_one = comparable(rows).query(
        "threads == 2 and walk == 'shared' and guest_bytes == 4194304 and step_bytes.isna()"
    )
    shown = found["throughput"].query(
        "threads == 2 and walk == 'shared' and guest_bytes == 4194304 and step_bytes.isna()"
    )
    assert shown["median"].tolist() == [of_one["ops_per_s"].median()]


def test_a_report_says_what_can_be_said_against_the_store(store: Path, tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    (directory / "segments").mkdir(parents=True)
    for file in store.iterdir():
        if file.is_file():
            (directory / file.name).write_bytes(file.read_bytes())
    for file in (store / "segments").iterdir():
        (directory / "segments" / file.name).write_bytes(file.read_bytes())
    (directory / "segments" / "00000099.parquet").write_bytes(b"nothing")
    with pytest.warns(match=r"00000099\.parquet is damaged"):
        notebook, _ = report_of_store(directory)
    assert "00000099.parquet is damaged" in notebook.cells[1].source
    assert "pwb sweep SPEC.toml --out copy" in notebook.cells[2].source
    assert 'guest = ["2M", "4M"]' in notebook.cells[2].source


def test_verdicts_are_a_report_too(tmp_path: Path) -> None:
    sweep(out=tmp_path / "store", kind="explore", scenario="flush-race-filled", strategy=["none", "claim-under-lock"])
    report_store(tmp_path / "store", tmp_path / "report.html", csv=tmp_path / "csv")
    verdicts = pd.read_csv(tmp_path / "csv" / "verdicts.csv")
    assert set(verdicts["verdict"]) == {"Bug", "Proved"}
    assert "pwb explore --replay" in (tmp_path / "report.html").read_text()


def test_a_folder_without_a_store_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        report_store(tmp_path, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_tables_of_a_notebook_are_exported_as_values_or_as_they_were_shown(tmp_path: Path) -> None:
    frame = pd.DataFrame({"threads": [1], "median": [1 / 3]})
    data, metadata = Sure(frame, "thirds")._repr_mimebundle_()
    outputs = [
        nbformat.v4.new_output("display_data", data, metadata=metadata),
        nbformat.v4.new_output("display_data", data, metadata=metadata),
        nbformat.v4.new_output("display_data", {"text/html": frame.to_html(float_format="{:.2f}".format)}),
        nbformat.v4.new_output("stream", text="no table"),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=outputs)])
    found = tables_of(notebook)
    assert list(found) == ["thirds", "thirds-2", "cell-01"]
    assert found["thirds"]["median"].tolist() == [1 / 3]
    assert found["cell-01"]["median"].tolist() == ["0.33"]
    written = write_tables(found, tmp_path / "a", None)
    assert sorted(file.name for file in written) == ["cell-01.parquet", "thirds-2.parquet", "thirds.parquet"]


def test_a_table_shows_the_interval_with_its_figure_and_shades_what_is_doubtful() -> None:
    frame = pd.DataFrame({"sigma": [0.1], "sigma_low": [0.05], "sigma_high": [0.2], "warnings": ["noisy"], "n": [3]})
    html = Sure(frame, "usl").html
    assert "0.1 (0.05 to 0.2)" in html
    assert "sigma low" not in html
    assert html.index(">measured<") < html.index(">warnings<")
    assert "Shaded: the figure has a warning." in html


def test_an_error_of_another_kind_is_no_sentence() -> None:
    def wrong() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        or_why(wrong)

    def said() -> None:
        raise InputError("too few")

    assert "too few" in or_why(said).data  # type: ignore[union-attr]
