"""The public values that tell the cells of a query apart: declared, of public datasets, or of the calendar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Breakdown, Column, Contract, Query
from cloakhouse.contracts.query import CALENDAR
from cloakhouse.contracts.query_faults import form_of, is_public, owner_of
from cloakhouse.stages.cells import Axis
from cloakhouse.tokens.generalize_numbers import bin_labels

TYPES = {"string": pa.string(), "integer": pa.int64(), "boolean": pa.bool_(), "date": pa.date32()}


def axes_of(
    query: Query, contracts: Mapping[str, Contract], tables: Mapping[str, pa.Table], until: dt.date
) -> tuple[Axis, ...]:
    """Return the axes of a query that `query_fault` has nothing against; `until` is the calendar's last day.

    `tables` are the looked-up ones by dataset; of them only those without persons are a source of values.
    """
    return tuple(Axis(b, _values(query, contracts, tables, until, b)) for b in query.by)


def _values(
    query: Query,
    contracts: Mapping[str, Contract],
    tables: Mapping[str, pa.Table],
    until: dt.date,
    breakdown: Breakdown,
) -> pa.Array:
    if breakdown.kind in CALENDAR:
        assert query.since is not None
        return calendar(breakdown.kind, query.since, until)
    if breakdown.kind == "size":
        return pa.array(size_labels(breakdown.bins), pa.string())
    kind = TYPES[form_of(query, contracts, breakdown)]
    if breakdown.values is not None:
        return pa.array(breakdown.values, kind)
    owner = contracts[owner_of(query, breakdown.column)]
    if is_public(owner):
        found = pc.unique(tables[owner.name].column(breakdown.column))
        known = found.drop_null().sort().cast(kind)
        return pa.concat_arrays([known, pa.nulls(1, kind)]) if found.null_count else known
    return pa.array(declared_values(owner.column(breakdown.column)), kind)


def calendar(kind: str, since: dt.date, until: dt.date) -> pa.Array:
    """Return the first days (date32) of all days, weeks (Mondays) or months that `since` to `until` touch."""
    if kind == "month":
        months = np.arange(np.datetime64(since, "M"), np.datetime64(until, "M") + 1)
        return pa.array(months.astype("datetime64[D]"))
    start = since - dt.timedelta(since.weekday()) if kind == "week" else since
    step = np.timedelta64(7 if kind == "week" else 1, "D")
    return pa.array(np.arange(np.datetime64(start), np.datetime64(until) + 1, step))


def size_labels(bins: tuple[int, ...]) -> list[str]:
    """Return the labels of the bins that begin at `bins`: `1`, `2-4`, `5+`."""
    closed = [str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in pairwise(bins)]
    return [*closed, f"{bins[-1]}+"]


def declared_values(column: Column) -> list[str | bool | None]:
    """Return what the contract lets a protected column hold; None for a missing value, where there may be one."""
    parameters = column.treatment.parameters
    if column.treatment.name == "keep":
        return [False, True] if column.required else [False, True, None]
    if "groups" not in parameters:
        known: list[str | bool | None] = [*bin_labels(parameters.get("ageBands") or parameters["bins"])]
        return known if column.required else [*known, None]
    other = [parameters["other"]] if "other" in parameters else [None]
    missing = [] if column.required or None in other else [None]
    return [*parameters["groups"], *other, *missing]
