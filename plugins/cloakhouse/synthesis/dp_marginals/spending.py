"""How the budget is split, and what has been spent of it: every mechanism is written down with its rho.

zCDP adds up, also where a step depends on what was released before (Bun & Steinke 2016, arXiv 1605.02065, lemma 2.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloakhouse.errors import StageError

CAPS = 0.02  # of the whole, for each cap that is bought
CATEGORIES = 0.08  # of the whole, for categories that are learnt, together
DELTA_OF_CATEGORIES = 0.5  # of delta, if categories are learnt
TOTALS = 0.01  # of a level: how many units and records it has
FINE_NORMS = 0.01  # of a level: clip norms of columns in their cells
FINE = 0.15  # of a level: columns in their cells
TREE = 0.06  # of a level: choosing pairs
WIDER = 0.02  # of a level: choosing cliques of three
NORMS = 0.015  # of a level: clip norms of what is measured last
COARSE = 0.15  # of what is then left of a level: columns in their bins; pairs and cliques have the rest
SAFE = 1 - 1e-9  # sums of floats stay below the whole


@dataclass(frozen=True)
class Entry:
    """One mechanism: what it released, by which means, and its rho (and delta, for learnt categories)."""

    what: str
    mechanism: str
    rho: float
    delta: float = 0.0


@dataclass
class Purse:
    """What may be spent (rho), and what was."""

    rho: float
    entries: list[Entry] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Return the rho that hasn't been spent."""
        return self.rho - sum(entry.rho for entry in self.entries)

    def spend(self, what: str, mechanism: str, rho: float, delta: float = 0.0) -> float:
        """Write a spend down before it is made, and return its rho. Raises StageError for more than is left.

        A negative rho or one that is no number isn't spent either: it would make room for others.
        """
        if not 0 <= rho <= self.left or not delta >= 0:
            raise StageError(
                where="the budget of dp-marginals",
                expected="parts that add up to the whole",
                found=f"rho {rho:.3g} wanted for {what}, {self.left:.3g} left",
                not_done="nothing more was released",
                remedy="report this to the platform's maintainers: the split of the budget is wrong",
                code="budget",
            )
        self.entries.append(Entry(what, mechanism, rho, delta))
        return rho


def shares_of() -> Mapping[str, Any]:
    """Return the split, for evidence."""
    return {
        "caps, each": CAPS,
        "categories": CATEGORIES,
        "of a level": {
            "totals": TOTALS,
            "columns in cells": FINE,
            "clip norms of cells": FINE_NORMS,
            "choosing pairs": TREE,
            "choosing cliques": WIDER,
            "clip norms of bins": NORMS,
            "columns in bins, of the rest": COARSE,
        },
    }
