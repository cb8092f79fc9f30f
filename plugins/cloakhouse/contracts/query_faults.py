"""What a query may ask of the protected datasets that it names: a guarantee per unit, and cells that are public.

A dataset is public when its contract says that it has no unit of privacy (`unitOfPrivacy: none`) and every column
that it keeps is plain: no person is in it, so its values tell of none. The values of a breakdown come from, in this
order: the query; a public dataset that is looked up; what the contract's treatment can give (groups, bins, age bands)
or a truth value. They never come from what occurs in the data.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cloakhouse.contracts.model import Breakdown, Column, ColumnClass, Contract, Kind, Period, Query
from cloakhouse.contracts.query import CALENDAR, PARTITION, answer_columns, bins_sound
from cloakhouse.contracts.references import protected_form
from cloakhouse.contracts.source import Path, Source
from cloakhouse.errors import ContractError

NOBODY = "none"
FORMS: Mapping[type, str] = {str: "string", int: "integer", bool: "boolean", dt.date: "date"}
ENTANGLED = ("shuffle", "suppress rare")  # a row's protected value follows from rows of other units, too
PERIODS = {"day": Period.DAY, "week": Period.WEEK}


class Fault(NamedTuple):
    """One thing that can't be asked: the key of the query, what was expected, what was found, and what to do."""

    key: tuple[str, ...]
    expected: str
    found: str
    remedy: str


def check_queries(contracts: Mapping[str, tuple[Contract, Source]]) -> None:
    """Raise ContractError for the first query of a contract that can't be asked of the contracts beside it."""
    plain = {name: contract for name, (contract, _) in contracts.items()}
    for contract, source in contracts.values():
        if contract.query is None:
            continue
        fault = query_fault(contract.query, plain, contract.unit_of_privacy) or _type_fault(contract, plain)
        if fault is not None:
            at = next(k for k, item in enumerate(source.data["customProperties"]) if item["property"] == "query")
            path: Path = ("customProperties", at, "value", *fault.key)
            raise source.error(path, expected=fault.expected, found=fault.found, remedy=fault.remedy, code="query")


def refused(fault: Fault) -> ContractError:
    """Return `fault` of a query that stands in no contract."""
    return ContractError(
        where="the query: " + ".".join(fault.key),
        expected=fault.expected,
        found=fault.found,
        not_done="nothing was read and nothing was spent",
        remedy=fault.remedy,
        code="query",
    )


def is_public(contract: Contract) -> bool:
    """Return whether no person is in the dataset (see the module)."""
    plain = all(column.column_class is ColumnClass.PLAIN for column in contract.kept_columns)
    return contract.kind is Kind.FEED and contract.unit_of_privacy == NOBODY and plain


def owner_of(query: Query, column: str) -> str:
    """Return the dataset that `column` of the query comes from: looked up, or the source."""
    return next((lookup.dataset for lookup in query.lookups if column in lookup.columns), query.source)


def form_of(query: Query, contracts: Mapping[str, Contract], breakdown: Breakdown) -> str:
    """Return the logical type of the answer's column or columns for `breakdown`."""
    if breakdown.kind in CALENDAR:
        return "date"
    if breakdown.kind == "size":
        return "string"
    return protected_form(_kept(contracts[owner_of(query, breakdown.column)])[breakdown.column])


def query_fault(query: Query, contracts: Mapping[str, Contract], unit: str) -> Fault | None:
    """Return what is wrong with `query`, whose guarantee is stated per `unit` (a noun), or None."""
    return next(_faults(query, contracts, unit), None)


