"""Shuffles of drawn columns: nothing is lost, nothing is added, one order for all columns of a place."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.shuffle import shuffle

KEY = SecretKey(bytes(range(32)))


@given(st.lists(st.none() | st.text(max_size=5), max_size=40), st.binary(max_size=8), st.integers(0, 40))
@settings(deadline=None)
def test_a_shuffle_is_a_permutation(values: list[str | None], place: bytes, cut: int) -> None:
    column = pa.array(values, pa.string())
    shuffled = shuffle(column, KEY, place).to_pylist()
    order = shuffle(pa.array(range(len(values)), pa.int64()), KEY, place).to_pylist()
    assert Counter(shuffled) == Counter(values)
    assert shuffled == [values[row] for row in order]
    assert shuffle(column.dictionary_encode(), KEY, place).to_pylist() == shuffled
    chunked = pa.chunked_array([column[:cut], column[cut:]])
    assert shuffle(chunked, KEY, place).to_pylist() == shuffled
