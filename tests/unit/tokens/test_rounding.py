"""Rounding to multiples: ties, decimal steps, ends of types, refusals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.tokens.rounding import round_to, step_of


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint8(), pa.uint64()])
def test_integers_to_the_nearest_multiple_and_ties_to_the_even_one(kind: pa.DataType) -> None:
    values = pa.array([0, 4, 5, 6, 14, 15, 16, 25, 35, None], kind)
    rounded = round_to(values, 10)
    assert rounded.type == kind
    assert rounded.to_pylist() == [0, 0, 0, 10, 10, 20, 20, 20, 40, None]


def test_integers_below_zero_and_steps_without_ties() -> None:
    assert round_to(pa.array([-5, -6, -15, -14, -1]), 10).to_pylist() == [0, -10, -20, -10, 0]
    assert round_to(pa.array([-4, -2, -1, 1, 2, 4]), 3).to_pylist() == [-3, -3, 0, 0, 3, 3]
    assert round_to(pa.array([-7, 0, 2**63 - 1, -(2**63)]), 1).to_pylist() == [-7, 0, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize(
    ("kind", "to", "values", "expected"),
    [
        (pa.int8(), 10, [127, -128, 126], [120, -120, 120]),
        (pa.int8(), 1000, [127, -128, 0], [0, 0, 0]),
        (pa.uint8(), 10, [255, 249], [250, 250]),
        (pa.int64(), 10, [2**63 - 1, -(2**63)], [2**63 - 8, -(2**63) + 8]),
        (pa.uint64(), 10, [2**64 - 1, 2**63 + 3], [2**64 - 6, 2**63 + 2]),
        (pa.int64(), 2**53, [2**63 - 1, 2**52, 2**52 + 1], [2**63 - 2**53, 0, 2**53]),
    ],
)
def test_what_would_leave_the_type_stops_at_the_last_multiple(
    kind: pa.DataType, to: int, values: list[int], expected: list[int]
) -> None:
    assert round_to(pa.array(values, kind), to).to_pylist() == expected


@pytest.mark.parametrize("to", ["0.05", 0.05, Decimal("0.05")])
def test_floats_to_the_float_of_the_decimal_multiple(to: Any) -> None:
    values = pa.array([1.13, 1.14, 1.17, 1.18, 0.0, -0.01, -1.13, None])
    assert [repr(v) for v in round_to(values, to).to_pylist()] == [
        "1.15", "1.15", "1.15", "1.2", "0.0", "0.0", "-1.15", "None"
    ]  # fmt: skip


def test_decimal_ties_go_to_the_even_multiple_though_floats_miss_the_middle() -> None:
    values = pa.array([1.005, 1.015, 1.025, 1.035, -1.015, 0.145])
    assert round_to(values, "0.01").to_pylist() == [1.0, 1.02, 1.02, 1.04, -1.02, 0.14]
    assert round_to(pa.array([0.075, 0.025, 0.125]), "0.05").to_pylist() == [0.1, 0.0, 0.1]
    assert round_to(pa.array([0.5, 1.5, 2.5, -0.5]), 1).to_pylist() == [0.0, 2.0, 2.0, 0.0]
    assert round_to(pa.array([1.0150000001, 1.0149999999]), "0.01").to_pylist() == [1.02, 1.01]


def test_floats_that_are_none_or_large() -> None:
    values = pa.array([float("nan"), float("inf"), float("-inf"), 1.7e308, -1e300, 2.0**60])
    assert round_to(values, "0.05").to_pylist() == [None, None, None, 1.7e308, -1e300, 2.0**60]
    assert round_to(pa.array([1e15 + 0.4]), 1000).to_pylist() == [1e15]


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()])
def test_layouts(kind: pa.DataType) -> None:
    values = pa.array([12, None, 18, 12], kind)
    assert round_to(values.slice(1), 10).to_pylist() == [None, 20, 10]
    assert round_to(values.dictionary_encode(), 10).to_pylist() == [10, None, 20, 10]
    chunked = round_to(pa.chunked_array([values, values[:0]]), 10)
    assert chunked.num_chunks == 2
    assert chunked.to_pylist() == [10, None, 20, 10]
    assert round_to(pa.array([], kind), 10).type == kind
    assert round_to(pa.nulls(2, kind), 10).to_pylist() == [None, None]


@pytest.mark.parametrize(
    "to",
    [
        0,
        -1,
        "zero",
        "",
        "NaN",
        "Infinity",
        float("nan"),
        float("inf"),
        2**53 + 1,
        "1e-16",
        "1e-999999",
        "1e999999",
        0.1 + 0.2,
        True,
        "-0.05",
    ],
)
def test_steps_that_are_none(to: Any) -> None:
    with pytest.raises(ContractError):
        round_to(pa.array([1.0]), to)


def test_a_step_of_integers_is_whole() -> None:
    with pytest.raises(ContractError):
        round_to(pa.array([1]), 0.5)
    assert round_to(pa.array([7]), "5.0").to_pylist() == [5]


@pytest.mark.parametrize("kind", [pa.string(), pa.bool_(), pa.float32(), pa.decimal128(5, 2), pa.date32()])
def test_types_that_are_not_rounded(kind: pa.DataType) -> None:
    with pytest.raises(TreatmentError, match="column price"):
        round_to(pa.nulls(1, kind), 5, column="price")


def test_a_step_is_the_fraction_that_its_text_says() -> None:
    step = step_of(0.05, "rounding", "round")
    assert (step.numerator, step.denominator) == (1, 20)
    assert step_of("1e3", "rounding", "round").size == 1000
