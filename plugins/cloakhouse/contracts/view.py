"""The `synthesis` and `gate` of a contract: engine, the view it is fitted on, and what a release must meet."""

from __future__ import annotations

from typing import Any

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.model import Column, Gate, Kind, Lookup, Measure, Synthesis, View
from cloakhouse.contracts.source import Path, Source

ENGINES = ("gaussian copula",)
MEASURES = ("first", "month", "weekday", "hour", "count", "count distinct", "sum", "any")


def read_synthesis(
    source: Source, properties: dict[str, Path], kind: Kind, columns: tuple[Column, ...]
) -> Synthesis | None:
    """Return the checked `synthesis` of a synthetic contract, None for a feed. Raises ContractError."""
    if kind is not Kind.SYNTHETIC:
        return None
    if "synthesis" not in properties:
        raise source.error(
            ("customProperties",),
            expected="a property `synthesis` for a synthetic dataset",
            found="none",
            remedy="declare engine, seed, holdoutShare, maxTrainingRows and view",
        )
    fields = Fields(source, properties["synthesis"])
    synthesis = Synthesis(
        engine=fields.choice("engine", ENGINES),
        view=_view(fields.child("view"), columns),
        holdout_share=fields.share("holdoutShare"),
        max_training_rows=fields.whole("maxTrainingRows", 1, 10_000_000),
        rows=fields.whole("rows", 1, 1_000_000_000) if "rows" in fields.data else None,
        seed=fields.whole("seed", 0, 2**31 - 1),
    )
    fields.nothing_else()
    return synthesis


def _view(fields: Fields, columns: tuple[Column, ...]) -> View:
    measures = fields.child("columns")
    declared = [column.name for column in columns]
    if list(measures.data) != declared:
        raise fields.fault(
            "columns",
            "a measure for each declared column, in the same order",
            f"{len(measures.data)} measures for {len(declared)} columns",
            "make schema and view agree",
        )
    view = View(
        source=fields.text("from"),
        group_by=fields.text("groupBy"),
        unit=fields.text("unit"),
        lookups=tuple(_lookups(fields)),
        measures=tuple(_measure(measures, name) for name in declared),
    )
    fields.nothing_else("lookups")
    return view


def _lookups(fields: Fields) -> list[Lookup]:
    if "lookups" not in fields.data:
        return []
    table = fields.child("lookups")
    lookups = []
    for dataset in table.data:
        entry = table.child(dataset)
        lookups.append(Lookup(str(dataset), entry.text("on"), entry.names("columns")))
        entry.nothing_else()
    return lookups


def _measure(table: Fields, name: str) -> Measure:
    entry: Any = table.data[name]
    if not isinstance(entry, dict):
        raise table.fault(name, "{measure: column}", type(entry).__name__, "e.g. {sum: quantity}")
    fields = table.child(name)
    kinds = [key for key in entry if key in MEASURES]
    if len(kinds) != 1:
        raise table.fault(name, "one measure of " + ", ".join(MEASURES), f"{len(kinds)}", "name just one")
    measure = Measure(
        name=name,
        kind=kinds[0],
        column=fields.text(kinds[0]),
        equals=fields.text("equals") if "equals" in entry else None,
        cap=float(fields.whole("cap", 1, 10**9)) if "cap" in entry else None,
    )
    fields.nothing_else()
    if (measure.kind == "any") != (measure.equals is not None):
        raise table.fault(name, "`equals` with `any`, and only there", "otherwise", "e.g. {any: c, equals: X}")
    return measure


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
    )
    anonymity.nothing_else()
    fields.nothing_else()
    return gate
