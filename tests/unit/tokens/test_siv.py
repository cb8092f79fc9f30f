"""Layouts of reversible tokens, and what is refused on the way there and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import KeyServiceError, TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens import siv_column
from cloakhouse.tokens.siv import siv_tokens, siv_values

KEY = SecretKey(bytes(range(64)))


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.date32(), pa.binary(4), pa.decimal128(9, 2), pa.null()])
def test_empty_and_all_null_columns(kind: pa.DataType) -> None:
    for values in (pa.array([], kind), pa.chunked_array([], kind), pa.nulls(3, kind)):
        tokens = siv_tokens(values, KEY)
        assert tokens.type == pa.binary()
        back = siv_values(tokens, KEY, kind)
        assert (back.type, back.to_pylist()) == (kind, values.to_pylist())


def test_an_empty_value_has_a_token_of_its_vector_alone() -> None:
    token = siv_tokens(pa.array([""]), KEY)
    assert len(token[0].as_py()) == 16
    assert siv_values(token, KEY, pa.string()).to_pylist() == [""]
    fixed = token.cast(pa.binary(16))
    assert siv_values(fixed, KEY, pa.string()).to_pylist() == [""]


def test_a_dictionary_is_tokenized_like_its_values() -> None:
    values = pa.array(["a", None, "b", "a", "c"])
    assert siv_tokens(values.dictionary_encode(), KEY).equals(siv_tokens(values, KEY))
    assert siv_tokens(values.dictionary_encode().slice(4), KEY).equals(siv_tokens(values.slice(4), KEY))
    tokens = siv_tokens(values, KEY).dictionary_encode()
    assert siv_values(tokens, KEY, pa.string()).equals(values)


def test_nothing_lies_under_a_null() -> None:
    bitmap = pa.py_buffer(np.array([0b101], np.uint8))
    offsets = pa.py_buffer(np.array([0, 2, 4, 6], np.int32))
    hidden = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"aabbcc"), bitmap)
    tokens = siv_tokens(hidden, KEY)
    assert np.frombuffer(tokens.buffers()[1], np.int32).tolist() == [0, 18, 18, 36]
    back = siv_values(tokens, KEY, pa.string())
    assert back.to_pylist() == ["aa", None, "cc"]
    assert back.buffers()[2].size == 4


@pytest.mark.parametrize("size", [32, 48, 64])
def test_keys_of_the_three_lengths(size: int) -> None:
    key = SecretKey(bytes(range(size)))
    tokens = siv_tokens(pa.array(["x" * 1500, "y"]), key)
    assert siv_values(tokens, key, pa.string()).to_pylist() == ["x" * 1500, "y"]


@pytest.mark.parametrize("size", [16, 24])
def test_other_keys_are_refused(size: int) -> None:
    with pytest.raises(KeyServiceError, match=f"{size} bytes"):
        siv_tokens(pa.array(["x"]), SecretKey(bytes(size)))


@pytest.mark.parametrize("bad", [b"", b"short", bytes(16), bytes(40), bytes(2000)])
def test_what_is_no_token_is_counted_and_never_quoted(bad: bytes) -> None:
    tokens = pa.array([*siv_tokens(pa.array(["secret"]), KEY).to_pylist(), bad, None, bad], pa.binary())
    with pytest.raises(TreatmentError) as caught:
        siv_values(tokens, KEY, pa.string(), column="card")
    assert caught.value.code == "treatment.authenticity"
    assert caught.value.found == "2 of 4 that aren't"
    assert "column card" in caught.value.where
    assert "secret" not in str(caught.value)


def test_tokens_of_another_key_or_kind() -> None:
    tokens = siv_tokens(pa.array(["7"]), KEY)
    with pytest.raises(TreatmentError, match="authenticity"):
        siv_values(tokens, SecretKey(bytes(64)), pa.string())
    with pytest.raises(TreatmentError) as caught:
        siv_values(tokens, KEY, pa.int64())
    assert caught.value.code == "treatment.form"


def test_types_and_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TreatmentError, match="double"):
        siv_tokens(pa.array([1.5]), KEY)
    with pytest.raises(TreatmentError, match="string"):
        siv_values(pa.array(["x"]), KEY, pa.string())
    monkeypatch.setattr(siv_column, "_MAX_BYTES", 33)
    with pytest.raises(TreatmentError, match="34 bytes"):
        siv_tokens(pa.array(["a", "b"]), KEY)
