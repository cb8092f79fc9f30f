"""What each unit adds to each cell, against sums and counts done by hand."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from itertools import combinations

import pyarrow as pa
import pytest

from cloakhouse.contracts.model import Breakdown, Column, ColumnClass, Lookup, Privacy, Query, Treatment
from cloakhouse.stages import domains
from cloakhouse.stages.cells import Axis, cell_count, combined, grid, partial, source_columns

PRIVACY = Privacy(1.0, 1e-6, "tests")
WEEKS = ("2017-01-02", "2017-01-09")
PRODUCTS = {"products": pa.table({"product": [10, 11, 12, 13], "shelf": ["a", "b", "c", None]})}
LOOKUPS = (Lookup("products", "product", ("shelf",)),)
# unit, store, basket, product, amount, day
ROWS = {
    WEEKS[0]: [
        ("u", 1, "A", 10, 1.10, dt.datetime(2017, 1, 2, 9)),
        ("u", 1, "A", 11, 2.20, dt.datetime(2017, 1, 2, 9)),
        ("u", 1, "A", 10, 3.30, dt.datetime(2017, 1, 2, 9)),
        ("v", 2, "B", 12, 4.00, dt.datetime(2017, 1, 8, 23)),
        ("v", 2, "B", 13, 5.00, dt.datetime(2017, 1, 8, 23)),
        ("v", 9, "C", 10, 6.00, dt.datetime(2017, 1, 3, 1)),
        (None, 1, "D", 10, 7.00, dt.datetime(2017, 1, 3, 1)),
    ],
    WEEKS[1]: [
        ("u", 1, "E", 99, 8.00, dt.datetime(2017, 1, 9, 0)),
        ("u", None, None, 12, None, dt.datetime(2017, 1, 9, 0)),
        ("v", 2, "F", 11, float("nan"), dt.datetime(2017, 2, 1, 0)),
    ],
}
WEEK = Axis(Breakdown("week", "week", "partition"), domains.calendar("week", dt.date(2017, 1, 4), dt.date(2017, 1, 15)))
STORE = Axis(Breakdown("store", "value", "store"), pa.array([2, 1, 5]))
SHELF = Axis(Breakdown("shelf", "value", "shelf"), pa.array(["a", "b", "c", None]))


def table(rows: list[tuple[object, ...]]) -> pa.Table:
    names = ("unit", "store", "basket", "product", "amount", "at")
    types = (pa.string(), pa.int64(), pa.string(), pa.int64(), pa.float64(), pa.timestamp("us"))
    return pa.table({n: pa.array([r[k] for r in rows], t) for k, (n, t) in enumerate(zip(names, types, strict=True))})


def asked(measure: str, column: str | None, *axes: Axis, lookups: tuple[Lookup, ...] = LOOKUPS) -> Query:
    return Query("sales", "unit", measure, column, tuple(a.breakdown for a in axes), PRIVACY, lookups)


def added(query: Query, *axes: Axis) -> Counter[tuple[int, int]]:
    """Return hundredths by (unit: 0 for the first that occurs, cell)."""
    partials = [partial(query, axes, table(rows), PRODUCTS, day) for day, rows in ROWS.items()]
    found = combined(query, partials, cell_count(axes))
    assert found.units.tolist() == sorted(found.units.tolist())
    pairs = list(zip(found.units.tolist(), found.cells.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    return Counter(dict(zip(pairs, found.values.tolist(), strict=True)))


def test_sums_by_week_and_shelf_of_a_lookup() -> None:
    found = added(asked("sum", "amount", WEEK, SHELF), WEEK, SHELF)
    assert found == {(0, 0): 440, (0, 1): 220, (1, 0): 600, (1, 2): 400, (1, 3): 500, (0, 7): 800, (0, 6): 0, (1, 5): 0}


def test_rows_outside_of_declared_values_and_without_unit_count_nowhere() -> None:
    assert added(asked("count", None, STORE), STORE) == {(0, 1): 400, (1, 0): 300}
    assert added(asked("count", None)) == {(0, 0): 500, (1, 0): 400}


def test_groups_count_once_a_cell_and_missing_ones_not_at_all() -> None:
    assert added(asked("count distinct", "basket", STORE), STORE) == {(0, 1): 200, (1, 0): 200}
    assert added(asked("count distinct", "basket", SHELF), SHELF)[(0, 0)] == 100


def test_units_count_once_a_cell_over_all_partitions() -> None:
    assert added(asked("count distinct", "unit")) == {(0, 0): 100, (1, 0): 100}
    assert added(asked("count distinct", "unit", WEEK), WEEK) == {(u, c): 100 for u in (0, 1) for c in (0, 1)}


def test_sizes_count_the_rows_of_groups_in_bins() -> None:
    sizes = Axis(Breakdown("lines", "size", "basket", bins=(1, 2, 3)), pa.array(domains.size_labels((1, 2, 3))))
    assert sizes.values.to_pylist() == ["1", "2", "3+"]
    assert domains.size_labels((1, 2, 5)) == ["1", "2-4", "5+"]
    found = added(asked("count distinct", "basket", WEEK, sizes), WEEK, sizes)
    assert found == {(0, 2): 100, (1, 1): 100, (1, 0): 100, (0, 3): 100, (1, 3): 100}


def test_pairs_count_groups_that_hold_both() -> None:
    pairs = Axis(Breakdown("shelf", "pairs", "shelf"), SHELF.values)
    assert pairs.size == 6
    assert added(asked("count distinct", "basket", pairs), pairs) == {(0, 0): 100, (1, 5): 100}  # a with b; c with none
    labels = grid([pairs])
    assert labels is not None
    assert list(zip(*labels.to_pydict().values(), strict=True)) == list(combinations(["a", "b", "c", None], 2))
    by_week = added(asked("count distinct", "basket", pairs, WEEK), pairs, WEEK)
    assert by_week == {(0, 0): 100, (1, 10): 100}


def test_days_weeks_and_months_of_a_column() -> None:
    days = Axis(Breakdown("day", "day", "at"), domains.calendar("day", dt.date(2017, 1, 2), dt.date(2017, 1, 3)))
    assert added(asked("count", None, days), days) == {(0, 0): 300, (1, 1): 100}
    months = Axis(
        Breakdown("month", "month", "at"), domains.calendar("month", dt.date(2017, 1, 31), dt.date(2017, 2, 1))
    )
    assert months.values.to_pylist() == [dt.date(2017, 1, 1), dt.date(2017, 2, 1)]
    assert added(asked("count", None, months), months) == {(0, 0): 500, (1, 0): 300, (1, 1): 100}
    weeks = Axis(Breakdown("week", "week", "at"), WEEK.values)
    assert weeks.values.to_pylist() == [dt.date(2017, 1, 2), dt.date(2017, 1, 9)]
    assert added(asked("count", None, weeks), weeks) == {(0, 0): 300, (0, 1): 200, (1, 0): 300}


def test_no_row_at_all_is_no_contribution() -> None:
    found = combined(asked("sum", "amount"), [partial(asked("sum", "amount"), (), table([]), PRODUCTS, WEEKS[0])], 1)
    assert len(found.units) == len(found.values) == 0


def test_dictionary_columns_are_read_as_their_values() -> None:
    rows = table(ROWS[WEEKS[0]])
    rows = rows.set_column(2, "basket", rows.column("basket").dictionary_encode())
    found = partial(asked("count distinct", "basket"), (), rows, PRODUCTS, WEEKS[0])
    assert found.column("value").to_pylist() == [100, 200]


def test_only_the_columns_of_the_source_that_are_needed_are_read() -> None:
    assert source_columns(asked("sum", "amount", WEEK, STORE, SHELF)) == ["unit", "amount", "product", "store"]
    assert source_columns(asked("count", None, lookups=())) == ["unit"]
    assert grid([]) is None


@pytest.mark.parametrize(
    ("name", "parameters", "required", "values"),
    [
        ("keep", {}, True, [False, True]),
        ("keep", {}, False, [False, True, None]),
        ("generalize", {"groups": {"x": ["1"], "y": ["2"]}}, True, ["x", "y", None]),
        ("generalize", {"groups": {"x": ["1"]}, "other": "z"}, True, ["x", "z"]),
        ("generalize", {"groups": {"x": ["1"]}, "other": "z"}, False, ["x", "z", None]),
        ("generalize", {"ageBands": [35, 55], "on": dt.date(2017, 1, 1)}, True, ["under 35", "35-54", "55+"]),
        ("generalize", {"bins": [5]}, False, ["under 5", "5+", None]),
    ],
)
def test_what_a_contract_says_of_the_values_of_a_column(
    name: str, parameters: dict[str, object], required: bool, values: list[object]
) -> None:
    column = Column("c", "boolean", required, ColumnClass.PLAIN, Treatment(name, parameters))
    assert domains.declared_values(column) == values
