"""Rounding against decimal and integer arithmetic of Python over drawn columns."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.tokens.rounding import round_to

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.none() | INT64 | st.integers(-100, 100), max_size=20), st.integers(1, 2**53) | st.integers(1, 12))
@settings(deadline=None)
def test_integers(values: list[int | None], to: int) -> None:
    outermost = (2**63 - 1) // to * to
    least = -(2**63 // to) * to
    expected = [None if v is None else max(least, min(round(Fraction(v, to)) * to, outermost)) for v in values]
    assert round_to(pa.array(values, pa.int64()), to).to_pylist() == expected


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(1, 1000))
@settings(deadline=None)
def test_unsigned(values: list[int], to: int) -> None:
    outermost = (2**64 - 1) // to * to
    expected = [min(round(Fraction(v, to)) * to, outermost) for v in values]
    assert round_to(pa.array(values, pa.uint64()), to).to_pylist() == expected


@given(
    st.lists(st.decimals(-(10**6), 10**6, places=4).map(str), max_size=20),
    st.sampled_from(["0.05", "0.01", "0.001", "0.25", "1", "7", "10", "2.5", "0.03", "1000"]),
)
@settings(deadline=None, max_examples=300)
def test_floats_are_rounded_as_their_decimal_text(texts: list[str], to: str) -> None:
    expected = [float(round(Fraction(Decimal(text)) / Fraction(to)) * Fraction(to)) for text in texts]
    rounded = round_to(pa.array([float(text) for text in texts], pa.float64()), to).to_pylist()
    assert rounded == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=20), st.floats(0.001, 1000))
@settings(deadline=None)
def test_order_is_kept_and_nothing_moves_further_than_half_a_step(values: list[float], size: float) -> None:
    to = round(size, 3)
    rounded = round_to(pa.array(sorted(values)), to).to_pylist()
    assert rounded == sorted(rounded)
    for before, after in zip(sorted(values), rounded, strict=True):
        assert abs(Fraction(after) - Fraction(before)) <= Fraction(to) / 2 + abs(Fraction(before)) / 2**48
