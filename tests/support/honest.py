"""Real baskets and households with their household numbers, and honest synthesizers to attack beside the leaking
ones."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.privacy.attacks import AttackColumn, Population
from cloakhouse.sample.source import demographics, products, transactions

BASKETS = (
    AttackColumn("store_id", True, None),
    AttackColumn("month", True, None),
    AttackColumn("weekday", True, None),
    AttackColumn("hour", True, None),
    AttackColumn("lines", False, 100),
    AttackColumn("units", False, 200),
    AttackColumn("value", False, 500.0),
    AttackColumn("discount", False, 200.0),
    AttackColumn("coupon", False, 50.0),
    AttackColumn("has_produce", True, None),
    AttackColumn("has_meat", True, None),
)
DEMOGRAPHICS = ("age", "income", "home_ownership", "marital_status", "household_size", "kids_count")
HOUSEHOLDS = (
    *(AttackColumn(name, True, None) for name in DEMOGRAPHICS),
    AttackColumn("baskets", False, 500),
    AttackColumn("value", False, 20_000.0),
)
COMMON = 10  # households that hold a category
CELLS = 24  # cells of a numeric column in the honest engines
Numbers = npt.NDArray[np.int64]


@functools.cache
def baskets(weeks: int = 53) -> Population:
    """Return the real baskets of the first `weeks` weeks, with the columns of `baskets_synthetic`."""
    lines = transactions(range(1, weeks + 1))
    departments = products()
    at = pc.index_in(lines["product_id"], value_set=departments["product_id"].combine_chunks())
    department = departments["department"].take(at)
    for name in ("PRODUCE", "MEAT"):
        lines = lines.append_column(name, pc.fill_null(pc.equal(department, name), False).cast(pa.int8()))
    grouped = lines.group_by("basket_id", use_threads=False).aggregate(
        [("household_id", "first"), ("store_id", "first"), ("transaction_timestamp", "min"), ("product_id", "count")]
        + [(name, "sum") for name in ("quantity", "sales_value", "retail_disc", "coupon_disc")]
        + [("PRODUCE", "max"), ("MEAT", "max")]
    )
    time = grouped["transaction_timestamp_min"]
    table = pa.table(
        {
            "store_id": grouped["store_id_first"],
            "month": pc.month(time),
            "weekday": pc.day_of_week(time),
            "hour": pc.hour(time),
            "lines": _capped(grouped["product_id_count"], 100),
            "units": _capped(grouped["quantity_sum"], 200),
            "value": _capped(grouped["sales_value_sum"], 500.0),
            "discount": _capped(grouped["retail_disc_sum"], 200.0),
            "coupon": _capped(grouped["coupon_disc_sum"], 50.0),
            "has_produce": pc.equal(grouped["PRODUCE_max"], 1),
            "has_meat": pc.equal(grouped["MEAT_max"], 1),
        }
    )
    return _common(table, grouped["household_id_first"].to_numpy(), "store_id")


@functools.cache
def households() -> Population:
    """Return the real households, one row each, with the columns of `households_synthetic` (generalized)."""
    lines = transactions(range(1, 54))
    grouped = lines.group_by("household_id", use_threads=False).aggregate(
        [("basket_id", "count_distinct"), ("sales_value", "sum")]
    )
    known = demographics()
    people = [known.get(unit, {}) for unit in grouped["household_id"].to_pylist()]
    columns = {name: pa.array([person.get(name) for person in people], pa.string()) for name in DEMOGRAPHICS}
    columns["baskets"] = _capped(grouped["basket_id_count_distinct"], 500)
    columns["value"] = _capped(grouped["sales_value_sum"], 20_000.0)
    return Population(pa.table(columns), _dense(grouped["household_id"].to_numpy()))


def split(whole: Population, counts: tuple[int, ...], rng: np.random.Generator) -> list[Population]:
    """Return disjoint populations of so many households each, drawn at random."""
    order = rng.permutation(int(whole.units.max()) + 1)
    edges = np.cumsum((0, *counts))
    return [among(whole, order[low:high]) for low, high in itertools.pairwise(edges)]


def among(whole: Population, wanted: Numbers) -> Population:
    """Return the rows of the `wanted` households."""
    kept = np.isin(whole.units, wanted)
    return Population(whole.table.filter(pa.array(kept)), _dense(whole.units[kept]))


def fresh(others: Population, rows: int, rng: np.random.Generator) -> pa.Table:
    """Return rows of households that are on neither side: the best null."""
    chosen = rng.choice(others.table.num_rows, rows, replace=rows > others.table.num_rows)
    return others.table.take(pa.array(chosen))


def independent(
    training: Population, columns: tuple[AttackColumn, ...], rows: int, rng: np.random.Generator
) -> pa.Table:
    """Return rows sampled from the product of the training rows' marginals, numbers by cells of the public range."""
    return _sampled(training.table, columns, rows, rng, parents=[None] * len(columns))


