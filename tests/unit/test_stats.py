"""Statistics on measurements that are made here, so that the truth is known."""

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from pyworkbench import InputError
from pyworkbench.stats import CONFIGURATION, WARNINGS, compare, knee, slope, summarise, usl, usl_throughput
from pyworkbench.sweep.schema import configuration

COUNTS = (1, 2, 4, 8, 16, 32)


def measured(values: Any, **columns: Any) -> pd.DataFrame:
    """Measurements of one configuration."""
    return pd.DataFrame({"ops_per_s": np.asarray(values, float)} | columns)


def scaled(
    lambda_: float = 1e6,
    sigma: float = 0.05,
    kappa: float = 0.002,
    *,
    noise: float = 0.0,
    repeats: int = 7,
    counts: tuple[int, ...] = COUNTS,
    seed: int = 0,
    **columns: Any,
) -> pd.DataFrame:
    """Throughput by the law, with noise that is relative."""
    threads = np.repeat(counts, repeats)
    factor = np.exp(noise * np.random.default_rng(seed).standard_normal(len(threads)))
    return measured(usl_throughput(threads, lambda_, sigma, kappa) * factor, threads=threads, **columns)


def test_a_summary_has_the_medians_and_counts_of_each_configuration() -> None:
    rows = pd.concat([measured([1, 5, 3, 2, 4], lock="mcs"), measured([10, 30, 20], lock="std")])
    found = summarise(rows, "ops_per_s")
    assert found[["lock", "n", "median"]].to_numpy().tolist() == [["mcs", 5, 3], ["std", 3, 20]]
    assert found["warnings"].tolist() == ["", "noisy, too few repeats"]
    assert ((found["low"] <= found["median"]) & (found["median"] <= found["high"])).all()


def test_the_interval_of_few_repeats_is_their_range() -> None:
    (row,) = summarise(measured([3, 1, 2, 5, 4]), "ops_per_s").to_dict("records")
    assert (row["low"], row["high"]) == (1, 5)


def test_one_measurement_has_no_interval() -> None:
    (row,) = summarise(measured([7]), "ops_per_s").to_dict("records")
    assert (row["n"], row["median"]) == (1, 7)
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["warnings"] == "too few repeats"


@pytest.mark.parametrize("repeats", [5, 11, 30])
def test_the_interval_of_a_median_holds_the_truth_as_often_as_it_says(repeats: int) -> None:
    trials = 400
    values = np.random.default_rng(repeats).exponential(size=(trials, repeats))
    rows = measured(values.ravel(), sparsity=np.repeat(np.arange(trials), repeats))
    found = summarise(rows, "ops_per_s")
    held = np.mean((found["low"] <= np.log(2)) & (np.log(2) <= found["high"]))
    assert 0.90 <= held <= 0.98


def test_configurations_are_told_apart_by_what_varies_missing_values_too() -> None:
    rows = pd.DataFrame(
        {
            "ops_per_s": [1.0, 2.0, 3.0, 4.0],
            "lock": pd.Categorical(["mcs"] * 4),
            "step_bytes": pd.array([None, None, 1 << 30, 1 << 30], dtype="Int64"),
            "place": pd.Categorical([None, None, "taken-out", "under-lock"]),
            "run": [0, 1, 2, 3],
        }
    )
    found = summarise(rows, "ops_per_s")
    assert list(found.columns[:2]) == ["step_bytes", "place"]
    assert sorted(zip(found["n"], found["median"], strict=True)) == [(1, 3), (1, 4), (2, 1.5)]


def test_rows_that_differ_in_more_than_they_are_told_apart_by_say_so() -> None:
    rows = pd.concat([measured([1, 2, 3, 4, 5], walk=walk, threads=1) for walk in ("shared", "exclusive")])
    assert summarise(rows, "ops_per_s", "threads")["warnings"].tolist() == ["mixed configurations"]
    assert summarise(rows, "ops_per_s", ["threads", "walk"], seed=1)["warnings"].str.contains("mixed").sum() == 0


