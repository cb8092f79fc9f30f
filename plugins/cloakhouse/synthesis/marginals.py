"""Marginals over public cells: how many rows fall into each, and nothing finer is learnt from the data.

Retail columns have atoms and long tails: most baskets have no coupon, many one line, a few hundreds of units. A
beta or normal distribution turns that into baskets with lines and without units. Here the contract's range is cut
into fixed cells, one for each small whole number and growing ones above, and the distribution is uniform within a
cell. SDV's own distributions end at the smallest and the largest row, a value of one person each; cells end where the
contract says. A column without a range in the contract gets a normal distribution, which has no ends.
Only `cloakhouse.synthesis.copula` imports this module: it loads SDV.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from copulas.univariate.base import ScipyModel  # type: ignore[import-untyped]
from scipy.stats import rv_histogram  # type: ignore[import-untyped]
from sdv.single_table import GaussianCopulaSynthesizer

from cloakhouse.synthesis.protocol import ViewColumn

SINGLE = 20  # whole numbers with a cell of their own
GROWTH = 1.05  # width of a cell above them, relative to the one before
CENT = 0.005  # half a cent: what rounds to zero
BINNED = "cells to "
Numbers = npt.NDArray[np.float64]


def cells(maximum: float) -> Numbers:
    """Return the rising edges of the cells of [0, maximum]: zero, each small number, growing cells, the maximum."""
    single = np.arange(0.5, min(SINGLE, maximum - 1) + 1.0)
    steps = max(int(np.log(max((maximum - 0.5) / single[-1], 1.0)) / np.log(GROWTH)), 0) if len(single) else 0
    growing = np.geomspace(single[-1], maximum - 0.5, steps + 1)[1:] if steps else np.array([])
    return np.unique(np.r_[-0.5, CENT, single, growing, maximum - CENT, maximum + 0.5])


class _BinnedModel(ScipyModel):  # type: ignore[misc]
    """A histogram over `cells(maximum)`; the subclass knows the maximum."""

    maximum: float
    MODEL_CLASS: Any = None

    def _fit(self, X: Any) -> None:
        self._edges = cells(self.maximum)
        counts, _ = np.histogram(np.clip(X, 0.0, self.maximum), self._edges)
        self._below = np.r_[0.0, np.cumsum(counts) / max(counts.sum(), 1)]
        self.MODEL_CLASS = rv_histogram((counts, self._edges), density=False)
        self._params: dict[str, Any] = {}

    def cumulative_distribution(self, X: Any) -> Numbers:
        """Return the middle of a value's cell on the probability scale, so that an atom has one rank."""
        cell = np.clip(
            np.searchsorted(self._edges, np.clip(X, 0.0, self.maximum), "right") - 1, 0, len(self._below) - 2
        )
        middle: Numbers = (self._below[cell] + self._below[cell + 1]) / 2
        return middle

    def _is_constant(self) -> bool:
        return False

    def _fit_constant(self, X: Any) -> None:
        self._fit(X)


class _Synthesizer(GaussianCopulaSynthesizer):  # type: ignore[misc]
    """GaussianCopula that knows one more distribution: `cells to <maximum>`."""

    @classmethod
    def get_distribution_class(cls, distribution: str) -> Any:
        if distribution.startswith(BINNED):
            return type("BinnedModel", (_BinnedModel,), {"maximum": float(distribution.removeprefix(BINNED))})
        return super().get_distribution_class(distribution)


def synthesizer(metadata: Any, columns: tuple[ViewColumn, ...]) -> Any:
    """Return an unfitted SDV synthesizer whose numerical columns have the marginals that the module describes."""
    numerical = {
        c.name: "norm" if c.maximum is None else f"{BINNED}{c.maximum!r}" for c in columns if not c.categorical
    }
    return _Synthesizer(
        metadata,
        enforce_min_max_values=False,
        enforce_rounding=True,
        numerical_distributions=numerical,
        default_distribution="beta",
    )
