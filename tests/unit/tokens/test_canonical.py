"""The canonical byte form of every type, and the refusals."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import TreatmentError
from cloakhouse.tokens.canonical import NORMALISATION_VERSION, canonical_form
from cloakhouse.tokens.uncanonical import from_canonical


def forms(values: pa.Array) -> list[bytes | None]:
    column = canonical_form(values)
    valid = [True] * len(column) if column.valid is None else column.valid.tolist()
    pairs = zip(column.offsets[:-1].tolist(), column.offsets[1:].tolist(), strict=True)
    return [column.data[a:b].tobytes() if ok else None for ok, (a, b) in zip(valid, pairs, strict=True)]


def test_the_table_is_version_two() -> None:
    assert NORMALISATION_VERSION == 2


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


@pytest.mark.parametrize("value", [1.5, float("nan"), -0.0, True, datetime(2017, 1, 2), ["x"]])
def test_types_without_an_agreed_form_are_refused(value: Any) -> None:
    for values in (pa.array([value]), pa.array([value]).slice(1)):
        with pytest.raises(TreatmentError) as caught:
            canonical_form(values, column="basket_id")
        assert caught.value.code == "treatment.type"
        assert "basket_id" in caught.value.where
        assert "several forms" in caught.value.expected


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("7.00", b"\xffi" + bytes(7) + b"\x07"),
        ("-1.00", b"\xffi" + b"\xff" * 8),
        ("0.00", b"\xffi" + bytes(8)),
        ("12.50", b"\xffn12.5"),
        ("-0.05", b"\xffn-0.05"),
        ("9223372036854775807.00", b"\xffi\x7f" + b"\xff" * 7),
        ("-9223372036854775808.00", b"\xffi\x80" + bytes(7)),
        ("9223372036854775808.00", b"\xffu\x80" + bytes(7)),
        ("18446744073709551615.00", b"\xffu" + b"\xff" * 8),
        ("18446744073709551616.00", b"\xffn18446744073709551616"),
        ("-9223372036854775809.00", b"\xffn-9223372036854775809"),
        ("123456789012345678901.25", b"\xffn123456789012345678901.25"),
        ("92233720368547758.07", b"\xffn92233720368547758.07"),
        ("-92233720368547758.08", b"\xffn-92233720368547758.08"),
    ],
)
@pytest.mark.parametrize("kind", [pa.decimal128(30, 2), pa.decimal128(34, 6), pa.decimal256(50, 2)])
def test_decimals_have_one_form_in_every_scale(text: str, form: bytes, kind: pa.DataType) -> None:
    column = pa.array([Decimal("0.5"), Decimal(text), None], kind).slice(1)
    assert forms(column) == [form, None]
    assert from_canonical(pa.array([form, None]), kind).equals(column)


def test_decimals_of_few_digits_many_and_no_places() -> None:
    assert forms(pa.array([Decimal("1.5")], pa.decimal32(5, 2))) == [b"\xffn1.5"]
    assert forms(pa.array([Decimal("-7")], pa.decimal64(15, 0))) == [b"\xffi" + b"\xff" * 7 + b"\xf9"]
    assert forms(pa.array([Decimal("0.0000000000000000000125")], pa.decimal128(30, 22))) == [
        b"\xffn0.0000000000000000000125"
    ]
    assert forms(pa.array([Decimal("1200")], pa.decimal128(10, -2))) == [b"\xffi" + bytes(6) + b"\x04\xb0"]
    assert forms(pa.array([Decimal(10) ** 30], pa.decimal128(32, 0))) == [b"\xffn1" + b"0" * 30]
    assert forms(pa.array([], pa.decimal128(9, 2))) == []
    assert forms(pa.nulls(2, pa.decimal256(60, 2))) == [None, None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_text_must_be_utf8_as_it_could_pass_for_a_tagged_form(kind: pa.DataType) -> None:
    latin = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 3], np.int32)), pa.py_buffer(b"a\xffi"))
    with pytest.raises(TreatmentError) as caught:
        canonical_form(latin.cast(kind), column="city")
    assert caught.value.code == "treatment.text"
    assert forms(latin.slice(0, 1).cast(kind)) == [b"a"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "é", ""]),
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None], pa.string_view()),
        pa.array([b"\xffi", None, b""]),
        pa.array([b"ab", None], pa.binary(2)),
        pa.array([1, -1, None, 127], pa.int8()),
        pa.array([2**63, 5, None, 2**64 - 1], pa.uint64()),
        pa.array([date(1969, 12, 31), None]),
        pa.nulls(2),
    ],
)
def test_every_form_leads_back(column: pa.Array) -> None:
    for values in (column, column.slice(1), column.slice(0, 0)):
        view = canonical_form(values)
        back = from_canonical(view, values.type)
        back.validate(full=True)
        assert back.equals(values)
        listed = pa.array(forms(values), pa.binary())
        assert from_canonical(pa.chunked_array([listed, listed]), values.type).to_pylist() == 2 * values.to_pylist()
        assert from_canonical(listed.cast(pa.large_binary()), values.type).equals(values)


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        (b"\xffi" + bytes(8), pa.string()),
        (b"7", pa.int64()),
        (b"\xffi" + bytes(7), pa.int64()),
        (b"\xffd" + bytes(8), pa.int64()),
        (b"\xffi" + bytes(6) + b"\x01\x00", pa.uint8()),
        (b"\xffi" + b"\xff" * 8, pa.uint64()),
        (b"\xffu" + bytes(8), pa.uint64()),
        (b"\xffu\x80" + bytes(7), pa.int64()),
        (b"\xffi" + bytes(8), pa.date32()),
        (b"abc", pa.binary(2)),
        (b"", pa.null()),
        (b"1.5", pa.decimal128(9, 2)),
        (b"\xffn", pa.decimal128(9, 2)),
        (b"\xffn1.50", pa.decimal128(9, 2)),
        (b"\xffn7", pa.decimal128(9, 2)),
        (b"\xffn1.505", pa.decimal128(9, 2)),
        (b"\xffn1e-1", pa.decimal128(9, 2)),
        (b"\xffnspam", pa.decimal128(9, 2)),
        (b"\xffn\xfe\xfe", pa.decimal128(9, 2)),
        (b"\xffi\x7f" + bytes(7), pa.decimal128(9, 2)),
    ],
)
def test_the_form_of_another_value_is_refused(form: bytes, kind: pa.DataType) -> None:
    with pytest.raises(TreatmentError) as caught:
        from_canonical(pa.array([None, form]), kind, column="card")
    assert caught.value.code == "treatment.form"
    assert "card" in caught.value.where
    assert "spam" not in str(caught.value)


def test_the_way_back_refuses_other_kinds_and_input() -> None:
    with pytest.raises(TreatmentError, match="type double"):
        from_canonical(pa.array([b""]), pa.float64())
    with pytest.raises(TreatmentError, match="type string"):
        from_canonical(pa.array([""]), pa.string())
