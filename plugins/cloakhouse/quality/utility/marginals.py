"""Marginals of one, two and three columns: total variation distance over public cells.

The distance of two distributions is half the sum of the absolute differences of their shares: 0 for equal ones, 1 for
disjoint ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy._codes import Codes
from cloakhouse.quality.utility.columns import Cells

DENSE = 2**20  # cells that are counted in an array; above, only those that occur
MOST = {1: 10_000, 2: 10_000, 3: 60}  # marginals looked at, by number of columns
Three = tuple[Codes, Codes, Codes]


@dataclass(frozen=True)
class Marginals:
    """Distances of all marginals of one order from the training rows.

    Attributes:
        order: columns in a marginal, 1 to 3.
        tested: marginals looked at; the others, if any, were left out at random.
        mean, worst: of the synthetic rows, 0-1; None when none was tested.
        worst_columns: where the worst is.
        holdout_mean: mean of the hold-out: what sampling alone does.
        holdout_at_worst: distance of the hold-out in `worst_columns`.
    """

    order: int
    tested: int
    mean: float | None = None
    worst: float | None = None
    worst_columns: tuple[str, ...] = ()
    holdout_mean: float | None = None
    holdout_at_worst: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {**asdict(self), "worst_columns": list(self.worst_columns)}


def marginals(columns: Sequence[Cells], *, seed: int) -> tuple[Marginals, ...]:
    """Return the distances of the marginals of one, two and three of `columns`.

    All single columns and pairs are tested (10,000 at most), and 60 triples that `seed` chooses.
    """
    return tuple(_of_order(columns, order, seed) for order in MOST)


def distance(left: Codes, right: Codes, size: int) -> float:
    """Return the total variation distance of two arrays of codes (0 to size - 1), neither of them empty."""
    shares = [np.bincount(codes, minlength=size) / len(codes) for codes in (left, right)]
    return float(min(np.abs(shares[0] - shares[1]).sum() / 2, 1.0))


def joint(columns: Sequence[Cells]) -> tuple[Three, int]:
    """Return one code a row for the cells of all `columns` together, on each side, and the number of codes."""
    codes, size = columns[0].codes, columns[0].size
    for column in columns[1:]:
        codes, size = product(codes, size, column.codes, column.size)
    return codes, size


def product(left: Three, left_size: int, right: Three, right_size: int) -> tuple[Three, int]:
    """Return codes of pairs on each side; when there would be too many to count, only of those that occur."""
    pairs = tuple(a * right_size + b for a, b in zip(left, right, strict=True))
    size = left_size * right_size
    if size > DENSE:
        known, dense = np.unique(np.concatenate(pairs), return_inverse=True)
        pairs, size = tuple(np.split(dense, np.cumsum([len(part) for part in pairs])[:2])), len(known)
    return (pairs[0], pairs[1], pairs[2]), size


def _of_order(columns: Sequence[Cells], order: int, seed: int) -> Marginals:
    chosen = subsets(len(columns), order, MOST[order], seed)
    if not chosen:
        return Marginals(order, 0)
    found = np.array([_distances([columns[at] for at in subset]) for subset in chosen])
    worst = int(found[:, 0].argmax())
    return Marginals(
        order=order,
        tested=len(chosen),
        mean=float(found[:, 0].mean()),
        worst=float(found[worst, 0]),
        worst_columns=tuple(columns[at].column.name for at in chosen[worst]),
        holdout_mean=float(found[:, 1].mean()),
        holdout_at_worst=float(found[worst, 1]),
    )


def _distances(columns: Sequence[Cells]) -> tuple[float, float]:
    (synthetic, training, holdout), size = joint(columns)
    return distance(synthetic, training, size), distance(holdout, training, size)


def subsets(number: int, order: int, most: int, seed: int) -> list[tuple[int, ...]]:
    """Return the subsets of `order` of `number` columns, ascending; when there are more than `most`, so many of them
    chosen by `seed`, each as likely as any other."""
    if comb(number, order) <= most:
        return list(combinations(range(number), order))
    rng = generator(seed, order)
    found: set[tuple[int, ...]] = set()
    while len(found) < most:
        found.add(tuple(sorted(rng.choice(number, order, replace=False).tolist())))
    return sorted(found)


def generator(*seeds: int) -> np.random.Generator:
    """Return a generator that repeats for the same non-negative `seeds`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([abs(seed) for seed in seeds])))


def sampled(rows: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return all row numbers, or `most` of them in ascending order."""
    return np.arange(rows) if rows <= most else np.sort(rng.choice(rows, most, replace=False))
