"""The `gate` of a contract: what a release must meet."""

from __future__ import annotations

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.model import Gate, Kind
from cloakhouse.contracts.source import Path, Source


def read_gate(source: Source, properties: dict[str, Path], kind: Kind) -> Gate | None:
    """Return the checked `gate` of a synthetic contract, None for a feed. Raises ContractError."""
    if kind is not Kind.SYNTHETIC:
        return None
    if "gate" not in properties:
        raise source.error(
            ("customProperties",),
            expected="a property `gate` for a synthetic dataset",
            found="none",
            remedy="declare maxCopyExcess, minHoldoutUnits and kAnonymity: {dataset, over, k}",
        )
    fields = Fields(source, properties["gate"])
    anonymity = fields.child("kAnonymity")
    over = anonymity.names("over")
    gate = Gate(
        max_copy_excess=fields.share("maxCopyExcess"),
        min_holdout_units=fields.whole("minHoldoutUnits", 1, 1_000_000),
        k_dataset=anonymity.text("dataset"),
        quasi_identifiers=over,
        min_k=anonymity.whole("k", 2, 1_000_000),
        risks=_risks(fields),
    )
    anonymity.nothing_else()
    fields.nothing_else("risks")
    return gate


def _risks(fields: Fields) -> dict[str, float]:
    """Return thresholds of attacks by name; whether there is such an attack is for the gate to say."""
    if "risks" not in fields.data:
        return {}
    table = fields.child("risks")
    risks = {str(name): table.number(name, 0.0, 100.0) for name in table.data}
    table.nothing_else()
    return risks
