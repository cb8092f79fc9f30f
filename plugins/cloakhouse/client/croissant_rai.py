"""What a card says in the words of Croissant's responsible-AI extension.

Source: Croissant RAI 1.0, http://mlcommons.org/croissant/RAI/1.0, section "RAI property information" (names,
cardinalities, recommended values).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
CLASSES = ("direct identifier", "indirect identifier", "sensitive")  # column classes that may be about persons
MANIPULATED = (
    "Before anything was computed, direct identifiers were dropped or replaced by keyed tokens, and indirect ones "
    "treated as their contract says."
)


def responsible(card: Facts) -> dict[str, Any]:
    """Return the `rai:` properties for a card as `dataset_card` gives it."""
    aggregate = card["zone"] == "aggregates"
    provenance, privacy = card["provenance"], card["privacy"]
    sources = _sources(provenance)
    begin, end = _frame(provenance)
    return {
        "rai:dataCollection": (
            f"Nothing was collected for this dataset. It was derived from {sources}, which a retailer's systems "
            f"recorded, by {provenance.get('engine') or 'an engine'} "
            f"({provenance.get('library') or 'library not stated'})."
        ),
        "rai:dataCollectionType": ["Secondary Data analysis"] + ([] if aggregate else ["Others: synthetic data"]),
        "rai:dataCollectionRawData": f"Pseudonymized partitions of {sources}; they stay in the lake's protected zone.",
        **({"rai:dataCollectionTimeframe": [begin, end]} if begin and end else {}),
        "rai:dataPreprocessingProtocol": _preparation(card, aggregate),
        "rai:dataManipulationProtocol": MANIPULATED,
        "rai:dataUseCases": [
            f"Purpose: {card.get('purpose') or 'not stated'}.",
            f"Licence: {card['licence']}.",
            "Exploration and counts." if aggregate else "Training and development; test final models on real rows.",
        ],
        "rai:dataLimitations": [str(card.get("limits") or "not stated"), _sizes(aggregate)],
        "rai:dataBiases": _biases(card, aggregate),
        "rai:personalSensitiveInformation": _personal(card, aggregate),
        "rai:dataSocialImpact": " ".join(privacy["statement"]),
        "rai:dataReleaseMaintenancePlan": _plan(card),
    }


def _sources(provenance: Facts) -> str:
    parts = sorted((name, span["count"]) for name, span in (provenance.get("partitions") or {}).items())
    counted = (f"{name} ({count} partition{'' if count == 1 else 's'})" for name, count in parts)
    return ", ".join(counted) or "no source"


def _frame(provenance: Facts) -> tuple[str | None, str | None]:
    """Return the first and the last partition of all sources that are days."""
    spans = (provenance.get("partitions") or {}).values()
    days = [span[end] for span in spans for end in ("first", "last") if _is_day(span[end])]
    return (min(days), max(days)) if days else (None, None)


def _is_day(name: str | None) -> bool:
    try:
        return dt.date.fromisoformat(name or "").isoformat() == name
    except ValueError:
        return False


def _preparation(card: Facts, aggregate: bool) -> list[str]:
    steps = ["Deliveries were landed encrypted and pseudonymized column by column under their data contracts."]
    quality = card.get("quality") or {}
    steps.append(f"{quality.get('checks', 'All')} checks of the suite {quality.get('suite', '')} passed.")
    if aggregate:
        return [*steps, f"The query was: {card['provenance'].get('query') or 'not stated'}."]
    return [*steps, "A model was fitted on them; the rows are samples of it, and the real rows were not copied."]


def _sizes(aggregate: bool) -> str:
    if aggregate:
        return "Sums over cells add up their noise."
    return "How many rows there are was chosen: use shares, not totals."


def _biases(card: Facts, aggregate: bool) -> list[str]:
    if aggregate:
        bias = "clipping takes away from whoever contributes most; see the limits."
        return [f"Bias of the mechanism: {bias}", "Only customers who are in the sources are counted."]
    known = [
        "The rows imitate one retailer's customers, with every bias that their records have; nobody else is in them.",
        "Small groups are imitated worse than large ones, so that a model may serve them worse.",
    ]
    if card["utility"]["measured_on"] == "published rows":
        known.append("Noise hides what few units of privacy have in common.")
    return known


def _personal(card: Facts, aggregate: bool) -> list[str]:
    about = (
        "A row is a noisy figure of one cell; a cell may hold few persons, whom the noise hides as the guarantee says."
        if aggregate
        else "No row is a real person's; one may equal a real row by chance."
    )
    classes = [
        f"Columns of the class {name}: {', '.join(found)}."
        for name in CLASSES
        if (found := [column["name"] for column in card["columns"] if column["class"] == name])
    ]
    return [about, *classes, card["privacy"]["statement"][0]]


def _plan(card: Facts) -> str:
    days = (card.get("retention_days") or {}).get(card["zone"])
    kept = f" It is kept {days} days." if days else ""
    standing = card["standing"]
    now = f" Its state is {standing['state']}." if standing else ""
    reason = f" Reason: {standing['reason']}." if standing and standing["reason"] else ""
    owner = card.get("owner") or "its owner"
    return (
        f"A version is signed and never changes; {owner} publishes new ones under higher numbers, and may withdraw one "
        f"with a reason that every later reader is shown.{kept}{now}{reason}"
    )