def _faults(query: Query, contracts: Mapping[str, Contract], unit: str) -> Iterator[Fault]:
    """Yield what is wrong; what follows a fault may rely on it being put right, so only the first one counts."""
    source = contracts.get(query.source)
    if source is None or source.kind is not Kind.FEED or source.unit_of_privacy != unit or unit == NOBODY:
        feeds = ", ".join(n for n, c in contracts.items() if c.kind is Kind.FEED and c.unit_of_privacy != NOBODY)
        found = "no feed of that name" if source is None or source.kind is not Kind.FEED else source.unit_of_privacy
        yield Fault(("from",), f"a feed whose unit of privacy is {unit}", found, f"use one of: {feeds}")
        return
    if not _identifies(_kept(source).get(query.unit)):
        yield Fault(
            ("unit",),
            f"a column of {query.source} with one token a {unit}: a direct identifier under `token`, without a period",
            "another column, or none of that name",
            "name the column that identifies the unit of privacy; a token that changes would make one unit many",
        )
        return
    yield from _lookup_faults(query, contracts, unit)
    yield from _measure_faults(query, contracts)
    yield from _calendar_faults(query, source)
    for name in filter(None, (query.column, *(b.column for b in query.by))):
        column = _kept(contracts[owner_of(query, name)]).get(name)
        if column is not None and column.treatment.name in ENTANGLED:
            found = f"`{name}`, which is under `{column.treatment.name}`"
            expected = "columns whose protected value follows from one unit's own rows"
            yield Fault(("by",), expected, found, "choose another column: no guarantee could be stated with this one")
    names = answer_columns(query.by)
    if len(set(names)) != len(names):
        yield Fault(("by",), "columns of different names in the answer", "one name twice", "leave one out")
    for breakdown in query.by:
        yield from _breakdown_faults(query, contracts, breakdown)


def _lookup_faults(query: Query, contracts: Mapping[str, Contract], unit: str) -> Iterator[Fault]:
    seen = set(_kept(contracts[query.source]))
    for lookup in query.lookups:
        key, other = ("lookups", lookup.dataset), contracts.get(lookup.dataset)
        if other is None or other.kind is not Kind.FEED:
            yield Fault(key, "a feed", "no feed of that name", "correct the name")
            return
        if lookup.on not in _kept(contracts[query.source]) or lookup.on not in _kept(other):
            yield Fault((*key, "on"), "a column that both protected datasets have", "none", "correct `on`")
        if not is_public(other) and (other.unit_of_privacy != unit or lookup.on != query.unit):
            yield Fault(
                (*key, "on"),
                f"the unit's own column `{query.unit}`, since {lookup.dataset} holds {other.unit_of_privacy}s",
                "another column, by which rows of one unit would be joined to another's",
                "join on the unit, or look up a dataset without persons",
            )
        for name in lookup.columns:
            if name not in _kept(other) or name in seen:
                found = "a name that is taken" if name in seen else "no such column"
                yield Fault((*key, "columns"), f"columns of {lookup.dataset} that no other has", found, "correct it")
            seen.add(name)


def _measure_faults(query: Query, contracts: Mapping[str, Contract]) -> Iterator[Fault]:
    groups = [b for b in query.by if b.kind in ("size", "pairs")]
    if query.column is not None:
        column = _kept(contracts[owner_of(query, query.column)]).get(query.column)
        if column is None:
            yield Fault(("measure", query.measure), "a protected column", f"no `{query.column}`", "correct the name")
        elif query.measure == "sum" and protected_form(column) not in ("integer", "number"):
            found = f"`{query.column}`, which is protected as {protected_form(column)}"
            yield Fault(("measure", "sum"), "a column of numbers", found, "sum a number, or count")
    if groups and query.measure != "count distinct":
        yield Fault(("measure",), "`count distinct` of the group", query.measure, "e.g. {count distinct: basket_id}")
    if len(groups) > 1:
        yield Fault(("by",), "sizes or pairs, once", f"{len(groups)} of them", "ask two queries")
    for breakdown in groups:
        if breakdown.kind == "size" and breakdown.column != query.column:
            found = f"`{breakdown.column}`"
            yield Fault(("by", breakdown.name, "size"), f"the group that is counted, `{query.column}`", found, "use it")
        if breakdown.kind == "size" and not bins_sound(list(breakdown.bins)):
            expected = "bins that begin at 1 and rise"
            yield Fault(("by", breakdown.name, "bins"), expected, "others", "e.g. [1, 2, 5, 10]")


