"""Looking for many values at once finds exactly what looking for each alone does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.stages.sweep_values import ADDRESS, ANYWHERE, NUMBER, SHORTEST, Needles, beside

LETTERS = st.sampled_from(list(b"ab1 @.\xc3"))
VALUE = st.lists(LETTERS, min_size=SHORTEST, max_size=24).map(bytes)
VALUES = st.lists(VALUE, min_size=1, max_size=8, unique=True)


def joined(byte: int | None, kind: int, *, before: bool) -> bool:
    if byte is None or kind == ANYWHERE:
        return False
    if kind == NUMBER:
        return chr(byte) in "0123456789"
    word = chr(byte).isalnum() or byte > 127
    return word or (kind == ADDRESS and chr(byte) in ("._%+-" if before else "-"))


def alone(text: bytes, value: bytes, kind: int) -> list[int]:
    """Where `value` stands in `text`, one position after the other."""
    found, at = [], text.find(value)
    while at >= 0:
        end = at + len(value)
        first = text[at - 1] if at else None
        after = text[end] if end < len(text) else None
        if not joined(first, kind, before=True) and not joined(after, kind, before=False):
            found.append(at)
        at = text.find(value, at + 1)
    return found


@settings(max_examples=60, deadline=None)
@given(values=VALUES, text=st.data(), tokens=st.booleans())
def test_all_at_once_is_each_alone(values: list[bytes], text: st.DataObject, tokens: bool) -> None:
    pieces = st.one_of(st.sampled_from(values), st.lists(LETTERS, max_size=5).map(bytes))
    whole = b"".join(text.draw(st.lists(pieces, max_size=12)))
    kinds = [ANYWHERE if tokens else beside(value) for value in values]
    needles = Needles(pa.array(values, pa.binary()), np.array(kinds, np.uint8))
    found = needles.find(np.frombuffer(whole, np.uint8))
    expected = sorted((at, i) for i, value in enumerate(values) for at in alone(whole, value, kinds[i]))
    assert sorted(zip(found.places.tolist(), found.values.tolist(), strict=True)) == expected


@settings(max_examples=40, deadline=None)
@given(values=VALUES, rows=st.data())
def test_in_cells_a_value_never_spans_two(values: list[bytes], rows: st.DataObject) -> None:
    halves = [half for value in values for half in (value[:7], value[7:], value)]
    column = rows.draw(st.lists(st.one_of(st.none(), st.sampled_from(halves)), max_size=20))
    kinds = [beside(value) for value in values]
    needles = Needles(pa.array(values, pa.binary()), np.array(kinds, np.uint8))
    found = needles.find_in_cells(pa.array([b"x", *column, b"y"], pa.binary()).slice(1, len(column)))
    expected = sorted(
        (row, i)
        for row, cell in enumerate(column)
        for i, value in enumerate(values)
        for _ in alone(cell or b"", value, kinds[i])
    )
    assert sorted(zip(found.places.tolist(), found.values.tolist(), strict=True)) == expected


def test_tokens_in_a_column_of_fixed_size_are_found_by_row() -> None:
    tokens = [bytes([n]) * 16 for n in range(5)]
    needles = Needles(pa.array([tokens[3], tokens[1]], pa.binary()), np.zeros(2, np.uint8))
    found = needles.find_in_cells(pa.array(tokens, pa.binary(16)).slice(1))
    assert sorted(zip(found.places.tolist(), found.values.tolist(), strict=True)) == [(0, 1), (2, 0)]


def test_many_addresses_of_one_host_and_few_are_told_apart() -> None:
    values = [b"p%d@example.com" % number for number in range(200)]
    needles = Needles(pa.array(values, pa.binary()), np.array([beside(v) for v in values], np.uint8))
    text = b",".join([*values[::2], b"q7@example.com", b"xp1@example.com", b"p1@example.community"])
    assert sorted(needles.find(np.frombuffer(text, np.uint8)).values.tolist()) == list(range(0, 200, 2))


def test_values_too_short_to_be_found_anywhere_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 11 bytes"):
        Needles(pa.array([b"0123456789"], pa.binary()), np.zeros(1, np.uint8))
