"""The `query` of an aggregate's contract: what is summed or counted, by what, and under which guarantee."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.guarantee import read_privacy
from cloakhouse.contracts.model import Breakdown, Column, ColumnClass, Kind, Lookup, Query
from cloakhouse.contracts.source import Path, Source

MEASURES = ("sum", "count", "count distinct")
CALENDAR = ("day", "week", "month")
KINDS = ("value", *CALENDAR, "size", "pairs")
PARTITION = "partition"  # as a column of days or weeks: the delivery that a row came with
ROWS = "rows"  # as what is counted
FIGURES = ("value", "low", "high", "standard_error")  # columns of every answer, after what it is broken down by
MAX_VALUES = 100_000
MAX_BREAKDOWNS = 8
MAX_NUMBER = 1e15


def read_query(source: Source, properties: dict[str, Path], kind: Kind, columns: tuple[Column, ...]) -> Query | None:
    """Return the checked `query` of an aggregate's contract, None for others. Raises ContractError."""
    if kind is not Kind.AGGREGATE:
        return None
    if "query" not in properties:
        raise source.error(
            ("customProperties",),
            expected="a property `query` for an aggregate",
            found="none",
            remedy="declare from, unit, measure, by and privacy",
        )
    fields = Fields(source, properties["query"])
    measure, column = _measure(fields.child("measure"))
    privacy = read_privacy(fields, required=True)
    assert privacy is not None
    if privacy.max_rows is not None or privacy.max_groups is not None:
        raise fields.fault("privacy", "epsilon, delta and consumer", "a bound of rows", "declare `clip` instead")
    if {"expected", "expectedMean"} <= fields.data.keys():
        raise fields.fault("expected", "the total or the mean cell", "both", "declare one of them")
    since, until = _calendar(fields)
    query = Query(
        source=fields.text("from"),
        unit=fields.text("unit"),
        measure=measure,
        column=column,
        by=_breakdowns(fields),
        privacy=privacy,
        lookups=_lookups(fields),
        since=since,
        until=until,
        clip=fields.number("clip", 0.0, MAX_NUMBER) if "clip" in fields.data else None,
        max_relative_error=fields.number("maxRelativeError", 0.0, 100.0) if "maxRelativeError" in fields.data else 0.5,
        expected=fields.number("expected", 0.0, MAX_NUMBER) if "expected" in fields.data else None,
        expected_mean=fields.number("expectedMean", 0.0, MAX_NUMBER) if "expectedMean" in fields.data else None,
    )
    fields.nothing_else()
    wanted = answer_columns(query.by)
    if [c.name for c in columns] != wanted or any(c.column_class is not ColumnClass.PLAIN for c in columns):
        raise source.error(
            ("schema", 0, "properties"),
            expected="the answer's columns, each of class plain: " + ", ".join(wanted),
            found=f"{len(columns)} others",
            remedy="make schema and query agree",
        )
    return query


def answer_columns(by: Iterable[Breakdown]) -> list[str]:
    """Return the names of an answer's columns, in order."""
    names = [[f"{b.name}_1", f"{b.name}_2"] if b.kind == "pairs" else [b.name] for b in by]
    return [name for group in names for name in group] + list(FIGURES)


def _measure(fields: Fields) -> tuple[str, str | None]:
    kinds = [key for key in fields.data if key in MEASURES]
    if len(kinds) != 1 or len(fields.data) != 1:
        raise fields.fault(
            next(iter(fields.data), ""), "one of " + ", ".join(MEASURES), f"{len(fields.data)} keys", "{sum: amount}"
        )
    [kind] = kinds
    if kind == "count":
        fields.check_value(kind, ROWS)
        return kind, None
    return kind, fields.text(kind)


def _calendar(fields: Fields) -> tuple[dt.date | None, dt.date | None]:
    if "calendar" not in fields.data:
        return None, None
    table = fields.child("calendar")
    days = [table.data.get(key) for key in ("from", "to")]
    for key, day in zip(("from", "to"), days, strict=True):
        if type(day) is not dt.date and (key == "from" or key in table.data):
            raise table.fault(key, "a date as YYYY-MM-DD", type(day).__name__, f"give the {key} day")
    table.nothing_else("from", "to")
    if days[1] is not None and days[1] < days[0]:
        raise table.fault("to", "a day not before `from`", "an earlier one", "swap the two")
    return days[0], days[1]


def _lookups(fields: Fields) -> tuple[Lookup, ...]:
    if "lookups" not in fields.data:
        return ()
    table, lookups = fields.child("lookups"), []
    for dataset in table.data:
        entry = table.child(dataset)
        lookups.append(Lookup(str(dataset), entry.text("on"), entry.names("columns")))
        entry.nothing_else()
    return tuple(lookups)


def _breakdowns(fields: Fields) -> tuple[Breakdown, ...]:
    if "by" not in fields.data:
        return ()
    table = fields.child("by")
    if len(table.data) > MAX_BREAKDOWNS:
        raise fields.fault("by", f"at most {MAX_BREAKDOWNS} breakdowns", f"{len(table.data)}", "leave some out")
    found = tuple(_breakdown(table, str(name)) for name in table.data)
    names = answer_columns(found)
    if len(set(names)) != len(names):
        expected = "names that differ from each other and from " + ", ".join(FIGURES)
        raise fields.fault("by", expected, "one twice", "rename it")
    return found


def _breakdown(table: Fields, name: str) -> Breakdown:
    fields = table.child(name)
    kinds = [key for key in fields.data if key in KINDS]
    if len(kinds) != 1:
        raise table.fault(name, "one of " + ", ".join(KINDS), f"{len(kinds)}", "e.g. {value: store_id, values: [1, 2]}")
    [kind] = kinds
    found = Breakdown(
        name=name,
        kind=kind,
        column=fields.text(kind),
        values=_values(fields) if "values" in fields.data else None,
        bins=_bins(fields) if kind == "size" else (),
    )
    fields.nothing_else("values", *(["bins"] if kind == "size" else []))
    if found.values is not None and kind not in ("value", "pairs"):
        raise fields.fault("values", "`values` of a value or of pairs", f"of a {kind}", "remove it")
    return found


def _values(fields: Fields) -> tuple[Any, ...]:
    values = fields.data["values"]
    fault = values_fault(values) if isinstance(values, list) else type(values).__name__
    if fault:
        raise fields.fault("values", f"1 to {MAX_VALUES:,} distinct values of one type", fault, "correct the list")
    return tuple(values)


def values_fault(values: list[Any]) -> str:
    """Return what is wrong with declared values: texts, whole numbers, truth values or dates, each once; or ``."""
    if not 1 <= len(values) <= MAX_VALUES:
        return f"{len(values):,} values"
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 or not kinds <= {str, int, bool, dt.date}:
        return "values of the types " + ", ".join(sorted(kind.__name__ for kind in kinds))
    return "" if len(set(values)) == len(values) else "one of them twice"


def _bins(fields: Fields) -> tuple[int, ...]:
    bins = fields.data.get("bins")
    if not isinstance(bins, list) or not bins_sound(bins):
        raise fields.fault("bins", "where bins begin: 1, then rising whole numbers", "others", "e.g. [1, 2, 5, 10]")
    return tuple(bins)


def bins_sound(bins: list[Any]) -> bool:
    """Return whether bins of sizes begin at 1 and rise, so that every size is in one."""
    whole = bool(bins) and len(bins) <= MAX_VALUES and all(type(edge) is int for edge in bins)
    return whole and bins[0] == 1 and all(low < high for low, high in pairwise(bins))
