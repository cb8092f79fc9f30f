"""Differentially private sums over public cells: one vector a unit of privacy, one Gaussian for all of them.

1. a unit's values in all cells are one vector of whole hundredths, which follows from that unit's rows alone;
2. a vector longer than the clip norm (L2) is shortened and rounded towards zero, so it only gets shorter; its norm is
   then checked in whole numbers, and a vector that were still too long would count as nothing;
3. the vectors are added up, and every cell gets discrete Gaussian noise of one scale.

So a unit that comes or goes changes the vector by the clip norm at most, exactly, however many cells it is in: one
scale of noise pays for all cells. Bounding each cell by itself instead lost four times as much on till receipts.
A clip norm that isn't declared, and the total that a refusal needs, are bought with a part of the budget.

Sources: Canonne, Kamath & Steinke 2020 (arXiv 2004.00010) for the noise; Wilson et al. 2020 (arXiv 1909.01917) for
bounding what a unit contributes; NIST SP 800-226, section 3, for what a release has to state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloakhouse.errors import ContractError
from cloakhouse.privacy import noise

Whole = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

PARTS = 100  # of one: values are whole hundredths
MAX_CLIP = 20_000_000.0
MAX_CELLS = 2_000_000
Z = 1.959964  # two-sided 95 % of a Gaussian
CLIP_SHARE = 0.1  # of rho, for a clip norm that isn't declared
TOTAL_SHARE = 0.05  # of rho, for a total that isn't known
CANDIDATES: Reals = 2.0 ** np.arange(-6, 24.25, 0.25)  # clip norms that may be bought: 1/64 to 2^24
_LIMIT = 2**31  # hundredths that one cell of a unit can hold; squares of norms up to it fit into int64
_SLACK = 1 - 2.0**-20  # pays for the rounding of a norm in floating point


@dataclass(frozen=True)
class Contributions:
    """What each unit adds to each cell. Made by `contributions`.

    Attributes:
        units: int64, ascending codes of the units, one entry for each pair of a unit and a cell that it is in.
        cells: int64, the cell of each pair, 0 to `count` - 1.
        values: int64, hundredths.
        count: number of cells, public.
    """

    units: Whole
    cells: Whole
    values: Whole
    count: int


@dataclass(frozen=True)
class Release:
    """Noisy sums.

    Attributes:
        values: float64, one a cell, in the measure's own unit.
        low, high: float64, interval that holds the sum of the clipped vectors with 95 %, cell by cell.
        standard_error: of the noise, the same in every cell.
    """

    values: Reals
    low: Reals
    high: Reals
    standard_error: float


def contributions(units: Whole, cells: Whole, values: Whole, count: int) -> Contributions:
    """Return the pairs in the order of their units. Each pair of unit and cell stands once; all arrays are int64.

    Raises ContractError for more than MAX_CELLS cells, or none.
    """
    check_cells(count)
    order = np.argsort(units, kind="stable")
    return Contributions(units[order], cells[order], np.clip(values[order], -_LIMIT, _LIMIT), count)


def check_cells(count: int) -> None:
    """Raise ContractError unless `count` cells can be released."""
    if not 1 <= count <= MAX_CELLS:
        raise _refused(
            "the breakdown", f"1 to {MAX_CELLS:,} cells", f"{count:,}", "break down by fewer columns or values"
        )


def hundredths(clip: float) -> int:
    """Return the clip norm in whole hundredths, rounded down. Raises ContractError for one outside [0.01, 2e7]."""
    if not 1 / PARTS <= clip <= MAX_CLIP:  # also refuses NaN
        remedy = "declare what one unit may count for in all cells together (the root of the sum of its squares)"
        raise _refused("the clip norm", f"a number from {1 / PARTS:g} to {MAX_CLIP:,.0f}", f"{clip:g}", remedy)
    return math.floor(clip * PARTS + 1e-9)


def clipped(given: Contributions, bound: int) -> Whole:
    """Return the values (int64 hundredths) after each unit's vector was brought to an L2 norm of at most `bound`.

    The bound holds exactly, in whole numbers. A vector within it stays as it is.
    """
    if not len(given.units):
        return given.values
    starts, norm = _starts(given), norms(given) * PARTS
    factor = np.where(norm > bound, bound * _SLACK / np.maximum(norm, 1.0), 1.0)
    sizes = np.diff(np.append(starts, len(given.units)))
    shortened = np.trunc(given.values * np.repeat(factor, sizes)).astype(np.int64)
    small = np.abs(shortened) <= bound  # of a vector that isn't, the squares might not fit
    squares = np.add.reduceat(np.where(small, shortened, 0) ** 2, starts)
    sound = (squares <= bound * bound) & np.logical_and.reduceat(small, starts)
    return np.where(np.repeat(sound, sizes), shortened, 0)


def norms(given: Contributions) -> Reals:
    """Return the L2 norm of each unit's vector (float64, in the measure's own unit), in the order of the units."""
    if not len(given.units):
        return np.zeros(0)
    return np.sqrt(np.add.reduceat((given.values / PARTS) ** 2, _starts(given)))


def _starts(given: Contributions) -> Whole:
    return np.flatnonzero(np.diff(given.units, prepend=given.units[0] - 1)).astype(np.int64)


def sums(given: Contributions, bound: int) -> Whole:
    """Return the sum of the clipped vectors: int64 hundredths, one a cell. Its L2 sensitivity is `bound`."""
    total = np.zeros(given.count, dtype=np.int64)
    np.add.at(total, given.cells, clipped(given, bound))
    return total


def release(given: Contributions, clip: float, rho: float) -> Release:
    """Return the noisy sums of all cells; spends at most `rho`. Raises ContractError for a clip or rho out of range."""
    bound = hundredths(clip)
    scale = noise.scale_for(bound, rho)
    values = noise.gaussian(sums(given, bound), scale) / PARTS
    error = scale / PARTS
    return Release(values, values - Z * error, values + Z * error, error)


def standard_error(clip: float, rho: float) -> float:
    """Return the standard error of every cell that `release` would give, in the measure's own unit."""
    return noise.scale_for(hundredths(clip), rho) / PARTS