def _calendar_faults(query: Query, source: Contract) -> Iterator[Fault]:
    dated = any(b.kind in CALENDAR for b in query.by)
    if dated and query.since is None:
        yield Fault(("calendar",), "the first day, which says what cells there are", "none", "e.g. {from: 2017-01-02}")
    if query.since is not None and query.until is not None and query.until < query.since:
        yield Fault(("calendar",), "a last day not before the first", "an earlier one", "swap the two")
    assert source.feed is not None
    if query.since is not None and not dated and source.feed.period is Period.SNAPSHOT:
        yield Fault(("calendar",), "a feed of days or weeks", "one of snapshots", "leave the calendar out")


def _breakdown_faults(query: Query, contracts: Mapping[str, Contract], breakdown: Breakdown) -> Iterator[Fault]:
    key, kind = ("by", breakdown.name, breakdown.kind), breakdown.kind
    feed = contracts[query.source].feed
    if kind == "size":
        return
    if kind in CALENDAR and breakdown.column == PARTITION:
        if feed is None or PERIODS.get(kind) is not feed.period:
            yield Fault(key, f"a feed that is delivered by the {kind}", "another", "name a column of dates")
        return
    owner = contracts[owner_of(query, breakdown.column)]
    column = _kept(owner).get(breakdown.column)
    if column is None:
        names = ", ".join(_kept(contracts[query.source]))
        expected = f"a protected column of {query.source} or of a lookup"
        yield Fault(key, expected, f"no `{breakdown.column}`", f"use one of: {names}")
        return
    form = protected_form(column)
    if kind in CALENDAR:
        if form not in ("date", "timestamp"):
            yield Fault(key, "a column of dates or times", f"`{column.name}`, protected as {form}", "choose another")
        return
    if form not in FORMS.values():
        found = f"`{column.name}`, protected as {form}"
        yield Fault(key, "a column of texts, whole numbers, truth values or dates", found, "choose another")
    elif breakdown.values is not None:
        kinds = {FORMS.get(type(value), "?") for value in breakdown.values if value is not None}
        if kinds != {form}:
            found = ", ".join(sorted(kinds)) or "none"
            yield Fault((*key[:2], "values"), f"values of type {form}", found, "correct them")
    elif not (is_public(owner) or derives_values(column)):
        yield Fault(
            key,
            f"a column whose values are public: declared, or of a dataset without persons (unitOfPrivacy: {NOBODY})",
            f"`{column.name}` of {owner.name}, whose values are known from the data alone",
            "declare `values` (as an option: --values COLUMN=A,B); which values occur would tell of single customers",
        )


def derives_values(column: Column) -> bool:
    """Return whether the contract itself says what values the protected column can have."""
    treatment = column.treatment
    if treatment.name == "generalize":
        return bool({"groups", "ageBands", "bins"} & treatment.parameters.keys())
    return treatment.name == "keep" and column.logical_type == "boolean"


def _identifies(column: Column | None) -> bool:
    if column is None or column.column_class is not ColumnClass.DIRECT:
        return False
    return column.treatment.name == "token" and "period" not in column.treatment.parameters


def _type_fault(contract: Contract, contracts: Mapping[str, Contract]) -> Fault | None:
    """Return the first column of an aggregate that is declared with another type than its answer will have."""
    query = contract.query
    assert query is not None
    for breakdown in query.by:
        wanted = form_of(query, contracts, breakdown)
        for name in answer_columns([breakdown])[: 2 if breakdown.kind == "pairs" else 1]:
            if (found := contract.column(name).logical_type) != wanted:
                return Fault(("by", breakdown.name), f"column `{name}` as {wanted}", found, "correct its logicalType")
    figures = [c for c in contract.columns[-4:] if c.logical_type != "number"]
    return Fault(("measure",), "figures of type number", f"{len(figures)} others", "correct them") if figures else None


def _kept(contract: Contract) -> dict[str, Column]:
    return {column.name: column for column in contract.kept_columns}
