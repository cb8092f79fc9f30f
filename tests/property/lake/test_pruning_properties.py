"""Leaving row groups out never changes what a filter finds."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake import parquet
from cloakhouse.lake.filters import RowFilter
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.folder import FolderStore

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    "x": st.floats() | st.sampled_from([0.0, -0.0]),
    "t": st.text(max_size=3),
    "d": st.dates(),
    "at": st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "b": st.booleans(),
}
TYPES = {
    "n": pa.int64(),
    "x": pa.float64(),
    "t": pa.string(),
    "d": pa.date32(),
    "at": pa.timestamp("us"),
    "b": pa.bool_(),
}
OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "in", "not in"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    home: Path = tmp_path_factory.mktemp("pruning")
    return TableStore(FolderStore(home / "lake"), KeyRing(AgeKeyService(home / "keystore"), home / "dataset-keys"))


@st.composite
def cases(draw: st.DrawFn) -> tuple[pa.Table, list[Any]]:
    column = draw(st.sampled_from(sorted(VALUES)))
    values = draw(st.lists(st.none() | VALUES[column], min_size=1, max_size=12))
    operator = draw(OPERATORS)
    near = st.sampled_from([value for value in values if value is not None] or [draw(VALUES[column])])
    value = near | VALUES[column]
    wanted = draw(st.lists(value, max_size=3)) if operator.endswith("in") else draw(value)
    return pa.table({column: pa.array(values, TYPES[column])}), [(column, operator, wanted)]


@settings(max_examples=60, deadline=None)
@given(cases())
def test_a_filter_finds_the_same_rows_with_and_without_statistics(
    store: TableStore, case: tuple[pa.Table, list[Any]]
) -> None:
    table, where = case
    classes = dict.fromkeys(table.column_names, ColumnClass.PLAIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROWS_PER_GROUP", 3)
        with store.writing("synthetic/a/a.parquet", table.schema, classes) as (write, entries):
            for start in range(0, table.num_rows, 3):
                write(table.slice(start, 3))
    found = store.read(entries[0], where=where)
    plain = pa.Table.from_batches([RowFilter.of(where).apply(batch) for batch in table.to_batches()], table.schema)
    assert repr(found.to_pylist()) == repr(plain.to_pylist())
