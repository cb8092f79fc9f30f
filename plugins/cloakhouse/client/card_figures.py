"""Which figures of the evidence a card may show, and their form.

The utility of a synthetic dataset is measured against real rows, exactly. Without a guarantee the figures are shown, as
means over many rows, and never those of a group. Under a guarantee none is: what was counted in real rows is outside of
epsilon, and belongs to auditors (`cloakhouse evidence`). Then the curve speaks, which was measured on the published
rows alone, and for aggregates the scale of the noise, which is public.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

Facts = Mapping[str, Any]
REAL, RELEASED, NOISE, NOTHING = "real rows", "published rows", "noise", "nothing"
MARGINALS = ("order", "tested", "mean", "holdout_mean")
CORRELATIONS = ("error", "holdout_error")
QUALITY = ("score", "column_shapes", "column_pair_trends", "library")
TASKS = ("name", "target", "synthetic_auc", "training_auc", "loss", "loss_upper_bound", "reason")
WITHHELD = (
    "What was measured against real rows is outside of the guarantee, and so is in the evidence for auditors alone."
)


def is_private(card: Facts) -> bool:
    """Return whether a dataset has a guarantee: always, unless its card says in words that there is none."""
    guarantee = card.get("privacy", {}).get("guarantee")
    return not (isinstance(guarantee, str) and guarantee.lower().startswith("none"))


def utility_figures(card: Facts, evidence: Facts | None, zone: str) -> dict[str, Any]:
    """Return the figures that a card may show, JSON-ready.

    Key `measured_on`: `real rows` (no guarantee; with marginals, correlations, quality_report and tasks), `published
    rows` (a guarantee; with `curve`: epsilon and mean distance of pairs, and why no others are shown in `withheld`),
    `noise` (aggregates; with standard_error, expected_relative_error, clip_norm) or `nothing`.
    """
    if zone == "aggregates":
        return _of_noise(card)
    if is_private(card):
        curve = [{key: point.get(key) for key in ("epsilon", "tvd")} for point in card.get("curve") or ()]
        return {"measured_on": RELEASED, "curve": curve, "withheld": WITHHELD}
    found = (evidence or {}).get("utility")
    if not isinstance(found, Mapping):
        return {"measured_on": NOTHING}
    return {
        "measured_on": REAL,
        "marginals": [_only(item, MARGINALS) for item in found.get("marginals", ())],
        "correlations": _only(found.get("correlations", {}), CORRELATIONS),
        "quality_report": _only(found.get("quality_report", {}), QUALITY),
        "tasks": [_only(item, TASKS) for item in found.get("tasks", ())],
    }


def _of_noise(card: Facts) -> dict[str, Any]:
    privacy = card.get("privacy", {})
    errors = [figure for figure in privacy.get("gate", ()) if figure.get("name") == "expected relative error"]
    return {
        "measured_on": NOISE,
        "standard_error": _finite(privacy.get("standard_error")),
        "clip_norm": _finite(privacy.get("clip_norm")),
        "expected_relative_error": _finite(errors[0].get("value")) if errors else None,
    }


def _only(found: Facts, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: _finite(found.get(key)) for key in keys}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value