def test_more_threads_than_cores_and_failures_are_in_the_frame() -> None:
    rows = measured(
        [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, np.nan],
        threads=np.repeat([1, 4], 6),
        oversubscribed=np.repeat([False, True], 6),
        status=["ok"] * 11 + ["crashed"],
    )
    found = summarise(rows, "ops_per_s")
    assert found["warnings"].tolist() == ["", "oversubscribed, failed"]
    assert found["n"].tolist() == [6, 5]


def test_a_measurement_that_failed_is_left_out_even_if_it_has_a_figure() -> None:
    rows = measured([1, 1, 1, 1, 1, 1000], status=["ok"] * 5 + ["failed"])
    assert summarise(rows, "ops_per_s")["high"].tolist() == [1]


def test_arrow_columns_are_numbers_as_well() -> None:
    rows = pd.DataFrame(
        {
            "teardown_ns": pd.array([1, 2, 3, 4, None], dtype="uint64[pyarrow]"),
            "oversubscribed": pd.array([False] * 5, dtype="bool[pyarrow]"),
            "status": pd.array(["ok"] * 5, dtype="string[pyarrow]"),
        }
    )
    (row,) = summarise(rows, "teardown_ns").to_dict("records")
    assert (row["n"], row["median"], row["warnings"]) == (4, 2.5, "noisy, too few repeats")


def test_a_ratio_has_the_right_direction_interval_and_test() -> None:
    a, b = measured([10, 11, 9, 10, 10], walk="exclusive"), measured([20, 22, 18, 20, 20], walk="shared")
    found = compare(a, b)
    (row,) = found.to_dict("records")
    assert (row["n_a"], row["n_b"], row["median_a"], row["median_b"], row["ratio"]) == (5, 5, 10, 20, 2)
    assert 18 / 11 <= row["low"] < 2 < row["high"] <= 22 / 9
    assert row["p"] == row["p_adjusted"] == pytest.approx(2 / 252)  # of 252 ways to deal ten, two are as far apart
    assert row["warnings"] == ""
    assert found.attrs["differs"] == {"walk": ("exclusive", "shared")}


def test_configurations_are_matched_and_what_has_no_match_says_so() -> None:
    def rows(counts: tuple[int, ...], factor: float) -> pd.DataFrame:
        return pd.concat([measured([9 * n * factor, 10 * n * factor, 11 * n * factor], threads=n) for n in counts])

    found = compare(rows((1, 2, 4), 1), rows((2, 4, 8), 3)).set_index("threads")
    assert found["ratio"].dropna().to_dict() == {2: 3, 4: 3}
    assert found["warnings"].to_dict() == {
        1: "only in a",
        2: "too few repeats",
        4: "too few repeats",
        8: "only in b",
    }


def test_categories_of_two_frames_are_matched_by_name() -> None:
    def rows(locks: list[str], factor: float) -> pd.DataFrame:
        frame = measured(np.tile([9, 10, 10, 10, 11], 2) * factor, lock=np.repeat(locks, 5))
        return frame.astype({"lock": pd.CategoricalDtype(locks)})

    found = compare(rows(["mcs", "std"], 1), rows(["std", "ticket"], 10)).set_index("lock")
    assert found.loc["std", "ratio"] == 10
    assert found["warnings"].to_dict() == {"mcs": "only in a", "std": "", "ticket": "only in b"}


def test_an_interval_that_is_wider_than_the_effect_is_noisy() -> None:
    a, b = measured([10, 20, 30, 40, 50]), measured([11, 21, 31, 41, 51])
    assert compare(a, b)["warnings"].tolist() == ["noisy"]


def test_a_median_of_zero_has_no_ratio() -> None:
    (row,) = compare(measured([0] * 5), measured([1] * 5)).to_dict("records")
    assert row["warnings"] == "no ratio"
    assert np.isnan([row["ratio"], row["low"], row["high"]]).all()
    assert row["p"] == pytest.approx(2 / 252)


def test_single_measurements_have_a_ratio_and_nothing_more() -> None:
    (row,) = compare(measured([2]), measured([3])).to_dict("records")
    assert (row["ratio"], row["warnings"]) == (1.5, "too few repeats")
    assert np.isnan([row["low"], row["high"], row["p"], row["p_adjusted"]]).all()


