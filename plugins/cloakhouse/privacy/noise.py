"""Privacy noise, all of it OpenDP's: from the system's cryptographic generator, never seeded, never repeatable.

Every mechanism takes what one unit of privacy may change (its sensitivity) and what may be spent, in rho of zCDP, and
finds its own scale; OpenDP's privacy map then confirms that no more than that is spent. Neighbours differ by one unit
added or removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.privacy._opendp import discrete_gaussian, gumbel_max, private_quantile, thresholded
from cloakhouse.privacy.accounting import check_delta, check_rho

Counts = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
_MAX_SCALE = 2.0**52  # of integers; far beyond it noise would leave the range of int64
_MAX_KEYS = 1_000_000  # of one unit


def gaussian(values: Counts, scale: float) -> Counts:
    """Return `values` (int64, any shape) plus discrete Gaussian noise of `scale`, independent in each cell.

    `scale` is the parameter sigma, about the standard deviation where it is 1 or more. What leaves the range of int64
    is clamped. Costs 12 to 20 us of CPU a cell. Raises ContractError for a scale that isn't above 0 and at most 2^52,
    and TreatmentError for values of another type. Source: Canonne, Kamath & Steinke 2020 (arXiv 2004.00010),
    algorithm 3.
    """
    _positive("the scale of the noise", scale, most=_MAX_SCALE)
    _typed("the values", values, np.int64)
    noisy = discrete_gaussian(scale)(values.ravel().tolist())
    return np.asarray(noisy, dtype=np.int64).reshape(values.shape)


def rho_of_gaussian(l2_sensitivity: float, scale: float) -> float:
    """Return the rho that `gaussian` of `scale` spends where one unit changes the values by `l2_sensitivity` at most.

    It is `l2_sensitivity`^2 / (2 `scale`^2), rounded up. Raises ContractError for a sensitivity or a scale that isn't
    above 0 and finite, and for a scale too small for any guarantee. Source: arXiv 2004.00010, theorem 14.
    """
    _positive("the sensitivity", l2_sensitivity)
    _positive("the scale of the noise", scale, most=_MAX_SCALE)
    return _spent(discrete_gaussian(scale), l2_sensitivity)


def scale_for(l2_sensitivity: float, rho: float) -> float:
    """Return the smallest scale of `gaussian` that spends at most `rho`: to the last bits of a float, rounded up.

    Raises ContractError for a sensitivity that isn't above 0 and finite, and for a rho outside (0, 50].
    """
    _positive("the sensitivity", l2_sensitivity)
    check_rho(rho)
    return _calibrated(discrete_gaussian, l2_sensitivity, rho, l2_sensitivity / math.sqrt(2 * rho))


def noisy_max(scores: Reals, sensitivity: float, rho: float) -> int:
    """Return the index of a high score, drawn by the exponential mechanism: P(i) ~ exp(score_i / scale).

    One unit may raise or lower each score (float64, one a candidate) by `sensitivity`, independently of the others.
    The scale is `sensitivity` / sqrt(2 `rho`). Accounting: the mechanism has a bounded range of
    epsilon = 2 `sensitivity` / scale, which is epsilon^2 / 8 of zCDP (Cesar & Rogers 2020, arXiv 2004.07223, lemma
    3.4); it is drawn as the largest score with Gumbel noise, exactly (Durfee & Rogers 2019, arXiv 1905.04273).

    Raises ContractError for a sensitivity that isn't above 0 and finite, and for a rho outside (0, 50]; TreatmentError
    for no scores, and for scores that aren't finite float64.
    """
    _positive("the sensitivity", sensitivity)
    check_rho(rho)
    _finite("the scores", scores)
    if not len(scores):
        raise _unusable("the scores", "at least one candidate", "none")
    scale = _calibrated(gumbel_max, sensitivity, rho, sensitivity / math.sqrt(2 * rho))
    return int(gumbel_max(scale)(scores.tolist()))


def quantile(values: Reals, candidates: Reals, q: float, rho: float, weights: Reals | None = None) -> float:
    """Return the candidate that is about the `q`-quantile of `values` (float64, one a unit), spending at most `rho`.

    `candidates` (float64, ascending, public) are scored by how far their rank is off, and one is drawn by the
    exponential mechanism; a unit that comes or goes changes a score by max(`q`, 1 - `q`) at most. Without values each
    candidate is as likely, or as `weights` say: public, above 0, the mechanism's base measure, which costs nothing and
    keeps candidates that would do great harm from being drawn by chance. Raises ContractError for a `q` outside [0, 1],
    a rho outside (0, 50], weights that aren't above 0, and candidates that are none, not finite or not ascending;
    TreatmentError for values that aren't finite float64. Sources: Smith 2011 (doi 10.1145/1993636.1993743); McSherry &
    Talwar 2007, section 3 (doi 10.1109/FOCS.2007.66) for the base measure; accounting as `noisy_max`.
    """
    check_rho(rho)
    if not 0 <= q <= 1:  # also refuses NaN
        raise _refused("the quantile", "a share from 0 to 1", f"{q:g}", "state which quantile is wanted, e.g. 0.95")
    if not len(candidates) or not np.isfinite(candidates).all() or not (np.diff(candidates) > 0).all():
        remedy = "declare the candidates: public, finite, each above the one before"
        raise _refused("the candidates", "ascending, finite numbers", f"{len(candidates)} others", remedy)
    _finite("the values", values)
    if weights is not None:
        most = max(q, 1 - q)
        return float(candidates[noisy_max(_off(values, candidates, q) + _favour(weights, most, rho), most, rho)])
    known = tuple(float(candidate) for candidate in candidates)
    mechanism = partial(private_quantile, known, q)
    scale = _calibrated(mechanism, 1, rho, max(q, 1 - q) / math.sqrt(2 * rho))
    return float(mechanism(scale)(values))


def _off(values: Reals, candidates: Reals, q: float) -> Reals:
    """Return each candidate's score: by how far its rank is off, as OpenDP's private_quantile has it; 0 is best."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, candidates, "left")
    above = len(ordered) - np.searchsorted(ordered, candidates, "right")
    return np.asarray(-np.abs((1 - q) * below - q * above), np.float64)


