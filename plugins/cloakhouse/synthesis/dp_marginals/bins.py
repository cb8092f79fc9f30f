"""Coarse bins, learnt from noisy cells: a function of what is released already, so it costs nothing more.

Pairs are counted in some 16 bins a column, each with about the same noisy mass: finer ones would hold more noise than
rows. A second, wider binning (4 bins) serves as the third axis of a clique.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cloakhouse.synthesis.dp_marginals.domains import Domain

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
BINS = 16
WIDE = 4


def coarse(domain: Domain, shares: Shares, most: int) -> Counts:
    """Return the bin of each cell of `domain`, int64 from 0, at most `most` bins and one for the missing cell.

    `shares` are of the cells, with the missing one last. Ordered cells are merged with their neighbours until a bin has
    its share; of other cells the largest have a bin each and the rest one together.
    """
    known = shares[:-1]
    if len(known) <= most:
        table = np.arange(len(known))
    elif domain.ordered:
        table = _merged(known, most)
    else:
        table = np.full(len(known), most - 1)
        table[np.argsort(-known, kind="stable")[: most - 1]] = np.arange(most - 1)
    return np.asarray(np.r_[table, table.max(initial=-1) + 1], np.int64)


def _merged(shares: Shares, most: int) -> Counts:
    table = np.zeros(len(shares), np.int64)
    bin_, inside, left = 0, 0.0, float(shares.sum())
    for cell, share in enumerate(shares):
        if inside > 0 and bin_ < most - 1 and inside + share / 2 >= left / (most - bin_):
            left, bin_, inside = left - inside, bin_ + 1, 0.0
        table[cell] = bin_
        inside += share
    return table


def grouped(table: Counts, shares: Shares) -> Shares:
    """Return the shares of the bins of `table` from those of its cells."""
    return np.asarray(np.bincount(table, shares, minlength=int(table.max()) + 1), np.float64)


def widened(domain: Domain, bins: Counts, shares: Shares) -> Counts:
    """Return the wide bin of each cell of `domain`: `bins` merged as cells were."""
    merged = grouped(bins, shares)
    few = replace(domain, starts=None, values=tuple(range(len(merged) - 1)))
    if domain.ordered:
        few = replace(domain, starts=tuple(range(len(merged) - 1)), last=len(merged) - 2)
    return np.asarray(coarse(few, merged, WIDE)[bins])
