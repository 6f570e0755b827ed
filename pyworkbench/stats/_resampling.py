"""Resampling of many small samples at once.

A sorted sample's median is a mean of two of its values, and which two a resample picks does not depend on the values.
So the draws are made once for every sample of a size, as places, and what is left for each sample is to look them up.
Guaranteed: a sample's answer depends on its own values, on the number of resamples and on the seed, not on the
samples beside it.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyworkbench.stats._frame import Floats, Places

_MEMORY = 1 << 22  # values that are resampled at a time


class Medians:
    """Draws anew from samples of one size.

    Args:
        draw: where the draws come from.
        size: of a sample.
        resamples: how many.

    Example:
        >>> Medians(np.random.default_rng(0), 1, 3).of(np.array([[7.0], [8.0]])).tolist()
        [[7.0, 7.0, 7.0], [8.0, 8.0, 8.0]]
    """

    def __init__(self, draw: np.random.Generator, size: int, resamples: int) -> None:
        places = draw.integers(size, size=(resamples, size))
        middle = [(size - 1) // 2, size // 2]
        places.partition(middle, axis=1)
        self._low, self._high = (places[:, at] for at in middle)

    def of(self, samples: Floats) -> Floats:
        """The medians of what was drawn, a row for each row of `samples`, which are in ascending order."""
        low, high = (samples[..., at] for at in (self._low, self._high))
        return low + (high - low) / 2


def median_intervals(samples: Sequence[Floats], confidence: float, resamples: int, seed: int) -> Floats:
    """Percentile bootstrap intervals of the medians of sorted samples; missing for fewer than two values."""
    found = np.full((len(samples), 2), np.nan)
    for size, alike in _alike([(len(sample),) for sample in samples]):
        if size[0] > 1:
            medians = Medians(np.random.default_rng(seed), size[0], resamples)
            for chosen in _slices(alike, resamples):
                found[chosen] = _interval(medians.of(np.stack([samples[at] for at in chosen])), confidence)
    return found


def ratio_intervals(pairs: Sequence[tuple[Floats, Floats]], confidence: float, resamples: int, seed: int) -> Floats:
    """Percentile bootstrap intervals of the ratio of medians, second over first, of pairs of sorted samples.

    Missing where one has fewer than two values; infinite where resamples of the first have a median of zero.
    """

    def intervals(a: Floats, b: Floats) -> Floats:
        draw = np.random.default_rng(seed)
        of_b, of_a = (Medians(draw, sample.shape[1], resamples).of(sample) for sample in (b, a))
        with np.errstate(divide="ignore", invalid="ignore"):
            return _interval(of_b / of_a, confidence)

    return _of_pairs(pairs, 2, resamples, intervals)


def permutation_tests(pairs: Sequence[tuple[Floats, Floats]], resamples: int, seed: int) -> Floats:
    """The p of a two-sided permutation test of mean ranks, of pairs of samples; missing for fewer than two values.

    Exact where there are no more permutations than resamples; otherwise what was seen counts as one of those drawn.
    """

    def p_values(a: Floats, b: Floats) -> Floats:
        ranks = stats.rankdata(np.hstack([a, b]), axis=1)
        count, size = ranks.shape[1], b.shape[1]
        exact = comb(count, size) <= resamples
        if exact:
            chosen = np.array(list(combinations(range(count), size)))
        else:
            every = np.tile(np.arange(count), (resamples, 1))
            chosen = np.random.default_rng(seed).permuted(every, axis=1)[:, :size]
        picked = np.zeros((len(chosen), count))
        np.put_along_axis(picked, chosen, 1.0, axis=1)
        sums = ranks @ picked.T  # halves, so without rounding
        seen = ranks[:, -size:].sum(axis=1, keepdims=True)
        more = 0 if exact else 1
        sides = [((side).sum(axis=1) + more) / (len(chosen) + more) for side in (sums <= seen, sums >= seen)]
        return np.asarray(np.minimum(2 * np.minimum(*sides), 1.0))[:, None]

    return _of_pairs(pairs, 1, resamples, p_values)[:, 0]


def _of_pairs(
    pairs: Sequence[tuple[Floats, Floats]], columns: int, resamples: int, answer: Callable[[Floats, Floats], Floats]
) -> Floats:
    """What is answered for pairs of samples, those of the same two sizes together."""
    found = np.full((len(pairs), columns), np.nan)
    for sizes, alike in _alike([(len(a), len(b)) for a, b in pairs]):
        if min(sizes) > 1:
            for chosen in _slices(alike, resamples):
                a, b = (np.stack([pairs[at][which] for at in chosen]) for which in (0, 1))
                found[chosen] = answer(a, b)
    return found


def _alike(sizes: Sequence[tuple[int, ...]]) -> list[tuple[tuple[int, ...], Places]]:
    """The different sizes, and where each is."""
    return [(one, np.flatnonzero([size == one for size in sizes])) for one in dict.fromkeys(sizes)]


def _slices(places: Places, resamples: int) -> Iterator[Places]:
    """As many places at a time as memory allows."""
    at_once = max(1, _MEMORY // resamples)
    return (places[start : start + at_once] for start in range(0, len(places), at_once))


def _interval(resampled: Floats, confidence: float) -> Floats:
    """The percentile interval of each row."""
    tail = (1 - confidence) / 2
    return np.asarray(np.quantile(resampled, [tail, 1 - tail], axis=1).T)
