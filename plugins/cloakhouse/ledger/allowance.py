"""Privacy budgets in words and numbers: whose they are, how much may be spent, and until when a spend counts.

Budgets are counted in whole numbers so that sums don't drift: rho in billionths, delta in units of 10^-18. A spend is
rounded up, an allowance is rounded down. A float stands for the shortest decimal number that reads back as it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from cloakhouse.errors import ContractError

RENEWALS = {"never": 0, "year": 12, "quarter": 3, "month": 1}  # months of a period
RESERVED, COMMITTED, RELEASED = "reserved", "committed", "released"
_LARGEST = 1e6  # rho or delta; no privacy is left long before
_RHO, _DELTA = 9, 18  # decimal digits that are counted


@dataclass(frozen=True, order=True)
class Account:
    """Who may spend on what: `consumer`'s budget of the protected `dataset`, per `unit` of privacy."""

    dataset: str
    unit: str
    consumer: str

    def __str__(self) -> str:
        return f"{self.dataset} (per {self.unit}, for {self.consumer})"


@dataclass(frozen=True)
class Allowance:
    """What an account may spend in one period.

    Attributes:
        rho: of zCDP; what may be spent while no delta is.
        delta: what may be spent directly, by mechanisms that have a delta of their own.
        renewal: `never`, `year`, `quarter` or `month`: calendar periods, UTC.
        rho_at: the rho that may be spent once so much delta (its argument) is; never more than `rho`. None: `rho`.

    Raises ContractError for numbers that are negative or not finite, and another renewal.
    """

    rho: float
    delta: float
    renewal: str
    rho_at: Callable[[float], float] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("rho", "delta"):
            check_amount(f"the allowed {name}", getattr(self, name), zero=True)
        if self.renewal not in RENEWALS:
            raise _refused("the renewal of a budget", "one of: " + ", ".join(RENEWALS), "another text", "choose one")

    def ceiling(self, delta: int) -> int:
        """Return the rho (billionths) that may be spent where `delta` (10^-18) is."""
        rho = self.rho if self.rho_at is None or not delta else min(self.rho, self.rho_at(real_delta(delta)))
        return whole_rho(rho, up=False)

    def window(self, at: dt.datetime) -> tuple[dt.datetime, dt.datetime | None]:
        """Return the period of `at`: its first moment (UTC), and that of the next, None where none follows."""
        months = RENEWALS[self.renewal]
        if not months:
            return dt.datetime(1, 1, 1, tzinfo=dt.UTC), None
        moment = utc(at)
        first = (moment.month - 1) // months * months
        start = dt.datetime(moment.year, first + 1, 1, tzinfo=dt.UTC)
        return start, start.replace(year=start.year + (first + months) // 12, month=(first + months) % 12 + 1)


@dataclass(frozen=True)
class Balance:
    """What an account has spent in its period, and what is left.

    Attributes:
        spent_rho, spent_delta: of committed and reserved spends.
        left_rho, left_delta: what may still be spent; never negative.
        reserved_rho: the part of `spent_rho` that is reserved.
        renews: when the period ends (UTC); None: never.
    """

    spent_rho: float
    spent_delta: float
    left_rho: float
    left_delta: float
    reserved_rho: float
    renews: dt.datetime | None


@dataclass(frozen=True)
class Spend:
    """One spend, charged to each of its accounts in full.

    Attributes:
        id: chosen by whoever spends; of one release.
        accounts: in order.
        rho, delta: rounded up to what the ledger counts in.
        purpose: what for, in words.
        state: `reserved`, `committed` or `released`. All but released ones are spent.
        reserved_at, ended_at: UTC; the first decides in which period it counts.
        reason: why it was released, else empty.
    """

    id: str
    accounts: tuple[Account, ...]
    rho: float
    delta: float
    purpose: str
    state: str
    reserved_at: dt.datetime
    ended_at: dt.datetime | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        times = {name: at.isoformat() if (at := getattr(self, name)) else None for name in ("reserved_at", "ended_at")}
        return {**asdict(self), "accounts": [asdict(account) for account in self.accounts], **times}


def utc(at: dt.datetime) -> dt.datetime:
    """Return `at` in UTC; one without a zone is UTC already, as SQLite gives it back."""
    return at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)


def whole_rho(rho: float, *, up: bool) -> int:
    """Return `rho` in billionths, rounded up or down."""
    return _whole(rho, _RHO, up)


def whole_delta(delta: float, *, up: bool) -> int:
    """Return `delta` in units of 10^-18, rounded up or down."""
    return _whole(delta, _DELTA, up)


def real_rho(billionths: int) -> float:
    """Return the rho that `whole_rho` counted."""
    return billionths / 1_000_000_000


def real_delta(units: int) -> float:
    """Return the delta that `whole_delta` counted."""
    return units / 1_000_000_000_000_000_000


def check_amount(where: str, amount: float, *, zero: bool = False) -> None:
    """Raise ContractError unless `amount` is a finite number above 0, or 0 where `zero` may be."""
    if not math.isfinite(amount) or not 0 <= amount <= _LARGEST or (amount == 0 and not zero):
        expected = f"a number, {'0 or more' if zero else 'above 0'}"
        raise _refused(where, expected, f"{amount:g}", "derive it from an epsilon and a delta of the contract")


def _whole(amount: float, digits: int, up: bool) -> int:
    shifted = Decimal(repr(float(amount))).scaleb(digits)
    return int(shifted.to_integral_value(rounding=ROUND_CEILING if up else ROUND_FLOOR))


def _refused(where: str, expected: str, found: str, remedy: str) -> ContractError:
    return ContractError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was spent, and no noise was drawn",
        remedy=remedy,
        code="privacy",
    )