def tree(training: Population, columns: tuple[AttackColumn, ...], rows: int, rng: np.random.Generator) -> pa.Table:
    """Return rows sampled down a maximum spanning tree of mutual information (Chow & Liu 1968), without noise."""
    codes = [_cells(training.table, column) for column in columns]
    gains = np.array([[_information(left, right) for left in codes] for right in codes])
    parents: list[int | None] = [None] * len(columns)
    inside = [0]
    while len(inside) < len(columns):
        outside = [at for at in range(len(columns)) if at not in inside]
        best = max((gains[a, b], a, b) for a in inside for b in outside)
        parents[best[2]] = best[1]
        inside.append(best[2])
    return _sampled(training.table, columns, rows, rng, parents, inside)


def _sampled(
    table: pa.Table,
    columns: tuple[AttackColumn, ...],
    rows: int,
    rng: np.random.Generator,
    parents: list[int | None],
    order: list[int] | None = None,
) -> pa.Table:
    codes = [_cells(table, column) for column in columns]
    drawn: dict[int, Numbers] = {}
    for at in order if order is not None else range(len(columns)):
        above = parents[at]
        given = np.zeros(rows, np.int64) if above is None else drawn[above]
        known = np.zeros(len(codes[at]), np.int64) if above is None else codes[above]
        drawn[at] = _conditional(codes[at], known, given, rng)
    made = {c.name: _values(table, c, drawn[at], rng) for at, c in enumerate(columns)}
    return pa.table(made, schema=table.schema)


def _conditional(codes: Numbers, known: Numbers, given: Numbers, rng: np.random.Generator) -> Numbers:
    """Return a code for each `given`, drawn from the training codes that go with it."""
    order = np.argsort(known, kind="stable")
    low = np.searchsorted(known[order], given, "left")
    high = np.searchsorted(known[order], given, "right")
    return codes[order[low + (rng.random(len(given)) * (high - low)).astype(np.int64)]]


def _edges(column: AttackColumn) -> npt.NDArray[np.float64]:
    assert column.maximum is not None
    return np.r_[-0.5, 0.005, np.expm1(np.linspace(0.2, np.log1p(column.maximum), CELLS))]


def _cells(table: pa.Table, column: AttackColumn) -> Numbers:
    values = table[column.name]
    if column.categorical:
        coded = pc.dictionary_encode(values.combine_chunks(), null_encoding="encode")
        return np.asarray(coded.indices.to_numpy(zero_copy_only=False), np.int64)
    return np.clip(np.searchsorted(_edges(column), values.to_numpy(), "right") - 1, 0, CELLS)


def _values(table: pa.Table, column: AttackColumn, codes: Numbers, rng: np.random.Generator) -> pa.Array:
    kind = table.schema.field(column.name).type
    if column.categorical:
        return pc.dictionary_encode(table[column.name].combine_chunks(), null_encoding="encode").dictionary.take(
            pa.array(codes)
        )
    edges = np.r_[0.0, 0.0, _edges(column)[2:]]
    values = edges[codes] + rng.random(len(codes)) * (edges[np.minimum(codes + 1, len(edges) - 1)] - edges[codes])
    return pa.array(np.round(values, 0 if pa.types.is_integer(kind) else 2)).cast(kind)


def _information(left: Numbers, right: Numbers) -> float:
    joint = np.bincount(left * (right.max() + 1) + right, minlength=(left.max() + 1) * (right.max() + 1))
    share = joint.reshape(left.max() + 1, -1) / len(left)
    expected = share.sum(1, keepdims=True) * share.sum(0)
    seen = share > 0
    return float((share[seen] * np.log(share[seen] / expected[seen])).sum())


def _common(table: pa.Table, units: Numbers, name: str) -> Population:
    """Return the rows without rare categories in column `name`, as the platform suppresses them before a fit."""
    _, codes = np.unique(table[name].to_numpy(), return_inverse=True)
    pairs = np.unique(np.column_stack([codes, units]), axis=0)
    kept = np.bincount(pairs[:, 0])[codes] >= COMMON
    return Population(table.filter(pa.array(kept)), _dense(units[kept]))


def _capped(values: pa.ChunkedArray, cap: float) -> pa.ChunkedArray:
    if pa.types.is_floating(values.type):
        values = pc.divide(pc.round(pc.multiply(values, 100.0)), 100.0)
    return pc.min_element_wise(values, pa.scalar(cap).cast(values.type))


def _dense(units: Numbers) -> Numbers:
    return np.asarray(np.unique(units, return_inverse=True)[1], np.int64)
