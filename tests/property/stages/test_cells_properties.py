"""What a unit adds to the cells follows from its own rows, to the last hundredth, whoever else is there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.contracts.model import Breakdown, Privacy, Query
from cloakhouse.privacy.aggregates import sums
from cloakhouse.stages.cells import Axis, cell_count, combined, partial

ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["x", "y", "z", "other", None]),
        st.sampled_from(["1", "2", None]),
        st.one_of(st.floats(-1e6, 1e6), st.sampled_from([None, float("inf"), float("nan"), 1e300, 0.005, 0.015])),
    ),
    max_size=25,
)
VALUES = pa.array(["x", "y", "z"])
SHELF, PAIRS = Axis(Breakdown("k", "value", "k"), VALUES), Axis(Breakdown("k", "pairs", "k"), VALUES)
SIZES = Axis(Breakdown("g", "size", "g", bins=(1, 3)), pa.array(["1-2", "3+"]))
QUERIES = (
    ("sum", "v", (SHELF,)),
    ("count", None, (SHELF,)),
    ("count distinct", "g", (PAIRS,)),
    ("count distinct", "g", (SHELF, SIZES)),
    ("count distinct", "u", ()),
)


@given(ROWS, st.sampled_from("abc"), st.sampled_from(QUERIES), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_without_a_unit_the_sums_lack_exactly_what_it_adds_alone(rows, unit, query, random) -> None:  # type: ignore[no-untyped-def]
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    for half in halves:
        random.shuffle(half)
    mine = [[row for row in half if row[0] == unit] for half in halves]
    others = [[row for row in half if row[0] != unit] for half in halves]
    apart = in_halves(halves, query) - in_halves(others, query)
    assert np.array_equal(apart, in_halves(mine, query))
    assert int((apart.astype(object) ** 2).sum()) <= 10_000**2


def in_halves(halves, query) -> np.ndarray:  # type: ignore[no-untyped-def]
    measure, column, axes = query
    asked = Query("s", "u", measure, column, tuple(axis.breakdown for axis in axes), Privacy(1.0, 1e-6, "tests"))
    types = (pa.string(), pa.string(), pa.string(), pa.float64())
    tables = [pa.table({n: pa.array([r[k] for r in half], types[k]) for k, n in enumerate("ukgv")}) for half in halves]
    return sums(combined(asked, [partial(asked, axes, t, {}, "") for t in tables], cell_count(axes)), 10_000)
