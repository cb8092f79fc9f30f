"""Measured risks of a release, by what they are risks of, out of the evidence that its gate was decided on.

Singling out, linkability and inference are those of the Article 29 Working Party (WP 216). Of a release under a
guarantee only whether the figures met their thresholds is told: they were counted in real rows without noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from cloakhouse.lake.releases import Release

GROUPS = (  # a risk, and how the names of its figures begin
    ("singling out", ("singling out",)),
    ("linkability", ("linkability",)),
    ("inference", ("inference of",)),
    ("membership", ("membership", "density ratio")),
    ("copies of real rows", ("exact copies", "near copies", "excess of exact copies", "memorised customer")),
    ("k-anonymity of the source", ("k-anonymity",)),
)
OTHERS = "other figures of the gate"


@dataclass(frozen=True)
class Risk:
    """One kind of risk of one release.

    Attributes:
        name: see GROUPS.
        figures: how many were measured. passed: how many met their thresholds.
        nearest: the figure nearest to its threshold, or one that failed; empty where the values are withheld.
        value, threshold: of that figure; None where they are withheld.
    """

    name: str
    figures: int
    passed: int
    nearest: str
    value: float | None
    threshold: float | None
    at_most: bool


@dataclass(frozen=True)
class Guarantee:
    """What the release promises: epsilon and delta per unit, and of which neighbours."""

    epsilon: float
    delta: float
    neighbours: str


def guarantee_of(release: Release) -> Guarantee | None:
    """Return the guarantee of a release, None for one without."""
    stated: Any = _privacy(release).get("guarantee")
    if not isinstance(stated, Mapping):
        return None
    return Guarantee(float(stated["epsilon"]), float(stated["delta"]), str(stated["neighbours"]))


def risks_of(release: Release) -> list[Risk]:
    """Return the measured risks of a release in the order of GROUPS, each that has a figure."""
    by_group: dict[str, list[Mapping[str, Any]]] = {}
    for figure in _privacy(release).get("gate", ()):
        by_group.setdefault(_group(str(figure["name"])), []).append(figure)
    names = [*(name for name, _ in GROUPS), OTHERS]
    return [_risk(name, by_group[name]) for name in names if name in by_group]


def _privacy(release: Release) -> Mapping[str, Any]:
    privacy: Mapping[str, Any] = release.card.get("privacy", {})
    return privacy


def _group(figure: str) -> str:
    return next((name for name, begins in GROUPS if figure.startswith(begins)), OTHERS)


def _risk(name: str, figures: Sequence[Mapping[str, Any]]) -> Risk:
    nearest = max(figures, key=_nearness)
    return Risk(
        name=name,
        figures=len(figures),
        passed=sum(figure["passed"] is True for figure in figures),
        nearest=str(nearest["name"]) if nearest["value"] is not None or nearest["passed"] is not True else "",
        value=nearest["value"],
        threshold=float(nearest["threshold"]) if nearest["value"] is not None else None,
        at_most=bool(nearest["at_most"]),
    )


def _nearness(figure: Mapping[str, Any]) -> float:
    """Return how near a figure is to its threshold: 1 is at it, more is beyond, and one that failed is before all."""
    value, threshold = figure["value"], figure["threshold"]
    if figure["passed"] is not True:
        return float("inf")
    if value is None or not isfinite(value) or threshold <= 0 or (value <= 0 and not figure["at_most"]):
        return 0.0
    return value / threshold if figure["at_most"] else threshold / value  # type: ignore[no-any-return]
