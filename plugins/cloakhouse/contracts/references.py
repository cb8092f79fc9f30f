"""References between contracts: what one names in another must reach the protected zone there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cloakhouse.contracts.model import Column, Contract, Query
from cloakhouse.contracts.source import Path, Source

Named = tuple[Path, str, str]  # node that names it, dataset, column
MEASURABLE = {
    "month": ("date", "timestamp"),
    "weekday": ("date", "timestamp"),
    "hour": ("timestamp",),
    "sum": ("integer", "number"),
    "any": ("string",),
}


def check_references(contracts: Mapping[str, tuple[Contract, Source]]) -> None:
    """Raise ContractError for the first dataset or column that a contract names and no other one protects."""
    for contract, source in contracts.values():
        for node, dataset, column in _named(contract, source):
            target = contracts.get(dataset)
            if target is None or column not in {c.name for c in target[0].kept_columns}:
                raise source.error(
                    node,
                    expected=f"`{dataset}.{column}` in the protected zone",
                    found="no such column" if target else f"no contract of `{dataset}`",
                    remedy="correct the name, or add the contract that is missing",
                    code="reference",
                )
        _check_joins(contract, source, contracts)
        _check_measures(contract, source, contracts)


def _check_joins(contract: Contract, source: Source, contracts: Mapping[str, tuple[Contract, Source]]) -> None:
    """Raise ContractError for a reference whose two sides are treated differently: no value would be found."""
    for index, column in enumerate(contract.columns):
        if column.reference is None:
            continue
        other = contracts[column.reference.dataset][0].column(column.reference.column)
        if column.treatment != other.treatment or "period" in column.treatment.parameters:
            raise source.error(
                ("schema", 0, "properties", index, "relationships", 0, "to"),
                expected=f"the treatment of `{column.reference.dataset}.{column.reference.column}` on `{column.name}`, "
                "and without a period",
                found="another treatment" if column.treatment != other.treatment else "tokens of a period",
                remedy="give both the same treatment with the same parameters: else no value would be found there",
                code="reference",
            )


def _check_measures(contract: Contract, source: Source, contracts: Mapping[str, tuple[Contract, Source]]) -> None:
    """Raise ContractError for a measure of a column whose protected form it can't be taken of."""
    if contract.synthesis is None:
        return
    view = contract.synthesis.view
    owner = {name: lookup.dataset for lookup in view.lookups for name in lookup.columns}
    at = next(k for k, item in enumerate(source.data["customProperties"]) if item["property"] == "synthesis")
    for measure in view.measures:
        if measure.kind == "number":
            continue
        form = protected_form(contracts[owner.get(measure.column, view.source)][0].column(measure.column))
        if form not in MEASURABLE.get(measure.kind, (form,)):
            raise source.error(
                ("customProperties", at, "value", "view", "columns", measure.name, measure.kind),
                expected=f"`{measure.kind}` of a column that is protected as " + " or ".join(MEASURABLE[measure.kind]),
                found=f"`{measure.column}`, which is protected as {form}",
                remedy="choose another column or measure",
                code="measure",
            )


def protected_form(column: Column) -> str:
    """Return what a column holds in the protected zone: a logical type, or `token`."""
    treatment = column.treatment
    if treatment.name in ("token", "reversible token"):
        return "token"
    if treatment.name == "bucket":
        return "integer"
    coarse = treatment.name == "generalize" and not {"to", "clamp"} & treatment.parameters.keys()
    return "string" if coarse or treatment.name == "substitute" else column.logical_type


def _named(contract: Contract, source: Source) -> Iterator[Named]:
    for index, column in enumerate(contract.columns):
        if column.reference:
            node: Path = ("schema", 0, "properties", index, "relationships", 0, "to")
            yield node, column.reference.dataset, column.reference.column
    properties = {item["property"]: at for at, item in enumerate(source.data["customProperties"])}
    if contract.synthesis:
        yield from _named_by_view(contract, ("customProperties", properties["synthesis"], "value", "view"))
    if contract.query:
        yield from _named_by_query(contract.query, ("customProperties", properties["query"], "value"))
    if contract.gate:
        node = ("customProperties", properties["gate"], "value", "kAnonymity", "over")
        for name in contract.gate.quasi_identifiers:
            yield node, contract.gate.k_dataset, name


def _named_by_query(query: Query, node: Path) -> Iterator[Named]:
    """Yield source, unit and lookups; of what is counted and broken down by, `query_faults` tells more."""
    yield (*node, "unit"), query.source, query.unit
    for lookup in query.lookups:
        for name in (lookup.on, *lookup.columns):
            yield (*node, "lookups", lookup.dataset), lookup.dataset, name


def _named_by_view(contract: Contract, node: Path) -> Iterator[Named]:
    assert contract.synthesis is not None
    view = contract.synthesis.view
    yield (*node, "groupBy"), view.source, view.group_by
    yield (*node, "unit"), view.source, view.unit
    if view.order is not None:
        yield (*node, "order"), view.source, view.order
    joined: set[str] = set()
    for lookup in view.lookups:
        here = (*node, "lookups", lookup.dataset)
        yield (*here, "on"), view.source, lookup.on
        yield (*here, "on"), lookup.dataset, lookup.on
        for name in lookup.columns:
            yield (*here, "columns"), lookup.dataset, name
        joined |= {lookup.on, *lookup.columns}
    for measure in view.measures:
        if measure.column not in joined and measure.kind != "number":
            yield (*node, "columns", measure.name, measure.kind), view.source, measure.column
