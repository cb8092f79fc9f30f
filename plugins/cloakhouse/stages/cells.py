"""From protected rows to what each unit adds to each cell of a query: partition by partition, a column at a time.

What a unit adds follows from its own rows alone: amounts become whole hundredths row by row, before they are added
up, since a sum of floating-point numbers would depend on the rows of others around them. Rows without a unit, and
rows whose value is not among the declared ones, count in no cell.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Breakdown, Query
from cloakhouse.contracts.query import CALENDAR, PARTITION
from cloakhouse.contracts.query_faults import owner_of
from cloakhouse.privacy._codes import column_codes, row_codes
from cloakhouse.privacy.aggregates import PARTS, Contributions, contributions

Whole = npt.NDArray[np.int64]
LARGEST = float(2**31)  # hundredths of one row
UNIT, CELL, VALUE, GROUP = "unit", "cell", "value", "group"


@dataclass(frozen=True)
class Axis:
    """One breakdown with the public values that tell its cells apart (for sizes: the labels of its bins)."""

    breakdown: Breakdown
    values: pa.Array

    @property
    def size(self) -> int:
        """Return how many cells stand along the axis."""
        count = len(self.values)
        return count * (count - 1) // 2 if self.breakdown.kind == "pairs" else count

    def labels(self, at: Whole) -> dict[str, pa.Array]:
        """Return the answer's column or columns for the positions `at`."""
        name = self.breakdown.name
        if self.breakdown.kind != "pairs":
            return {name: self.values.take(pa.array(at))}
        first, second = np.triu_indices(len(self.values), 1)
        return {f"{name}_1": self.values.take(pa.array(first[at])), f"{name}_2": self.values.take(pa.array(second[at]))}


def cell_count(axes: Sequence[Axis]) -> int:
    """Return the number of cells; 1 for a query without breakdown."""
    return math.prod(axis.size for axis in axes)


def grid(axes: Sequence[Axis]) -> pa.Table | None:
    """Return one row a cell with the columns that tell them apart, in the order of the cells; None without any."""
    if not axes:
        return None
    positions = np.unravel_index(np.arange(cell_count(axes)), [axis.size for axis in axes])
    columns: dict[str, pa.Array] = {}
    for axis, at in zip(axes, positions, strict=True):
        columns |= axis.labels(np.asarray(at, dtype=np.int64))
    return pa.table(columns)


def source_columns(query: Query) -> list[str]:
    """Return the columns of the query's source that have to be read, in order; no other is decrypted."""
    named = [query.unit, *([query.column] if query.column else []), *(lookup.on for lookup in query.lookups)]
    named += [b.column for b in query.by if not (b.kind in CALENDAR and b.column == PARTITION)]
    return [name for name in dict.fromkeys(named) if owner_of(query, name) == query.source]


def partial(query: Query, axes: Sequence[Axis], table: pa.Table, tables: Mapping[str, pa.Table], day: str) -> pa.Table:
    """Return what the units of one partition add: columns `unit`, `cell` and `value` (int64 hundredths), a pair once.

    `tables` are the looked-up ones by dataset, `day` names the partition.
    """
    joined = {name: _plain(table.column(name)) for name in table.column_names}
    for lookup in query.lookups:
        other = tables[lookup.dataset]
        at = pc.index_in(joined[lookup.on], value_set=_plain(other.column(lookup.on)))
        joined |= {name: _plain(other.column(name)).take(at) for name in lookup.columns}
    strides = np.cumprod([1, *(axis.size for axis in axes[::-1])])[::-1][1:]
    cells, grouped = np.zeros(table.num_rows, dtype=np.int64), None
    known = np.array(pc.is_valid(joined[query.unit]))
    for axis, stride in zip(axes, strides, strict=True):
        if axis.breakdown.kind in ("size", "pairs"):
            grouped = axis, int(stride)
        if axis.breakdown.kind != "size":
            at = _positions(axis, joined, day, table.num_rows)
            known &= at >= 0
            cells += 0 if axis.breakdown.kind == "pairs" else at * int(stride)
    if query.measure == "count distinct":
        assert query.column is not None
        known &= np.asarray(pc.is_valid(joined[query.column]))
    rows = {UNIT: joined[query.unit], CELL: pa.array(cells)}
    if query.measure == "sum":
        assert query.column is not None
        return _grouped(pa.table({**rows, VALUE: _hundredths(joined[query.column])}).filter(pa.array(known)))
    if query.measure == "count":
        return _grouped(_ones(pa.table(rows).filter(pa.array(known))))
    assert query.column is not None
    rows[GROUP] = joined[query.column]
    if grouped is None:
        return _grouped(_ones(_distinct(pa.table(rows).filter(pa.array(known)))))
    axis, stride = grouped
    if axis.breakdown.kind == "size":
        return _sizes(pa.table(rows).filter(pa.array(known)), axis, stride)
    rows[VALUE] = pa.array(_positions(axis, joined, day, table.num_rows))
    return _pairs(pa.table(rows).filter(pa.array(known)), axis, stride)


