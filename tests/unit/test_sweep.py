"""Sweeps: what is asked for is what is measured."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pyworkbench import InputError
from pyworkbench.sweep import SUMMARY, SweepResult, load, plan, spec_of, sweep
from pyworkbench.sweep.result import described

SMALL: dict[str, Any] = {
    "lock": "parking_lot",  # on a busy machine, threads that spin take seconds
    "guest": "4M",
    "ipa_bits": 32,
    "pattern": ["disjoint", "overlapping"],
    "step": ["whole", "2M"],
    "place": ["under-lock", "taken-out"],
    "breaks": True,
    "repeats": 2,
}
POINT = ["threads", "pattern", "walk", "order"]


@pytest.fixture(scope="module")
def result() -> SweepResult:
    return sweep(threads=[1, 2, 64], **SMALL)


@pytest.fixture(scope="module")
def rows(result: SweepResult) -> pd.DataFrame:
    return described(result.rows)


def test_every_point_is_measured_as_often_as_asked(rows: pd.DataFrame) -> None:
    assert len(rows) == (1 + 2 * 2) * 2 * 4 * 2  # one thread has no pattern
    assert (rows.groupby(POINT, observed=True, dropna=False).size() == 2).all()
    assert sorted(rows["run"]) == list(range(len(rows)))
    assert set(rows["status"]) == {"ok"}
    assert rows["error"].isna().all()


def test_every_page_is_faulted_once_and_every_table_page_freed(rows: pd.DataFrame) -> None:
    assert (rows["maps"] == 1024).all()
    assert (rows["pages_freed"] == 4 + 2).all()  # 32 bits: four root pages of level 2; two of level 3


def test_more_threads_than_cores_are_marked(result: SweepResult, rows: pd.DataFrame) -> None:
    assert (rows["oversubscribed"] == (rows["threads"] > result.environment["cores"])).all()
    assert rows["oversubscribed"].any()


def test_columns_are_arrows_and_names_are_categories_in_the_order_of_the_spec(result: SweepResult) -> None:
    for name, kind in result.rows.dtypes.items():
        assert isinstance(kind, pd.ArrowDtype | pd.CategoricalDtype), name
    assert list(result.rows["walk"].cat.categories) == ["shared", "exclusive"]
    assert list(result.rows["place"].cat.categories) == ["under-lock", "taken-out"]
    assert isinstance(result.sites["site"].dtype, pd.CategoricalDtype)
    assert {"lock", "lock_class"} <= set(result.sites.columns)


def test_sites_add_up_to_their_side_of_the_lock(result: SweepResult) -> None:
    by_run = result.rows.set_index("run")
    of_lock = result.sites[result.sites["lock_class"] == "kvm->mmu_lock"]
    for side in ("read", "write"):
        of_sites = of_lock[of_lock["side"] == side].groupby("run")["acquisitions"].sum()
        assert (of_sites.reindex(by_run.index, fill_value=0) == by_run[f"{side}_acquisitions"]).all()


def test_a_fault_takes_the_side_of_the_lock_that_its_walk_needs(result: SweepResult, rows: pd.DataFrame) -> None:
    shared, exclusive = (rows[rows["walk"] == walk] for walk in ("shared", "exclusive"))
    assert (shared["read_acquisitions"] >= shared["faults"]).all()
    assert (shared["write_acquisitions"] < shared["faults"]).all()
    assert (exclusive["read_acquisitions"] == 0).all()
    assert (exclusive["write_acquisitions"] > exclusive["faults"]).all()  # the teardown's beside the faults'
    of_faults = result.sites[result.sites["site"] == "kvm_handle_guest_abort"]
    assert set(zip(of_faults["walk"], of_faults["side"], strict=True)) == {("shared", "read"), ("exclusive", "write")}


def test_a_table_taken_out_is_torn_down_without_the_lock(rows: pd.DataFrame) -> None:
    shared = rows[rows["walk"] == "shared"]  # with nothing but the teardown on the write side
    hold = shared.groupby("order", observed=True)["write_hold_ns"].min()
    assert hold["whole-taken-out"] < hold["whole-under-lock"]
    assert hold["ranges-taken-out"] < hold["ranges-under-lock"]


@pytest.mark.parametrize(("counters", "missing"), [("off", "read_acquisitions"), ("counts", "read_wait_ns")])
def test_what_is_not_recorded_is_missing(counters: str, missing: str) -> None:
    found = sweep(threads=[1], counters=counters, **SMALL)
    assert found.rows[missing].isna().all()
    assert found.sites.empty == (counters == "off")


def test_the_summary_is_a_row_a_point(result: SweepResult) -> None:
    summary = result.summary()
    assert len(summary) == len(plan(result.spec).points) == 40
    assert set(POINT) | set(SUMMARY) < set(summary.columns)


def test_the_summary_counts_the_waits_of_both_sides_of_the_lock(result: SweepResult, rows: pd.DataFrame) -> None:
    summary = result.summary()
    for row in summary[summary["threads"] == 64].to_dict("records"):
        at = (rows[POINT].astype(object) == [row[name] for name in POINT]).all(axis="columns")
        waits = rows.loc[at, "read_contentions"] + rows.loc[at, "write_contentions"]
        assert row["contentions_per_1000"] == pytest.approx(waits.median() / 1.024)


def test_a_column_of_the_summary_tells_points_apart_that_differ_in_nothing_else() -> None:
    found = sweep(threads=1, walk="shared", guest=["2M", "4M"], lock=["std", "mutex"], repeats=1, warmup=0)
    summary = found.summary()
    assert sorted(zip(summary["guest_bytes"], summary["lock"], strict=True)) == [
        (size << 20, lock) for size in (2, 4) for lock in ("mutex", "std")
    ]


def test_the_rows_of_a_result_are_those_of_its_spec(tmp_path: Path) -> None:
    small: dict[str, Any] = {"lock": "std", "walk": "shared", "guest": "2M", "repeats": 1, "warmup": 0, "out": tmp_path}
    sweep(threads=1, **small)
    assert set(sweep(threads=2, **small).rows["threads"]) == {2}
    assert set(load(tmp_path)["threads"]) == {1, 2}


def test_combinations_are_reported_as_the_same_or_dropped() -> None:
    found = plan(spec_of({"granule": ["4K", "16K"], "leaf": ["page", "2M"], "walk": "shared", "breaks": [False, True]}))
    assert len(found.points) == 3 * 3  # of three geometries; the whole has no breaks
    assert found.same == 9
    assert sum(found.dropped.values()) == 6
    assert any("leaf_bytes 2097152" in reason for reason in found.dropped)
    assert all("breaks" in json.loads(point) for point in found.points)
    assert str(found).startswith("9 points of 24 combinations; 9 are the same as others; 6 have no meaning (leaf_bytes")


def test_a_spec_and_fields_together_are_an_error() -> None:
    with pytest.raises(InputError, match="a spec and the fields seed were given"):
        sweep(spec_of({"guest": "4M"}), seed=3)
