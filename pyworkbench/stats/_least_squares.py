"""Least squares whose solution has no negative part, for many small problems at once."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

if TYPE_CHECKING:
    from pyworkbench.stats._frame import Floats

_WELL = 1e-12
"""The determinant of normal equations of unit columns, below which they are left to a solver of one at a time."""


def not_negative(problems: Floats) -> Floats:
    """For each matrix A of `problems` the x >= 0 that makes A x differ least from ones.

    The best x is the plain solution over those columns in which it is not zero, so each choice of columns is tried
    for all problems together, and of those without a negative part the one with the least squares is taken.

    Example:
        >>> not_negative(np.array([[[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [2.0, 1.0]]])).round(3).tolist()
        [[1.0, 0.0], [0.6, 0.0]]
    """
    count, _, width = problems.shape
    length = np.linalg.norm(problems, axis=1, keepdims=True)
    unit = problems / np.where(length > 0, length, 1)
    best, least = np.zeros((count, width)), np.full(count, np.inf)
    hard = np.linalg.det(unit.transpose(0, 2, 1) @ unit) < _WELL
    for size in range(1, width + 1):
        for columns in map(list, combinations(range(width), size)):
            chosen = unit[~hard][:, :, columns]
            turned = chosen.transpose(0, 2, 1)
            normal = turned @ chosen
            found = np.linalg.solve(normal, turned.sum(axis=2)[..., None])
            # Once more with what is left: normal equations lose half of the digits.
            found += np.linalg.solve(normal, turned @ (1 - chosen @ found))
            squares = np.full(count, np.inf)
            squares[~hard] = ((1 - chosen @ found) ** 2).sum(axis=(1, 2))
            allowed = np.zeros(count, bool)
            allowed[~hard] = (found[..., 0] >= 0).all(axis=1)
            better = allowed & (squares < least)
            best[better] = 0
            best[np.flatnonzero(better)[:, None], columns] = found[better[~hard], :, 0]
            least[better] = squares[better]
    for at in np.flatnonzero(hard):
        best[at], _ = optimize.nnls(unit[at], np.ones(problems.shape[1]))
    return np.asarray(best / np.where(length[:, 0, :] > 0, length[:, 0, :], 1))
