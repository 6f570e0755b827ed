"""What must not matter to a statistic does not: order, unit, and what else is in the frame."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyworkbench.stats import compare, knee, summarise, usl

COUNTS = (1, 2, 4, 8)
FAST = settings(max_examples=25, deadline=None)


@st.composite
def curves(draw: st.DrawFn) -> pd.DataFrame:
    """Throughput at four numbers of threads, some repeats each, of one lock."""
    repeats = draw(st.integers(1, 6))
    values = draw(st.lists(st.floats(1, 1000), min_size=4 * repeats, max_size=4 * repeats))
    return pd.DataFrame({"lock": "mcs", "threads": np.repeat(COUNTS, repeats), "ops_per_s": values})


ANALYSES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "summarise": lambda rows: summarise(rows, "ops_per_s", ["lock", "threads"], resamples=50),
    "compare": lambda rows: compare(rows.assign(ops_per_s=100.0), rows, by=["lock", "threads"], resamples=50),
    "usl": lambda rows: usl(rows, by="lock", resamples=20).parameters,
    "knee": lambda rows: knee(rows, by="lock", resamples=50),
}


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, rtol=1e-9, check_like=True)


@pytest.mark.parametrize("name", ANALYSES)
@FAST
@given(rows=curves(), seed=st.integers(0, 100))
def test_the_order_of_measurements_does_not_matter(name: str, rows: pd.DataFrame, seed: int) -> None:
    same(ANALYSES[name](rows), ANALYSES[name](rows.sample(frac=1, random_state=seed)))


@pytest.mark.parametrize("name", ["summarise", "usl", "knee"])
@FAST
@given(rows=curves(), other=curves())
def test_other_configurations_in_the_frame_do_not_matter(name: str, rows: pd.DataFrame, other: pd.DataFrame) -> None:
    both = ANALYSES[name](pd.concat([rows, other.assign(lock="ticket")]))
    alone = ANALYSES[name](rows)
    mine = both[both["lock"] == "mcs"].reset_index(drop=True)
    if name == "summarise":  # whose noise is judged by the medians beside it
        mine, alone = mine.drop(columns="warnings"), alone.drop(columns="warnings")
    same(mine, alone)


@FAST
@given(rows=curves(), power=st.integers(-10, 10))
def test_a_unit_scales_what_has_it_and_nothing_else(rows: pd.DataFrame, power: int) -> None:
    unit = 2.0**power  # which rounds nothing
    scaled = rows.assign(ops_per_s=rows["ops_per_s"] * unit)

    def check(name: str, columns: list[str]) -> None:
        found = ANALYSES[name](rows)
        same(ANALYSES[name](scaled), found.assign(**{column: found[column] * unit for column in columns}))

    check("summarise", ["median", "low", "high"])
    check("usl", ["lambda", "lambda_low", "lambda_high"])
    check("knee", ["knee_median"])
    found = compare(rows, scaled, by=["lock", "threads"], resamples=50)
    assert found["ratio"].to_numpy() == pytest.approx(unit)


@FAST
@given(rows=curves(), other=curves())
def test_the_ratio_turned_round_is_its_inverse(rows: pd.DataFrame, other: pd.DataFrame) -> None:
    one = compare(rows, other, by="threads", resamples=50)
    turned = compare(other, rows, by="threads", resamples=50)
    assert one["ratio"].to_numpy() == pytest.approx(1 / turned["ratio"].to_numpy())
    exact = (one["n_a"] + one["n_b"]) <= 5  # no more permutations than resamples
    assert one.loc[exact, "p"].to_numpy() == pytest.approx(turned.loc[exact, "p"].to_numpy(), nan_ok=True)
    p = one["p"].dropna()
    assert ((p > 0) & (p <= 1)).all()
    adjusted = one["p_adjusted"].dropna()
    assert (adjusted >= p - 1e-12).all()
