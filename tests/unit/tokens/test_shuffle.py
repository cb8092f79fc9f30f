"""Permutations of a column: exact, keyed, uniform, of any type."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cloakhouse.errors import TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.prf import row_words
from cloakhouse.tokens.shuffle import row_order, shuffle

KEY = SecretKey(bytes(range(32)))
OTHER = SecretKey(bytes(32))


def test_the_rows_come_in_the_order_of_their_words() -> None:
    words = row_words(KEY, b"p", 50).tolist()
    expected = sorted(range(50), key=lambda row: words[row])
    assert shuffle(pa.array(range(50)), KEY, b"p").to_pylist() == expected
    assert expected != list(range(50))


def test_equal_first_words_are_ordered_by_the_second() -> None:
    words = np.array([[5, 3], [9, 0], [5, 1], [0, 7], [5, 2]], np.uint64)
    assert row_order(words).tolist() == [3, 2, 4, 0, 1]
    assert row_order(words).dtype == np.int64


def test_the_order_is_of_the_key_the_place_and_the_number_of_rows() -> None:
    values = pa.array(range(100))
    assert shuffle(values, KEY, b"a").equals(shuffle(values, KEY, b"a"))
    assert not shuffle(values, KEY, b"a").equals(shuffle(values, KEY, b"b"))
    assert not shuffle(values, KEY, b"a").equals(shuffle(values, OTHER, b"a"))


def test_every_order_is_as_likely_as_any_other() -> None:
    values, draws = pa.array(range(4)), 4800
    seen = Counter(tuple(shuffle(values, KEY, str(place).encode()).to_pylist()) for place in range(draws))
    expected = draws / 24
    assert len(seen) == 24
    assert sum((count - expected) ** 2 / expected for count in seen.values()) < 49.7  # 23 degrees, p = 0.001


def test_every_key_may_give_every_order() -> None:
    keys = [SecretKey(number.to_bytes(32, "big")) for number in range(600)]
    seen = Counter(tuple(shuffle(pa.array(range(3)), key, b"").to_pylist()) for key in keys)
    assert sum((count - 100) ** 2 / 100 for count in seen.values()) < 20.5  # 5 degrees, p = 0.001


@pytest.mark.parametrize("rows", [0, 1])
def test_a_lone_value_stays_where_it_is(rows: int) -> None:
    values = pa.array(["a"][:rows], pa.string())
    assert shuffle(values, KEY, b"") is values


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None, "b", "a", None] * 4),
        pa.array(["a", None, "b", "a", None] * 4).dictionary_encode(),
        pa.array([True, None] * 10),
        pa.array([1.5, float("inf"), None] * 5),
        pa.array([[1], None, [2, 3]] * 5),
        pa.array([{"a": 1}, {"a": None}] * 5),
        pa.array([b"ab", None] * 5, pa.binary(2)),
        pa.nulls(5),
        pa.array(["x", "a", None, "b"] * 4).slice(1),
    ],
)
def test_any_type_keeps_its_values_nulls_and_type(values: Any) -> None:
    shuffled = shuffle(values, KEY, b"p")
    assert shuffled.type == values.type
    shuffled.validate(full=True)
    assert Counter(map(repr, shuffled.to_pylist())) == Counter(map(repr, values.to_pylist()))
    order = shuffle(pa.array(range(len(values))), KEY, b"p")
    assert shuffled.to_pylist() == [values[row].as_py() for row in order.to_pylist()]


def test_chunks_are_shuffled_together() -> None:
    values = pa.chunked_array([[1, 2, 3], [], [4, None, 6]], pa.int64())
    shuffled = shuffle(values, KEY, b"p")
    assert isinstance(shuffled, pa.ChunkedArray)
    assert shuffled.to_pylist() == shuffle(values.combine_chunks(), KEY, b"p").to_pylist()
    dictionaries = pa.chunked_array([pa.array([word]).dictionary_encode() for word in "abc"])
    assert sorted(shuffle(dictionaries, KEY, b"p").to_pylist()) == ["a", "b", "c"]
    assert shuffle(pa.chunked_array([], pa.string()), KEY, b"p").to_pylist() == []


def test_a_type_that_can_not_be_reordered_is_refused() -> None:
    with pytest.raises(TreatmentError, match="column city"):
        shuffle(pc.run_end_encode(pa.array([1, 1, 2])), KEY, b"", column="city")
