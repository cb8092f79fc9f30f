"""Layouts and edges of token columns that don't depend on the cipher."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import KeyServiceError, TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens import render
from cloakhouse.tokens.cmac import cmac_tokens, to_base32, to_hex

KEY = SecretKey(bytes(range(32)))
OTHER = SecretKey(bytes(32))


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.date32(), pa.binary(4), pa.null()])
def test_empty_and_all_null_columns(kind: pa.DataType) -> None:
    for values in (pa.array([], kind), pa.chunked_array([], kind)):
        tokens = cmac_tokens(values, KEY)
        assert tokens.type == pa.binary(16)
        assert len(tokens) == 0
    assert cmac_tokens(pa.nulls(3, kind), KEY).to_pylist() == [None] * 3


def test_no_token_lies_under_a_null() -> None:
    """The bytes hidden under the null here are another customer's identifier."""
    bitmap = pa.py_buffer(np.array([0b101], np.uint8))
    text = pa.StringArray.from_buffers(
        3, pa.py_buffer(np.array([0, 2, 4, 6], np.int32)), pa.py_buffer(b"aabbcc"), bitmap
    )
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(2), 3, [bitmap, pa.py_buffer(b"aabbcc")])
    for values in (text, fixed):
        tokens = cmac_tokens(values, KEY)
        assert tokens.is_valid().to_pylist() == [True, False, True]
        assert tokens.buffers()[1].to_pybytes()[16:32] == bytes(16)


def test_a_dictionary_is_tokenized_like_its_values() -> None:
    values = pa.array(["a", None, "b", "a", "c"])
    encoded = values.dictionary_encode()
    assert cmac_tokens(encoded, KEY).equals(cmac_tokens(values, KEY))
    assert cmac_tokens(encoded.slice(4), KEY).equals(cmac_tokens(values.slice(4), KEY))
    holed = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", None]))
    assert cmac_tokens(holed, KEY).equals(cmac_tokens(pa.array(["a", None, "a"]), KEY))


def test_tokens_depend_on_the_key_and_the_type() -> None:
    tokens = [cmac_tokens(v, k)[0].as_py() for v in (pa.array(["7"]), pa.array([7])) for k in (KEY, OTHER)]
    assert len(set(tokens)) == 4


def test_the_source_is_left_alone() -> None:
    values = pa.array(["abc", "de", None])
    before = values.to_pylist()
    cmac_tokens(values, KEY)
    assert values.to_pylist() == before


def test_refusals_name_the_column_and_never_a_value() -> None:
    with pytest.raises(TreatmentError) as caught:
        cmac_tokens(pa.array([4111.25]), KEY, column="card")
    assert "column card" in str(caught.value)
    assert "4111" not in str(caught.value)
    with pytest.raises(KeyServiceError):
        cmac_tokens(pa.array(["x"]), SecretKey(bytes(64)))


@pytest.mark.parametrize("encode", [to_hex, to_base32])
def test_renderers_keep_nulls_and_refuse_other_types(encode: object) -> None:
    tokens = cmac_tokens(pa.array(["a", None]), KEY)
    assert encode(tokens).is_null().to_pylist() == [False, True]
    assert encode(pa.chunked_array([tokens, tokens])).num_chunks == 2
    assert encode(tokens.slice(2)).to_pylist() == []
    for wrong in (pa.array([b"x" * 15], pa.binary(15)), pa.array(["x"])):
        with pytest.raises(TreatmentError):
            encode(wrong)


def test_renderers_refuse_an_array_past_32_bit_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_MAX_BYTES", 63)
    tokens = cmac_tokens(pa.array(["a", "b"]), KEY)
    with pytest.raises(TreatmentError, match="at most 1 tokens"):
        to_hex(tokens)
    assert to_base32(tokens).null_count == 0
