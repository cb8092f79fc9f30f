"""What every release has to stay below by default: a limit for the upper bound of each figure, and why it is there.

The limits were set on real baskets and households (800-1,900 training, 400-500 hold-out households): above what rows of
strangers, a product of marginals and a spanning tree without noise reach by chance, and below the planted leaks of
`tests/support/leaks.py`, each of which some figure blocks with room to spare. A contract may set others; a figure
without a limit is blocked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite
from types import MappingProxyType

from cloakhouse.privacy.attacks.population import AttackColumn, Risk


@dataclass(frozen=True)
class Limit:
    """The largest `bound` of a figure that passes, and the `reason` for it."""

    bound: float
    reason: str


_AREA = "sees only broad leaks; the true positives at few false positives are the sharper figure"
_RISK = "chance reached 0.09 on baskets and 0.07 on households, half of the rows copied gives 0.2"
LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "exact copies, share of*": Limit(0.02, "two rows in a hundred; chance copies cancel"),
        "exact copies, most of the release from one household: excess": Limit(0.003, "one customer in 330"),
        "near copies, share of*": Limit(0.15, "in a table of few columns chance reaches 0.1"),
        "near copies, most of the release from one household: excess": Limit(0.015, "the same, over one household"),
        "memorised customer, rows reproduced: excess": Limit(7.0, "standard deviations; chance reached 5.4"),
        "memorised customer, repetitions of a row: excess": Limit(12.0, "standard deviations; chance reached 7.6"),
        "*: area under the curve": Limit(0.62, _AREA),
        "*, rows: true positives at 1 % false positives, excess": Limit(0.05, "five times the rate of false positives"),
        "*, households: true positives at 2 % false positives, excess": Limit(
            0.1, "one household in ten copied; chance: 0.083"
        ),
        "singling out, *: risk": Limit(0.12, _RISK),
        "linkability, *: risk": Limit(0.2, "with 400 hold-out households of one row, chance reaches 0.18"),
        "inference of *: risk": Limit(
            0.25, "with 400 hold-out households, chance reached 0.244 in one of eight columns"
        ),
    }
)
THRESHOLDS: Mapping[str, float] = MappingProxyType({name: limit.bound for name, limit in LIMITS.items()})


def threshold_of(name: str, thresholds: Mapping[str, float] = THRESHOLDS) -> float | None:
    """Return the threshold of the figure `name`: its own entry, else that of the first pattern (`*` stands for any
    text) that fits it, else None."""
    if name in thresholds:
        return thresholds[name]
    return next((limit for pattern, limit in thresholds.items() if fnmatchcase(name, pattern)), None)


def blocked(
    risks: Iterable[Risk], columns: Sequence[AttackColumn], thresholds: Mapping[str, float] = THRESHOLDS
) -> tuple[str, ...]:
    """Return the names of the figures that block a release: not there, not computed, not finite, without a threshold,
    or with a bound above it. Empty only if every figure of `figure_names(columns)` is there and passes."""
    found = {risk.name: risk for risk in risks}
    names = dict.fromkeys([*figure_names(columns), *found])
    return tuple(name for name in names if not _passes(found.get(name), threshold_of(name, thresholds)))


def figure_names(columns: Sequence[AttackColumn]) -> tuple[str, ...]:
    """Return the names of all figures that an attack on these columns has to give, in their order."""
    shares = ("share of the release", "share of training rows", "share of a household's rows")
    rates = ("rows: true positives at 1 % false positives", "households: true positives at 2 % false positives")
    copied = [f"{kind} copies, {what}: excess" for kind in ("exact", "near") for what in (*shares, _EXTREME)]
    customer = [f"memorised customer, {what}: excess" for what in ("rows reproduced", "repetitions of a row")]
    member = [
        f"{attack}, {figure}"
        for attack in ("membership", "density ratio")
        for rate in rates
        for figure in (f"{rate.split(':')[0]}: area under the curve", f"{rate}, excess")
    ]
    attacks = ["singling out, univariate", "singling out, multivariate", "linkability"]
    attacks += [f"inference of {column.name}" for column in columns if column.sensitive]
    return (*copied, *customer, *member, *(f"{name}, {by}: risk" for name in attacks for by in ("rows", "households")))


_EXTREME = "most of the release from one household"


def _passes(risk: Risk | None, limit: float | None) -> bool:
    if risk is None or limit is None or risk.value is None or risk.bound is None:
        return False
    return isfinite(risk.value) and isfinite(risk.bound) and risk.bound <= limit
