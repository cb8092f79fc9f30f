"""Correlations of pairs of columns, and how far the synthetic ones are from those of the training rows.

Two numbers: Pearson's r over the rows that have both. Any other pair: Cramér's V over public cells, corrected for
bias (Bergsma 2013, doi:10.1016/j.jkss.2012.10.002), 0-1. A constant column tells nothing about another: its
correlation counts as 0, so that a synthetic column that has lost its spread shows as a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from cloakhouse.privacy._codes import Codes
from cloakhouse.quality.utility.columns import Cells, Numbers
from cloakhouse.quality.utility.marginals import product


@dataclass(frozen=True)
class Correlations:
    """Mean absolute differences of correlations from those of the training rows; None where there is no such pair.

    Attributes:
        measure: of pairs that are not both numbers.
        pearson_pairs, other_pairs: how many there are of each kind.
        pearson_error, other_error, error: of the synthetic rows, over each kind and over all pairs.
        holdout_pearson_error, holdout_other_error, holdout_error: of the hold-out: what sampling alone does.
    """

    pearson_pairs: int
    other_pairs: int
    pearson_error: float | None
    other_error: float | None
    error: float | None
    holdout_pearson_error: float | None
    holdout_other_error: float | None
    holdout_error: float | None
    measure: str = "Cramér's V, bias-corrected"

    def as_dict(self) -> dict[str, float | int | str | None]:
        """Return the fields for JSON."""
        return asdict(self)


def correlations(columns: Sequence[Cells]) -> Correlations:
    """Return the errors of the correlations of all pairs of `columns`."""
    by_kind: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for left, right in combinations(columns, 2):
        if left.numbers is not None and right.numbers is not None:
            kind, found = 0, [pearson(a, b) for a, b in zip(left.numbers, right.numbers, strict=True)]
        else:
            kind, found = 1, _cramers(left, right)
        by_kind[kind].append((abs(found[0] - found[1]), abs(found[2] - found[1])))
    numeric_pairs, others = by_kind
    numeric_means, other_means, means = map(_means, (numeric_pairs, others, [*numeric_pairs, *others]))
    return Correlations(
        pearson_pairs=len(numeric_pairs),
        other_pairs=len(others),
        pearson_error=numeric_means[0],
        other_error=other_means[0],
        error=means[0],
        holdout_pearson_error=numeric_means[1],
        holdout_other_error=other_means[1],
        holdout_error=means[1],
    )


def pearson(left: Numbers, right: Numbers) -> float:
    """Return Pearson's r over the rows where neither is NaN; 0 for fewer than two rows and for a constant."""
    both = ~(np.isnan(left) | np.isnan(right))
    a, b = (_centred(values[both]) for values in (left, right))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / length, -1, 1)) if length > 0 else 0.0


def cramers_v(pairs: Codes, pair_size: int, left: Codes, right: Codes) -> float:
    """Return the bias-corrected V of codes `left` and `right`, whose pairs have the codes `pairs`; 0 for a constant."""
    rows = len(pairs)
    lefts, rights = np.bincount(left), np.bincount(right)
    counts = np.bincount(pairs, minlength=pair_size)
    first = np.zeros(pair_size, np.int64)
    first[pairs] = np.arange(rows)  # any row of a pair tells which two cells it is of
    seen = np.flatnonzero(counts)
    expected = lefts[left[first[seen]]].astype(float) * rights[right[first[seen]]]
    phi2 = float((counts[seen].astype(float) ** 2 / expected).sum()) - 1.0
    k, r = int((lefts > 0).sum()), int((rights > 0).sum())
    if min(k, r, rows - 1) < 2:
        return 0.0
    corrected = max(phi2 - (k - 1) * (r - 1) / (rows - 1), 0.0)
    least = min(k - (k - 1) ** 2 / (rows - 1), r - (r - 1) ** 2 / (rows - 1)) - 1
    return min((corrected / least) ** 0.5, 1.0) if least > 0 else 0.0


def _cramers(left: Cells, right: Cells) -> list[float]:
    pairs, size = product(left.codes, left.size, right.codes, right.size)
    return [cramers_v(p, size, a, b) for p, a, b in zip(pairs, left.codes, right.codes, strict=True)]


def _centred(values: Numbers) -> Numbers:
    """Return `values` without their mean, scaled so that no square overflows; zeros for a constant."""
    if len(values) < 2 or values.min() == values.max():
        return np.zeros(len(values))
    scaled = values / np.abs(values).max()
    return np.asarray(scaled - scaled.mean())


def _means(pairs: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    if not pairs:
        return None, None
    means = np.array(pairs).mean(axis=0)
    return float(means[0]), float(means[1])
