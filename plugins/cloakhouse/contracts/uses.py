"""What each kept column is used for, as the contracts say; a column that nothing uses must not be kept.

Uses of a column in the protected zone: a view or a query measures it, groups or joins by it; another feed refers to it;
it names the person that the rows are about, or holds a choice of theirs; it is a reversible token, which somebody may
detokenize for its purpose. A gate that looks at it is none: it measures the risk of keeping it. Whatever else a column
is kept for is stated beside it:

    customProperties:
      - {property: keptFor, value: disputes of card payments}

Columns of published datasets are what these are published for, and aren't looked at here.

Source: GDPR Art. 5(1)(c), data minimisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cloakhouse.contracts.model import Column, Contract, Kind, Query, View

REVERSIBLE = "reversible token"
Used = tuple[str, str, str]  # dataset, column, what for


@dataclass(frozen=True)
class KeptColumn:
    """A kept column of a feed and what it is used for; no use at all is a finding."""

    dataset: str
    column: str
    uses: tuple[str, ...]


def kept_columns(contracts: Mapping[str, Contract]) -> list[KeptColumn]:
    """Return every column that the feeds of `contracts` keep, by dataset in the order of its contract, with its uses
    in order."""
    found: dict[tuple[str, str], set[str]] = {}
    for contract in contracts.values():
        for dataset, column, use in _uses(contract):
            found.setdefault((dataset, column), set()).add(use)
    return [
        KeptColumn(name, column.name, tuple(sorted(found.get((name, column.name), ()))))
        for name, contract in sorted(contracts.items())
        if contract.kind is Kind.FEED
        for column in contract.kept_columns
    ]


def unused(contracts: Mapping[str, Contract]) -> list[KeptColumn]:
    """Return the kept columns that no declared purpose uses."""
    return [kept for kept in kept_columns(contracts) if not kept.uses]


def _uses(contract: Contract) -> Iterator[Used]:
    name = contract.name
    for column in contract.columns:
        yield from _of_column(name, column)
    subject = contract.rights.subject
    if subject is not None:
        for named in (subject.column, *subject.also):
            yield name, named, "rights of persons"
        if subject.register is not None:
            for held in (*subject.register.purposes.values(), subject.register.jurisdiction):
                yield name, held, "register of consents"
    if contract.synthesis is not None:
        yield from _of_view(name, contract.synthesis.view)
    if contract.query is not None:
        yield from _of_query(name, contract.query)


def _of_column(dataset: str, column: Column) -> Iterator[Used]:
    if column.kept_for:
        yield dataset, column.name, column.kept_for
    if column.treatment.name == REVERSIBLE:
        yield dataset, column.name, f"detokenization for {column.treatment.parameters['purpose']}"
    if column.reference is not None:
        yield dataset, column.name, f"reference to {column.reference.dataset}"
        yield column.reference.dataset, column.reference.column, f"reference of {dataset}"


def _of_view(name: str, view: View) -> Iterator[Used]:
    use, owner = f"view of {name}", {column: lk.dataset for lk in view.lookups for column in lk.columns}
    for column in (view.group_by, view.unit, *([view.order] if view.order else [])):
        yield view.source, column, use
    for lookup in view.lookups:
        yield view.source, lookup.on, use
        yield lookup.dataset, lookup.on, use
    for measure in view.measures:  # a looked-up column that nothing measures is no use of it
        yield owner.get(measure.column, view.source), measure.column, use


def _of_query(name: str, query: Query) -> Iterator[Used]:
    use, owner = f"query of {name}", {column: lk.dataset for lk in query.lookups for column in lk.columns}
    yield query.source, query.unit, use
    for lookup in query.lookups:
        yield query.source, lookup.on, use
        yield lookup.dataset, lookup.on, use
    for column in (query.column, *(part.column for part in query.by)):
        if column is not None:
            yield owner.get(column, query.source), column, use
