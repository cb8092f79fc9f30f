"""What one unit can change: the integer vector of sums, by the clip norm at most, whatever its rows are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.privacy import aggregates

CELLS = 6
VECTORS = st.dictionaries(
    st.integers(0, CELLS - 1),
    st.one_of(st.integers(-(10**4), 10**4), st.integers(-(2**62), 2**62)),
    min_size=1,
    max_size=CELLS,
)
BOUNDS = st.one_of(st.integers(1, 500), st.integers(1, 2 * 10**9))


def sums(vectors: list[dict[int, int]], bound: int) -> list[int]:
    rows = [(unit, cell, value) for unit, vector in enumerate(vectors) for cell, value in vector.items()]
    units, cells, values = np.array(rows, dtype=np.int64).reshape(-1, 3).T.copy()
    found = aggregates.contributions(units, cells, values, CELLS)
    return [int(value) for value in aggregates.sums(found, bound)]


@given(st.lists(VECTORS, min_size=1, max_size=6), st.integers(0, 5), BOUNDS)
@settings(max_examples=60, deadline=None)
def test_one_unit_more_or_less_moves_the_sums_by_the_bound_at_most(
    vectors: list[dict[int, int]], which: int, bound: int
) -> None:
    which %= len(vectors)
    apart = [
        a - b for a, b in zip(sums(vectors, bound), sums(vectors[:which] + vectors[which + 1 :], bound), strict=True)
    ]
    assert sum(change**2 for change in apart) <= bound**2


@given(VECTORS, BOUNDS)
@settings(max_examples=60, deadline=None)
def test_clipping_shortens_towards_zero_and_keeps_what_fits(vector: dict[int, int], bound: int) -> None:
    clipped = sums([vector], bound)
    held = {cell: max(-(2**31), min(2**31, value)) for cell, value in vector.items()}
    assert all(0 <= clipped[cell] * (1 if value >= 0 else -1) <= abs(value) for cell, value in held.items())
    if sum(value**2 for value in held.values()) <= bound**2 * (1 - 1e-9):
        assert all(clipped[cell] == value for cell, value in held.items())
