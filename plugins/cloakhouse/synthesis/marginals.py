"""Marginals whose range is public: a beta distribution on the contract's range, and not on that of the data.

SDV's own beta is fitted with its range, which then ends at the smallest and the largest row: a value of one
person each. Here mean and variance alone are taken from the data (method of moments). A column without a range in
the contract gets a normal distribution, which has no ends.
Only `cloakhouse.synthesis.copula` imports this module: it loads SDV.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from copulas.univariate import BetaUnivariate  # type: ignore[import-untyped]
from sdv.single_table import GaussianCopulaSynthesizer

from cloakhouse.synthesis.protocol import ViewColumn

MARGIN = 0.5  # on both sides of the range, so that its ends are values like others
FIRM = 1e6  # a + b of the narrowest beta
RANGED = "beta to "


class _RangedBeta(BetaUnivariate):  # type: ignore[misc]
    """Beta distribution on [-MARGIN, maximum + MARGIN]; the subclass knows the maximum."""

    maximum: float

    def _fit(self, X: Any) -> None:
        loc, scale = -MARGIN, self.maximum + 2 * MARGIN
        share = (np.clip(X, 0.0, self.maximum) - loc) / scale
        mean, variance = float(np.mean(share)), float(np.var(share))
        weight = mean * (1 - mean) / variance - 1 if variance else FIRM
        weight = min(max(weight, 1 / FIRM), FIRM)
        self._params = {"loc": loc, "scale": scale, "a": mean * weight, "b": (1 - mean) * weight}


class _Synthesizer(GaussianCopulaSynthesizer):  # type: ignore[misc]
    """GaussianCopula that knows one more distribution: `beta to <maximum>`."""

    @classmethod
    def get_distribution_class(cls, distribution: str) -> Any:
        if distribution.startswith(RANGED):
            return type("RangedBeta", (_RangedBeta,), {"maximum": float(distribution.removeprefix(RANGED))})
        return super().get_distribution_class(distribution)


def synthesizer(metadata: Any, columns: tuple[ViewColumn, ...]) -> Any:
    """Return an unfitted SDV synthesizer whose numerical columns have the marginals that the module describes."""
    numerical = {
        c.name: "norm" if c.maximum is None else f"{RANGED}{c.maximum!r}" for c in columns if not c.categorical
    }
    return _Synthesizer(
        metadata,
        enforce_min_max_values=False,
        enforce_rounding=True,
        numerical_distributions=numerical,
        default_distribution="beta",
    )