def drawn(trials: int, repeats: int, factor: float, seed: int) -> pd.DataFrame:
    """Many configurations with one true median."""
    values = factor * np.exp(0.1 * np.random.default_rng(seed).standard_normal((trials, repeats)))
    return measured(values.ravel(), sparsity=np.repeat(np.arange(trials), repeats))


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says() -> None:
    found = compare(drawn(200, 10, 1, 1), drawn(200, 10, 1.3, 2), resamples=999)
    assert 0.91 <= np.mean((found["low"] <= 1.3) & (found["high"] >= 1.3)) <= 0.99


def test_p_is_uniform_where_nothing_differs() -> None:
    found = compare(drawn(300, 8, 1, 3), drawn(300, 8, 1, 4), resamples=999)
    assert scipy_stats.kstest(found["p"], "uniform").pvalue > 0.05
    assert 0.02 <= np.mean(found["p"] <= 0.05) <= 0.08
    assert (found["p_adjusted"] > 0.05).all()


def test_p_finds_what_differs() -> None:
    found = compare(drawn(50, 8, 1, 5), drawn(50, 8, 1.3, 6), resamples=999)
    assert np.mean(found["p_adjusted"] < 0.05) > 0.9


def test_the_law_is_recovered_without_noise() -> None:
    fit = usl(scaled(2e6, 0.1, 0.01))
    (row,) = fit.parameters.to_dict("records")
    assert row["lambda"] == pytest.approx(2e6)
    assert (row["sigma"], row["kappa"]) == (pytest.approx(0.1), pytest.approx(0.01))
    assert row["peak_threads"] == pytest.approx(np.sqrt(0.9 / 0.01))
    assert row["residual_max"] == pytest.approx(0, abs=1e-9)
    assert (row["thread_counts"], row["n"], row["warnings"]) == (6, 42, "")
    assert fit.points["fitted"].to_numpy() == pytest.approx(usl_throughput(COUNTS, 2e6, 0.1, 0.01))


def test_the_intervals_of_the_law_hold_the_truth() -> None:
    truth = {"lambda": 1e6, "sigma": 0.05, "kappa": 0.002, "peak_threads": np.sqrt(0.95 / 0.002)}
    rows = pd.concat([scaled(noise=0.03, repeats=11, seed=seed, sparsity=seed) for seed in range(100)])
    found = usl(rows, resamples=400).parameters
    for name, value in truth.items():
        held = np.mean((found[f"{name}_low"] <= value) & (value <= found[f"{name}_high"]))
        assert 0.85 <= held <= 1, name
        assert found[name].median() == pytest.approx(value, rel=0.15), name


def test_residuals_are_relative_to_the_curve() -> None:
    rows = scaled(counts=(1, 2, 4, 8, 16), noise=0.05, seed=3)
    fit = usl(rows)
    points, (row,) = fit.points, fit.parameters.to_dict("records")
    assert points["residual"].to_numpy() == pytest.approx(points["median"] / points["fitted"] - 1)
    assert row["residual_max"] == pytest.approx(points["residual"].abs().max()) != 0
    assert row["residual_rms"] == pytest.approx(np.sqrt((points["residual"] ** 2).mean()))


def test_no_other_parameters_of_the_law_fit_better() -> None:
    rows = scaled(noise=0.1, seed=4)
    fit = usl(rows)
    (row,) = fit.parameters.to_dict("records")
    medians = fit.points["median"].to_numpy()

    def squares(lambda_: float, sigma: float, kappa: float) -> float:
        return float(np.sum((medians / usl_throughput(COUNTS, lambda_, sigma, kappa) - 1) ** 2))

    best = squares(row["lambda"], row["sigma"], row["kappa"])
    for change in (0.98, 1.02):
        assert best < squares(row["lambda"] * change, row["sigma"], row["kappa"])
        assert best < squares(row["lambda"], row["sigma"] * change, row["kappa"])
        assert best < squares(row["lambda"], row["sigma"], row["kappa"] * change)


def test_linear_scaling_has_no_peak_and_a_falling_one_has_it_at_one() -> None:
    (linear,) = usl(scaled(1e6, 0, 0)).parameters.to_dict("records")
    assert (linear["sigma"], linear["kappa"], linear["peak_threads"]) == (pytest.approx(0), pytest.approx(0), np.inf)
    assert linear["warnings"] == "peak not measured"
    (falling,) = usl(scaled(1e6, 2, 0)).parameters.to_dict("records")
    assert falling["peak_threads"] == 1


