"""The area under the ROC curve, by ranks, so that many weightings of the same scores cost one sort."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloakhouse.quality.utility.columns import Numbers

Mask = npt.NDArray[np.bool_]


def auc(truth: Mask, scores: Numbers, weights: Numbers | None = None) -> float | None:
    """Return the share of pairs of a true and a false row whose true one has the higher score, ties counted half;
    rows count by `weights` (1 if not given). None when either class is empty."""
    return Ranking.of(truth, scores).auc(np.ones(len(truth)) if weights is None else weights)


@dataclass(frozen=True)
class Ranking:
    """Rows in the order of their score, sorted once for many weightings."""

    order: npt.NDArray[np.int64]
    truth: Mask
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, truth: Mask, scores: Numbers) -> Ranking:
        """Return the ranking of `scores`; rows of equal scores stand together, `starts` are their first."""
        order = np.argsort(scores, kind="stable")
        ranked = scores[order]
        return cls(order, truth[order], np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]][: len(ranked)]))

    def auc(self, weights: Numbers) -> float | None:
        """Return the weighted AUC, see `auc`."""
        if not len(self.order):
            return None
        ordered = weights[self.order]
        true = np.add.reduceat(np.where(self.truth, ordered, 0.0), self.starts)
        false = np.add.reduceat(np.where(self.truth, 0.0, ordered), self.starts)
        pairs = true.sum() * false.sum()
        return float((true * (np.cumsum(false) - false / 2)).sum() / pairs) if pairs > 0 else None
