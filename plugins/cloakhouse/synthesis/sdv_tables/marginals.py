"""Marginals over public cells: how many rows fall into each, and nothing finer is learnt from the data.

Retail columns have atoms and long tails: most baskets have no coupon, many one line, a few hundreds of units. A
beta or normal distribution turns that into baskets with lines and without units. Here the contract's range is cut
into fixed cells, one for each small whole number and growing ones above, and the distribution is uniform within a
cell. SDV's own distributions end at the smallest and the largest row, a value of one person each; cells end where the
contract says. A column without a range in the contract gets a normal distribution, which has no ends.
Only engines import this module, within functions: it loads SDV.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from copulas.univariate.base import ParametricType, Univariate  # type: ignore[import-untyped]
from sdv.single_table import GaussianCopulaSynthesizer

from cloakhouse.synthesis.cells import cells
from cloakhouse.synthesis.sdv_tables.frames import NUMBER, Coding

BINNED = "cells to "
NORMAL = "norm"
Numbers = npt.NDArray[np.float64]


class Cells(Univariate):  # type: ignore[misc]
    """A histogram over `cells(maximum)`."""

    PARAMETRIC = ParametricType.PARAMETRIC

    def __init__(self, maximum: float) -> None:
        self.maximum = maximum
        self.random_state = None
        self.__args__ = (maximum,)  # the library makes instances from instances

    def fit(self, X: Any) -> None:
        """Count the rows in each cell."""
        self._edges = cells(self.maximum)
        counts, _ = np.histogram(np.clip(X, 0.0, self.maximum), self._edges)
        self._below = np.r_[0.0, np.cumsum(counts) / max(counts.sum(), 1)]
        self.fitted = True

    def cumulative_distribution(self, X: Any) -> Numbers:
        """Return the middle of a value's cell on the probability scale, so that an atom has one rank."""
        cell = np.clip(
            np.searchsorted(self._edges, np.clip(X, 0.0, self.maximum), "right") - 1, 0, len(self._below) - 2
        )
        middle: Numbers = (self._below[cell] + self._below[cell + 1]) / 2
        return middle

    cdf = cumulative_distribution

    def percent_point(self, U: Any) -> Numbers:
        """Return the values at probabilities `U`, uniform within a cell."""
        values: Numbers = np.interp(U, self._below, self._edges)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return nothing but the type: HMA asks every marginal for parameters, and needs none of these."""
        return {"type": BINNED}


class Copula(GaussianCopulaSynthesizer):  # type: ignore[misc]
    """GaussianCopula that knows one more distribution: `cells to <maximum>`."""

    @classmethod
    def get_distribution_class(cls, distribution: str) -> Any:
        """Return what the library makes marginals of."""
        if isinstance(distribution, str) and distribution.startswith(BINNED):
            return Cells(float(distribution.removeprefix(BINNED)))
        return super().get_distribution_class(distribution)


def distributions(codings: Iterable[Coding]) -> dict[str, str]:
    """Return the marginal of each number, by the library's column."""
    return {c.name: NORMAL if c.maximum is None else f"{BINNED}{c.maximum!r}" for c in codings if c.kind == NUMBER}


def synthesizer(metadata: Any, codings: Iterable[Coding]) -> Any:
    """Return an unfitted SDV synthesizer whose numerical columns have the marginals that the module describes."""
    return Copula(
        metadata,
        enforce_min_max_values=False,
        enforce_rounding=False,
        numerical_distributions=distributions(codings),
        default_distribution="beta",
    )
