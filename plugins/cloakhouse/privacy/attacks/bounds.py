"""One-sided 95 % bounds of what an attack does better on training households than on hold-out households.

Rows of one household are alike, so the household is the sampling unit everywhere. Sources: variance of a share over
clusters by linearization and its effective sample size, Korn & Graubard 1998 (Survey Methodology 24(2), 193-201);
score bound of a share, Wilson 1927, doi:10.1080/01621459.1927.10502953; bound of a difference from the bounds of both
shares, Newcombe 1998, method 10, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I; area under the
curve over clusters, Obuchowski 1997, doi:10.2307/2533958; bootstrap of clusters, Davison & Hinkley 1997, section 3.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from cloakhouse.privacy.copies import _wilson

CONFIDENCE = 0.95  # one-sided
Z = NormalDist().inv_cdf(CONFIDENCE)
DRAWS = 200  # of the bootstrap
LEFT = 0.5  # what is left to gain, at least
Numbers = npt.NDArray[np.float64]
Units = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """A share of rows over households: `value` 0-1, and `size`, the number of independent rows it is worth."""

    value: float
    size: float

    @property
    def low(self) -> float:
        """Lower 95 % score limit."""
        return max(0.0, _wilson(self.value, self.size, Z)[0])  # type: ignore[arg-type]

    @property
    def high(self) -> float:
        """Upper 95 % score limit."""
        return _wilson(self.value, self.size, Z)[1]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Estimate:
    """A point estimate and its upper bound."""

    value: float
    bound: float


def dense(units: Units) -> Units:
    """Return household numbers 0 to households - 1 instead of `units`."""
    return np.asarray(np.unique(units, return_inverse=True)[1], np.int64)


def share(success: npt.NDArray[np.bool_] | Numbers, units: Units) -> Share:
    """Return the share of `success` (0-1, one entry a row) with an effective size for rows that cluster by `units`.

    Without any success, or with nothing else, rows tell nothing about clustering: each household counts once. Fractions
    (a household's mean) vary less than marks, so each may be worth more than one.
    """
    owners = dense(units)
    rows, households = len(owners), int(owners.max()) + 1
    value = float(np.mean(success))
    residuals = np.bincount(owners, np.asarray(success, np.float64) - value)
    variance = float((residuals**2).sum()) / rows**2 * households / max(households - 1, 1)
    if variance <= 0 or not 0 < value < 1:
        return Share(value, households)
    size = value * (1 - value) / variance
    return Share(value, min(float(rows), size) if success.dtype == np.bool_ else size)


def by_household(success: npt.NDArray[np.bool_] | Numbers, units: Units) -> Numbers:
    """Return the mean of `success` of each household, in the order of its number."""
    owners = dense(units)
    return np.asarray(np.bincount(owners, np.asarray(success, np.float64)) / np.bincount(owners))


def excess(training: Share, holdout: Share) -> Estimate:
    """Return the difference of two independent shares."""
    value = training.value - holdout.value
    reach = sqrt((training.high - training.value) ** 2 + (holdout.value - holdout.low) ** 2)
    return Estimate(value, min(1.0, value + reach))


def risk(training: Share, holdout: Share) -> Estimate:
    """Return (training - holdout) / (1 - holdout): the success that only membership explains, of what is left to gain.

    At least `LEFT` counts as left: where anybody guesses right, as in a column that is nearly constant, the quotient
    would be noise. Source: Giomi et al. 2022, arXiv 2211.10459, section 3.2, but for that.
    """
    difference = excess(training, holdout)
    left = max(1 - holdout.value, LEFT)
    return Estimate(difference.value / left, min(1.0, difference.bound / left))


def gap(training: Numbers, holdout: Numbers) -> Estimate:
    """Return the gap between the largest of both sides, and between training's and the hold-out's third largest.

    Every training household is attacked, so only the hold-out's extreme is sampled: with 95 % the largest of a
    bootstrap sample of households is at least the third largest found, since (1 - 3 / n)^n < 0.05.
    """
    ordered = np.sort(holdout)
    return Estimate(float(training.max() - ordered[-1]), float(training.max() - ordered[-3]))


def area(training: Numbers, owners: Units, holdout: Numbers, others: Units, *, capped: bool = True) -> Estimate:
    """Return the area under the curve of scores (larger: more likely a member) of clustered rows; its bound is at most
    1, unless not `capped`, for those who want its distance."""
    ordered_in, ordered_out = np.sort(training), np.sort(holdout)
    above = _placement(training, ordered_out)  # share of hold-out rows below each training row
    below = 1 - _placement(holdout, ordered_in)
    value = float(above.mean())
    variance = _variance(above, owners, value) + _variance(below, others, value)
    bound = value + Z * sqrt(variance)
    return Estimate(value, min(1.0, bound) if capped else bound)


def detection(training: Numbers, owners: Units, holdout: Numbers, others: Units, rate: float, seed: int) -> Estimate:
    """Return the share of true positives where a share `rate` of the hold-out is a false positive, less `rate`.

    Ties are broken at random, which interpolates the curve. The bound is from 200 bootstrap draws of households.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 11])))
    member = _Sorted.of(training, dense(owners), rng)
    other = _Sorted.of(holdout, dense(others), rng)
    value = _detected(member, other, None, None, rate)
    draws = []
    for _ in range(DRAWS):
        left = rng.multinomial(member.households, np.full(member.households, 1 / member.households))
        right = rng.multinomial(other.households, np.full(other.households, 1 / other.households))
        draws.append(_detected(member, other, left, right, rate))
    return Estimate(value - rate, min(1.0, value - rate + Z * float(np.std(draws, ddof=1))))


@dataclass(frozen=True)
class _Sorted:
    """Scores from the largest down, with a random second key, and whose they are."""

    scores: Numbers
    owners: Units
    households: int

    @classmethod
    def of(cls, scores: Numbers, owners: Units, rng: np.random.Generator) -> _Sorted:
        spread = scores + rng.random(len(scores)) * 1e-9
        order = np.argsort(-spread, kind="stable")
        return cls(spread[order], owners[order], int(owners.max()) + 1)


def _detected(member: _Sorted, other: _Sorted, left: Units | None, right: Units | None, rate: float) -> float:
    false = np.cumsum(np.ones(len(other.scores)) if right is None else right[other.owners])
    limit = other.scores[min(int(np.searchsorted(false, rate * false[-1], "right")), len(false) - 1)]
    true = np.cumsum(np.ones(len(member.scores)) if left is None else left[member.owners])
    found = int(np.searchsorted(-member.scores, -limit, "left"))
    return float(true[found - 1] / true[-1]) if found else 0.0


def _placement(scores: Numbers, ordered: Numbers) -> Numbers:
    low, high = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    return np.asarray((low + high) / (2 * len(ordered)))


def _variance(values: Numbers, units: Units, centre: float) -> float:
    owners = dense(units)
    sums = np.bincount(owners, values - centre)
    return float((sums**2).sum()) / len(values) ** 2 * len(sums) / max(len(sums) - 1, 1)