def relative_error(error: float, cells: int, total: float) -> float:
    """Return the standard error as a share of the mean cell; infinite for a `total` that isn't above 0."""
    return error * cells / total if total > 0 else math.inf


def bought_clip(given: Contributions, rho: float, main: float) -> float:
    """Return a clip norm of CANDIDATES, drawn under at most `rho`; `main` is the rho that the sums will have.

    Shortening the longest vectors a little further takes from the sums what those lose, and spares every cell its
    share of the noise. The two balance where about `cells / (sqrt(2 main) sqrt(cells one unit is in))` units are
    longer; a unit is taken to be in `touched(cells)` of them. A unit that comes or goes changes a candidate's distance
    from that number by 1 at most. The number is never so small that the draw could lose it among larger candidates.
    """
    balance = math.sqrt(2 / math.pi) * given.count / math.sqrt(2 * main * touched(given.count))
    wanted = max(balance, 1.5 * (math.log(len(CANDIDATES)) + 4) / math.sqrt(2 * rho))
    longer = len(ordered := np.sort(norms(given))) - np.searchsorted(ordered, CANDIDATES, side="right")
    return float(CANDIDATES[noise.noisy_max(-np.abs(longer - wanted), 1.0, rho)])


def bought_total(given: Contributions, clip: float, rho: float) -> float:
    """Return the noisy total over all cells of what units add after clipping; spends at most `rho`.

    Each unit counts `clip * sqrt(touched(cells))` at most, which makes it too small rather than too large.
    """
    bound = hundredths(clip)
    most = math.floor(bound * math.sqrt(touched(given.count)))
    if not len(given.units):
        each = np.zeros(1, dtype=np.int64)
    else:
        each = np.minimum(np.add.reduceat(np.abs(clipped(given, bound)), _starts(given)), most)
    noisy = noise.gaussian(np.array([each.sum()], dtype=np.int64), noise.scale_for(most, rho))
    return float(noisy[0]) / PARTS


def touched(cells: int) -> float:
    """Return how many of `cells` one unit is taken to be in, where nothing may be learnt from the data: cells^(3/4)."""
    return float(cells**0.75)


def _refused(where: str, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was counted and nothing was spent",
        remedy=remedy,
        code="query",
    )
