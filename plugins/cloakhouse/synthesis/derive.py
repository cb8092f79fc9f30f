"""The view: one row a group (a basket, a household), derived from protected partitions a file at a time.

Each partition is grouped by itself and the small partial results are grouped again, so that memory follows the
number of groups and not the number of lines. `count distinct` keeps the distinct pairs. Deterministic:
single-threaded grouping, files in partition order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column, Lookup, Measure, Synthesis, View
from cloakhouse.synthesis.protocol import CATEGORICAL, GROUP, NUMBER, UNIT, ViewColumn

ORDER = "__order"
CENTS = 100.0  # sums of money carry binary noise behind the cents, which depends on their order
DATEPARTS = {
    "month": pc.month,
    "weekday": pc.day_of_week,
    "hour": pc.hour,
}
PUBLIC: Mapping[str, tuple[int | bool, ...]] = {
    "month": tuple(range(1, 13)),
    "weekday": tuple(range(7)),
    "hour": tuple(range(24)),
    "any": (False, True),
}
_EARLIEST = (*DATEPARTS, "minimum")
PARTIAL = {"first": "first", "count": "sum", "sum": "sum", "any": "max"}
TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}


def view_columns(synthesis: Synthesis, columns: tuple[Column, ...]) -> tuple[ViewColumn, ...]:
    """Return the columns of a synthetic dataset, declared as `columns`, as its engine sees them."""
    declared = {column.name: column for column in columns}
    return tuple(
        ViewColumn(
            name=m.name,
            type=TYPES[declared[m.name].logical_type],
            categorical=m.kind in CATEGORICAL and m.cap is None,
            maximum=m.cap,
            values=PUBLIC.get(m.kind, m.values),
            nullable=not declared[m.name].required,
            level=m.level,
            number=m.column if m.kind == NUMBER else None,
        )
        for m in synthesis.view.measures
    )


def measured(view: View) -> tuple[Measure, ...]:
    """Return the measures that are taken of the data: all but numbers, which the engine gives."""
    return tuple(m for m in view.measures if m.kind != NUMBER)


def needed_columns(view: View, declared: Iterable[str]) -> list[str]:
    """Return the columns of the view's source that have to be read, in order; no other is decrypted."""
    looked_up = {name for lookup in view.lookups for name in lookup.columns}
    wanted = {view.group_by, view.unit, view.order, *(lookup.on for lookup in view.lookups)}
    wanted |= {measure.column for measure in measured(view) if measure.column not in looked_up}
    return [name for name in declared if name in wanted]


def build_view(
    view: View, columns: tuple[Column, ...], partitions: Iterable[pa.Table], tables: Mapping[str, pa.Table]
) -> pa.Table:
    """Return the view of groups: the measured columns, `__unit` with the unit of privacy of each row, and `__order`
    when the view has an order.

    `partitions` are the source's tables, `tables` the looked-up ones by dataset. A key without a match gives
    null. Lookups count as joined before the grouping; one on the group's own key, of which only the first value is
    asked for, is joined after it, which is the same and cheaper. Rows are in order of first appearance.
    """
    measures = [*measured(view), *([Measure(ORDER, "minimum", view.order)] if view.order else [])]
    counted = {m.column for m in measures if m.kind != "first"}
    after = [k for k in view.lookups if k.on == view.group_by and counted.isdisjoint(k.columns)]
    before = [k for k in view.lookups if k not in after]
    late = {name for lookup in after for name in lookup.columns}
    early = [m for m in measures if m.column not in late]
    partials, pairs = [], []
    for partition in partitions:
        table = _joined(partition, before, tables)
        partials.append(_partial(table, view, early))
        pairs.append({m.name: _pairs(table, view, m) for m in early if m.kind == "count distinct"})
    grouped = _combine(pa.concat_tables(partials), view, early)
    for name in pairs[0] if pairs else ():
        numbers = _count_pairs(pa.concat_tables([p[name] for p in pairs]), view)
        grouped = grouped.append_column(name, _aligned(grouped, numbers, view))
    grouped = _joined(grouped, after, tables)
    types = {c.name: TYPES[c.logical_type] for c in columns}
    result = {m.name: _finished(grouped, m).cast(types[m.name]) for m in measured(view)}
    if view.order:
        result[ORDER] = grouped.column(ORDER)
    return pa.table({**result, UNIT: grouped.column(_key(view.unit, view))})