def _favour(weights: Reals, sensitivity: float, rho: float) -> Reals:
    """Return what `weights` add to scores: the same whatever the data are."""
    _finite("the weights", weights)
    if not (weights > 0).all():
        raise _refused("the weights", "numbers above 0", "others", "leave out candidates that may not be drawn")
    return np.asarray(sensitivity / math.sqrt(2 * rho) * np.log(weights), np.float64)


def common_keys(counts: Counts, most_per_unit: int, rho: float, delta: float) -> tuple[npt.NDArray[np.bool_], Counts]:
    """Return which keys may be told, and their noisy counts: private partition selection.

    `counts` (int64) has the number of units that hold a key, one entry for each key that occurs; a unit holds at most
    `most_per_unit` of them. Noise is Gaussian, for an L2 sensitivity of sqrt(`most_per_unit`), and a key is told where
    its noisy count is above a threshold, which a key of a single unit passes with so small a probability that all
    keys of one unit together stay below `delta`. Counts of other keys, and of keys that don't occur, come back as 0.
    Only keys under the mask may be released; spent are `rho` and `delta`.

    Raises ContractError for a `most_per_unit` outside 1 to 1,000,000, a rho outside (0, 50] and a delta outside
    (0, 1e-4); TreatmentError for counts that aren't int64, or negative. Sources: Swanberg et al. 2023
    (arXiv 2306.07884); Rogers 2023 (arXiv 2309.09170).
    """
    check_rho(rho)
    check_delta(delta)
    if not isinstance(most_per_unit, Integral) or not 1 <= most_per_unit <= _MAX_KEYS:
        expected = f"a whole number, 1 to {_MAX_KEYS:,}"
        raise _refused("keys of one unit", expected, f"{most_per_unit}", "bound the keys of a unit first")
    _typed("the counts", counts, np.int64)
    if (counts < 0).any():
        raise _unusable("the counts", "numbers of units, 0 or more", f"{int((counts < 0).sum())} below 0")
    scale, threshold = selection(int(most_per_unit), rho, delta)
    present = np.flatnonzero(counts)
    told = thresholded(scale, threshold + 1)(dict(zip(present.tolist(), counts[present].tolist(), strict=True)))
    at = np.fromiter(told.keys(), dtype=np.int64, count=len(told))
    noisy = np.zeros(len(counts), dtype=np.int64)
    noisy[at] = np.fromiter(told.values(), dtype=np.int64, count=len(told))
    mask = np.zeros(len(counts), dtype=np.bool_)
    mask[at] = True
    return mask, noisy


