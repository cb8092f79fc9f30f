"""What leaves the driver: sums of bounded contributions with discrete Gaussian noise, once each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy import noise
from cloakhouse.synthesis.dp_marginals.bounding import ONE, Counts, Sums
from cloakhouse.synthesis.dp_marginals.spending import SAFE, Purse

Reals = npt.NDArray[np.float64]
LOWEST_CLIP, HIGHEST_CLIP = 0.5, 0.85  # quantiles of the units' norms
GAUSSIAN = "discrete Gaussian"  # in the log
POWER = 2 / 3  # best split of a budget over sums of errors ~ cells x norm / sqrt(rho)


@dataclass(frozen=True)
class Measurement:
    """One noisy sum.

    Attributes:
        level: of the records that were counted.
        kind: `units`, `records`, `weight` (totals), `cells` (a column in its cells) or `bins`.
        columns: axes, in order; none for totals.
        thinned: whether the last axis is in its few wide bins.
        clip: L2 bound on what one unit adds (rows).
        scale: of the discrete Gaussian noise, in steps of 2^-20 rows.
        rho: spent.
        noisy: the sum with its noise, in steps of 2^-20 rows, int64, one number a cell in C order.
    """

    level: str
    kind: str
    columns: tuple[str, ...]
    thinned: bool
    clip: int
    scale: float
    rho: float
    noisy: Counts

    @property
    def name(self) -> str:
        """A name for logs."""
        return f"{self.level}: " + (" x ".join(self.columns) if self.columns else self.kind)

    @property
    def counts(self) -> Reals:
        """Return the noisy sum in rows."""
        return np.asarray(self.noisy / ONE, np.float64)

    @property
    def sigma(self) -> float:
        """Return the noise's scale in rows."""
        return self.scale / ONE

    def as_dict(self) -> dict[str, Any]:
        """Return all but the noisy sum, JSON-ready."""
        return {
            "level": self.level,
            "kind": self.kind,
            "columns": list(self.columns),
            "thinned": self.thinned,
            "clip": self.clip,
            "scale": self.scale,
            "rho": self.rho,
        }


@dataclass(frozen=True)
class Wanted:
    """A sum to be measured: its exact value (steps of 2^-20 rows), and the L2 bound it was clipped to (rows)."""

    level: str
    kind: str
    columns: tuple[str, ...]
    exact: Counts
    clip: int
    thinned: bool = False


def measured(wanted: Wanted, purse: Purse, rho: float) -> Measurement:
    """Return `wanted` with noise that spends `rho`, written down in `purse`."""
    bound = float(wanted.clip * ONE)
    scale = noise.scale_for(bound, rho)
    spent = noise.rho_of_gaussian(bound, scale)
    found = Measurement(
        wanted.level, wanted.kind, wanted.columns, wanted.thinned, wanted.clip, scale, spent, np.zeros(0, np.int64)
    )
    purse.spend(found.name, GAUSSIAN, spent)
    noisy = noise.gaussian(wanted.exact, scale)
    return Measurement(
        wanted.level, wanted.kind, wanted.columns, wanted.thinned, wanted.clip, scale, spent, noisy.ravel()
    )


def all_measured(wanted: Sequence[Wanted], purse: Purse, rho: float) -> list[Measurement]:
    """Return every one of `wanted`, `rho` split so that the sum of their errors is least (larger ones get more)."""
    weights = np.array([(w.clip * w.exact.size) ** POWER for w in wanted], np.float64)
    parts = rho * SAFE * weights / max(weights.sum(), 1e-300)
    return [measured(one, purse, float(part)) for one, part in zip(wanted, parts, strict=True)]


def clip_at(sums: Sums, candidates: Counts, q: float, purse: Purse, what: str, rho: float) -> int:
    """Return the position of the clip norm in `candidates`: about the `q`-quantile of the units' norms, bought."""
    if len(candidates) == 1:
        return 0
    values = np.repeat(np.r_[candidates, candidates[-1] + 1].astype(np.float64), sums.units)
    purse.spend(f"clip norm of {what}", "exponential mechanism, quantile", rho)
    chosen = noise.quantile(values, candidates.astype(np.float64), q, rho)
    return int(np.searchsorted(candidates, chosen))


def quantile_for(rho: float, units: float) -> float:
    """Return which quantile of the norms to clip at: higher where noise is small against `units`.

    Clipping biases towards light units and noise grows with the norm: the quantile where both are about equal was
    measured on baskets of 1,600 households at epsilon 1, 3 and 8.
    """
    loudness = rho * (max(units, 1.0) / 1600) ** 2
    return float(np.clip(0.5 + 0.1 * np.log2(loudness / 0.1), LOWEST_CLIP, HIGHEST_CLIP))
