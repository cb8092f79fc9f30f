"""Bounded noise: exact results for chosen draws, ends of types, what becomes null, and an even distribution."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.perturb import perturb
from cloakhouse.tokens.prf import Words, row_words, value_words

KEY = SecretKey(bytes(range(32)))


def words_for(bound: int, offsets: list[int]) -> Words:
    """Return words that draw these offsets out of [-bound, bound]."""
    cells = 2 * bound + 1
    firsts = [((offset + bound) * 2**64 + 2**63) // cells for offset in offsets]
    return np.array([[first, 1] for first in firsts], np.uint64).reshape(-1, 2)


DOWN_NONE_UP = words_for(3, [-3, 0, 2, 3])


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()])
def test_integers_move_by_the_draw(kind: pa.DataType) -> None:
    values = pa.array([10, 10, 10, None], kind)
    moved = perturb(values, 3, DOWN_NONE_UP)
    assert moved.type == kind
    assert moved.to_pylist() == [7, 10, 12, None]


@pytest.mark.parametrize(
    ("kind", "least", "last"),
    [
        (pa.int8(), -128, 127),
        (pa.uint8(), 0, 255),
        (pa.int64(), -(2**63), 2**63 - 1),
        (pa.uint64(), 0, 2**64 - 1),
    ],
)
def test_what_would_leave_the_type_stops_at_its_end(kind: pa.DataType, least: int, last: int) -> None:
    values = pa.array([least + 1, last - 1, last, least], kind)
    assert perturb(values, 3, words_for(3, [-3, 3, -3, 3])).to_pylist() == [least, last, last - 3, least + 3]


def test_unsigned_numbers_in_the_middle_of_their_range() -> None:
    values = pa.array([2**63, 2**63 - 1, 2**63, None], pa.uint64())
    assert perturb(values, 3, DOWN_NONE_UP).to_pylist() == [2**63 - 3, 2**63 - 1, 2**63 + 2, None]


def test_dates_move_by_days() -> None:
    values = pa.array([date(2017, 3, 1)] * 3 + [None])
    assert perturb(values, 3, DOWN_NONE_UP).to_pylist() == [date(2017, 2, 26), date(2017, 3, 1), date(2017, 3, 3), None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_move_by_seconds(unit: str) -> None:
    values = pa.array([datetime(2017, 3, 1, 0, 0, 1)] * 3 + [None], pa.timestamp(unit))
    expected = [datetime(2017, 2, 28, 23, 59, 58), datetime(2017, 3, 1, 0, 0, 1), datetime(2017, 3, 1, 0, 0, 3), None]
    moved = perturb(values, 3, DOWN_NONE_UP)
    assert moved.type == values.type
    assert moved.cast(pa.timestamp("us")).to_pylist() == expected


def test_timestamps_lose_their_fraction_and_stay_within_the_bound() -> None:
    zone = pa.timestamp("us", "Europe/Berlin")
    values = pa.array([datetime(2017, 3, 1, 12, 0, 9, 900_000, tzinfo=UTC)] * 4, zone)
    seconds = [time.astimezone(UTC).second for time in perturb(values, 3, DOWN_NONE_UP).to_pylist()]
    assert seconds == [7, 9, 11, 12]
    before_1970 = pa.array([datetime(1969, 12, 31, 23, 59, 58, 100)])
    assert perturb(before_1970, 3, words_for(3, [1])).to_pylist() == [datetime(1969, 12, 31, 23, 59, 59)]


def test_times_at_the_ends_of_their_type() -> None:
    values = pa.array([-(2**63), 2**63 - 1], pa.timestamp("ns"))
    moved = perturb(values, 3, words_for(3, [-3, 3])).view(pa.int64()).to_pylist()
    assert moved == [-9223372036 * 10**9, 9223372036 * 10**9]


def test_floats_move_by_steps_to_a_multiple() -> None:
    values = pa.array([1.15, 1.15, 1.15, 99.99, None])
    words = words_for(5, [-5, 0, 5, 1, 0])
    assert perturb(values, 0.05, words).to_pylist() == [1.1, 1.15, 1.2, 100.0, None]
    assert perturb(values, "0.25", words, step="0.05").to_pylist() == [0.9, 1.15, 1.4, 100.05, None]
    assert perturb(values, Decimal(6), words_for(6, [-5, 0, 5, 1, 0]), step=1).to_pylist() == [
        -4.0,
        1.0,
        6.0,
        101.0,
        None,
    ]


def test_a_value_off_the_grid_stays_within_the_bound() -> None:
    values = pa.array([1.4, 1.4, 1.6, 1.6])
    assert perturb(values, 2, words_for(2, [-2, 2, -2, 2]), step=1).to_pylist() == [0.0, 3.0, 0.0, 3.0]


def test_floats_that_can_not_be_moved_become_null() -> None:
    values = pa.array([float("nan"), float("inf"), float("-inf"), 1e300, 1.7e308, 1e13])
    assert perturb(values, 1, words_for(100, [100] * 6)).to_pylist() == [None] * 5 + [1e13 + 1]


def test_results_are_cut_off_at_the_ends() -> None:
    words = words_for(3, [-3, 3, 3])
    assert perturb(pa.array([1, 9, 50]), 3, words, low=0, high=10).to_pylist() == [0, 10, 10]
    assert perturb(pa.array([1, 9, 50]), 3, words, low=0).to_pylist() == [0, 12, 53]
    assert perturb(pa.array([1.0, 9.0, 5.0]), 3, words, high=10.5, step=1).to_pylist() == [-2.0, 10.5, 8.0]
    days = pa.array([date(2017, 1, 2)] * 3)
    assert perturb(days, 3, words, low=date(2017, 1, 1)).to_pylist()[0] == date(2017, 1, 1)


def test_a_row_without_a_subject_becomes_null() -> None:
    subjects = pa.array(["ann", None, "bob", "ann"])
    values = pa.array([10, 20, 30, 50])
    moved = perturb(values, 100, value_words(subjects, KEY)).to_pylist()
    assert moved[1] is None
    assert moved[3] - moved[0] == 40
    assert moved[2] is not None


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.date32(), pa.timestamp("us")])
def test_layouts(kind: pa.DataType) -> None:
    plain = pa.array([5, 6, None, 7, 8], pa.int32()).cast(pa.int64() if kind != pa.date32() else pa.int32()).cast(kind)
    words = row_words(KEY, b"p", 5)
    expected = perturb(plain, 3, words)
    assert perturb(plain.slice(1), 3, words[1:]).equals(expected.slice(1))
    assert perturb(plain.dictionary_encode(), 3, words).equals(expected)
    chunked = perturb(pa.chunked_array([plain[:2], plain[:0], plain[2:]]), 3, words)
    assert chunked.num_chunks == 3
    assert chunked.combine_chunks().equals(expected)
    assert perturb(pa.array([], kind), 3, words[:0]).to_pylist() == []
    assert perturb(pa.chunked_array([], kind), 3, words[:0], low=None).type == kind
    assert perturb(pa.nulls(5, kind), 3, words).to_pylist() == [None] * 5


def test_equal_values_of_a_dictionary_get_noise_of_their_own() -> None:
    values = pa.array([7] * 200).dictionary_encode()
    assert len(set(perturb(values, 100, row_words(KEY, b"p", 200)).to_pylist())) > 50


@pytest.mark.parametrize(("bound", "cells"), [(1, 3), (5, 11), (50, 101)])
def test_the_noise_is_even(bound: int, cells: int) -> None:
    rows = 1000 * cells
    limit = cells - 1 + 3.3 * (2 * (cells - 1)) ** 0.5 + 5  # above the 99.9 % quantile of chi-square
    for values, step in ((pa.array(np.zeros(rows, np.int64)), None), (pa.array(np.full(rows, 7.5)), "0.5")):
        moved = perturb(values, bound if step is None else bound / 2, row_words(KEY, b"even", rows), step=step)
        counts = np.unique(moved.to_numpy(), return_counts=True)[1]
        assert len(counts) == cells
        assert ((counts - 1000) ** 2 / 1000).sum() < limit


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        (pa.array([1]), {"bound": 0}),
        (pa.array([1]), {"bound": -1}),
        (pa.array([1]), {"bound": 2**31}),
        (pa.array([1]), {"bound": 1.5}),
        (pa.array([1]), {"bound": True}),
        (pa.array([1]), {"bound": 1, "step": 1}),
        (pa.array([1]), {"bound": 1, "low": 2, "high": 1}),
        (pa.array([1]), {"bound": 1, "low": "0"}),
        (pa.array([1.0]), {"bound": 0.009}),
        (pa.array([1.0]), {"bound": 0}),
        (pa.array([1.0]), {"bound": "a lot"}),
        (pa.array([1.0]), {"bound": 2**31}),
        (pa.array([1.0]), {"bound": 1, "step": "NaN"}),
        (pa.array([date(2017, 1, 1)]), {"bound": "1"}),
    ],
)
def test_unusable_settings(values: pa.Array, arguments: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        perturb(values, words=row_words(KEY, b"", 1), **arguments)


@pytest.mark.parametrize("kind", [pa.string(), pa.bool_(), pa.float32(), pa.decimal128(5, 2), pa.time32("s")])
def test_types_that_are_not_moved(kind: pa.DataType) -> None:
    with pytest.raises(TreatmentError, match="column price"):
        perturb(pa.nulls(1, kind), 1, row_words(KEY, b"", 1), column="price")


def test_words_of_another_number_of_rows() -> None:
    with pytest.raises(ValueError, match="two words a row"):
        perturb(pa.array([1, 2]), 1, row_words(KEY, b"", 3))
