"""Sweeps: what is asked for is what is measured, and what is wrong is named."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pyworkbench import InputError
from pyworkbench.sweep import SUMMARY, SweepResult, SweepSpec, spec_of, sweep

SMALL: dict[str, Any] = {"guest_mib": 4, "repeats": 2, "warmup": 1, "ipa_bits": 32, "step": "2M"}
POINT = ["threads", "pattern", "walk", "teardown"]


@pytest.fixture(scope="module")
def result() -> SweepResult:
    return sweep(threads=[1, 2, 64], **SMALL)


def test_every_point_is_measured_as_often_as_asked(result: SweepResult) -> None:
    rows = result.rows
    assert len(rows) == 3 * 2 * 2 * 4 * 2
    assert (rows.groupby(POINT, observed=True).size() == 2).all()
    assert sorted(rows["run"]) == list(range(len(rows)))


def test_every_page_is_faulted_once_and_every_table_page_freed(result: SweepResult) -> None:
    assert (result.rows["faults"] == 1024).all()
    assert (result.rows["pages_freed"] == 4 + 2).all()  # 32 bits: four root pages of level 2; two of level 3


def test_the_order_of_measurements_is_random_and_seeded() -> None:
    orders = [sweep(threads=[1, 2], seed=seed, **SMALL).rows[POINT].to_numpy().tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_more_threads_than_cores_are_marked(result: SweepResult) -> None:
    cores = result.environment["cores"]
    assert (result.rows["oversubscribed"] == (result.rows["threads"] > cores)).all()
    assert result.rows["oversubscribed"].any()


def test_columns_are_arrows_and_names_are_categories(result: SweepResult) -> None:
    for name, kind in result.rows.dtypes.items():
        assert isinstance(kind, pd.ArrowDtype | pd.CategoricalDtype), name
    assert list(result.rows["walk"].cat.categories) == result.spec.walk == ["shared", "exclusive"]
    assert list(result.rows["teardown"].cat.categories) == result.spec.teardown
    assert isinstance(result.sites["site"].dtype, pd.CategoricalDtype)


def test_sites_add_up_to_their_side_of_the_lock(result: SweepResult) -> None:
    rows = result.rows.set_index("run")
    for side in ("read", "write"):
        of_sites = result.sites[result.sites["side"] == side].groupby("run")["acquisitions"].sum()
        assert (of_sites.reindex(rows.index, fill_value=0) == rows[f"{side}_acquisitions"]).all()


def test_a_fault_takes_the_side_of_the_lock_that_its_walk_needs(result: SweepResult) -> None:
    shared, exclusive = (result.rows[result.rows["walk"] == walk] for walk in ("shared", "exclusive"))
    assert (shared["read_acquisitions"] >= shared["faults"]).all()
    assert (shared["write_acquisitions"] < shared["faults"]).all()
    assert (exclusive["read_acquisitions"] == 0).all()
    assert (exclusive["write_acquisitions"] > exclusive["faults"]).all()  # the teardown's beside the faults'
    of_faults = result.sites[result.sites["site"] == "kvm_handle_guest_abort"]
    assert set(zip(of_faults["walk"], of_faults["side"], strict=True)) == {("shared", "read"), ("exclusive", "write")}


def test_the_time_on_a_processor_is_recorded_where_the_system_tells_it(result: SweepResult) -> None:
    told = Path("/proc/thread-self/schedstat").exists()
    assert (result.rows["fault_cpu_ns"].notna() == told).all()


def test_a_table_taken_out_is_torn_down_without_the_lock(result: SweepResult) -> None:
    rows = result.rows[result.rows["walk"] == "shared"]  # with nothing but the teardown on the write side
    hold = rows.groupby("teardown", observed=True)["write_hold_ns"].min()
    # under the lock, the hold has the walk in it; a table taken out is destroyed with the lock released
    assert hold["whole-taken-out"] < hold["whole-under-lock"]
    assert hold["ranges-taken-out"] < hold["ranges-under-lock"]


@pytest.mark.parametrize(("counters", "missing"), [("off", "read_acquisitions"), ("counts", "read_wait_ns")])
def test_what_is_not_recorded_is_missing(counters: str, missing: str) -> None:
    found = sweep(threads=[1], counters=counters, **SMALL)
    assert found.rows[missing].isna().all()
    assert found.sites.empty == (counters == "off")


def test_the_summary_is_a_row_a_point(result: SweepResult) -> None:
    summary = result.summary()
    assert len(summary) == result.spec.points == 48
    assert set(SUMMARY) < set(summary.columns)


def test_the_summary_counts_the_waits_of_both_sides_of_the_lock(result: SweepResult) -> None:
    rows, summary = result.rows, result.summary()
    for row in summary[summary["threads"] == 64].to_dict("records"):
        at = (rows[POINT] == [row[name] for name in POINT]).all(axis="columns")
        waits = rows.loc[at, "read_contentions"] + rows.loc[at, "write_contentions"]
        assert row["contentions_per_1000"] == pytest.approx(waits.median() / 1.024)


def test_parquet_files_hold_rows_sites_spec_and_environment(result: SweepResult, tmp_path: Path) -> None:
    files = result.to_parquet(tmp_path / "new" / "sweep.parquet")
    assert [file.name for file in files] == ["sweep.parquet", "sweep-sites.parquet"]
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["sweep-sites.parquet", "sweep.parquet"]
    rows = pd.read_parquet(files[0], dtype_backend="pyarrow")
    assert rows["teardown_ns"].tolist() == result.rows["teardown_ns"].tolist()
    assert len(pd.read_parquet(files[1])) == len(result.sites)
    metadata = pq.read_schema(files[0]).metadata
    assert SweepSpec.model_validate_json(metadata[b"pyworkbench.spec"]) == result.spec
    assert b'"build_id"' in metadata[b"pyworkbench.environment"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threads": []}, r"threads \[\]: List should have at least 1 item"),
        ({"threads": [0]}, "threads 0: it should be greater than or equal to 1"),
        ({"threads": ["2"]}, "threads '2': it should be a valid integer"),
        ({"threads": [1, 1]}, r"threads \[1, 1\]: each value once"),
        ({"threads": [1000]}, "threads 1000 is not 1 to"),
        ({"patern": ["disjoint"]}, "patern is no field of a sweep: threads, pattern"),
        ({"walk": ["parallel"]}, "walk 'parallel': it should be 'shared' or 'exclusive'"),
        ({"pattern": ["random"]}, "pattern 'random': it should be 'disjoint' or 'overlapping'"),
        ({"leaf": "3Q"}, "leaf '3Q': size '3Q' is not a number with K, M, G or T"),
        ({"leaf": "8K"}, "leaf_bytes 8192 is not one of"),
        ({"step": "3M"}, "step_bytes 3145728 is not a power of two"),
        ({"ipa_bits": 60}, "ipa_bits 60 is outside 32 to 48"),
        ({"seed": -1}, "seed -1: it should be"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sweep(**fields)


def test_a_spec_and_fields_together_are_an_error() -> None:
    with pytest.raises(InputError, match="a spec and the fields seed were given"):
        sweep(spec_of(SMALL), seed=3)


def test_progress_is_told_after_every_measurement_and_what_it_raises_ends_the_sweep() -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        if done == 3:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        sweep(threads=[1], progress=progress, **SMALL)
    assert told == [(1, 48), (2, 48), (3, 48)]


def test_ctrl_c_ends_a_sweep_that_would_take_hours() -> None:
    program = (
        "import os, signal, threading\n"
        "from pyworkbench.sweep import sweep\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "sweep(threads=[2], guest_mib=1024, repeats=100_000)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stderr.endswith("KeyboardInterrupt\n")
