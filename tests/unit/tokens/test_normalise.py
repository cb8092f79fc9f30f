"""The table of normalisations by example, its refusals, and the layouts of columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.tokens.normalise import HOWS, normalisable, normalise


@pytest.mark.parametrize(
    ("how", "text", "form"),
    [
        ("exact", " A-1 ", " A-1 "),
        ("digits", "4111 1111-1111.1111", "4111111111111111"),
        ("digits", "(12)/34\u00a056\u202f7", "1234567"),
        ("digits", "٠١٢３", "0123"),
        ("phone", "+49 (30) 123-45", "+493012345"),
        ("phone", "0049 30 123/45", "+493012345"),
        ("phone", "030 12345", "03012345"),
        ("phone", "＋４９ 30", "+4930"),
        ("email", "\u00a0Jane.Doe+Offers@Example.COM ", "jane.doe+offers@example.com"),
        ("email", "CAFE\u0301@x.fr", "café@x.fr"),
        ("name", "  Anna \t MARIA  Strauß ", "anna maria strauss"),
        ("name", "GARC\u0131\u0301A", "garc\u0131\u0301a"),
        ("name", "John\u2003SMITH", "john smith"),
    ],
)
def test_the_table_by_example(how: str, text: str, form: str) -> None:
    assert normalise(pa.array([text, None]), how).to_pylist() == [form, None]


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("digits", "12a"),
        ("digits", "+49"),
        ("digits", "-"),
        ("digits", ""),
        ("digits", "12\u200b3"),
        ("digits", "½"),
        ("phone", "49+30"),
        ("phone", "++49"),
        ("phone", "00"),
        ("phone", "+"),
    ],
)
def test_what_is_left_is_refused_by_count_never_by_value(how: str, text: str) -> None:
    column = pa.array(["1", text, None])
    assert normalisable(column, how).to_pylist() == [True, False, True]
    with pytest.raises(TreatmentError) as caught:
        normalise(column, how, column="phone")
    assert caught.value.code == "treatment.format"
    assert "1 of 3" in caught.value.found


def test_a_refusal_quotes_no_value() -> None:
    with pytest.raises(TreatmentError) as caught:
        normalise(pa.array(["030 house 7"]), "phone")
    assert "house" not in str(caught.value)


@pytest.mark.parametrize("how", HOWS)
def test_empty_all_null_chunked_and_dictionary_columns(how: str) -> None:
    assert normalise(pa.array([], pa.string()), how).to_pylist() == []
    assert normalise(pa.nulls(2, pa.string()), how).to_pylist() == [None, None]
    chunked = pa.chunked_array([["1 2"], [], [None, "3"]], pa.string())
    assert normalise(chunked, how).num_chunks == 3
    plain = ["1-2", None, "1-2", "3"]
    expected = normalise(pa.array(plain), how).to_pylist()
    assert normalise(pa.array(plain).dictionary_encode(), how).to_pylist() == expected
    assert normalisable(pa.array(plain).dictionary_encode(), how).to_pylist() == [True] * 4


def test_an_entry_that_no_row_uses_is_no_reason_to_refuse() -> None:
    column = pa.array(["12", "bad", "12"]).dictionary_encode()
    kept = column.filter(normalisable(column, "digits"))
    assert normalise(kept, "digits").to_pylist() == ["12", "12"]


def test_nothing_under_a_null_is_judged() -> None:
    hidden = pa.StringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 3, 5], np.int32)), pa.py_buffer(b"abc12"), pa.py_buffer(b"\x02")
    )
    assert normalise(hidden, "digits").to_pylist() == [None, "12"]


def test_refusals_of_names_types_and_encodings() -> None:
    with pytest.raises(ContractError, match="exact, digits, phone, email, name"):
        normalise(pa.array(["x"]), "soundex")
    with pytest.raises(ContractError):
        normalisable(pa.array(["x"]), "")
    with pytest.raises(TreatmentError, match="int64"):
        normalise(pa.array([1]), "digits")
    latin = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xe9a"))
    with pytest.raises(TreatmentError) as caught:
        normalise(latin, "name")
    assert caught.value.code == "treatment.text"
    assert "\\xe9" not in str(caught.value)
