"""Codes and numbers, there and back: what the library sees is complete, and what comes out is the plan's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.synthesis.protocol import ViewColumn
from cloakhouse.synthesis.sdv_tables.frames import CONSTANT, categories, decode, encode, learn, varies

MAXIMUM = 1_000.0
CATEGORIES = st.one_of(
    st.tuples(st.just(pa.string()), st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=30)),
    st.tuples(st.just(pa.int64()), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30)),
    st.tuples(st.just(pa.bool_()), st.lists(st.none() | st.booleans(), min_size=1, max_size=30)),
)
NUMBERS = st.one_of(
    st.tuples(st.just(pa.int64()), st.lists(st.none() | st.integers(-5, 1_100), min_size=1, max_size=30)),
    st.tuples(
        st.just(pa.float64()),
        st.lists(st.none() | st.integers(-500, 110_000).map(lambda cents: cents / 100), min_size=1, max_size=30),
    ),
)


@settings(max_examples=60)
@given(CATEGORIES, st.integers(0, 9))
def test_categories_come_back_exact(drawn: tuple[pa.DataType, list[Any]], seed: int) -> None:
    kind, values = drawn
    column = ViewColumn("a", kind, True, None)
    table = pa.table({"a": pa.array(values, kind)})
    codings = learn(table, (column,))
    made = encode(table, codings, seed)
    for codes in made.values():
        assert codes.dtype == np.int64
        assert set(codes.tolist()) == set(range(len(set(values))))
    assert varies(codings) == (len(set(values)) > 1)
    assert categories(codings) == (len(set(values)) if len(set(values)) > 1 else 0)
    assert decode(made, len(values), codings, (column,))["a"].to_pylist() == values
    assert learn(table.take(pa.array(range(len(values))[::-1])), (column,)) == codings  # the order of rows is nothing


@settings(max_examples=60)
@given(NUMBERS, st.integers(0, 9), st.booleans())
def test_numbers_are_complete_for_the_library_and_clipped_to_the_plan(
    drawn: tuple[pa.DataType, list[Any]], seed: int, capped: bool
) -> None:
    kind, values = drawn
    column = ViewColumn("a", kind, False, MAXIMUM if capped else None)
    table = pa.table({"a": pa.array(values, kind)})
    codings = learn(table, (column,))
    made = encode(table, codings, seed)
    clipped = [None if v is None else min(max(v, 0), MAXIMUM) if capped else v for v in values]
    assert decode(made, len(values), codings, (column,))["a"].to_pylist() == clipped
    if codings[0].kind == CONSTANT:
        assert len(set(values)) == 1
        return
    assert np.isfinite(made["c0"]).all()
    assert set(made["c0"].tolist()) == {float(v) for v in clipped if v is not None}  # filled from the column's own
    assert ("c0n" in made) == (None in values)


@settings(max_examples=30)
@given(st.lists(st.floats(-10.0, 2_000.0), min_size=1, max_size=20), st.booleans())
def test_whatever_the_library_makes_is_in_range_and_rounded(made: list[float], whole: bool) -> None:
    column = ViewColumn("a", pa.int64() if whole else pa.float64(), False, MAXIMUM)
    codings = learn(pa.table({"a": pa.array([1, 2], column.type)}), (column,))
    found = decode({"c0": np.array(made)}, len(made), codings, (column,))["a"]
    assert found.type == column.type
    for given_, value in zip(made, found.to_pylist(), strict=True):
        assert 0 <= value <= MAXIMUM
        assert abs(value - min(max(given_, 0.0), MAXIMUM)) <= (0.5 if whole else 0.005) + 1e-9
        assert whole or str(value) == str(round(value, 2))
