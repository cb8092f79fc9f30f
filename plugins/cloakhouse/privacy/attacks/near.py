"""Rows that are near each other: all categories equal, and every number within a small public distance.

The tolerance is on the scale of log1p, so about 12 % of a value, in which normal jitter of 5 % stays in five columns
out of five nine times in ten. A k-d tree in the maximum norm finds near rows: numbers are divided by their
tolerance, and the categories of a row are one more coordinate, far apart when different.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy._codes import Codes, row_codes
from cloakhouse.privacy.attacks.encoding import Encoded

NEAR = 0.12  # in log1p of a number
WIDE = 1.0  # the same, for densities
APART = 8.0  # of two categories, in tolerances
WORKERS = 2
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Rows as coordinates in which near rows are at most 1 apart in the maximum norm, shape (rows, numbers + 1)."""

    at: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: npt.NDArray[np.int64]) -> Places:
        """Return the places of `rows`."""
        return Places(self.at[rows])

    def tree(self) -> Any:
        """Return a scipy cKDTree over the places."""
        from scipy.spatial import cKDTree  # type: ignore[import-untyped]

        return cKDTree(self.at, compact_nodes=True, balanced_tree=False)


def places(encoded: Encoded, tolerance: float = NEAR) -> list[Places]:
    """Return the places of the rows of each table."""
    labels = np.vstack([part.labels for part in encoded.parts])
    numbers = np.vstack([part.numbers for part in encoded.parts]) * (encoded.scales / tolerance)
    kinds: Codes = row_codes(list(labels.T)) if labels.shape[1] else np.zeros(len(labels), np.int64)
    together = np.column_stack([numbers, kinds * APART])
    edges = np.cumsum([0] + [len(part) for part in encoded.parts])
    return [Places(together[low:high]) for low, high in pairwise(edges)]


def count_near(tree: Any, points: Places) -> Counts:
    """Return how many rows of `tree` are near each of `points`."""
    found = tree.query_ball_point(points.at, 1.0, p=np.inf, return_length=True, workers=WORKERS)
    return np.asarray(found, np.int64)


def nearest_near(tree: Any, points: Places) -> Counts:
    """Return the row of `tree` that is nearest to each of `points`, or -1 if none is near."""
    _, found = tree.query(points.at, 1, p=np.inf, distance_upper_bound=1.0 + 1e-9, workers=WORKERS)
    return np.where(found == tree.n, -1, found).astype(np.int64)
