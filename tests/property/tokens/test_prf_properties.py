"""Keyed words over drawn columns, places and limits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.prf import below, row_words, value_words

KEY = SecretKey(bytes(range(32)))
TEXTS = st.lists(st.none() | st.text(max_size=40), max_size=20)


@given(TEXTS, st.integers(0, 5))
@settings(deadline=None)
def test_equal_values_draw_equal_words_and_others_do_not(values: list[str | None], start: int) -> None:
    column = pa.array(values, pa.string())
    words = value_words(column, KEY)
    of = dict(zip(values, map(tuple, words.tolist()), strict=True))
    assert len(set(of.values())) == len(of)
    assert of.get(None, (0, 0)) == (0, 0)
    assert value_words(column.slice(start), KEY).tolist() == words[start:].tolist()
    assert value_words(column.dictionary_encode(), KEY).tolist() == words.tolist()


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 50), st.integers(0, 50))
@settings(deadline=None)
def test_places_are_apart_and_rows_do_not_depend_on_their_number(a: bytes, b: bytes, few: int, many: int) -> None:
    few, many = sorted((few, many))
    assert row_words(KEY, a, few).tolist() == row_words(KEY, a, many)[:few].tolist()
    if a != b:
        one, two = ({tuple(row) for row in row_words(KEY, place, many).tolist()} for place in (a, b))
        assert not one & two


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(1, 2**32))
@settings(deadline=None)
def test_below(words: list[int], limit: int) -> None:
    assert below(np.array(words, np.uint64), limit).tolist() == [word * limit >> 64 for word in words]