def test_each_configuration_is_fitted_for_itself() -> None:
    locks = {"mcs": 0.02, "qrwlock": 0.2}
    rows = pd.concat([scaled(sigma=sigma, noise=0.01, lock=lock) for lock, sigma in locks.items()])
    both = usl(rows).parameters
    for lock in locks:
        alone = usl(rows[rows["lock"] == lock]).parameters
        mine = both[both["lock"] == lock].drop(columns="lock").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, alone)


def test_too_few_thread_counts_are_refused_by_name() -> None:
    rows = pd.concat([scaled(lock="mcs"), scaled(lock="std", counts=(1, 2, 4))])
    with pytest.raises(InputError, match="4 values of threads are needed: lock=std has 1, 2, 4"):
        usl(rows)
    with pytest.raises(InputError, match="3 values of threads are needed: the frame has 1, 2"):
        knee(scaled(counts=(1, 2)))


def test_oversubscribed_rows_take_part_if_wanted_and_are_named() -> None:
    rows = scaled()
    rows["oversubscribed"] = rows["threads"] > 8
    every, fitting = (usl(rows, oversubscribed=wanted).parameters for wanted in (True, False))
    assert every["thread_counts"].tolist() == [6]
    assert every["warnings"].tolist() == ["oversubscribed"]
    assert fitting["thread_counts"].tolist() == [4]
    assert fitting["warnings"].tolist() == ["peak not measured"]


def test_a_number_of_threads_whose_measurements_all_failed_is_left_out_and_said() -> None:
    rows = scaled()
    rows["status"] = np.where(rows["threads"] == 32, "crashed", "ok")
    (row,) = usl(rows).parameters.to_dict("records")
    assert row["thread_counts"] == 5
    assert "failed" in row["warnings"]
    assert knee(rows)["thread_counts"].tolist() == [5]


def test_what_no_law_describes_says_so() -> None:
    rows = measured([0.0] * 20, threads=np.repeat([1, 2, 4, 8], 5))
    (row,) = usl(rows).parameters.to_dict("records")
    assert "not a USL curve" in row["warnings"]
    assert np.isnan([row["lambda"], row["sigma"], row["kappa"], row["peak_threads"]]).all()


@pytest.mark.parametrize(
    ("throughput", "expected"),
    [
        ((100, 190, 200, 201), 2),
        ((100, 200, 390, 400), 4),
        ((100, 80, 60, 50), 1),
        ((100, 195, 180, 150), 2),
        ((100, 200, 400, 800), None),
        ((100, 180, 300, 450), None),
        ((100, 100, 100, 100), 1),
    ],
)
def test_the_knee_is_where_throughput_stops_growing(throughput: tuple[float, ...], expected: int | None) -> None:
    rows = measured(throughput * 5, threads=[1, 2, 4, 8] * 5)
    (row,) = knee(rows).to_dict("records")
    if expected is None:
        assert pd.isna(row["knee_threads"])
        assert np.isnan(row["knee_median"])
    else:
        assert row["knee_threads"] == row["low"] == row["high"] == expected
        assert row["knee_median"] == throughput[(1, 2, 4, 8).index(expected)]
    assert row["agreement"] == 1


def test_noise_widens_the_interval_of_a_knee() -> None:
    threads = np.repeat([1, 2, 3, 4, 5, 6, 7, 8], 5)
    truth = np.minimum(threads, 4) * 100.0
    noise = np.exp(0.15 * np.random.default_rng(1).standard_normal(len(threads)))
    (calm,), (wild,) = (knee(measured(truth * by, threads=threads)).to_dict("records") for by in (1, noise))
    assert (calm["knee_threads"], calm["low"], calm["high"]) == (4, 4, 4)
    assert wild["low"] <= 4 <= wild["high"]
    assert wild["low"] < wild["high"]
    assert wild["agreement"] < 1


