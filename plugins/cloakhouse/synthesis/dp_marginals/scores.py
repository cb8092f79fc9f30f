"""Scores of candidates: how far a table of weighted counts is from what is known without it. Whole numbers.

Tables are int64 in steps of 2^-20 rows; the weights of a unit's rows sum to `weight` rows at most, so a unit moves a
table by that much in L1. Scores are L1 distances minus a penalty that is computed from releases:

- `against`: from a base made of noisy releases. One unit moves the table and nothing else: the sensitivity is `weight`;
- `dependence` of (x, a, z): ||M_xaz - M_xa M_az / M_a||_1, all of it exact; a pair (x, z) is the case of one a.

For each value of a let m be its mass, u and v its margins over x and z, and d the weight that a unit adds there. With
m' = m + d, u'v'/m' - uv/m = (u' - u)v'/m' + u(v' - v)/m' + uv(1/m' - 1/m), whose L1 norms are at most d, d m/m' and
d m/m': the product moves by 3 d, and M_xaz itself by d. Over all values of a the d sum to `weight`: the sensitivity of
`dependence` is 4 `weight`, and what rounding adds.

A sum of floats would move by a little more than its terms: base tables are rounded to whole steps and summed as
integers. The base of `against` is the same for neighbours. That of `dependence` is within half a step and 2^-51 of
each cell's value, whose sum is the mass of the table, below 2^53 (2^33 rows): two neighbours' distances together are
off by one step for each cell and eight more, at most. Scores beyond 2^53 are clamped, which moves none further.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloakhouse.synthesis.dp_marginals.bounding import ONE

Counts = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
EXPECTED = float(np.sqrt(2 / np.pi))  # of the absolute value of noise of scale 1
EXACT = 4  # sensitivity of a distance from exact margins, in weights
LARGEST = 2**53  # whole numbers that a float holds


@dataclass(frozen=True)
class Score:
    """A candidate's score, and by how much one unit moves it at most: both whole steps of 2^-20 rows."""

    value: float
    sensitivity: int


def against(table: Counts, base: Reals, weight: int, penalty: float) -> Score:
    """Return the distance of `table` from `base`, less `penalty` (both in rows, and functions of releases)."""
    return Score(_distance(table, _steps(base * ONE), penalty), weight * ONE)


def dependence(cube: Counts, weight: int, penalty: float) -> Score:
    """Return how far x and z of `cube` (x, a, z) are from being independent given a, less `penalty` (rows)."""
    return Score(_distance(cube, _steps(independence(cube)), penalty), EXACT * weight * ONE + cube.size + 8)


def independence(cube: npt.NDArray[np.generic]) -> Reals:
    """Return what `cube` (x, a, z) would be if x and z were independent given a: M_xa M_az / M_a."""
    first, second = cube.sum(axis=2).astype(np.float64), cube.sum(axis=0).astype(np.float64)
    mass = cube.sum(axis=(0, 2)).astype(np.float64)[None, :, None]
    both = first[:, :, None] * second[None, :, :]
    return np.asarray(np.where(mass > 0, both / np.where(mass > 0, mass, 1.0), 0.0))


def _steps(base: Reals) -> Counts:
    return np.asarray(np.rint(base), np.int64)


def _distance(table: Counts, base: Counts, penalty: float) -> float:
    found = int(np.abs(table - base).sum()) - round(penalty * ONE)
    return float(min(max(found, -LARGEST), LARGEST))
