from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.privacy.copies import excess_of_matches, match_mask

FLOATS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]), st.floats(width=64))
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "", None]), FLOATS, st.sampled_from([0, 1, None])), max_size=25)


def as_table(rows: list[tuple[object, ...]], chunk: int) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    types = [pa.string(), pa.float64(), pa.int64()]
    arrays = [pa.array(list(values), kind) for values, kind in zip(columns, types, strict=True)]
    table = pa.table(arrays, names=["s", "f", "n"])
    return pa.concat_tables([table.slice(0, chunk), table.slice(chunk)])


def exact(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(struct.pack("<d", cell) if isinstance(cell, float) else cell for cell in row)


@given(synthetic=ROWS, reference=ROWS, shared=ROWS, chunk=st.integers(0, 10))
def test_mask_agrees_with_python_sets(
    synthetic: list[tuple[object, ...]],
    reference: list[tuple[object, ...]],
    shared: list[tuple[object, ...]],
    chunk: int,
) -> None:
    left, right = synthetic + shared, shared[::2] + reference
    known = {exact(row) for row in right}
    mask = match_mask(as_table(left, chunk), as_table(right, chunk), ["s", "f", "n"])
    assert mask.type == pa.bool_()
    assert mask.to_pylist() == [exact(row) in known for row in left]


@given(cells=st.lists(st.integers(0, 400), min_size=4, max_size=4).filter(any), level=st.floats(0.55, 0.999))
def test_bound_lies_between_the_excess_and_one(cells: list[int], level: float) -> None:
    training = np.repeat([True, True, False, False], cells)
    holdout = np.repeat([True, False, True, False], cells)
    found = excess_of_matches(training, holdout, confidence=level)
    assert -1 <= found.excess <= found.upper_bound <= 1
