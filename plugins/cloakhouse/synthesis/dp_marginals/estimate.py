"""From noisy counts to distributions: post-processing, so it costs no budget.

A noisy pair is the product of its two columns plus a matrix of small rank plus white noise of a known scale: its
singular values are shrunk as is best for the squared error (Gavish & Donoho 2017, doi:10.1109/TIT.2017.2653801,
Frobenius loss), which takes away most of the noise of smooth tables. Then it is brought to be non-negative (projection
onto the simplex) and raked to the columns' own distributions (Deming & Stephan 1940, doi:10.1214/aoms/1177731829),
so that all tables of a model agree where they overlap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
SWEEPS = 30  # of raking; tables are small
FLOOR = 1e-9  # share of a cell that noise hid: raking can't revive a zero


def simplex(values: Reals) -> Reals:
    """Return the nearest non-negative array (any shape) that sums to 1, in the squared error."""
    flat = np.sort(values, axis=None)[::-1]
    excess = (np.cumsum(flat) - 1.0) / np.arange(1, flat.size + 1)
    return np.asarray(np.maximum(values - excess[flat > excess][-1], 0.0))


def shares(noisy: Reals) -> Reals:
    """Return the distribution that noisy counts stand for; uniform where nothing is left above the noise."""
    total = float(noisy.sum())
    if total <= 0:
        return np.full(noisy.shape, 1.0 / noisy.size)
    return simplex(noisy / total)


def shrunk(noisy: Reals, base: Reals, scale: float) -> Reals:
    """Return `base` plus what of `noisy` - `base` (a matrix) stands out of white noise of `scale`."""
    left, singular, right = np.linalg.svd(noisy - base, full_matrices=False)
    short, long = sorted(noisy.shape)
    unit = max(scale, 1e-300) * np.sqrt(long)
    y, beta = singular / unit, short / long
    inside = np.maximum((y**2 - beta - 1) ** 2 - 4 * beta, 0.0)
    kept = np.where(y > 1 + np.sqrt(beta), np.sqrt(inside) / np.maximum(y, 1e-300), 0.0)
    return np.asarray(base + (left * (kept * unit)) @ right)


def raked(table: Reals, first: Reals, second: Reals) -> Reals:
    """Return `table` (a matrix) scaled until its rows sum to `first` and its columns to `second`."""
    most = float(table.max(initial=0.0))
    table = np.maximum(table, FLOOR * most if most > 0 else 1.0)
    for _ in range(SWEEPS):
        table = table * _ratio(first, table.sum(axis=1))[:, None]
        table = table * _ratio(second, table.sum(axis=0))
    return table


def fitted(noisy: Reals, base: Reals, scale: float, first: Reals, second: Reals) -> Reals:
    """Return the joint distribution of a noisy matrix of counts: near `base` (shares) where noise drowns it.

    Rows sum to `first`, columns to `second`. A matrix without anything above the noise gives `base`.
    """
    total = float(noisy.sum())
    if total <= 0:
        return raked(base, first, second)
    known = np.where((first[:, None] > 0) & (second > 0), noisy / total, 0.0)
    return raked(simplex(shrunk(known, base, scale / total)), first, second)


def _ratio(wanted: Reals, found: Reals) -> Reals:
    return np.where(found > 0, wanted / np.where(found > 0, found, 1.0), 0.0)
