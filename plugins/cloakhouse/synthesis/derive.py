"""The view: one row a group (a basket, a household), derived from protected partitions a file at a time.

Each partition is grouped by itself and the small partial results are grouped again, so that memory follows the
number of groups and not the number of lines. `count distinct` keeps the distinct pairs. Deterministic:
single-threaded grouping, files in partition order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column, Lookup, Measure, View

UNIT = "__unit"
CENTS = 100.0  # sums of money carry binary noise behind the cents, which depends on their order
DATEPARTS = {
    "month": pc.month,
    "weekday": pc.day_of_week,
    "hour": pc.hour,
}
PARTIAL = {"first": "first", "count": "sum", "sum": "sum", "any": "max"}
TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}


def needed_columns(view: View, declared: Iterable[str]) -> list[str]:
    """Return the columns of the view's source that have to be read, in order; no other is decrypted."""
    looked_up = {name for lookup in view.lookups for name in lookup.columns}
    wanted = {view.group_by, view.unit, *(lookup.on for lookup in view.lookups)}
    wanted |= {measure.column for measure in view.measures if measure.column not in looked_up}
    return [name for name in declared if name in wanted]


def build_view(
    view: View, columns: tuple[Column, ...], partitions: Iterable[pa.Table], tables: Mapping[str, pa.Table]
) -> pa.Table:
    """Return the view: the declared columns, and `__unit` with the unit of privacy of each row.

    `partitions` are the source's tables, `tables` the looked-up ones by dataset. A key without a match gives
    null. Lookups count as joined before the grouping; one on the group's own key, of which only the first value is
    asked for, is joined after it, which is the same and cheaper. Rows are in order of first appearance.
    """
    counted = {m.column for m in view.measures if m.kind != "first"}
    after = [k for k in view.lookups if k.on == view.group_by and counted.isdisjoint(k.columns)]
    before = [k for k in view.lookups if k not in after]
    late = {name for lookup in after for name in lookup.columns}
    early = [m for m in view.measures if m.column not in late]
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
    result = {m.name: _finished(grouped, m).cast(types[m.name]) for m in view.measures}
    return pa.table({**result, UNIT: grouped.column(_key(view.unit, view))})


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
            values = pc.fill_null(pc.equal(values, pa.scalar(m.equals).cast(values.type)), False).cast(pa.int8())
        columns[m.name] = values
        aggregations.append((m.name, "min" if m.kind in DATEPARTS else {"any": "max"}.get(m.kind, m.kind)))
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


def _finished(grouped: pa.Table, measure: Measure) -> pa.ChunkedArray:
    values = grouped.column(measure.name if measure.name in grouped.column_names else measure.column)
    if measure.kind in DATEPARTS:
        values = DATEPARTS[measure.kind](values)
    if measure.kind == "any":
        values = pc.equal(values, 1)
    if pa.types.is_floating(values.type):
        values = pc.divide(pc.round(pc.multiply(values, CENTS)), CENTS)  # pc.round(x, 2) leaves some noise
    if measure.cap is not None:
        values = pc.min_element_wise(values, pa.scalar(measure.cap, pa.float64()).cast(values.type), skip_nulls=False)
    return values
