"""What one unit may contribute: exact bounds in integers, whatever its rows are.

A marginal's sum is over units h of x_h, the unit's count vector, scaled by min(1, c / ||x_h||_2): everything of a heavy
unit counts, at a lower weight, where a cap on rows would throw most of it away. Sums are integers in steps of 2^-20
and weights are rounded DOWN to such steps: noise is drawn on integers, so the bound has to hold for the integers, and
a weight rounded to the nearest could exceed it. With n2 = ||x_h||^2 (an integer, exact),

    u_h = the largest integer with u_h^2 * n2 <= 2^40,   and so   ||u_h * x_h||_2 <= 2^20,

a unit within the clip norm c (an integer; n2 <= c^2) adds 2^20 * x_h and any other c * u_h * x_h: both have norm c *
2^20 at most. The clip norm is bought after counting, so sums are kept for each candidate: units are grouped by the
smallest candidate not below their norm, and `inside` and `beyond` hold the sums of x_h and of u_h * x_h of each group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
BITS = 20
ONE = 1 << BITS  # one row at full weight
MOST = 100_000  # rows of a unit up to which clip norms and caps are offered
DENSE = 4  # units x cells up to so many times the rows are counted in one array


@dataclass(frozen=True)
class Sums:
    """Sums of one marginal over units, for every candidate clip norm.

    Attributes:
        units: units by the smallest candidate not below their norm, shape (candidates + 1,); the last are above all.
        inside, beyond: sums of count vectors, shape (candidates + 1, cells); `beyond` in steps of 2^-20.
    """

    units: Counts
    inside: Counts
    beyond: Counts

    def clipped(self, candidates: Counts, at: int) -> Counts:
        """Return the clipped sum in steps of 2^-20 for the clip norm `candidates[at]`, shape (cells,)."""
        low, high = self.inside[: at + 1].sum(axis=0), self.beyond[at + 1 :].sum(axis=0)
        return np.asarray(ONE * low + int(candidates[at]) * high, np.int64)


def norms(cap: int) -> Counts:
    """Return the candidate clip norms up to `cap`: public, rising whole numbers, each about a fifth above the last."""
    steps = np.unique(np.rint(1.2 ** np.arange(0, 80)).astype(np.int64))
    return np.asarray(np.r_[steps[steps < cap], cap], np.int64)


def clipped_sums(unit: Counts, units: int, code: Counts, cells: int, candidates: Counts) -> Sums:
    """Return the sums of the marginal `code` (a cell each record) of records whose unit is `unit` (0 to `units`)."""
    h, cell, n = _vectors(unit, units, code, cells)
    squared = np.bincount(h, n.astype(np.float64) ** 2, minlength=units).astype(np.int64)  # exact below 2^53
    group = np.searchsorted(candidates**2, squared)
    groups = len(candidates) + 1
    at = group[h] * cells + cell
    inside = np.bincount(at, n, minlength=groups * cells)
    beyond = np.bincount(at, n * weight_of_norm(squared)[h], minlength=groups * cells)
    present = np.bincount(group[squared > 0], minlength=groups)
    shape = (groups, cells)
    return Sums(present, inside.astype(np.int64).reshape(shape), beyond.astype(np.int64).reshape(shape))


def weight_of_norm(squared: Counts) -> Counts:
    """Return the largest integer u with u^2 * `squared` <= 2^40 for each squared norm, an int64; 2^20 for none."""
    guess = np.floor(ONE / np.sqrt(np.maximum(squared, 1))).astype(np.int64)
    guess += (guess + 1) ** 2 * np.maximum(squared, 1) <= ONE**2
    return np.asarray(guess - (guess**2 * np.maximum(squared, 1) > ONE**2), np.int64)


def row_weights(unit: Counts, units: int, cap: int) -> Counts:
    """Return a weight for each record in steps of 2^-20, so that those of a unit sum to `cap` at most."""
    count = np.bincount(unit, minlength=units)
    weight = np.minimum(ONE, cap * ONE // np.maximum(count, 1))
    return np.asarray(weight[unit], np.int64)


def _vectors(unit: Counts, units: int, code: Counts, cells: int) -> tuple[Counts, Counts, Counts]:
    """Return unit, cell and count of each non-zero entry of the units' count vectors."""
    key = unit * cells + code
    if units * cells <= DENSE * len(key) + 2**16:
        dense = np.bincount(key, minlength=units * cells)
        found = np.flatnonzero(dense)
        counts = dense[found]
    else:
        found, counts = np.unique(key, return_counts=True)
    return found // cells, found % cells, counts.astype(np.int64)
