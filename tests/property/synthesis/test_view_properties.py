"""The view against pandas: the same joins and groups, whatever the rows and however they lie in partitions."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.contracts.model import Column, ColumnClass, Lookup, Measure, Treatment, View
from cloakhouse.synthesis.derive import ORDER, build_view, lines_of, needed_columns
from cloakhouse.synthesis.protocol import GROUP, UNIT

START = dt.datetime(2016, 12, 26)
MEASURES = (
    ("store", Measure("store", "first", "store_id"), "integer"),
    ("month", Measure("month", "month", "at"), "integer"),
    ("weekday", Measure("weekday", "weekday", "at"), "integer"),
    ("hour", Measure("hour", "hour", "at"), "integer"),
    ("lines", Measure("lines", "count", "product_id"), "integer"),
    ("few_lines", Measure("few_lines", "count", "product_id", cap=2.0), "integer"),
    ("units", Measure("units", "sum", "quantity"), "integer"),
    ("few_units", Measure("few_units", "sum", "quantity", cap=5.0), "integer"),
    ("value", Measure("value", "sum", "sales"), "number"),
    ("low_value", Measure("low_value", "sum", "sales", cap=3.0), "number"),
    ("products", Measure("products", "count distinct", "product_id"), "integer"),
    ("few_products", Measure("few_products", "count distinct", "product_id", cap=1.0), "integer"),
    ("meat", Measure("meat", "any", "department", equals="MEAT"), "boolean"),
    ("departments", Measure("departments", "count distinct", "department"), "integer"),
    ("age", Measure("age", "first", "age"), "string"),
    ("size", Measure("size", "first", "size", cap=2.0), "integer"),
    ("sizes", Measure("sizes", "sum", "kids"), "integer"),
    ("old", Measure("old", "any", "band", equals="45+"), "boolean"),
    ("loyal", Measure("loyal", "any", "loyal", equals="true"), "boolean"),
    ("third", Measure("third", "any", "store_id", equals="3"), "boolean"),
)
LOOKUPS = {
    "basket": (Lookup("products", "product_id", ("department",)),),
    "household": (
        Lookup("products", "product_id", ("department",)),
        Lookup("households", "household", ("age", "size")),  # joined after the grouping
        Lookup("members", "household", ("kids", "band", "loyal")),  # joined before it: sums and more
    ),
}
PRODUCTS = pa.table({"product_id": pa.array([1, 2, 3, 4]), "department": ["MEAT", "PRODUCE", None, "MEAT"]})


def token(number: int) -> bytes:
    return hashlib.sha256(bytes([number])).digest()[:16]


KEYS = pa.array([token(n) for n in (0, 1, 3)], pa.binary(16))
TABLES = {
    "products": PRODUCTS,
    "households": pa.table({"household": KEYS, "age": ["45+", None, "under 45"], "size": [1, 5, None]}),
    "members": pa.table(
        {"household": KEYS, "kids": [1, None, 3], "band": ["45+", None, "under 45"], "loyal": [None, True, False]}
    ),
}
LINES = st.lists(
    st.fixed_dictionaries(
        {
            "household": st.integers(0, 3).map(token),
            "basket_number": st.integers(0, 2),
            "store_id": st.none() | st.integers(1, 3),
            "product_id": st.none() | st.integers(1, 6),
            "quantity": st.none() | st.integers(0, 6),
            "sales": st.none() | st.integers(0, 400).map(lambda cents: cents / 100),
            "at": st.none() | st.integers(0, 60 * 24).map(lambda hours: START + dt.timedelta(hours=hours)),
        }
    ),
    min_size=1,
    max_size=25,
)
SCHEMA = pa.schema(
    {
        "household": pa.binary(16),
        "basket": pa.binary(16),
        "store_id": pa.int64(),
        "product_id": pa.int64(),
        "quantity": pa.int64(),
        "sales": pa.float64(),
        "at": pa.timestamp("us"),
    }
)


def lines_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return `rows` as protected lines; each basket is one household's."""
    baskets = [hashlib.sha256(row["household"] + bytes([row["basket_number"]])).digest()[:16] for row in rows]
    full = [{**row, "basket": basket} for row, basket in zip(rows, baskets, strict=True)]
    return pa.Table.from_pylist([{name: row[name] for name in SCHEMA.names} for row in full], SCHEMA)


def view_of(group: str) -> tuple[View, tuple[Column, ...]]:
    """Return the view grouped by `group` with every measure whose column is there."""
    lookups = LOOKUPS[group]
    there = {*SCHEMA.names, *(name for lookup in lookups for name in lookup.columns)}
    chosen = [(name, measure, kind) for name, measure, kind in MEASURES if measure.column in there]
    view = View("lines", group, "household", lookups, tuple(measure for _, measure, _ in chosen))
    columns = tuple(Column(n, kind, False, ColumnClass.SENSITIVE, Treatment("keep")) for n, _, kind in chosen)
    return view, columns


def expected_measure(group: Any, measure: Measure) -> Any:
    values = group[measure.column]
    known = values[values.notna()]
    answer: Any
    if measure.kind == "first":
        answer = known.iloc[0] if len(known) else None
    elif measure.kind == "count":
        answer = len(known)
    elif measure.kind == "count distinct":
        answer = known.nunique()
    elif measure.kind == "sum":
        answer = known.sum() if len(known) else None
    elif measure.kind == "any":
        answer = bool((known.map(lambda v: str(v).lower() if isinstance(v, bool) else str(v)) == measure.equals).any())
    else:
        first = pd.Timestamp(known.min()) if len(known) else None
        answer = None if first is None else getattr(first, measure.kind)
        answer = answer() if callable(answer) else answer
    if answer is not None and measure.cap is not None:
        answer = min(answer, measure.cap)
    if isinstance(answer, (float, np.floating)):
        answer = round(float(answer), 2)
    return answer


