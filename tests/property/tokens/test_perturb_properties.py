"""Bounded noise over drawn columns: within the bound, inside the ends, order within a subject."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from itertools import combinations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.perturb import perturb
from cloakhouse.tokens.prf import row_words, value_words

KEY = SecretKey(bytes(range(32)))
INT64 = st.integers(-(2**63), 2**63 - 1)
BOUNDS = st.integers(1, 2**31 - 1) | st.integers(1, 5)


@given(st.lists(st.none() | INT64, max_size=20), BOUNDS, st.binary(max_size=3))
@settings(deadline=None)
def test_integers_stay_within_the_bound(values: list[int | None], bound: int, place: bytes) -> None:
    moved = perturb(pa.array(values, pa.int64()), bound, row_words(KEY, place, len(values))).to_pylist()
    for before, after in zip(values, moved, strict=True):
        assert (before is None) == (after is None)
        assert before is None or abs(after - before) <= bound


@given(
    st.lists(st.none() | st.floats(-1e6, 1e6) | st.integers(-(10**8), 10**8).map(lambda n: n / 100), max_size=20),
    st.integers(1, 500),
    st.sampled_from(["0.01", "0.05", "0.25", "1", "3"]),
    st.binary(max_size=3),
)
@settings(deadline=None)
def test_floats_stay_within_the_bound_and_on_the_grid(
    values: list[float | None], steps: int, step: str, place: bytes
) -> None:
    bound = steps * Fraction(step)
    words = row_words(KEY, place, len(values))
    moved = perturb(pa.array(values, pa.float64()), str(float(bound)), words, step=step).to_pylist()
    for before, after in zip(values, moved, strict=True):
        if before is None:
            assert after is None
            continue
        assert abs(Fraction(after) - Fraction(before)) <= bound + Fraction(abs(before) + 1) / 10**14
        assert after == float(round(Fraction(after) / Fraction(step)) * Fraction(step))


@given(
    st.lists(st.datetimes(datetime(1901, 1, 1), datetime(2100, 1, 1)), max_size=10),
    st.integers(1, 10**8),
    st.binary(max_size=3),
)
@settings(deadline=None)
def test_times_stay_within_the_bound(times: list[datetime], bound: int, place: bytes) -> None:
    moved = perturb(pa.array(times, pa.timestamp("us")), bound, row_words(KEY, place, len(times))).to_pylist()
    for before, after in zip(times, moved, strict=True):
        assert abs(after - before) <= timedelta(seconds=bound)
        assert after.microsecond == 0


@given(
    st.lists(st.tuples(st.sampled_from(["ann", "bob", None]), st.integers(-1000, 1000)), max_size=20),
    st.integers(1, 2000),
    st.integers(-1500, 0),
    st.integers(0, 1500),
)
@settings(deadline=None)
def test_order_and_distances_within_a_subject(
    rows: list[tuple[str | None, int]], bound: int, low: int, high: int
) -> None:
    subjects, values = pa.array([row[0] for row in rows], pa.string()), pa.array([row[1] for row in rows], pa.int64())
    words = value_words(subjects, KEY)
    free = perturb(values, bound, words).to_pylist()
    cut = perturb(values, bound, words, low=low, high=high).to_pylist()
    floats = perturb(values.cast(pa.float64()), bound, words, step="0.3").to_pylist()
    for (i, one), (j, two) in combinations(enumerate(rows), 2):
        if one[0] == two[0] and one[0] is not None:
            assert free[j] - free[i] == two[1] - one[1]
            if one[1] <= two[1]:
                assert cut[i] <= cut[j]
                assert floats[i] <= floats[j]
    for row, moved, inside in zip(rows, free, cut, strict=True):
        assert (moved is None) == (inside is None) == (row[0] is None)
        assert inside is None or low <= inside <= high
