"""Conversions between zero-concentrated and approximate differential privacy, by OpenDP's privacy curves.

Every conversion errs on the safe side: a rho is rounded down, an epsilon is rounded up, and both hold in OpenDP's own
arithmetic, which rounds the same way. Sources: Bun & Steinke 2016 (arXiv 1605.02065) for zCDP and what pure
differential privacy implies of it; Canonne, Kamath & Steinke 2020 (arXiv 2004.00010, section 2.3) for the curve.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

from cloakhouse.errors import ContractError
from cloakhouse.privacy._opendp import concentrated, curve

MAX_EPSILON = 50.0  # beyond it nothing is protected that anybody would call private
MAX_DELTA = 1e-4  # exclusive; a delta of 1 in 10,000 may publish one customer of 10,000 as she is
MAX_RHO = 50.0  # zCDP; no rho above it converts to an epsilon of at most MAX_EPSILON
_BILLION = 10**9


@dataclass(frozen=True)
class Guarantee:
    """What a release promises (NIST SP 800-226).

    Attributes:
        epsilon, delta: of approximate differential privacy.
        rho: of zero-concentrated differential privacy; it implies the pair.
        unit: unit of privacy, e.g. `household`.
        neighbours: the neighbouring relation in words, e.g. `add or remove one household with all of its rows`.
    """

    epsilon: float
    delta: float
    rho: float
    unit: str
    neighbours: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def guarantee(epsilon: float, delta: float, unit: str) -> Guarantee:
    """Return the guarantee of (`epsilon`, `delta`) per `unit`, with the rho that may be spent under it.

    Neighbours differ by one unit with all of its rows, added or removed. Raises ContractError as `rho_of`, and for an
    empty unit.
    """
    if not unit.strip():
        raise _refused("the unit of privacy", "a noun such as household", "none", "name the unit of privacy")
    return Guarantee(epsilon, delta, rho_of(epsilon, delta), unit, f"add or remove one {unit} with all of its rows")


@lru_cache(maxsize=1024, typed=True)
def rho_of(epsilon: float, delta: float) -> float:
    """Return the largest rho of zCDP that implies (`epsilon`, `delta`), in whole billionths, as the ledger counts it.

    `epsilon_of(rho_of(epsilon, delta), delta) <= epsilon` always. Raises ContractError for an epsilon outside
    (0, 50] and a delta outside (0, 1e-4), and for a pair so small that not one billionth implies it.
    """
    check_epsilon(epsilon)
    check_delta(delta)
    low, high = 0, int(MAX_RHO * _BILLION)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _implies(middle, epsilon, delta) else (low, middle)
    if not low:
        found = f"epsilon {epsilon:g} at delta {delta:g}, which leaves less than a billionth of rho"
        raise _refused("epsilon", "a guarantee that noise can give", found, "state a larger epsilon")
    return low / _BILLION


@lru_cache(maxsize=4096, typed=True)
def epsilon_of(rho: float, delta: float) -> float:
    """Return the smallest epsilon that `rho` of zCDP implies at `delta`, rounded up. It is 0 for a tiny rho.

    Raises ContractError for a rho outside (0, 50] and a delta outside (0, 1e-4).
    """
    check_rho(rho)
    check_delta(delta)
    found = float(curve(rho).epsilon(delta))
    return math.nextafter(found, math.inf) if found else 0.0


def rho_of_pure(epsilon: float) -> float:
    """Return the rho of zCDP that pure differential privacy of `epsilon` implies: epsilon^2 / 2, rounded up.

    Raises ContractError for an epsilon outside (0, 50]. Source: Bun & Steinke 2016, proposition 1.4.
    """
    check_epsilon(epsilon)
    return concentrated(epsilon)


def check_epsilon(epsilon: float) -> None:
    """Raise ContractError unless `epsilon` is a number above 0 and at most 50."""
    if not _number(epsilon) or not 0 < epsilon <= MAX_EPSILON:
        remedy = "state an epsilon above 0; 1 to 5 a unit of privacy is usual, and less is safer"
        raise _refused("epsilon", f"a number above 0, at most {MAX_EPSILON:g}", _described(epsilon), remedy)


def check_delta(delta: float) -> None:
    """Raise ContractError unless `delta` is a number above 0 and below 1e-4."""
    if not _number(delta) or not 0 < delta < MAX_DELTA:
        remedy = "state a delta far below one in the number of units, such as 1e-9"
        raise _refused("delta", f"a number above 0, below {MAX_DELTA:g}", _described(delta), remedy)


def check_rho(rho: float) -> None:
    """Raise ContractError unless `rho` is a number above 0 and at most 50."""
    if not _number(rho) or not 0 < rho <= MAX_RHO:
        remedy = "take rho from rho_of(epsilon, delta), or a part of it"
        raise _refused("rho", f"a number above 0, at most {MAX_RHO:g}", _described(rho), remedy)


def _implies(billionths: int, epsilon: float, delta: float) -> bool:
    """Return whether that much rho, and the next float above it, implies the pair."""
    return epsilon_of(min(math.nextafter(billionths / _BILLION, math.inf), MAX_RHO), delta) <= epsilon


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _described(value: object) -> str:
    return f"{value:g}" if isinstance(value, Real) and not isinstance(value, bool) else type(value).__name__


def _refused(where: str, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        where=where,
        expected=expected,
        found=found,
        not_done="no guarantee was stated, and nothing was released",
        remedy=remedy,
        code="privacy",
    )
