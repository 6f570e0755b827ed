"""The cost columns of the matrix."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyworkbench import InputError, verdict_matrix, with_costs
from pyworkbench.cli.app import app
from pyworkbench.cost import FIGURES


def test_a_cost_is_of_a_kernel_and_a_strategy_and_what_has_none_says_why() -> None:
    matrix = verdict_matrix(
        ["flush-race", "flush-race-filled"],
        variants=["arm64-6.12", "mips-7.3"],
        strategies=["none", "lock-flush", "lock-generic"],
    )
    costs = with_costs(matrix, guest="2M", repeats=2)
    assert costs["verdict"].tolist() == matrix["verdict"].tolist()
    measured = costs["teardown_ms"].notna()
    assert (measured == costs["no_cost"].isna()).all()
    assert set(costs.loc[measured, "variant"]) == {"arm64-6.12"}
    assert set(costs.loc[measured, "strategy"]) == {"none", "lock-flush"}
    for _, same in costs[measured].groupby(["variant", "strategy"]):
        assert same[list(FIGURES)].nunique().max() == 1
    for name in FIGURES:
        assert (costs.loc[measured, f"{name}_low"] <= costs.loc[measured, name]).all()
        assert (costs.loc[measured, name] <= costs.loc[measured, f"{name}_high"]).all()


def test_under_lock_flush_the_lock_is_held_while_the_table_is_destroyed() -> None:
    matrix = verdict_matrix(["flush-race"], variants=["arm64-7.3"], strategies=["claim-under-lock", "lock-flush"])
    claim, hold = with_costs(matrix, guest="64M", repeats=3)["longest_hold_us"]
    assert hold > claim


def test_the_command_measures_into_a_store_and_goes_on_from_there(tmp_path: Path) -> None:
    words = ["matrix", "flush-race", "--variant", "arm64-7.3", "--strategy", "none", "--cost", "--guest", "2M"]
    words += ["--repeats", "2", "--out", str(tmp_path / "store"), "--json"]
    first, again = (json.loads(CliRunner().invoke(app, words).stdout) for _ in range(2))
    assert first["teardown_ms"] == again["teardown_ms"]
    assert "too few repeats" in first["cost_warnings"]


def test_a_wrong_guest_is_named() -> None:
    matrix = verdict_matrix(["flush-race"], variants=["arm64-7.3"], strategies=["none"])
    with pytest.raises(InputError, match="guest '1X'"):
        with_costs(matrix, guest="1X")