@lru_cache(maxsize=256)
def selection(most_per_unit: int, rho: float, delta: float) -> tuple[float, int]:
    """Return the scale and the threshold of `common_keys`: a key is told where its noisy count is above it.

    OpenDP 0.16 understates delta here: its map bounds the chance of a count above the threshold, but its measurement
    tells a count that equals it, too. So the map is asked for the threshold, and the measurement made for one more.
    """
    root = math.sqrt(most_per_unit)
    distance = (most_per_unit, root if root.is_integer() else math.nextafter(root, math.inf), 1.0)
    scale = scale_for(distance[1], rho)
    low, high = 1, 2
    while thresholded(scale, high).map(distance)[1] > delta:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if thresholded(scale, middle).map(distance)[1] <= delta else (middle, high)
    return scale, high


def _calibrated(mechanism: Callable[[float], Any], distance: float, rho: float, scale: float) -> float:
    """Return `scale`, or what little above it `mechanism` needs to spend at most `rho` at `distance`."""
    step = 2.0**-52
    while mechanism(scale).map(distance) > rho:
        scale, step = scale * (1 + step), 2 * step
    _positive("the scale of the noise", scale, most=_MAX_SCALE)
    return scale


def _spent(mechanism: Any, distance: float) -> float:
    rho = float(mechanism.map(distance))
    if not math.isfinite(rho):
        remedy = "take the scale from scale_for(sensitivity, rho)"
        raise _refused("the scale of the noise", "one that protects", "one too small for the sensitivity", remedy)
    return rho


def _positive(where: str, value: float, most: float = math.inf) -> None:
    if not math.isfinite(value) or not 0 < value <= most:
        expected = "a finite number above 0" + ("" if most == math.inf else f", at most {most:g}")
        raise _refused(where, expected, f"{value:g}", "bound what one unit contributes, and derive the scale from it")


def _typed(where: str, values: npt.NDArray[Any], dtype: type) -> None:
    if values.dtype != dtype:
        raise _unusable(where, f"an array of {np.dtype(dtype)}", f"one of {values.dtype}")


def _finite(where: str, values: Reals) -> None:
    _typed(where, values, np.float64)
    if values.ndim != 1:
        raise _unusable(where, "one column", f"an array of {values.ndim} dimensions")
    if not np.isfinite(values).all():
        raise _unusable(where, "finite numbers", f"{int((~np.isfinite(values)).sum())} of {values.size} not finite")


def _unusable(where: str, expected: str, found: str) -> TreatmentError:
    return TreatmentError(
        where=where,
        expected=expected,
        found=found,
        not_done="no noise was drawn, and nothing was released",
        remedy="hand over whole columns of that type, without nulls",
        code="privacy",
    )


def _refused(where: str, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        where=where,
        expected=expected,
        found=found,
        not_done="no noise was drawn, and nothing was released",
        remedy=remedy,
        code="privacy",
    )