def combined(query: Query, partials: Iterable[pa.Table], count: int) -> Contributions:
    """Return what each unit adds to each of `count` cells, of all partitions together.

    A unit that is counted itself counts once in a cell, however many partitions it is in.
    """
    table = _grouped(pa.concat_tables(partials))
    units = column_codes(table.column(UNIT))
    values = table.column(VALUE).to_numpy()
    if query.measure == "count distinct" and query.column == query.unit:
        values = np.minimum(values, PARTS)
    return contributions(units, table.column(CELL).to_numpy(), values, count)


def empty_partial(unit: pa.DataType) -> pa.Table:
    """Return what no partition adds."""
    return pa.schema([(UNIT, unit), (CELL, pa.int64()), (VALUE, pa.int64())]).empty_table()


def _positions(axis: Axis, joined: Mapping[str, pa.Array], day: str, rows: int) -> Whole:
    """Return the position of each row's value along the axis (for pairs: among the values), -1 for none of them."""
    breakdown = axis.breakdown
    if breakdown.kind in CALENDAR and breakdown.column == PARTITION:
        at = pc.index_in(pa.scalar(dt.date.fromisoformat(day)), value_set=axis.values).as_py()
        return np.full(rows, -1 if at is None else at, dtype=np.int64)
    column = joined[breakdown.column]
    if breakdown.kind in CALENDAR:
        column = pc.floor_temporal(column, unit=breakdown.kind, week_starts_monday=True).cast(pa.date32())
    found = pc.index_in(column, value_set=axis.values.cast(column.type))
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _hundredths(column: pa.Array) -> pa.Array:
    amounts = pc.fill_null(column.cast(pa.float64(), safe=False), 0.0)
    amounts = np.nan_to_num(amounts.to_numpy(zero_copy_only=False), nan=0.0)
    return pa.array(np.rint(np.clip(amounts, -LARGEST / PARTS, LARGEST / PARTS) * PARTS).astype(np.int64))


def _ones(table: pa.Table) -> pa.Table:
    return table.append_column(VALUE, pa.array(np.full(table.num_rows, PARTS, dtype=np.int64)))


def _grouped(table: pa.Table) -> pa.Table:
    grouped = table.group_by([UNIT, CELL], use_threads=False).aggregate([(VALUE, "sum")])
    return grouped.rename_columns([UNIT, CELL, VALUE]).cast(empty_partial(grouped.schema.field(UNIT).type).schema)


def _distinct(table: pa.Table) -> pa.Table:
    return table.group_by(table.column_names, use_threads=False).aggregate([])


def _sizes(table: pa.Table, axis: Axis, stride: int) -> pa.Table:
    groups = table.group_by([UNIT, CELL, GROUP], use_threads=False).aggregate([([], "count_all")])
    at = np.searchsorted(np.array(axis.breakdown.bins), groups.column("count_all").to_numpy(), side="right") - 1
    cells = groups.column(CELL).to_numpy() + at * stride
    return _grouped(_ones(pa.table({UNIT: groups.column(UNIT), CELL: pa.array(cells)})))


def _pairs(table: pa.Table, axis: Axis, stride: int) -> pa.Table:
    """Return, for each unit, in how many of its groups each pair of values stands; `value` holds positions."""
    table = _distinct(table)
    group = row_codes([column_codes(table.column(name)) for name in (UNIT, GROUP, CELL)])
    order = np.lexsort((table.column(VALUE).to_numpy(), group))
    group, value = group[order], table.column(VALUE).to_numpy()[order]
    cell, count = table.column(CELL).to_numpy()[order], len(axis.values)
    found: list[tuple[Whole, Whole]] = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))]
    for apart in range(1, count):
        first = np.flatnonzero(group[:-apart] == group[apart:])
        if not len(first):
            break
        low, high = value[first], value[first + apart]
        position = low * count - low * (low + 1) // 2 + (high - low - 1)
        found.append((order[first], cell[first] + position * stride))
    rows, cells = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _grouped(_ones(pa.table({UNIT: table.column(UNIT).take(pa.array(rows)), CELL: pa.array(cells)})))


def _plain(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    array = column.combine_chunks()
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
