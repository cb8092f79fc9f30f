"""What may still stand after an erasure although it was made from the persons' rows: releases under a guarantee.

A release under (epsilon, delta) for each person says about the same with that person's rows as without them. It need
not be made anew when that is so little that nobody can tell the two apart: when the membership advantage of whoever
sees all such releases together, and knows everything else, is at most `MOST_ADVANTAGE` for all persons of the batch.

    epsilons and deltas of the releases add up (basic composition);
    k persons at once: epsilon_k = k epsilon, delta_k = delta (e^(k epsilon) - 1) / (e^epsilon - 1);
    advantage <= (e^epsilon_k - 1 + 2 delta_k) / (e^epsilon_k + 1).

Sources: Dwork & Roth 2014, theorems 3.16 and 2.2 (composition, groups); Kairouz, Oh & Viswanath 2015, theorem 2.1, for
the advantage (true minus false positive rate). ADR 0040 says why the bound is what it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_ADVANTAGE = 0.05  # of one who tells, better than by a coin, whether the batch was in
_MOST_EXPONENT = 50.0  # above, nothing is promised any more


@dataclass(frozen=True)
class Argument:
    """Why releases may stand, or may not: the guarantee of all together, for `persons`, and what it bounds."""

    epsilon: float
    delta: float
    persons: int
    advantage: float

    @property
    def holds(self) -> bool:
        """Whether the releases may stand."""
        return self.advantage <= MOST_ADVANTAGE

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready, with the bound."""
        return {**vars(self), "most_advantage": MOST_ADVANTAGE, "holds": self.holds}


def argument(guarantees: Sequence[tuple[float, float]], persons: int) -> Argument:
    """Return what (epsilon, delta) of each release, all together, promise to `persons` of one batch."""
    epsilon, delta = math.fsum(one for one, _ in guarantees), math.fsum(one for _, one in guarantees)
    if epsilon * persons > _MOST_EXPONENT:
        return Argument(epsilon, delta, persons, 1.0)
    growth = math.expm1(epsilon * persons) / math.expm1(epsilon) if epsilon > 0 else float(persons)
    grown = math.exp(epsilon * persons)
    return Argument(epsilon, delta, persons, min(1.0, (grown - 1 + 2 * delta * growth) / (grown + 1)))


def guarantee_of(stated: Any, unit: str) -> tuple[float, float] | None:
    """Return (epsilon, delta) of what a release states for each `unit`; None for no guarantee, or one of another unit.

    `stated` is `privacy_guarantee` of a manifest or `guarantee` of a card: whatever can't be read promises nothing.
    """
    if not isinstance(stated, Mapping) or stated.get("unit") != unit:
        return None
    epsilon, delta = stated.get("epsilon"), stated.get("delta")
    if not all(isinstance(one, float | int) and math.isfinite(one) and one >= 0 for one in (epsilon, delta)):
        return None
    return (float(epsilon), float(delta)) if epsilon is not None and delta is not None else None