def reference(lines: pa.Table, view: View) -> list[dict[str, Any]]:
    """Return the view by pandas: join everything, then group, in order of first appearance."""
    frame = lines.to_pandas(integer_object_nulls=True)
    for lookup in view.lookups:
        other = TABLES[lookup.dataset].to_pandas(integer_object_nulls=True).set_index(lookup.on)
        for name in lookup.columns:
            frame[name] = [other[name].get(key) if key in other.index else None for key in frame[lookup.on]]
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    found = []
    for _, group in frame.groupby(view.group_by, sort=False):
        row = {measure.name: expected_measure(group, measure) for measure in view.measures}
        found.append({**row, UNIT: group[view.unit].iloc[0]})
    return found


def split(table: pa.Table, cuts: list[int]) -> list[pa.Table]:
    edges = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    return [table.slice(a, b - a) for a, b in itertools.pairwise(edges)]


@settings(max_examples=40)
@given(LINES, st.lists(st.integers(0, 25), max_size=3), st.sampled_from(sorted(LOOKUPS)))
def test_the_view_is_that_of_pandas(rows: list[dict[str, Any]], cuts: list[int], group: str) -> None:
    view, columns = view_of(group)
    lines = lines_table(rows)
    made = build_view(view, columns, split(lines, cuts), TABLES)
    assert made.column_names == [*(column.name for column in columns), UNIT]
    expected = reference(lines, view)
    found = made.to_pylist()
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        for name, value in other.items():
            assert mine[name] == value, (name, mine, other)


@settings(max_examples=40)
@given(LINES, st.randoms(use_true_random=False), st.lists(st.integers(0, 25), max_size=4))
def test_rows_may_lie_in_any_order_and_partition(rows: list[dict[str, Any]], random: Any, cuts: list[int]) -> None:
    view, columns = view_of("household")
    kept = [m for m in view.measures if m.kind != "first" or m.column != "store_id"]  # the first row's store differs
    view = View(view.source, view.group_by, view.unit, view.lookups, tuple(kept))
    lines = lines_table(rows)
    shuffled = random.sample(range(lines.num_rows), lines.num_rows)
    one = build_view(view, columns, [lines], TABLES)
    other = build_view(view, columns, split(lines.take(pa.array(shuffled)), cuts), TABLES)
    assert sorted(one.to_pylist(), key=str) == sorted(other.to_pylist(), key=str)


def test_only_columns_that_the_view_needs_are_read() -> None:
    view, _ = view_of("basket")
    names = ["household", "card_number", "basket", "store_id", "product_id", "quantity", "sales", "at", "department"]
    assert needed_columns(view, names) == [n for n in names if n not in ("card_number", "department")]


def test_money_is_canonical_so_that_copies_are_equal_bit_for_bit() -> None:
    """0.67 + 3.26 is 3.9299999999999997 in binary; in the view it is the float nearest to 3.93."""
    view, columns = view_of("basket")
    rows = [{**dict.fromkeys(("store_id", "product_id", "quantity", "at")), "household": token(0), "basket_number": 0}]
    for parts in ((0.67, 3.26), (3.26, 0.67), (3.93,), (1.31, 1.31, 1.31), (0.01,) * 393):
        made = build_view(view, columns, [lines_table([{**rows[0], "sales": part} for part in parts])], TABLES)
        assert made.column("value").to_pylist() == [3.93]


LINE_MEASURES = ("store", "month", "weekday", "hour", "units", "few_units", "value", "low_value", "meat", "age", "size")


@settings(max_examples=60)
@given(LINES)
def test_a_view_of_lines_is_every_line_as_a_group_of_its_own(rows: list[dict[str, Any]]) -> None:
    """Each line, grouped alone by pandas, gives the row that the view of lines holds."""
    table = lines_table(rows)
    known = {name: (measure, kind) for name, measure, kind in MEASURES}
    measures = tuple(known[name][0] for name in LINE_MEASURES)
    columns = tuple(Column(n, known[n][1], False, ColumnClass.SENSITIVE, Treatment("keep")) for n in LINE_MEASURES)
    lookups = LOOKUPS["household"][:2]
    view = View("lines", "basket", "household", lookups, measures, lines=True, order="at")
    made = lines_of(view, columns, table, TABLES)
    assert made.column(UNIT).equals(table.column("household"))
    assert made.column(GROUP).equals(table.column("basket"))
    assert made.column(ORDER).equals(table.column("at"))
    alone = table.drop_columns(["basket"]).append_column(
        "basket", pa.array([bytes([n]) * 16 for n in range(len(rows))], pa.binary(16))
    )
    expected = build_view(View("lines", "basket", "household", lookups, measures), columns, [alone], TABLES)
    found, wanted = (sorted(side.select(LINE_MEASURES).to_pylist(), key=repr) for side in (made, expected))
    assert found == wanted  # Arrow gives groups in any order
    assert set(needed_columns(view, SCHEMA.names)) == set(SCHEMA.names)


@given(LINES)
def test_the_order_of_a_group_is_its_earliest_line(rows: list[dict[str, Any]]) -> None:
    table = lines_table(rows)
    view, columns = view_of("basket")
    ordered = View(**{**vars(view), "order": "at"})
    made = build_view(ordered, columns, [table], TABLES)
    earliest = table.group_by("basket", use_threads=False).aggregate([("at", "min")])
    assert made.column(ORDER).to_pylist() == earliest.column("at_min").to_pylist()
    assert made.drop_columns([ORDER]).equals(build_view(view, columns, [table], TABLES))
