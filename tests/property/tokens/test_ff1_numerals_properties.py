"""Numerals eight at a time equal int() of their text, for every radix and every number that fits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.tokens.ff1_numerals import Numerals

LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@st.composite
def numerals(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    radix = draw(st.integers(2, 36))
    longest = max(m for m in range(1, 63) if radix**m < 1 << 63)
    size = draw(st.integers(1, longest))
    row = st.lists(st.integers(0, radix - 1), min_size=size, max_size=size)
    drawn = draw(st.lists(row, max_size=6))
    return radix, [[radix - 1] * size, [0] * size, *drawn]


@given(numerals(), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_numbers_are_those_of_the_text_and_lead_back(
    drawn: tuple[int, list[list[int]]], before: int, behind: int
) -> None:
    radix, rows = drawn
    size = len(rows[0])
    matrix = np.full((len(rows), before + size + behind), 77, np.uint8)
    matrix[:, before : before + size] = rows
    kernel, numbers = Numerals(radix, len(rows) + 3), np.full(len(rows), 5, np.uint64)
    kernel.read(matrix[:, before : before + size], numbers)
    assert numbers.tolist() == [int("".join(LETTERS[numeral] for numeral in row), radix) for row in rows]
    target = np.full_like(matrix, 77)
    kernel.write(numbers, target[:, before : before + size])
    assert target.tolist() == matrix.tolist()