def test_equal_throughput_has_no_knee_by_accident_of_the_sensitivity() -> None:
    rows = scaled(sigma=0.3, kappa=0, counts=(1, 2, 4, 8))
    assert knee(rows, sensitivity=3)["knee_threads"].isna().all()
    assert knee(rows, sensitivity=0.1)["knee_threads"].notna().all()


def sized(exponent: float, *, noise: float = 0.0, repeats: int = 7, seed: int = 0, **columns: Any) -> pd.DataFrame:
    """Teardown times that grow with a power of the size."""
    sizes = np.repeat([1 << 30, 1 << 32, 1 << 34, 1 << 36], repeats)
    factor = np.exp(noise * np.random.default_rng(seed).standard_normal(len(sizes)))
    return pd.DataFrame({"guest_bytes": sizes, "teardown_ns": 5.0 * sizes**exponent * factor} | columns)


@pytest.mark.parametrize("exponent", [0, 0.5, 1, 1.2])
def test_the_slope_is_the_exponent(exponent: float) -> None:
    (row,) = slope(sized(exponent)).to_dict("records")
    assert row["slope"] == row["low"] == row["high"] == pytest.approx(exponent, abs=1e-9)
    assert row["factor"] == pytest.approx(5)
    assert (row["sizes"], row["n"]) == (4, 28)


def test_the_interval_of_a_slope_holds_the_truth() -> None:
    rows = pd.concat([sized(1, noise=0.05, repeats=11, seed=seed, sparsity=seed) for seed in range(100)])
    found = slope(rows, resamples=400)
    assert 0.88 <= np.mean((found["low"] <= 1) & (found["high"] >= 1)) <= 1
    assert (found["high"] - found["low"]).max() < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summarise(measured([1]), "ops_per_sec"), "no column ops_per_sec: did you mean ops_per_s?"),
        (lambda: summarise(measured([1]), "teardown_ns"), "no column teardown_ns: it has ops_per_s"),
        (lambda: summarise(measured([]), "ops_per_s"), "the frame has no row"),
        (lambda: summarise(measured([1]), "ops_per_s", "lock"), "no column lock"),
        (lambda: summarise(measured([np.nan]), "ops_per_s"), "column ops_per_s is empty"),
        (lambda: summarise(measured([1], wait_ns=np.nan), "wait_ns"), "needs a sweep with counters='times'"),
        (lambda: summarise(measured([1], lock="mcs"), "lock"), "column lock is of type str: a column of numbers"),
        (lambda: summarise(measured([1], status="failed"), "ops_per_s"), "every measurement in the frame failed"),
        (lambda: summarise(measured([1]), "ops_per_s", confidence=95), "confidence 95 is not between 0 and 1"),
        (lambda: summarise(measured([1]), "ops_per_s", resamples=0), "resamples 0 is not positive"),
        (lambda: compare(measured([1]), measured([])), "b: the frame has no row"),
        (
            lambda: compare(measured([1, 2], threads=[1, 2]), measured([1, 2], threads=[4, 8])),
            "no configuration in common: threads of a is 1, 2, of b 4, 8",
        ),
        (lambda: usl(measured([1])), "no column threads"),
        (lambda: usl(scaled(), by=["threads"]), "threads is what ops_per_s is set against"),
        (lambda: slope(sized(1)[:7]), "2 values of guest_bytes are needed: the frame has 1073741824"),
        (lambda: slope(sized(1).assign(teardown_ns=0)), "teardown_ns 0 of the frame has no logarithm"),
        (lambda: usl(scaled(), oversubscribed=False), "no column oversubscribed"),
    ],
)
def test_what_is_wrong_is_named(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        call()


def test_statistics_need_numpy_scipy_and_pandas_only() -> None:
    code = (
        "import sys, pyworkbench.stats\n"
        "print(*sorted({'matplotlib', 'altair', 'IPython', 'rich', 'pydantic', 'typer'} & {*sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_every_warning_is_documented() -> None:
    import pyworkbench.stats  # noqa: PLC0415

    for warning in WARNINGS:
        assert f"`{warning}`" in (pyworkbench.stats.__doc__ or ""), warning


def test_the_configuration_is_that_of_a_measurement() -> None:
    assert sorted(CONFIGURATION) == sorted(configuration("measure"))
