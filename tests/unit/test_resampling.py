"""Many small samples resampled together give what scipy gives for each alone."""

import numpy as np
import pytest
from scipy import optimize, stats

from pyworkbench.stats import usl_throughput
from pyworkbench.stats._least_squares import not_negative
from pyworkbench.stats._resampling import Medians, median_intervals, permutation_tests, ratio_intervals

DRAW = np.random.default_rng(7)


def samples(size: int, count: int = 20) -> list[np.ndarray]:
    """Sorted samples around 100."""
    return [np.sort(DRAW.normal(100, 10, size)) for _ in range(count)]


def mean_difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(np.mean(a, axis=axis) - np.mean(b, axis=axis))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 11])
def test_a_resample_has_the_median_of_what_was_drawn(size: int) -> None:
    some = np.stack(samples(size))
    drawn = np.random.default_rng(3).integers(size, size=(50, size))
    expected = np.median(some[:, drawn], axis=-1)
    assert Medians(np.random.default_rng(3), size, 50).of(some) == pytest.approx(expected)


@pytest.mark.parametrize("size", [3, 5, 8, 20])
def test_intervals_of_medians_are_those_of_scipy(size: int) -> None:
    some = samples(size)
    ours = median_intervals(some, 0.9, 4000, 1)
    for found, sample in zip(ours, some, strict=True):
        theirs = stats.bootstrap(
            (sample,), np.median, n_resamples=4000, confidence_level=0.9, method="percentile", rng=2
        ).confidence_interval
        # Two draws of the same law: ends differ by less than the values next to them do.
        assert found == pytest.approx([theirs.low, theirs.high], abs=0.5 * np.diff(sample).max())


def test_intervals_of_ratios_hold_the_truth_as_often_as_they_say() -> None:
    pairs = list(zip(samples(15, 400), (3 * sample for sample in samples(15, 400)), strict=True))
    found = ratio_intervals(pairs, 0.95, 999, 0)
    assert 0.92 <= np.mean((found[:, 0] <= 3) & (found[:, 1] >= 3)) <= 0.99


@pytest.mark.parametrize(("sizes", "resamples"), [((5, 5), 9999), ((2, 3), 9999), ((4, 7), 9999), ((5, 5), 252)])
def test_exact_permutation_tests_are_those_of_scipy(sizes: tuple[int, int], resamples: int) -> None:
    first, second = ([np.sort(DRAW.integers(0, 6, size)).astype(np.float64) for _ in range(20)] for size in sizes)
    pairs = list(zip(first, second, strict=True))
    ours = permutation_tests(pairs, resamples, 0)
    for p, (a, b) in zip(ours, pairs, strict=True):
        ranks = stats.rankdata(np.concatenate([a, b]))
        of = (ranks[len(a) :], ranks[: len(a)])
        assert p == pytest.approx(
            stats.permutation_test(of, mean_difference, n_resamples=np.inf, vectorized=True).pvalue
        )


def test_drawn_permutation_tests_are_near_the_exact_ones() -> None:
    pairs = list(zip(samples(6), samples(7), strict=True))
    assert permutation_tests(pairs, 1700, 0) == pytest.approx(permutation_tests(pairs, 9999, 0), abs=0.05)
    assert (permutation_tests([(np.zeros(6), np.arange(1.0, 8))], 1000, 0) > 0).all()


def test_too_few_values_have_no_interval_and_no_test() -> None:
    pairs = [(np.ones(1), np.ones(5)), (np.ones(0), np.ones(3))]
    assert np.isnan(ratio_intervals(pairs, 0.95, 99, 0)).all()
    assert np.isnan(permutation_tests(pairs, 99, 0)).all()
    assert np.isnan(median_intervals([np.ones(1), np.ones(0)], 0.95, 99, 0)).all()


def test_least_squares_are_those_of_scipy() -> None:
    threads = np.array([1.0, 2, 4, 8, 16])
    # Sigma and kappa at 0, within, and, for throughput that grows too fast, outside of what is allowed.
    throughput = np.concatenate(
        [
            usl_throughput(threads, 1e6, 0.05, 0.01) * np.exp(0.1 * DRAW.standard_normal((50, 5))),
            usl_throughput(threads, 1e6, 0, 0) * np.exp(0.2 * DRAW.standard_normal((50, 5))),
            np.exp(2 * DRAW.standard_normal((50, 5))),
        ]
    )
    rate = throughput / throughput.max(axis=1, keepdims=True) / threads
    problems = np.stack([rate, rate * (threads - 1), rate * threads * (threads - 1)], axis=-1)
    theirs = np.array([optimize.nnls(problem, np.ones(5))[0] for problem in problems])
    assert (theirs == 0).any(axis=0)[1:].all()
    assert not_negative(problems) == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_columns_that_are_alike_are_solved_too() -> None:
    problem = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    (found,) = not_negative(problem[None])
    assert (found >= 0).all()
    assert problem @ found == pytest.approx([2 / 3, 2 / 3, 4 / 3])
