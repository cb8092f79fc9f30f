"""The canonical byte form of every type, and the refusals."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from cloakhouse.errors import TreatmentError
from cloakhouse.tokens.canonical import NORMALISATION_VERSION, canonical_form


def forms(values: pa.Array) -> list[bytes | None]:
    column = canonical_form(values)
    valid = [True] * len(column) if column.valid is None else column.valid.tolist()
    pairs = zip(column.offsets[:-1].tolist(), column.offsets[1:].tolist(), strict=True)
    return [column.data[a:b].tobytes() if ok else None for ok, (a, b) in zip(valid, pairs, strict=True)]


def test_the_table_is_version_one() -> None:
    assert NORMALISATION_VERSION == 1


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_text_is_its_utf8_bytes_untouched(kind: pa.DataType) -> None:
    decomposed = "Cafe\u0301"
    values = pa.array(["skipped", " A ", "", None, "Café", decomposed], kind).slice(1)
    assert forms(values) == [b" A ", b"", None, "Café".encode(), decomposed.encode()]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)])
def test_binary_is_its_bytes(kind: pa.DataType) -> None:
    assert forms(pa.array([b"xx", b"\xff\x00", None, b"ab"], kind).slice(1)) == [b"\xff\x00", None, b"ab"]


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("sign", ["int", "uint"])
def test_integers_have_one_form_in_every_width(bits: int, sign: str) -> None:
    values = pa.array([1, 7, None, 0], getattr(pa, f"{sign}{bits}")()).slice(1)
    assert forms(values) == [b"\xffi" + bytes(7) + b"\x07", None, b"\xffi" + bytes(8)]


def test_integers_at_the_ends_of_their_range() -> None:
    assert forms(pa.array([-1, -(2**63)])) == [b"\xffi" + b"\xff" * 8, b"\xffi\x80" + bytes(7)]
    assert forms(pa.array([2**63 - 1, 2**63, 2**64 - 1], pa.uint64())) == [
        b"\xffi\x7f" + b"\xff" * 7,
        b"\xffu\x80" + bytes(7),
        b"\xffu" + b"\xff" * 8,
    ]


def test_dates_are_tagged_days() -> None:
    values = pa.array([date(1970, 1, 2), None, date(1969, 12, 31)])
    assert forms(values) == [b"\xffd\0\0\0\x01", None, b"\xffd\xff\xff\xff\xff"]


def test_an_integer_is_neither_its_text_nor_the_date_of_that_day() -> None:
    seven = [pa.array([7]), pa.array(["7"]), pa.array([7], pa.int32()).cast(pa.date32())]
    assert len({forms(values)[0] for values in seven}) == 3


def test_empty_null_and_dictionary_columns() -> None:
    assert forms(pa.nulls(2)) == [None, None]
    assert forms(pa.array([], pa.string())) == []
    assert forms(pa.array([], pa.binary(3))) == []
    assert forms(pa.array(["b", None, "b"]).dictionary_encode()) == [b"b", None, b"b"]


@pytest.mark.parametrize("value", [1.5, True, Decimal("1.5"), datetime(2017, 1, 2), ["x"]])
def test_types_without_an_agreed_form_are_refused(value: Any) -> None:
    for values in (pa.array([value]), pa.array([value]).slice(1)):
        with pytest.raises(TreatmentError) as caught:
            canonical_form(values, column="basket_id")
        assert caught.value.code == "treatment.type"
        assert "basket_id" in caught.value.where