def lines_of(view: View, columns: tuple[Column, ...], partition: pa.Table, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Return the rows that one partition adds to a view of lines: the measured columns, `__unit` and `__group` with the
    tokens of each row's unit and group, `__order` when the view has an order."""
    table = _joined(partition, view.lookups, tables)
    types = {c.name: TYPES[c.logical_type] for c in columns}
    result: dict[str, pa.ChunkedArray] = {}
    for m in measured(view):
        values = table.column(m.column)
        if m.kind == "any":
            values = pc.cast(_equals(values, m), pa.int8())
        result[m.name] = _shaped(values, m).cast(types[m.name])
    result |= {UNIT: table.column(view.unit), GROUP: table.column(view.group_by)}
    return pa.table({**result, ORDER: table.column(view.order)} if view.order else result)


def _key(name: str, view: View) -> str:
    return name if name == view.group_by else UNIT


def _joined(table: pa.Table, lookups: Iterable[Lookup], tables: Mapping[str, pa.Table]) -> pa.Table:
    for lookup in lookups:
        other = tables[lookup.dataset]
        at = pc.index_in(table.column(lookup.on), value_set=other.column(lookup.on).combine_chunks())
        for name in lookup.columns:
            table = table.append_column(name, other.column(name).take(at))
    return table


def _partial(table: pa.Table, view: View, measures: Iterable[Measure]) -> pa.Table:
    """Return `table` grouped: per measure one column under the measure's name, the unit under `__unit`."""
    columns = {view.group_by: table.column(view.group_by)}
    aggregations = []
    if view.unit != view.group_by:
        columns[UNIT] = table.column(view.unit)
        aggregations.append((UNIT, "first"))
    for m in measures:
        if m.kind == "count distinct":
            continue
        values = table.column(m.column)
        if m.kind == "any":
            values = pc.cast(_equals(values, m), pa.int8())
        columns[m.name] = values
        aggregations.append((m.name, "min" if m.kind in _EARLIEST else {"any": "max"}.get(m.kind, m.kind)))
    return _group(pa.table(columns), view, aggregations)


def _combine(partials: pa.Table, view: View, measures: Iterable[Measure]) -> pa.Table:
    aggregations = [(UNIT, "first")] if view.unit != view.group_by else []
    aggregations += [(m.name, PARTIAL.get(m.kind, "min")) for m in measures if m.kind != "count distinct"]
    return _group(partials, view, aggregations)


def _group(table: pa.Table, view: View, aggregations: list[tuple[str, str]]) -> pa.Table:
    grouped = table.group_by(view.group_by, use_threads=False).aggregate(aggregations)
    names = {f"{name}_{function}": name for name, function in aggregations}
    return grouped.rename_columns([names.get(name, name) for name in grouped.column_names])


def _pairs(table: pa.Table, view: View, measure: Measure) -> pa.Table:
    columns = {view.group_by: table.column(view.group_by), "__value": table.column(measure.column)}
    return pa.table(columns).group_by([view.group_by, "__value"], use_threads=False).aggregate([])


def _count_pairs(pairs: pa.Table, view: View) -> pa.Table:
    return _group(pairs, view, [("__value", "count_distinct")])


def _aligned(grouped: pa.Table, counted: pa.Table, view: View) -> pa.ChunkedArray:
    """Return the counts in the order of `grouped`."""
    at = pc.index_in(grouped.column(view.group_by), value_set=counted.column(view.group_by).combine_chunks())
    return counted.column("__value").take(at)


def _equals(values: pa.ChunkedArray, measure: Measure) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(values, pa.scalar(measure.equals).cast(values.type)), False)


def _finished(grouped: pa.Table, measure: Measure) -> pa.ChunkedArray:
    return _shaped(grouped.column(measure.name if measure.name in grouped.column_names else measure.column), measure)


def _shaped(values: pa.ChunkedArray, measure: Measure) -> pa.ChunkedArray:
    """Return `values` as the part of the date, the truth value, in cents, and capped, as the measure asks for."""
    if measure.kind in DATEPARTS:
        values = DATEPARTS[measure.kind](values)
    if measure.kind == "any":
        values = pc.equal(values, 1)
    if pa.types.is_floating(values.type):
        values = pc.divide(pc.round(pc.multiply(values, CENTS)), CENTS)  # pc.round(x, 2) leaves some noise
    if measure.cap is not None:
        values = pc.min_element_wise(values, pa.scalar(measure.cap, pa.float64()).cast(values.type), skip_nulls=False)
    return values
