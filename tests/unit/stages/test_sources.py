"""Rows of partitions in batches of bounded size."""

from __future__ import annotations

import pyarrow as pa
import pytest
from tests.support import house

from cloakhouse.stages.sources import batches_of_partitions, read_partitions


@pytest.mark.parametrize("rows", [1_000, 4_000, 10_000_000])
def test_rows_come_in_order_in_tables_of_bounded_size(rows: int) -> None:
    place = house.protected()
    partitions = list(place.catalogue.protected("transactions").values())
    tables = list(batches_of_partitions(place.settings, place.store, partitions, rows))
    whole = pa.concat_tables(read_partitions(place.settings, place.store, partitions))
    assert len(partitions) > 1
    assert pa.concat_tables(tables).equals(whole)
    assert all(table.num_rows == rows for table in tables[:-1])
    assert 0 < tables[-1].num_rows <= rows


def test_partitions_without_rows_are_one_empty_table() -> None:
    place = house.protected()
    [some, *_] = place.catalogue.protected("transactions").values()
    [table] = batches_of_partitions(place.settings, _Emptied(place.store), [some, some], 10)  # type: ignore[arg-type]
    assert table.num_rows == 0
    assert "household_id" in table.column_names


class _Emptied:
    """A store whose files hold no rows."""

    def __init__(self, store: object) -> None:
        self._store = store

    def batches(self, entry: object, rows: int) -> list[pa.RecordBatch]:
        return []

    def layout(self, entry: object) -> object:
        return self._store.layout(entry)  # type: ignore[attr-defined]
