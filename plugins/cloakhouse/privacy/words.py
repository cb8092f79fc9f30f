"""A guarantee and a gate in lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def in_words(guarantee: Mapping[str, Any] | str) -> str:
    """Return what a card or an evidence says of its guarantee: a text as it is, else epsilon, delta and neighbours."""
    if isinstance(guarantee, str):
        return guarantee
    return f"epsilon {guarantee['epsilon']:g}, delta {guarantee['delta']:g} ({guarantee['neighbours']})"


def gate_in_words(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence on how many figures of a gate are within their thresholds, then each that is not, and of those
    that are the one nearest to its threshold. Figures whose values a card withholds are only counted."""
    failed = [figure for figure in figures if not figure["passed"]]
    lines = [f"{len(figures) - len(failed)} of {len(figures)} figures within their thresholds"]
    lines += [f"FAILED: {_figure(figure)}" for figure in failed]
    bounded = [f for f in figures if f["passed"] and f["at_most"] and f["value"] is not None and f["threshold"] > 0]
    if bounded:
        nearest = max(bounded, key=lambda figure: figure["value"] / figure["threshold"])
        lines.append(f"nearest to its threshold: {_figure(nearest)}")
    return lines


def _figure(figure: Mapping[str, Any]) -> str:
    value = "not computed" if figure["value"] is None else f"{figure['value']:.4g}"
    return f"{figure['name']} {value} (at {'most' if figure['at_most'] else 'least'} {figure['threshold']:.4g})"
